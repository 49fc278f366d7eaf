import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels

/// A checkpoint's files, whether they lie in the layout of diffusers or in that of the original repository, and some of
/// them elsewhere.
package struct HunyuanCheckpoint: Sendable {
    /// The parts, named after their folders in the layout of diffusers.
    package enum Part: String, Sendable {
        case transformer, vae, scheduler, tokenizer
        case text = "text_encoder"
        case clip = "text_encoder_2"
        case vision = "image_encoder"
        case clipTokenizer = "tokenizer_2"
        case processor = "image_processor"

        /// The name of the part's settings.
        var settings: String {
            switch self {
            case .scheduler: "scheduler_config.json"
            case .processor: "preprocessor_config.json"
            default: "config.json"
            }
        }
    }

    /// The layout of the original repository, if it is that.
    let original: HunyuanOriginal?
    /// The folder as it was given, with the parts that lie elsewhere.
    private let folder: ModelFolder

    /// Looks which layout a folder has.
    ///
    /// Throws `.usage` for a folder with several models of the original layout.
    package init(_ folder: ModelFolder) throws(Fault) {
        self.folder = folder
        original = try HunyuanOriginal(folder)
    }

    /// The settings of a part; those that have no file are told from the weights.
    package func settings(_ part: Part) throws(Fault) -> JSONObject {
        if part == .text, try language() != nil { return try toldSettings(part) }
        if isPlaced(part), try !folder.has(part.rawValue + "/" + part.settings) { return try toldSettings(part) }
        if !isPlaced(part), let settings = try original?.settings(part) { return settings }
        return try base(part).json(place(part) + "/" + part.settings)
    }

    /// The weights of a part, under the names that diffusers and transformers give them.
    package func weights(_ part: Part) throws(Fault) -> any WeightFile {
        if let original, !isPlaced(part) {
            if part == .transformer { return try original.transformer() }
            if part == .vae { return try original.vae() }
        }
        switch part {
        case .transformer:
            let file = try stored(part)
            return try HunyuanTransformerFile(file)?.weights() ?? file
        case .vae: return try HunyuanVAEFile(stored(part)).weights()
        case .text:
            let brings = try language() != nil
            guard brings || isPlaced(part) || isPlaced(.vision) else { return try stored(part) }
            return try textFile().weights(withPicture: takesPicture())
        case .clip where isPlaced(part):
            let file = try stored(part)
            return try HunyuanCLIPFile(file)?.weights() ?? file
        default: return try stored(part)
        }
    }

    /// The weights of a part as they are stored.
    private func stored(_ part: Part) throws(Fault) -> any WeightFile {
        let stems = [.transformer, .vae].contains(part) ? ["diffusion_pytorch_model"] : ["model", "pytorch_model"]
        return try base(part).weights(place(part), stems: stems)
    }

    /// Whether a part lies in a GGUF file.
    var hasGGUF: Bool {
        get throws(Fault) {
            for part in [Part.transformer, .vae, .text, .clip] {
                if try names(part).contains(where: { $0.hasSuffix(".gguf") }) { return true }
            }
            return false
        }
    }

    /// The language model of a GGUF file, which brings its own settings; nil where there is no such file.
    func language() throws(Fault) -> LLaMAGGUF? {
        let isNamed = try names(.text).contains { $0.hasSuffix(".gguf") }
        guard isNamed || isPlaced(.text), let file = try stored(.text) as? GGUFFile else { return nil }
        return try LLaMAGGUF(file)
    }

    /// A file of a part.
    ///
    /// Throws as `ModelFolder.file` does.
    func file(_ part: Part, _ name: String) throws(Fault) -> String { try base(part).file(place(part) + "/" + name) }

    /// A file of a part in JSON.
    func json(_ part: Part, _ name: String, values: Int = JSON.valueLimit) throws(Fault) -> JSONObject {
        try base(part).json(place(part) + "/" + name, values: values)
    }

    /// The files of a part by their names.
    func names(_ part: Part) throws(Fault) -> [String] { try base(part).names(in: place(part)) }

    /// Where a part lies, for messages.
    func path(_ part: Part) -> String { base(part).path + "/" + place(part) }

    /// Whether a part lies elsewhere than in the folder's layout.
    private func isPlaced(_ part: Part) -> Bool {
        switch part {
        case .scheduler, .tokenizer, .clipTokenizer, .processor: folder.isAssembled && original == nil
        default: folder.isPlaced(part.rawValue)
        }
    }

    private func place(_ part: Part) -> String {
        isPlaced(part) ? part.rawValue : original?.place(part) ?? part.rawValue
    }

    /// The folder that a part's folder is in.
    private func base(_ part: Part) -> ModelFolder { isPlaced(part) ? folder : original?.base ?? folder }

    // MARK: Settings that have no file

    /// Whether the settings of a part are told from the weights where they have no file.
    func tellsSettings(_ part: Part) -> Bool { isPlaced(part) }

    private func toldSettings(_ part: Part) throws(Fault) -> JSONObject {
        switch part {
        case .transformer:
            let file = try stored(part)
            let transformer = HunyuanTransformerFile(original: file)
            return try JSONObject(transformer.settings(takesPicture: isForPictures(file.path)), file: file.path)
        case .vae:
            let file = try stored(part)
            return try JSONObject(HunyuanVAEFile(file).settings(), file: file.path)
        case .text:
            let path = try stored(part).path
            return try JSONObject(textFile().settings(withPicture: takesPicture()), file: path)
        case .clip:
            let file = try stored(part)
            guard let tower = HunyuanCLIPFile(file) else {
                throw Fault(.badData, "the file holds no text tower of CLIP", at: file.path)
            }
            return try JSONObject(tower.settings(), file: file.path)
        case .processor: return try JSONObject(textFile().processorSettings(), file: folder.path)
        default: return try JSONObject(HunyuanSettingsTable.scheduler, file: folder.path)
        }
    }

    /// The language model, with the part that sees pictures where that lies apart.
    ///
    /// `turned` is for one of a GGUF file, whose heads are then as transformers has them.
    func textFile(turned: Bool = false) throws(Fault) -> HunyuanTextFile {
        try HunyuanTextFile(
            reading: stored(.text), tower: isPlaced(.vision) ? stored(.vision) : nil, turned: turned)
    }

    private func takesPicture() throws(Fault) -> Bool { try settings(.transformer).has("image_condition_type") }

    /// Whether a transformer animates a picture, which only its file's name tells.
    private func isForPictures(_ path: String) -> Bool {
        let name = path.split(separator: "/").last?.lowercased() ?? ""
        return ["i2v", "image_to_video", "image-to-video"].contains(where: name.contains)
    }
}
