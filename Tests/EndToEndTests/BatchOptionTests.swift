import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Synchronization
import Testing

/// The family without weights, whose renderer runs out of something a number of times before it renders.
enum ScarceFamily: Family {
    /// How many more attempts fail, and with what.
    static let failures = Mutex((count: 0, kind: Fault.Kind.io))
    static let name = FakeFamily.name
    static let title = FakeFamily.title
    static let settings = FakeFamily.settings
    static let defaults = FakeFamily.defaults

    static func recognises(_ folder: ModelFolder) -> Bool { FakeFamily.recognises(folder) }

    static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        try FakeFamily.plan(request, folder: folder, image: image)
    }

    static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        ScarceRenderer(backend: backend)
    }
}

struct ScarceRenderer: Renderer {
    let backend: any Backend

    var warnings: [String] { [] }

    func latents(_ job: Job) throws -> HostTensor {
        let fault = ScarceFamily.failures.withLock { left -> Fault? in
            guard left.count > 0, !backend.isMeasuring else { return nil }
            left.count -= 1
            return Fault(left.kind, "the well is dry")
        }
        if let fault { throw fault }
        return try FakeRenderer(backend: backend).latents(job)
    }

    func decode(_ latents: HostTensor, _ job: Job) throws { try FakeRenderer(backend: backend).decode(latents, job) }
}

@Suite("Batch options", .serialized)
struct BatchOptionTests {
    let scratch: Scratch

    init() throws {
        scratch = try Scratch()
        for name in ["a.png", "b.png", "c.png"] { try picture("in/" + name) }
    }

    let quick = ["--size", "48x32", "--frames", "8", "--steps", "1", "--no-config"]

    func picture(_ name: String) throws {
        try scratch.folder((name as NSString).deletingLastPathComponent)
        try PictureWriter.write(
            Picture(width: 24, height: 16, pixels: [UInt8](repeating: 99, count: 24 * 16 * 3)), to: scratch(name))
    }

    func batch(_ arguments: [String]) throws -> Outcome {
        try Executable.run(["batch"] + arguments + quick, in: scratch.path)
    }

    func objects(_ text: String) throws -> [JSONObject] {
        try text.split(separator: "\n").map { try JSONObject(parsing: Array($0.utf8), file: "line") }
    }

    // MARK: which clips

    @Test("pictures of a folder are chosen by name, by path, and left out; a list has nothing to choose from")
    func filters() throws {
        try picture("in/deep/ab.png")
        func names(_ arguments: [String]) throws -> [String] {
            let outcome = try batch(["in", "-o", "out", "--dry-run", "--recursive"] + arguments)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try objects(outcome.output).map { try $0.string("output") }
        }
        #expect(try names([]).count == 4)
        #expect(try names(["--include", "a*"]) == ["out/a-42.mp4", "out/deep/ab-42.mp4"])
        #expect(try names(["--include", "deep/*", "--include", "[bc].png"]).count == 3)
        #expect(try names(["--exclude", "*b.png"]) == ["out/a-42.mp4", "out/c-42.mp4"])
        #expect(try names(["--include", "a*", "--exclude", "*/*"]) == ["out/a-42.mp4"])
        try picture("in/new\nline.png")
        let odd = try batch(["in", "-o", "out", "--dry-run"])
        #expect(odd.code == 65 && odd.errors.contains("in/new\\x0aline.png") && odd.errors.contains("--exclude"))
        #expect(try batch(["in", "-o", "out", "--dry-run", "--exclude", "new*"]).lines.count == 3)
        let none = try batch(["in", "-o", "out", "--include", "x*"])
        #expect(none.code == 65 && none.errors.contains("--include"), "\(none.errors)")
        try scratch.write("in/a.png\n", to: "list.txt")
        let list = try batch(["list.txt", "-o", "out", "--include", "a*"])
        #expect(list.code == 64 && list.errors.contains("list.txt"), "\(list.errors)")
    }

    @Test("a list comes through standard input as lines or as objects")
    func standardInput() throws {
        let command = "exec \"$RUYI\" batch - -o out --dry-run \(quick.joined(separator: " "))"
        let lines = try Executable.shell("printf 'in/a.png\\nin/b.png\\tthe sea\\n' | \(command)", in: scratch.path)
        #expect(lines.code == 0 && lines.lines.count == 2, "\(lines.errors)")
        let list = "{\\\"image\\\": \\\"in/c.png\\\", \\\"seed\\\": 3}"
        let found = try Executable.shell("printf \"\(list)\" | \(command)", in: scratch.path)
        #expect(try objects(found.output).map { try $0.string("output") } == ["out/c-3.mp4"], "\(found.errors)")
        let wrong = try Executable.shell("printf 'in/a.png\\n../x.png\\n' | \(command)", in: scratch.path)
        #expect(wrong.code == 65 && wrong.errors.contains("(standard input:2)"), "\(wrong.errors)")
        let none = try Executable.shell("\(command) < /dev/null", in: scratch.path)
        #expect(none.code == 65 && none.errors.contains("no picture"), "\(none.errors)")
        let binary = try Executable.shell("printf '\\377' | \(command)", in: scratch.path)
        #expect(binary.errors.contains(#"the picture does not exist (standard input:1: \xff)"#), "\(binary.errors)")
    }

