import Foundation
import GoldenRecords
import RuyiFiles
import RuyiTensor
import Testing

/// A matrix of the test's own, for merging updates into weights by hand.
struct TestMatrix {
    let rows, columns: Int
    let values: [Double]

    init(_ rows: Int, _ columns: Int, _ values: [Double]) {
        (self.rows, self.columns, self.values) = (rows, columns, values)
    }

    /// Numbers that look random, of a size that changes a clip without breaking it.
    init(_ rows: Int, _ columns: Int, seed: Int) {
        let values = (0..<rows * columns).map { Float(($0 * 37 + seed * 101) % 61 - 30) / 90 }
        self.init(rows, columns, values.map(Double.init))
    }

    /// `[rows, columns]`, or another shape of as many numbers.
    func tensor(_ shape: [Int]? = nil) -> HostTensor { HostTensor(values.map { Float($0) }, shape ?? [rows, columns]) }

    func rows(_ range: Range<Int>) -> TestMatrix {
        TestMatrix(range.count, columns, Array(values[range.lowerBound * columns..<range.upperBound * columns]))
    }

    func times(_ other: TestMatrix) -> TestMatrix {
        let sums = (0..<rows * other.columns).map { place in
            (0..<columns).reduce(0.0) { sum, index in
                sum + values[place / other.columns * columns + index]
                    * other.values[index * other.columns + place % other.columns]
            }
        }
        return TestMatrix(rows, other.columns, sums)
    }

    func each(_ other: TestMatrix, _ body: (Double, Double) -> Double) -> TestMatrix {
        TestMatrix(rows, columns, zip(values, other.values).map(body))
    }

    func kronecker(_ other: TestMatrix) -> TestMatrix {
        let (height, width) = (rows * other.rows, columns * other.columns)
        let products = (0..<height * width).map { place in
            let (row, column) = (place / width, place % width)
            return values[row / other.rows * columns + column / other.columns]
                * other.values[row % other.rows * other.columns + column % other.columns]
        }
        return TestMatrix(height, width, products)
    }

    /// Every row at a length.
    func atLengths(_ lengths: [Double]) -> TestMatrix {
        let scaled = (0..<rows).flatMap { row -> [Double] in
            let numbers = values[row * columns..<(row + 1) * columns]
            let length = numbers.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return numbers.map { lengths[row] * $0 / length }
        }
        return TestMatrix(rows, columns, scaled)
    }
}

/// A layer of HunyuanVideo's transformer under the names of several programs.
struct NamedLayer {
    /// The authors' name, ComfyUI's, and that of OneTrainer's newer files.
    let original, comfy, numbered: String
    let inputs: Int
    /// What diffusers calls it, or the layers that its rows are there.
    let parts: [(key: String, rows: Range<Int>)]

    init(_ original: String, comfy: String? = nil, numbered: String? = nil, _ inputs: Int, _ parts: (String, Int)...) {
        (self.original, self.comfy, self.numbered, self.inputs) =
            (original, comfy ?? original, numbered ?? original, inputs)
        var end = 0
        self.parts = parts.map { key, count in
            end += count
            return (key, end - count..<end)
        }
    }

    var outputs: Int { parts.last?.rows.upperBound ?? 0 }

