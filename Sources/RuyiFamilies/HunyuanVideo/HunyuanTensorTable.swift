import RuyiFiles

/// The names of the transformer's tensors in the original repository and in diffusers.
enum HunyuanTensorTable {
    /// The list of the refiner's blocks.
    static let refiner = "txt_in.individual_token_refiner.blocks"

    /// One tensor of diffusers, and what it is in the original.
    typealias Entry = (key: String, stored: String, part: RenamedWeights.Part)

    /// Every tensor of a transformer of this width, and inner width, with so many blocks of each kind.
    static func places(
        width: Int, inner: Int, dual: Int, single: Int, refiner count: Int, hasGuidance: Bool
    ) -> [Entry] {
        var table = HunyuanTensorPlaces(width: width)
        table.add("x_embedder.proj", "img_in.proj")
        table.embedder("time_text_embed.timestep_embedder", "time_in", ["mlp.0", "mlp.2"])
        if hasGuidance { table.embedder("time_text_embed.guidance_embedder", "guidance_in", ["mlp.0", "mlp.2"]) }
        table.embedder("time_text_embed.text_embedder", "vector_in", ["in_layer", "out_layer"])
        table.add("context_embedder.proj_in", "txt_in.input_embedder")
        table.embedder("context_embedder.time_text_embed.timestep_embedder", "txt_in.t_embedder", ["mlp.0", "mlp.2"])
        table.embedder(
            "context_embedder.time_text_embed.text_embedder", "txt_in.c_embedder", ["linear_1", "linear_2"])
        for index in 0..<count {
            table.refinerBlock("context_embedder.token_refiner.refiner_blocks.\(index)", "\(refiner).\(index)")
        }
        for index in 0..<dual { table.dualBlock("transformer_blocks.\(index)", "double_blocks.\(index)") }
        for index in 0..<single {
            table.singleBlock("single_transformer_blocks.\(index)", "single_blocks.\(index)", inner: inner)
        }
        // Shift and scale change places.
        table.add("norm_out.linear", "final_layer.adaLN_modulation.1", .halvesSwapped)
        table.add("proj_out", "final_layer.linear")
        return table.entries
    }

    /// What ComfyUI calls the parts of the original's names, in the order in which they are looked for.
    private static let comfyParts = [
        ("_embedder.mlp.0.", "_embedder.in_layer."), ("_embedder.mlp.2.", "_embedder.out_layer."),
        ("_embedder.linear_1.", "_embedder.in_layer."), ("_embedder.linear_2.", "_embedder.out_layer."),
        ("_in.mlp.0.", "_in.in_layer."), ("_in.mlp.2.", "_in.out_layer."), ("_mod.linear.", "_mod.lin."),
        (".modulation.linear.", ".modulation.lin."), ("_attn_qkv.", "_attn.qkv."), ("_attn_proj.", "_attn.proj."),
        ("mlp.fc1.", "mlp.0."), ("mlp.fc2.", "mlp.2."), ("_attn_q_norm.", "_attn.norm.query_norm."),
        ("_attn_k_norm.", "_attn.norm.key_norm."), (".q_norm.", ".norm.query_norm."),
        (".k_norm.", ".norm.key_norm."),
    ]

    /// The names of a tensor of the original in ComfyUI's files: the norms' weights have had two.
    static func comfyNames(of stored: String) -> [String] {
        guard let (part, other) = comfyParts.first(where: { stored.contains($0.0) }) else { return [stored] }
        let name = stored.replacing(part, with: other)
        return other.hasSuffix("_norm.") ? [name.dropLast("weight".count) + "scale", name] : [name]
    }
}

/// The entries of the table, added part by part; every part has its name in diffusers first.
private struct HunyuanTensorPlaces {
    let width: Int
    var entries: [HunyuanTensorTable.Entry] = []

    init(width: Int) { self.width = width }

    /// The weight and the bias of a layer.
    mutating func add(_ key: String, _ stored: String, _ part: RenamedWeights.Part = .whole) {
        for kind in [".weight", ".bias"] { entries.append((key + kind, stored + kind, part)) }
    }

    /// The weight of a norm.
    mutating func norm(_ key: String, _ stored: String) {
        entries.append((key + ".weight", stored + ".weight", .whole))
    }

    /// The rows of a stored layer are those of several, of the transformer's width unless they are said.
    mutating func split(_ keys: [String], _ stored: String, last: Int? = nil) {
        let total = (keys.count - 1) * width + (last ?? width)
        for (index, key) in keys.enumerated() {
            let end = index == keys.count - 1 ? total : (index + 1) * width
            add(key, stored, .rows(index * width..<end, of: total))
        }
    }

    mutating func embedder(_ key: String, _ stored: String, _ layers: [String]) {
        for (index, layer) in layers.enumerated() { add("\(key).linear_\(index + 1)", stored + "." + layer) }
    }

    mutating func refinerBlock(_ key: String, _ stored: String) {
        add(key + ".norm1", stored + ".norm1")
        add(key + ".norm2", stored + ".norm2")
        split(["to_q", "to_k", "to_v"].map { key + ".attn." + $0 }, stored + ".self_attn_qkv")
        add(key + ".attn.to_out.0", stored + ".self_attn_proj")
        add(key + ".ff.net.0.proj", stored + ".mlp.fc1")
        add(key + ".ff.net.2", stored + ".mlp.fc2")
        add(key + ".norm_out.linear", stored + ".adaLN_modulation.1")
    }

    mutating func dualBlock(_ key: String, _ stored: String) {
        for (suffix, stream) in [("", "img"), ("_context", "txt")] {
            add("\(key).norm1\(suffix).linear", "\(stored).\(stream)_mod.linear")
            add("\(key).ff\(suffix).net.0.proj", "\(stored).\(stream)_mlp.fc1")
            add("\(key).ff\(suffix).net.2", "\(stored).\(stream)_mlp.fc2")
        }
        let attention = key + ".attn."
        split(["to_q", "to_k", "to_v"].map { attention + $0 }, stored + ".img_attn_qkv")
        split(["add_q_proj", "add_k_proj", "add_v_proj"].map { attention + $0 }, stored + ".txt_attn_qkv")
        for part in ["q", "k"] {
            norm(attention + "norm_" + part, "\(stored).img_attn_\(part)_norm")
            norm(attention + "norm_added_" + part, "\(stored).txt_attn_\(part)_norm")
        }
        add(attention + "to_out.0", stored + ".img_attn_proj")
        add(attention + "to_add_out", stored + ".txt_attn_proj")
    }

    mutating func singleBlock(_ key: String, _ stored: String, inner: Int) {
        let joined = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]
        split(joined.map { key + "." + $0 }, stored + ".linear1", last: inner)
        add(key + ".proj_out", stored + ".linear2")
        for part in ["q", "k"] { norm("\(key).attn.norm_\(part)", "\(stored).\(part)_norm") }
        add(key + ".norm.linear", stored + ".modulation.linear")
    }
}
