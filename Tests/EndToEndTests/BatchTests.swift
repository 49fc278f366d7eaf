import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Synchronization
import Testing

/// A list of pictures that must be refused, with the words that the message must hold.
struct BadList: Sendable, CustomTestStringConvertible {
    let suffix: String
    let text: String
    let words: [String]
    let code: Int32

    init(_ suffix: String, _ text: String, _ words: String..., code: Int32 = 65) {
        self.suffix = suffix
        self.text = text
        self.words = words
        self.code = code
    }

    var testDescription: String { "\(suffix): \(text.prefix(60))" }
}

@Suite("Batches", .serialized)
struct BatchTests {
    let golden = Golden(name: "i2v-bucket")
    let scratch: Scratch

    init() throws {
        scratch = try Scratch()
        for name in ["a.png", "b.png", "c.png"] { try picture("in/" + name) }
    }

    /// Clips of a moment each, and one of half a minute.
    let quick = ["--size", "48x32", "--frames", "8", "--steps", "2"]
    let slow = ["--size", "128x128", "--frames", "120", "--steps", "500"]

    /// A picture of one colour that follows from its name.
    func picture(_ name: String) throws {
        try scratch.folder((name as NSString).deletingLastPathComponent)
        let level = UInt8(truncatingIfNeeded: name.utf8.reduce(7) { $0 &* 31 &+ Int($1) })
        try PictureWriter.write(
            Picture(width: 24, height: 16, pixels: [UInt8](repeating: level, count: 24 * 16 * 3)),
            to: scratch(name))
    }

    func batch(_ arguments: [String]) throws -> Outcome {
        try Executable.run(["batch", "-m", golden("model"), "--no-config"] + arguments, in: scratch.path)
    }

