import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("A family that is one folder")
struct ToyFamilyTests {
    let scratch: Scratch
    private let recorder = Recorder()

    init() throws {
        scratch = try Scratch()
        try scratch.folder("toy-one")
        try scratch.write("{}", to: "toy-one/toy.json")
        try scratch.write(#"{"tint": 0.25}"#, to: "toy-one/ruyi.json")
        try SafetensorsWriter.write(
            [
                (name: "mix.weight", tensor: HostTensor([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3])),
                (name: "mix.bias", tensor: HostTensor([0, 0, 0], [3])),
            ], to: scratch("toy-one/mix.safetensors"))
        let pixels = (0..<48).flatMap { y in (0..<64).flatMap { x -> [UInt8] in [UInt8(4 * x), 90, UInt8(5 * y)] } }
        try PictureWriter.write(Picture(width: 64, height: 48, pixels: pixels), to: scratch("start.png"))
    }

    private var table: SettingsTable { SettingsTable([ToyFamily.self]) }
    private var engine: Engine { Engine(families: [ToyFamily.self], observer: recorder.receive) }

    private func order(_ request: String) throws -> Order {
        var order = try RequestReader.parse(Array(request.utf8), file: scratch("request.json"), table: table)
        order.request.model = scratch("toy-one")
        order.request.image = scratch("start.png")
        order.output = scratch("v.mp4")
        return order
    }

    @Test("its setting is in the table that options, help, files and environment are read by")
    func settings() throws {
        let tint = try #require(table["tint"])
        #expect(tint.option == "--tint" && table.help(tint).contains("tints the clip. (default: 0.5)"))
        #expect(table["camera"] == nil)
        var reader = SettingsReader()
        reader.table = table
        reader.findsConfig = false
        reader.variable = { $0 == "RUYI_TINT" ? "0.75" : nil }
        #expect(try reader.read().order.request.values["tint"] == 0.75)
        let faults = #expect(throws: Faults.self) { try engine.prepare(order(#"{"tint": 2}"#)) }
        #expect(faults?.kind == .usage && "\(faults?.list ?? [])".contains("tint"))
    }

    @Test("it is planned with what its checkpoint recommends, in the parts that its renderer has")
    func plan() throws {
        let run = try engine.prepare(order(#"{"frames": 5, "steps": 3}"#))
        let plan = run.clips[0].plan
        #expect((plan.settings as? ToySettings)?.tint == 0.25)
        #expect(plan.stages.map(\.name) == ["denoising", "decoding"] && plan.stages.map(\.steps) == [3, 5])
        #expect((plan.width, plan.height, plan.frames) == (64, 48, 5) && plan.activationBytes > 0)
        let report = try #require(run.reports().first)
        #expect(report.json.contains("\"tint\":0.25") && report.refusal == nil)
    }

    @Test("it renders, is watched, is traced, and says in the file how the clip was made")
    func render() throws {
        var order = try order(#"{"frames": 5, "steps": 3, "tint": 1}"#)
        order.preview = scratch("p.png")
        order.trace = scratch("t.safetensors")
        var files: [String] = []
        try engine.prepare(order).render(cancellation: Cancellation()) { files += $0 }
        #expect(files == [scratch("v.mp4")] && scratch.files.contains("p.png"))
        #expect(recorder.steps.last?.fraction == 1)
        let facts = try VideoReader(scratch("v.mp4")).facts
        #expect(facts.frameCount == 5 && facts.width == 64 && facts.height == 48)
        let trace = try SafetensorsFile(path: scratch("t.safetensors"))
        #expect(
            Set(trace.keys).isSuperset(of: [
                "noise", "step.000.model_output", "step.002.latents", "latents.final", "video",
            ])
        )
        // With a tint of 1 all that is left is the picture.
        let video = try trace.tensor("video").floats()
        #expect(video.allSatisfy { $0.isFinite } && abs(video[1] - 90.0 / 255) < 0.01)
        let text = try Provenance.read(scratch("v.mp4")).text
        let kept = try JSON.parse(Array(text.utf8), file: "clip")["request"]
        #expect(kept?["family"] == "toy" && kept?["tint"] == 1)
    }

    @Test("a batch of it loads it once and tells its setting from clip to clip")
    func batch() throws {
        try scratch.folder("in")
        for name in ["a.png", "b.png"] {
            try FileManager.default.copyItem(atPath: scratch("start.png"), toPath: scratch("in/" + name))
        }
        var defaults = try order(#"{"frames": 2, "steps": 1}"#)
        (defaults.request.image, defaults.output) = (nil, nil)
        let batch = BatchOrder(source: scratch("in"), folder: scratch("out"), defaults: defaults)
        let summary = try Batch(batch, engine: engine).render(cancellation: Cancellation()) { _ in }
        #expect(summary.finished == 2 && summary.frames == 4)
    }

    @Test("what it does not have is refused with what it has, and numbers that are no numbers are told")
    func refusals() throws {
        var order = try order("{}")
        order.request.endImage = scratch("start.png")
        let faults = #expect(throws: Faults.self) { try engine.prepare(order) }
        let text = (faults?.list ?? []).map { "\($0) \($0.hint ?? "")" }.joined()
        #expect(faults?.kind == .usage && text.contains("toy-one") && text.contains("--tint"), "\(text)")
        try FileManager.default.removeItem(atPath: scratch("toy-one/mix.safetensors"))
        try SafetensorsWriter.write(
            [
                (name: "mix.weight", tensor: HostTensor([Float](repeating: .nan, count: 9), [3, 3])),
                (name: "mix.bias", tensor: HostTensor([0, 0, 0], [3])),
            ], to: scratch("toy-one/mix.safetensors"))
        let run = try engine.prepare(self.order(#"{"frames": 1, "steps": 1}"#))
        let broken = #expect(throws: Faults.self) { try run.render(cancellation: Cancellation()) { _ in } }
        #expect(broken?.kind == .badData && "\(broken?.list ?? [])".contains("mix.weight"))
        #expect(!scratch.files.contains("v.mp4"))
    }
}
