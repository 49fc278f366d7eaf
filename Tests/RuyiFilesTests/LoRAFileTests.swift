import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

/// A LoRA file that must be refused, and the words that the message must hold.
struct BadLoRA: Sendable, CustomTestStringConvertible {
    let name: String
    let shapes: [(key: String, shape: [Int])]
    let words: [String]

    init(_ name: String, _ shapes: [(String, [Int])], _ words: String...) {
        self.name = name
        self.shapes = shapes.map { (key: $0.0, shape: $0.1) }
        self.words = words
    }

    var testDescription: String { name }
}

@Suite("LoRA files")
struct LoRAFileTests {
    private let scratch: Scratch
    private let weights: any WeightFile

    init() throws {
        scratch = try Scratch()
        weights = MemoryWeights(
            [
                ("blocks.0.attn1.to_q.weight", [6, 4]), ("blocks.0.attn1.to_q.bias", [6]),
                ("blocks.0.ff.net.2.weight", [4, 8]), ("blocks.0.ff.net.2.bias", [4]), ("patch.weight", [4, 3, 2, 2]),
                ("norm.weight", [4]),
            ].map { (key: $0.0, tensor: LoRAFileTests.values($0.1)) }, path: "model")
    }

    private static func values(_ shape: [Int]) -> HostTensor {
        HostTensor((0..<shape.reduce(1, *)).map { Float($0 % 7) - 3 }, shape)
    }

    private func write(_ shapes: [(key: String, shape: [Int])]) throws -> String {
        let path = scratch.path + "/style.safetensors"
        let tensors = shapes.map { (name: $0.key, tensor: LoRAFileTests.values($0.shape)) }
        try SafetensorsWriter.write(tensors, to: path, overwrite: true)
        return path
    }

    private static let down = "lora_unet_blocks_0_attn1_to_q.lora_down.weight"
    private static let up = "lora_unet_blocks_0_attn1_to_q.lora_up.weight"

    /// The changes of a file of these tensors to the weights.
    private func changes(
        _ tensors: [(String, HostTensor)], metadata: String? = nil, strength: Double = 1, isStrict: Bool = false
    ) throws -> (changes: WeightChanges, warnings: [String]) {
        let path = scratch.path + "/style.safetensors"
        try SafetensorsWriter.write(
            tensors.map { (name: $0.0, tensor: $0.1) },
            metadata: metadata.map { ["lora_adapter_metadata": $0] } ?? [:], to: path, overwrite: true)
        let file = try LoRAFile(path: path)
        let found = try file.changes(of: weights, strength: strength, isStrict: isStrict)
        return (found.changes, file.warnings + found.warnings)
    }

    private static let key = "blocks.0.attn1.to_q.weight"

    @Test("with and without alpha, and kernels flatten to the inputs")
    func reads() throws {
        let (changes, warnings) = try changes(
            [
                (LoRAFileTests.down, LoRAFileTests.values([2, 4])), (LoRAFileTests.up, LoRAFileTests.values([6, 2])),
                ("lora_unet__blocks_0_ff_net_2.lora_down.weight", LoRAFileTests.values([2, 8, 1, 1])),
                ("lora_unet__blocks_0_ff_net_2.lora_up.weight", LoRAFileTests.values([4, 2, 1, 1])),
                ("lora_unet__blocks_0_ff_net_2.alpha", HostTensor([0.5], [])),
                ("lora_unet_patch.lora_down.weight", LoRAFileTests.values([2, 3, 2, 2])),
                ("lora_unet_patch.lora_up.weight", LoRAFileTests.values([4, 2, 1, 1])),
            ], strength: 3)
        let updates = changes.matrices
        #expect(updates.map(\.key) == [LoRAFileTests.key, "blocks.0.ff.net.2.weight", "patch.weight"])
        #expect(updates.map(\.update.factor) == [3, 0.75, 3])
        #expect(updates.map(\.update.factors) == [[[6, 2], [2, 4]], [[4, 2], [2, 8]], [[4, 2], [2, 12]]])
        #expect(warnings.isEmpty && changes.vectors.isEmpty)
        var twice = changes
        twice += changes
        let adapted = AdaptedWeights(weights, twice)
        #expect(adapted.updates(of: LoRAFileTests.key).count == 2)
        #expect(adapted.updates(of: "norm.weight").isEmpty && weights.updates(of: "norm.weight").isEmpty)
        #expect(adapted.keys == weights.keys && adapted.byteCount == weights.byteCount)
    }

