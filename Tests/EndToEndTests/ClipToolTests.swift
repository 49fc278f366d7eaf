import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Tools for clips", .serialized)
struct ClipToolTests {
    let golden = Golden(name: "i2v-bucket")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    func run(_ arguments: [String]) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    /// Renders a clip of a tenth of a second.
    @discardableResult
    func render(
        _ output: String, _ more: [String] = [], size: String = "48x32", frames: Int = 8
    ) throws -> Outcome {
        try run(
            [golden("start.png"), "-m", golden("model"), "--size", size, "--frames", "\(frames)", "--steps", "2", "-q"]
                + ["-o", output] + more)
    }

    func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: scratch(name))) }

    func object(_ text: String) throws -> JSONObject { try JSONObject(parsing: Array(text.utf8), file: "output") }

    // MARK: formats

    @Test(
        "every format is written, and inspect gives its facts and settings",
        arguments: [
            ("v.mp4", "h264"), ("v.mov --codec prores", "prores"), ("v.mkv --codec ffv1", "ffv1"), ("v.webm", "vp9"),
            ("v.mp4 --codec hevc --pixel-format yuv420p10", "hevc"), ("v.webm --codec av1 --crf 40", "av1"),
            ("v.gif", "gif"), ("v.webp", nil), ("f/%03d.png", nil),
        ] as [(String, String?)])
    func formats(_ output: String, _ codec: String?) throws {
        let words = output.split(separator: " ").map(String.init)
        let outcome = try render(words[0], Array(words.dropFirst()))
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        #expect(outcome.lines.count == (words[0].hasPrefix("f/") ? 8 : 1))
        let path = words[0].hasPrefix("f/") ? "f" : words[0]
        let report = try object(try run(["inspect", path, "--json"]).output)
        #expect(try report.int("width") == 48 && report.int("height") == 32)
        // Frames that WebP finds equal are stored once.
        #expect(try report.int("frames") == 8 || words[0] == "v.webp")
        if let codec { #expect(try report.string("codec") == codec) }
        let made = try report.object("made_with")
        #expect(
            try made.string("program") == "ruyi \(Engine.version)" && made.object("model").string("digest").count == 64)
        let request = try made.object("request")
        #expect(try request.int("seed") == 42 && request.int("steps") == 2 && request.string("camera") == "auto")
        let text = try run(["inspect", path]).output
        #expect(text.contains("width: 48\n") && text.contains("seed: 42"), "\(text)")
    }

    @Test("a codec or container that does not fit ends with one clear line before anything is rendered")
    func unfit() throws {
        for (arguments, word) in [
            (["v.mp4", "--codec", "prores"], "mp4 holds h264, hevc, vp9, av1"), (["v.xyz"], "mp4, mov, mkv, webm"),
            (["v.webm", "--codec", "h264"], "webm holds vp9, av1"),
            (["v.mkv", "--codec", "ffv1", "--crf", "9"], "crf"),
            (["v.mp4", "--codec", "mpeg2"], "h264, hevc"), (["v.mov", "--pixel-format", "rgb"], "yuv420p"),
            (["v.gif", "--fps", "60"], "50 at most"),
        ] {
            let outcome = try render(arguments[0], Array(arguments.dropFirst()))
            #expect(outcome.code == 64 && outcome.output.isEmpty, "\(arguments) \(outcome.errors)")
            #expect(outcome.errors.contains(word), "\(arguments) \(outcome.errors)")
        }
        #expect(scratch.files.isEmpty)
    }

    @Test("--from makes the same clip again, and the command line wins")
    func from() throws {
        try render("v.mp4", ["--camera", "left", "-s", "7"])
        // The picture lies elsewhere: its digest tells it.
        let missing = try run(["--from", "v.mp4", "-m", golden("model"), "-o", "w.mp4"])
        #expect(missing.code == 66 && missing.errors.contains("--image"), "\(missing.errors)")
        try FileManager.default.copyItem(atPath: golden("start.png"), toPath: scratch("start.png"))
        let again = try run(["--from", "v.mp4", "-m", golden("model"), "-q", "-o", "w.mp4"])
        #expect(again.code == 0, "\(again.errors)")
        #expect(try bytes("v.mp4") == bytes("w.mp4"))
        let plan = try run(["--from", "v.mp4", "-m", golden("model"), "--camera", "right", "--dry-run"])
        let fields = try object(plan.output)
        #expect(try fields.string("camera") == "right" && fields.int("seed") == 7 && fields.int("frames") == 8)
        try scratch.write("{\"steps\": 3}", to: "r.json")
        let both = try run(["--from", "v.mp4", "-m", golden("model"), "--request", "r.json", "--dry-run"])
        #expect(try object(both.output).int("steps") == 3 && object(both.output).string("camera") == "left")
        try render("n.mp4", ["--no-metadata"])
        let bare = try run(["--from", "n.mp4", "-m", golden("model")])
        #expect(bare.code == 65 && bare.errors.contains("--no-metadata"), "\(bare.errors)")
    }

    // MARK: latents

    @Test("a disk that fills while the video is written leaves the latents, which decode makes into the same clip")
    func decode() throws {
        try render("whole.mkv", ["--codec", "ffv1"], size: "128x128")
        // Enough for the latents, and not for the video.
        let limit = try bytes("whole.mkv").count / 1024 * 3 / 4
        let clip = [
            golden("start.png"), "-m", golden("model"), "--size", "128x128", "--frames", "8", "--steps", "2", "-q",
        ]
        let failed = try Executable.shell(
            "ulimit -f \(limit); exec \"$RUYI\" \(clip.joined(separator: " ")) -o v.mkv --codec ffv1", in: scratch.path)
        #expect(failed.code == 74, "\(failed.errors)")
        #expect(failed.errors.contains("ruyi decode v.latents.safetensors"), "\(failed.errors)")
        #expect(scratch.files == ["v.latents.safetensors", "whole.mkv"])
        let kind = try object(try run(["inspect", "v.latents.safetensors", "--json"]).output)
        #expect(try kind.string("kind") == "latents" && kind.int("tensors") == 1)
        let finished = try run(["decode", "v.latents.safetensors", "-m", golden("model"), "-q"])
        #expect(finished.code == 0 && finished.output == "v.mkv\n", "\(finished.errors)")
        #expect(try bytes("v.mkv") == bytes("whole.mkv"))
        let gif = try run(["decode", "v.latents.safetensors", "-m", golden("model"), "-q", "-o", "v.gif"])
        #expect(gif.code == 0, "\(gif.errors)")
        #expect(try VideoReader(scratch("v.gif")).facts.frameCount == 8)
        for (arguments, code) in [
            (["decode"], 64), (["decode", "nowhere.safetensors"], 66), (["decode", "whole.mkv"], 65),
            (["decode", "v.latents.safetensors", "-m", golden("model"), "--codec", "prores", "-o", "x.mp4"], 64),
            (["decode", "v.latents.safetensors", "-m", "/nowhere", "-o", "x.mp4"], 66),
        ] as [([String], Int32)] {
            let outcome = try run(arguments)
            #expect(outcome.code == code && outcome.output.isEmpty, "\(arguments): \(outcome.errors)")
        }
    }

    @Test("latents of another size are bad data, not a crash")
    func wrongLatents() throws {
        try render("v.mp4", ["--keep-latents"])
        let file = try SafetensorsFile(path: scratch("v.latents.safetensors"))
        let latents = try file.tensor("latents")
        let text = try #require(file.header.metadata.first { $0.key == "ruyi" }?.value.string)
        try SafetensorsWriter.write(
            [("latents", latents.sliced(3, 0..<latents.shape[3] - 1))], metadata: ["ruyi": text],
            to: scratch("w.latents.safetensors"))
        let outcome = try run(["decode", "w.latents.safetensors", "-m", golden("model"), "-o", "w.mp4"])
        #expect(outcome.code == 65 && outcome.errors.contains("shape"), "\(outcome.errors)")
        #expect(!scratch.files.contains("w.mp4"))
    }

    // MARK: inspect

    @Test("a checkpoint is told with its parts, and one with something missing is bad data")
    func checkpoint() throws {
        let whole = try run(["inspect", golden("model"), "--json"])
        #expect(whole.code == 0, "\(whole.errors)")
        let report = try object(whole.output)
        #expect(try report.string("family") == "ruyi" && report.bool("complete"))
        let parts = try report.object("parts")
        #expect(Set(["transformer", "vae", "image_encoder", "."]).isSubset(of: Set(parts.keys)), "\(parts.keys)")
        #expect(try report.int("parameters") == parts.keys.map { try parts.object($0).int("parameters") }.reduce(0, +))
        try FileManager.default.copyItem(atPath: golden("model"), toPath: scratch("model"))
        let vae = try FileManager.default.contentsOfDirectory(atPath: scratch("model/vae")).filter {
            $0.hasSuffix(".safetensors")
        }
        for name in vae { try FileManager.default.removeItem(atPath: scratch("model/vae/\(name)")) }
        let broken = try run(["inspect", "model"])
        #expect(broken.code == 65)
        #expect(broken.output.contains("complete: false") && broken.errors.contains("vae"), "\(broken.errors)")
    }

    @Test("what is no clip and no checkpoint is refused")
    func inspectRefusals() throws {
        try scratch.write("hello", to: "text.txt")
        try scratch.write("{\"a\": 1}", to: "some.json")
        try scratch.folder("empty")
        for (path, code) in [("nowhere", 66), ("text.txt", 65), ("some.json", 65), ("empty", 65), ("/dev/null", 66)]
            as [(String, Int32)]
        {
            let outcome = try run(["inspect", path])
            #expect(outcome.code == code && outcome.output.isEmpty, "\(path): \(outcome.code) \(outcome.errors)")
            #expect(outcome.errors.hasPrefix("ruyi: error: "))
        }
    }

    // MARK: compare and sheet

    @Test("compare measures nothing between equal clips, and what a stronger compression costs")
    func compare() throws {
        try render("a.mp4", ["--crf", "10"])
        try render("b.mp4", ["--crf", "40"])
        try render("f/%d.png")
        let same = try object(try run(["compare", "a.mp4", "a.mp4", "--json"]).output)
        #expect(try same.bool("equal") && same.double("ssim") == 1 && same.int("largest") == 0)
        #expect(try same.array("frames").count == 8)
        let near = try object(try run(["compare", "f", "a.mp4", "--json"]).output)
        let far = try object(try run(["compare", "f", "b.mp4", "--json"]).output)
        #expect(try near.double("psnr") > far.double("psnr") && near.double("ssim") > far.double("ssim"))
        let bound = try run(["compare", "f", "b.mp4", "--at-least", "90", "--picture", "worst.png"])
        #expect(bound.code == 1 && bound.lines.count == 10 && bound.errors.contains("90"), "\(bound.errors)")
        let size = try PictureReader.facts(scratch("worst.png"))
        #expect(size.width == 3 * 48 && size.height == 32)
        #expect(try run(["compare", "f", "f", "--at-least", "90"]).code == 0)
        try render("short.mp4", frames: 16)
        #expect(try run(["compare", "a.mp4", "short.mp4"]).code == 64)
        try render("small.mp4", size: "32x32")
        #expect(try run(["compare", "a.mp4", "small.mp4"]).code == 64)
        #expect(try run(["compare", "a.mp4", "nowhere.mp4"]).code == 66)
        #expect(try run(["compare", "a.mp4"]).code == 64)
    }

    @Test("a sheet has a row for each clip with a caption, and is not written over")
    func sheet() throws {
        try render("a.mp4")
        try render("b.mkv", ["-s", "2"])
        let outcome = try run(["sheet", "a.mp4", "b.mkv", "-o", "s.png", "--frames", "3", "--width", "96"])
        #expect(outcome.code == 0 && outcome.output == "s.png\n", "\(outcome.errors)")
        let sheet = try PictureReader.read(scratch("s.png"))
        #expect(sheet.width == 4 + 3 * 100 && sheet.height == 4 + 2 * (24 + 64 + 4))
        // The caption is white on the ground's grey.
        let caption = sheet.pixels[..<(22 * sheet.width * 3)]
        #expect(caption.contains(255) && caption.contains(24))
        #expect(try run(["sheet", "a.mp4", "-o", "s.png"]).code == 73)
        #expect(try run(["sheet", "a.mp4", "-o", "s.mp4"]).code == 64)
        #expect(try run(["sheet", "a.mp4", "-o", "t.png", "--frames", "0"]).code == 64)
        #expect(try run(["sheet", "nowhere", "-o", "t.png"]).code == 66)
        #expect(try run(["sheet", "-o", "t.png"]).code == 64)
    }
}
