import Foundation
import RuyiFiles
import RuyiPicture
import Testing

/// A rate as it is typed, and as ffprobe names it.
struct TypedRate: Sendable, CustomTestStringConvertible {
    let typed: String
    let rate: String

    init(_ typed: String, _ rate: String) { (self.typed, self.rate) = (typed, rate) }

    var testDescription: String { typed }
}

@Suite("Values and texts as people type and save them")
struct WordTests {
    let scratch: Scratch

    init() throws {
        scratch = try Scratch()
        try FileManager.default.copyItem(atPath: BundledModelTests.photograph, toPath: scratch("a.jpg"))
    }

    private static let mark = "\u{FEFF}"
    private static let small = ["--size", "32x32", "--frames", "5", "--steps", "1", "--no-metadata"]
    private static let tiny = ["--size", "48x32", "--frames", "8", "--steps", "1"]

    private func run(_ arguments: [String]) throws -> Outcome {
        try Executable.run(arguments, in: scratch.path)
    }

    /// A clip of a text, as bytes.
    private func clip(_ words: [String]) throws -> Data {
        let outcome = try run(words + ["-m", HunyuanVideoTests.text, "-o", "t.mkv", "--overwrite"] + WordTests.small)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try Data(contentsOf: URL(fileURLWithPath: scratch("t.mkv")))
    }

    /// What a run would be, as an object.
    private func planned(_ arguments: [String]) throws -> JSONObject {
        let outcome = try run(arguments + ["--dry-run"])
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try JSONObject(parsing: Array(outcome.output.utf8), file: "output")
    }

    // MARK: Files

    @Test("a byte order mark and the ends of lines change no prompt")
    func prompts() throws {
        let expected = try clip(["-p", "A cat walks\non the grass"])
        #expect(try clip(["-p", "A cat walks on the grass"]) != expected)
        for (index, text) in [
            "A cat walks\non the grass", WordTests.mark + "A cat walks\r\non the grass\r\n",
            "A cat walks\r\non the grass\n\n",
        ].enumerated() {
            #expect(try clip(["--prompt-file", scratch.write(text, to: "p\(index).txt")]) == expected, "\(index)")
        }
        try scratch.write(
            WordTests.mark + "{\"prompt\": \"A cat walks\\non the grass\"}", to: "request.json")
        #expect(try clip(["--request", "request.json"]) == expected)
    }

