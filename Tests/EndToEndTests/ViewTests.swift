import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Testing

@Suite("Seeing and writing", .serialized)
struct ViewTests {
    let golden = Golden(name: "i2v-bucket")
    let scratch: Scratch
    let quick = ["--size", "48x32", "--frames", "8", "--steps", "3", "-q"]

    init() throws { scratch = try Scratch() }

    func run(_ arguments: [String]) throws -> Outcome {
        try Executable.run([golden("start.png"), "-m", golden("model")] + arguments, in: scratch.path)
    }

    func shell(_ command: String) throws -> Outcome {
        try Executable.shell(
            "set -o pipefail; P='\(golden("start.png"))'; M='\(golden("model"))'; Q='\(quick.joined(separator: " "))'; "
                + command, in: scratch.path)
    }

    func bytes(_ name: String) throws -> [UInt8] { try FileBytes.read(scratch(name), limit: 1 << 24) }

    // MARK: previews

    @Test(
        "a clip is the same with and without previews, whatever the sampler",
        arguments: ["DDIM", "Euler", "Euler A", "DPM++", "PNDM"])
    func previews(_ sampler: String) throws {
        let same = quick + ["--scheduler", sampler]
        #expect(try run(same + ["-o", "plain.mp4"]).code == 0)
        let outcome = try run(
            same + ["-o", "seen.mp4", "--preview", "p.png", "--preview-every", "2", "--progress", "json"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(try bytes("plain.mp4") == bytes("seen.mp4"))
        #expect(scratch.files == ["p.png", "plain.mp4", "seen.mp4"])
        let events = try outcome.errors.split(separator: "\n").map {
            try JSONObject(parsing: Array($0.utf8), file: "event")
        }
        let shown = try events.filter { try $0.string("event") == "preview" }
        let calls = sampler == "PNDM" ? 4 : 3
        #expect(try shown.map { try $0.int("step") } == (sampler == "PNDM" ? [2, 4] : [2, 3]))
        #expect(try shown.allSatisfy { try $0.int("steps") == calls && $0.string("file") == "p.png" })
        // Two frames of 320 pixels' width, a gap around each, and a line of text.
        let picture = try PictureReader.read(scratch("p.png"))
        #expect(picture.width == 2 * 324 + 4 && picture.height > 128)
        #expect(Set(picture.pixels).count > 16)
    }

    @Test("a preview replaces previews only, and its name is no other file's")
    func previewFile() throws {
        let original = try PictureWriter.png(Picture(width: 2, height: 2, pixels: [UInt8](repeating: 9, count: 12)))
        try Data(original).write(to: URL(fileURLWithPath: scratch("mine.png")))
        let refused = try run(quick + ["--preview", "mine.png"])
        #expect(refused.code == 73 && refused.errors.contains("mine.png"), "\(refused.errors)")
        #expect(try bytes("mine.png") == original)
        for _ in 0..<2 {
            #expect(try run(quick + ["--preview", "p.png", "-o", "a.mp4", "--overwrite"]).code == 0)
        }
        #expect(try run(quick + ["--preview", "p.png", "-o", "b.mp4"]).code == 0)
        #expect(try run(quick + ["--preview", "p.jpg"]).code == 64)
        #expect(try run(quick + ["--preview", "c.png", "--thumbnail", "c.png", "-o", "c.mp4"]).code == 64)
        #expect(try run(quick + ["--preview-every", "2"]).code == 64)
        let terminal = try run(quick + ["--preview-terminal"])
        #expect(terminal.code == 64 && terminal.errors.contains("--preview FILE works anywhere"))
    }

    // MARK: sizes

    /// Options, the size that is delivered, and what the plan says of the difference.
    static let sizes: [(options: String, size: [Int], note: String?)] = [
        ("--size 100x70", [96, 64], "100x70 -> 96x64"), ("--size 96x64", [96, 64], nil),
        ("--size 100x70 --exact-size", [100, 70], "cut out of 112x80"),
        ("--size 96x64 --exact-size", [96, 64], nil), ("--size 360p", [360, 640], "360p -> 360x"),
        ("--size 360p --no-exact-size", [368, 640], "360p -> 368x"),
        ("--size 48x32 --frames 10", [48, 32], "frames 10 -> 8"),
        ("--size 48x32 --seconds 0.5", [48, 32], "frames 12 -> 8"),
    ]

    @Test("what is asked for and what is made are both in the plan where they differ", arguments: sizes)
    func asked(_ options: String, _ size: [Int], _ note: String?) throws {
        let arguments = options.split(separator: " ").map(String.init)
        let length = options.contains("--frames") || options.contains("--seconds") ? [] : ["--frames", "8"]
        let outcome = try Executable.run(
            ["plan", golden("start.png"), "-m", golden("model"), "--json"] + arguments + length)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let plan = try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        let notes = try plan.array("notes").compactMap(\.string).filter {
            $0.hasPrefix("size") || $0.hasPrefix("frames")
        }
        if let note { #expect(notes.contains { $0.contains(note) }, "\(notes)") } else { #expect(notes == []) }
        let made = try [plan.int("output_width"), plan.int("output_height")]
        if options.contains("360p") { #expect(made.min() == size[0]) } else { #expect(made == size) }
        let strict = try Executable.run(
            ["plan", golden("start.png"), "-m", golden("model"), "--strict-size"] + arguments + length)
        let isCut = options.hasSuffix(" --exact-size") || options == "--size 360p"
        let isKept = note == nil || isCut
        #expect(strict.code == (isKept ? 0 : 64), "\(strict.errors)")
    }

    @Test("frames are cut to exactly the asked size, and a clip made again has the same bytes")
    func exact() throws {
        let options = ["--size", "50x38", "--exact-size", "--frames", "8", "--steps", "1", "-q"]
        #expect(try run(options + ["-o", "a.mp4"]).code == 0)
        let facts = try VideoReader(scratch("a.mp4")).facts
        #expect(facts.width == 50 && facts.height == 38)
        let again = try Executable.run(
            ["--from", "a.mp4", "-i", golden("start.png"), "-m", golden("model"), "-o", "b.mp4", "-q"],
            in: scratch.path)
        #expect(again.code == 0, "\(again.errors)")
        #expect(try bytes("a.mp4") == bytes("b.mp4"))
    }

    @Test("a picture of another shape is cut, padded or stretched")
    func fits() throws {
        let red = Picture(width: 64, height: 32, pixels: (0..<64 * 32).flatMap { _ in [200, 10, 10] as [UInt8] })
        try PictureWriter.write(red, to: scratch("wide.png"))
        var clips: [String: [UInt8]] = [:]
        for fit in ["family", "crop", "pad", "stretch"] {
            let outcome = try Executable.run(
                [scratch("wide.png"), "-m", golden("model"), "--fit", fit, "-o", "\(fit).mkv", "--lossless"] + quick,
                in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(outcome.errors.contains("stretched") == false)
            clips[fit] = try allPixels("\(fit).mkv")
        }
        #expect(clips["family"] == clips["stretch"] && clips["crop"] == clips["stretch"])
        #expect(clips["pad"] != clips["stretch"])
        let standard = try Executable.run(
            [scratch("wide.png"), "-m", golden("model"), "-o", "standard.mkv", "--lossless"] + quick, in: scratch.path)
        #expect(standard.code == 0 && standard.errors.isEmpty, "\(standard.errors)")
        #expect(try allPixels("standard.mkv") == clips["crop"])
        let wrong = try run(quick + ["--fit", "pad", "--pad-color", "#12345g"])
        #expect(wrong.code == 64 && wrong.errors.contains("pad_color"))
        #expect(try run(quick + ["--pad-color", "white", "--alpha", "drop"]).code == 64)
    }

    @Test("a picture is cut by default, and a recorded request has the model's own way")
    func standardFit() throws {
        try PictureWriter.write(
            Picture(width: 64, height: 16, pixels: [UInt8](repeating: 90, count: 64 * 16 * 3)), to: scratch("wide.png"))
        func plan(_ more: [String]) throws -> JSONObject {
            let outcome = try Executable.run(
                ["plan", scratch("wide.png"), "-m", golden("model"), "--json"] + quick.dropLast() + more)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        }
        let cut = try plan([])
        #expect(try cut.string("fit") == "crop" && cut.array("warnings").isEmpty)
        #expect(try cut.array("notes").contains { $0.string?.contains("are cut off to fill 48x32") == true })
        for recorded in try [plan(["--noise", golden("expected.safetensors")]), plan(["--fit", "family"])] {
            #expect(try recorded.string("fit") == "family")
            #expect(try recorded.array("warnings").contains { $0.string?.contains("is stretched by") == true })
        }
        let padded = try plan(["--fit", "pad"]).array("notes")
        #expect(!padded.contains { $0.string?.contains("cut off") == true })
    }

    private func allPixels(_ name: String) throws -> [UInt8] {
        let reader = try VideoReader(scratch(name))
        var pixels: [UInt8] = []
        while let frame = try reader.next() { pixels += frame.pixels }
        return pixels
    }

    // MARK: streams and texts

    @Test("a clip on standard output is the file's bytes and nothing else")
    func standardOutput() throws {
        #expect(try shell("$RUYI $P -m $M $Q -o a.mp4 && $RUYI $P -m $M $Q -o - > b.mp4").code == 0)
        #expect(try bytes("a.mp4") == bytes("b.mp4"))
        #expect(try shell("$RUYI $P -m $M $Q -o - --container mkv | cat > c.mkv").code == 0)
        #expect(try VideoReader(scratch("c.mkv")).facts.frameCount == 8)
        let cut = try shell("$RUYI $P -m $M $Q -o - >/dev/full")
        #expect(cut.code == 74 && cut.errors.contains("cut off"), "\(cut.errors)")
        #expect(try shell("$RUYI $P -m $M $Q -o - --seed 1,2").code == 64)
        #expect(try shell("$RUYI $P -m $M $Q -o - --sidecar").code == 64)
        // What the refused stream would have shown can still be decoded.
        #expect(Set(scratch.files) == ["a.mp4", "b.mp4", "c.mkv", "stdout.latents.safetensors"])
    }

    @Test("pictures and prompts come from standard input, one of them")
    func standardInput() throws {
        #expect(try shell("$RUYI $P -m $M $Q -o a.mp4 && $RUYI - -m $M $Q -o b.mp4 < $P").code == 0)
        #expect(try VideoReader(scratch("b.mp4")).facts.frameCount == 8)
        #expect(try shell("$RUYI compare a.mp4 b.mp4 --at-least 1000").code == 0)
        #expect(try shell("$RUYI - -m $M $Q -o c.mp4 --prompt-file - < $P").code == 64)
        let said = try shell("printf 'ein Löwe\\n' | $RUYI $P -m $M $Q -o d.mp4 --prompt-file - && $RUYI inspect d.mp4")
        #expect(said.code == 0 && said.output.contains("ein Löwe"), "\(said.errors)")
        #expect(try shell("printf '\\377' | $RUYI $P -m $M $Q -o e.mp4 --prompt-file -").code == 65)
        #expect(try shell("$RUYI $P -m $M $Q -o e.mp4 --prompt-file none.txt").code == 66)
        #expect(try shell("$RUYI $P -m $M $Q -o e.mp4 --prompt-file $P --prompt x").code == 64)
        #expect(try shell("$RUYI - -m $M $Q -o e.mp4 < /dev/null").code == 65)
        #expect(try run(quick + ["--max-pixels", "100"]).code == 65)
    }

    // MARK: names and companions

    @Test("names have the clip's number, model and day in them, and companions appear with the clip")
    func names() throws {
        let outcome = try Executable.run(
            [
                golden("start.png"), "-m", golden.folder + "/model", "--seed", "5,6", "-o",
                "{model}-{date}-{index}.mp4",
                "--thumbnail", "{name}-{seed}.png", "--sheet", "sheet.png", "--sidecar",
            ] + quick, in: scratch.path, environment: ["SOURCE_DATE_EPOCH": "86400"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.lines == ["tiny-1970-01-02-1.mp4", "tiny-1970-01-02-2.mp4"])
        #expect(
            scratch.files == [
                "sheet-5.png", "sheet-6.png", "start-5.png", "start-6.png", "tiny-1970-01-02-1.mp4",
                "tiny-1970-01-02-1.mp4.json", "tiny-1970-01-02-2.mp4", "tiny-1970-01-02-2.mp4.json",
            ])
        let thumbnail = try PictureReader.read(scratch("start-5.png"))
        #expect(thumbnail.width == 48 && thumbnail.height == 32)
        #expect(try PictureReader.read(scratch("sheet-5.png")).width == 8 * 260 + 4)
        let taken = try run(quick + ["-o", "x.mp4", "--thumbnail", "start-5.png"])
        #expect(taken.code == 73 && !scratch.files.contains("x.mp4"))
    }

    @Test("what cannot be together is refused before anything is rendered")
    func combinations() throws {
        for (options, word) in [
            ("-o a.mp4 --loop 2", "gif"), ("-o a.mov --codec prores --lossless", "prores"),
            ("-o a.mp4 --lossless --crf 3", "crf"), ("-o a.mp4 --container mkv", "mkv"),
            ("-o a.mp4 --prores-profile lt", "prores"),
            ("-o a.mov --codec prores --prores-profile lt --pixel-format yuv444p10", "yuv422p10"),
            ("-o a.gif --lossless", "gif"), ("-o %03d.png --lossless", "PNG"), ("-o a.mp4 --thumbnail a.jpg", "PNG"),
        ] {
            let outcome = try run(quick + options.split(separator: " ").map(String.init))
            #expect(outcome.code == 64 && outcome.errors.contains(word), "\(options): \(outcome.errors)")
        }
        #expect(scratch.files == [])
    }

    @Test("decoding has no arithmetic of the transformer to choose")
    func decodePrecision() throws {
        #expect(try run(quick + ["-o", "a.mp4", "--keep-latents"]).code == 0)
        let outcome = try Executable.run(
            ["decode", scratch("a.latents.safetensors"), "-o", scratch("b.mp4"), "--precision", "int8"])
        #expect(outcome.code == 64 && outcome.errors.contains("--precision"))
        let lossless = try Executable.run(
            [
                "decode", scratch("a.latents.safetensors"), "-m", golden("model"), "-o", scratch("b.mkv"), "--lossless",
                "--thumbnail", scratch("t.png"), "-q",
            ])
        #expect(lossless.code == 0 && scratch.files.contains("t.png"), "\(lossless.errors)")
    }

    @Test("an mp4 at the defaults is H.264 High with tags, an index in front and an exact rate")
    func standardVideo() throws {
        #expect(try run(quick + ["-o", "a.mp4"]).code == 0)
        let facts = try VideoReader(scratch("a.mp4")).facts
        #expect(facts.codec == "h264" && facts.pixelFormat == "yuv420p" && facts.fps == 24 && facts.range == "tv")
        #expect([facts.primaries, facts.transfer, facts.matrix] == ["bt709", "bt709", "bt709"])
        let data = try bytes("a.mp4")
        func place(_ name: String) -> Int? { Data(data).range(of: Data(name.utf8))?.lowerBound }
        let (index, media) = (try #require(place("moov")), try #require(place("mdat")))
        #expect(index < media)
        // avcC: the version, then the profile, 100 for High.
        let configuration = try #require(place("avcC"))
        #expect(data[configuration + 4] == 1 && data[configuration + 5] == 100)
        // colr: nclx, three times BT.709, limited range.
        let colours = try #require(place("colrnclx"))
        #expect(Array(data[colours + 8..<colours + 15]) == [0, 1, 0, 1, 0, 1, 0])
    }
}
