import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Engine")
struct EngineTests {
    let scratch: Scratch
    let recorder = Recorder()

    init() throws {
        scratch = try Scratch()
        try scratch.folder("fake-model")
        try PictureWriter.write(
            Picture(width: 48, height: 32, pixels: [UInt8](repeating: 99, count: 48 * 32 * 3)), to: scratch("start.png")
        )
    }

    /// An order for the fake model with the output in the scratch folder.
    func order(_ output: String = "v.mp4", _ change: (inout Order) -> Void = { _ in }) -> Order {
        var order = Order()
        order.request.model = scratch("fake-model")
        order.request.image = scratch("start.png")
        order.output = scratch(output)
        change(&order)
        return order
    }

    func prepare(_ order: Order) throws -> Run {
        try Engine(families: [FakeFamily.self], observer: recorder.receive).prepare(order)
    }

    @discardableResult
    func render(_ order: Order, _ cancellation: Cancellation = Cancellation()) throws -> [String] {
        var files: [String] = []
        try prepare(order).render(cancellation: cancellation) { files += $0 }
        return files
    }

    /// The kind and text of the fault that an order ends with, once nothing has been left behind.
    func fault(_ order: Order, _ cancellation: Cancellation = Cancellation()) -> (kind: Fault.Kind?, text: String) {
        let before = scratch.files
        let faults = #expect(throws: Faults.self) { try render(order, cancellation) }
        #expect(scratch.files == before)
        return (faults?.kind, faults?.list.map { "\($0) \($0.hint ?? "")" }.joined(separator: "\n") ?? "")
    }

    // MARK: what comes out

    @Test(
        "a video has the planned size, rate and frames, and its path is handed over", arguments: ["mp4", "mov", "mkv"])
    func video(_ suffix: String) throws {
        let files = try render(order("v.\(suffix)") { $0.request.fps = 12 })
        #expect(files == [scratch("v.\(suffix)")])
        let facts = try VideoReader(files[0]).facts
        #expect(facts.width == 32 && facts.height == 32 && facts.frameCount == 8 && facts.fps == 12)
        #expect(scratch.files == ["fake-model", "start.png", "v.\(suffix)"])
    }

    @Test("a rate that is a fraction is exact in the file and in its settings")
    func fraction() throws {
        let files = try render(order("v.mp4") { $0.request.fps = FrameRate(30_000, 1001) })
        #expect(try VideoReader(files[0]).facts.fps == FrameRate(30_000, 1001))
        var again = try RequestReader.parse(Array("{\"fps\": \"30000/1001\"}".utf8), file: "r.json")
        #expect(again.request.fps == FrameRate(30_000, 1001))
        again = try RequestReader.parse(Array("{\"fps\": 25}".utf8), file: "r.json")
        #expect(again.request.fps == 25)
    }

