import RuyiFault
import RuyiFiles

/// The weights of the part of CLIP that sees pictures, alone or within another model; below any prefix.
package struct CLIPVisionFile: Sendable {
    private let file: any WeightFile
    /// What stands before its names.
    package let start: String

    /// The tower in a file; nil where there is none.
    package init?(_ file: any WeightFile) {
        let mark = "embeddings.patch_embedding.weight"
        guard let key = file.keys.first(where: { $0.hasSuffix(mark) }) else { return nil }
        let start = String(key.dropLast(mark.count))
        // SigLIP has no token of its class.
        guard file.shape(of: start + "embeddings.class_embedding") != nil else { return nil }
        (self.file, self.start) = (file, start)
    }

    /// The settings as transformers writes them, told from the tensors, and the numbers of OpenAI's published models.
    ///
    /// Throws `.badData` where the heads are not those of the published models: the weights do not tell them.
    ///
    /// - Parameters:
    ///   - folder: where a `config.json` of the part would lie, for messages.
    package func settings(folder: String) throws(Fault) -> JSON {
        let head = 64
        let width = try file.size(0, of: start + "embeddings.patch_embedding.weight", rank: 4)
        guard width.isMultiple(of: head) else { throw file.unknownHeads(folder: folder) }
        let inner = try file.size(0, of: start + "encoder.layers.0.mlp.fc1.weight", rank: 2)
        return .object([
            .init("model_type", "clip_vision_model"), .init("hidden_size", .int(width)),
            .init("intermediate_size", .int(inner)),
            .init("num_hidden_layers", .int(try file.count(of: start + "encoder.layers"))),
            .init("num_attention_heads", .int(width / head)), .init("image_size", .int(try imageSize())),
            .init("patch_size", .int(try file.size(2, of: start + "embeddings.patch_embedding.weight", rank: 4))),
            .init("hidden_act", "quick_gelu"),
        ])
    }

    /// The side of the square that the tower sees.
    private func imageSize() throws(Fault) -> Int {
        let patch = try file.size(2, of: start + "embeddings.patch_embedding.weight", rank: 4)
        let places = try file.size(0, of: start + "embeddings.position_embedding.weight", rank: 2)
        return Int(Double(places - 1).squareRoot()) * patch
    }

    /// The preprocessing of pictures, which all published models share.
    package func processorSettings() throws(Fault) -> JSON {
        let size = try imageSize()
        return .object([
            .init("image_processor_type", "CLIPImageProcessor"), .init("resample", 3),
            .init("size", ["shortest_edge": .int(size)]),
            .init("crop_size", ["height": .int(size), "width": .int(size)]),
            .init("image_mean", .array([.double(0.48145466), .double(0.4578275), .double(0.40821073)])),
            .init("image_std", .array([.double(0.26862954), .double(0.26130258), .double(0.27577711)])),
            .init("rescale_factor", .double(1.0 / 255)), .init("do_center_crop", true), .init("do_normalize", true),
            .init("do_resize", true), .init("do_rescale", true), .init("do_convert_rgb", true),
        ])
    }
}

extension WeightFile {
    /// The fault of an encoder whose weights fit several numbers of heads; `folder` is where its settings would lie.
    func unknownHeads(folder: String) -> Fault {
        Fault(
            .badData, "the weights do not tell how many heads this encoder has", at: path,
            hint: "put its config.json beside it, or into the folder '\(folder)' of the model")
    }
}
