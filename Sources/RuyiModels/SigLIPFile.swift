import RuyiFault
import RuyiFiles

/// The weights of SigLIP's part that sees pictures, alone or within a whole SigLIP; below any prefix.
package struct SigLIPFile: Sendable {
    private let file: any WeightFile
    private let prefix: String

    /// The tower in a file; nil where there is none.
    package init?(_ file: any WeightFile) {
        let mark = "vision_model.embeddings.patch_embedding.bias"
        guard let key = file.keys.first(where: { $0.hasSuffix(mark) }) else { return nil }
        let prefix = String(key.dropLast(mark.count))
        // CLIP has a token of its class, and a norm before its layers.
        guard file.shape(of: prefix + "vision_model.embeddings.class_embedding") == nil,
            file.shape(of: prefix + "vision_model.post_layernorm.weight") != nil
        else { return nil }
        (self.file, self.prefix) = (file, prefix)
    }

    /// The weights under the names that transformers gives them.
    package func weights() throws(Fault) -> any WeightFile {
        let start = prefix + "vision_model."
        let list = file.keys.filter { $0.hasPrefix(start) }.map {
            (key: String($0.dropFirst(prefix.count)), place: RenamedWeights.Place($0))
        }
        return try RenamedWeights(file, list) { _ in true }
    }

    /// The settings as transformers writes them, told from the tensors, and the numbers of the published model.
    ///
    /// Throws `.badData` where the heads are not those of the published model: the weights do not tell them.
    package func settings() throws(Fault) -> JSON {
        let head = 72
        let width = try size(0, of: "embeddings.patch_embedding.weight", rank: 4)
        guard width.isMultiple(of: head) else { throw file.unknownHeads(folder: "image_encoder") }
        return .object([
            .init("model_type", "siglip_vision_model"), .init("hidden_size", .int(width)),
            .init("intermediate_size", .int(try size(0, of: "encoder.layers.0.mlp.fc1.weight", rank: 2))),
            .init("num_hidden_layers", .int(try file.count(of: prefix + "vision_model.encoder.layers"))),
            .init("num_attention_heads", .int(width / head)), .init("image_size", .int(try imageSize())),
            .init("patch_size", .int(try size(2, of: "embeddings.patch_embedding.weight", rank: 4))),
            .init("hidden_act", "gelu_pytorch_tanh"), .init("layer_norm_eps", .double(1e-6)),
        ])
    }

    /// The preprocessing of pictures, which all published models share.
    package func processorSettings() throws(Fault) -> JSON {
        let side: JSON = .int(try imageSize())
        let half: JSON = .array(Array(repeating: .double(0.5), count: 3))
        return .object([
            .init("image_processor_type", "SiglipImageProcessor"), .init("resample", 3),
            .init("size", ["height": side, "width": side]), .init("image_mean", half), .init("image_std", half),
            .init("rescale_factor", .double(1.0 / 255)), .init("do_resize", true), .init("do_rescale", true),
            .init("do_normalize", true),
        ])
    }

    /// The side of the square that the tower sees.
    ///
    /// The published ones are multiples of 32, and the patches may leave a margin: 27 patches of 14 pixels see 384.
    private func imageSize() throws(Fault) -> Int {
        let patch = try size(2, of: "embeddings.patch_embedding.weight", rank: 4)
        let grid = Int(Double(try size(0, of: "embeddings.position_embedding.weight", rank: 2)).squareRoot())
        let rounded = (grid * patch + 31) / 32 * 32
        return rounded / patch == grid ? rounded : grid * patch
    }

    private func size(_ axis: Int, of key: String, rank: Int) throws(Fault) -> Int {
        try file.size(axis, of: prefix + "vision_model." + key, rank: rank)
    }
}