    @Test("a byte order mark is accepted in lists of every form, on standard input and in configuration files")
    func marks() throws {
        let lists = [
            ("l.txt", "a.jpg\r\n"), ("l.jsonl", "{\"image\": \"a.jpg\"}\r\n"), ("l.csv", "image\r\na.jpg\r\n"),
            ("l.tsv", "image\tseed\r\na.jpg\t7\r\n"),
        ]
        for (name, text) in lists {
            try scratch.write(WordTests.mark + text, to: name)
            let outcome = try run(["batch", name, "-o", "c-" + name, "--dry-run"])
            #expect(outcome.code == 0 && outcome.output.contains("a-"), "\(name): \(outcome.errors)")
            let piped = try Executable.shell(
                "cat \(name) | \"$RUYI\" batch - -o d-\(name) --dry-run", in: scratch.path)
            if name == "l.txt" || name == "l.jsonl" { #expect(piped.code == 0, "\(name): \(piped.errors)") }
        }
        try scratch.write(WordTests.mark + "{\"steps\": 3}", to: "ruyi.json")
        #expect(try planned(["a.jpg"] + ["--size", "48x32", "--frames", "8"]).int("steps") == 3)
    }

    @Test("text that is UTF-16 or no UTF-8 is refused by name, wherever text is read")
    func encodings() throws {
        let wide = Data("A cat".utf16.reduce(into: [0xFF, 0xFE]) { $0 += [UInt8($1 & 255), UInt8($1 >> 8)] })
        try wide.write(to: URL(fileURLWithPath: scratch("wide.txt")))
        try Data([0x41, 0xE9]).write(to: URL(fileURLWithPath: scratch("latin.txt")))
        for (name, word) in [("wide.txt", "UTF-16"), ("latin.txt", "UTF-8")] {
            let outcome = try run(["--prompt-file", name, "-m", HunyuanVideoTests.text] + WordTests.small)
            #expect(outcome.code == 65 && outcome.errors.contains(word), "\(outcome.errors)")
            #expect(outcome.errors.contains(name) && outcome.errors.contains("save it as UTF-8"))
        }
        for option in ["--prompt", "--negative-prompt"] {
            let outcome = try Executable.shell(
                "\"$RUYI\" \(option) $'caf\\xe9' -m '\(HunyuanVideoTests.text)' --dry-run", in: scratch.path)
            #expect(outcome.code == 64 && outcome.errors.contains("UTF-8"), "\(outcome.errors)")
        }
    }

    @Test(
        "the separator of a table is the one that its first line has",
        arguments: [
            "image;seed;id\r\na.jpg;7;one\r\n", "sep=;\r\nimage;seed;id\r\na.jpg;7;one\r\n",
            "image\tseed\tid\na.jpg\t7\tone\n", "\"image\";\"seed\";\"id\"\n\"a.jpg\";7;\"one\"\n",
            "image,seed,id\na.jpg,7,one\n", "sep=|\nimage|seed|id\na.jpg|7|one",
        ])
    func separators(_ text: String) throws {
        let outcome = try run(["batch", scratch.write(text, to: "l.csv"), "-o", "clips", "--dry-run"])
        #expect(outcome.code == 0 && outcome.output.contains("one-7.mp4"), "\(outcome.errors)")
    }

    // MARK: Values

    @Test("-1 draws a seed on the command line and in requests; in lists, whose seeds are fixed, it is named")
    func anySeed() throws {
        for words in [["--seed", "-1"], ["--seed=-1"], ["-s", "-1"], ["-s-1"], ["--seed", "random"]] {
            let outcome = try run(["a.jpg", "-o", "{seed}.mp4"] + words + WordTests.tiny + ["--dry-run"])
            #expect(outcome.code == 0, "\(words): \(outcome.errors)")
        }
        try scratch.write("{\"seed\": -1, \"image\": \"a.jpg\"}", to: "r.json")
        let seeds = try (0..<4).map { _ in try planned(["--request", "r.json"] + WordTests.tiny).int("seed") }
        #expect(Set(seeds).count > 1)
        try scratch.write("image,seed\na.jpg,-1\n", to: "l.csv")
        let listed = try run(["batch", "l.csv", "-o", "c", "--dry-run"])
        #expect(listed.code == 65 && listed.errors.contains("seeds are fixed"), "\(listed.errors)")
        let wrong = try run(["a.jpg", "--seed", "-2"])
        #expect(wrong.code == 64 && wrong.errors.contains("'-2'") && wrong.errors.contains("random"))
    }

    @Test("a value that begins with a dash is a value, unless it can be an option")
    func dashes() throws {
        let expected = try clip(["--prompt=- a cat, --slowly"])
        #expect(try clip(["-p", "- a cat, --slowly"]) == expected)
        #expect(try clip(["-p", "--a cat"]) == clip(["--prompt=--a cat"]))
        for word in ["--overwrite", "-q", "-s42", "--a-cat", "--"] {
            let outcome = try run(["-m", HunyuanVideoTests.text, "-p", word])
            #expect(outcome.code == 64 && outcome.errors.contains("missing value for '-p'"), "\(outcome.errors)")
            #expect(outcome.errors.contains("--prompt=<text>"))
        }
    }

    @Test(
        "decimal frame rates are the fractions that they mean",
        arguments: [
            TypedRate("23.976", "24000/1001"), TypedRate("23.98", "24000/1001"), TypedRate("29.97", "30000/1001"),
            TypedRate("59.94", "60000/1001"), TypedRate("119.88", "120000/1001"), TypedRate("23.976024", "24000/1001"),
            TypedRate("12.5", "25/2"), TypedRate("24.0", "24/1"), TypedRate("14.985", "2997/200"),
            TypedRate("30000/1001", "30000/1001"),
        ])
    func rates(_ rate: TypedRate) throws {
        let outcome = try run(["a.jpg", "--fps", rate.typed, "-o", "r.mp4"] + WordTests.tiny)
        try #require(outcome.code == 0, "\(outcome.errors)")
        let probed = try Executable.shell(
            "ffprobe -v error -select_streams v -show_entries stream=r_frame_rate -of csv=p=0 r.mp4",
            in: scratch.path)
        #expect(probed.lines.first == rate.rate)
        if !rate.typed.contains("/") {
            try scratch.write("{\"fps\": \(rate.typed), \"image\": \"a.jpg\"}", to: "r.json")
            let planned = try planned(["--request", "r.json"] + WordTests.tiny)
            let (top, bottom) = (rate.rate.split(separator: "/")[0], rate.rate.split(separator: "/")[1])
            #expect(planned["fps"]?.string == rate.rate || bottom == "1" && planned["fps"]?.int == Int(top))
        }
    }

    @Test(
        "what is no frame rate is refused with its form",
        arguments: ["23,976", "24.", ".5", "1e1", "0.5", "121.5", "24.1234567890123"])
    func noRates(_ text: String) throws {
        let outcome = try run(["a.jpg", "--fps", text] + WordTests.tiny)
        #expect(outcome.code == 64 && outcome.errors.contains("fps"), "\(outcome.errors)")
    }

    // MARK: Names

    @Test("per cent signs in the name of a source are its name", arguments: ["shot%03d", "100%", "%d%d", "a%%b"])
    func percents(_ name: String) throws {
        try scratch.folder("s")
        try FileManager.default.copyItem(atPath: scratch("a.jpg"), toPath: scratch("s/\(name).jpg"))
        try FileManager.default.copyItem(atPath: scratch("a.jpg"), toPath: scratch("s/b.jpg"))
        let batch = try run(["batch", "s", "-o", "out"] + WordTests.tiny)
        #expect(batch.code == 0 && scratch.files.contains("out/\(name)-42.mp4"), "\(batch.errors)")
        for (pattern, made) in [
            ("{name}.mp4", "\(name).mp4"), ("{name}-%02d.png", "\(name)-07.png"),
            ("{name}/%02d.png", "\(name)/00.png"),
        ] {
            let outcome = try run(["s/\(name).jpg", "-o", pattern] + WordTests.tiny)
            #expect(outcome.code == 0 && scratch.files.contains(made), "\(pattern): \(outcome.errors)")
        }
        let frames = try run(["batch", "s", "-o", "frames", "--name", "{name}/%02d.png"] + WordTests.tiny)
        #expect(frames.code == 0 && scratch.files.contains("frames/\(name)/03.png"), "\(frames.errors)")
        let wrong = try run(["a.jpg", "-o", "clip%03d.mp4"] + WordTests.tiny)
        #expect(wrong.code == 64 && wrong.errors.contains("a frame number"))
    }

    // MARK: Help

    @Test("the first help has the options that people use first, and the whole one has all")
    func help() throws {
        let first = try run(["render", "--help"]).output
        let whole = try run(["render", "--help-all"]).output
        #expect(first.split(separator: "\n", omittingEmptySubsequences: false).count < 150)
        #expect(first.contains("--help-all") && !first.contains("--teacache") && whole.contains("--teacache"))
        for option in ["--output", "--size", "--frames", "--seed", "--camera", "--prompt", "--memory"] {
            #expect(first.contains(option), "\(option)")
        }
        for line in ["crop: cut to the frames' shape", "pad: whole"] { #expect(first.contains(line)) }
        #expect(try run(["decode", "--help"]).output.contains("--codec"))
    }

    @Test("what a model does not have is told with the options that it has, the nearest first")
    func nearest() throws {
        let outcome = try run(["a.jpg", "--flow-shift", "7"])
        #expect(outcome.code == 64 && outcome.errors.contains("has no --flow-shift"), "\(outcome.errors)")
        #expect(!outcome.errors.contains("_"))
        let wrong = try run(["-p", "cat", "-m", HunyuanVideoTests.text, "--camera", "left"])
        #expect(wrong.code == 64 && wrong.errors.contains("it has --"), "\(wrong.errors)")
    }
}
