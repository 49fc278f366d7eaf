import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels

/// The transformer's sizes, from its `config.json` (specification section 3.1).
package struct FramePackTransformerConfiguration: Sendable, Equatable {
    /// The latents' channels.
    let channels: Int
    let headCount: Int
    let headSize: Int
    /// Blocks in which the packed sequence, and picture and text, have weights of their own.
    let dualLayers: LayerCount
    /// Blocks in which they share them.
    let singleLayers: LayerCount
    let refinerLayers: LayerCount
    let innerWidth: Int
    let textWidth: Int
    let pooledWidth: Int
    /// The width of what sees the start picture.
    let pictureWidth: Int
    package let rotaryBase: Float
    /// The parts of a head that are rotated by frame, row and column.
    package let rotaryAxes: [Int]

    var hiddenSize: Int { headCount * headSize }
    /// The sizes of its blocks.
    var sizes: StreamSizes { StreamSizes(heads: headCount, headSize: headSize, innerWidth: innerWidth) }

    package init(_ file: JSONObject) throws(Fault) {
        channels = try file.positive("in_channels", default: 16)
        headCount = try file.positive("num_attention_heads", default: 24)
        headSize = try file.positive("attention_head_dim", default: 128)
        dualLayers = try LayerCount(file, "num_layers", default: 20)
        singleLayers = try LayerCount(file, "num_single_layers", default: 40)
        refinerLayers = try LayerCount(file, "num_refiner_layers", default: 2)
        textWidth = try file.positive("text_embed_dim", default: 4096)
        pooledWidth = try file.positive("pooled_projection_dim", default: 768)
        pictureWidth = try file.positive("image_proj_dim", default: 1152)
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
        for (key, value) in [("patch_size", 2), ("patch_size_t", 1), ("out_channels", channels)] {
            guard try file.int(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
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
    let text: HunyuanTextConfiguration
    let vision: SigLIPVision.Configuration
    let processor: SigLIPImageProcessor

    init(_ checkpoint: FramePackCheckpoint) throws(Fault) {
        variant = checkpoint.variant
        transformer = try FramePackTransformerConfiguration(checkpoint.settings(.transformer))
        vae = try HunyuanVAEConfiguration(checkpoint.settings(.vae))
        text = try HunyuanTextConfiguration(text: checkpoint.settings(.text), clip: checkpoint.settings(.clip)) {
            () throws(Fault) in throw Fault(.badData, "the text encoder sees pictures", at: checkpoint.path(.text))
        }
        vision = try SigLIPVision.Configuration(checkpoint.settings(.vision))
        processor = try SigLIPImageProcessor(checkpoint.settings(.processor))
        let place = checkpoint.path(.transformer)
        func require(_ condition: Bool, _ what: String) throws(Fault) {
            if !condition { throw Fault(.badData, what, at: place) }
        }
        try text.check(at: place)
        try require(
            transformer.channels == vae.latentChannels,
            "the transformer has \(transformer.channels) channels, and the VAE \(vae.latentChannels)")
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
