import Foundation
import RuyiFiles
import RuyiTensor
import Testing
import TorchFixtures

/// A recorded case of HunyuanVideo, and its checkpoint rewritten as the original repository publishes it.
struct OriginalLayout {
    let name: String
    let scratch: Scratch

    /// The case's own files.
    func callAsFunction(_ file: String) -> String {
        Golden(name: name, family: "hunyuanvideo")(file)
    }

    private var takesPicture: Bool { name.hasPrefix("i2v") }
    /// The folder of the model within the checkpoint.
    var inner: String { takesPicture ? "hunyuan-video-i2v-720p" : "hunyuan-video-t2v-720p" }

    /// How the transformer is written.
    enum Form {
        /// The state dictionary within others of these names.
        case nested([String])
        /// In 8 bits with scales, and the decoded values in a checkpoint beside it, called `decoded`.
        case narrow
        /// The same with scales that are powers of two, so that multiplying by them rounds nothing.
        case narrowExactly
    }

    /// Writes the checkpoint into a folder of the scratch folder.
    func write(_ folder: String, _ form: Form) throws {
        let states = try scratch.folder(folder + "/" + inner + "/transformers") + "/mp_rank_00_model_states"
        let transformer = try SafetensorsFile(path: self("model/transformer/diffusion_pytorch_model.safetensors"))
        let original = try OriginalNames.rename(transformer)
        switch form {
        case .nested(let keys):
            try put(TorchFile.bytes(original.map { try torch($0.name, $0.parts) }, under: keys), states + ".pt")
        case .narrow: try narrow(original, transformer, states) { $0 }
        case .narrowExactly:
            try narrow(original, transformer, states) { Float(sign: .plus, exponent: $0.exponent + 1, significand: 1) }
        }
        let vae = try scratch.folder(folder + "/" + inner + "/vae")
        var settings = try json("model/vae/config.json")
        settings["time_compression_ratio"] = settings.removeValue(forKey: "temporal_compression_ratio")
        settings["spatial_compression_ratio"] = nil
        try put(JSONSerialization.data(withJSONObject: settings), vae + "/config.json")
        let file = try SafetensorsFile(path: self("model/vae/diffusion_pytorch_model.safetensors"))
        let tensors = try file.keys.map { try torch("vae." + $0, [try file.tensor($0)]) }
        let others = [TorchTensor("loss.logvar", "float32", [1], [0, 0, 0, 0])]
        try put(TorchFile.bytes(tensors + others, under: ["state_dict"]), vae + "/pytorch_model.pt")
        try writeEncoders(folder)
    }

    private func writeEncoders(_ folder: String) throws {
        let text = try scratch.folder(folder + "/" + (takesPicture ? "text_encoder_i2v" : "text_encoder"))
        for part in ["text_encoder", "tokenizer"] + (takesPicture ? ["image_processor"] : []) {
            for file in try FileManager.default.contentsOfDirectory(atPath: self("model/" + part)) {
                try FileManager.default.copyItem(atPath: self("model/\(part)/\(file)"), toPath: text + "/" + file)
            }
        }
        // A whole CLIP, of which the text's half is used.
        let clip = try scratch.folder(folder + "/text_encoder_2")
        for file in ["vocab.json", "merges.txt"] {
            try FileManager.default.copyItem(atPath: self("model/tokenizer_2/" + file), toPath: clip + "/" + file)
        }
        let settings = try json("model/text_encoder_2/config.json")
        try put(
            JSONSerialization.data(withJSONObject: ["model_type": "clip", "text_config": settings]),
            clip + "/config.json")
        let file = try SafetensorsFile(path: self("model/text_encoder_2/model.safetensors"))
        let others = [
            ("logit_scale", HostTensor([1], [])), ("vision_model.post_layernorm.bias", HostTensor([1, 2], [2])),
        ]
        try SafetensorsWriter.write(
            file.keys.map { ($0, try file.tensor($0)) } + others, to: clip + "/model.safetensors")
    }

