import Foundation
import RuyiFiles
import RuyiTensor
import Testing
import TorchFixtures

@Suite("GGUF files as parts of a model")
struct GGUFTests {
    let scratch: Scratch
    private let golden = Golden(name: "t2v-basic", family: "hunyuanvideo")

    init() throws { scratch = try Scratch() }

    /// Renders the case with a model; gives the trace.
    @discardableResult
    private func render(_ model: String, _ name: String, _ options: String...) throws -> SafetensorsFile {
        let outcome = try Executable.run(
            [
                "--request", golden("request.json"), "-m", model, "--noise", golden("expected.safetensors"), "-q",
                "--no-metadata", "--trace", name + ".safetensors", "-o", name + ".mp4",
            ] + options, in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        return try SafetensorsFile(path: scratch(name + ".safetensors"))
    }

    private func frames(_ name: String) -> Data? { FileManager.default.contents(atPath: scratch(name + ".mp4")) }

    /// ‖a − b‖ / ‖b‖ of a recorded tensor.
    private func distance(_ key: String, _ a: SafetensorsFile, _ b: SafetensorsFile) throws -> Double {
        let (left, right) = (try a.tensor(key).floats(), try b.tensor(key).floats())
        try #require(left.count == right.count && !left.isEmpty)
        let change = zip(left, right).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        return (change / right.reduce(0) { $0 + Double($1) * Double($1) }).squareRoot()
    }

    private func differences(_ a: SafetensorsFile, _ b: SafetensorsFile) throws -> [String] {
        try b.keys.filter { b.dtype(of: $0) == .f32 }.filter { key in
            try a.shape(of: key) == nil || a.tensor(key).floats() != b.tensor(key).floats()
        }
    }

    /// A copy of the case's model.
    private func model(_ name: String) throws {
        try FileManager.default.copyItem(atPath: golden("model"), toPath: scratch(name))
    }

    private func write(_ file: GGUFBytes, _ path: String) throws {
        try Data(file.bytes).write(to: URL(fileURLWithPath: scratch(path)))
    }

    /// Writes the transformer of two copies: in blocks or another type, and as safetensors with what these mean.
    ///
    /// Matrices whose rows are whole blocks are of the type, everything else stays as it is.
    private func transformer(_ type: Stored, _ name: String) throws {
        let path = "/transformer/diffusion_pytorch_model.safetensors"
        let file = try SafetensorsFile(path: golden("model" + path))
        var written = GGUFBytes()
        written.set("general.architecture", .string("hyvid"))
        var meant: [(name: String, tensor: HostTensor)] = []
        for key in file.keys {
            let tensor = try file.tensor(key)
            if tensor.rank == 2, tensor.shape[1].isMultiple(of: type.dtype.blockLength) {
                let stored = type.bytes(tensor)
                written.add(key, type: type.number, tensor.shape, stored)
                meant.append((key, HostTensor(HostTensor(stored, tensor.shape, as: type.dtype).floats(), tensor.shape)))
                continue
            }
            meant.append((key, tensor))
            var shape = tensor.shape
            if shape.count > 4 {
                written.set("comfy.gguf.orig_shape." + key, .ints(shape.map(Int32.init)))
                shape = [shape[0], shape.dropFirst().reduce(1, *)]
            }
            written.add(key, type: 0, shape, tensor.bytes(0..<tensor.count, as: .f32))
        }
        try model(name)
        try FileManager.default.removeItem(atPath: scratch(name + path))
        try write(written, name + "/transformer/\(type.dtype.rawValue).gguf")
        try model(name + "-meant")
        try SafetensorsWriter.write(meant, to: scratch(name + "-meant" + path), overwrite: true)
    }

    @Test("every type renders bit for bit what its numbers do", arguments: [Stored.f32, .f16, .bf16, .q80, .q40])
    func types(_ type: Stored) throws {
        try transformer(type, "blocks")
        let (found, expected) = (try render("blocks", "a"), try render("blocks-meant", "b"))
        #expect(try differences(found, expected) == [])
        #expect(frames("a") != nil && frames("a") == frames("b"))
        let exact = try render(golden("model"), "c")
        let error = try distance("latents.final", found, exact)
        // The codes are at most half a step from a weight, which is 1/2 of 1/127 of the largest of a block for Q8_0, and
        // 1/2 of 1/8 for Q4_0; measured after four steps: 0.0004, 0.003, 0.014 and 0.13.
        let bounds: [DType: ClosedRange<Double>] = [
            .f32: 0...0, .f16: 1e-5...1e-3, .bf16: 1e-4...1e-2, .q80: 1e-3...0.04, .q40: 0.02...0.4,
        ]
        #expect(bounds[type.dtype]?.contains(error) == true, "\(error)")
    }

    @Test("a LoRA changes blocks as the numbers that they mean")
    func lora() throws {
        try transformer(.q80, "blocks")
        let layer = "transformer.single_transformer_blocks.0.attn.to_q.lora_"
        let shape = try #require(
            SafetensorsFile(path: golden("model/transformer/diffusion_pytorch_model.safetensors")).shape(
                of: "single_transformer_blocks.0.attn.to_q.weight"))
        func matrix(_ rows: Int, _ columns: Int) -> HostTensor {
            HostTensor((0..<rows * columns).map { Float($0 % 7) / 10 - 0.3 }, [rows, columns])
        }
        try SafetensorsWriter.write(
            [(layer + "A.weight", matrix(2, shape[1])), (layer + "B.weight", matrix(shape[0], 2))],
            to: scratch("style.safetensors"))
        let option = ["--lora", scratch("style.safetensors")]
        let found = try render("blocks", "a", option[0], option[1])
        #expect(try differences(found, render("blocks-meant", "b", option[0], option[1])) == [])
        #expect(try distance("latents.final", found, render("blocks", "c")) > 1e-4)
    }

