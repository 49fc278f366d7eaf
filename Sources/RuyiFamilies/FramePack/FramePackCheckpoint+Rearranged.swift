import RuyiFault
import RuyiFiles
import RuyiModels

extension FramePackCheckpoint {
    /// The checkpoint in one folder in the layout of diffusers; what the names told of its variant is then in its own file
    /// of settings.
    ///
    /// Throws `.badData` for weights and settings that are not those of the model.
    func rearranged() throws(Fault) -> RearrangedCheckpoint {
        var result = RearrangedCheckpoint()
        func write(_ name: String, _ json: JSON) { result.texts.append((name, json.text(pretty: true) + "\n")) }
        let language = try turnedLanguage()
        for part in [Part.transformer, .vae, .text, .clip, .vision] {
            let (weights, settings) =
                if part == .text, let language {
                    (try language.weights(withPicture: false), try language.settings(withPicture: false))
                } else {
                    (try weights(part), try settings(part).json)
                }
            result.weights.append((part.rawValue + "/" + part.stems[0], weights))
            write(part.rawValue + "/config.json", settings)
        }
        write(Part.processor.rawValue + "/preprocessor_config.json", try settings(.processor).json)
        if let variant { write("ruyi.json", .object([.init("variant", .string(variant.rawValue))])) }
        for part in [Part.tokenizer, .clipTokenizer] {
            let wanted = [
                "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
            ]
            let present = try names(part)
            for name in wanted where present.contains(name) {
                result.copies.append((part.rawValue + "/" + name, try file(part, name)))
            }
        }
        return result
    }
}
