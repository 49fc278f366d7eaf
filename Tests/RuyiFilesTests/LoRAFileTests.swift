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
                ("blocks.0.ff.net.2.weight", [4, 8]), ("patch.weight", [4, 3, 2, 2]), ("norm.weight", [4]),
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

    @Test("both styles of keys name a layer, with and without alpha, and 1x1 convolutions count as matrices")
    func reads() throws {
        let path = scratch.path + "/style.safetensors"
        try SafetensorsWriter.write(
            [
                (LoRAFileTests.down, LoRAFileTests.values([2, 4])), (LoRAFileTests.up, LoRAFileTests.values([6, 2])),
                ("lora_unet__blocks_0_ff_net_2.lora_down.weight", LoRAFileTests.values([2, 8, 1, 1])),
                ("lora_unet__blocks_0_ff_net_2.lora_up.weight", LoRAFileTests.values([4, 2, 1, 1])),
                ("lora_unet__blocks_0_ff_net_2.alpha", HostTensor([0.5], [])),
            ], to: path)
        let file = try LoRAFile(path: path)
        let updates = try file.updates(of: weights, strength: 3).sorted { $0.0 < $1.0 }
        #expect(updates.map(\.0) == ["blocks.0.attn1.to_q.weight", "blocks.0.ff.net.2.weight"])
        #expect(updates.map(\.1.factor) == [3, 0.75])
        #expect(updates.map(\.1.down.shape) == [[2, 4], [2, 8]])
        #expect(updates.map(\.1.up.shape) == [[6, 2], [4, 2]])
        #expect(file.warnings.isEmpty && file.byteCount == 4 * (8 + 12 + 16 + 8 + 1))
        let adapted = AdaptedWeights(weights, updates + updates)
        #expect(adapted.updates(of: "blocks.0.attn1.to_q.weight").count == 2)
        #expect(adapted.updates(of: "norm.weight").isEmpty && weights.updates(of: "norm.weight").isEmpty)
        #expect(adapted.keys == weights.keys && adapted.byteCount == weights.byteCount)
    }

    @Test("keys of diffusers and PEFT name a layer by its path, and the metadata's scale counts where a layer has none")
    func diffusers() throws {
        let path = scratch.path + "/style.safetensors"
        for prefix in ["transformer.", "diffusion_model.", "base_model.model.", ""] {
            let layer = prefix + "blocks.0.attn1.to_q"
            func updates(_ metadata: String?) throws -> [(String, LowRankUpdate)] {
                try SafetensorsWriter.write(
                    [
                        ("\(layer).lora_A.weight", LoRAFileTests.values([2, 4])),
                        ("\(layer).lora_B.weight", LoRAFileTests.values([6, 2])),
                        ("text_encoder.layers.0.lora_A.weight", LoRAFileTests.values([1, 1])),
                    ], metadata: metadata.map { ["lora_adapter_metadata": $0] } ?? [:], to: path, overwrite: true)
                let file = try LoRAFile(path: path)
                #expect(file.warnings.count == 1)
                return try file.updates(of: weights, strength: 1)
            }
            let plain = try updates(nil)
            #expect(plain.map(\.0) == ["blocks.0.attn1.to_q.weight"] && plain[0].1.factor == 1)
            #expect(try updates("{\"transformer.lora_alpha\": 8}")[0].1.factor == 4)
            #expect(try updates("{\"lora_alpha\": 8, \"use_rslora\": true}")[0].1.factor == Float(8 / 2.squareRoot()))
            expect(.badData, "an alpha for each layer") { try updates("{\"alpha_pattern\": {\"to_q\": 1}}") }
            expect(.badData, "DoRA") { try updates("{\"transformer.use_dora\": true}") }
            expect(.badData, "style.safetensors") { try updates("{") }
        }
    }

    @Test("a layer that is several in the checkpoint gives each of them its rows")
    func renamed() throws {
        let path = scratch.path + "/style.safetensors"
        let up = LoRAFileTests.values([12, 2])
        try SafetensorsWriter.write(
            [("lora_unet_qk.lora_down.weight", LoRAFileTests.values([2, 4])), ("lora_unet_qk.lora_up.weight", up)],
            to: path)
        let key = "blocks.0.attn1.to_q.weight"
        let parts = [LoRAPart(key: key, rows: [6..<12]), LoRAPart(key: key, rows: [3..<6, 0..<3])]
        let updates = try LoRAFile(path: path).updates(of: weights, strength: 1, renamed: ["qk": parts])
        #expect(updates.map(\.0) == [key, key])
        #expect(updates[0].1.up.floats() == up.sliced(0, 6..<12).floats())
        #expect(updates[1].1.up.floats() == up.sliced(0, 3..<6).floats() + up.sliced(0, 0..<3).floats())
    }

    @Test("layers of text encoders are left out with a warning")
    func textEncoders() throws {
        let path = try write([
            (LoRAFileTests.down, [2, 4]), (LoRAFileTests.up, [6, 2]), ("lora_te1_x.lora_up.weight", [2, 2]),
            ("lora_te1_x.lora_down.weight", [2, 2]),
        ])
        let file = try LoRAFile(path: path)
        #expect(file.warnings.count == 1 && file.warnings[0].contains("2 keys of text encoders"))
        #expect(try file.updates(of: weights, strength: 1).count == 1)
    }

    static let bad = [
        BadLoRA("another layout", [("blocks.0.attn1.to_q.lokr_w1", [2, 4])], "to_q.lokr_w1", "expected LAYER"),
        BadLoRA("one half", [("blocks.0.attn1.to_q.lora_A.weight", [2, 4])], "to_q.lora_B.weight", "missing"),
        BadLoRA("a part alone", [(".lora_A.weight", [2, 4])], ".lora_A.weight", "expected LAYER"),
        BadLoRA(
            "another model's dotted layer", [("transformer.mid.x.lora_A.weight", [1, 1])], "transformer.mid.x",
            "no such layer"),
        BadLoRA("a checkpoint", [("blocks.0.attn1.to_q.weight", [6, 4])], "blocks.0.attn1.to_q.weight"),
        BadLoRA("an unknown part", [(down, [2, 4]), (up, [6, 2]), ("lora_unet_x.dora_scale", [1])], "dora_scale"),
        BadLoRA("a key without a part", [("lora_unet_x", [1])], "lora_unet_x"),
        BadLoRA("only text encoders", [("lora_te_x.lora_up.weight", [1, 1])], "no LoRA of a transformer"),
        BadLoRA(
            "another model's layer", [("lora_unet_mid_x.lora_up.weight", [1, 1])], "lora_unet_mid_x", "no such layer"),
        BadLoRA("another prefix", [("lycoris_x.lora_up.weight", [1, 1])], "lycoris_x", "no such layer"),
        BadLoRA("a convolution", [("lora_unet_patch.lora_up.weight", [4, 2])], "lora_unet_patch", "patch.weight"),
        BadLoRA("a norm", [("lora_unet_norm.lora_up.weight", [4, 2])], "norm.weight"),
        BadLoRA("no down", [(up, [6, 2])], down, "missing"),
        BadLoRA("no up", [(down, [2, 4])], up, "missing"),
        BadLoRA("another width", [(down, [2, 5]), (up, [6, 2])], "[2, 5]", "[6, 4]"),
        BadLoRA("two ranks", [(down, [2, 4]), (up, [6, 3])], "[6, 3]", "[6, 4]"),
        BadLoRA("no rank", [(down, [0, 4]), (up, [6, 0])], "[0, 4]"),
        BadLoRA("a vector", [(down, [8]), (up, [6, 2])], down, "two axes"),
        BadLoRA("a wide convolution", [(down, [2, 4, 3, 3]), (up, [6, 2])], down, "[2, 4, 3, 3]"),
        BadLoRA(
            "two alphas", [(down, [2, 4]), (up, [6, 2]), ("lora_unet_blocks_0_attn1_to_q.alpha", [2])], "alpha"),
    ]

    @Test("a broken or foreign file is refused by its name and its key", arguments: bad)
    func refuses(_ bad: BadLoRA) throws {
        let path = try write(bad.shapes)
        let found = fault { try LoRAFile(path: path).updates(of: weights, strength: 1) }
        #expect(found?.kind == .badData && found?.place == path)
        for word in bad.words { #expect(found?.what.contains(word) == true, "\(String(describing: found))") }
    }

    @Test("integers, numbers that are none, and files that are none are refused")
    func values() throws {
        let path = scratch.path + "/style.safetensors"
        let up = (name: LoRAFileTests.up, tensor: LoRAFileTests.values([6, 2]))
        try SafetensorsWriter.write(
            [up, (name: LoRAFileTests.down, tensor: HostTensor(integers: [1, 2, 3, 4, 5, 6, 7, 8], [2, 4]))], to: path)
        expect(.badData, "lora_down.weight", "i64") { try LoRAFile(path: path).updates(of: weights, strength: 1) }
        let alpha = HostTensor([.nan], [1])
        try SafetensorsWriter.write(
            [
                up, (name: LoRAFileTests.down, tensor: LoRAFileTests.values([2, 4])),
                (name: "lora_unet_blocks_0_attn1_to_q.alpha", tensor: alpha),
            ], to: path, overwrite: true)
        expect(.badData, "alpha") { try LoRAFile(path: path).updates(of: weights, strength: 1) }
        expect(.badData, "text.safetensors") { try LoRAFile(path: try scratch.write("text.safetensors", "no LoRA")) }
        expect(.cannotOpen, "nowhere") { try LoRAFile(path: scratch.path + "/nowhere.safetensors") }
        expect(.cannotOpen, "a folder") { try LoRAFile(path: scratch.path) }
    }
}