    @Test("eight-bit integers are made of blocks as of the numbers that they mean")
    func integers() throws {
        try transformer(.q80, "blocks")
        let found = try render("blocks", "a", "--precision", "int8")
        #expect(try differences(found, render("blocks-meant", "b", "--precision", "int8")) == [])
        let error = try distance("latents.final", found, render("blocks", "c"))
        #expect(error > 1e-5 && error < 0.1, "\(error)")
    }

    @Test("a file is inspected, planned and converted with what it holds")
    func tools() throws {
        try transformer(.q80, "blocks")
        let path = "blocks/transformer/q8_0.gguf"
        let seen = try Executable.run(["inspect", path], in: scratch.path)
        for line in ["kind: weights", "format: GGUF 3", "architecture: hyvid", "tensors: 156", "q8_0: 167424"] {
            #expect(seen.output.contains(line), "\(seen.output)")
        }
        func weights(_ model: String) throws -> Int {
            let outcome = try Executable.run(
                ["--request", golden("request.json"), "-m", model, "--dry-run"], in: scratch.path)
            let plan = try JSON.parse(Array(outcome.output.utf8), file: "plan")
            return try #require(plan["weight_bytes"]?.int)
        }
        // 34 bytes for 32 numbers in place of 128.
        #expect(try weights("blocks-meant") - weights("blocks") == 167_424 / 32 * (128 - 34))
        let verified = try Executable.run(["models", "verify", "blocks"], in: scratch.path)
        #expect(verified.code == 0, "\(verified.errors)")
        for (options, dtype) in [([], DType.bf16), (["--type", "fp32"], .f32), (["--type", "fp16"], .f16)] {
            let outcome = try Executable.run(
                ["convert", path, "-o", "x.safetensors", "-q", "--overwrite"] + options, in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            let (file, blocks) = (
                try SafetensorsFile(path: scratch("x.safetensors")), try GGUFFile(path: scratch(path))
            )
            #expect(file.keys.count == 156 && file.shape(of: "x_embedder.proj.weight") == [32, 4, 1, 2, 2])
            let key = "single_transformer_blocks.1.proj_out.weight"
            let (found, stored) = (try file.tensor(key), try blocks.tensor(key))
            #expect(found.dtype == dtype && stored.dtype == .q80)
            #expect(found.bytes(0..<found.count, as: dtype) == stored.bytes(0..<stored.count, as: dtype))
        }
    }

    @Test("the language model is read as llama.cpp writes it, with its own settings", arguments: [Stored.f32, .q80])
    func language(_ type: Stored) throws {
        let file = try SafetensorsFile(path: golden("model/text_encoder/model.safetensors"))
        try model("language")
        try FileManager.default.removeItem(atPath: scratch("language/text_encoder/model.safetensors"))
        // What stands beside the file is not asked.
        try Data("{}".utf8).write(to: URL(fileURLWithPath: scratch("language/text_encoder/config.json")))
        try write(LanguageFile.bytes(file, type), "language/text_encoder/Meta-Llama-3.gguf")
        let (found, expected) = (try render("language", "a"), try render(golden("model"), "b"))
        // The rows of queries and keys are added up in another order.
        let bound = type.dtype == .f32 ? 2e-6 : 0.04
        #expect(try distance("text.embeds", found, expected) < bound)
        #expect(try distance("latents.final", found, expected) < bound)
        // Heads whose rows are left in transformers' order are something else.
        try write(LanguageFile.bytes(file, type, permutes: false), "language/text_encoder/Meta-Llama-3.gguf")
        #expect(try distance("text.embeds", render("language", "c"), expected) > 0.05)
    }

    @Test(
        "a transformer with the authors' or ComfyUI's names is named apart, or lies in ComfyUI's folders",
        arguments: PartLayout.Names.allCases)
    func names(_ names: PartLayout.Names) throws {
        let layout = PartLayout(name: "t2v-basic", scratch: scratch)
        try layout.writeTransformer(names, to: scratch("named.safetensors"))
        let file = try SafetensorsFile(path: scratch("named.safetensors"))
        var (written, meant) = (GGUFBytes(), [(name: String, tensor: HostTensor)]())
        written.set("general.architecture", .string("hyvid"))
        for key in file.keys {
            let tensor = try file.tensor(key)
            let type: Stored = tensor.rank == 2 && tensor.shape[1].isMultiple(of: 32) ? .q80 : .f32
            let bytes = type.bytes(tensor)
            written.add(key, type: type.number, tensor.shape, bytes)
            meant.append((key, HostTensor(HostTensor(bytes, tensor.shape, as: type.dtype).floats(), tensor.shape)))
        }
        try write(written, "named.gguf")
        try SafetensorsWriter.write(meant, to: scratch("meant.safetensors"))
        let expected = try render(golden("model"), "a", "--transformer", "meant.safetensors")
        let found = try render(golden("model"), "b", "--transformer", "named.gguf")
        #expect(try differences(found, expected) == [])
        #expect(frames("a") != nil && frames("a") == frames("b"))
        // And the language model beside it, all in ComfyUI's folders.
        try layout.writeComfy("comfy", names)
        for (folder, name) in [("diffusion_models", "named.gguf"), ("text_encoders", "llama.gguf")] {
            let inner = scratch("comfy/" + folder)
            for other in try FileManager.default.contentsOfDirectory(atPath: inner)
            where folder == "diffusion_models" || other.contains("llama") {
                try FileManager.default.removeItem(atPath: inner + "/" + other)
            }
            if folder == "diffusion_models" {
                try write(written, "comfy/diffusion_models/" + name)
            } else {
                let text = try SafetensorsFile(path: golden("model/text_encoder/model.safetensors"))
                try write(LanguageFile.bytes(text, .f32), "comfy/text_encoders/" + name)
            }
        }
        let comfy = try render("comfy", "c")
        #expect(try distance("text.embeds", comfy, expected) < 2e-6)
        #expect(try distance("latents.final", comfy, expected) < 1e-5)
    }

    @Test("a folder with such files is converted to the layout of diffusers, rows of heads among it")
    func folder() throws {
        try transformer(.q80, "blocks")
        let file = try SafetensorsFile(path: golden("model/text_encoder/model.safetensors"))
        for name in ["model.safetensors", "config.json"] {
            try FileManager.default.removeItem(atPath: scratch("blocks/text_encoder/" + name))
        }
        try write(LanguageFile.bytes(file, .f32), "blocks/text_encoder/llama.gguf")
        let outcome = try Executable.run(
            ["convert", "blocks", "-o", "plain", "-q", "--type", "fp32"], in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let text = try SafetensorsFile(path: scratch("plain/text_encoder/model.safetensors"))
        #expect(Set(text.keys) == Set(file.keys))
        for key in file.keys { #expect(try text.tensor(key).floats() == file.tensor(key).floats(), "\(key)") }
        let names = try FileManager.default.subpathsOfDirectory(atPath: scratch("plain"))
        #expect(!names.contains { $0.hasSuffix(".gguf") })
        let (found, expected) = (try render("plain", "a"), try render("blocks-meant", "b"))
        #expect(try differences(found, expected) == [])
    }

    @Test("what is not computed with is refused by its name, and what is cut off by its size")
    func refusals() throws {
        try transformer(.q80, "blocks")
        let path = scratch("blocks/transformer/q8_0.gguf")
        let whole = try #require(FileManager.default.contents(atPath: path))
        func expect(_ code: Int32, _ text: String) throws {
            for command in [["render", "-o", "x.mp4"], ["plan"]] {
                let outcome = try Executable.run(
                    command + ["--request", golden("request.json"), "-m", "blocks"], in: scratch.path)
                #expect(outcome.code == code && outcome.errors.contains(text), "\(outcome.errors)")
            }
        }
        try whole.prefix(whole.count - 64).write(to: URL(fileURLWithPath: path))
        try expect(65, "the file is incomplete; download it again")
        var other = GGUFBytes()
        other.add("proj_out.weight", type: 20, [16, 32], [UInt8](repeating: 0, count: 16 * 18))
        try write(other, "blocks/transformer/q8_0.gguf")
        try expect(65, "tensor \"proj_out.weight\": the type IQ4_NL is not supported")
        try whole.write(to: URL(fileURLWithPath: path))
        try whole.write(to: URL(fileURLWithPath: scratch("blocks/transformer/other.gguf")))
        try expect(64, "several GGUF files: other.gguf, q8_0.gguf")
    }
}

/// A type that tests write, and its number in GGUF.
enum Stored: UInt32 {
    case f32 = 0
    case f16 = 1
    case q40 = 2
    case q80 = 8
    case bf16 = 30

    var number: UInt32 { rawValue }

    var dtype: DType {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .q40: .q40
        case .q80: .q80
        case .bf16: .bf16
        }
    }

    /// The bytes of a tensor in this type, as ggml rounds.
    func bytes(_ tensor: HostTensor) -> [UInt8] {
        if !dtype.isBlocked { return tensor.bytes(0..<tensor.count, as: dtype) }
        let values = tensor.floats()
        return stride(from: 0, to: values.count, by: 32).flatMap { block(Array(values[$0..<$0 + 32])) }
    }

    private func block(_ values: [Float]) -> [UInt8] {
        let largest = values.max { $0.magnitude < $1.magnitude } ?? 0
        let scale = self == .q80 ? largest.magnitude / 127 : largest / -8
        let bits = FloatBits.half(rounding: scale)
        let codes = values.map { scale == 0 ? 0 : Int(($0 / scale).rounded()) }
        let head = [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
        if self == .q80 { return head + codes.map { UInt8(bitPattern: Int8($0)) } }
        let nibbles = codes.map { UInt8(max(0, min(15, $0 + 8))) }
        return head + (0..<16).map { nibbles[$0] | nibbles[$0 + 16] << 4 }
    }
}

/// LLaMA with llama.cpp's names and order of rows.
private enum LanguageFile {
    private static let names = [
        ("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
        ("embed_tokens", "token_embd"), ("layers", "blk"),
    ]

    /// The case's language model: four heads of eight, of which keys and values have two.
    static func bytes(_ file: SafetensorsFile, _ type: Stored, permutes: Bool = true) throws -> GGUFBytes {
        var written = GGUFBytes()
        written.set("general.architecture", .string("llama"))
        for (key, value) in [
            ("embedding_length", 32), ("feed_forward_length", 64), ("block_count", 4), ("attention.head_count", 4),
            ("attention.head_count_kv", 2), ("rope.dimension_count", 8), ("vocab_size", 688),
        ] { written.set("llama." + key, .uint32(UInt32(value))) }
        written.set("llama.attention.layer_norm_rms_epsilon", .float(1e-5))
        written.set("llama.rope.freq_base", .float(500_000))
        written.set("tokenizer.ggml.tokens", .strings((0..<688).map { "t\($0)" }))
        for key in file.keys {
            var tensor = try file.tensor(key)
            if permutes, key.contains("q_proj") || key.contains("k_proj") {
                // Heads of two halves become heads of pairs.
                let turned = tensor.reshaped([tensor.shape[0] / 8, 2, 4, 32]).permuted([0, 2, 1, 3])
                tensor = HostTensor(turned.floats(), tensor.shape)
            }
            var name = key == "norm.weight" ? "output_norm.weight" : key
            for (from, to) in names { name = name.replacingOccurrences(of: from, with: to) }
            let stored = tensor.rank == 2 ? type : .f32
            written.add(name, type: stored.number, tensor.shape, stored.bytes(tensor))
        }
        return written
    }
}
