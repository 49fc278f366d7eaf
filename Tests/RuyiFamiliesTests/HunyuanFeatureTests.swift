import Foundation
import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization
import Testing

/// A checkpoint of a recorded case, loaded once for several clips.
private struct HunyuanClips {
    let folder: ModelFolder
    private let backend = CPUBackend(threads: 2)
    private let renderer: any Renderer
    private let image: Picture?
    private let memory = ConditionMemory()

    init(_ name: String) throws {
        let golden = try GoldenCase(name, family: "hunyuanvideo")
        folder = try ModelFolder(path: golden.path + "/model")
        renderer = try HunyuanVideo.load(folder, backend: backend)
        image = name.hasPrefix("i2v") ? try golden.picture("input.png") : nil
    }

    /// A small clip's plan.
    func plan(_ change: (inout Request) -> Void = { _ in }) throws -> Plan {
        var request = Request()
        request.prompt = "A cat walks on the grass."
        (request.width, request.height, request.frames, request.steps) = (32, 32, 5, 3)
        change(&request)
        var plan = try HunyuanVideo.plan(
            request, folder: folder, image: image.map { PictureSize(width: $0.width, height: $0.height) })
        plan.stages = try DryRun(HunyuanVideo.self, folder, on: CPUBackend(threads: 1)).phases(of: plan).map(\.stage)
        return plan
    }

    /// Denoises it; gives its latents, its stages where they are asked for, and the progress of the first stage.
    func latents(
        traced: Bool = false, preview: PreviewRequest? = nil, _ change: (inout Request) -> Void = { _ in }
    ) throws -> (values: [Float], trace: Trace?, reading: [Int]) {
        let reading = Mutex<[Int]>([])
        let trace = traced ? Trace() : nil
        let plan = try plan(change)
        let job = Job(
            plan: plan, image: image, endImage: nil, noise: TorchGenerator(seed: plan.seed), trace: trace,
            session: backend.session(), preview: preview, conditions: traced ? nil : memory,
            progress: { stage, done in if stage == 0 { reading.withLock { $0.append(done) } } }, frames: { _ in })
        let values = try renderer.latents(job).floats()
        return (values, trace, reading.withLock { $0 })
    }
}

/// A file of low-rank updates that goes with it.
private final class LoRAOfTest {
    let path = NSTemporaryDirectory() + "ruyi-test-" + UUID().uuidString + ".safetensors"

