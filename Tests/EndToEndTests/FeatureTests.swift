import Foundation
import RuyiEngine
import RuyiFiles
import Testing

@Suite("LoRA, TeaCache, Enhance-A-Video and 8-bit floating-point weights through the executable")
struct FeatureTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// What the request of a case says, as options, but for its features.
    private func options(_ golden: Golden) throws -> [String] {
        let request = try JSONObject(parsing: FileBytes.read(golden("request.json")), file: "request.json")
        return [
            golden("start.png"), "-m", golden("model"), "--noise", golden("expected.safetensors"), "-q",
            "--size", "\(try request.int("width"))x\(try request.int("height"))",
            "--frames", "\(try request.int("frames"))", "--steps", "\(try request.int("steps"))",
            "--guidance", "\(try request.double("guidance"))", "--motion", try request.string("motion"),
            "--camera", try request.string("camera"),
        ]
    }

    private func plan(_ arguments: [String]) throws -> JSONObject {
        let outcome = try Executable.run(arguments + ["--dry-run"], in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        return try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
    }

    /// A case and the options that stand for the features of its request.
    static let features: [(golden: Golden, options: [String])] = [
        (
            Golden(name: "i2v-lora"),
            ["--lora", "style_a.safetensors:0.8", "--lora", "style_b.safetensors:1.2"]
        ),
        (Golden(name: "i2v-teacache"), ["--teacache-threshold", "0.15"]),
        (
            Golden(name: "i2v-enhance"),
            [
                "--enhance-a-video-weight", "4", "--enhance-a-video-skip-start-steps", "1",
                "--enhance-a-video-skip-end-steps", "1",
            ]
        ),
    ]

    @Test("options give what the request's keys give", arguments: features)
    func options(_ golden: Golden, _ options: [String]) throws {
        let all = try self.options(golden) + options
        let outcome = try Executable.run(
            all + ["--trace", scratch("t.safetensors"), "-o", scratch("v.mp4")], in: golden.folder)
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(try golden.differences(scratch("t.safetensors")) == [])
        let plain = try Executable.run(
            try self.options(golden) + ["--trace", scratch("p.safetensors"), "-o", scratch("p.mp4")])
        #expect(plain.code == 0)
        #expect(try golden.differences(scratch("p.safetensors")) != [])
    }

    @Test("the plan says what is on, in the form of a request, and what it costs")
    func plans() throws {
        let golden = Golden(name: "i2v-lora")
        let base = try options(golden)
        let plain = try plan(base)
        #expect(try plain.array("loras").isEmpty && plain["teacache"] == nil && plain["enhance_a_video"] == nil)
        #expect(try plain.string("fp8_quant_mode") == "none" && plain["fp8_data_type"] == nil)
        let full = try plan(
            base + [
                "--lora", golden("style_a.safetensors"), "--teacache", "--enhance-a-video", "--fp8-quant-mode",
                "strong", "--fp8-data-type", "fp8_e5m2",
            ])
        #expect(try full.array("loras").map { $0["path"]?.string } == [golden("style_a.safetensors")])
        #expect(try full.array("loras").map { $0["weight"]?.double } == [1])
        let cache = try full.object("teacache")
        #expect(try cache.double("threshold") == 0.1 && cache.int("skip_start_steps") == 3)
        #expect(try cache.int("skip_end_steps") == 1)
        let enhance = try full.object("enhance_a_video")
        #expect(try enhance.double("weight") == 1 && enhance.int("skip_start_steps") == 0)
        #expect(try full.string("fp8_quant_mode") == "strong" && full.string("fp8_data_type") == "fp8_e5m2")
        #expect(try full.int("weight_bytes") > plain.int("weight_bytes"))
        #expect(try full.int("activation_bytes") > plain.int("activation_bytes"))
        // A plan's own words are a request again.
        let keys = ["loras", "teacache", "enhance_a_video", "fp8_quant_mode", "fp8_data_type"]
        let members = keys.compactMap { key in full[key].map { JSON.Member(key, $0) } }
        try scratch.write(JSON.object(members).text(), to: "again.json")
        let again = try plan(base + ["--request", scratch("again.json")])
        for key in keys { #expect(again[key] == full[key]) }
    }

    @Test("a request switches features on and off, and the command line wins")
    func requests() throws {
        let base = try options(Golden(name: "i2v-lora"))
        func plan(_ request: String, _ options: [String] = []) throws -> JSONObject {
            try scratch.write(request, to: "r.json")
            return try self.plan(base + ["--request", scratch("r.json")] + options)
        }
        #expect(try plan("{\"teacache\": true}").object("teacache").double("threshold") == 0.1)
        #expect(try plan("{\"teacache_threshold\": 0.2}").object("teacache").double("threshold") == 0.2)
        #expect(try plan("{\"teacache\": false, \"teacache_threshold\": 0.2}")["teacache"] == nil)
        #expect(try plan("{\"teacache\": {}, \"enhance_a_video\": null}").object("teacache").int("skip_end_steps") == 1)
        let merged = try plan(
            "{\"teacache\": {\"threshold\": 0.2, \"skip_start_steps\": 2}, \"enhance_a_video\": false}",
            ["--teacache-threshold", "0.3", "--enhance-a-video-skip-end-steps", "1"])
        #expect(try merged.object("teacache").double("threshold") == 0.3)
        #expect(try merged.object("teacache").int("skip_start_steps") == 2)
        #expect(try merged.object("enhance_a_video").int("skip_end_steps") == 1)
        #expect(try plan("{\"fp8_quant_mode\": \"lite\"}").string("fp8_data_type") == "auto")
    }

    @Test("a LoRA of a request lies beside it, as text or as an object")
    func paths() throws {
        let golden = Golden(name: "i2v-lora")
        try FileManager.default.copyItem(atPath: golden("style_b.safetensors"), toPath: scratch("b.safetensors"))
        try scratch.write("{\"loras\": [\"b.safetensors:0.5\", {\"path\": \"b.safetensors\"}]}", to: "r.json")
        let loras = try plan(try options(golden) + ["--request", scratch("r.json")]).array("loras")
        #expect(loras.map { $0["path"]?.string } == [scratch("b.safetensors"), scratch("b.safetensors")])
        #expect(loras.map { $0["weight"]?.double } == [0.5, 1])
        let outcome = try Executable.run(
            try options(golden) + [
                "--request", "r.json", "--trace", "b.safetensors", "--overwrite", "-o", "v.mp4",
            ], in: scratch.path)
        #expect(outcome.code == 64 && outcome.errors.contains("would replace an input"), "\(outcome.errors)")
    }

    @Test("a clip made with every feature is made again from what it holds, and a changed LoRA is told")
    func again() throws {
        let golden = Golden(name: "i2v-lora")
        for name in ["style_a.safetensors", "start.png"] {
            try FileManager.default.copyItem(atPath: golden(name), toPath: scratch(name))
        }
        let features = [
            "--lora", scratch("style_a.safetensors") + ":0.5", "--teacache-threshold", "0.2",
            "--enhance-a-video-weight",
            "3", "--fp8-quant-mode", "lite",
        ]
        let first = try Executable.run(try options(golden) + features + ["-o", "v.mp4"], in: scratch.path)
        #expect(first.code == 0, "\(first.errors)")
        let model = ["--from", "v.mp4", "-m", golden("model"), "--noise", golden("expected.safetensors"), "-q"]
        let again = try Executable.run(model + ["-o", "w.mp4"], in: scratch.path)
        #expect(again.code == 0, "\(again.errors)")
        let files = try ["v.mp4", "w.mp4"].map { try FileBytes.read(scratch($0), limit: 1 << 24) }
        #expect(files[0] == files[1])
        #expect(!String(decoding: files[0], as: UTF8.self).contains(scratch.path))
        let off = try plan(model + ["--no-teacache", "--no-enhance-a-video", "-o", "x.mp4"])
        #expect(try off.array("loras").count == 1 && off["teacache"] == nil && off["enhance_a_video"] == nil)
        let file = scratch("style_a.safetensors")
        try FileManager.default.removeItem(atPath: file)
        try FileManager.default.copyItem(atPath: golden("style_b.safetensors"), toPath: file)
        let changed = try Executable.run(model + ["-o", "x.mp4"], in: scratch.path)
        #expect(changed.code == 65 && changed.errors.contains("--lora"), "\(changed.errors)")
    }

    @Test("a batch takes LoRA files, and one that changed under its name is not taken for the same")
    func batch() throws {
        let golden = Golden(name: "i2v-lora")
        try scratch.folder("in")
        try FileManager.default.copyItem(atPath: golden("start.png"), toPath: scratch("in/start.png"))
        try FileManager.default.copyItem(atPath: golden("style_a.safetensors"), toPath: scratch("in/a.safetensors"))
        try scratch.write("{\"image\": \"start.png\", \"loras\": [\"a.safetensors:0.5\"]}", to: "in/list.jsonl")
        let command = [
            "batch", "in/list.jsonl", "-o", "out", "-m", golden("model"), "--size", "48x32", "--frames", "8", "--steps",
            "2", "-q",
        ]
        let first = try Executable.run(command, in: scratch.path)
        #expect(first.code == 0 && first.lines == ["out/start-42.mp4"], "\(first.errors)")
        #expect(try Executable.run(command, in: scratch.path).lines == [])
        try FileManager.default.removeItem(atPath: scratch("in/a.safetensors"))
        try FileManager.default.copyItem(atPath: golden("style_b.safetensors"), toPath: scratch("in/a.safetensors"))
        let changed = try Executable.run(command, in: scratch.path)
        #expect(changed.code == 73 && changed.errors.contains("other settings"), "\(changed.errors)")
        for lora in ["\"/a.safetensors\"", "{\"path\": \"../a.safetensors\"}"] {
            try scratch.write("{\"image\": \"start.png\", \"loras\": [\(lora)]}", to: "in/list.jsonl")
            let outside = try Executable.run(command, in: scratch.path)
            #expect(outside.code == 65 && outside.errors.contains("--allow-outside"), "\(outside.errors)")
        }
    }

    /// Options, the exit code that they must have, and a word that standard error must hold.
    static let refused: [Invocation] = [
        Invocation("--lora nowhere.safetensors", 66, "nowhere.safetensors"), Invocation("--lora .", 66, "a folder"),
        Invocation("--lora text.safetensors", 65, "text.safetensors"), Invocation("--lora :0.5", 64, "LoRA is empty"),
        Invocation("--lora text.safetensors:101", 64, "-100 to 100"),
        Invocation("--lora text.safetensors:nan", 64, "strength"), Invocation("--lora", 64, "--lora"),
        Invocation("--teacache-threshold 11", 64, "teacache_threshold"),
        Invocation("--teacache-threshold x", 64, "--teacache-threshold"),
        Invocation("--teacache-skip-start-steps 0", 64, "teacache_skip_start_steps"),
        Invocation("--teacache-skip-end-steps 0", 64, "teacache_skip_end_steps"),
        Invocation("--enhance-a-video-weight 101", 64, "enhance_a_video_weight"),
        Invocation("--enhance-a-video-skip-start-steps=-1", 64, "enhance_a_video_skip_start_steps"),
        Invocation("--enhance-a-video-skip-end-steps 1001", 64, "enhance_a_video_skip_end_steps"),
        Invocation("--enhance-a-video --frames 1", 64, "--enhance-a-video"),
        Invocation("--fp8-quant-mode all", 64, "none, lite, strong, extreme"),
        Invocation("--fp8-data-type fp8", 64, "auto, fp8_e4m3fn, fp8_e5m2"),
        Invocation("--fp8-quant-mode lite --precision int8", 64, "exclude each other"),
    ]

    @Test("a feature that cannot be had is refused with one message", arguments: refused)
    func refuses(_ invocation: Invocation) throws {
        let golden = Golden(name: "i2v-bucket")
        try scratch.write("no LoRA", to: "text.safetensors")
        let outcome = try Executable.shell(
            "\"$RUYI\" \(golden("start.png")) -m \(golden("model")) --size 48x32 -o v.mp4 " + invocation.arguments,
            in: scratch.path)
        #expect(outcome.code == invocation.code, "\(outcome.errors)")
        #expect(outcome.errors.contains(invocation.word), "\(outcome.errors)")
        #expect(outcome.output.isEmpty && scratch.files == ["text.safetensors"])
    }

    @Test("8-bit floating-point weights take memory of their own and give another video, the same each time")
    func rounding() throws {
        let base = try options(Golden(name: "i2v-lora")) + ["--steps", "2"]
        let narrow = ["--fp8-quant-mode", "extreme", "--progress", "plain"]
        for (name, options) in [("plain", []), ("one", narrow), ("two", narrow)] {
            #expect(try Executable.run(base + options + ["-o", scratch("\(name).mp4")]).code == 0)
        }
        let files = try ["plain", "one", "two"].map { try FileBytes.read(scratch("\($0).mp4"), limit: 1 << 24) }
        #expect(files[1] == files[2] && files[0] != files[1])
    }
}
