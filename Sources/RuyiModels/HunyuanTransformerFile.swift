import RuyiFault
import RuyiFiles
import RuyiTensor

/// The weights of HunyuanVideo's transformer, or of one that has been made of it, under any of the names that people
/// have them in: those of diffusers, of the authors (specification of HunyuanVideo, section 12), or of ComfyUI, below
/// any prefix.
package struct HunyuanTransformerFile: Sendable {
    /// Who has given the names.
    package enum Names: String, CaseIterable, Sendable {
        case diffusers, original, comfy

        /// A tensor that only a transformer with these names has.
        fileprivate var mark: String {
            switch self {
            case .diffusers: "transformer_blocks.0.attn.add_q_proj.weight"
            case .original: "double_blocks.0.img_attn_qkv.weight"
            case .comfy: "double_blocks.0.img_attn.qkv.weight"
            }
        }
    }

    /// The file.
    package let file: any WeightFile
    /// Who has given the names.
    package let names: Names
    /// What stands before the names in the file.
    package let prefix: String

    /// The transformer in a file; nil where the file holds none with such blocks.
    ///
    /// - Parameters:
    ///   - others: how the names begin of what models of other families have, and this one lacks.
    package init?(_ file: any WeightFile, without others: [String]) {
        for names in Names.allCases {
            let mark = names.mark
            guard let key = file.keys.first(where: { $0 == mark || $0.hasSuffix("." + mark) }) else { continue }
            let found = HunyuanTransformerFile(file, names, prefix: String(key.dropLast(mark.count)))
            if found.isWhole(without: others) {
                self = found
                return
            }
        }
        return nil
    }

    private init(_ file: any WeightFile, _ names: Names, prefix: String) {
        (self.file, self.names, self.prefix) = (file, names, prefix)
    }

    /// The transformer in a file of the authors' layout, which holds nothing else; what it lacks is found later.
    package init(original file: any WeightFile) {
        let prefix = ["module.", "ema."].first { prefix in file.keys.contains { $0.hasPrefix(prefix) } } ?? ""
        self = HunyuanTransformerFile(file, without: []) ?? HunyuanTransformerFile(file, .original, prefix: prefix)
    }

    /// Whether the refiner and the single blocks are there, which models of other families with such blocks lack, and
    /// nothing of some others is.
    private func isWhole(without others: [String]) -> Bool {
        let others = others.map { prefix + $0 }
        return has(HunyuanTransformerFile.refiner + ".0.norm1.weight") && has("single_blocks.0.linear2.weight")
            && !file.keys.contains { key in others.contains(where: key.hasPrefix) }
    }

    // MARK: Names

    private static let refiner = HunyuanTensorTable.refiner

    /// The names of whole tensors in diffusers by those in the original, of the first block of each list.
    private static let diffusers: [String: String] = {
        let entries = HunyuanTensorTable.places(
            width: 0, inner: 0, dual: 1, single: 1, refiner: 1, hasGuidance: true)
        return Dictionary(entries.map { ($0.stored, $0.key) }) { first, _ in first }
    }()

    /// The name in the file of a tensor of the original.
    private func stored(_ original: String) -> String {
        switch names {
        case .original: return prefix + original
        case .diffusers: return prefix + (HunyuanTransformerFile.diffusers[original] ?? original)
        case .comfy:
            let found = HunyuanTensorTable.comfyNames(of: original).map { prefix + $0 }
            return found.first { file.shape(of: $0) != nil } ?? found[0]
        }
    }

    private func list(_ original: String) -> String {
        guard names == .diffusers else { return original }
        switch original {
        case "double_blocks": return "transformer_blocks"
        case "single_blocks": return "single_transformer_blocks"
        default: return "context_embedder.token_refiner.refiner_blocks"
        }
    }

    // MARK: Weights

    /// The weights under the names that diffusers gives them.
    ///
    /// `scales` are those of 8-bit weights that lie in another file, by the names in this one. Throws `.badData` for
    /// tensors that do not tell the sizes, or cannot be cut as they should.
    package func weights(scales: [String: Float] = [:]) throws(Fault) -> any WeightFile {
        if names == .diffusers {
            if prefix.isEmpty { return file }
            let list = file.keys.filter { $0.hasPrefix(prefix) }.map {
                (key: String($0.dropFirst(prefix.count)), place: RenamedWeights.Place($0))
            }
            return try RenamedWeights(file, list) { _ in true }
        }
        let list = HunyuanTensorTable.places(
            width: try size(0, of: "img_in.proj.weight", rank: 5),
            inner: try size(0, of: "double_blocks.0.img_mlp.fc1.weight", rank: 2),
            dual: try count("double_blocks"), single: try count("single_blocks"),
            refiner: try count(HunyuanTransformerFile.refiner), hasGuidance: has("guidance_in.mlp.0.weight")
        ).map { entry in
            let stored = stored(entry.stored)
            return (key: entry.key, place: RenamedWeights.Place(stored, entry.part, scale: scales[stored]))
        }
        return try RenamedWeights(file, list) { !$0.hasPrefix(prefix) }
    }

    /// The names of 8-bit weights without a scale of their own, and the layers that they belong to without the prefix.
    package var narrow: [(key: String, layer: String?)] {
        file.keys.filter { key in
            key.hasPrefix(prefix) && [.f8e4m3, .f8e5m2].contains(file.dtype(of: key)) && file.scale(of: key) == .none
        }.map { key in
            let isWeight = key.hasSuffix(".weight")
            return (key, isWeight ? String(key.dropFirst(prefix.count).dropLast(".weight".count)) : nil)
        }
    }

    // MARK: Settings

    /// The settings as diffusers writes them, as far as the tensors tell them.
    ///
    /// Throws `.badData` that names a tensor which does not tell what it should.
    package func settings() throws(Fault) -> [JSON.Member] {
        let patch = StreamConfiguration.patch
        let width = try size(0, of: "img_in.proj.weight", rank: 5)
        let head = try size(0, of: "double_blocks.0.img_attn_q_norm.weight", rank: 1)
        let inner = try size(0, of: "double_blocks.0.img_mlp.fc1.weight", rank: 2)
        let output = try size(0, of: "final_layer.linear.weight", rank: 2) / (patch * patch)
        // Rows and columns have 7/16 of a head each, in pairs, and frames the rest.
        let axis = head * 7 / 32 * 2
        return [
            .init("in_channels", .int(try size(1, of: "img_in.proj.weight", rank: 5))),
            .init("out_channels", .int(output)), .init("num_attention_heads", .int(width / head)),
            .init("attention_head_dim", .int(head)), .init("num_layers", .int(try count("double_blocks"))),
            .init("num_single_layers", .int(try count("single_blocks"))),
            .init("num_refiner_layers", .int(try count(HunyuanTransformerFile.refiner))),
            .init("mlp_ratio", .double(Double(inner) / Double(width))), .init("patch_size", .int(patch)),
            .init("patch_size_t", .int(1)), .init("qk_norm", "rms_norm"),
            .init("guidance_embeds", .bool(has("guidance_in.mlp.0.weight"))),
            .init("text_embed_dim", .int(try size(1, of: "txt_in.input_embedder.weight", rank: 2))),
            .init("pooled_projection_dim", .int(try size(1, of: "vector_in.in_layer.weight", rank: 2))),
            .init("rope_theta", .double(256)),
            .init("rope_axes_dim", .array([.int(head - 2 * axis), .int(axis), .int(axis)])),
        ]
    }

    private func has(_ original: String) -> Bool { file.shape(of: stored(original)) != nil }

    /// The length of an axis of a tensor, which must have so many.
    private func size(_ axis: Int, of original: String, rank: Int) throws(Fault) -> Int {
        try file.size(axis, of: stored(original), rank: rank)
    }

    private func count(_ original: String) throws(Fault) -> Int { try file.count(of: prefix + list(original)) }
}
