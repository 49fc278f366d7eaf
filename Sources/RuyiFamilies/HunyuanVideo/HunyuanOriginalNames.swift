import RuyiFiles

/// The names that the authors' own program gives to the transformer's layers (specification section 12).
enum HunyuanOriginalNames {
    /// A layer of theirs, and the layers here that make its rows one after the other.
    private typealias Row = (original: String, here: [String])

    private static let embedders: [Row] = [
        ("time_in.mlp.0", ["time_text_embed.timestep_embedder.linear_1"]),
        ("time_in.mlp.2", ["time_text_embed.timestep_embedder.linear_2"]),
        ("guidance_in.mlp.0", ["time_text_embed.guidance_embedder.linear_1"]),
        ("guidance_in.mlp.2", ["time_text_embed.guidance_embedder.linear_2"]),
        ("vector_in.in_layer", ["time_text_embed.text_embedder.linear_1"]),
        ("vector_in.out_layer", ["time_text_embed.text_embedder.linear_2"]),
        ("txt_in.input_embedder", ["context_embedder.proj_in"]),
        ("txt_in.t_embedder.mlp.0", ["context_embedder.time_text_embed.timestep_embedder.linear_1"]),
        ("txt_in.t_embedder.mlp.2", ["context_embedder.time_text_embed.timestep_embedder.linear_2"]),
        ("txt_in.c_embedder.linear_1", ["context_embedder.time_text_embed.text_embedder.linear_1"]),
        ("txt_in.c_embedder.linear_2", ["context_embedder.time_text_embed.text_embedder.linear_2"]),
        ("final_layer.linear", ["proj_out"]),
    ]

    /// Lists of blocks, by the names of their folders.
    private static let blocks: [(original: String, here: String, rows: [Row])] = [
        (
            "txt_in.individual_token_refiner.blocks", "context_embedder.token_refiner.refiner_blocks",
            [
                ("self_attn_qkv", ["attn.to_q", "attn.to_k", "attn.to_v"]), ("self_attn_proj", ["attn.to_out.0"]),
                ("mlp.fc1", ["ff.net.0.proj"]), ("mlp.fc2", ["ff.net.2"]), ("adaLN_modulation.1", ["norm_out.linear"]),
            ]
        ),
        (
            "double_blocks", "transformer_blocks",
            [
                ("img_mod.linear", ["norm1.linear"]), ("txt_mod.linear", ["norm1_context.linear"]),
                ("img_attn_qkv", ["attn.to_q", "attn.to_k", "attn.to_v"]), ("img_attn_proj", ["attn.to_out.0"]),
                ("txt_attn_qkv", ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"]),
                ("txt_attn_proj", ["attn.to_add_out"]), ("img_mlp.fc1", ["ff.net.0.proj"]),
                ("img_mlp.fc2", ["ff.net.2"]), ("txt_mlp.fc1", ["ff_context.net.0.proj"]),
                ("txt_mlp.fc2", ["ff_context.net.2"]),
                // As ComfyUI calls them.
                ("img_mod.lin", ["norm1.linear"]), ("txt_mod.lin", ["norm1_context.linear"]),
                ("img_mlp.0", ["ff.net.0.proj"]), ("img_mlp.2", ["ff.net.2"]), ("txt_mlp.0", ["ff_context.net.0.proj"]),
                ("txt_mlp.2", ["ff_context.net.2"]),
            ]
        ),
        (
            "single_blocks", "single_transformer_blocks",
            [
                ("linear1", ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]), ("linear2", ["proj_out"]),
                ("modulation.linear", ["norm.linear"]), ("modulation.lin", ["norm.linear"]),
            ]
        ),
    ]

    /// The layers of a checkpoint by their original paths, with `_` in place of the dots.
    static func layers(of weights: any WeightFile) -> [String: [LoRAPart]] {
        var found: [String: [LoRAPart]] = [:]
        func add(_ row: Row, original: String = "", here: String = "") {
            var parts: [LoRAPart] = []
            var start = 0
            for name in row.here {
                guard let height = weights.shape(of: here + name + ".weight")?.first else { return }
                parts.append(LoRAPart(key: here + name + ".weight", rows: [start..<start + height]))
                start += height
            }
            found[flat(original + row.original)] = parts
        }
        for row in embedders { add(row) }
        for list in blocks {
            let first = "." + (list.rows.first?.here.first ?? "") + ".weight"
            var index = 0
            while weights.shape(of: "\(list.here).\(index)\(first)") != nil {
                for row in list.rows {
                    add(row, original: "\(list.original).\(index).", here: "\(list.here).\(index).")
                }
                index += 1
            }
        }
        // Shift and scale change places.
        let last = "norm_out.linear.weight"
        if let height = weights.shape(of: last)?.first, height % 2 == 0 {
            let half = height / 2
            found["final_layer_adaLN_modulation_1"] = [LoRAPart(key: last, rows: [half..<height, 0..<half])]
        }
        return found
    }

    private static func flat(_ path: String) -> String { String(path.map { $0 == "." ? "_" : $0 }) }
}
