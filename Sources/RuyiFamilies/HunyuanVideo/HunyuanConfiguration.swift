import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels

/// How the start picture enters the transformer.
enum HunyuanConditioning: String, Sendable, CaseIterable {
    /// Its latents take the place of the first frame's, which are told that they are clean.
    case tokenReplace = "token_replace"
    /// Its latents and a mask stand beside the noise in more channels.
    case latentConcat = "latent_concat"
}

/// The transformer's sizes, from `transformer/config.json` (specification sections 1.1 and 7).
package struct HunyuanTransformerConfiguration: Sendable, Equatable {
    let inChannels: Int
    let outChannels: Int
    let headCount: Int
    let headSize: Int
    /// Blocks in which video and text have weights of their own.
    let dualLayers: LayerCount
    /// Blocks in which they share them.
    let singleLayers: LayerCount
    let refinerLayers: LayerCount
    let innerWidth: Int
    /// Whether the model is told the guidance scale that it was distilled for.
    let embedsGuidance: Bool
    let textWidth: Int
    let pooledWidth: Int
    package let rotaryBase: Float
    /// The parts of a head that are rotated by frame, row and column.
    package let rotaryAxes: [Int]
    let conditioning: HunyuanConditioning?

    /// Side of a patch in latents.
    static let patch = 2

    var hiddenSize: Int { headCount * headSize }
    /// The sizes of its blocks.
    var sizes: StreamSizes { StreamSizes(heads: headCount, headSize: headSize, innerWidth: innerWidth) }

    package init(_ file: JSONObject) throws(Fault) {
        inChannels = try file.positive("in_channels", default: 16)
        outChannels = try file.positive("out_channels", default: 16)
        headCount = try file.positive("num_attention_heads", default: 24)
        headSize = try file.positive("attention_head_dim", default: 128)
        dualLayers = try LayerCount(file, "num_layers", default: 20)
        singleLayers = try LayerCount(file, "num_single_layers", default: 40)
        refinerLayers = try LayerCount(file, "num_refiner_layers", default: 2)
        embedsGuidance = try file.bool("guidance_embeds", default: true)
        textWidth = try file.positive("text_embed_dim", default: 4096)
        pooledWidth = try file.positive("pooled_projection_dim", default: 768)
        rotaryBase = Float(try file.double("rope_theta", default: 256))
        rotaryAxes = try file.ints("rope_axes_dim", default: [16, 56, 56])
        let ratio = try file.double("mlp_ratio", default: 4)
        guard ratio > 0, ratio < 64, headCount <= 1 << 12, headSize <= 1 << 12 else {
            throw file.fault("mlp_ratio", expected: "a number between 0 and 64")
        }
        innerWidth = Int(Double(headCount * headSize) * ratio)
        let (axes, size) = (rotaryAxes, headSize)
        guard axes.count == 3, axes.allSatisfy({ $0 > 0 && $0 % 2 == 0 && $0 <= size }), axes.reduce(0, +) == size
        else { throw file.fault("rope_axes_dim", expected: "three even numbers with the sum \(headSize)") }
        guard rotaryBase > 0, rotaryBase.isFinite else { throw file.fault("rope_theta", expected: "above 0") }
        guard try file.string("qk_norm", default: "rms_norm") == "rms_norm" else {
            throw file.fault("qk_norm", expected: "rms_norm")
        }
        for (key, value) in [("patch_size", HunyuanTransformerConfiguration.patch), ("patch_size_t", 1)] {
            guard try file.int(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
        }
        let kind = try file.stringIfPresent("image_condition_type")
        conditioning = kind.flatMap(HunyuanConditioning.init)
        if kind != nil, conditioning == nil {
            throw file.fault("image_condition_type", expected: "null, token_replace or latent_concat")
        }
        let expected = conditioning == .latentConcat ? 2 * outChannels + 1 : outChannels
        guard inChannels == expected else { throw file.fault("in_channels", expected: "\(expected)") }
    }
}

/// The sizes of all parts of a checkpoint.
struct HunyuanConfiguration: Sendable {
    let transformer: HunyuanTransformerConfiguration
    let vae: HunyuanVAEConfiguration
    let text: HunyuanTextConfiguration
    /// `shift` of the scheduler.
    let shift: Double

    /// Whether the checkpoint animates a picture.
    var takesPicture: Bool { text.picture != nil }

    init(_ folder: ModelFolder) throws(Fault) {
        let checkpoint = try HunyuanCheckpoint(folder)
        transformer = try HunyuanTransformerConfiguration(checkpoint.settings(.transformer))
        vae = try HunyuanVAEConfiguration(checkpoint.settings(.vae))
        text = try HunyuanTextConfiguration(
            text: checkpoint.settings(.text), clip: checkpoint.settings(.clip)
        ) { () throws(Fault) in try checkpoint.settings(.processor) }
        let scheduler = try checkpoint.settings(.scheduler)
        shift = try scheduler.double("shift", default: 7)
        for key in [
            "use_dynamic_shifting", "invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
        ] {
            if try scheduler.bool(key, default: false) { throw scheduler.fault(key, expected: "false") }
        }
        guard try scheduler.int("num_train_timesteps", default: 1000) == 1000 else {
            throw scheduler.fault("num_train_timesteps", expected: "1000")
        }
        if scheduler.has("shift_terminal") { throw scheduler.fault("shift_terminal", expected: "null") }
        try check(folder)
    }

    /// Looks whether the parts fit together.
    private func check(_ folder: ModelFolder) throws(Fault) {
        func require(_ condition: Bool, _ what: String) throws(Fault) {
            if !condition { throw Fault(.badData, what, at: folder.path) }
        }
        try require(
            transformer.textWidth == text.language.hiddenSize,
            "the transformer takes text of width \(transformer.textWidth), the encoder gives \(text.language.hiddenSize)"
        )
        try require(
            transformer.pooledWidth == text.clip.hiddenSize,
            "the transformer takes pooled text of width \(transformer.pooledWidth), CLIP gives \(text.clip.hiddenSize)")
        try require(
            transformer.outChannels == vae.latentChannels,
            "the transformer makes \(transformer.outChannels) channels, the VAE has \(vae.latentChannels)")
        try require(
            (transformer.conditioning != nil) == takesPicture,
            "the transformer's image_condition_type and the text encoder do not fit together")
        try text.check(at: folder.path)
    }
}