    @Test("a limit leaves the rest to the next run, and finished clips do not count")
    func limit() throws {
        let first = try batch(["in", "-o", "out", "--limit", "2", "--progress", "json"])
        #expect(first.code == 0 && first.lines == ["out/a-42.mp4", "out/b-42.mp4"], "\(first.errors)")
        let summary = try #require(objects(first.errors).last)
        #expect(try summary.int("done") == 2 && summary.int("left") == 1 && summary.int("failed") == 0)
        #expect(try summary.double("frames_per_minute") > 0 && summary.int("peak_memory_bytes") > 1 << 20)
        #expect(summary.json["again"] == .null)
        #expect(try batch(["in", "-o", "out", "--limit", "2", "-q"]).lines == ["out/c-42.mp4"])
        let journal = try objects(try FileBytes.text(scratch("out/.ruyi-batch.jsonl")))
        for done in journal where try done.string("event") == "done" {
            #expect(try done.int("peak_memory_bytes") > 1 << 20)
        }
        for wrong in [["--limit", "0"], ["--retry", "11"], ["--retry", "-1"], ["--on-error", "ignore"]] {
            #expect(try batch(["in", "-o", "out"] + wrong).code == 64, "\(wrong)")
        }
    }

    // MARK: what fails

    @Test("a batch stops at the first failure on request, and says which command renders the failed clips alone")
    func stopping() throws {
        try scratch.write("no picture", to: "in/b.png")
        let stopped = try batch(["in", "-o", "out", "--on-error", "stop"])
        #expect(stopped.code == 1 && stopped.lines == ["out/a-42.mp4"], "\(stopped.errors)")
        #expect(stopped.errors.contains("1 left for another run"))
        try picture("in/b.png")
        let name = "it's {name}-{seed}.mp4"
        try scratch.write("no picture", to: "in/c.png")
        let failed = try batch(
            ["in", "-o", "o\nut", "--name", name, "--limit", "3", "--seed", "random", "--progress", "json"])
        #expect(failed.code == 1 && failed.lines.count > 1, "\(failed.errors)")
        let again = try #require(objects(failed.errors).last).string("again")
        #expect(!again.contains("\n") && !again.contains("--limit"))
        try picture("in/c.png")
        try picture("in/d.png")
        let fixed = try Executable.shell("ruyi() { \"$RUYI\" \"$@\"; }; \(again)", in: scratch.path)
        #expect(fixed.code == 0, "\(again)\n\(fixed.errors)")
        let done = try #require(objects(fixed.errors).last)
        #expect(try done.int("done") == 1 && done.int("skipped") == 2 && done.int("left") == 1)
        #expect(fixed.output.hasPrefix("o\nut/it's c-"))
        let files = try FileManager.default.contentsOfDirectory(atPath: scratch("o\nut")).filter { $0.hasSuffix("mp4") }
        #expect(Set(files.map { $0.split(separator: "-").last }).count == 1 && files.count == 3)
    }

    @Test(
        "clips are tried again for what may pass, as often as is allowed, and for nothing else",
        arguments: [
            (Fault.Kind.io, 1, 1, 0), (.resources, 1, 1, 0), (.locked, 1, 1, 0), (.io, 2, 1, 1), (.badData, 1, 3, 1),
            (.io, 1, 0, 1),
        ])
    func retries(_ kind: Fault.Kind, _ failures: Int, _ retries: Int, _ failed: Int) throws {
        try scratch.folder("fake-model")
        ScarceFamily.failures.withLock { $0 = (failures, kind) }
        var defaults = Order()
        defaults.request.model = scratch("fake-model")
        var order = BatchOrder(source: scratch("in"), folder: scratch("out"), defaults: defaults)
        order.retries = retries
        order.includes = ["a.png"]
        let recorder = Recorder()
        let engine = Engine(families: [ScarceFamily.self], observer: recorder.receive)
        let summary = try Batch(order, engine: engine).render(cancellation: Cancellation()) { _ in }
        #expect(summary.failed.values.reduce(0, +) == failed && summary.finished == 1 - failed)
        let tried = recorder.warnings.filter { $0.contains("tried again") }.count
        #expect(tried == (kind == .badData ? 0 : min(failures, retries)))
        let journal = try objects(try FileBytes.text(scratch("out/.ruyi-batch.jsonl")))
        let last = try #require(journal.last)
        #expect(try last.string("event") == (failed == 0 ? "done" : "failed"))
        #expect(try journal.filter { try $0.string("event") == "start" }.count == tried + 1)
    }

