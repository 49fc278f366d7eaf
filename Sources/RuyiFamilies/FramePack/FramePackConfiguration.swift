import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels

/// The transformer's sizes, from its `config.json` (specification section 3.1).
@dynamicMemberLookup
package struct FramePackTransformerConfiguration: Sendable, Equatable {
    /// What it shares with other transformers of such blocks.
    let stream: StreamConfiguration
    /// The latents' channels.
    let channels: Int
    /// The width of what sees the start picture.
    let pictureWidth: Int

    /// A size of the blocks.
    package subscript<Value>(dynamicMember path: KeyPath<StreamConfiguration, Value>) -> Value {
        stream[keyPath: path]
    }

    package init(_ file: JSONObject) throws(Fault) {
        stream = try StreamConfiguration(file)
        channels = try file.positive("in_channels", default: 16)
        pictureWidth = try file.positive("image_proj_dim", default: 1152)
        guard try file.int("out_channels", default: channels) == channels else {
            throw file.fault("out_channels", expected: "\(channels)")
        }
        for key in ["has_image_proj", "has_clean_x_embedder"] {
            guard try file.bool(key, default: true) else { throw file.fault(key, expected: "true") }
        }
    }
}

/// The sizes of all parts of a checkpoint.
struct FramePackConfiguration: Sendable {
    let variant: FramePackVariant?
    let transformer: FramePackTransformerConfiguration
    let vae: HunyuanVAEConfiguration
    /// The encoders; nil where conditions are given.
    let encoders: Encoders?

    /// The sizes of what reads prompts and sees pictures.
    struct Encoders: Sendable {
        let text: HunyuanTextConfiguration
        let vision: SigLIPVision.Configuration
        let processor: SigLIPImageProcessor
    }

    init(_ checkpoint: FramePackCheckpoint) throws(Fault) {
        variant = checkpoint.variant
        transformer = try FramePackTransformerConfiguration(checkpoint.settings(.transformer))
        vae = try HunyuanVAEConfiguration(checkpoint.settings(.vae))
        let place = checkpoint.path(.transformer)
        func require(_ condition: Bool, _ what: String) throws(Fault) {
            if !condition { throw Fault(.badData, what, at: place) }
        }
        try require(
            transformer.channels == vae.latentChannels,
            "the transformer has \(transformer.channels) channels, and the VAE \(vae.latentChannels)")
        guard checkpoint.needsEncoders else {
            encoders = nil
            return
        }
        let text = try HunyuanTextConfiguration(text: checkpoint.settings(.text), clip: checkpoint.settings(.clip)) {
            () throws(Fault) in throw Fault(.badData, "the text encoder sees pictures", at: checkpoint.path(.text))
        }
        let vision = try SigLIPVision.Configuration(checkpoint.settings(.vision))
        let processor = try SigLIPImageProcessor(checkpoint.settings(.processor))
        encoders = Encoders(text: text, vision: vision, processor: processor)
        try text.check(at: place)
        try require(
            transformer.textWidth == text.language.hiddenSize && transformer.pooledWidth == text.clip.hiddenSize,
            "text_embed_dim and pooled_projection_dim are not the widths of the text encoders")
        try require(
            transformer.pictureWidth == vision.hiddenSize, "image_proj_dim is not the width of the image encoder")
        try require(
            processor.side == vision.imageSize,
            "the image encoder sees \(vision.imageSize) pixels, and its preprocessing makes \(processor.side)")
    }

    /// The shape of a section's latents.
    func sectionShape(_ plan: Plan) -> [Int] {
        let space = HunyuanVAEConfiguration.space
        return [
            1, vae.latentChannels, FramePackSettings(plan).window, plan.height / space, plan.width / space,
        ]
    }
}
