import Foundation
import GoldenRecords
import RuyiEngine
import RuyiFiles
import Testing

@Suite("Plans")
struct PlanTests {
    let golden = Golden(name: "i2v-bucket")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    func plan(_ arguments: [String]) throws -> Outcome {
        try Executable.run(
            ["plan", golden("start.png"), "-m", golden("model"), "--no-config"] + arguments, in: scratch.path)
    }

    @Test("a plan for people names sizes, length, steps, memory and disk, and why they differ from what was asked")
    func people() throws {
        let outcome = try plan(["--size", "50x33", "--frames", "12", "--steps", "3", "--seed", "4,5"])
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        // The values stand below one another.
        let column = "memory_mode  ".count
        for (name, value) in [
            ("size", "48x32"), ("length", "8 frames, 0.33 s at 24 fps"),
            ("sampling", "3 steps DDIM, guidance 7.0, seed 4"), ("note", "size 50x33 -> 48x32"),
            ("note", "frames 12 -> 8"), ("output", "start-5.mp4"),
        ] {
            let line = name + String(repeating: " ", count: column - name.count) + value
            #expect(outcome.output.contains(line), "\(line)\n\(outcome.output)")
        }
        for name in ["picture", "tokens", "memory", "weights", "disk", "camera", "motion", "precision", "model"] {
            #expect(outcome.lines.contains { $0.hasPrefix(name + " ") }, "\(name)")
        }
        #expect(scratch.files.isEmpty)
    }

