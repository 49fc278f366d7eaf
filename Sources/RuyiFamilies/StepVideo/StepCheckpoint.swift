import RuyiEncoders
import RuyiFault
import RuyiFiles

/// A checkpoint's folder as it is published (specification section 1).
package struct StepCheckpoint: Sendable {
    /// Its parts, named after their folders.
    package enum Part: String, Sendable {
        case transformer
        case vae
        case language = "step_llm"
        case bert = "hunyuan_clip/clip_text_encoder"
    }

    /// The folder of BERT's tokenizer.
    static let bertTokenizer = "hunyuan_clip/tokenizer"
    /// The model of the language model's tokenizer.
    static let tokenizer = "step_llm/step1_chat_tokenizer.model"

    package let folder: ModelFolder

    package init(_ folder: ModelFolder) { self.folder = folder }

    /// The settings of a part.
    package func settings(_ part: Part) throws(Fault) -> JSONObject { try folder.json(part.rawValue + "/config.json") }

    /// The settings of the step rule, where there are any.
    func scheduler() throws(Fault) -> JSONObject? {
        let name = "scheduler/scheduler_config.json"
        return try folder.has(name) ? folder.json(name) : nil
    }

    /// The weights of a part.
    ///
    /// The VAE's folder may hold an older one beside it.
    package func weights(_ part: Part) throws(Fault) -> any WeightFile {
        switch part {
        case .transformer: try folder.weights(part.rawValue, stem: "diffusion_pytorch_model")
        case .vae: try folder.weights(part.rawValue, stem: "vae_v2")
        case .language: try folder.weights(part.rawValue, stem: "model")
        case .bert: try folder.weights(part.rawValue, stems: ["model", "pytorch_model"])
        }
    }

    /// What the transformer makes videos of, which its first layer's width tells.
    ///
    /// Throws `.badData` for weights of neither kind, and of a kind that is told sizes.
    package func kind() throws(Fault) -> StepKind {
        let (file, object) = (try weights(.transformer), try settings(.transformer))
        let channels = try object.positive("in_channels", default: 64)
        if let key = file.keys.first(where: { $0.hasPrefix("adaln_single.emb.resolution_embedder.") }) {
            throw Fault(
                .badData, "the transformer is told the size of the clip (\(key)), as no published one is",
                at: file.path, hint: "use stepvideo-ti2v or stepvideo-t2v")
        }
        let hasMotion = file.shape(of: "adaln_single.emb.motion_score_embedder.linear_1.weight") != nil
        let name = "pos_embed.proj.weight"
        switch (try file.size(1, of: name, rank: 4), hasMotion) {
        case (2 * channels, true): return .i2v
        case (channels, false): return .t2v
        case (let found, _):
            let expected = hasMotion ? 2 * channels : channels
            throw Fault(
                .badData, "tensor \"\(name)\" takes \(found) channels, expected \(expected)", at: file.path(of: name),
                hint: "the weights and transformer/config.json belong to two models")
        }
    }
}
