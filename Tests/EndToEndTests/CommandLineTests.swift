import Foundation
import RuyiEngine
import RuyiMedia
import RuyiPicture
import Testing

/// A command line, the exit code that it must have, and a word that standard error must hold.
struct Invocation: Sendable, CustomTestStringConvertible {
    let arguments: String
    let code: Int32
    let word: String

    init(_ arguments: String, _ code: Int32, _ word: String) {
        self.arguments = arguments
        self.code = code
        self.word = word
    }

    var testDescription: String { "ruyi " + arguments }
}

@Suite("Command line")
struct CommandLineTests {
    static let refused: [Invocation] = [
        Invocation("nowhere.png", 66, "nowhere.png"),
        Invocation("--fames 8", 64, "--frames"),
        Invocation("--ouput v.mp4", 64, "--output"), Invocation("--frobnicate", 64, "--frobnicate"),
        Invocation("-z", 64, "-z"), Invocation("a.png b.png", 64, "b.png"), Invocation("a.png -i b.png", 64, "twice"),
        Invocation("a.png --camera up-and-away", 64, "auto, static, left, right, up, down"),
        Invocation("a.png --precision int4", 64, "float32, bf16, f16, int8"),
        Invocation("a.png --motion 5", 64, "auto, 1, 2, 3, 4"),
        Invocation("a.png --progress loud", 64, "auto, bar, plain, json, none"),
        Invocation("a.png --size huge", 64, "WIDTHxHEIGHT, 360p, 480p, 540p, 720p"),
        Invocation("a.png --size 0x64", 64, "0x64"), Invocation("a.png --size 64", 64, "64"),
        Invocation("a.png --size 64x64x3", 64, "64x64x3"), Invocation("a.png --seed x", 64, "'x'"),
        Invocation("a.png --seed 1,,2", 64, "1,,2"), Invocation("a.png --seed 18446744073709551616", 64, "--seed"),
        Invocation("a.png --seed -2", 64, "--seed"), Invocation("a.png --seed 1,1", 64, "seed"),
        Invocation("a.png --frames many", 64, "many"), Invocation("a.png --frames 0", 64, "frames"),
        Invocation("a.png --frames", 64, "--frames"), Invocation("a.png --frames 8 --seconds 1", 64, "exclude"),
        Invocation("a.png --seconds 0", 64, "seconds"), Invocation("a.png --seconds nan", 64, "seconds"),
        Invocation("a.png --fps 0", 64, "fps"), Invocation("a.png --fps 24/0", 64, "fps"),
        Invocation("a.png --fps 1/2", 64, "fps"), Invocation("a.png --fps -9223372036854775808/1", 64, "fps"),
        Invocation("a.png --fps 121", 64, "fps"),
        Invocation("a.png --steps 0", 64, "steps"), Invocation("a.png --steps 1001", 64, "steps"),
        Invocation("a.png --guidance inf", 64, "guidance"), Invocation("a.png --crf 0", 64, "crf"),
        Invocation("a.png --crf 52", 64, "crf"), Invocation("a.png --threads 0", 64, "threads"),
        Invocation("a.png --threads 1025", 64, "threads"),
        Invocation("a.png --size 64x64 --base-resolution 512", 64, "exclude"),
        Invocation("a.png --quiet=yes", 64, "--quiet"), Invocation("a.png --dry-run=1", 64, "--dry-run"),
        Invocation("-m '' a.png", 64, "model is empty"), Invocation("-m /nowhere/model a.png", 66, "/nowhere/model"),
        Invocation("-m /dev/null a.png", 66, "/dev/null"), Invocation("-m model a.png", 65, "(model)"),
        Invocation("-m model nowhere.png", 66, "nowhere.png"), Invocation("-m model text.png", 65, "text.png"),
        Invocation("-m model --request nowhere.json", 66, "nowhere.json"), Invocation("--request /", 66, "/"),
        Invocation("--request bad.json", 65, "did you mean 'frames'?"),
        Invocation("--request /dev/null", 66, "/dev/null"),
        Invocation("-m model a.png --noise nowhere.safetensors", 66, "nowhere.safetensors"),
        Invocation("render --fames 8", 64, "--frames"), Invocation("-- --frames", 66, "--frames"),
    ]

    /// A folder with a picture, an empty model and a bad request in it.
    static func scratch() throws -> Scratch {
        let scratch = try Scratch()
        try scratch.folder("model")
        try PictureWriter.write(
            Picture(width: 3, height: 2, pixels: [UInt8](repeating: 99, count: 18)), to: scratch("a.png"))
        try scratch.write("no picture", to: "text.png")
        try scratch.write("{\"fames\": 8}", to: "bad.json")
        return scratch
    }