    init(_ tensors: [(String, HostTensor)], metadata: String? = nil) throws {
        try SafetensorsWriter.write(
            tensors.map { (name: $0.0, tensor: $0.1) }, metadata: metadata.map { ["lora_adapter_metadata": $0] } ?? [:],
            to: path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    static func values(_ shape: [Int], _ seed: Int) -> HostTensor {
        HostTensor((0..<shape.reduce(1, *)).map { Float(($0 + seed) * 7 % 13) / 13 - 0.4 }, shape)
    }
}

@Suite("HunyuanVideo's features")
struct HunyuanFeatureTests {
    // MARK: Step caching

    @Test("a threshold of 0 reuses nothing, a large one all but the first and last step, with both sides of guidance")
    func teacache() throws {
        let clips = try HunyuanClips("t2v-basic")
        func log(_ amount: Double, _ change: (inout Request) -> Void = { _ in }) throws -> ([Float], [[Float]]) {
            let clip = try clips.latents(traced: true) {
                $0.steps = 5
                $0.teacache.amount = amount
                change(&$0)
            }
            let log = try #require(clip.trace?.tensors.first { $0.name == "teacache.log" }).tensor
            return (clip.values, (0..<log.shape[0]).map { log.selected(0, $0).floats() })
        }
        let plain = try clips.latents(traced: true) { $0.steps = 5 }.values
        let none = try log(0)
        #expect(none.0 == plain && none.1.map { $0[3] } == [1, 1, 1, 1, 1])
        let all = try log(10)
        #expect(all.0 != plain && all.1.map { $0[3] } == [1, 0, 0, 0, 1])
        #expect(try log(10) { $0.teacache.skipStartSteps = 3 }.1.map { $0[3] } == [1, 1, 1, 0, 1])
        func guide(_ request: inout Request) {
            (request.negativePrompt, request.trueCFGScale) = ("blurry", 3)
        }
        let guided = try clips.latents(traced: true) {
            $0.steps = 5
            guide(&$0)
        }.values
        #expect(try log(0, guide).0 == guided && log(10, guide).0 != guided)
        #expect(try clips.plan().teacache == nil)
    }

    @Test("the published fit gives more than nothing for every change, so that nothing is reused at a threshold of 0")
    func fit() {
        for step in 0...1000 {
            let change = Double(step) / 500
            #expect([733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896].reduce(0) { $0 * change + $1 } > 0)
        }
    }

    // MARK: Prompts

    @Test("a prompt is read once for clips that share it, with the same latents, and the encoders are let go")
    func texts() throws {
        let clips = try HunyuanClips("t2v-basic")
        let first = try clips.latents()
        let depth = try #require(first.reading.last)
        #expect(first.reading == Array(0...depth) && depth > 1)
        let second = try clips.latents { $0.seed = 7 }
        #expect(second.reading == [0, depth] && second.values != first.values)
        #expect(try clips.latents().values == first.values)
        // The other prompt is read, and so is the same one with another length.
        #expect(try clips.latents { $0.prompt = "A dog." }.reading == Array(0...depth))
        #expect(try clips.latents { $0.maxSequenceLength = 64 }.reading == Array(0...depth))
        let guided = try clips.latents { ($0.negativePrompt, $0.trueCFGScale) = ("blurry", 3) }
        #expect(guided.reading == [0, depth] + Array(depth + 1...2 * depth))
        // Only so many are kept.
        for index in 0..<8 { _ = try clips.latents { $0.prompt = "Prompt \(index)." } }
        #expect(try clips.latents().reading == Array(0...depth))
    }

    @Test("with a picture, both sides of the guidance are read once, and padding changes nothing")
    func pictureTexts() throws {
        let clips = try HunyuanClips("i2v-token-replace")
        func guide(_ request: inout Request) {
            (request.negativePrompt, request.trueCFGScale) = ("blurry", 3)
        }
        let first = try clips.latents(guide)
        let depth = try #require(first.reading.last)
        let again = try clips.latents(guide)
        #expect(again.reading == [0, depth / 2, depth] && again.values == first.values)
        let traced = try clips.latents(traced: true, guide)
        #expect(traced.reading == Array(0...depth))
        #expect(relativeError(traced.values, first.values) < 1e-4)
        // Black of another size is another picture.
        #expect(
            try clips.latents {
                guide(&$0)
                $0.width = 48
            }.reading.count > 3)
        // Fewer of the picture's tokens are another text.
        #expect(try clips.latents { $0.imageEmbedInterleave = 1 }.values != clips.latents().values)
    }

    @Test("a prompt that is cut says so, and signs of the model are refused beside a picture")
    func cut() throws {
        let long = String(repeating: "A man plays a red electric guitar. ", count: 40)
        for name in ["t2v-basic", "i2v-token-replace"] {
            let clips = try HunyuanClips(name)
            #expect(try clips.plan { $0.prompt = long }.warnings.contains { $0.contains("is longer than 256 tokens") })
            #expect(try !clips.plan().warnings.contains { $0.contains("is cut") })
            let short = try clips.plan { ($0.prompt, $0.maxSequenceLength) = ("A cat walks.", 16) }
            #expect(short.settings.values["max_sequence_length"] == 16)
        }
        let clips = try HunyuanClips("i2v-token-replace")
        for word in ["<image>", "<pad>", "<|eot_id|>", "<|end_header_id|>", "<|start_header_id|>"] {
            let fault = #expect(throws: Fault.self) { try clips.plan { $0.prompt = "a cat \(word) and a dog" } }
            #expect(fault?.kind == .usage && fault?.what.contains("'\(word)'") == true && fault?.place == "--prompt")
            let other = #expect(throws: Fault.self) {
                try clips.plan { ($0.negativePrompt, $0.trueCFGScale) = (word, 2) }
            }
            #expect(other?.place == "--negative-prompt")
            // Without a picture they are read as in the reference.
            #expect(try HunyuanClips("t2v-basic").plan { $0.prompt = word }.prompt == word)
        }
    }

