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
@dynamicMemberLookup
package struct HunyuanTransformerConfiguration: Sendable, Equatable {
    /// What it shares with other transformers of such blocks.
    let stream: StreamConfiguration
    let inChannels: Int
    let outChannels: Int
    /// Whether the model is told the guidance scale that it was distilled for.
    let embedsGuidance: Bool
    let conditioning: HunyuanConditioning?

    /// A size of the blocks.
    package subscript<Value>(dynamicMember path: KeyPath<StreamConfiguration, Value>) -> Value {
        stream[keyPath: path]
    }

    package init(_ file: JSONObject) throws(Fault) {
        stream = try StreamConfiguration(file)
        inChannels = try file.positive("in_channels", default: 16)
        outChannels = try file.positive("out_channels", default: 16)
        embedsGuidance = try file.bool("guidance_embeds", default: true)
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
    /// The encoders of prompts; nil where conditions are given.
    let text: HunyuanTextConfiguration?
    /// `shift` of the scheduler.
    let shift: Double

    /// Whether the checkpoint animates a picture.
    var takesPicture: Bool { transformer.conditioning != nil }

    init(_ folder: ModelFolder) throws(Fault) {
        let checkpoint = try HunyuanCheckpoint(folder)
        transformer = try HunyuanTransformerConfiguration(checkpoint.settings(.transformer))
        vae = try HunyuanVAEConfiguration(checkpoint.settings(.vae))
        text =
            folder.needsEncoders
            ? try HunyuanTextConfiguration(text: checkpoint.settings(.text), clip: checkpoint.settings(.clip)) {
                () throws(Fault) in try checkpoint.settings(.processor)
            } : nil
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
            transformer.outChannels == vae.latentChannels,
            "the transformer makes \(transformer.outChannels) channels, the VAE has \(vae.latentChannels)")
        guard let text else { return }
        try require(
            transformer.textWidth == text.language.hiddenSize,
            "the transformer takes text of width \(transformer.textWidth), the encoder gives \(text.language.hiddenSize)"
        )
        try require(
            transformer.pooledWidth == text.clip.hiddenSize,
            "the transformer takes pooled text of width \(transformer.pooledWidth), CLIP gives \(text.clip.hiddenSize)")
        try require(
            (text.picture != nil) == takesPicture,
            "the transformer's image_condition_type and the text encoder do not fit together")
        try text.check(at: folder.path)
    }
}