    @Test("a pattern writes one exact picture a frame and makes its folder")
    func frames() throws {
        let files = try render(order("out/f%03d.png") { $0.request.frames = 3 })
        #expect(files == (0..<3).map { scratch("out/f00\($0).png") })
        for (index, file) in files.enumerated() {
            let picture = try PictureReader.read(file)
            #expect(picture.width == 32 && picture.pixels.allSatisfy { $0 == UInt8(index * 20) })
        }
        #expect(
            scratch.files.filter { $0.hasPrefix("out") } == ["out", "out/f000.png", "out/f001.png", "out/f002.png"])
        #expect(fault(order("out/f%03d.png")).kind == .cannotCreate)
        try render(order("out/g%d.png") { $0.request.frames = 1 })
        #expect(scratch.files.contains("out/g0.png") && scratch.files.contains("out/f002.png"))
    }

    @Test("one frame makes one picture")
    func onePicture() throws {
        #expect(try render(order("one.png") { $0.request.frames = 1 }) == [scratch("one.png")])
        #expect(fault(order("two.png")).text.contains("%05d"))
    }

    @Test("several seeds load the model once and have names of their own")
    func seeds() throws {
        let files = try render(order { $0.seeds = [3, 1, UInt64.max] })
        #expect(files == ["v-3.mp4", "v-1.mp4", "v-18446744073709551615.mp4"].map(scratch.callAsFunction))
        #expect(
            try render(order("s{seed}x.mp4") { $0.seeds = [4, 5] })
                == ["s4x.mp4", "s5x.mp4"].map(scratch.callAsFunction))
        let frames = try render(
            order("p/%02d.png") {
                $0.seeds = [4, 5]; $0.request.frames = 1
            })
        #expect(frames == ["p/00-4.png", "p/00-5.png"].map(scratch.callAsFunction))
        #expect(try render(order("{name}.mp4")) == [scratch("start.mp4")])
    }

    @Test("the default name is the picture's and the seed's")
    func defaultName() throws {
        #expect(try prepare(order { $0.output = nil }).clips.map(\.output.text) == ["start-42.mp4"])
        #expect(
            try prepare(
                order {
                    $0.output = nil; $0.seeds = [1, 2]
                }
            ).clips.map(\.output.text) == ["start-1.mp4", "start-2.mp4"])
        #expect(
            try prepare(
                order {
                    $0.output = nil; $0.request.image = nil
                }
            ).clips.map(\.output.text) == ["fake-42.mp4"])
    }

    @Test("the trace holds what the model recorded, under its name, and the same seed gives the same numbers")
    func trace() throws {
        try render(order { $0.trace = self.scratch("t.safetensors") })
        let noise = try SafetensorsFile(path: scratch("t.safetensors")).tensor("noise")
        #expect(noise.shape == [2, 16] && noise.dtype == .f32)
        try render(order("w.mp4") { $0.trace = self.scratch("u.safetensors") })
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: scratch("t.safetensors")))
                == Data(contentsOf: URL(fileURLWithPath: scratch("u.safetensors"))))
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: scratch("v.mp4")))
                == Data(contentsOf: URL(fileURLWithPath: scratch("w.mp4"))))
        // The recorded draws of one run are the noise of another with any seed.
        try render(
            order("x.mp4") {
                $0.request.noise = self.scratch("t.safetensors")
                $0.seeds = [9]
                $0.trace = self.scratch("x.safetensors")
            })
        #expect(try SafetensorsFile(path: scratch("x.safetensors")).tensor("noise").floats() == noise.floats())
    }

    // MARK: what is refused

    @Test("an existing output is refused, and replaced when that is asked for")
    func existing() throws {
        try scratch.write("old", to: "v.mp4")
        #expect(fault(order()).kind == .cannotCreate)
        #expect(try String(contentsOfFile: scratch("v.mp4"), encoding: .utf8) == "old")
        try render(order { $0.overwrite = true })
        #expect(try VideoReader(scratch("v.mp4")).facts.frameCount == 8)
    }

    @Test("an output that cannot be made is found before the model is loaded")
    func unwritable() throws {
        for path in [
            "/proc/v.mp4", scratch("start.png") + "/v.mp4", scratch("nowhere/v.mp4"), scratch("a/b/%d.png"),
            "/sys/%d.png",
        ] {
            let order = order { order in
                order.output = path
                order.request.model = try? scratch.folder("broken-fake-model")
            }
            let (kind, text) = fault(order)
            #expect(kind == .cannotCreate, "\(path): \(text)")
        }
        #expect(recorder.events.isEmpty)
    }

    @Test(
        "an output name that makes no sense is a usage error",
        arguments: [
            "v", "v.xyz", "v.jpg", "out/", "..", "a%d%d.png", "a%s.png", "a%05x.png", "a%n.png", "a%.png", "a%d/b.png",
            "v%05d.mp4", "a%99999999999d.png", "a%-5d.png",
        ])
    func badNames(_ name: String) {
        #expect(fault(order(name)).kind == .usage)
    }

    @Test("two results cannot share a file, and no result replaces an input")
    func collisions() throws {
        #expect(fault(order { $0.trace = $0.output }).kind == .usage)
        #expect(
            fault(
                order("start.png") {
                    $0.overwrite = true; $0.request.frames = 1
                }
            ).kind == .usage)
        #expect(try PictureReader.read(scratch("start.png")).width == 48)
    }

    @Test("odd sizes that the codec cannot hold are refused before the run")
    func oddSizes() {
        #expect(
            fault(
                order {
                    $0.request.width = 33; $0.request.height = 32
                }
            ).kind == .usage)
    }

    @Test("a clip that does not fit into memory is refused with what would fit")
    func memory() {
        let (kind, text) = fault(
            order {
                $0.request.scheduler = "huge"; $0.request.width = 1024; $0.request.height = 1024
            })
        #expect(kind == .resources)
        #expect(text.contains("memory"))
        let small = fault(
            order {
                $0.request.scheduler = "huge"; $0.request.width = 64; $0.request.height = 64
            })
        #expect(small.kind == .resources)
    }

    @Test("settings that the family lacks are refused with the list of those it has")
    func foreign() throws {
        let (kind, text) = fault(
            order {
                $0.request.teacache.isOn = true; $0.request.precision = .int8
                $0.request.loras = [LoRA(path: "a.safetensors")]
            })
        #expect(kind == .usage)
        for word in ["has no --teacache", "has no --lora", "no --precision", "it has --frames", ", --end-image,"] {
            #expect(text.contains(word), "\(text)")
        }
        #expect(fault(order { $0.request.family = "ruyi" }).kind == .badData)
        #expect(fault(order { $0.request.model = self.scratch.path }).text.contains("Fake-1: a folder whose name"))
    }

    @Test("a prompt for a model that reads none is a warning, said once")
    func prompt() throws {
        try render(
            order {
                $0.request.prompt = "a cat"; $0.seeds = [1, 2]
            })
        #expect(recorder.warnings == ["fake-model reads no text, so --prompt has no effect"])
    }

    // MARK: what goes wrong

    @Test("a fault of the model leaves nothing behind and keeps its kind")
    func failing() throws {
        try scratch.folder("broken-fake-model")
        #expect(fault(order { $0.request.model = self.scratch("broken-fake-model") }).kind == .badData)
        #expect(fault(order { $0.request.scheduler = "odd" }).text.contains("Oddity"))
        #expect(
            fault(
                order {
                    $0.request.scheduler = "odd"; $0.trace = self.scratch("t.safetensors")
                }
            ).kind == .software)
    }

    @Test("a stop on request ends the run soon and leaves nothing behind", arguments: ["v.mp4", "o/%d.png"])
    func stopping(_ output: String) {
        let cancellation = Cancellation()
        Thread.detachNewThread {
            usleep(100_000)
            cancellation.cancel()
        }
        let started = Date()
        let (kind, _) = fault(
            order(output) {
                $0.request.scheduler = "slow"; $0.request.steps = 500
            }, cancellation)
        #expect(kind == .interrupted && Date().timeIntervalSince(started) < 10)
    }

    @Test("several clips are one run: its share grows steadily over all of them")
    func wholeRun() throws {
        try render(order { $0.seeds = [1, 2, 3] })
        let steps = recorder.steps
        #expect(steps.map(\.clip) == [0, 1, 2].flatMap { [Int](repeating: $0, count: steps.count / 3) })
        #expect(steps.allSatisfy { $0.clips == 3 })
        let shares = steps.map(\.runFraction)
        #expect(zip(shares, shares.dropFirst()).allSatisfy { $0 <= $1 })
        for clip in 0..<3 {
            let last = try #require(steps.last { $0.clip == clip })
            #expect(last.fraction == 1 && abs(last.runFraction - Double(clip + 1) / 3) < 1e-9)
        }
        #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.runElapsed <= $1.runElapsed })
    }

    @Test("what an observer hears is in order and ends at all of the work")
    func events() throws {
        try render(order { $0.request.seconds = 0.25 })
        let names = recorder.events.map { event in
            switch event {
            case .planned: "planned"
            case .note: "note"
            case .warning: "warning"
            case .stage(let name, _, _): name
            case .step: "step"
            case .preview: "preview"
            case .section: "section"
            case .transfer: "transfer"
            case .finished: "finished"
            }
        }
        let steps = { (count: Int) in [String](repeating: "step", count: count) }
        #expect(names == ["planned", "note", "denoising"] + steps(5) + ["decoding"] + steps(7) + ["finished"])
        let fractions = recorder.steps.map(\.fraction)
        #expect(zip(fractions, fractions.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(fractions.last == 1)
        #expect(abs(fractions[4] - 0.75) < 1e-9)
        for event in recorder.events {
            #expect(try JSONSerialization.jsonObject(with: Data(event.json.utf8)) is [String: Any])
        }
    }

    @Test("the plan as JSON holds what will be used, keys in alphabetical order")
    func planJSON() throws {
        let clip = try #require(
            try prepare(
                order {
                    $0.seeds = [UInt64.max]; $0.request[FakeOptions.table.glow] = "left"
                }
            ).clips.first)
        let plan = try JSONObject(parsing: Array(clip.json.utf8), file: "plan")
        #expect(plan.keys == plan.keys.sorted())
        #expect(
            try plan.int("width") == 32 && plan.int("frames") == 8 && plan.int("fps") == 24 && plan.int("steps") == 4)
        #expect(try plan.string("glow") == "left" && plan.string("output") == scratch("v.mp4"))
        #expect(try plan.int("weight_bytes") == 1000 && plan.int("peak_memory_bytes") > 32 * 32 * 8 * 64)
        #expect(clip.json.contains("\"seed\":18446744073709551615") && !clip.json.contains("\n"))
        #expect(plan.has("notes") && plan.has("scheduler") && plan.has("guidance") && plan.has("tokens"))
    }
}