    /// Every layer of the first blocks and around them, but the last one, whose halves change places.
    static let all: [NamedLayer] = {
        let time = "time_text_embed.", text = "context_embedder.", words = text + "time_text_embed."
        let refiner = "txt_in.individual_token_refiner.blocks.0.", refined = text + "token_refiner.refiner_blocks.0."
        let dual = "transformer_blocks.0.", single = "single_transformer_blocks.0."
        return [
            NamedLayer("img_in.proj", 16, ("x_embedder.proj", 32)),
            NamedLayer("time_in.mlp.0", comfy: "time_in.in_layer", 256, (time + "timestep_embedder.linear_1", 32)),
            NamedLayer("time_in.mlp.2", comfy: "time_in.out_layer", 32, (time + "timestep_embedder.linear_2", 32)),
            NamedLayer(
                "guidance_in.mlp.0", comfy: "guidance_in.in_layer", 256, (time + "guidance_embedder.linear_1", 32)),
            NamedLayer(
                "guidance_in.mlp.2", comfy: "guidance_in.out_layer", 32, (time + "guidance_embedder.linear_2", 32)),
            NamedLayer("vector_in.in_layer", 24, (time + "text_embedder.linear_1", 32)),
            NamedLayer("vector_in.out_layer", 32, (time + "text_embedder.linear_2", 32)),
            NamedLayer("txt_in.input_embedder", 32, (text + "proj_in", 32)),
            NamedLayer(
                "txt_in.t_embedder.mlp.0", comfy: "txt_in.t_embedder.in_layer",
                numbered: "txt_in.t_embedder.linear_1", 256, (words + "timestep_embedder.linear_1", 32)),
            NamedLayer(
                "txt_in.t_embedder.mlp.2", comfy: "txt_in.t_embedder.out_layer",
                numbered: "txt_in.t_embedder.linear_2", 32, (words + "timestep_embedder.linear_2", 32)),
            NamedLayer(
                "txt_in.c_embedder.linear_1", comfy: "txt_in.c_embedder.in_layer", 32,
                (words + "text_embedder.linear_1", 32)),
            NamedLayer(
                "txt_in.c_embedder.linear_2", comfy: "txt_in.c_embedder.out_layer", 32,
                (words + "text_embedder.linear_2", 32)),
            NamedLayer(
                refiner + "self_attn_qkv", comfy: refiner + "self_attn.qkv", 32, (refined + "attn.to_q", 32),
                (refined + "attn.to_k", 32), (refined + "attn.to_v", 32)),
            NamedLayer(
                refiner + "self_attn_proj", comfy: refiner + "self_attn.proj", 32, (refined + "attn.to_out.0", 32)),
            NamedLayer(
                refiner + "mlp.fc1", comfy: refiner + "mlp.0", numbered: refiner + "mlp.fc0", 32,
                (refined + "ff.net.0.proj", 128)),
            NamedLayer(refiner + "mlp.fc2", comfy: refiner + "mlp.2", 128, (refined + "ff.net.2", 32)),
            NamedLayer(refiner + "adaLN_modulation.1", 32, (refined + "norm_out.linear", 64)),
            NamedLayer(
                "double_blocks.0.img_mod.linear", comfy: "double_blocks.0.img_mod.lin", 32, (dual + "norm1.linear", 192)
            ),
            NamedLayer(
                "double_blocks.0.txt_mod.linear", comfy: "double_blocks.0.txt_mod.lin", 32,
                (dual + "norm1_context.linear", 192)),
            NamedLayer(
                "double_blocks.0.img_attn_qkv", comfy: "double_blocks.0.img_attn.qkv", 32, (dual + "attn.to_q", 32),
                (dual + "attn.to_k", 32), (dual + "attn.to_v", 32)),
            NamedLayer(
                "double_blocks.0.txt_attn_qkv", comfy: "double_blocks.0.txt_attn.qkv", 32,
                (dual + "attn.add_q_proj", 32),
                (dual + "attn.add_k_proj", 32), (dual + "attn.add_v_proj", 32)),
            NamedLayer(
                "double_blocks.0.img_attn_proj", comfy: "double_blocks.0.img_attn.proj", 32,
                (dual + "attn.to_out.0", 32)),
            NamedLayer(
                "double_blocks.0.txt_attn_proj", comfy: "double_blocks.0.txt_attn.proj", 32,
                (dual + "attn.to_add_out", 32)),
            NamedLayer(
                "double_blocks.0.img_mlp.fc1", comfy: "double_blocks.0.img_mlp.0",
                numbered: "double_blocks.0.img_mlp.fc0",
                32, (dual + "ff.net.0.proj", 128)),
            NamedLayer(
                "double_blocks.0.img_mlp.fc2", comfy: "double_blocks.0.img_mlp.2", 128, (dual + "ff.net.2", 32)),
            NamedLayer(
                "double_blocks.0.txt_mlp.fc1", comfy: "double_blocks.0.txt_mlp.0",
                numbered: "double_blocks.0.txt_mlp.fc0",
                32, (dual + "ff_context.net.0.proj", 128)),
            NamedLayer(
                "double_blocks.0.txt_mlp.fc2", comfy: "double_blocks.0.txt_mlp.2", 128, (dual + "ff_context.net.2", 32)),
            NamedLayer(
                "single_blocks.0.linear1", 32, (single + "attn.to_q", 32), (single + "attn.to_k", 32),
                (single + "attn.to_v", 32), (single + "proj_mlp", 128)),
            NamedLayer("single_blocks.0.linear2", 160, (single + "proj_out", 32)),
            NamedLayer(
                "single_blocks.0.modulation.linear", comfy: "single_blocks.0.modulation.lin", 32,
                (single + "norm.linear", 96)),
            NamedLayer("final_layer.linear", 32, ("proj_out", 16)),
        ]
    }()
}