    @Test("every program's prefix and endings name a layer")
    func spellings() throws {
        let prefixes = [
            "lora_unet_", "lora_unet__", "lora_transformer_", "lycoris_", "transformer.", "diffusion_model.",
            "model.diffusion_model.", "base_model.model.", "base_model.model.transformer.", "",
            "Hunyuan_video_I2V_lora_",
        ]
        let endings = [
            (".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight"),
            (".lora_A.default.weight", ".lora_B.default.weight"), (".lora_A", ".lora_B"),
            (".lora.down.weight", ".lora.up.weight"), ("_lora.down.weight", "_lora.up.weight"),
            (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
        ]
        for prefix in prefixes {
            for (down, up) in endings {
                for path in ["blocks.0.attn1.to_q", "blocks_0_attn1_to_q"] {
                    let (changes, warnings) = try changes([
                        (prefix + path + down, LoRAFileTests.values([2, 4])),
                        (prefix + path + up, LoRAFileTests.values([6, 2])),
                        (prefix + path + ".alpha", HostTensor([4], [])),
                    ])
                    #expect(changes.matrices.map(\.key) == [LoRAFileTests.key] && warnings.isEmpty)
                    // The authors' own program does not look at alpha.
                    #expect(changes.matrices[0].update.factor == (prefix.hasPrefix("Hunyuan") ? 1 : 2))
                }
            }
        }
    }

    @Test("PEFT's settings give the scale of layers that have none, for each layer by the names of its pattern")
    func settings() throws {
        let layer = "transformer.blocks.0.attn1.to_q"
        func factor(_ metadata: String?, alpha: Float? = nil) throws -> Float {
            let own = alpha.map { [("\(layer).alpha", HostTensor([$0], [1]))] } ?? []
            return try changes(
                [
                    ("\(layer).lora_A.weight", LoRAFileTests.values([2, 4])),
                    ("\(layer).lora_B.weight", LoRAFileTests.values([6, 2])),
                ] + own, metadata: metadata
            ).changes.matrices[0].update.factor
        }
        #expect(try factor(nil) == 1)
        #expect(try factor("{\"transformer.lora_alpha\": 8, \"transformer.r\": 2}") == 4)
        #expect(try factor("{\"lora_alpha\": 8}", alpha: 6) == 3)
        #expect(try factor("{\"lora_alpha\": 8, \"use_rslora\": true}") == Float(8 / 2.squareRoot()))
        func patterned(_ pattern: String) throws -> Float {
            try factor("{\"lora_alpha\": 8, \"alpha_pattern\": {\"other\": 2, \"\(pattern)\": 1}}")
        }
        for pattern in ["to_q", "attn1.to_q", "blocks.0.attn1.to_q", "^blocks.0.attn1.to_q", "attn1\\\\.to_q$"] {
            #expect(try patterned(pattern) == 0.5, "\(pattern)")
        }
        for pattern in ["o_q", "^to_q", "attn1", "1.to_q"] { #expect(try patterned(pattern) == 4, "\(pattern)") }
        expect(.badData, "to_.", "expression") { try patterned("to_.*") }
        expect(.badData, "alpha of the settings") { try factor("{\"lora_alpha\": \"8\"}") }
        expect(.badData, "to_q", "finite") { try factor("{\"alpha_pattern\": {\"to_q\": [1]}}") }
        expect(.badData, "lora_magnitude_vector", "missing") { try factor("{\"transformer.use_dora\": true}") }
        expect(.badData, "style.safetensors") { try factor("{") }
    }

    @Test("the settings that PEFT writes beside its file count as those in the file")
    func besideTheFile() throws {
        let path = scratch.path + "/adapter_model.safetensors"
        let layer = "base_model.model.blocks.0.attn1.to_q"
        try SafetensorsWriter.write(
            [
                ("\(layer).lora_A.weight", LoRAFileTests.values([2, 4])),
                ("\(layer).lora_B.weight", LoRAFileTests.values([6, 2])),
            ], to: path)
        func factor() throws -> Float {
            try LoRAFile(path: path).changes(of: weights, strength: 1).changes.matrices[0].update.factor
        }
        #expect(try factor() == 1)
        try scratch.write("adapter_config.json", "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 3}")
        #expect(try factor() == 1.5)
        try scratch.write("adapter_config.json", "{\"lora_alpha\"")
        expect(.badData, "adapter_config.json") { try factor() }
    }

    @Test("differences of weights, of norms and of biases are added, biases of a low rank with its scale")
    func vectors() throws {
        let name = "diffusion_model.blocks.0.attn1.to_q"
        let (changes, _) = try changes(
            [
                ("\(name).diff", LoRAFileTests.values([6, 4])),
                ("\(name).diff_b", HostTensor([1, 2, 3, 4, 5, 6], [6])),
                ("norm.w_norm", HostTensor([1, 0, 0, 1], [4])),
                ("transformer.blocks.0.ff.net.2.lora_A.weight", LoRAFileTests.values([2, 8])),
                ("transformer.blocks.0.ff.net.2.lora_B.weight", LoRAFileTests.values([4, 2])),
                ("transformer.blocks.0.ff.net.2.lora_B.bias", HostTensor([1, 1, 1, 2], [4])),
                ("transformer.blocks.0.ff.net.2.alpha", HostTensor([6], [])),
            ], strength: 0.5)
        #expect(changes.matrices.map(\.key) == [LoRAFileTests.key, "blocks.0.ff.net.2.weight"])
        #expect(changes.matrices.map(\.update.factor) == [0.5, 1.5])
        let adapted = AdaptedWeights(weights, changes)
        #expect(try adapted.tensor("blocks.0.attn1.to_q.bias").floats() == [-2.5, -1, 0.5, 2, 3.5, 5])
        #expect(try adapted.tensor("norm.weight").floats() == [-2.5, -2, -1, 0.5])
        #expect(try adapted.tensor("blocks.0.ff.net.2.bias").floats() == [-1.5, -0.5, 0.5, 3])
        #expect(adapted.dtype(of: "norm.weight") == .f32 && adapted.scale(of: "norm.weight") == 1)
    }

    @Test("layers that the model lacks are named in a warning while half of them fit, and refused when it is strict")
    func lackingLayers() throws {
        func layers(_ names: [String]) -> [(String, HostTensor)] {
            names.flatMap { name in
                [
                    (name + ".lora_down.weight", LoRAFileTests.values([2, 4])),
                    (name + ".lora_up.weight", LoRAFileTests.values([6, 2])),
                ]
            }
        }
        let (good, other) = ("lora_unet_blocks_0_attn1_to_q", "lora_unet_blocks_7_attn1_to_q")
        let (changes, warnings) = try changes(layers([other, good]))
        #expect(changes.matrices.map(\.key) == [LoRAFileTests.key])
        #expect(warnings.count == 1 && warnings[0].contains("lacks 1 of 2 layers") && warnings[0].contains(other))
        expect(.badData, other, "no such layer; of the file's 2 it has 1") {
            try self.changes(layers([other, good]), isStrict: true)
        }
        expect(.badData, "of the file's 3 it has 1") { try self.changes(layers([other, good, "lora_unet_mid"])) }
        expect(.badData, "no such layer, nor any of the file's 1 others") {
            try self.changes(layers([other, "lora_unet_mid"]))
        }
        // So are keys of no known meaning.
        let stray = [("lora_unet_blocks_0_attn1_to_q.something", HostTensor([1], [1]))]
        #expect(try self.changes(layers([good]) + stray).warnings.first?.contains("to_q.something") == true)
        expect(.badData, "to_q.something") { try self.changes(layers([good]) + stray, isStrict: true) }
    }

    @Test("a layer that is several in the checkpoint gives each of them its rows")
    func renamed() throws {
        let path = scratch.path + "/style.safetensors"
        let (up, lengths) = (LoRAFileTests.values([12, 2]), LoRAFileTests.values([12]))
        try SafetensorsWriter.write(
            [
                ("lora_unet_qk.lora_down.weight", LoRAFileTests.values([2, 4])), ("lora_unet_qk.lora_up.weight", up),
                ("lora_unet_qk.diff_b", lengths), ("lora_unet_qk.dora_scale", lengths.reshaped([12, 1])),
            ], to: path)
        let key = LoRAFileTests.key
        let parts = [LoRAPart(key: key, rows: [6..<12]), LoRAPart(key: key, rows: [3..<6, 0..<3])]
        let (changes, _) = try LoRAFile(path: path).changes(of: weights, strength: 1, renamed: ["qk": parts])
        let swapped = up.sliced(0, 3..<6).floats() + up.sliced(0, 0..<3).floats()
        #expect(changes.matrices.map(\.key) == [key, key])
        #expect(changes.matrices.map(\.update.up) == [up.sliced(0, 6..<12).floats(), swapped])
        #expect(changes.matrices[0].update.lengths?.values.floats() == Array(lengths.floats()[6..<12]))
        #expect(changes.vectors.map(\.key) == ["blocks.0.attn1.to_q.bias", "blocks.0.attn1.to_q.bias"])
        #expect(changes.vectors[1].term.values == [0, 1, 2, -3, -2, -1])
        // Lengths of columns reach over all parts.
        try SafetensorsWriter.write(
            [
                ("lora_unet_qk.lora_down.weight", LoRAFileTests.values([2, 4])), ("lora_unet_qk.lora_up.weight", up),
                ("lora_unet_qk.dora_scale", LoRAFileTests.values([1, 4])),
            ], to: path, overwrite: true)
        expect(.badData, "lora_unet_qk", "columns") {
            try LoRAFile(path: path).changes(of: weights, strength: 1, renamed: ["qk": parts])
        }
    }

    @Test("layers of text encoders are left out with a warning")
    func textEncoders() throws {
        let path = try write([
            (LoRAFileTests.down, [2, 4]), (LoRAFileTests.up, [6, 2]), ("lora_te1_x.lora_up.weight", [2, 2]),
            ("lora_te1_x.lora_down.weight", [2, 2]),
        ])
        let file = try LoRAFile(path: path)
        #expect(file.warnings.count == 1 && file.warnings[0].contains("2 keys of text encoders"))
        #expect(try file.changes(of: weights, strength: 1).changes.matrices.count == 1)
    }

    private static let layer = "lora_unet_blocks_0_attn1_to_q"

    static let bad = [
        BadLoRA("another layout", [("blocks.0.attn1.to_q.other_w1", [2, 4])], "to_q.other_w1", "expected LAYER"),
        BadLoRA("one half", [("blocks.0.attn1.to_q.lora_A.weight", [2, 4])], "to_q.lora_B.weight", "missing"),
        BadLoRA("one bare half", [("blocks.0.attn1.to_q.lora_B", [6, 2])], "to_q.lora_A\"", "missing"),
        BadLoRA("a part alone", [(".lora_A.weight", [2, 4])], ".lora_A.weight", "expected LAYER"),
        BadLoRA(
            "another model's dotted layer", [("transformer.mid.x.lora_A.weight", [1, 1])], "transformer.mid.x",
            "no such layer"),
        BadLoRA("a checkpoint", [("blocks.0.attn1.to_q.weight", [6, 4])], "blocks.0.attn1.to_q.weight"),
        BadLoRA("a key without a part", [("lora_unet_x", [1])], "lora_unet_x"),
        BadLoRA("alpha alone", [("lora_unet_x.alpha", [1])], "lora_unet_x", "no key of a LoRA"),
        BadLoRA("only text encoders", [("lora_te_x.lora_up.weight", [1, 1])], "no LoRA of a transformer"),
        BadLoRA(
            "another model's layer", [("lora_unet_mid_x.lora_up.weight", [1, 1])], "lora_unet_mid_x", "no such layer"),
        BadLoRA("a norm", [("lora_unet_norm.lora_up.weight", [4, 2])], "lora_unet_norm", "linear layer", "[4]"),
        BadLoRA("no down", [(up, [6, 2])], down, "missing"),
        BadLoRA("no up", [(down, [2, 4])], up, "missing"),
        BadLoRA("another width", [(down, [2, 5]), (up, [6, 2])], "[2, 5]", "[6, 4]"),
        BadLoRA("two ranks", [(down, [2, 4]), (up, [6, 3])], "[6, 3]", "[6, 4]"),
        BadLoRA("no rank", [(down, [0, 4]), (up, [6, 0])], "[6, 0]", "floating-point"),
        BadLoRA("a vector", [(down, [8]), (up, [6, 2])], down, "two axes"),
        BadLoRA("a kernel for a matrix", [(down, [2, 4, 3, 3]), (up, [6, 2])], layer, "[2, 36]"),
        BadLoRA("two alphas", [(down, [2, 4]), (up, [6, 2]), (layer + ".alpha", [2])], "alpha"),
        BadLoRA("a short bias", [(layer + ".diff_b", [5])], layer + ".diff_b", "expected [6]"),
        BadLoRA("a bias of none", [("lora_unet_patch.diff_b", [4])], "lora_unet_patch", "bias"),
        BadLoRA("a foreign difference", [(layer + ".diff", [4, 6])], layer, "[4, 6]", "[6, 4]"),
        BadLoRA("short lengths", [(down, [2, 4]), (up, [6, 2]), (layer + ".dora_scale", [5, 1])], layer, "[5, 1]"),
        BadLoRA("a part of LoHa", [(layer + ".hada_w1_a", [6, 2])], layer + ".hada_w1_b", "missing"),
        BadLoRA(
            "LoHa of two shapes",
            [
                (layer + ".hada_w1_a", [6, 2]), (layer + ".hada_w1_b", [2, 4]), (layer + ".hada_w2_a", [4, 2]),
                (layer + ".hada_w2_b", [2, 4]),
            ], layer, "[4, 2]"),
        BadLoRA("a part of LoKr", [(layer + ".lokr_w1", [2, 2])], layer + ".lokr_w2", "missing"),
        BadLoRA("LoKr of another shape", [(layer + ".lokr_w1", [2, 2]), (layer + ".lokr_w2", [2, 2])], "[6, 4]"),
        BadLoRA(
            "a core of another rank",
            [
                (layer + ".lokr_w1", [2, 2]), (layer + ".lokr_w2_a", [2, 3]), (layer + ".lokr_w2_b", [2, 2]),
                (layer + ".lokr_t2", [2, 3, 1, 1]),
            ], "core [2, 3, 1, 1]"),
        BadLoRA(
            "a core of many ranks",
            [
                (layer + ".lokr_w1", [2, 2]), (layer + ".lokr_w2_a", [9, 3]), (layer + ".lokr_w2_b", [2, 2]),
                (layer + ".lokr_t2", [9, 2, 1, 1]),
            ], "core [9, 2, 1, 1]"),
        BadLoRA("GLoRA", [(layer + ".a1.weight", [2, 4])], "GLoRA", "not applied"),
        BadLoRA("OFT", [(down, [2, 4]), (up, [6, 2]), ("x.oft_blocks", [1, 2, 2])], "x.oft_blocks", "OFT"),
        BadLoRA("IA3", [("x.on_input", [1])], "IA3"),
    ]

    @Test("a broken or foreign file is refused by its name and its key", arguments: bad)
    func refuses(_ bad: BadLoRA) throws {
        let path = try write(bad.shapes)
        let found = fault { try LoRAFile(path: path).changes(of: weights, strength: 1) }
        #expect(found?.kind == .badData && found?.place == path)
        for word in bad.words { #expect(found?.what.contains(word) == true, "\(String(describing: found))") }
    }

    @Test("integers, numbers that are none, and files that are none are refused")
    func values() throws {
        let path = scratch.path + "/style.safetensors"
        let up = (name: LoRAFileTests.up, tensor: LoRAFileTests.values([6, 2]))
        try SafetensorsWriter.write(
            [up, (name: LoRAFileTests.down, tensor: HostTensor(integers: [1, 2, 3, 4, 5, 6, 7, 8], [2, 4]))], to: path)
        expect(.badData, "lora_down.weight", "i64") { try LoRAFile(path: path).changes(of: weights, strength: 1) }
        let alpha = HostTensor([.nan], [1])
        try SafetensorsWriter.write(
            [
                up, (name: LoRAFileTests.down, tensor: LoRAFileTests.values([2, 4])),
                (name: "lora_unet_blocks_0_attn1_to_q.alpha", tensor: alpha),
            ], to: path, overwrite: true)
        expect(.badData, "alpha") { try LoRAFile(path: path).changes(of: weights, strength: 1) }
        expect(.badData, "text.safetensors") { try LoRAFile(path: try scratch.write("text.safetensors", "no LoRA")) }
        expect(.cannotOpen, "nowhere") { try LoRAFile(path: scratch.path + "/nowhere.safetensors") }
        expect(.cannotOpen, "a folder") { try LoRAFile(path: scratch.path) }
    }
}

extension WeightUpdate<HostTensor> {
    /// The shapes of the matrices of a low rank.
    fileprivate var factors: [[Int]] {
        if case .product(let up, let down) = change { [up.shape, down.shape] } else { [] }
    }

    /// The numbers of the left one.
    fileprivate var up: [Float] { if case .product(let up, _) = change { up.floats() } else { [] } }
}