    private func put(_ bytes: some Sequence<UInt8>, _ path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    private func json(_ file: String) throws -> [String: Any] {
        let data = try Data(contentsOf: URL(fileURLWithPath: self(file)))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    /// Tensors with equal rows, one above the other.
    private func torch(_ name: String, _ parts: [HostTensor]) throws -> TorchTensor {
        let types: [DType: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        let type = parts[0].dtype
        try #require(parts.allSatisfy { $0.dtype == type })
        return TorchTensor(
            name, try #require(types[type]), [parts.reduce(0) { $0 + $1.shape[0] }] + parts[0].shape.dropFirst(),
            parts.flatMap { $0.bytes(0..<$0.count, as: type) })
    }

    /// Writes the matrices of the blocks in 8 bits, each with the scale that its greatest magnitude gives.
    private func narrow(
        _ original: [(name: String, parts: [HostTensor])], _ transformer: SafetensorsFile, _ states: String,
        _ scaled: (Float) -> Float
    ) throws {
        var tensors: [TorchTensor] = []
        var scales: [TorchTensor] = []
        var decoded: [String: HostTensor] = [:]
        for (name, parts) in original {
            guard name.contains("_blocks."), name.hasSuffix(".weight"), parts[0].rank == 2 else {
                tensors.append(try torch(name, parts))
                continue
            }
            let values = parts.flatMap { $0.floats() }
            let scale = scaled((values.map(\.magnitude).max() ?? 0) / 448)
            let bytes = values.map { FloatBits.e4m3(rounding: $0 / scale) }
            let shape = [parts.reduce(0) { $0 + $1.shape[0] }, parts[0].shape[1]]
            tensors.append(TorchTensor(name, "float8_e4m3fn", shape, bytes))
            scales.append(
                TorchTensor(
                    String(name.dropLast(".weight".count)), "float32", [1],
                    (0..<4).map { UInt8(truncatingIfNeeded: scale.bitPattern >> (8 * $0)) }))
            decoded[name] = HostTensor(bytes.map { FloatBits.e4m3($0) * scale }, shape)
        }
        try put(TorchFile.bytes(tensors, under: ["module"]), states + "_fp8.pt")
        try put(TorchFile.bytes(scales), states + "_fp8_map.pt")
        try FileManager.default.copyItem(atPath: self("model"), toPath: scratch("decoded"))
        let path = scratch("decoded/transformer/diffusion_pytorch_model.safetensors")
        let values = try transformer.keys.map { key in
            let (name, rows) = try OriginalNames.place(of: key, width: transformer)
            guard let matrix = decoded[name] else { return (key, try transformer.tensor(key)) }
            return (key, rows.map { matrix.sliced(0, $0) } ?? matrix)
        }
        try FileManager.default.removeItem(atPath: path)
        try SafetensorsWriter.write(values, to: path)
    }
}

/// The names of the transformer's tensors in diffusers and in the original repository, by patterns.
enum OriginalNames {
    /// In this order: a name in diffusers, and what stands for it.
    private static let patterns: [(String, String)] = [
        ("context_embedder.token_refiner.refiner_blocks.", "txt_in.individual_token_refiner.blocks."),
        ("context_embedder.time_text_embed.timestep_embedder.linear_1", "txt_in.t_embedder.mlp.0"),
        ("context_embedder.time_text_embed.timestep_embedder.linear_2", "txt_in.t_embedder.mlp.2"),
        ("context_embedder.time_text_embed.text_embedder", "txt_in.c_embedder"),
        ("context_embedder.proj_in", "txt_in.input_embedder"), ("x_embedder", "img_in"),
        ("time_text_embed.timestep_embedder.linear_1", "time_in.mlp.0"),
        ("time_text_embed.timestep_embedder.linear_2", "time_in.mlp.2"),
        ("time_text_embed.guidance_embedder.linear_1", "guidance_in.mlp.0"),
        ("time_text_embed.guidance_embedder.linear_2", "guidance_in.mlp.2"),
        ("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
        ("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
        ("single_transformer_blocks.", "single_blocks."), ("transformer_blocks.", "double_blocks."),
        ("norm1_context.linear", "txt_mod.linear"), ("norm1.linear", "img_mod.linear"),
        ("ff_context.net.0.proj", "txt_mlp.fc1"), ("ff_context.net.2", "txt_mlp.fc2"),
    ]

    private static func plain(_ key: String) -> String {
        if key.hasPrefix("norm_out") {
            return "final_layer.adaLN_modulation.1" + key.dropFirst("norm_out.linear".count)
        }
        if key.hasPrefix("proj_out") { return "final_layer.linear" + key.dropFirst("proj_out".count) }
        var name = patterns.reduce(key) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
        let more: [(String, String)]
        if name.hasPrefix("txt_in") {
            more = [
                ("attn.to_out.0", "self_attn_proj"), ("ff.net.0.proj", "mlp.fc1"), ("ff.net.2", "mlp.fc2"),
                ("norm_out.linear", "adaLN_modulation.1"),
            ]
        } else if name.hasPrefix("double") {
            more = [
                ("attn.to_out.0", "img_attn_proj"), ("attn.to_add_out", "txt_attn_proj"),
                ("ff.net.0.proj", "img_mlp.fc1"), ("ff.net.2", "img_mlp.fc2"), ("attn.norm_q", "img_attn_q_norm"),
                ("attn.norm_k", "img_attn_k_norm"), ("attn.norm_added_q", "txt_attn_q_norm"),
                ("attn.norm_added_k", "txt_attn_k_norm"),
            ]
        } else {
            more = [
                ("attn.norm_q", "q_norm"), ("attn.norm_k", "k_norm"), ("proj_out", "linear2"),
                (".norm.linear", ".modulation.linear"),
            ]
        }
        for (from, to) in more { name = name.replacingOccurrences(of: from, with: to) }
        return name
    }

    /// What a tensor is a part of in the original, and which part: its number and the name of the whole.
    private static func part(_ key: String) -> (name: String, number: Int)? {
        let kind = key.hasSuffix(".bias") ? ".bias" : ".weight"
        let names = [
            "attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj",
        ]
        guard let index = names.firstIndex(where: { key.hasSuffix($0 + kind) }) else { return nil }
        let start = plain(String(key.dropLast((names[index] + kind).count)))
        if start.hasPrefix("single") { return (start + "linear1" + kind, index) }
        if start.hasPrefix("txt_in") { return (start + "self_attn_qkv" + kind, index) }
        return index < 4 ? (start + "img_attn_qkv" + kind, index) : (start + "txt_attn_qkv" + kind, index - 4)
    }

    /// The tensor of the original that holds a tensor, and its rows in it if they are not all.
    static func place(of key: String, width file: SafetensorsFile) throws -> (String, Range<Int>?) {
        guard let (name, number) = part(key) else { return (plain(key), nil) }
        let rows = try #require(file.shape(of: key))[0]
        let width = try #require(file.shape(of: "x_embedder.proj.bias"))[0]
        return (name, number * width..<number * width + rows)
    }

    /// The tensors of the original, each as parts that follow one another.
    static func rename(_ file: SafetensorsFile) throws -> [(name: String, parts: [HostTensor])] {
        var order: [String] = []
        var parts: [String: [(Int, HostTensor)]] = [:]
        for key in file.keys {
            let (name, number) = part(key) ?? (plain(key), 0)
            var tensor = [try file.tensor(key)]
            if key.hasPrefix("norm_out") {
                let half = tensor[0].shape[0] / 2
                tensor = [tensor[0].sliced(0, half..<2 * half), tensor[0].sliced(0, 0..<half)]
            }
            if parts[name] == nil { order.append(name) }
            for (index, tensor) in tensor.enumerated() { parts[name, default: []].append((number + index, tensor)) }
        }
        return order.map { name in (name, (parts[name] ?? []).sorted { $0.0 < $1.0 }.map(\.1)) }
    }
}