@Suite("LoRA files of every common kind through the executable")
struct LoRATests {
    private let scratch: Scratch
    private let golden = Golden(name: "t2v-basic", family: "hunyuanvideo")

    init() throws { scratch = try Scratch() }

    // MARK: Runs

    private func run(_ options: [String], model: String? = nil) throws -> Outcome {
        try Executable.run(
            [
                "--prompt", "A cat walks.", "--size", "32x32", "--frames", "5", "--steps", "1", "-m",
                model ?? golden("model"), "--overwrite", "-o", scratch("clip.mp4"),
            ] + options)
    }

    /// The trace of a run that must succeed, under a name.
    private func trace(_ name: String, _ options: [String] = [], model: String? = nil) throws -> SafetensorsFile {
        let outcome = try run(options + ["-q", "--trace", scratch(name + ".trace")], model: model)
        try #require(outcome.code == 0, "\(name): \(outcome.errors)")
        return try SafetensorsFile(path: scratch(name + ".trace"))
    }

    /// Writes a LoRA file and gives its path.
    private func lora(
        _ name: String, _ tensors: [(String, HostTensor)], metadata: [String: String] = [:]
    ) throws -> String {
        let path = scratch(name + ".safetensors")
        try SafetensorsWriter.write(
            tensors.map { (name: $0.0, tensor: $0.1) }, metadata: metadata, to: path, overwrite: true)
        return path
    }

    /// A copy of the checkpoint with other weights in its transformer.
    private func merged(_ name: String, _ changes: [String: (TestMatrix) -> TestMatrix]) throws -> String {
        let folder = scratch(name)
        try golden.record.copy("model", to: folder)
        let path = folder + "/transformer/diffusion_pytorch_model.safetensors"
        let file = try SafetensorsFile(path: golden("model/transformer/diffusion_pytorch_model.safetensors"))
        #expect(changes.keys.allSatisfy { file.shape(of: $0) != nil }, "\(changes.keys)")
        let tensors = try file.keys.map { key -> (name: String, tensor: HostTensor) in
            let stored = try file.tensor(key)
            guard let change = changes[key] else { return (key, stored) }
            let values = stored.floats().map(Double.init)
            let matrix = TestMatrix(stored.shape[0], values.count / stored.shape[0], values)
            return (key, change(matrix).tensor(stored.shape))
        }
        try SafetensorsWriter.write(tensors, to: path, overwrite: true)
        return folder
    }

    /// Whether two traces agree as nearly as the case asks of a run and its record.
    private func agree(_ one: SafetensorsFile, _ other: SafetensorsFile) throws -> Bool {
        try golden.record.mismatches(
            of: { one.shape(of: $0) == nil ? nil : try one.tensor($0) }, with: other
        ).isEmpty
    }

