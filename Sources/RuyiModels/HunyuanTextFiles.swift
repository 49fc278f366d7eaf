import RuyiEncoders
import RuyiFault
import RuyiFiles

/// The weights of the language model, alone or within LLaVA, whose tower may lie in a file of its own; below any prefix.
package struct HunyuanTextFile: Sendable {
    private let file: any WeightFile
    private let tower: any WeightFile
    /// The settings of the language model, where it brings them.
    private let own: JSON?
    /// What stands before the names of the language model, the picture's tower and the layers between them.
    private let language, vision, projector: String?

    /// Takes the file of the language model, and that of the picture's tower where it is another.
    ///
    /// `settings` are those that the language model brings.
    package init(_ file: any WeightFile, settings: JSON? = nil, tower other: (any WeightFile)? = nil) {
        (self.file, own) = (file, settings)
        tower = other ?? file
        language = HunyuanTextFile.start(of: "layers.0.mlp.gate_proj.weight", in: file)
        vision = HunyuanTextFile.start(of: "embeddings.patch_embedding.weight", in: tower)
        projector = HunyuanTextFile.start(of: "linear_1.weight", in: tower, within: "multi_modal_projector.")
    }

    private static func start(of mark: String, in file: any WeightFile, within place: String = "") -> String? {
        file.keys.first { $0.hasSuffix(place + mark) }.map { String($0.dropLast(mark.count)) }
    }

    /// Whether a file holds a LLaMA.
    package static func isThere(in file: any WeightFile) -> Bool {
        HunyuanTextFile(file).language != nil || LLaMAGGUF.isThere(in: file)
    }

    /// Whether a file holds the picture's tower of LLaVA, and what turns its tokens into those of the language model.
    package static func isTower(_ file: any WeightFile) -> Bool { HunyuanTextFile(file).seesPictures }

    /// Whether pictures can be seen.
    package var seesPictures: Bool { vision != nil && projector != nil }

    /// The weights under the names that transformers gives them.
    ///
    /// Throws `.badData` for a file that does not hold what is needed.
    package func weights(withPicture: Bool) throws(Fault) -> any WeightFile {
        let language = try require(language, "no LLaMA")
        let words = try renamed(file, [(language, withPicture ? "language_model.model." : "")])
        if !withPicture { return words }
        let parts = [
            (try require(vision, "no part that sees pictures"), "vision_tower.vision_model."),
            (try require(projector, "no multi_modal_projector"), "multi_modal_projector."),
        ]
        return JoinedWeights(words, try renamed(tower, parts))
    }

    private func require(_ start: String?, _ what: String) throws(Fault) -> String {
        if let start { return start }
        throw Fault(
            .badData, "the file holds \(what)", at: file.path,
            hint: "for pictures it takes LLaVA, or its tower apart with --image-encoder")
    }

    /// The tensors below some prefixes, below others.
    private func renamed(
        _ file: any WeightFile, _ prefixes: [(from: String, to: String)]
    ) throws(Fault) -> RenamedWeights {
        let list = file.keys.compactMap { key -> (key: String, place: RenamedWeights.Place)? in
            guard let known = prefixes.first(where: { key.hasPrefix($0.from) }) else { return nil }
            let name = key.dropFirst(known.from.count)
            // Without a prefix everything is below it: what else LLaVA has is another part's.
            let isOther = known.from.isEmpty && (name.hasPrefix("lm_head.") || name.contains("vision_"))
            return isOther ? nil : (known.to + name, RenamedWeights.Place(key))
        }
        return try RenamedWeights(file, list) { _ in true }
    }

    // MARK: Settings

    /// The settings as transformers writes them, told from the tensors, and the numbers of the published models.
    ///
    /// Throws `.badData` where the heads are not those of the published models: the weights do not tell them.
    package func settings(withPicture: Bool) throws(Fault) -> JSON {
        let text: JSON = if let own { own } else { try languageSettings() }
        guard withPicture else { return text }
        return .object([
            .init("model_type", "llava"), .init("text_config", text), .init("vision_config", try visionSettings()),
            .init("image_token_index", .int(128_257)), .init("projector_hidden_act", "gelu"),
        ])
    }

    private func languageSettings() throws(Fault) -> JSON {
        let start = try require(language, "no LLaMA")
        let head = 128
        let width = try file.size(1, of: start + "embed_tokens.weight", rank: 2)
        let queries = try file.size(0, of: start + "layers.0.self_attn.q_proj.weight", rank: 2)
        let keys = try file.size(0, of: start + "layers.0.self_attn.k_proj.weight", rank: 2)
        guard queries.isMultiple(of: head), keys.isMultiple(of: head) else {
            throw HunyuanTextFile.unknownHeads(file, "text_encoder")
        }
        return .object([
            .init("model_type", "llama"), .init("hidden_size", .int(width)),
            .init("intermediate_size", .int(try file.size(0, of: start + "layers.0.mlp.gate_proj.weight", rank: 2))),
            .init("num_hidden_layers", .int(try file.count(of: start + "layers"))),
            .init("num_attention_heads", .int(queries / head)), .init("num_key_value_heads", .int(keys / head)),
            .init("head_dim", .int(head)),
            .init("vocab_size", .int(try file.size(0, of: start + "embed_tokens.weight", rank: 2))),
            .init("rms_norm_eps", .double(1e-5)), .init("rope_theta", .double(500_000)),
        ])
    }

    private func visionSettings() throws(Fault) -> JSON {
        let start = try require(vision, "no part that sees pictures")
        let head = 64
        let width = try tower.size(0, of: start + "embeddings.patch_embedding.weight", rank: 4)
        guard width.isMultiple(of: head) else { throw HunyuanTextFile.unknownHeads(tower, "text_encoder") }
        let inner = try tower.size(0, of: start + "encoder.layers.0.mlp.fc1.weight", rank: 2)
        return .object([
            .init("model_type", "clip_vision_model"), .init("hidden_size", .int(width)),
            .init("intermediate_size", .int(inner)),
            .init("num_hidden_layers", .int(try tower.count(of: start + "encoder.layers"))),
            .init("num_attention_heads", .int(width / head)), .init("image_size", .int(try imageSize())),
            .init("patch_size", .int(try tower.size(2, of: start + "embeddings.patch_embedding.weight", rank: 4))),
            .init("hidden_act", "quick_gelu"),
        ])
    }

    /// The side of the square that the tower sees.
    private func imageSize() throws(Fault) -> Int {
        let start = try require(vision, "no part that sees pictures")
        let patch = try tower.size(2, of: start + "embeddings.patch_embedding.weight", rank: 4)
        let places = try tower.size(0, of: start + "embeddings.position_embedding.weight", rank: 2)
        return Int(Double(places - 1).squareRoot()) * patch
    }

    /// The picture's preprocessing, which is CLIP's.
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

    static func unknownHeads(_ file: any WeightFile, _ folder: String) -> Fault {
        Fault(
            .badData, "the weights do not tell how many heads this encoder has", at: file.path,
            hint: "put its config.json beside it, or into the folder '\(folder)' of the model")
    }
}

