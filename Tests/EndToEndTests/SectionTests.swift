import Foundation
import GoldenRecords
import RuyiFiles
import RuyiMedia
import RuyiTensor
import Testing

/// Clips that are made section by section: watched meanwhile, stopped, killed and gone on with.
@Suite("clips that grow and resume", .serialized)
struct SectionTests {
    private let golden = Golden(name: "i2v-cfg-rescale", family: "framepack")
    private let scratch: Scratch
    private let variants = ["i2v", "f1"]
    /// Enough that a run is far from its end when the test has seen its first sections.
    private let manySteps = 120

    init() throws {
        scratch = try Scratch()
        try golden.record.copy("model", to: scratch("model"))
        try FileManager.default.copyItem(atPath: golden("image.png"), toPath: scratch("image.png"))
    }

    private func arguments(_ output: String, _ options: [String], steps: Int = 3, sections: Int = 6) -> [String] {
        [
            "image.png", "-p", "A cat.", "-m", "model", "-o", output, "--size", "64x64", "--latent-window-size", "2",
            "--no-teacache", "--steps", String(steps), "--sections", String(sections),
        ] + options
    }

    @discardableResult
    private func render(_ output: String, _ options: [String] = [], steps: Int = 3) throws -> Outcome {
        try Executable.run(arguments(output, options, steps: steps), in: scratch.path)
    }

    private func bytes(_ name: String) -> Data? { FileManager.default.contents(atPath: scratch(name)) }