    private func latents(_ trace: SafetensorsFile) throws -> [Float] { try trace.tensor("latents.final").floats() }

    private static func flat(_ name: String) -> String { String(name.map { $0 == "." ? "_" : $0 }) }

    // MARK: Names

    /// A file of low-rank updates under the names of a program.
    private func named(
        _ program: String, _ ends: (down: String, up: String), alpha: Bool = false, inParts: Bool = false,
        _ name: (NamedLayer, Int) -> String
    ) throws -> String {
        var tensors: [(String, HostTensor)] = []
        for (index, layer) in NamedLayer.all.enumerated() {
            let down = TestMatrix(2, layer.inputs, seed: index).tensor()
            let up = TestMatrix(layer.outputs, 2, seed: index + 50)
            let parts = inParts ? layer.parts.map(\.rows) : [0..<layer.outputs]
            for (place, rows) in parts.enumerated() {
                let layerName = name(layer, place)
                // The patch embedding's down matrix is a kernel.
                let kernel = layer.parts[0].key == "x_embedder.proj"
                tensors.append((layerName + ends.down, kernel ? down.reshaped([2, 4, 1, 2, 2]) : down))
                let part = up.rows(rows).tensor()
                tensors.append((layerName + ends.up, kernel ? part.reshaped([32, 2, 1, 1, 1]) : part))
                if alpha { tensors.append((layerName + ".alpha", HostTensor([2], []))) }
            }
        }
        return try lora(program, tensors)
    }

    @Test("the names of every program give the same clip, that of a checkpoint with merged weights")
    func names() throws {
        let kohya = (".lora_down.weight", ".lora_up.weight"), peft = (".lora_A.weight", ".lora_B.weight")
        let flat = LoRATests.flat
        let files = [
            try named("diffusers", peft, inParts: true) { "transformer." + $0.parts[$1].key },
            try named("onetrainer", kohya, alpha: true, inParts: true) {
                "lora_transformer_" + flat($0.parts[$1].key)
            },
            try named("simpletuner", kohya, inParts: true) { "lycoris_" + flat($0.parts[$1].key) },
            try named("musubi", kohya, alpha: true) { layer, _ in "lora_unet_" + flat(layer.original) },
            try named("authors", kohya) { layer, _ in "Hunyuan_video_I2V_lora_" + flat(layer.original) },
            try named("diffusion-pipe", peft) { layer, _ in "transformer." + layer.original },
            try named("comfyui", kohya) { layer, _ in "diffusion_model." + layer.comfy },
            try named("comfyui-flat", kohya) { layer, _ in "lora_unet_" + flat(layer.comfy) },
            try named("omi", kohya, alpha: true, inParts: true) { layer, place in
                "transformer." + layer.numbered + (layer.parts.count > 1 ? ".\(place)" : "")
            },
        ]
        var changes: [String: (TestMatrix) -> TestMatrix] = [:]
        for (index, layer) in NamedLayer.all.enumerated() {
            let change = TestMatrix(layer.outputs, 2, seed: index + 50).times(TestMatrix(2, layer.inputs, seed: index))
            for (key, rows) in layer.parts {
                changes[key + ".weight"] = { $0.each(change.rows(rows)) { $0 + 0.5 * $1 } }
            }
        }
        let expected = try trace("merged", model: merged("merged", changes))
        let first = try trace("diffusers", ["--lora", files[0] + ":0.5", "--strict-lora"])
        #expect(try agree(first, expected))
        #expect(try !agree(trace("plain"), expected))
        for file in files.dropFirst() {
            let found = try trace("other", ["--lora", file + ":0.5", "--strict-lora"])
            #expect(try latents(found) == latents(first), "\(file)")
        }
    }

    // MARK: Kinds