    /// Every file of a folder with its bytes, without the journals.
    func contents(_ folder: String) throws -> [String: Data] {
        var result: [String: Data] = [:]
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: scratch(folder))) ?? []
        for name in names where !name.hasPrefix(".ruyi-batch") {
            result[name] = FileManager.default.contents(atPath: scratch(folder) + "/" + name) ?? Data("folder".utf8)
        }
        return result
    }

    func journal(_ folder: String) throws -> [JSONObject] {
        let text = try FileBytes.text(scratch(folder) + "/.ruyi-batch.jsonl")
        return try text.split(separator: "\n").map { try JSONObject(parsing: Array($0.utf8), file: "journal") }
    }

    // MARK: what comes out

    @Test("a folder becomes a clip a picture, by name, with a journal; a second run has nothing to do")
    func folder() throws {
        try scratch.write("waves", to: "in/b.txt")
        try scratch.write("no picture", to: "in/note.md")
        try picture("in/deep/d.png")
        let outcome = try batch(["in", "-o", "out"] + quick)
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.lines == ["out/a-42.mp4", "out/b-42.mp4", "out/c-42.mp4"])
        #expect(outcome.errors.contains("clip 2 of 3") && outcome.errors.contains("batch: 3 done, 0 done before"))
        #expect(outcome.errors.contains("reads no text"))
        #expect(try VideoReader(scratch("out/b-42.mp4")).facts.frameCount == 8)
        #expect(
            try journal("out").map { try $0.string("event") } == ["start", "done", "start", "done", "start", "done"])
        let before = try contents("out")
        let again = try batch(["in", "-o", "out"] + quick)
        #expect(again.code == 0 && again.output.isEmpty && again.errors.contains("0 done, 3 done before"))
        #expect(try contents("out") == before && journal("out").count == 6)
        let deep = try batch(["in", "-o", "out", "--recursive", "-q"] + quick)
        #expect(deep.lines == ["out/deep/d-42.mp4"] && deep.errors.isEmpty, "\(deep.errors)")
    }

    @Test("a clip of a batch has the bytes of the same clip alone")
    func sameAsAlone() throws {
        let outcome = try batch(["in", "-o", "out", "--seed", "1,7", "--camera", "left", "-q"] + quick)
        #expect(outcome.code == 0 && outcome.lines.count == 6, "\(outcome.errors)")
        let alone = try Executable.run(
            ["in/b.png", "-m", golden("model"), "--seed", "7", "--camera", "left", "-q", "-o", "alone.mp4"] + quick,
            in: scratch.path)
        #expect(alone.code == 0)
        #expect(
            try FileBytes.read(scratch("alone.mp4")) == FileBytes.read(scratch("out/b-7.mp4")))
        #expect(try FileBytes.read(scratch("out/b-7.mp4")) != FileBytes.read(scratch("out/b-1.mp4")))
    }

    @Test("clips of a batch hold how they were made, keep latents on request, and are made as another clip was")
    func provenance() throws {
        let options = ["--camera", "left", "--codec", "prores", "--keep-latents", "-q"] + quick
        let outcome = try batch(["in", "-o", "out", "--name", "{name}.mov"] + options)
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(
            try contents("out").keys.sorted()
                == ["a", "b", "c"].flatMap { ["\($0).latents.safetensors", "\($0).mov"] })
        let decoded = try Executable.run(
            ["decode", "out/b.latents.safetensors", "-m", golden("model"), "-q", "-o", "b.mov"], in: scratch.path)
        #expect(decoded.code == 0, "\(decoded.errors)")
        #expect(try FileBytes.read(scratch("b.mov")) == FileBytes.read(scratch("out/b.mov")))
        // The pictures are the batch's, all else is the clip's, as far as it fits.
        try FileManager.default.removeItem(atPath: scratch("in/b.png"))
        let again = try batch(["in", "-o", "again", "--from", "out/b.mov", "--name", "{name}.mov", "-q"])
        #expect(again.code == 0 && again.lines == ["again/a.mov", "again/c.mov"], "\(again.errors)")
        #expect(try FileBytes.read(scratch("again/c.mov")) == FileBytes.read(scratch("out/c.mov")))
        try scratch.folder("other")
        try scratch.write("mine", to: "other/c-42.gif.json")
        let refused = try batch(["in", "-o", "other", "--name", "{name}-{seed}.gif"] + quick)
        #expect(refused.code == 73 && refused.output.isEmpty && refused.errors.contains("c-42.gif.json"))
    }

    @Test("results of a batch as JSON are an object a clip or failure and a summary")
    func json() throws {
        try scratch.write("no picture", to: "in/d.png")
        let outcome = try batch(["in", "-o", "out", "--json"] + quick)
        #expect(outcome.code == 1, "\(outcome.errors)")
        let lines = try outcome.lines.map { try JSON.parse(Array($0.utf8), file: "line") }
        #expect(lines.dropLast().map { $0["type"]?.string } == ["clip", "clip", "clip", "failure"])
        #expect(lines[0]["files"]?.array?.compactMap(\.string) == ["out/a-42.mp4"])
        #expect(lines[3]["exit_code"]?.int == 65)
        #expect(lines.last?["event"]?.string == "summary" && lines.last?["done"]?.int == 3)
        #expect(lines.last?["again"]?.string?.hasSuffix("--only-failed") == true)
    }

    @Test("a batch without a model is rendered with the bundled one, and says so once")
    func bundled() throws {
        let outcome = try Executable.run(
            ["batch", "in", "-o", "out", "--no-config", "--size", "64x48", "--frames", "8", "--steps", "1"],
            in: scratch.path)
        #expect(outcome.code == 0 && outcome.lines.count == 3, "\(outcome.errors)")
        #expect(outcome.errors.components(separatedBy: "the small bundled model").count == 2)
        let plan = try Executable.run(["plan", "in/a.png", "--no-config"], in: scratch.path)
        #expect(plan.code == 0 && plan.output.contains("ruyi-nano"), "\(plan.errors)")
    }

    @Test(
        "lists of every kind give the same clips",
        arguments: [
            (
                "jsonl",
                "{\"image\": \"in/a.png\", \"seed\": 5, \"camera\": \"left\"}\n\n{\"image\": \"in/b.png\", \"id\": \"two\"}\r\n"
            ),
            ("csv", "\u{FEFF}image,seed,camera,id\r\n\"in/a.png\",5,left,\r\nin/b.png,,,two\r\n"),
            ("tsv", "image\tseed\tcamera\tid\nin/a.png\t5\tleft\t\n./in/b.png\t\t\ttwo"),
        ])
    func lists(_ suffix: String, _ text: String) throws {
        let list = try scratch.write(text, to: "list.\(suffix)")
        let outcome = try batch([list, "-o", "out", "--seed", "9", "--camera", "up", "--dry-run"] + quick)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let plans = try outcome.lines.map { try JSONObject(parsing: Array($0.utf8), file: "plan") }
        #expect(try plans.map { try $0.string("output") } == ["out/a-5.mp4", "out/two-9.mp4"])
        #expect(try plans.map { try $0.string("camera") } == ["left", "up"])
        #expect(try plans.map { try $0.string("image").hasSuffix("in/a.png") } == [true, false])
        #expect(!scratch.files.contains("out"))
    }

    @Test("a plain list has a picture a line, and a clip may have a name of its own")
    func plainList() throws {
        try scratch.write("in/a.png\n\n./in/b.png\tthe sea\n", to: "list.txt")
        let outcome = try batch(["list.txt", "-o", "out", "--name", "{index}/{name}.mkv", "-q"] + quick)
        #expect(outcome.lines == ["out/1/a.mkv", "out/2/b.mkv"], "\(outcome.errors)")
        try scratch.write(
            "{\"image\": \"in/a.png\", \"output\": \"frames/%02d.png\"}\n{\"image\": \"in/b.png\", \"output\": \"x/y.mov\"}",
            to: "list.jsonl")
        let frames = try batch(["list.jsonl", "-o", "out", "-q"] + quick)
        #expect(frames.lines == (0..<8).map { "out/frames/0\($0).png" } + ["out/x/y.mov"], "\(frames.errors)")
    }

    // MARK: what goes wrong with a clip

    @Test("a clip that fails is told of with its line, the others are rendered, and only it is tried again")
    func failures() throws {
        try scratch.write("no picture at all", to: "in/broken.png")
        try scratch.write("in/a.png\nin/missing.png\nin/broken.png\nin/b.png\n", to: "list.txt")
        let outcome = try batch(["list.txt", "-o", "out"] + quick)
        #expect(outcome.code == 1 && outcome.lines == ["out/a-42.mp4", "out/b-42.mp4"], "\(outcome.errors)")
        #expect(
            outcome.errors.contains("(list.txt:2: in/missing.png)")
                && outcome.errors.contains("(list.txt:3: in/broken.png)"))
        #expect(outcome.errors.contains("2 done, 0 done before, 1 failed (exit code 65), 1 failed (exit code 66)"))
        try picture("in/missing.png")
        let again = try batch(["list.txt", "-o", "out", "--progress", "json"] + quick)
        #expect(again.code == 1 && again.lines == ["out/missing-42.mp4"])
        let events = try again.errors.split(separator: "\n").map {
            try JSONObject(parsing: Array($0.utf8), file: "event")
        }
        let summary = try #require(events.last)
        #expect(try summary.string("event") == "summary" && summary.int("done") == 1 && summary.int("skipped") == 2)
        #expect(try summary.int("failed") == 1 && summary.object("failed_by_exit_code").int("65") == 1)
        #expect(try events.contains { try $0.string("event") == "error" && $0.int("exit_code") == 65 })
    }

    @Test("a clip too large for the memory fails alone, with what would fit")
    func memory() throws {
        try scratch.write(
            "{\"image\": \"in/a.png\", \"width\": 1024, \"height\": 1024, \"frames\": 120}\n{\"image\": \"in/b.png\"}",
            to: "list.jsonl")
        let command =
            "ulimit -v 1500000; exec \"$RUYI\" batch list.jsonl -o out -m \(golden("model")) --steps 2 --frames 8 "
            + "--base-resolution 64"
        let outcome = try Executable.shell(command, in: scratch.path)
        #expect(outcome.code == 1 && outcome.lines == ["out/b-42.mp4"], "\(outcome.errors)")
        #expect(outcome.errors.contains("list.jsonl:1") && outcome.errors.contains("would fit"))
    }

    // MARK: what is refused before the first clip

    static let bad: [BadList] = [
        BadList("jsonl", "{\"image\": \"in/a.png\"}\n{\"image\": \"in/b.png\"", "list.jsonl:2"),
        BadList("jsonl", "{\"image\": \"in/a.png\"}\n[]\n7\n\"x\"", "list.jsonl:2", "list.jsonl:3", "list.jsonl:4"),
        BadList(
            "jsonl", "{\"image\": \"in/a.png\", \"fames\": 8}\n{\"seed\": -2}", ":1", "did you mean 'frames'", ":2"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"image\": \"in/b.png\"}", "list.jsonl:1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"steps\": 0}", "steps is 0", ":1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"frames\": 8, \"seconds\": 1}", "exclude", ":1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"seed\": \"random\"}", "seeds are fixed", ":1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"variations\": 100000}", "variations is 100000", ":1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"variations\": 2, \"seed\": [1, 2]}", "either", ":1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"threads\": 2}", "'threads' is a setting of the whole batch"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"overwrite\": true}", "'overwrite'"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"id\": \"../x\"}", "'id'", ":1"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"id\": \"a/b\"}", "'id'"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"id\": \"\"}", "'id'"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"id\": [1]}", "'id'"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"id\": \"a\\u0000b\"}", "'id'"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"output\": 3}", "'output'"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"output\": \"../x.mp4\"}", "../x.mp4", ":1", code: 64),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"output\": \"/tmp/x.mp4\"}", "/tmp/x.mp4", code: 64),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"output\": \".ruyi-batch.jsonl\"}", "dot", code: 64),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"output\": \"x\"}", "suffix", ":1", code: 64),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"output\": \"x%d.mp4\"}", ":1", code: 64),
        BadList("jsonl", "{\"image\": \"../in/a.png\"}", "--allow-outside", ":1"),
        BadList("jsonl", "{\"image\": \"/etc/passwd\"}", "--allow-outside"),
        BadList("jsonl", "{\"image\": \"in/../../x.png\"}", "--allow-outside"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"end_image\": \"/etc/passwd\"}", "end_image"),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"model\": \"/etc\"}", "model", "--allow-outside"),
        BadList("jsonl", "{\"image\": \"link.png\"}", "leads out"),
        BadList("jsonl", "{}", "a picture", ":1", code: 64),
        BadList("jsonl", "{\"image\": \"in/a.png\", \"fish_score\": 5}", "fish_score", ":1"),
        BadList(
            "jsonl", "{\"image\": \"in/a.png\"}\n{\"image\": \"in/a.png\"}", "list.jsonl:1", "list.jsonl:2", "{index}",
            code: 64),
        BadList("jsonl", "{\"image\": \"in/a.png\"}\u{0}", "list.jsonl:1"),
        BadList("jsonl", String(repeating: "[", count: 5000), "list.jsonl:1"),
        BadList("jsonl", "", "no picture"),
        BadList("jsonl", "\n \n\t\n", "no picture"),
        BadList("csv", "image,seed\nin/a.png,1,2\nin/b.png", "list.csv:2", "3 cells", "list.csv:3"),
        BadList("csv", "image,image\nin/a.png,x", "two columns", "list.csv:1"),
        BadList("csv", "image,\nin/a.png,x", "column 2", "list.csv:1"),
        BadList("csv", "image,stepz\nin/a.png,4", "'steps'", "list.csv:2"),
        BadList("csv", "image,steps\nin/a.png,many", "'steps'", "many"),
        BadList("csv", "image,prompt\n\"in/a.png\",\"the\nsea\"\nin/b.png,\"open\n\n", "list.csv:4", "does not end"),
        BadList("csv", "image\nin/a.png\"x\"", "quotation mark", "list.csv:2"),
        BadList("csv", "image\n\"in/a.png\"x", "separator", "list.csv:2"),
        BadList("csv", "image\n", "no picture"),
        BadList("txt", "in/a.png\n../../x.png\n~/y.png\nC:\\x.png", "list.txt:2", "list.txt:3", "list.txt:4"),
        BadList("txt", "in/a.png\nin/a\u{1B}[31m.png", "list.txt:2"),
        BadList("txt", String(repeating: "x", count: 5000), "not a plain", "list.txt:1"),
        BadList("md", "in/a.png", "known are", code: 64),
    ]

    @Test("a list with bad lines is refused as a whole, each line named, and nothing is written", arguments: bad)
    func refuses(_ list: BadList) throws {
        try FileManager.default.createSymbolicLink(atPath: scratch("link.png"), withDestinationPath: "/etc/passwd")
        try scratch.write(list.text, to: "list.\(list.suffix)")
        let before = scratch.files
        let outcome = try batch(["list.\(list.suffix)", "-o", "out"] + quick)
        #expect(outcome.code == list.code && outcome.output.isEmpty, "\(outcome.code) \(outcome.errors)")
        for word in list.words { #expect(outcome.errors.contains(word), "\(word): \(outcome.errors)") }
        #expect(
            outcome.errors.split(separator: "\n").allSatisfy {
                $0.hasPrefix("ruyi: error: ") || $0.hasPrefix("ruyi: hint: ")
            })
        #expect(!outcome.errors.contains("\u{1B}"))
        #expect(scratch.files == before)
    }

    @Test("no more bad lines are listed than a person reads")
    func manyBadLines() throws {
        try scratch.write(String(repeating: "{\"fames\": 1}\n", count: 1000), to: "list.jsonl")
        let outcome = try batch(["list.jsonl", "-o", "out"])
        #expect(outcome.code == 65 && outcome.errors.components(separatedBy: "ruyi: error: ").count - 1 == 21)
        #expect(outcome.errors.contains("and 980 more"))
    }

    @Test("a list that is not UTF-8, a missing one, an empty folder and no folder for the clips are refused")
    func refusesSources() throws {
        try Data(Array("{\"prompt\": \"".utf8) + [0xFF] + Array("\"}\n".utf8)).write(
            to: URL(fileURLWithPath: scratch("list.jsonl")))
        #expect(try batch(["list.jsonl", "-o", "out"]).code == 65)
        #expect(try batch(["nowhere.txt", "-o", "out"]).code == 66)
        try scratch.folder("empty")
        let empty = try batch(["empty", "-o", "out"])
        #expect(empty.code == 65 && empty.errors.contains("--recursive"))
        #expect(try batch(["in"]).errors.contains("--output"))
        #expect(try batch(["in", "-o", "in/a.png"]).code == 73)
        #expect(try batch(["in", "-o", "nowhere/out"]).code == 73)
        #expect(try batch(["in", "-o", "out", "--trace", "t.safetensors"]).code == 64)
        #expect(try Executable.run(["batch", "in", "-o", "out", "-m", "/nowhere"], in: scratch.path).code == 66)
        for shard in ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "1/1000000"] {
            #expect(try batch(["in", "-o", "out", "--shard", shard]).code == 64, "\(shard)")
        }
        #expect(!scratch.files.contains("out"))
    }

    @Test("links out of a folder are refused, and followed when that is permitted")
    func links() throws {
        try picture("other/x.png")
        try FileManager.default.createSymbolicLink(
            atPath: scratch("in/x.png"), withDestinationPath: scratch("other/x.png"))
        try FileManager.default.createSymbolicLink(atPath: scratch("in/y.png"), withDestinationPath: "a.png")
        let refused = try batch(["in", "-o", "out", "--dry-run"] + quick)
        #expect(refused.code == 65 && refused.errors.contains("in/x.png") && !refused.errors.contains("in/y.png"))
        #expect(try batch(["in", "-o", "out", "--allow-outside", "--dry-run"] + quick).lines.count == 5)
        try scratch.write("\(scratch("other/x.png"))\n", to: "list.txt")
        #expect(try batch(["list.txt", "-o", "out", "--allow-outside", "--dry-run"] + quick).lines.count == 1)
    }

    // MARK: what is there already

    @Test("a file that is not the batch's is refused before the first clip and replaced on request")
    func existing() throws {
        try scratch.folder("out")
        try scratch.write("mine", to: "out/c-42.mp4")
        let refused = try batch(["in", "-o", "out"] + quick)
        #expect(refused.code == 73 && refused.output.isEmpty && refused.errors.contains("out/c-42.mp4"))
        #expect(try contents("out").keys.sorted() == ["c-42.mp4"])
        #expect(try batch(["in", "-o", "out", "--overwrite", "-q"] + quick).lines.count == 3)
        #expect(try VideoReader(scratch("out/c-42.mp4")).facts.frameCount == 8)
    }

    @Test("other settings or another picture are not taken for what is finished")
    func stale() throws {
        #expect(try batch(["in", "-o", "out", "-q"] + quick).code == 0)
        let before = try contents("out")
        let changed = try batch(["in", "-o", "out", "--guidance", "3"] + quick)
        #expect(changed.code == 73 && changed.errors.contains("other settings"))
        try picture("in/b2.png")
        try FileManager.default.removeItem(atPath: scratch("in/b.png"))
        try FileManager.default.moveItem(atPath: scratch("in/b2.png"), toPath: scratch("in/b.png"))
        let picture = try batch(["in", "-o", "out"] + quick)
        #expect(picture.code == 73 && picture.errors.contains("b-42.mp4") && !picture.errors.contains("a-42.mp4"))
        #expect(try contents("out") == before)
        let replaced = try batch(["in", "-o", "out", "--overwrite", "-q"] + quick)
        #expect(replaced.lines == ["out/b-42.mp4"], "\(replaced.errors)")
        let all = try batch(["in", "-o", "out", "--no-resume", "-q"] + quick)
        #expect(all.lines.count == 3 && all.code == 0, "\(all.errors)")
        // Threads do not change a clip.
        #expect(try batch(["in", "-o", "out", "--threads", "1", "-q"] + quick).lines == [])
    }

    @Test("a finished clip that is gone or cut is rendered again, and one with other bytes when they are looked at")
    func damaged() throws {
        #expect(try batch(["in", "-o", "out", "-q"] + quick).code == 0)
        let before = try contents("out")
        try FileManager.default.removeItem(atPath: scratch("out/a-42.mp4"))
        truncate(scratch("out/b-42.mp4"), 100)
        var bytes = try FileBytes.read(scratch("out/c-42.mp4"))
        bytes[bytes.count / 2] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: scratch("out/c-42.mp4")))
        #expect(try batch(["in", "-o", "out", "-q"] + quick).lines == ["out/a-42.mp4", "out/b-42.mp4"])
        #expect(try batch(["in", "-o", "out", "-q", "--verify"] + quick).lines == ["out/c-42.mp4"])
        #expect(try contents("out") == before)
    }

    // MARK: machines and stops

    @Test("the shares of a batch make every clip once, and together what the whole makes")
    func shards() throws {
        for name in ["d", "e", "f", "g", "h"] { try picture("in/\(name).png") }
        #expect(try batch(["in", "-o", "whole", "-q"] + quick).lines.count == 8)
        var all: [String] = []
        for number in 1...3 {
            let outcome = try batch(["in", "-o", "shared", "-q", "--shard", "\(number)/3"] + quick)
            #expect(outcome.code == 0, "\(outcome.errors)")
            all += outcome.lines
        }
        #expect(Set(all).count == 8 && all.count == 8)
        #expect(try contents("shared") == contents("whole"))
        #expect(try batch(["in", "-o", "shared", "-q"] + quick).lines == [])
        try FileManager.default.removeItem(atPath: scratch("in/d.png"))
        let fewer = try (1...3).map {
            try batch(["in", "-o", "new", "--dry-run", "--shard", "\($0)/3"] + quick).lines.count
        }
        #expect(fewer.reduce(0, +) == 7)
    }

    @Test("two runs in one folder, or on one share, exclude each other")
    func locks() throws {
        let first = try Executable.start(
            [Executable.path, "batch", "in", "-o", "out", "-m", golden("model"), "--progress", "json"] + slow,
            in: scratch.path)
        #expect(first.waits(for: "denoising"))
        let second = try batch(["in", "-o", "out"] + slow)
        #expect(second.code == 75 && second.output.isEmpty && second.errors.contains(".ruyi-batch.jsonl"))
        #expect(try batch(["in", "-o", "out", "--shard", "1/2"] + slow).code == 75)
        first.send(SIGKILL)
        _ = first.finish()
        let share = try Executable.start(
            [
                Executable.path, "batch", "in", "-o", "shares", "-m", golden("model"), "--progress", "json", "--shard",
                "1/1",
            ]
                + slow, in: scratch.path)
        #expect(share.waits(for: "denoising"))
        #expect(try batch(["in", "-o", "shares", "--shard", "2/2", "-q"] + quick).code == 75)
        share.send(SIGTERM)
        #expect(share.finish().code == 143)
    }

    @Test("a signal ends the batch with its code, leaves whole clips only, and the same command goes on")
    func interrupt() throws {
        try scratch.write(
            "{\"image\": \"in/a.png\"}\n{\"image\": \"in/b.png\", \"steps\": 500, \"frames\": 120}", to: "list.jsonl")
        let running = try Executable.start(
            [Executable.path, "batch", "list.jsonl", "-o", "out", "-m", golden("model"), "--progress", "json"] + quick,
            in: scratch.path)
        #expect(running.waits(for: "\"clip\":2"))
        running.send(SIGINT)
        let outcome = running.finish()
        #expect(outcome.code == 130 && outcome.lines == ["out/a-42.mp4"], "\(outcome.errors)")
        #expect(try contents("out").keys.sorted() == ["a-42.mp4"])
        try scratch.write("{\"image\": \"in/a.png\"}\n{\"image\": \"in/b.png\"}", to: "list.jsonl")
        let rest = try batch(["list.jsonl", "-o", "out", "-q"] + quick)
        #expect(rest.code == 0 && rest.lines == ["out/b-42.mp4"], "\(rest.errors)")
    }

    @Test("a batch that is killed at twenty random points ends with the files of one that never was")
    func killed() throws {
        try scratch.write(
            "{\"image\": \"in/a.png\"}\n{\"image\": \"in/b.png\", \"output\": \"f/%02d.png\"}\n{\"image\": \"in/c.png\", "
                + "\"seed\": [1, 2]}\n{\"image\": \"in/b.png\", \"output\": \"g/h/b.mkv\"}", to: "list.jsonl")
        let arguments = ["list.jsonl", "-q"] + quick
        let started = Date()
        #expect(try batch(arguments + ["-o", "whole"]).code == 0)
        let whole = Date().timeIntervalSince(started)
        let expected = try contents("whole")
        #expect(expected.count == 15)
        var kills = 0
        var rounds = 0
        while kills < 20, rounds < 200 {
            rounds += 1
            let delay = Double.random(in: 0..<whole)
            let running = try Executable.start(
                [Executable.path, "batch", "-m", golden("model")] + arguments + ["-o", "out"], in: scratch.path)
            usleep(UInt32(delay * 1e6))
            running.send(SIGKILL)
            let outcome = running.finish()
            if outcome.code == 128 + SIGKILL {
                kills += 1
            } else {
                // It had ended before; another one begins anew.
                #expect(try outcome.code == 0 && contents("out") == expected, "\(outcome.code) \(outcome.errors)")
                try FileManager.default.removeItem(atPath: scratch("out"))
            }
        }
        #expect(kills == 20)
        let last = try batch(arguments + ["-o", "out"])
        #expect(last.code == 0 && last.errors.isEmpty, "\(last.errors)")
        let found = try contents("out")
        #expect(found.keys.sorted() == expected.keys.sorted())
        #expect(found == expected)
        // Nothing that was noted as done was done twice.
        let done = try journal("out").filter { try $0.string("event") == "done" }.map { try $0.string("output") }
        #expect(done.count == Set(done).count && done.count == 5)
    }

    // MARK: journals

    @Test(
        "a torn last line is dropped, whatever it holds",
        arguments: [
            "{\"event\":\"do", "{\"event\":\"done\",\"output\":\"b-42.mp4\",\"key\":\"\"}", "\u{0}\u{0}\u{0}", "x",
        ])
    func tornJournal(_ tail: String) throws {
        #expect(try batch(["in", "-o", "out", "-q"] + quick).code == 0)
        let path = scratch("out/.ruyi-batch.jsonl")
        let whole = try FileBytes.read(path)
        try FileManager.default.removeItem(atPath: scratch("out/b-42.mp4"))
        try Data(whole + Array(tail.utf8)).write(to: URL(fileURLWithPath: path))
        #expect(try batch(["in", "-o", "out", "-q"] + quick).lines == ["out/b-42.mp4"])
        #expect(try journal("out").count == 8)
        #expect(try Array(FileBytes.read(path).prefix(whole.count)) == whole)
    }

    @Test(
        "a journal with a line that is none is refused with its number, and nothing is rendered",
        arguments: [
            "", "x", "{}", "[]", "{\"event\":\"done\",\"output\":\"a-42.mp4\"}",
            "{\"event\":\"start\",\"output\":\"a-42.mp4\"}",
            "{\"event\":\"done\",\"output\":\"a-42.mp4\",\"key\":\"\",\"bytes\":1e999,\"sha256\":\"\"}",
            "{\"event\":\"erase\",\"output\":\"a-42.mp4\",\"key\":\"\"}",
            "{\"event\":\"start\",\"key\":\"\",\"output\":{\"a\":{}}}",
            "{\"event\":\"start\",\"event\":\"start\",\"key\":\"\",\"output\":\"a\"}",
            "{\"event\":\"start\",\"key\":\"\",\"output\":\"" + String(repeating: "x", count: 70_000) + "\"}",
        ])
    func badJournal(_ line: String) throws {
        try scratch.folder("out")
        try scratch.write(
            "{\"event\":\"start\",\"output\":\"../x\",\"key\":\"\"}\n\(line)\n", to: "out/.ruyi-batch.jsonl")
        let before = scratch.files
        let outcome = try batch(["in", "-o", "out"] + quick)
        #expect(
            outcome.code == 65 && outcome.output.isEmpty && outcome.errors.contains(".ruyi-batch.jsonl:2"),
            "\(outcome.errors)")
        #expect(outcome.errors.count < 2000 && scratch.files == before)
    }

    @Test("a journal that is a link, a folder or a pipe is refused")
    func oddJournal() throws {
        try scratch.folder("out/.ruyi-batch.jsonl")
        #expect(try batch(["in", "-o", "out"] + quick).code == 73)
        try scratch.folder("link")
        try FileManager.default.createSymbolicLink(
            atPath: scratch("link/.ruyi-batch.jsonl"), withDestinationPath: scratch("victim"))
        #expect(try batch(["in", "-o", "link"] + quick).code == 73 && !scratch.files.contains("victim"))
        try scratch.folder("pipe")
        mkfifo(scratch("pipe/.ruyi-batch.jsonl"), 0o600)
        #expect(try batch(["in", "-o", "pipe"] + quick).code == 73)
    }

    // MARK: the engine

    @Test("the model is loaded once for all clips, and a model that cannot be loaded ends the batch")
    func loading() throws {
        for name in ["fake-model", "broken-fake-model"] { try scratch.folder(name) }
        var defaults = Order()
        defaults.request.model = scratch("fake-model")
        let engine = Engine(families: [CountingFamily.self])
        let order = BatchOrder(source: scratch("in"), folder: scratch("out"), defaults: defaults)
        var files: [String] = []
        let summary = try Batch(order, engine: engine).render(cancellation: Cancellation()) { event in
            if case .finished(let paths) = event { files += paths }
        }
        #expect(summary.finished == 3 && files.count == 3 && CountingFamily.loads.withLock { $0 } == 1)
        #expect(summary.frames == 24)
        defaults.request.model = scratch("broken-fake-model")
        let broken = BatchOrder(source: scratch("in"), folder: scratch("broken"), defaults: defaults)
        let faults = #expect(throws: Faults.self) {
            try Batch(broken, engine: engine).render(cancellation: Cancellation()) { _ in }
        }
        #expect(faults?.kind == .badData && CountingFamily.loads.withLock { $0 } == 2)
    }

    @Test("help names what a batch has")
    func help() throws {
        let text = try Executable.run(["batch", "--help"]).output
        for word in [
            "<source>", "--name", "--recursive", "--include", "--exclude", "--limit", "--on-error", "--retry",
            "--only-failed",
            "--variations", "--resume/--no-resume", "--verify", "--shard", "--allow-outside",
            "--output", "--seed", "--preset", ".jsonl", "75",
        ] {
            #expect(text.contains(word), "\(word)")
        }
        #expect(try Executable.run(["help", "batch"]).output == text)
        let wrong = try Executable.run(["batch", "in", "--recursiv"])
        #expect(wrong.code == 64 && wrong.errors.contains("--recursive"))
    }
}