    @Test(
        "a wrong command line has its exit code, one kind of message, and nothing on standard output",
        arguments: refused)
    func refuses(_ invocation: Invocation) throws {
        let scratch = try CommandLineTests.scratch()
        let before = scratch.files
        let outcome = try Executable.shell("\"$RUYI\" " + invocation.arguments, in: scratch.path)
        // A folder without a model's files is only judged after the pictures have been looked at.
        let codes = invocation.code == 66 && invocation.arguments.contains("-m model ") ? [66, 65] : [invocation.code]
        #expect(codes.contains(outcome.code), "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
        #expect(outcome.errors.contains(invocation.word), "\(outcome.errors)")
        #expect(
            outcome.errors.split(separator: "\n").allSatisfy {
                $0.hasPrefix("ruyi: error: ") || $0.hasPrefix("ruyi: hint: ")
            })
        #expect(outcome.errors.hasPrefix("ruyi: error: "))
        #expect(scratch.files == before)
    }

    @Test("where nothing is asked for, a short usage is the answer, unless other sources ask for something")
    func bare() throws {
        let scratch = try CommandLineTests.scratch()
        let outcome = try Executable.run([], in: scratch.path)
        #expect(outcome.code == 64 && outcome.output.isEmpty && outcome.errors.hasPrefix("Usage: ruyi "))
        #expect(outcome.errors.split(separator: "\n").count < 12 && outcome.errors.contains("ruyi --help"))
        let asked = try Executable.run([], in: scratch.path, environment: ["RUYI_IMAGE": "nowhere.png"])
        #expect(asked.code == 66 && asked.errors.contains("nowhere.png"))
    }

    @Test("several problems are reported in one go")
    func reportsTogether() throws {
        let outcome = try Executable.run(["nowhere.png", "-m", "/nowhere", "--frames", "0", "--fps", "999"])
        #expect(outcome.errors.components(separatedBy: "ruyi: error: ").count - 1 == 4, "\(outcome.errors)")
        #expect(outcome.code == 64)
    }

    @Test("hostile names cannot write control characters to the terminal")
    func escapes() throws {
        let outcome = try Executable.run(["-m", "/nowhere/\u{1B}[31mred\n\u{202E}", "a\u{7}.png"])
        #expect(
            !outcome.errors.contains("\u{1B}") && !outcome.errors.contains("\u{202E}")
                && !outcome.errors.contains("\u{7}"))
        #expect(outcome.errors.contains("\\x1b[31mred"))
    }

    @Test("the version comes first, and then those of the libraries that are loaded")
    func version() throws {
        let outcome = try Executable.run(["--version"])
        #expect(outcome.code == 0 && outcome.errors.isEmpty)
        #expect(outcome.lines.first == "ruyi \(Engine.version)")
        let parts = outcome.lines.dropFirst().map { $0.split(separator: " ").map(String.init) }
        #expect(
            parts.map { $0[0] } == [
                "libpng", "libjpeg", "libwebp", "libjxl", "liblcms2", "libavformat", "libavcodec", "libswscale",
                "libavutil", "kernels",
            ])
        #expect(parts.dropLast().allSatisfy { $0.count == 2 && $0[1].first?.isNumber == true }, "\(outcome.output)")
        #expect(
            try Executable.run(["--version"], environment: ["RUYI_KERNELS": "baseline"]).lines.last?.hasSuffix(
                " baseline") == true)
    }

    @Test("help goes to standard output and is the same however it is asked for")
    func help() throws {
        let texts = try [
            ["--help"], ["-h"], ["help"], ["render", "--help"], ["help", "render"], ["a.png", "--help"],
        ].map {
            let outcome = try Executable.run($0)
            #expect(outcome.code == 0 && outcome.errors.isEmpty)
            return outcome.output
        }
        #expect(Set(texts).count == 1)
        #expect(texts[0].split(separator: "\n").allSatisfy { $0.count <= 80 })
        let whole = try Executable.run(["--help-all"]).output
        #expect(whole.contains("--teacache-threshold") && !texts[0].contains("--teacache-threshold"))
        let options = [
            "--image", "--end-image", "--model", "--prompt", "--negative-prompt", "--output", "--overwrite", "--size",
            "--base-resolution", "--frames", "--seconds", "--fps", "--steps", "--scheduler", "--guidance", "--seed",
            "--camera",
            "--motion", "--precision", "--request", "--trace", "--noise", "--threads", "--quiet", "--progress",
            "--dry-run", "--crf", "--preset", "--config", "--no-config", "--print-config", "--lora", "--teacache",
            "--teacache-threshold", "--teacache-skip-start-steps",
            "--teacache-skip-end-steps", "--enhance-a-video", "--enhance-a-video-weight",
            "--enhance-a-video-skip-start-steps", "--enhance-a-video-skip-end-steps", "--fp8-quant-mode",
            "--fp8-data-type",
        ]
        for option in options {
            #expect([" ", "\n", "/--no-"].contains { whole.contains(option + $0) }, "\(option)")
        }
        for title in [
            "INPUT", "OUTPUT", "LENGTH AND SIZE", "SAMPLING", "MOTION AND CAMERA", "MODEL AND FEATURES", "RUNNING",
            "SETTINGS",
        ] {
            #expect(texts[0].contains("\n\(title):\n"))
        }
    }

    @Test(
        "a standard output that takes nothing is an input or output error", arguments: [">&-", ">/dev/full", "| true"])
    func closedOutput(_ redirection: String) throws {
        let command =
            redirection == "| true"
            ? "(sleep 0.2; \"$RUYI\" --help; echo $? >&2) | true" : "\"$RUYI\" --help \(redirection); echo $? >&2"
        let outcome = try Executable.shell(command)
        #expect(outcome.errors.contains("ruyi: error: cannot write to standard output"))
        #expect(outcome.errors.hasSuffix("74\n"), "\(outcome.errors)")
    }

    @Test("a closed standard error harms nothing")
    func closedErrors() throws {
        #expect(try Executable.shell("\"$RUYI\" --fames 2>&-").code == 64)
        #expect(try Executable.shell("\"$RUYI\" --fames 2>/dev/full").code == 64)
        #expect(try Executable.shell("\"$RUYI\" --version 2>&- <&-").output.hasPrefix("ruyi "))
    }

    @Test("errors are JSON objects where progress is")
    func jsonErrors() throws {
        let outcome = try Executable.run(["-m", "/nowhere", "--frames", "0", "--progress", "json"])
        let events = try outcome.errors.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(events.count == 2 && events.allSatisfy { $0["event"] as? String == "error" })
        #expect(events.map { $0["exit_code"] as? Int } == [64, 66])
        #expect(outcome.code == 64)
    }
}