    // MARK: seeds

    @Test(
        "variations count up from the seed, one after another in a run and in a batch, and more of them keep the first")
    func variations() throws {
        let alone = try Executable.run(
            ["in/a.png", "--seed", "7", "--variations", "3", "-q"] + quick, in: scratch.path)
        #expect(alone.lines == ["a-7.mp4", "a-8.mp4", "a-9.mp4"], "\(alone.errors)")
        let few = try batch(["in", "-o", "out", "--seed", "7", "--variations", "2", "--include", "a.png", "-q"])
        #expect(few.lines == ["out/a-7.mp4", "out/a-8.mp4"], "\(few.errors)")
        #expect(try FileBytes.read(scratch("a-8.mp4")) == FileBytes.read(scratch("out/a-8.mp4")))
        let more = try batch(["in", "-o", "out", "--seed", "7", "--variations", "3", "--include", "a.png", "-q"])
        #expect(more.lines == ["out/a-9.mp4"], "\(more.errors)")
        for wrong in [["--variations", "0"], ["--variations", "10001"], ["--variations", "2", "--seed", "1,2"]] {
            let outcome = try Executable.run(["in/a.png"] + wrong + quick, in: scratch.path)
            #expect(outcome.code == 64 && outcome.errors.contains("variations"), "\(outcome.errors)")
        }
        try scratch.write("{\"image\": \"in/a.png\", \"variations\": 10000}\n", to: "list.jsonl")
        let many = (0..<11).map { "{\"image\": \"in/a.png\", \"id\": \"\($0)\", \"variations\": 10000}" }
        try scratch.write(many.joined(separator: "\n"), to: "list.jsonl")
        let outcome = try batch(["list.jsonl", "-o", "new"])
        #expect(outcome.code == 64 && outcome.errors.contains("more than 100000 clips (list.jsonl:11)"))
    }

    @Test("a seed that is drawn is told of, recorded, another one each time, and gives the same clip when it is named")
    func random() throws {
        let first = try Executable.run(["in/a.png", "--seed", "random"] + quick, in: scratch.path)
        let file = try #require(first.lines.first)
        let seed = String(file.dropFirst("a-".count).dropLast(".mp4".count))
        #expect(first.code == 0 && first.errors.contains("the seed \(seed) was drawn"), "\(first.errors)")
        #expect(try Executable.run(["inspect", file], in: scratch.path).output.contains(seed))
        let named = try Executable.run(["in/a.png", "--seed", seed, "-o", "same.mp4", "-q"] + quick, in: scratch.path)
        #expect(named.code == 0)
        #expect(try FileBytes.read(scratch(file)) == FileBytes.read(scratch("same.mp4")))
        let plans = try (0..<3).map { _ in
            try Executable.run(
                ["in/a.png", "--dry-run", "-q"] + quick, in: scratch.path, environment: ["RUYI_SEED": "random"]
            ).output
        }
        #expect(Set(plans).count > 1)
    }

    // MARK: plans

    @Test("the plan of a folder has a line a clip, what is done already, and what all of them come to")
    func plan() throws {
        try scratch.write("no picture", to: "in/c.png")
        #expect(try batch(["in", "-o", "out", "--include", "a.png", "-q"]).code == 0)
        let before = scratch.files
        let people = try Executable.run(["plan", "in", "-o", "out", "--seed", "42,43"] + quick, in: scratch.path)
        #expect(people.code == 1 && people.errors.contains("in/c.png"), "\(people.errors)")
        let lines = people.lines
        #expect(lines.count == 10 && lines[0].hasPrefix("clip ") && lines[0].hasSuffix(" disk"), "\(people.output)")
        #expect(lines[1].hasPrefix("out/a-43.mp4  48x32  ") && lines[3].hasPrefix("out/b-43.mp4"))
        #expect(Set(lines[0...3].map(\.count)).count == 1)
        #expect(people.output.contains("clips   3 to render, 1 done already, 2 cannot be rendered"))
        #expect(people.output.contains("frames  24, 1.0 s of video"))
        let json = try Executable.run(["plan", "in", "-o", "out", "--json"] + quick, in: scratch.path)
        let total = try #require(objects(json.output).last)
        #expect(try total.int("clips") == 1 && total.int("done_before") == 1 && total.int("failed") == 1)
        #expect(try total.int("frames") == 8 && total.int("disk_bytes") > 0 && total.int("memory_bytes") > 1 << 20)
        #expect(scratch.files == before)
        let single = try Executable.run(["plan", "in/a.png", "--recursive"] + quick, in: scratch.path)
        #expect(single.code == 64 && single.errors.contains("ruyi batch"), "\(single.errors)")
    }

