import RuyiFiles

/// The names that the authors' own program gives to the transformer's layers (specification section 12).
enum HunyuanOriginalNames {
    /// The layers of a checkpoint by their original paths, with `_` in place of the dots; also as ComfyUI calls them.
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
            guard let shape = weights.shape(of: entry.key), shape.count == 2 else { continue }
            let (height, half) = (shape[0], shape[0] / 2)
            let rows =
                switch entry.part {
                case .whole, .matrix: [0..<height]
                case .rows(let range, of: _): [range]
                case .halvesSwapped: [half..<height, 0..<half]
                }
            for name in names(entry.stored.dropLast(".weight".count)) {
                found[name, default: []].append(LoRAPart(key: entry.key, rows: rows))
            }
        }
        return found
    }

    /// The names of a layer: the original one, and ComfyUI's where that is another.
    private static func names(_ path: Substring) -> Set<String> {
        let flat = String(path.map { $0 == "." ? "_" : $0 })
        var other = flat
        for (ending, short) in [("_mod_linear", "_mod_lin"), ("modulation_linear", "modulation_lin")]
        where flat.hasSuffix(ending) && !flat.contains("final_layer") {
            other = flat.dropLast(ending.count) + short
        }
        for (ending, short) in [("_mlp_fc1", "_mlp_0"), ("_mlp_fc2", "_mlp_2")]
        where flat.hasSuffix(ending) && flat.hasPrefix("double_blocks") {
            other = flat.dropLast(ending.count) + short
        }
        return [flat, other]
    }
}
