import RuyiEncoders
import RuyiFault
import RuyiFiles

/// The weights of the language model, alone or within LLaVA, whose tower may lie in a file of its own; below any prefix.
package struct HunyuanTextFile: Sendable {
    private let file: any WeightFile
    private let tower: any WeightFile
    /// The settings of the language model, where it brings them.
    private let own: JSON?
    /// What sees the picture.
    private let vision: CLIPVisionFile?
    /// What stands before the names of the language model, and of the layers behind what sees the picture.
    private let language, projector: String?

    /// Takes the file of the language model, and that of the picture's tower where it is another.
    ///
    /// `settings` are those that the language model brings.
    private init(_ file: any WeightFile, settings: JSON? = nil, tower other: (any WeightFile)? = nil) {
        (self.file, own) = (file, settings)
        tower = other ?? file
        language = HunyuanTextFile.start(of: "layers.0.mlp.gate_proj.weight", in: file)
        vision = CLIPVisionFile(tower)
        projector = HunyuanTextFile.start(of: "linear_1.weight", in: tower, within: "multi_modal_projector.")
    }

    /// Takes the file of the language model, whoever wrote it, and that of the picture's tower where it is another.
    ///
    /// A file of llama.cpp brings its settings. `turned` is for its heads in the order that transformers has them in.
    /// Throws `.badData` for another kind of model in such a file.
    package init(reading file: any WeightFile, tower other: (any WeightFile)?, turned: Bool = false) throws(Fault) {
        guard let gguf = file as? GGUFFile else {
            self.init(file, tower: other)
            return
        }
        let language = try LLaMAGGUF(gguf)
        let (settings, weights) = try turned ? language.rearranged : (language.settings.json, language.weights)
        self.init(weights, settings: settings, tower: other ?? gguf)
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
            (try require(vision, "no part that sees pictures").start, "vision_tower.vision_model."),
            (try require(projector, "no multi_modal_projector"), "multi_modal_projector."),
        ]
        return JoinedWeights(words, try renamed(tower, parts))
    }

    private func require<Part>(_ part: Part?, _ what: String) throws(Fault) -> Part {
        if let part { return part }
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
            .init("model_type", "llava"), .init("text_config", text),
            .init(
                "vision_config", try require(vision, "no part that sees pictures").settings(folder: "text_encoder")),
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
            throw file.unknownHeads(folder: "text_encoder")
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

    /// The picture's preprocessing, which is CLIP's.
    package func processorSettings() throws(Fault) -> JSON {
        try require(vision, "no part that sees pictures").processorSettings()
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

    /// The weights of a file that may hold a whole CLIP, without what is no text tower.
    package static func textTower(_ file: any WeightFile) throws(Fault) -> any WeightFile {
        try HunyuanCLIPFile(file)?.weights() ?? file
    }

    /// The settings as transformers writes them, told from the tensors, and the numbers of the published model.
    ///
    /// Throws `.badData` where the heads are not those of the published model: the weights do not tell them.
    package func settings() throws(Fault) -> JSON {
        let start = prefix + "text_model."
        let head = 64
        let width = try file.size(1, of: start + "embeddings.token_embedding.weight", rank: 2)
        guard width.isMultiple(of: head) else { throw file.unknownHeads(folder: "text_encoder_2") }
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