/// The weights of CLIP's text tower, alone or within a whole CLIP; below any prefix.
package struct HunyuanCLIPFile: Sendable {
    private let file: any WeightFile
    private let prefix: String

    /// The tower in a file; nil where there is none.
    package init?(_ file: any WeightFile) {
        let mark = "text_model.embeddings.token_embedding.weight"
        guard let key = file.keys.first(where: { $0.hasSuffix(mark) }) else { return nil }
        self.file = file
        prefix = String(key.dropLast(mark.count))
    }

    /// The weights under the names that transformers gives them.
    package func weights() throws(Fault) -> any WeightFile {
        let list = file.keys.filter { $0.hasPrefix(prefix + "text_model.") }.map {
            (key: String($0.dropFirst(prefix.count)), place: RenamedWeights.Place($0))
        }
        return try RenamedWeights(file, list) { _ in true }
    }

    /// The settings as transformers writes them, told from the tensors, and the numbers of the published model.
    ///
    /// Throws `.badData` where the heads are not those of the published model: the weights do not tell them.
    package func settings() throws(Fault) -> JSON {
        let start = prefix + "text_model."
        let head = 64
        let width = try file.size(1, of: start + "embeddings.token_embedding.weight", rank: 2)
        guard width.isMultiple(of: head) else { throw HunyuanTextFile.unknownHeads(file, "text_encoder_2") }
        return .object([
            .init("model_type", "clip_text_model"), .init("hidden_size", .int(width)),
            .init("intermediate_size", .int(try file.size(0, of: start + "encoder.layers.0.mlp.fc1.weight", rank: 2))),
            .init("num_hidden_layers", .int(try file.count(of: start + "encoder.layers"))),
            .init("num_attention_heads", .int(width / head)),
            .init("vocab_size", .int(try file.size(0, of: start + "embeddings.token_embedding.weight", rank: 2))),
            .init(
                "max_position_embeddings",
                .int(try file.size(0, of: start + "embeddings.position_embedding.weight", rank: 2))),
            .init("hidden_act", "quick_gelu"), .init("layer_norm_eps", .double(1e-5)), .init("eos_token_id", 2),
        ])
    }
}