    // MARK: presets

    @Test("every preset fits the bundled checkpoint, and takes no more steps than it recommends")
    func presets() throws {
        func plan(_ preset: String) throws -> JSONObject {
            let outcome = try Executable.run(
                ["in/a.png", "--no-config", "--dry-run", "--preset", preset], in: scratch.path)
            #expect(outcome.code == 0, "\(preset): \(outcome.errors)")
            return try JSONObject(parsing: Array(outcome.output.utf8), file: preset)
        }
        let standard = try plan("standard")
        let smoke = try plan("smoke")
        let draft = try plan("draft")
        #expect(try smoke.int("steps") == 4 && smoke.int("frames") == 8 && smoke.int("seed") == 42)
        #expect(try draft.int("steps") == standard.int("steps") && draft.json["teacache"] != .null)
        #expect(try draft.int("tokens") < standard.int("tokens"))
        let asked = try Executable.run(
            ["in/a.png", "--no-config", "--dry-run", "--preset", "draft", "--steps", "20"], in: scratch.path)
        #expect(try JSONObject(parsing: Array(asked.output.utf8), file: "plan").int("steps") == 20)
        let shown = try Executable.run(
            ["in/a.png", "--no-config", "--print-config", "--preset", "draft"], in: scratch.path)
        #expect(shown.output.contains("preset draft, or the model's own if fewer"))
        #expect(shown.lines.contains { $0.hasPrefix("teacache ") && $0.contains(" true ") })
        let outcome = try Executable.run(
            ["in/a.png", "--preset", "archive", "-q"] + quick, in: scratch.path)
        #expect(outcome.lines == ["a-42.mkv"], "\(outcome.errors)")
        #expect(scratch.files.contains("a-42.latents.safetensors"))
        let facts = try Executable.run(["inspect", "a-42.mkv"], in: scratch.path)
        #expect(facts.output.contains("ffv1"), "\(facts.output)")
    }

    // MARK: journals

    @Test("a journal that is cut anywhere costs at most the clip that it was cut in")
    func cuts() throws {
        try scratch.folder("fake-model")
        var defaults = Order()
        defaults.request.model = scratch("fake-model")
        var order = BatchOrder(source: scratch("in"), folder: scratch("out"), defaults: defaults)
        order.includes = ["[ab].png"]
        let engine = Engine(families: [FakeFamily.self])
        let cutOrder = order
        func render() throws -> BatchSummary {
            try Batch(cutOrder, engine: engine).render(cancellation: Cancellation()) { _ in }
        }
        #expect(try render().finished == 2)
        let path = scratch("out/.ruyi-batch.jsonl")
        let journal = try FileBytes.read(path)
        let names = ["a-42.mp4", "b-42.mp4"]
        let clips = try names.map { Data(try FileBytes.read(scratch("out/" + $0))) }
        for count in 0...journal.count {
            let whole = String(decoding: journal[..<count], as: UTF8.self).split(
                separator: "\n", omittingEmptySubsequences: false
            ).dropLast()
            let begun = whole.count { $0.contains("\"start\"") }
            let done = whole.count - begun
            // A clip has a file once it is begun at the earliest.
            for (index, name) in names.enumerated() {
                if index < begun {
                    // What is there has been compared already.
                    if FileManager.default.fileExists(atPath: scratch("out/" + name)) { continue }
                    try clips[index].write(to: URL(fileURLWithPath: scratch("out/" + name)))
                } else {
                    unlink(scratch("out/" + name))
                }
            }
            try Data(journal[..<count]).write(to: URL(fileURLWithPath: path))
            #expect(try Batch(cutOrder, engine: engine).plan().finished == done, "\(count)")
            guard count.isMultiple(of: 61) else { continue }
            let summary = try render()
            #expect(summary.finished == 2 - done && summary.skipped == done && summary.failed.isEmpty, "\(count)")
            for (name, clip) in zip(names, clips) {
                #expect(try Data(FileBytes.read(scratch("out/" + name))) == clip, "\(count) \(name)")
            }
        }
    }
}