    @Test("the guidance that the public programs compute in bfloat16 is that of 6.016")
    func halfGuidance() { #expect(Float(6.016) * 1000 == 6016) }

    // MARK: Tiles

    @Test("the ways to cut the VAE's work are names or an object, and anything else is refused")
    func tilings() throws {
        let clips = try HunyuanClips("t2v-basic")
        for text in ["diffusers", "original", "none"] {
            let plan = try clips.plan { try? ($0.vaeTiling = TilingChoice(.string(text))) }
            #expect(plan.settings.values["vae_tiling"] == .string(text))
        }
        // True and false are diffusers' switch for tiles in space.
        #expect(try HunyuanTiling(text: "true") == HunyuanTiling().tiled(256))
        #expect(try HunyuanTiling(text: "false") == HunyuanTiling())
        let object: JSON = ["tile_sample_min_height": 64, "tile_sample_stride_height": 48]
        let plan = try clips.plan { try? ($0.vaeTiling = TilingChoice(object)) }
        #expect(plan.settings.values["vae_tiling"] == object)
        for value in [JSON.string("other"), ["tile": 3], ["tile_sample_min_height": 60], .int(3)] {
            var values = SettingValues()
            let fault = #expect(throws: Fault.self) {
                try StreamSettings.table.vaeTiling.read(
                    value, SettingReading(key: "vae_tiling", file: "request.json"), into: &values)
            }
            #expect(fault?.kind == .badData && values.isEmpty)
        }
        #expect(try HunyuanTiling(text: "original") == .original && HunyuanTiling(text: "none") != HunyuanTiling())
    }

    // MARK: Previews

    @Test("a clip is shown as often as is asked, and is the same then", arguments: ["t2v-basic", "i2v-latent-concat"])
    func previews(_ name: String) throws {
        let clips = try HunyuanClips(name)
        let shown = Mutex<[Preview]>([])
        let request = PreviewRequest(every: 2) { preview in shown.withLock { $0.append(preview) } }
        let seen = try clips.latents(preview: request) { $0.frames = 9 }
        #expect(try clips.latents { $0.frames = 9 }.values == seen.values)
        let previews = shown.withLock { $0 }
        #expect(previews.map(\.step) == [2, 3])
        for preview in previews {
            // One of the three latent frames is dropped with a picture beside the noise.
            #expect(preview.frames.count == (name.hasPrefix("t2v") ? 3 : 2))
            #expect(preview.frames.allSatisfy { $0.width == 4 && $0.height == 4 })
        }
    }

    // MARK: LoRA

    /// The rank of the files.
    private static let rank = 2

    /// A layer of a file: a down matrix of `inputs`, and an up matrix.
    private func layer(
        _ name: String, _ inputs: Int, _ up: HostTensor, _ style: (String, String) = ("lora_down", "lora_up")
    ) -> [(String, HostTensor)] {
        [
            ("\(name).\(style.0).weight", LoRAOfTest.values([HunyuanFeatureTests.rank, inputs], 1)),
            ("\(name).\(style.1).weight", up),
        ]
    }

