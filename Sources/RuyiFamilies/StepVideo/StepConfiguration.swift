import RuyiEncoders
import RuyiFault
import RuyiFiles

/// What a checkpoint makes videos of, which its tensors tell (specification section 18.3).
public enum StepKind: String, Sendable, CaseIterable {
    /// A picture and a text.
    case i2v
    /// A text alone.
    case t2v
}

/// The transformer's sizes, from its `config.json` and its tensors (specification sections 2 and 6).
package struct StepTransformerConfiguration: Sendable, Equatable {
    package let kind: StepKind
    package let headCount: Int
    package let headSize: Int
    package let layers: LayerCount
    /// The latents' channels, without those of a picture beside them.
    package let channels: Int
    /// The widths of what the language model and BERT make of a text.
    package let textWidths: (language: Int, bert: Int)

    /// The width of the tokens.
    package var width: Int { headCount * headSize }
    /// The width inside the feed-forward layers.
    package var innerWidth: Int { 4 * width }
    /// Channels of what is denoised with what stands beside it.
    package var inChannels: Int { kind == .i2v ? 2 * channels : channels }
    /// The parts of a head that are rotated by frame, row and column.
    package var rotaryAxes: [Int] { [headSize / 2, headSize / 4, headSize / 4] }

    /// Reads the file; throws `.badData` that names the wrong key.
    package init(_ file: JSONObject, kind: StepKind) throws(Fault) {
        self.kind = kind
        headCount = try file.positive("num_attention_heads", default: 48)
        headSize = try file.positive("attention_head_dim", default: 128)
        layers = try LayerCount(file, "num_layers", default: 48)
        channels = try file.positive("in_channels", default: 64)
        let widths = try file.ints("caption_channels", default: [6144, 1024])
        guard widths.count == 2, widths.allSatisfy({ (1...1 << 16).contains($0) }) else {
            throw file.fault("caption_channels", expected: "the widths of two text encoders")
        }
        textWidths = (widths[0], widths[1])
        guard headCount <= 1 << 12, headSize <= 1 << 12, headSize % 8 == 0 else {
            throw file.fault("attention_head_dim", expected: "a multiple of 8, of at most 4096 heads of at most 4096")
        }
        guard channels <= 1 << 10 else { throw file.fault("in_channels", expected: "latents of at most 1024 channels") }
        guard try file.int("out_channels", default: channels) == channels else {
            throw file.fault("out_channels", expected: "in_channels \(channels)")
        }
        guard try file.int("patch_size", default: 1) == 1 else { throw file.fault("patch_size", expected: "1") }
        guard try file.string("norm_type", default: "ada_norm_single") == "ada_norm_single" else {
            throw file.fault("norm_type", expected: "ada_norm_single")
        }
        guard try file.bool("norm_elementwise_affine", default: false) == false else {
            throw file.fault("norm_elementwise_affine", expected: "false")
        }
        guard try file.bool("use_additional_conditions", default: kind == .i2v) == (kind == .i2v) else {
            throw file.fault(
                "use_additional_conditions",
                expected: kind == .i2v ? "true, as the weights are" : "false, as the weights are")
        }
    }

    package static func == (a: Self, b: Self) -> Bool {
        (a.kind, a.headCount, a.headSize, a.layers, a.channels) == (
            b.kind, b.headCount, b.headSize, b.layers, b.channels
        )
            && a.textWidths == b.textWidths
    }
}

/// The sizes of all parts of a checkpoint.
struct StepConfiguration: Sendable {
    let transformer: StepTransformerConfiguration
    let vae: StepVAEConfiguration
    /// The text encoders; nil where conditions are given.
    let text: StepTextConfiguration?
    /// Whether the scheduler's axis leads from data to noise.
    let isReversed: Bool

    init(_ checkpoint: StepCheckpoint) throws(Fault) {
        transformer = try StepTransformerConfiguration(checkpoint.settings(.transformer), kind: checkpoint.kind())
        let stored = try checkpoint.weights(.vae)
        // Texts alone do without it, but for previews.
        let hasEncoder = transformer.kind == .i2v || stored.shape(of: "encoder.conv_in.conv.weight") != nil
        vae = try StepVAEConfiguration(stored, hasEncoder: hasEncoder)
        text = checkpoint.folder.needsEncoders ? try StepTextConfiguration(checkpoint) : nil
        if let scheduler = try checkpoint.scheduler() {
            isReversed = try scheduler.bool("reverse", default: false)
            guard try scheduler.string("solver", default: "euler") == "euler" else {
                throw scheduler.fault("solver", expected: "euler")
            }
        } else {
            isReversed = false
        }
        let (transformer, vae, folder) = (transformer, vae, checkpoint.folder)
        func require(_ condition: Bool, _ what: String) throws(Fault) {
            if !condition { throw Fault(.badData, what, at: folder.path) }
        }
        try require(
            transformer.channels == vae.latentChannels,
            "the transformer has \(transformer.channels) channels, and the VAE \(vae.latentChannels)")
        guard let text else { return }
        let (widths, language, bert) = (transformer.textWidths, text.language.hiddenSize, text.bert.hiddenSize)
        try require(
            widths.language == language,
            "the transformer takes text of width \(widths.language), and step_llm gives \(language)")
        try require(
            widths.bert == bert, "the transformer takes text of width \(widths.bert), and BERT gives \(bert)")
    }

    /// The shape of a clip's latents.
    func latentShape(_ plan: Plan) -> [Int] {
        [
            1, vae.latentChannels, StepVAEConfiguration.latentLength(of: plan.frames),
            plan.height / StepVAEConfiguration.space, plan.width / StepVAEConfiguration.space,
        ]
    }
}

/// The sizes of the text encoders.
struct StepTextConfiguration: Sendable {
    let language: StepLLM.Configuration
    let bert: BERT.Configuration

    init(_ checkpoint: StepCheckpoint) throws(Fault) {
        language = try StepLLM.Configuration(checkpoint.settings(.language))
        bert = try BERT.Configuration(checkpoint.settings(.bert))
    }
}