    private func sections(_ folder: String = "c.sections") -> Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: scratch(folder))) ?? []
        return names.filter { $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") }.count
    }

    private func isThere(_ name: String) -> Bool { FileManager.default.fileExists(atPath: scratch(name)) }

    private func remove(_ name: String) { try? FileManager.default.removeItem(atPath: scratch(name)) }

    /// Starts a run of many steps and waits until so many sections are finished.
    private func running(_ options: [String], sections count: Int) throws -> Running {
        let running = try Executable.start(
            [Executable.path] + arguments("c.mp4", options, steps: manySteps), in: scratch.path)
        try #require(running.waits(for: "section \(count) of 6"), "\(running.errorText)")
        return running
    }

    @Test("a clip that grows is the clip in the end, and tells of each section")
    func grows() throws {
        for variant in variants {
            #expect(try render("plain.mp4", ["--variant", variant, "--overwrite"]).code == 0)
            let grown = try render(
                "grown.mp4", ["--variant", variant, "--overwrite", "--grow", "--progress", "json"])
            #expect(grown.code == 0, "\(grown.errors)")
            #expect(bytes("grown.mp4") == bytes("plain.mp4"))
            let events = try grown.errors.split(separator: "\n").map {
                try JSONObject(parsing: Array($0.utf8), file: "event")
            }.filter { try $0.string("event") == "section" }
            #expect(try events.map { try $0.int("done") } == [1, 2, 3, 4, 5, 6])
            #expect(
                try events.map { try $0.int("frames") }
                    == (1...6).map { 8 * $0 + (variant == "f1" || $0 == 6 ? 1 : -3) })
            #expect(try events.allSatisfy { try $0.int("total") == 6 && $0.string("file") == "grown.mp4" })
            #expect(try events[0].string("part") == (variant == "i2v" ? "end" : "start"))
        }
        #expect(!isThere("grown.sections") && !isThere("grown.latents.safetensors"))
        // Frames may go into a folder that is not there yet.
        let pictures = try render("made/%03d.png", ["--variant", "f1"], steps: 1)
        #expect(pictures.code == 0 && !isThere("made/frames.sections"), "\(pictures.errors)")
        // Plans know that frames are made beside the model.
        func peak(_ options: [String]) throws -> Int {
            let plan = try render("p.mp4", ["--dry-run", "--size", "256x256", "--overwrite"] + options)
            return try JSONObject(parsing: Array(plan.output.utf8), file: "plan").int("peak_memory_bytes")
        }
        #expect(try peak(["--grow"]) > peak([]))
    }

    @Test("what a clip that grows shows plays at any time", arguments: ["i2v", "f1"])
    func plays(variant: String) throws {
        let running = try running(["--variant", variant, "--grow"], sections: 2)
        running.send(SIGKILL)
        #expect(running.finish().code == 128 + SIGKILL)
        #expect(sections() >= 2 && !isThere("c.latents.safetensors"))
        let facts = try VideoReader(scratch("c.mp4")).facts
        let made = sections()
        // The kill may come between a section and its frames.
        let frames = [made - 1, made].map { 8 * $0 + (variant == "f1" ? 1 : -3) }
        #expect(frames.contains(facts.frameCount), "\(facts)")
        let inspected = try Executable.run(["inspect", "c.mp4", "--json"], in: scratch.path)
        #expect(inspected.code == 0 && inspected.output.contains("unfinished"), "\(inspected.output)")
        // The frames are those of the finished clip, but for the edge that the next section changes.
        #expect(try render("c.mp4", ["--variant", variant, "--resume", "--grow"], steps: manySteps).code == 0)
        #expect(try render("whole.mp4", ["--variant", variant], steps: manySteps).code == 0)
        #expect(bytes("c.mp4") == bytes("whole.mp4"))
        #expect(try !Executable.run(["inspect", "c.mp4", "--json"], in: scratch.path).output.contains("unfinished"))
    }

    @Test("a run that is killed at twenty random points and resumed ends with the same bytes")
    func killed() throws {
        let started = Date()
        #expect(try render("whole.mp4").code == 0)
        let whole = Date().timeIntervalSince(started)
        let expected = bytes("whole.mp4")
        var kills = 0
        var resumed = 0
        var rounds = 0
        while kills < 20, rounds < 200 {
            rounds += 1
            let options = ["--resume"] + (rounds % 2 == 0 ? ["--grow"] : [])
            let running = try Executable.start([Executable.path] + arguments("c.mp4", options), in: scratch.path)
            usleep(UInt32(Double.random(in: 0..<whole) * 1e6))
            running.send(SIGKILL)
            let outcome = running.finish()
            if outcome.errors.contains("taken over") { resumed += 1 }
            guard outcome.code == 0 else {
                kills += 1
                #expect(outcome.code == 128 + SIGKILL, "\(outcome.errors)")
                continue
            }
            // It had ended before; another one begins anew.
            #expect(bytes("c.mp4") == expected && !isThere("c.sections"))
            remove("c.mp4")
        }
        #expect(kills == 20 && resumed > 0)
        let last = try render("c.mp4", ["--resume"])
        #expect(last.code == 0, "\(last.errors)")
        #expect(bytes("c.mp4") == expected)
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
        #expect(names == ["c.mp4", "image.png", "model", "whole.mp4"])
        // Once more, and there is nothing to do.
        let again = try render("c.mp4", ["--resume"])
        #expect(again.code == 0 && again.errors.contains("finished already") && again.lines == ["c.mp4"])
        #expect(try render("c.mp4", ["--resume", "--seed", "7"]).code == 73)
    }

    @Test("a stop leaves sections when asked to, and nothing otherwise")
    func stopped() throws {
        for (options, isKept) in [
            ([], false), (["--keep-sections"], true), (["--resume", "--no-keep-sections"], false),
        ] {
            let running = try running(options, sections: 2)
            running.send(SIGINT)
            let outcome = running.finish()
            #expect(outcome.code == 130, "\(outcome.errors)")
            #expect(isThere("c.sections") == isKept && (!isKept || sections() >= 2))
            #expect(outcome.errors.contains("--resume") == isKept, "\(outcome.errors)")
            #expect(!isThere("c.mp4"))
            remove("c.sections")
        }
        // What is said of the output is what there is.
        for (options, word) in [([], "no partial output"), (["--grow"], "c.mp4 holds the")] {
            let stopped = try self.running(options, sections: 2)
            stopped.send(SIGINT)
            let words = stopped.finish().errors
            #expect(words.contains(word) && isThere("c.mp4") == (word != "no partial output"), "\(words)")
            remove("c.mp4")
        }
        let running = try running(["--keep-sections"], sections: 2)
        running.send(SIGINT)
        _ = running.finish()
        // They are hours of work, so that nothing is lost to a forgotten option.
        let forgotten = try render("c.mp4", steps: manySteps)
        #expect(forgotten.code == 73 && forgotten.errors.contains("--resume goes on"), "\(forgotten.errors)")
        for (options, word) in [
            (["--seed", "7"], "another seed"), (["-p", "A dog."], "another prompt"),
            (["--guidance", "4"], "another guidance"),
        ] {
            let other = try render("c.mp4", ["--resume"] + options, steps: manySteps)
            #expect(other.code == 65 && other.errors.contains(word), "\(other.errors)")
        }
        // What a kill leaves of the files beside the clip is nobody's work.
        for name in ["c.mp4", "c.latents.safetensors"] {
            try Data([1]).write(to: URL(fileURLWithPath: scratch(".\(name).4194304-0123456789abcdef.part")))
        }
        // How frames are compressed is no matter to latents.
        let resumed = try render("c.mp4", ["--resume", "--crf", "30"], steps: manySteps)
        #expect(resumed.code == 0 && resumed.errors.contains("taken over"), "\(resumed.errors)")
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(!names.contains { $0.hasSuffix(".part") }, "\(names)")
    }

    @Test("sections that are damaged, of another shape or under another run's hands are refused")
    func damaged() throws {
        let first = try running(["--keep-sections"], sections: 2)
        first.send(SIGINT)
        _ = first.finish()
        let file = "c.sections/0000.safetensors"
        let whole = try #require(bytes(file))
        try whole.prefix(whole.count / 2).write(to: URL(fileURLWithPath: scratch(file)))
        let cut = try render("c.mp4", ["--resume"], steps: manySteps)
        #expect(cut.code == 65 && cut.errors.contains(file), "\(cut.errors)")
        let text = try SafetensorsFile(path: scratch("c.sections/0001.safetensors")).header.metadata
        let metadata = Dictionary(uniqueKeysWithValues: text.map { ($0.key, $0.value.string ?? "") })
        try SafetensorsWriter.write(
            [("latents", HostTensor([0, 0], [1, 2]))], metadata: metadata, to: scratch(file), overwrite: true)
        let other = try render("c.mp4", ["--resume"], steps: manySteps)
        #expect(other.code == 65 && other.errors.contains("section 1"), "\(other.errors)")
        // One that is missing is made again, and so is what stands behind it.
        remove("c.sections")
        let third = try running(["--keep-sections"], sections: 3)
        third.send(SIGINT)
        _ = third.finish()
        remove("c.sections/0001.safetensors")
        let filled = try render("c.mp4", ["--resume", "--progress", "plain"], steps: manySteps)
        #expect(filled.code == 0 && filled.errors.contains("1 section is finished already"), "\(filled.errors)")
        remove("c.mp4")
        let fourth = try running(["--keep-sections"], sections: 1)
        fourth.send(SIGINT)
        _ = fourth.finish()
        // What was there is worth nothing now.
        #expect(try render("c.mp4", ["--overwrite"]).code == 0)
        #expect(!isThere("c.sections"))
        remove("c.mp4")

        let holder = try running([], sections: 1)
        let second = try render("c.mp4", ["--resume"], steps: manySteps)
        #expect(second.code == 75 && second.errors.contains("is at work"), "\(second.errors)")
        holder.send(SIGINT)
        _ = holder.finish()
        #expect(!isThere("c.sections"))
        try scratch.write("a file", to: "c.sections")
        #expect(try render("c.mp4").code == 73)
    }

    @Test("what cannot grow or resume is refused")
    func refusals() throws {
        for (output, options, word) in [
            ("-", ["--grow"], "only a video file can grow"), ("f/%03d.png", ["--grow"], "only a video file can grow"),
            ("c.mp4", ["--grow", "--trace", "t.safetensors"], "--grow and --trace"),
            ("c.mp4", ["--resume", "--trace", "t.safetensors"], "--resume and --trace"),
        ] {
            let outcome = try render(output, options)
            #expect(outcome.code == 64 && outcome.errors.contains(word), "\(outcome.errors)")
        }
        let hunyuan = Golden(name: "t2v-basic", family: "hunyuanvideo")
        let outcome = try Executable.run(
            ["-p", "A cat.", "-m", hunyuan("model"), "--grow", "-o", "c.mp4"], in: scratch.path)
        #expect(outcome.code == 64 && outcome.errors.contains("has no --grow"), "\(outcome.errors)")
    }

    @Test("a batch goes on with the sections of the clip that it was stopped in")
    func batch() throws {
        try scratch.write("image.png\tA cat.\n", to: "list.txt")
        func batch(_ output: String, _ options: [String] = []) -> [String] {
            ["batch", "list.txt", "-o", output]
                + arguments("x", options, steps: manySteps).dropFirst(3).filter { $0 != "-o" && $0 != "x" }
        }
        #expect(try Executable.run(batch("whole"), in: scratch.path).code == 0)
        let running = try Executable.start([Executable.path] + batch("out"), in: scratch.path)
        try #require(running.waits(for: "section 2 of 6"), "\(running.errorText)")
        running.send(SIGKILL)
        _ = running.finish()
        #expect(sections("out/image-42.sections") >= 2)
        let resumed = try Executable.run(batch("out"), in: scratch.path)
        #expect(resumed.code == 0 && resumed.errors.contains("taken over"), "\(resumed.errors)")
        #expect(bytes("out/image-42.mp4") == bytes("whole/image-42.mp4"))
        #expect(!isThere("out/image-42.sections"))
    }
}
