import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Outputs")
struct OutputTests {
    let scratch: Scratch
    let recorder = Recorder()

    init() throws {
        scratch = try Scratch()
        try scratch.folder("fake-model")
        try PictureWriter.write(
            Picture(width: 48, height: 32, pixels: [UInt8](repeating: 99, count: 48 * 32 * 3)), to: scratch("start.png")
        )
    }

    func order(_ output: String, _ change: (inout Order) -> Void = { _ in }) -> Order {
        var order = Order()
        order.request.model = scratch("fake-model")
        order.request.image = scratch("start.png")
        order.output = scratch(output)
        change(&order)
        return order
    }

    @discardableResult
    func render(_ order: Order) throws -> [String] {
        var files: [String] = []
        let run = try Engine(families: [FakeFamily.self], observer: recorder.receive).prepare(order)
        try run.render(cancellation: Cancellation()) { files += $0 }
        return files
    }

    func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

    /// The faults that an order ends with.
    func faults(_ order: Order) -> Faults? { #expect(throws: Faults.self) { try render(order) } }

    // MARK: how a clip was made

    @Test(
        "what a clip holds makes the same clip again",
        arguments: ["v.mp4", "v.mov", "v.mkv", "v.webm", "v.gif", "v.webp", "f/%03d.png"])
    func again(_ output: String) throws {
        let files = try render(
            order(output) {
                $0.request.seed = 5; $0.request[FakeOptions.table.glow] = "left"; $0.request.frames = 6;
                $0.request.fps = 20
            })
        let made = try Provenance.read(files[0])
        var given = Order()
        given.output = scratch("again-" + Path(output).flat)
        given.request.model = scratch("fake-model")
        let merged = try made.order(under: given, from: files[0], table: SettingsTable([FakeFamily.self]))
        #expect(
            merged.request[FakeOptions.table.glow] == "left" && merged.request.frames == 6 && merged.request.fps == 20)
        #expect(merged.seeds == [5] && merged.request.image == scratch("start.png"))
        let again = try render(merged)
        #expect(again.count == files.count)
        for (first, second) in zip(files, again) { #expect(try bytes(first) == bytes(second), "\(first)") }
        #expect(recorder.warnings.isEmpty)
    }

    /// A path with its folder made a part of the name.
    private struct Path {
        let flat: String
        init(_ path: String) { flat = path.replacingOccurrences(of: "/", with: "-") }
    }

    @Test("the command line wins over what the clip holds")
    func wins() throws {
        let file = try render(order("v.mp4") { $0.crf = 30 })[0]
        var given = Order()
        given.seeds = [9]
        given.request.frames = 3
        given.output = "other.webm"
        let merged = try Provenance.read(file).order(under: given, from: file)
        #expect(merged.seeds == [9] && merged.request.frames == 3 && merged.output == "other.webm")
        // H.264's quality says nothing about VP9's, and a WebM file holds no H.264.
        #expect(merged.codec == nil && merged.crf == nil)
        given.output = "other.mp4"
        #expect(try Provenance.read(file).order(under: given, from: file).crf == 30)
    }

    @Test("nothing tells on whose machine the clip was made, and without metadata nothing of it is there")
    func discreet() throws {
        for output in ["v.mp4", "v.gif", "p/%d.png"] {
            for file in try render(order(output)) {
                let text = try String(decoding: bytes(file), as: UTF8.self)
                #expect(!text.contains(scratch.path))
            }
        }
        #expect(try String(decoding: bytes(scratch("v.mp4")), as: UTF8.self).contains("\"seed\":42"))
        #expect(try !String(decoding: bytes(scratch("v.gif.json")), as: UTF8.self).contains(scratch.path))
        for output in ["n.mp4", "n.mkv", "n.gif", "n.webp", "m/%d.png"] {
            for file in try render(order(output) { $0.metadata = false }) {
                #expect(try !String(decoding: bytes(file), as: UTF8.self).contains("seed"), "\(file)")
                #expect(throws: Fault.self) { try Provenance.read(file) }
            }
        }
        #expect(!scratch.files.contains("n.gif.json"))
    }

    @Test("a clip whose picture is gone or another is refused, unless a picture is given")
    func picture() throws {
        let file = try render(order("v.mp4"))[0]
        try FileManager.default.moveItem(atPath: scratch("start.png"), toPath: scratch("other.png"))
        func again(_ given: Order = Order()) throws -> Order {
            try Provenance.read(file).order(under: given, from: file)
        }
        var faults = #expect(throws: Faults.self) { try again() }
        #expect(faults?.kind == .cannotOpen && faults?.list[0].hint?.contains("--image") == true)
        try PictureWriter.write(
            Picture(width: 48, height: 32, pixels: [UInt8](repeating: 98, count: 48 * 32 * 3)), to: scratch("start.png")
        )
        faults = #expect(throws: Faults.self) { try again() }
        #expect(faults?.kind == .badData && faults?.list[0].place == scratch("start.png"))
        var given = Order()
        given.request.image = scratch("other.png")
        #expect(try again(given).request.image == scratch("other.png"))
    }

    @Test("another checkpoint is a warning")
    func otherModel() throws {
        let file = try render(order("v.mp4"))[0]
        try scratch.write("{}", to: "fake-model/config.json")
        try render(try Provenance.read(file).order(under: order("w.mp4"), from: file))
        #expect(recorder.warnings.contains { $0.contains("fake-model") })
    }

    @Test("settings in a hostile clip name no output, no absolute path, and break nothing")
    func hostile() throws {
        let requests = [
            "{\"output\": \"/tmp/x\", \"overwrite\": true, \"trace\": \"/tmp/y\", \"model\": \"/etc\", \"unheard\": 1}",
            "{\"model\": \"../../etc\", \"threads\": 999}",
        ]
        for request in requests {
            let text = "{\"schema\": 1, \"request\": \(request)}"
            let file = try scratch.write(text, to: "h.json")
            let order = try Provenance.read(file).order(under: Order(), from: file)
            #expect(order.output == nil && order.overwrite == nil && order.trace == nil && order.threads == nil)
            #expect(order.request.model == "etc")
        }
        for text in [
            "{}", "{\"schema\": 2, \"request\": {}}", "{\"schema\": 1, \"request\": []}", "{\"schema\": 1",
            String(repeating: "[", count: 9000), "{\"schema\": \"1\", \"request\": {}}", "",
        ] {
            let file = try scratch.write(text, to: "h.json")
            #expect(throws: Fault.self, "\(text.prefix(40))") { try Provenance.read(file) }
        }
        let file = try scratch.write("{\"schema\": 1, \"request\": {\"frames\": \"many\"}}", to: "h.json")
        #expect(throws: Faults.self) { try Provenance.read(file).order(under: Order(), from: file) }
    }

    // MARK: latents

    @Test("a decoding that fails leaves the latents and says so", arguments: ["v.mp4", "o/%d.png"])
    func finishing(_ output: String) throws {
        let failed = faults(order(output) { $0.request.scheduler = "short" })
        #expect(failed?.kind == .software && failed?.list[0].what.contains("7 frames") == true)
        let latents = scratch(output == "v.mp4" ? "v.latents.safetensors" : "o/frames.latents.safetensors")
        #expect(failed?.list[0].hint?.contains("ruyi decode \(latents)") == true, "\(String(describing: failed))")
        #expect(scratch.files.filter { $0.hasSuffix("safetensors") }.count == 1)
        // A later run of the same clip may replace what could not be finished, and takes it away when it is done.
        try render(order(output))
        #expect(!FileManager.default.fileExists(atPath: latents))
    }

    @Test("latents that are kept become the clip again, byte for byte, and other formats")
    func keeping() throws {
        try render(
            order("v.mp4") {
                $0.keepLatents = true; $0.request.seed = 3
            })
        let latents = scratch("v.latents.safetensors")
        #expect(try SafetensorsFile(path: latents).tensor("latents").shape == [2, 16])
        func decode(_ output: String?) throws -> [String] {
            var order = Order()
            order.latents = latents
            order.output = output
            order.request.model = scratch("fake-model")
            return try render(try order.decoding())
        }
        #expect(faults { try decode(nil) }?.kind == .cannotCreate)
        #expect(try decode(scratch("w.mp4")) == [scratch("w.mp4")])
        #expect(try bytes(scratch("v.mp4")) == bytes(scratch("w.mp4")))
        let other = try decode(scratch("w.webm"))[0]
        #expect(try VideoReader(other).facts.codec == "vp9")
        #expect(try Provenance.read(other).text.contains("\"codec\":\"vp9\""))
        try FileManager.default.removeItem(atPath: scratch("v.mp4"))
        #expect(try decode(nil) == [scratch("v.mp4")])
        #expect(FileManager.default.fileExists(atPath: latents))
        // What a person asked to keep is not replaced.
        try FileManager.default.removeItem(atPath: scratch("v.mp4"))
        #expect(faults(order("v.mp4") { $0.keepLatents = true })?.kind == .cannotCreate)
    }

    func faults<Value>(_ body: () throws -> Value) -> Faults? { #expect(throws: Faults.self) { try body() } }

    @Test("latents of another shape or type, and files that hold none, are bad data")
    func badLatents() throws {
        try render(order("v.mp4") { $0.keepLatents = true })
        let made = try Provenance.read(scratch("v.mp4")).text
        let tensors: [(String, HostTensor)] = [
            ("latents", HostTensor([1, 2], [2])), ("latents", HostTensor(integers: [1], [1])),
            ("other", HostTensor([1], [1])),
        ]
        for (index, (name, tensor)) in tensors.enumerated() {
            let path = scratch("b\(index).safetensors")
            try SafetensorsWriter.write([(name, tensor)], metadata: ["ruyi": made], to: path)
            let found = faults {
                var order = Order()
                order.latents = path
                order.output = scratch("b.mp4")
                order.request.model = scratch("fake-model")
                return try render(try order.decoding())
            }
            #expect(found?.kind == .badData, "\(name): \(String(describing: found))")
        }
        try SafetensorsWriter.write([("latents", HostTensor([1], [1]))], to: scratch("plain.safetensors"))
        var plain = Order()
        plain.latents = scratch("plain.safetensors")
        #expect(faults { try plain.decoding() }?.kind == .badData)
        #expect(!scratch.files.contains("b.mp4"))
    }

    // MARK: what is refused before the run

    @Test("a codec, quality or format that does not fit is refused before the model is loaded", arguments: Unfit.all)
    func unfit(_ unfit: Unfit) {
        let found = faults(
            order(unfit.output) {
                $0.codec = unfit.codec
                $0.crf = unfit.crf
                $0.pixelFormat = unfit.format
                $0.request.model = try? scratch.folder("broken-fake-model")
            })
        #expect(found?.kind == .usage, "\(String(describing: found))")
        #expect(recorder.events.isEmpty)
    }
}

/// An output and a compression that it cannot have.
struct Unfit: Sendable {
    let output: String
    var codec: String?
    var crf: Int?
    var format: String?

    static let all = [
        Unfit(output: "v.mp4", codec: "prores"), Unfit(output: "v.webm", codec: "h264"),
        Unfit(output: "v.mp4", crf: 52), Unfit(output: "v.webm", crf: 64), Unfit(output: "v.mp4", crf: 0),
        Unfit(output: "v.mkv", codec: "ffv1", crf: 20), Unfit(output: "v.mov", codec: "prores", format: "yuv420p"),
        Unfit(output: "v.gif", codec: "h264"), Unfit(output: "v.gif", crf: 20),
        Unfit(output: "f/%d.png", codec: "h264"), Unfit(output: "v.mp4", codec: "mpeg1"),
        Unfit(output: "v.mp4", format: "pal9"),
    ]
}