    @Test("differences of weights, kernels, norms and biases are those of a merged checkpoint")
    func differences() throws {
        let bias = TestMatrix(96, 1, seed: 1), norm = TestMatrix(16, 1, seed: 2), kernel = TestMatrix(32, 16, seed: 3)
        let (down, up) = (TestMatrix(4, 32, seed: 4), TestMatrix(96, 4, seed: 5))
        let (final, finalBias) = (TestMatrix(64, 32, seed: 6), TestMatrix(64, 1, seed: 7))
        let file = try lora(
            "differences",
            [
                ("diffusion_model.double_blocks.0.img_attn.qkv.lora_down.weight", down.tensor()),
                ("diffusion_model.double_blocks.0.img_attn.qkv.lora_up.weight", up.tensor()),
                ("diffusion_model.double_blocks.0.img_attn.qkv.diff_b", bias.tensor([96])),
                ("diffusion_model.double_blocks.0.img_attn.norm.query_norm.diff", norm.tensor([16])),
                ("diffusion_model.single_blocks.0.norm.key_norm.diff", norm.tensor([16])),
                ("diffusion_model.img_in.proj.diff", kernel.tensor([32, 4, 1, 2, 2])),
                ("diffusion_model.final_layer.adaLN_modulation.1.diff", final.tensor()),
                ("diffusion_model.final_layer.adaLN_modulation.1.diff_b", finalBias.tensor([64])),
            ])
        func add(_ change: TestMatrix) -> (TestMatrix) -> TestMatrix { { $0.each(change) { $0 + 0.8 * $1 } } }
        func swapped(_ x: TestMatrix) -> TestMatrix {
            TestMatrix(x.rows, x.columns, x.rows(32..<64).values + x.rows(0..<32).values)
        }
        var changes = [
            "transformer_blocks.0.attn.norm_q.weight": add(norm),
            "single_transformer_blocks.0.attn.norm_k.weight": add(norm), "x_embedder.proj.weight": add(kernel),
            "norm_out.linear.weight": add(swapped(final)), "norm_out.linear.bias": add(swapped(finalBias)),
        ]
        for (index, part) in ["to_q", "to_k", "to_v"].enumerated() {
            let rows = 32 * index..<32 * (index + 1)
            changes["transformer_blocks.0.attn.\(part).bias"] = add(bias.rows(rows))
            changes["transformer_blocks.0.attn.\(part).weight"] = add(up.times(down).rows(rows))
        }
        let expected = try trace("expected", model: merged("merged", changes))
        #expect(try agree(trace("found", ["--lora", file + ":0.8", "--strict-lora"]), expected))
        #expect(try !agree(trace("plain"), expected))
    }