    @Test("an update of the authors' fused layers is that of their parts, whatever the layout of the file")
    func originalLoRA() throws {
        let clips = try HunyuanClips("t2v-basic")
        let width = 32  // two heads of 16
        func up(_ rows: Int) -> HostTensor { LoRAOfTest.values([rows, HunyuanFeatureTests.rank], 5) }
        func latents(_ tensors: [(String, HostTensor)], metadata: String? = nil, _ strength: Double = 1) throws
            -> [Float]
        {
            let file = try LoRAOfTest(tensors, metadata: metadata)
            return try clips.latents { $0.loras = [LoRA(path: file.path, weight: strength)] }.values
        }
        let plain = try clips.latents().values
        let peft = ("lora_A", "lora_B")
        // Each: the original layer, and the parts by the specification's table with their rows.
        let cases: [(String, Int, Int, [(String, [Range<Int>])])] = [
            (
                "double_blocks.1.img_attn_qkv", width, 3 * width,
                [
                    ("transformer_blocks.1.attn.to_q", [0..<32]), ("transformer_blocks.1.attn.to_k", [32..<64]),
                    ("transformer_blocks.1.attn.to_v", [64..<96]),
                ]
            ),
            (
                "double_blocks.0.txt_attn_qkv", width, 3 * width,
                [
                    ("transformer_blocks.0.attn.add_q_proj", [0..<32]),
                    ("transformer_blocks.0.attn.add_k_proj", [32..<64]),
                    ("transformer_blocks.0.attn.add_v_proj", [64..<96]),
                ]
            ),
            (
                "single_blocks.1.linear1", width, 7 * width,
                [
                    ("single_transformer_blocks.1.attn.to_q", [0..<32]),
                    ("single_transformer_blocks.1.attn.to_k", [32..<64]),
                    ("single_transformer_blocks.1.attn.to_v", [64..<96]),
                    ("single_transformer_blocks.1.proj_mlp", [96..<224]),
                ]
            ),
            (
                "single_blocks.0.linear2", 5 * width, width, [("single_transformer_blocks.0.proj_out", [0..<32])]
            ),
            ("double_blocks.0.img_mlp.fc1", width, 4 * width, [("transformer_blocks.0.ff.net.0.proj", [0..<128])]),
            ("final_layer.adaLN_modulation.1", width, 2 * width, [("norm_out.linear", [32..<64, 0..<32])]),
        ]
        for (original, inputs, outputs, parts) in cases {
            let whole = up(outputs)
            let flat = original.map { $0 == "." ? "_" : String($0) }.joined()
            let fused = try latents(layer("lora_unet_" + flat, inputs, whole), 1.5)
            #expect(fused != plain, "\(original)")
            let split = parts.flatMap { name, rows in
                let values = rows.flatMap { whole.sliced(0, $0).floats() }
                return layer("transformer." + name, inputs, HostTensor(values, [values.count / 2, 2]), peft)
            }
            #expect(try latents(split, 1.5) == fused, "\(original)")
            #expect(try latents(layer("Hunyuan_video_I2V_lora_" + flat, inputs, whole), 1.5) == fused)
            #expect(try latents(layer("diffusion_model." + original, inputs, whole, peft), 1.5) == fused)
            #expect(try latents(layer(original, inputs, whole, peft), 1.5) == fused)
        }
        let pair = layer("lora_unet_single_blocks_0_modulation_linear", width, up(3 * width))
        let alpha = [("lora_unet_single_blocks_0_modulation_linear.alpha", HostTensor([1], []))]
        #expect(try latents(pair + alpha, 2) == latents(pair))
        let diffusers = layer("transformer.single_transformer_blocks.0.norm.linear", width, up(3 * width), peft)
        #expect(try latents(diffusers) == latents(pair))
        // What diffusers notes beside the matrices.
        #expect(
            try latents(diffusers, metadata: "{\"transformer.r\": 2, \"transformer.lora_alpha\": 4}")
                == latents(pair, 2))
        // The authors' program does not look at alpha.
        let theirs = layer("Hunyuan_video_I2V_lora_single_blocks_0_modulation_linear", width, up(3 * width))
        let unused = [("Hunyuan_video_I2V_lora_single_blocks_0_modulation_linear.alpha", HostTensor([1], []))]
        #expect(try latents(theirs + unused) == latents(pair))
        #expect(
            try latents(diffusers, metadata: "{\"lora_alpha\": 1, \"alpha_pattern\": {\"norm.linear\": 4}}")
                == latents(pair, 2))
    }

    /// The authors' layers that are matrices, with their outputs and inputs in the checkpoint of the case.
    private static let originals: [(name: String, outputs: Int, inputs: Int)] = [
        ("time_in.mlp.0", 32, 256), ("time_in.mlp.2", 32, 32), ("guidance_in.mlp.0", 32, 256),
        ("guidance_in.mlp.2", 32, 32), ("vector_in.in_layer", 32, 24), ("vector_in.out_layer", 32, 32),
        ("txt_in.input_embedder", 32, 32), ("txt_in.t_embedder.mlp.0", 32, 256), ("txt_in.t_embedder.mlp.2", 32, 32),
        ("txt_in.c_embedder.linear_1", 32, 32), ("txt_in.c_embedder.linear_2", 32, 32),
        ("txt_in.individual_token_refiner.blocks.0.self_attn_qkv", 96, 32),
        ("txt_in.individual_token_refiner.blocks.0.self_attn_proj", 32, 32),
        ("txt_in.individual_token_refiner.blocks.0.mlp.fc1", 128, 32),
        ("txt_in.individual_token_refiner.blocks.0.mlp.fc2", 32, 128),
        ("txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1", 64, 32),
        ("double_blocks.0.img_mod.linear", 192, 32), ("double_blocks.0.txt_mod.linear", 192, 32),
        ("double_blocks.0.img_attn_qkv", 96, 32), ("double_blocks.0.txt_attn_qkv", 96, 32),
        ("double_blocks.0.img_attn_proj", 32, 32), ("double_blocks.0.txt_attn_proj", 32, 32),
        ("double_blocks.0.img_mlp.fc1", 128, 32), ("double_blocks.0.img_mlp.fc2", 32, 128),
        ("double_blocks.0.txt_mlp.fc1", 128, 32), ("double_blocks.0.txt_mlp.fc2", 32, 128),
        ("single_blocks.0.linear1", 224, 32), ("single_blocks.0.linear2", 32, 160),
        ("single_blocks.0.modulation.linear", 96, 32), ("final_layer.linear", 16, 32),
        ("final_layer.adaLN_modulation.1", 64, 32),
    ]

    @Test("every matrix of the authors' checkpoint is a layer that a LoRA changes")
    func everyLayer() throws {
        let path = GoldenRecord(name: "original-pt", family: "hunyuanvideo")(
            "model/hunyuan-video-t2v-720p/transformers/mp_rank_00_model_states.pt")
        let bytes = try FileBytes.read(path, limit: 1 << 24)
        let words = bytes.split { !(0x2E...0x7A).contains($0) || $0 == 0x2F }.map {
            String(decoding: $0, as: UTF8.self)
        }
        // The pickle's strings end with the letter of the next instruction.
        let names = Set(words.compactMap { word in word.range(of: ".weight").map { String(word[..<$0.lowerBound]) } })
            .filter { !$0.contains("norm") && $0 != "img_in.proj" && !$0.contains(".blocks.1.") }
        #expect(names == Set(HunyuanFeatureTests.originals.map(\.name)))
        let clips = try HunyuanClips("t2v-basic")
        let plain = try clips.latents { $0.steps = 1 }.values
        for (name, outputs, inputs) in HunyuanFeatureTests.originals {
            let file = try LoRAOfTest(
                layer(
                    "lora_unet_" + name.map { $0 == "." ? "_" : String($0) }.joined(), inputs,
                    LoRAOfTest.values([outputs, HunyuanFeatureTests.rank], 2)))
            let changed = try clips.latents {
                $0.steps = 1
                $0.loras = [LoRA(path: file.path, weight: 2)]
            }
            #expect(changed.values != plain, "\(name)")
        }
    }

    @Test("several files are added in order, each with its strength, and a foreign or broken one is refused by name")
    func severalLoRAs() throws {
        let clips = try HunyuanClips("t2v-basic")
        let first = try LoRAOfTest(
            layer("lora_unet_double_blocks_0_img_attn_proj", 32, LoRAOfTest.values([32, 2], 3)))
        let second = try LoRAOfTest(
            layer(
                "transformer.transformer_blocks.0.attn.to_out.0", 32, LoRAOfTest.values([32, 2], 4),
                ("lora_A", "lora_B")))
        func latents(_ strengths: [Double]) throws -> [Float] {
            try clips.latents {
                $0.loras = zip([first.path, second.path], strengths).map { LoRA(path: $0, weight: $1) }
            }.values
        }
        let plain = try clips.latents().values
        #expect(try latents([0, 0]) == plain && latents([1, 0]) != plain)
        #expect(try latents([1, 1]) != latents([1, 0]) && latents([1, 1]) != latents([1, -1]))
        #expect(try clips.latents().values == plain)
        let bad: [(LoRAOfTest, String)] = [
            (
                try LoRAOfTest(layer("lora_unet_blocks_0_attn1_to_q", 32, LoRAOfTest.values([32, 2], 1))),
                "no such layer"
            ),
            (
                try LoRAOfTest(layer("lora_unet_double_blocks_0_img_attn_qkv", 32, LoRAOfTest.values([64, 2], 1))),
                "[96, 32]"
            ),
            (
                try LoRAOfTest(
                    layer("lora_unet_double_blocks_9_img_attn_qkv", 32, LoRAOfTest.values([96, 2], 1))),
                "double_blocks_9"
            ),
            (
                try LoRAOfTest(
                    Array(layer("lora_unet_single_blocks_0_linear1", 32, LoRAOfTest.values([224, 2], 1)).prefix(1))),
                "lora_up.weight\" is missing"
            ),
        ]
        for (file, word) in bad {
            let fault = #expect(throws: Fault.self) { try clips.plan { $0.loras = [LoRA(path: file.path)] } }
            #expect(fault?.kind == .badData && fault?.place == file.path)
            #expect(fault?.what.contains(word) == true, "\(fault?.what ?? "")")
        }
    }
}
