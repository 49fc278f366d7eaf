import RuyiFiles

/// The names that the authors' own program gives to the transformer's layers (specification section 12), and those of
/// programs that rename a few of them.
enum HunyuanOriginalNames {
    /// The layers of a checkpoint by their original paths, with `_` in place of the dots; also as ComfyUI and OneTrainer
    /// call them.
    static func layers(of weights: any WeightFile) -> [String: [LoRAPart]] {
        func count(_ list: String) -> Int {
            var index = 0
            while weights.shape(of: "\(list).\(index).attn.to_q.weight") != nil { index += 1 }
            return index
        }
        var found: [String: [LoRAPart]] = [:]
        let entries = HunyuanTensorTable.places(
            width: weights.shape(of: "proj_out.weight")?.last ?? 0,
            inner: weights.shape(of: "single_transformer_blocks.0.proj_mlp.weight")?.first ?? 0,
            dual: count("transformer_blocks"), single: count("single_transformer_blocks"),
            refiner: count("context_embedder.token_refiner.refiner_blocks"), hasGuidance: true)
        for entry in entries where entry.key.hasSuffix(".weight") {
            guard let height = weights.shape(of: entry.key)?.first, height > 0 else { continue }
            let path = String(entry.stored.dropLast(".weight".count).map { $0 == "." ? "_" : $0 })
            let rows: [Range<Int>]
            switch entry.part {
            case .whole, .matrix: rows = [0..<height]
            case .halvesSwapped: rows = [height / 2..<height, 0..<height / 2]
            case .rows(let range, of: _):
                rows = [range]
                // OneTrainer numbers the parts of a fused layer.
                found["\(path)_\(found[path]?.count ?? 0)"] = [LoRAPart(key: entry.key, rows: [0..<height])]
            }
            for name in names(path) { found[name, default: []].append(LoRAPart(key: entry.key, rows: rows)) }
        }
        return found
    }

    /// The names of a layer: the original one, and others where there are any.
    private static func names(_ path: String) -> Set<String> {
        let others = spellings.filter { path.hasSuffix($0.ending) }.flatMap { spelling -> [String] in
            spelling.others.map { String(path.dropLast(spelling.ending.count)) + $0 }
        }
        return Set([path] + others)
    }

    /// How names of the original end, and what stands for that in ComfyUI, or in OneTrainer's newer files.
    private static let spellings: [(ending: String, others: [String])] = [
        ("_mod_linear", ["_mod_lin"]), ("_modulation_linear", ["_modulation_lin"]),
        ("_mlp_fc1", ["_mlp_0", "_mlp_fc0"]), ("_mlp_fc2", ["_mlp_2"]),
        ("_in_mlp_0", ["_in_in_layer"]), ("_in_mlp_2", ["_in_out_layer"]),
        ("_t_embedder_mlp_0", ["_t_embedder_in_layer", "_t_embedder_linear_1"]),
        ("_t_embedder_mlp_2", ["_t_embedder_out_layer", "_t_embedder_linear_2"]),
        ("_c_embedder_linear_1", ["_c_embedder_in_layer"]), ("_c_embedder_linear_2", ["_c_embedder_out_layer"]),
        ("_q_norm", ["_norm_query_norm"]), ("_k_norm", ["_norm_key_norm"]),
    ]
}