    @Test("a plan as JSON holds what a dry run prints, what was asked for, and what there is")
    func json() throws {
        let options = ["--size", "360p", "--frames", "12", "--steps", "3"]
        let outcome = try plan(options + ["--json"])
        #expect(outcome.code == 0 && outcome.lines.count == 1, "\(outcome.errors)")
        let report = try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        let dry = try Executable.run(
            [golden("start.png"), "-m", golden("model"), "--no-config", "--dry-run"] + options, in: scratch.path)
        let expected = try JSONObject(parsing: Array(dry.output.utf8), file: "plan")
        // Speeds are measured anew each time.
        #expect(try report.double("estimated_seconds") > 0)
        for member in expected.members where member.key != "estimated_seconds" {
            #expect(report.json[member.key] == member.value, "\(member.key)")
        }
        #expect(try report.object("asked").keys == ["frames", "resolution"])
        #expect(try report.object("asked").int("frames") == 12 && report.int("frames") == 8)
        #expect(try report.bool("fits") && report.int("disk_bytes") > 0 && report.int("memory_limit_bytes") > 0)
        #expect(try report.int("disk_free_bytes") > 0)
        #expect(report.keys == report.keys.sorted())
        let frames = try plan(options + ["--json", "-o", "f/%d.png"])
        let pictures = try JSONObject(parsing: Array(frames.output.utf8), file: "plan")
        #expect(
            try pictures.int("disk_bytes") >= 3 * pictures.int("width") * pictures.int("height")
                * pictures.int("frames"))
    }

    @Test("what cannot fit is refused with changes that do fit, the one that keeps most first")
    func refusal() throws {
        func limited(_ options: String) throws -> Outcome {
            try Executable.shell(
                "ulimit -v 1500000; exec \"$RUYI\" plan \(golden("start.png")) -m \(golden("model")) --no-config \(options)",
                in: scratch.path)
        }
        let refused = try limited("--size 1024x1024 --frames 120")
        #expect(refused.code == 71 && refused.output.contains("1024x1024"), "\(refused.errors)")
        let hint = try #require(refused.errors.components(separatedBy: "would fit: ").last)
        let changes = hint.split(separator: ";").map { change in
            change.split(separator: " ").prefix(2).map(String.init)
        }
        #expect(changes.map { $0[0] }.sorted() == ["--frames", "--size"])
        for change in changes {
            let other = change[0] == "--frames" ? "--size 1024x1024" : "--frames 120"
            let fitting = try limited(other + " " + change.joined(separator: " "))
            #expect(fitting.code == 0, "\(change): \(fitting.errors)")
        }
        let frames = try #require(changes.first { $0[0] == "--frames" }.flatMap { Int($0[1]) })
        #expect(try limited("--size 1024x1024 --frames \(frames + 8)").code == 71)
    }

    @Test("what is wrong with an order is wrong with its plan")
    func refuses() throws {
        #expect(try plan(["--frames", "0"]).code == 64)
        #expect(try Executable.run(["plan", "nowhere.png", "-m", golden("model")]).code == 66)
        #expect(try Executable.run(["plan", "--jsn"]).errors.contains("--json"))
        let help = try Executable.run(["plan", "--help"])
        #expect(help.output.contains("--json") && help.output.contains("LENGTH AND SIZE:"))
    }

    @Test("a model of 13 billion parameters in Q4_K fits beside everything else in 16 GB, and the plan says so")
    func quantized() throws {
        let text = Golden(name: "t2v-basic", family: "hunyuanvideo")
        for part in ["tokenizer", "tokenizer_2"] {
            try FileManager.default.copyItem(atPath: text("model/" + part), toPath: scratch(part))
        }
        try SparseModel.writeTransformer(scratch("hunyuan-video-t2v-720p-Q4_K.gguf"))
        try SparseModel.writeVAE(scratch("hunyuan_video_vae_fp16.safetensors"))
        try SparseModel.writeLanguage(scratch("llava_llama3_fp16.safetensors"))
        try SparseModel.writeCLIP(scratch("clip_l.safetensors"))
        let parts = [
            "--transformer", "hunyuan-video-t2v-720p-Q4_K.gguf", "--vae", "hunyuan_video_vae_fp16.safetensors",
            "--text-encoder", "llava_llama3_fp16.safetensors", "--text-encoder-2", "clip_l.safetensors",
        ]
        func plan(_ options: [String]) throws -> JSONObject {
            let outcome = try Executable.run(
                ["plan", "-p", "cat", "--no-config", "--json", "--memory", "16G"] + parts + options, in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        }
        let small = try plan(["--size", "480x320", "--frames", "33"])
        let report = try plan(["--size", "960x544"])
        #expect(try report.int("frames") == 129)
        for report in [small, report] {
            #expect(try report.bool("fits") && report.int("memory_limit_bytes") == 16_000_000_000)
            #expect(try report.int("peak_memory_bytes") < 16_000_000_000)
        }
        // Of a small clip no weights have to be given back between the steps.
        #expect(try small.string("memory_mode") == "resident")
        // The transformer's 12.8 billion parameters are 7.3 GB, and everything else is 15.8 GB.
        let total = try report.int("weight_bytes")
        #expect(abs(Double(total) - 23.1e9) < 0.3e9, "\(total)")
        let shown = try Executable.run(["models", "show", "--json"] + parts, in: scratch.path)
        #expect(shown.code == 0 && shown.output.contains("\"complete\":true"), "\(shown.errors)")
    }

    @Test("a model of 30 billion parameters streams on a machine of 16 GB, and the plan says so")
    func streamed() throws {
        let golden = Golden(name: "i2v-motion5", family: "step-video")
        try golden.record.copy("model", to: scratch("stepvideo-ti2v"))
        try SparseModel.writeStepVideo(scratch("stepvideo-ti2v"))
        func plan(_ memory: String, _ options: String...) throws -> (outcome: Outcome, report: JSONObject?) {
            let outcome = try Executable.run(
                [
                    "plan", golden("image.png"), "-p", "cat", "-m", "stepvideo-ti2v", "--no-config", "--json", "--size",
                    "992x544", "--memory", memory,
                ] + options, in: scratch.path)
            return (outcome, try? JSONObject(parsing: Array(outcome.output.utf8), file: "plan"))
        }
        let report = try #require(try plan("16G").report)
        #expect(try report.int("frames") == 102 && report.bool("fits"))
        #expect(try report.string("memory_mode") == "stream")
        // 58.8 GB of the transformer, 38.3 GB of the language model, 1.0 GB of the VAE, 0.7 GB of BERT.
        let total = try report.int("weight_bytes")
        #expect(abs(Double(total) - 98.7e9) < 0.5e9, "\(total)")
        let (peak, kept) = (try report.int("peak_memory_bytes"), try report.int("resident_weight_bytes"))
        #expect(peak + kept < 16_000_000_000, "\(peak) + \(kept)")
        // With less room fewer blocks stay in memory from step to step.
        let narrow = try #require(try plan("14G").report)
        #expect(try narrow.bool("fits") && narrow.int("resident_weight_bytes") < kept)
        let refused = try plan("4G").outcome
        #expect(refused.code == 71, "\(refused.errors)")
        // What the decoder's convolutions remember: two frames, or sums, of each, by width and area; those of doubled frames
        // remember the small ones.
        let area = 544 * 992
        let remembered =
            2 * 4
            * (512 * area / 64 + 8 * 512 * area / 16 + (512 + 6 * 256) * area / 4 + (6 * 128 + 3) * area)
        let passing = try report.int("disk_passing_bytes")
        #expect(passing > remembered && passing < remembered + 2 * 4 * 128 * area, "\(passing), \(remembered)")
        #expect(try report.int("disk_bytes") > passing)
        let resident = try #require(try plan("200G", "--memory-mode", "resident", "--ignore-memory").report)
        #expect(try resident.int("disk_passing_bytes") == 0)
        #expect(try resident.int("disk_bytes") == report.int("disk_bytes") - passing)
    }
}
