import Foundation
import RuyiEngine
import RuyiFiles
import Testing

/// What runs take of the machine's memory, and what they say about it before.
@Suite("Memory", .serialized)
struct MemoryTests {
    let scratch: Scratch
    let lake = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path

    let golden = Golden(name: "i2v-bucket")
    /// A clip of a tenth of a second.
    let tiny = ["--size", "48x32", "--frames", "8", "--steps", "1"]

    init() throws { scratch = try Scratch() }

    func plan(_ arguments: [String]) throws -> JSONObject {
        let outcome = try Executable.run(["plan", lake, "--no-config", "--json"] + arguments, in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        return try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
    }

    /// Renders a clip and gives the most memory of its own that the process was seen to have, in bytes.
    func measured(_ arguments: [String]) throws -> (peak: Int, outcome: Outcome) {
        let running = try Executable.start(
            [Executable.path, lake, "--no-config", "--overwrite"] + arguments, in: scratch.path)
        let status = "/proc/\(running.process)/status"
        var peak = 0
        while let text = try? String(contentsOfFile: status, encoding: .utf8), text.contains("RssAnon:") {
            let line = text.split(separator: "\n").first { $0.hasPrefix("RssAnon:") } ?? ""
            peak = max(peak, line.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first ?? 0)
            usleep(500)
        }
        return (peak * 1024, running.finish())
    }

    @Test(
        "a plan lies at most 5 % below and 15 % above the peak that is measured",
        arguments: [
            "--size 160x96 --frames 8", "--size 160x96 --frames 24 --codec hevc",
            "--size 160x96 --frames 24 --guidance 3 --threads 4 --precision int8",
            "--size 256x160 --frames 8 -o clip.gif", "--size 256x160 --frames 8 -o f/%d.png --vae-tile 128",
        ])
    func plans(_ options: String) throws {
        let arguments = options.split(separator: " ").map(String.init) + ["--steps", "1"]
        let planned = try plan(arguments).int("peak_memory_bytes")
        let (peak, outcome) = try measured(arguments)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let ratio = Double(planned) / Double(max(peak, 1))
        #expect((0.95...1.15).contains(ratio), "\(planned) planned, \(peak) measured, ratio \(ratio)")
    }

    @Test("a plan says the mode of saving memory, its reason, the parts' weights and the time")
    func modes() throws {
        let options = ["--size", "256x160", "--frames", "8", "--steps", "1", "--guidance", "3"]
        func need(_ plan: JSONObject) throws -> Int {
            try plan.int("peak_memory_bytes") + plan.int("resident_weight_bytes")
        }
        // Of a tiny clip most is the weights, of a larger one most is what the VAE computes.
        let resident = try plan(tiny)
        #expect(try resident.string("memory_mode") == "resident" && resident.double("estimated_seconds") > 0)
        let between = try (need(resident) + need(plan(tiny + ["--memory-mode", "stream"]))) / 2
        let stream = try plan(tiny + ["--memory", "\(between)"])
        #expect(try stream.string("memory_mode") == "stream")
        #expect(try stream.string("memory_mode_reason").contains("--memory leaves"))
        #expect(try stream.int("resident_weight_bytes") < resident.int("resident_weight_bytes"))
        let least = try plan(options + ["--memory-mode", "stream"])
        let tiled = try plan(options + ["--memory", "\(need(least) * 9 / 10)"])
        #expect(try tiled.string("memory_mode") == "tiled" && tiled.int("vae_tile") != 0)
        #expect(try tiled.int("peak_memory_bytes") < least.int("peak_memory_bytes"))
        #expect(try tiled.strings("notes").contains { $0.contains("tiles") })
    }

    @Test("streaming gives the same frames, and tiles are kept with the clip")
    func frames() throws {
        let options = ["--size", "160x96", "--frames", "8", "--steps", "2", "--guidance", "3"]
        func digest(_ name: String, _ more: [String]) throws -> Data {
            let outcome = try Executable.run(
                [lake, "--no-config", "-o", "\(name)/%d.png", "--no-metadata"] + options + more, in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try (0..<8).reduce(Data()) {
                try $0 + Data(contentsOf: URL(fileURLWithPath: scratch("\(name)/\($1).png")))
            }
        }
        let resident = try digest("resident", ["--memory-mode", "resident"])
        #expect(try digest("stream", ["--memory-mode", "stream"]) == resident)
        #expect(try digest("tiled", ["--vae-tile", "64"]) != resident)
        let clip = try Executable.run(
            [lake, "--no-config", "-o", "clip.mp4", "--memory-mode", "tiled", "--vae-tile", "64"] + options,
            in: scratch.path)
        #expect(clip.code == 0, "\(clip.errors)")
        #expect(clip.errors.contains("tiles"))
        let made = try Executable.run(["inspect", "clip.mp4", "--json"], in: scratch.path)
        #expect(made.output.contains("vae_tile"), "\(made.output)")
    }

    @Test("what cannot fit in any mode is refused at once with what would fit")
    func refusal() throws {
        let outcome = try Executable.run(
            [lake, "--no-config", "--size", "720p", "--frames", "120", "--memory", "300M"], in: scratch.path)
        #expect(outcome.code == 71 && outcome.errors.contains("--memory leaves 300 MB"), "\(outcome.errors)")
        #expect(outcome.errors.contains("these would fit: "))
        #expect(scratch.files.isEmpty)
        let mode = try Executable.run(
            ["plan", lake, "--no-config", "--size", "256x160", "--frames", "8", "--memory-mode", "resident"]
                + ["--memory", "150MB"], in: scratch.path)
        #expect(mode.code == 71 && mode.errors.contains("--memory-mode tiled needs"), "\(mode.errors)")
    }

    @Test(
        "a budget is a size or a share", arguments: ["8G", "8GB", "512MiB", "75%", "1.5 G", "0", "-1G", "101%", "8X"])
    func budgets(_ text: String) throws {
        let expected: [String: MemoryBudget] = [
            "8G": .bytes(8_000_000_000), "8GB": .bytes(8_000_000_000), "512MiB": .bytes(512 << 20), "75%": .share(0.75),
        ]
        #expect(MemoryBudget(text) == expected[text])
        let outcome = try Executable.run(["plan", lake, "--no-config", "--memory", text])
        #expect((outcome.code == 64) == (expected[text] == nil), "\(outcome.errors)")
    }

    @Test("a clip that does not fit is rendered when a person says so")
    func ignored() throws {
        let options = [golden("start.png"), "-m", golden("model"), "--no-config", "-o", "clip.mp4"] + tiny
        let refused = try Executable.run(options + ["--memory", "1M"], in: scratch.path)
        #expect(refused.code == 71 && scratch.files.isEmpty, "\(refused.errors)")
        let tried = try Executable.run(options + ["--memory", "1M", "--ignore-memory"], in: scratch.path)
        #expect(tried.code == 0 && tried.errors.contains("--memory leaves 1 MB"), "\(tried.errors)")
        #expect(scratch.files == ["clip.mp4"])
    }

    @Test("the line before a run and a batch's totals say about how long it takes")
    func estimates() throws {
        let options = ["-m", golden("model"), "--no-config"]
        let outcome = try Executable.run([golden("start.png"), "-o", "clip.mp4"] + options + tiny, in: scratch.path)
        let line = try #require(outcome.errors.split(separator: "\n").first { $0.hasPrefix("ruyi: plan: ") })
        #expect(line.contains(", about ") && line.hasSuffix(" s"), "\(line)")
        try FileManager.default.createDirectory(atPath: scratch("stills"), withIntermediateDirectories: false)
        for name in ["a", "b"] {
            try FileManager.default.copyItem(atPath: golden("start.png"), toPath: scratch("stills/\(name).png"))
        }
        let longer = options + ["--size", "256x256", "--frames", "24", "--steps", "50"]
        let batch = try Executable.run(["plan", "stills", "--json"] + longer, in: scratch.path)
        let clips = try batch.lines.map { try JSONObject(parsing: Array($0.utf8), file: "plan") }
        #expect(try clips.count == 3 && clips[2].double("estimated_seconds") > clips[0].double("estimated_seconds"))
        let people = try Executable.run(["plan", "stills"] + longer, in: scratch.path)
        #expect(people.lines.contains { $0.hasPrefix("time    about ") }, "\(people.output)")
    }

    @Test(
        "an allocation that the system refuses ends with exit code 71 and leaves nothing but latents that it names")
    func refusedAllocations() throws {
        func limited(_ kilobytes: Int, _ arguments: String) throws -> Outcome {
            try Executable.shell("ulimit -v \(kilobytes); exec \"$RUYI\" \(arguments)", in: scratch.path)
        }
        // What it takes to begin, and from there on step by step more, so that another allocation fails each time.
        let least = try #require(
            try stride(from: 200_000, through: 4_000_000, by: 20_000).first { try limited($0, "--version").code == 0 })
        let clip = "\(golden("start.png")) -m \(golden("model")) --no-config -o clip.mp4 --ignore-memory "
        var refused = 0
        for step in 0..<14 {
            let outcome = try limited(least + step * 12_000, clip + tiny.joined(separator: " "))
            if outcome.code == 0 {
                #expect(unlink(scratch("clip.mp4")) == 0)
                continue
            }
            #expect(outcome.code == 71, "\(least) + \(step): \(outcome.code) \(outcome.errors)")
            refused += 1
            // Where it was refused in decoding, what is finished is kept.
            let latents = "clip.latents.safetensors"
            if scratch.files == [latents] && outcome.errors.contains(latents) { #expect(unlink(scratch(latents)) == 0) }
            #expect(scratch.files.isEmpty, "\(scratch.files)")
        }
        #expect(refused > 0)
    }

    @Test("memory is back at the same level after each of twenty clips")
    func returned() throws {
        let seeds = (1...20).map(String.init).joined(separator: ",")
        let running = try Executable.start(
            [Executable.path, golden("start.png"), "-m", golden("model"), "--no-config", "-s", seeds]
                + ["-o", "clip-{seed}.mp4", "--progress", "none"] + tiny, in: scratch.path,
            // The C library keeps nothing of what is freed, which would hide what the program does.
            environment: ["MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"])
        let status = "/proc/\(running.process)/status"
        // The least memory seen while each clip was under way, which it has at its beginning.
        var least: [Int: Int] = [:]
        while let text = try? String(contentsOfFile: status, encoding: .utf8), text.contains("VmRSS:") {
            let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
            let bytes = line.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first ?? 0
            let done = scratch.files.filter { $0.hasPrefix("clip-") && $0.hasSuffix(".mp4") }.count
            least[done] = min(least[done] ?? .max, bytes)
            usleep(500)
        }
        #expect(running.finish().code == 0)
        // What the first clips leave in the caches of libraries is part of the level.
        func level(_ clips: ClosedRange<Int>) throws -> Int { try #require(clips.compactMap { least[$0] }.min()) }
        let (early, late) = try (level(4...10), level(13...19))
        #expect(abs(late - early) * 100 <= early, "\(early) KiB after the first clips, \(late) after the last")
    }
}
