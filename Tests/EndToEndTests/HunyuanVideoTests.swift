import Foundation
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Testing

/// What a command line for one of the recorded checkpoints must be refused with.
struct HunyuanRefusal: Sendable, CustomTestStringConvertible {
    let model: String
    let arguments: [String]
    let words: [String]

    init(_ model: String, _ arguments: [String], _ words: String...) {
        (self.model, self.arguments, self.words) = (model, arguments, words)
    }

    var testDescription: String { model + " " + arguments.joined(separator: " ") }
}

@Suite("HunyuanVideo through the executable")
struct HunyuanVideoTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private static func checkpoint(_ name: String) -> String {
        Golden(name: name, family: "hunyuanvideo").folder
    }

    static let text: String = HunyuanVideoTests.checkpoint("t2v-basic/model")
    static let picture: String = HunyuanVideoTests.checkpoint("i2v-token-replace/model")
    static let start: String = HunyuanVideoTests.checkpoint("i2v-token-replace/input.png")
    private static let small: [String] = ["--size", "32x32", "--frames", "5", "--steps", "2"]

    private func run(_ arguments: String..., environment: [String: String] = [:]) throws -> Outcome {
        try Executable.run(arguments, in: scratch.path, environment: environment)
    }

    /// The settings that a clip or a plan has.
    private func object(_ text: String, _ key: String? = nil) throws -> JSONObject {
        let whole = try JSONObject(parsing: Array(text.utf8), file: "output")
        return try key.map { try whole.object($0) } ?? whole
    }

    // MARK: One clip

    @Test("a text alone becomes a clip, whose settings are in it and make it again")
    func textAlone() throws {
        let model = HunyuanVideoTests.text
        let first = try Executable.run(
            ["--prompt", "A cat walks.", "-m", model, "--preview", "p.png", "--preview-every", "1", "--keep-latents"]
                + HunyuanVideoTests.small, in: scratch.path)
        #expect(first.code == 0 && first.lines == ["hunyuanvideo-42.mp4"], "\(first.errors)")
        #expect(first.errors.contains("reading the prompt"))
        let preview = try PictureReader.read(scratch("p.png"))
        #expect(preview.width > 4 && preview.height >= 4)
        let inspected = try run("inspect", "hunyuanvideo-42.mp4", "--json")
        let made = try object(inspected.output).object("made_with").object("request")
        #expect(try made.string("prompt") == "A cat walks." && made.double("flow_shift") == 7)
        #expect(try made.double("true_cfg_scale") == 1 && made.int("max_sequence_length") == 256)
        #expect(try made.string("family") == "hunyuanvideo" && made.int("frames") == 5)
        #expect(made["image"] == nil && !inspected.output.contains(scratch.path))
        let again = try run("--from", "hunyuanvideo-42.mp4", "-m", model, "-o", "again.mp4", "-q")
        #expect(again.code == 0, "\(again.errors)")
        let decoded = try run("decode", "hunyuanvideo-42.latents.safetensors", "-m", model, "-o", "decoded.mp4", "-q")
        #expect(decoded.code == 0, "\(decoded.errors)")
        let files = try ["hunyuanvideo-42.mp4", "again.mp4", "decoded.mp4"].map { try FileBytes.read(scratch($0)) }
        #expect(files[0] == files[1] && files[0] == files[2])
        // The same from a file and from the environment; another shift is another clip.
        try scratch.write("A cat walks.\n", to: "prompt.txt")
        let other = try run(
            "--prompt-file", "prompt.txt", "-m", model, "--size", "32x32", "--frames", "5", "-o", "other.mp4", "-q",
            environment: ["RUYI_STEPS": "2", "RUYI_FLOW_SHIFT": "9"])
        #expect(other.code == 0, "\(other.errors)")
        let shifted = try object(try run("inspect", "other.mp4", "--json").output).object("made_with").object("request")
        #expect(try shifted.double("flow_shift") == 9 && shifted.string("prompt") == "A cat walks.")
        #expect(try FileBytes.read(scratch("other.mp4")) != files[0])
    }

    @Test("every setting of the family goes through a clip's metadata and back", arguments: [true, false])
    func everySetting(_ isConcatenated: Bool) throws {
        let name = isConcatenated ? "i2v-latent-concat" : "i2v-token-replace"
        let model = HunyuanVideoTests.checkpoint(name + "/model")
        try FileManager.default.copyItem(
            atPath: HunyuanVideoTests.checkpoint(name + "/input.png"), toPath: scratch("start.png"))
        let first = try Executable.run(
            [
                "start.png", "-p", "zoom in", "-n", "blurry", "-m", model, "--size", "32x48", "--frames", "9",
                "--steps",
                "2", "--true-cfg-scale", "2.5", "--flow-shift", "17", "--image-embed-interleave", "3",
                "--max-sequence-length", "64", "--vae-tiling", "original", "--mode", "i2v", "--i2v-condition",
                isConcatenated ? "latent_concat" : "token_replace", "--flow-reverse", "--teacache", "-o", "a.mkv", "-q",
            ], in: scratch.path)
        #expect(first.code == 0, "\(first.errors)")
        #expect(try VideoReader(scratch("a.mkv")).facts.frameCount == (isConcatenated ? 5 : 9))
        let again = try run("--from", "a.mkv", "-m", model, "-o", "b.mkv", "-q")
        #expect(again.code == 0, "\(again.errors)")
        #expect(try FileBytes.read(scratch("a.mkv")) == FileBytes.read(scratch("b.mkv")))
        let plan = try object(try run("--from", "a.mkv", "-m", model, "-o", "c.mkv", "--dry-run").output)
        #expect(try plan.double("true_cfg_scale") == 2.5 && plan.double("flow_shift") == 17)
        #expect(try plan.int("image_embed_interleave") == 3 && plan.int("max_sequence_length") == 64)
        #expect(try plan.string("vae_tiling") == "original" && plan.object("teacache").double("threshold") == 0.1)
        #expect(try plan.object("teacache").int("skip_start_steps") == 1)
    }

    @Test("the built-in presets say nothing that the family does not have")
    func presets() throws {
        for (preset, size) in [("smoke", [640, 368]), ("draft", [512, 288]), ("standard", [1280, 720])] {
            let plan = try run(
                "-p", "x", "-m", HunyuanVideoTests.text, "--preset", preset, "--frames", "5", "--dry-run")
            #expect(plan.code == 0, "\(plan.errors)")
            #expect(try [object(plan.output).int("width"), object(plan.output).int("height")] == size)
        }
        let wide = try run(
            HunyuanVideoTests.start, "-p", "x", "-m", HunyuanVideoTests.picture, "--base-resolution", "384", "--frames",
            "5", "--dry-run")
        let plan = try object(wide.output)
        #expect(try plan.int("width") * plan.int("height") <= 384 * 384, "\(wide.errors)")
    }

    @Test("a length in seconds is that of the frames that come out")
    func seconds() throws {
        for (name, frames) in [("i2v-latent-concat", 21), ("i2v-token-replace", 21)] {
            let plan = try run(
                HunyuanVideoTests.checkpoint(name + "/input.png"), "-p", "x", "-m",
                HunyuanVideoTests.checkpoint(name + "/model"),
                "--size", "32x32", "--seconds", "0.875", "--dry-run")
            #expect(try object(plan.output).int("frames") == frames, "\(plan.errors)")
        }
    }

    @Test("the objects and spellings of recorded requests work, and a wrong value is refused by its key")
    func requests() throws {
        func plan(_ request: String) throws -> Outcome {
            try scratch.write(request, to: "r.json")
            return try run(
                "--request", "r.json", "-m", HunyuanVideoTests.text, "-p", "x", "--size", "32x32", "--dry-run")
        }
        let tiles = "{\"tile_sample_min_height\": 64, \"tile_sample_stride_height\": 48}"
        let good = try plan("{\"shift\": 9, \"vae_tiling\": \(tiles), \"mode\": \"t2v\", \"i2v_condition\": null}")
        #expect(good.code == 0, "\(good.errors)")
        #expect(try object(good.output).double("flow_shift") == 9)
        #expect(try object(good.output).object("vae_tiling").int("tile_sample_min_height") == 64)
        for (key, value) in [
            ("flow_shift", "\"high\""), ("shift", "true"), ("true_cfg_scale", "[1]"), ("flow_reverse", "1"),
            ("max_sequence_length", "1.5"), ("mode", "\"v2v\""), ("vae_tiling", "\"some\""), ("vae_tiling", "3"),
            ("vae_tiling", "{\"tile\": 1}"),
        ] {
            let bad = try plan("{\"\(key)\": \(value)}")
            #expect(bad.code == 65 && bad.errors.contains(key == "shift" ? "flow_shift" : key), "\(bad.errors)")
        }
    }

    // MARK: What is refused

    private static let base: [String] = ["-p", "x", "--size", "32x32"]

    static let refusals: [HunyuanRefusal] = [
        HunyuanRefusal(picture, base, "animates a picture and none was given"),
        HunyuanRefusal(text, [start] + base, "makes videos of text and takes no picture"),
        HunyuanRefusal(text, base + ["--camera", "left"], "has no --camera", "--true-cfg-scale", "--flow-shift"),
        HunyuanRefusal(text, base + ["--motion", "2"], "has no --motion"),
        HunyuanRefusal(text, base + ["--end-image", start], "has no --end-image"),
        HunyuanRefusal(text, base + ["--enhance-a-video"], "has no --enhance-a-video"),
        HunyuanRefusal(text, base + ["--no-flow-reverse"], "--flow-reverse"),
        HunyuanRefusal(text, base + ["--scheduler", "DDIM"], "flow-euler"),
        HunyuanRefusal(text, base + ["--flow-shift", "0"], "flow_shift is 0.0"),
        HunyuanRefusal(text, base + ["--true-cfg-scale=-1"], "true_cfg_scale is -1.0"),
        HunyuanRefusal(text, base + ["--max-sequence-length", "2"], "max_sequence_length is 2"),
        HunyuanRefusal(text, base + ["--mode", "i2v"], "is for t2v, not for i2v"),
        HunyuanRefusal(text, base + ["--i2v-condition", "latent_concat"], "i2v_condition of model is none"),
        HunyuanRefusal(text, base + ["--vae-tiling", "all"], "diffusers, original, none"),
        HunyuanRefusal(text, ["-p", "x", "--size", "32x32", "--frames", "0"], "frames"),
        HunyuanRefusal(picture, [start, "-p", "an <image> of a cat", "--size", "32x32"], "'<image>'", "--prompt"),
    ]

    @Test("an exact size is delivered exactly, and how a picture is placed is told")
    func sizes() throws {
        func plan(_ arguments: [String], _ model: String) throws -> JSONObject {
            let outcome = try Executable.run(["plan", "-p", "x", "--frames", "5", "-m", model, "--json"] + arguments)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try object(outcome.output)
        }
        let exact = try plan(["--size", "40x24", "--exact-size"], HunyuanVideoTests.text)
        #expect(try exact.int("width") == 48 && exact.int("height") == 32)
        #expect(try exact.int("output_width") == 40 && exact.int("output_height") == 24)
        let named = try plan(["--size", "360p", "--exact-size"], HunyuanVideoTests.text)
        #expect(try named.int("output_width") == 640 && named.int("output_height") == 360)
        #expect(try plan(["--size", "40x24"], HunyuanVideoTests.text).int("output_width") == 48)
        let start = HunyuanVideoTests.start
        let wide = ["--size", "128x32", "-i", start]
        #expect(try plan(wide, HunyuanVideoTests.picture).array("warnings").isEmpty)
        let stretched = try plan(wide + ["--fit", "family"], HunyuanVideoTests.picture).array("warnings")
        #expect(stretched.contains { $0.string?.contains("is stretched by") == true })
    }

    @Test("what the family or the checkpoint does not have is refused in one line", arguments: refusals)
    func refuses(_ refusal: HunyuanRefusal) throws {
        let outcome = try Executable.run(refusal.arguments + ["-m", refusal.model, "-o", "v.mp4"], in: scratch.path)
        #expect(outcome.code == 64 && outcome.output.isEmpty && scratch.files.isEmpty, "\(outcome.errors)")
        #expect(outcome.errors.components(separatedBy: "ruyi: error").count == 2, "\(outcome.errors)")
        for word in refusal.words { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
    }

    @Test(
        "Ruyi refuses this family's settings with the list of its own",
        arguments: [
            ["--true-cfg-scale", "3"], ["--flow-shift", "7"], ["--flow-reverse"], ["--max-sequence-length", "64"],
            ["--image-embed-interleave", "2"], ["--vae-tiling", "original"], ["--mode", "i2v"],
            ["--i2v-condition", "token_replace"],
        ])
    func otherFamily(_ option: [String]) throws {
        let golden = Golden(name: "i2v-bucket")
        let outcome = try Executable.run(
            [golden("start.png"), "-m", golden("model"), "-o", "v.mp4"] + option, in: scratch.path)
        #expect(outcome.code == 64 && outcome.errors.contains("model has no \(option[0])"), "\(outcome.errors)")
        #expect(outcome.errors.contains("--camera") && outcome.errors.contains("--motion"))
    }

    // MARK: Many clips

    @Test("prompts of lists become clips, without pictures too, and go on where they were stopped")
    func batches() throws {
        try scratch.write(
            "{\"prompt\": \"A cat.\", \"seed\": [1, 2]}\n{\"prompt\": \"A dog.\", \"id\": \"dog\", \"flow_shift\": 9}\n",
            to: "list.jsonl")
        try scratch.write(
            "prompt,seed,true_cfg_scale,negative_prompt\nA cat.,3,2.5,blurry\n\"A dog, too.\",4,,\n", to: "list.csv")
        try scratch.write("\tA cat.\n\tA dog.\n", to: "list.txt")
        let expected = [
            "jsonl": ["clip-1-1.mp4", "clip-1-2.mp4", "dog-42.mp4"], "csv": ["clip-1-3.mp4", "clip-2-4.mp4"],
            "txt": ["clip-1-42.mp4", "clip-2-42.mp4"],
        ]
        for (form, names) in expected {
            let command = ["batch", "list.\(form)", "-o", form, "-m", HunyuanVideoTests.text] + HunyuanVideoTests.small
            let outcome = try Executable.run(command, in: scratch.path)
            #expect(outcome.code == 0 && outcome.lines == names.map { "\(form)/\($0)" }, "\(outcome.errors)")
            let again = try Executable.run(command, in: scratch.path)
            #expect(again.code == 0 && again.lines == [], "\(again.errors)")
        }
        // A list's clip is the one that its settings make alone.
        let alone = try Executable.run(
            ["-p", "A dog.", "-m", HunyuanVideoTests.text, "--flow-shift", "9", "-o", "dog.mp4", "-q"]
                + HunyuanVideoTests.small, in: scratch.path)
        #expect(alone.code == 0)
        #expect(try run("compare", "dog.mp4", "jsonl/dog-42.mp4", "--at-least", "90").code == 0)
        let plan = try run("plan", "list.jsonl", "-m", HunyuanVideoTests.text, "--size", "32x32", "--frames", "5")
        #expect(plan.code == 0 && plan.output.contains("3 to render"), "\(plan.errors)")
    }

    @Test("pictures of a folder are animated with the prompts beside them")
    func stills() throws {
        try scratch.folder("stills")
        try FileManager.default.copyItem(atPath: HunyuanVideoTests.start, toPath: scratch("stills/bird.png"))
        try scratch.write("a bird flies\n", to: "stills/bird.txt")
        let outcome = try Executable.run(
            ["batch", "stills", "-o", "out", "-m", HunyuanVideoTests.picture] + HunyuanVideoTests.small,
            in: scratch.path)
        #expect(outcome.code == 0 && outcome.lines == ["out/bird-42.mp4"], "\(outcome.errors)")
        let made = try object(try run("inspect", "out/bird-42.mp4", "--json").output).object("made_with")
        #expect(try made.object("request").string("prompt") == "a bird flies")
        // Text alone has no use for pictures.
        let text = try Executable.run(
            ["batch", "stills", "-o", "none", "-m", HunyuanVideoTests.text] + HunyuanVideoTests.small, in: scratch.path)
        #expect(text.code == 64 && text.errors.contains("takes no picture"), "\(text.errors)")
    }

    @Test("several seeds make several clips with one loading, and the checkpoint is inspected")
    func seeds() throws {
        let outcome = try Executable.run(
            ["-p", "A cat.", "-m", HunyuanVideoTests.text, "--seed", "1,2,3", "--progress", "json", "-o", "{seed}.mp4"]
                + HunyuanVideoTests.small, in: scratch.path)
        #expect(outcome.code == 0 && outcome.lines == ["1.mp4", "2.mp4", "3.mp4"], "\(outcome.errors)")
        let inspected = try run("inspect", HunyuanVideoTests.text, "--json")
        #expect(try object(inspected.output).string("family") == "hunyuanvideo", "\(inspected.errors)")
    }
}