    @Test("DoRA, LoHa and LoKr on whole and on fused layers are those of a merged checkpoint")
    func kinds() throws {
        let strength = 0.6
        let low = (down: TestMatrix(4, 32, seed: 1), up: TestMatrix(96, 4, seed: 2))
        let lengths = (0..<96).map { 0.5 + Double($0 % 7) / 8 }
        let hada = [
            TestMatrix(32, 2, seed: 3), TestMatrix(2, 32, seed: 4), TestMatrix(32, 2, seed: 5),
            TestMatrix(2, 32, seed: 6),
        ]
        // 224 rows in blocks of 56, so that the parts begin and end inside of blocks.
        let kron = [TestMatrix(4, 8, seed: 7), TestMatrix(56, 2, seed: 8), TestMatrix(2, 4, seed: 9)]
        let whole = [TestMatrix(4, 4, seed: 10), TestMatrix(48, 8, seed: 11)]
        let file = try lora(
            "kinds",
            [
                ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", low.down.tensor()),
                ("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", low.up.tensor()),
                ("lora_unet_double_blocks_0_img_attn_qkv.alpha", HostTensor([2], [])),
                ("lora_unet_double_blocks_0_img_attn_qkv.dora_scale", HostTensor(lengths.map { Float($0) }, [96, 1])),
                ("lora_unet_double_blocks_0_img_attn_proj.hada_w1_a", hada[0].tensor()),
                ("lora_unet_double_blocks_0_img_attn_proj.hada_w1_b", hada[1].tensor()),
                ("lora_unet_double_blocks_0_img_attn_proj.hada_w2_a", hada[2].tensor()),
                ("lora_unet_double_blocks_0_img_attn_proj.hada_w2_b", hada[3].tensor()),
                ("lora_unet_double_blocks_0_img_attn_proj.alpha", HostTensor([6], [])),
                ("lycoris_single_blocks_0_linear1.lokr_w1", kron[0].tensor()),
                ("lycoris_single_blocks_0_linear1.lokr_w2_a", kron[1].tensor()),
                ("lycoris_single_blocks_0_linear1.lokr_w2_b", kron[2].tensor()),
                ("lycoris_single_blocks_0_linear1.alpha", HostTensor([1], [])),
                ("lycoris_transformer_blocks_1_norm1_linear.lokr_w1", whole[0].tensor()),
                ("lycoris_transformer_blocks_1_norm1_linear.lokr_w2", whole[1].tensor()),
                // Two whole factors are not scaled.
                ("lycoris_transformer_blocks_1_norm1_linear.alpha", HostTensor([100], [])),
            ])
        let lowRank = low.up.times(low.down)
        let hadamard = hada[0].times(hada[1]).each(hada[2].times(hada[3]), *)
        let kronecker = kron[0].kronecker(kron[1].times(kron[2]))
        let wholes = whole[0].kronecker(whole[1])
        func add(_ change: TestMatrix, _ factor: Double) -> (TestMatrix) -> TestMatrix {
            { $0.each(change) { $0 + strength * factor * $1 } }
        }
        var changes: [String: (TestMatrix) -> TestMatrix] = [
            "transformer_blocks.0.attn.to_out.0.weight": add(hadamard, 3),
            "transformer_blocks.1.norm1.linear.weight": add(wholes, 1),
        ]
        for (index, part) in ["to_q", "to_k", "to_v"].enumerated() {
            let rows = 32 * index..<32 * (index + 1)
            changes["transformer_blocks.0.attn.\(part).weight"] = { weight in
                let sum = weight.each(lowRank.rows(rows)) { $0 + 0.5 * $1 }.atLengths(Array(lengths[rows]))
                return weight.each(sum) { $0 + strength * ($1 - $0) }
            }
            changes["single_transformer_blocks.0.attn.\(part).weight"] = add(kronecker.rows(rows), 0.5)
        }
        changes["single_transformer_blocks.0.proj_mlp.weight"] = add(kronecker.rows(96..<224), 0.5)
        let expected = try trace("expected", model: merged("merged", changes))
        let option = ["--lora", file + ":\(strength)", "--strict-lora"]
        #expect(try agree(trace("found", option), expected))
        #expect(try !agree(trace("plain"), expected))
        // In 8 bits it is the merged weights that are rounded.
        let rounded = try trace("rounded", option + ["--precision", "int8"])
        let model = scratch("merged")
        let close = try zip(latents(rounded), latents(trace("rounded2", ["--precision", "int8"], model: model)))
        #expect(close.allSatisfy { abs($0 - $1) < 0.02 })
    }

    @Test("lengths and biases as PEFT saves them, with its settings in the metadata")
    func peft() throws {
        let name = "transformer.transformer_blocks.0.attn.to_q"
        let (down, up) = (TestMatrix(4, 32, seed: 1), TestMatrix(32, 4, seed: 2))
        let (lengths, bias) = ((0..<32).map { 0.4 + Double($0 % 5) / 4 }, TestMatrix(32, 1, seed: 3))
        let settings =
            "{\"transformer.use_dora\": true, \"transformer.lora_alpha\": 8, \"transformer.r\": 4, "
            + "\"transformer.alpha_pattern\": {\"attn.to_q\": 2}, \"transformer.use_rslora\": true}"
        let file = try lora(
            "dora",
            [
                (name + ".lora_A.weight", down.tensor()), (name + ".lora_B.weight", up.tensor()),
                (name + ".lora_B.bias", bias.tensor([32])),
                (name + ".lora_magnitude_vector", HostTensor(lengths.map { Float($0) }, [32])),
            ], metadata: ["lora_adapter_metadata": settings])
        let expected = try trace(
            "expected",
            model: merged(
                "merged",
                [
                    "transformer_blocks.0.attn.to_q.weight": { weight in
                        weight.each(up.times(down)) { $0 + $1 }.atLengths(lengths)
                    },
                    "transformer_blocks.0.attn.to_q.bias": { $0.each(bias) { $0 + $1 } },
                ]))
        #expect(try agree(trace("found", ["--lora", file]), expected))
        #expect(try !agree(trace("plain"), expected))
    }

