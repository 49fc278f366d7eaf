import RuyiFault
import RuyiFiles
import RuyiModels

extension HunyuanCheckpoint {
    /// The checkpoint in the layout of diffusers.
    ///
    /// Text encoders that are not there are left out with a warning. Throws `.badData` for weights and settings that are
    /// not those of the model.
    func rearranged() throws(Fault) -> RearrangedCheckpoint {
        var result = RearrangedCheckpoint()
        let transformer = try settings(.transformer)
        let vae = try settings(.vae)
        let takesPicture = try HunyuanTransformerConfiguration(transformer).conditioning != nil
        _ = try HunyuanVAEConfiguration(vae)
        func write(_ name: String, _ json: JSON) { result.texts.append((name, json.text(pretty: true) + "\n")) }
        write("model_index.json", HunyuanCheckpoint.index(takesPicture: takesPicture))
        write("transformer/config.json", transformer.json)
        write("vae/config.json", try HunyuanVAEFile.publishedSettings(vae))
        write("scheduler/scheduler_config.json", try settings(.scheduler).json)
        result.weights.append(("transformer/diffusion_pytorch_model", try weights(.transformer)))
        result.weights.append(("vae/diffusion_pytorch_model", try weights(.vae)))
        let language = try language()
        for part in [Part.text, .clip] {
            if part == .text, language != nil {
                let file = try textFile(turned: true)
                result.weights.append((part.rawValue + "/model", try file.weights(withPicture: takesPicture)))
                write(part.rawValue + "/" + part.settings, try file.settings(withPicture: takesPicture))
                continue
            }
            let hasSettings = try names(part).contains(part.settings)
            guard hasSettings || tellsSettings(part) else {
                result.warnings.append(
                    "\(path(part)) has no \(part.settings): the result has no \(part.rawValue) and cannot render "
                        + "without it")
                continue
            }
            result.weights.append(
                (
                    part.rawValue + "/model",
                    try part == .clip ? HunyuanCLIPFile.textTower(weights(.clip)) : weights(part)
                ))
            let name = part.rawValue + "/" + part.settings
            if hasSettings {
                result.copies.append((name, try file(part, part.settings)))
            } else {
                write(name, try settings(part).json)
            }
        }
        if takesPicture, try !names(.processor).contains(Part.processor.settings), tellsSettings(.processor) {
            write("image_processor/" + Part.processor.settings, try settings(.processor).json)
        }
        let texts: [(Part, [String])] = [
            (.tokenizer, ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]),
            (.clipTokenizer, ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]),
            (.processor, takesPicture ? [Part.processor.settings] : []),
        ]
        for (part, wanted) in texts {
            let present = try names(part)
            for name in wanted where present.contains(name) {
                result.copies.append((part.rawValue + "/" + name, try file(part, name)))
            }
        }
        return result
    }

    private static func index(takesPicture: Bool) -> JSON {
        let parts: [(Part, String, String)] =
            [
                (.scheduler, "diffusers", "FlowMatchEulerDiscreteScheduler"),
                (.text, "transformers", takesPicture ? "LlavaForConditionalGeneration" : "LlamaModel"),
                (.clip, "transformers", "CLIPTextModel"), (.tokenizer, "transformers", "LlamaTokenizerFast"),
                (.clipTokenizer, "transformers", "CLIPTokenizer"),
                (.transformer, "diffusers", "HunyuanVideoTransformer3DModel"),
                (.vae, "diffusers", "AutoencoderKLHunyuanVideo"),
            ] + (takesPicture ? [(.processor, "transformers", "CLIPImageProcessor")] : [])
        let name = takesPicture ? "HunyuanVideoImageToVideoPipeline" : "HunyuanVideoPipeline"
        return .object(
            [.init("_class_name", .string(name))]
                + parts.map { .init($0.rawValue, .array([.string($1), .string($2)])) })
    }
}
