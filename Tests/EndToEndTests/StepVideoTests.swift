import Foundation
import GoldenRecords
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Step-Video through the executable")
struct StepVideoTests {
    private let golden = Golden(name: "i2v-motion5", family: "step-video")
    private let scratch: Scratch
    private let small = ["--size", "32x32", "--frames", "17", "--steps", "1"]

    init() throws {
        scratch = try Scratch()
        try golden.record.copy("model", to: scratch("model"))
        try FileManager.default.copyItem(atPath: golden("image.png"), toPath: scratch("photo.png"))
    }

    private func run(_ arguments: [String]) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    private func planned(_ options: [String], picture: String? = "photo.png") throws -> (JSONObject, String) {
        let outcome = try run((picture.map { [$0] } ?? []) + ["-p", "A cat.", "-m", "model", "--dry-run"] + options)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return (try JSONObject(parsing: Array(outcome.output.utf8), file: "output"), outcome.output)
    }

    private func refused(_ options: [String], _ code: Int32, _ words: String..., picture: String? = "photo.png") throws
    {
        let outcome = try run(
            (picture.map { [$0] } ?? []) + ["-p", "A cat.", "-m", "model", "-o", "r.mp4"] + options)
        #expect(outcome.code == code, "\(options): \(outcome.errors)")
        for word in words { #expect(outcome.errors.contains(word), "\(word): \(outcome.errors)") }
        #expect(!scratch.files.contains("r.mp4"))
    }

    /// The final latents of a run.
    private func latents(_ options: [String], prompt: String = "A cat.") throws -> [Float] {
        let outcome = try run(
            ["photo.png", "-p", prompt, "-m", "model", "-o", "c.mkv", "--overwrite", "--trace", "t.safetensors"] + small
                + options)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try SafetensorsFile(path: scratch("t.safetensors")).tensor("latents.final").floats()
    }

    @Test("sizes, lengths and crops are settled as they are used, and said so")
    func settled() throws {
        for (options, size, frames) in [
            (["--size", "992x544"], [992, 544], 102), (["--size", "70x50", "--frames", "25"], [64, 48], 17),
            (["--size", "64x48", "--frames", "16"], [64, 48], 1),
            (["--size", "64x48", "--seconds", "4"], [64, 48], 102),
            (["--size", "64x48", "--frames", "200"], [64, 48], 187),
        ] {
            let plan = try planned(options).0
            #expect(try [plan.int("width"), plan.int("height")] == size, "\(options)")
            #expect(try plan.int("frames") == frames, "\(options)")
        }
        let (plan, notes) = try planned([
            "--size", "992x544", "--frames", "17", "--crop-540p", "--camera", "dolly-in", "--fps", "24",
        ])
        #expect(try plan.double("motion_score") == 5 && plan.double("time_shift") == 13 && plan.int("steps") == 50)
        #expect(notes.contains("镜头推进"), "\(notes)")
        let whole = try run(
            [
                "photo.png", "-p", "A cat.", "-m", "model", "-o", "cut.mkv", "--steps", "1", "--size", "976x544",
                "--frames",
                "1", "--crop-540p",
            ])
        #expect(whole.code == 0, "\(whole.errors)")
        let inspected = try run(["inspect", "cut.mkv", "--json"])
        #expect(inspected.output.contains("960") && inspected.output.contains("540"), "\(inspected.output)")
    }

    @Test("camera words, magic words and the motion score reach the model")
    func steering() throws {
        let plain = try latents([])
        #expect(try latents(["--camera", "orbit"]) == latents([], prompt: "镜头环绕，A cat."))
        #expect(try latents(["--no-magic"]) == latents(["--positive-magic", "", "--negative-prompt", ""]))
        let others = [
            ["--camera", "orbit"], ["--no-magic"], ["--motion-score", "20"], ["--guidance", "1"],
            ["--time-shift", "3"],
            ["--reference-rounding"], ["--seed", "7"],
        ]
        for options in others where options != ["--time-shift", "3"] {
            #expect(try latents(options) != plain, "\(options)")
        }
        // A single step has no place to shift.
        #expect(try latents(["--time-shift", "3", "--steps", "2"]) != latents(["--steps", "2"]))
    }

    @Test("memory is saved without a change, and eight bits change little")
    func memory() throws {
        let plain = try latents(["--steps", "2"])
        #expect(try latents(["--steps", "2", "--memory-mode", "stream"]) == plain)
        #expect(try latents(["--steps", "2", "--threads", "1"]) == plain)
        let size = plain.reduce(0) { $0 + $1 * $1 }
        for options in [["--precision", "int8"], ["--fp8-quant-mode", "strong", "--fp8-data-type", "fp8_e5m2"]] {
            let other = try latents(["--steps", "2"] + options)
            let error = zip(other, plain).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            #expect(error > 0 && error < 0.01 * size, "\(options): \(error) of \(size)")
        }
    }

    @Test("LoRA files in the names of every trainer give the clip of a checkpoint with merged weights")
    func adapters() throws {
        let part = "model/transformer/diffusion_pytorch_model.safetensors"
        let file = try SafetensorsFile(path: scratch(part))
        let layers =
            ["attn1.wqkv", "attn1.wo", "attn2.wq", "attn2.wkv", "attn2.wo", "ff.net.0.proj", "ff.net.2"]
            .map { "transformer_blocks.1." + $0 } + ["adaln_single.linear", "caption_projection.linear_1", "proj_out"]
        var updates: [String: (down: TestMatrix, up: TestMatrix)] = [:]
        for (index, layer) in layers.enumerated() {
            let shape = try #require(file.shape(of: layer + ".weight"), "\(layer)")
            updates[layer] = (TestMatrix(2, shape[1], seed: index), TestMatrix(shape[0], 2, seed: index + 50))
        }
        func lora(_ name: String, _ place: String, _ ends: (down: String, up: String), isFlat: Bool = false) throws {
            let tensors = layers.flatMap { layer -> [(name: String, tensor: HostTensor)] in
                let flat = isFlat ? layer.replacingOccurrences(of: ".", with: "_") : layer
                return [
                    (place + flat + ends.down, updates[layer]?.down.tensor() ?? .zeros([1])),
                    (place + flat + ends.up, updates[layer]?.up.tensor() ?? .zeros([1])),
                ]
            }
            try SafetensorsWriter.write(tensors, to: scratch(name))
        }
        let (peft, kohya) = (
            (down: ".lora_A.weight", up: ".lora_B.weight"), (down: ".lora_down.weight", up: ".lora_up.weight")
        )
        try lora("diffusers", "transformer.", peft)
        try lora("peft", "base_model.model.", peft)
        try lora("comfyui", "diffusion_model.", kohya)
        try lora("kohya", "lora_unet_", kohya, isFlat: true)
        try lora("onetrainer", "lora_transformer_", kohya, isFlat: true)
        let plain = try latents([])
        let first = try latents(["--lora", "diffusers:0.5", "--strict-lora"])
        for name in ["peft", "comfyui", "kohya", "onetrainer"] {
            #expect(try latents(["--lora", name + ":0.5", "--strict-lora"]) == first, "\(name)")
        }
        #expect(try latents(["--lora", "diffusers:0.5", "--memory-mode", "stream"]) == first)
        let small = try latents(["--lora", "diffusers:0.5", "--precision", "int8"])
        // The weights as they are stored with the products added.
        let merged = try file.keys.map { key -> (name: String, tensor: HostTensor) in
            let stored = try file.tensor(key)
            guard key.hasSuffix(".weight"), let update = updates[String(key.dropLast(".weight".count))] else {
                return (key, stored)
            }
            let matrix = TestMatrix(stored.shape[0], stored.shape[1], stored.floats().map(Double.init))
            return (key, matrix.each(update.up.times(update.down)) { $0 + 0.5 * $1 }.tensor())
        }
        try FileManager.default.removeItem(atPath: scratch(part))
        try SafetensorsWriter.write(merged, to: scratch(part))
        func distance(_ a: [Float], _ b: [Float]) -> Float {
            let squares = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            return (squares / b.reduce(0) { $0 + $1 * $1 }).squareRoot()
        }
        let expected = try latents([])
        #expect(distance(first, expected) < 1e-5 && distance(plain, expected) > 1e-3)
        #expect(distance(small, expected) < 0.1 && small != first)
        try SafetensorsWriter.write(
            [("transformer_blocks.9.attn1.wo.lora_A.weight", .zeros([2, 48]))], to: scratch("foreign"))
        try refused(self.small + ["--lora", "foreign"], 65, "foreign")
    }

    @Test("what does not fit is refused with what does")
    func refusals() throws {
        try refused(small, 64, "none was given", picture: nil)
        try refused(["--mode", "t2v"], 64, "is for i2v")
        try refused(["--motion-score", "51"], 64, "motion_score is 51")
        try refused(["--camera", "left"], 64, "takes no \"left\"")
        try refused(["--end-image", "photo.png"], 64, "has no --end-image")
        try refused(["--crop-540p", "--size", "64x48"], 64, "960x540")
        try refused(["--scheduler", "DDIM"], 64, "flow-euler")
        let vae = "model/vae/vae_v2.safetensors"
        try FileManager.default.moveItem(atPath: scratch(vae), toPath: scratch("model/vae/vae.safetensors"))
        try refused(small, 66, "vae_v2")
    }

    @Test("a checkpoint for texts alone has no picture, no motion score, and other words")
    func texts() throws {
        let file = scratch("model/transformer/diffusion_pytorch_model.safetensors")
        let weights = try SafetensorsFile(path: file)
        let channels = try JSONObject(
            parsing: FileBytes.read(scratch("model/transformer/config.json"), limit: 1 << 20), file: "config.json"
        ).int("in_channels")
        var tensors: [(String, HostTensor)] = []
        for key in weights.keys where !key.contains("motion_score_embedder") {
            let tensor = try weights.tensor(key).single
            tensors.append((key, key == "pos_embed.proj.weight" ? tensor.sliced(1, 0..<channels).single : tensor))
        }
        try FileManager.default.removeItem(atPath: file)
        try SafetensorsWriter.write(tensors, to: file)
        try refused(small, 65, "use_additional_conditions", picture: nil)
        let config = try String(contentsOfFile: scratch("model/transformer/config.json"), encoding: .utf8)
        try FileManager.default.removeItem(atPath: scratch("model/transformer/config.json"))
        try scratch.write(
            config.replacingOccurrences(
                of: "\"use_additional_conditions\": true", with: "\"use_additional_conditions\": false"),
            to: "model/transformer/config.json")
        try refused(small, 64, "takes no picture")
        try refused(small + ["--motion-score", "3"], 64, "no motion score", picture: nil)
        let made = try run(["-p", "A boat.", "-m", "model", "-o", "t.mkv"] + small)
        #expect(made.code == 0, "\(made.errors)")
        #expect(try planned(["--size", "64x48"], picture: nil).0.int("frames") == 204)
        try FileManager.default.moveItem(atPath: scratch("model"), toPath: scratch("stepvideo-t2v-turbo"))
        let turbo = try run(["-p", "A boat.", "-m", "stepvideo-t2v-turbo", "--dry-run"] + small)
        #expect(turbo.output.contains("--time-shift 17"), "\(turbo.output)")
    }
}