    // MARK: What does not fit

    private func lowRank(_ names: [String]) -> [(String, HostTensor)] {
        names.flatMap { name in
            [
                (name + ".lora_down.weight", TestMatrix(4, 32, seed: 1).tensor()),
                (name + ".lora_up.weight", TestMatrix(96, 4, seed: 2).tensor()),
            ]
        }
    }

    @Test("layers that the model lacks are left out with a warning, or refused where that is asked for")
    func lacking() throws {
        let good = "lora_unet_double_blocks_0_img_attn_qkv", deep = "lora_unet_double_blocks_7_img_attn_qkv"
        let both = try lora("both", lowRank([deep, good])), one = try lora("one", lowRank([good]))
        let found = try trace("found", ["--lora", both])
        #expect(try latents(found) == latents(trace("one", ["--lora", one])))
        let told = try run(["--lora", both])
        #expect(told.code == 0 && told.errors.contains("lacks 1 of 2 layers") && told.errors.contains(deep))
        let strict = try run(["--lora", both, "--strict-lora"])
        #expect(strict.code == 65 && strict.errors.contains(deep) && strict.errors.contains("--strict-lora"))
        let most = try run(["--lora", lora("most", lowRank([deep, deep + "x", good]))])
        #expect(most.code == 65 && most.errors.contains("of the file's 3 it has 1"))
        let none = try run(["--lora", lora("none", lowRank([deep, deep + "x"]))])
        #expect(none.code == 65 && none.errors.contains("belongs to another model"))
        #expect(!most.errors.contains("belongs to another model"))
    }

    @Test("kinds that are not applied, and files that are not there, are named")
    func refusals() throws {
        let other = try run(["--lora", lora("glora", [("lora_unet_x.a1.weight", HostTensor([1], [1, 1]))])])
        #expect(other.code == 65 && other.errors.contains("GLoRA"))
        let missing = try run(["--lora", scratch("nowhere.safetensors")])
        #expect(missing.code == 66 && missing.errors.contains("the file does not exist"), "\(missing.errors)")
    }

    // MARK: Plans and inspection

    @Test("a plan counts the file, and inspect says what it changes")
    func looks() throws {
        let name = "lora_unet_double_blocks_0_img_mlp_fc1"
        let file = try lora(
            "loha",
            ["hada_w1_a", "hada_w2_a"].map { (name + "." + $0, TestMatrix(128, 2, seed: 1).tensor()) }
                + ["hada_w1_b", "hada_w2_b"].map { (name + "." + $0, TestMatrix(2, 32, seed: 2).tensor()) }
                + lowRank(["lora_unet_double_blocks_0_img_attn_qkv"]))
        func plan(_ options: [String]) throws -> JSONObject {
            try JSONObject(parsing: Array(run(options + ["--dry-run"]).output.utf8), file: "plan")
        }
        #expect(try plan(["--lora", file]).int("weight_bytes") > plan([]).int("weight_bytes"))
        let inspected = try Executable.run(["inspect", file, "--json"])
        let facts = try JSONObject(parsing: Array(inspected.output.utf8), file: "inspection")
        #expect(try facts.string("kind") == "lora" && facts.object("layers").int("LoHa") == 1)
        #expect(try facts.object("layers").int("LoRA") == 1)
        #expect(try Executable.run(["inspect", file]).output.contains("LoHa: 1"))
    }
}
