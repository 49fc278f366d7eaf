import RuyiEncoders
import RuyiFault
import RuyiFiles

/// A checkpoint's files, whether they lie in the layout of diffusers or in that of the original repository.
package struct HunyuanCheckpoint: Sendable {
    /// The parts, named after their folders in the layout of diffusers.
    package enum Part: String, Sendable {
        case transformer, vae, scheduler, tokenizer
        case text = "text_encoder"
        case clip = "text_encoder_2"
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
    /// The folder that the parts' folders are in.
    private let base: ModelFolder

    /// Looks which layout a folder has.
    ///
    /// Throws `.usage` for a folder with several models of the original layout.
    package init(_ folder: ModelFolder) throws(Fault) {
        original = try HunyuanOriginal(folder)
        base = original?.base ?? folder
    }

    /// The settings of a part.
    package func settings(_ part: Part) throws(Fault) -> JSONObject {
        if part == .text, let language = try language() { return language.settings }
        if let settings = try original?.settings(part) { return settings }
        return try base.json(place(part) + "/" + part.settings)
    }

    /// The weights of a part, under the names that diffusers gives them.
    package func weights(_ part: Part) throws(Fault) -> any WeightFile {
        if let original, part == .transformer { return try original.transformer() }
        if let original, part == .vae { return try original.vae() }
        if part == .text, let language = try language() { return language.weights }
        let names = try base.names(in: place(part))
        switch part {
        case .transformer, .vae: return try base.weights(place(part), stem: "diffusion_pytorch_model")
        default:
            let isTorch = names.contains("pytorch_model.bin") && !names.contains { $0.hasPrefix("model.safetensors") }
            return try base.weights(place(part), stem: isTorch ? "pytorch_model" : "model")
        }
    }

    /// Whether a part lies in a GGUF file.
    var hasBlocks: Bool {
        get throws(Fault) {
            for part in [Part.transformer, .vae, .text, .clip] {
                if try names(part).contains(where: { $0.hasSuffix(".gguf") }) { return true }
            }
            return false
        }
    }

    /// The language model of a GGUF file, which brings its own settings; nil where there is no such file.
    func language() throws(Fault) -> LLaMAGGUF? {
        guard try names(.text).contains(where: { $0.hasSuffix(".gguf") }) else { return nil }
        guard let file = try base.weights(place(.text), stem: "model") as? GGUFFile else { return nil }
        return try LLaMAGGUF(file)
    }

    /// A file of a part.
    ///
    /// Throws as `ModelFolder.file` does.
    func file(_ part: Part, _ name: String) throws(Fault) -> String { try base.file(place(part) + "/" + name) }

    /// A file of a part in JSON.
    func json(_ part: Part, _ name: String, values: Int = JSON.valueLimit) throws(Fault) -> JSONObject {
        try base.json(place(part) + "/" + name, values: values)
    }

    /// The files of a part by their names.
    func names(_ part: Part) throws(Fault) -> [String] { try base.names(in: place(part)) }

    /// Where a part lies, for messages.
    func path(_ part: Part) -> String { base.path + "/" + place(part) }

    private func place(_ part: Part) -> String { original?.place(part) ?? part.rawValue }
}
