import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels

/// A transformer's sizes, from its `config.json` (specification section 3).
package struct PyramidTransformerConfiguration: Sendable, Equatable {
    /// The two forms of checkpoints.
    package let variant: PyramidVariant
    package let headCount: Int
    package let headSize: Int
    /// Blocks in which video and text have weights of their own.
    package let dualLayers: LayerCount
    /// Blocks in which they share them, of the form that has such.
    package let singleLayers: LayerCount?
    package let textWidth: Int
    package let pooledWidth: Int
    /// The latents' channels.
    package let channels: Int
    /// The parts of a head that are rotated by frame, and by row and column where positions are no table.
    package let rotaryAxes: [Int]
    /// Rows and columns of the table of positions; nil where there is none.
    package let tableSide: Int?

    /// The width of the tokens.
    package var width: Int { headCount * headSize }
    /// The sizes of the blocks.
    package var sizes: StreamSizes {
        StreamSizes(
            heads: headCount, headSize: headSize, innerWidth: 4 * width, headEpsilon: variant == .sd3 ? 1e-5 : 1e-6)
    }

    /// Reads the file; throws `.badData` that names the wrong key.
    package init(_ file: JSONObject) throws(Fault) {
        let name = try file.string("_class_name")
        guard let variant = PyramidVariant.allCases.first(where: { $0.className == name }) else {
            throw file.fault(
                "_class_name", expected: PyramidVariant.allCases.map(\.className).joined(separator: " or "))
        }
        self.variant = variant
        headCount = try file.positive("num_attention_heads", default: variant == .sd3 ? 24 : 30)
        headSize = try file.positive("attention_head_dim", default: 64)
        dualLayers = try LayerCount(file, "num_layers", default: variant == .sd3 ? 24 : 8)
        singleLayers = variant == .sd3 ? nil : try LayerCount(file, "num_single_layers", default: 16)
        textWidth = try file.positive("joint_attention_dim", default: 4096)
        pooledWidth = try file.positive("pooled_projection_dim", default: variant == .sd3 ? 2048 : 768)
        guard headCount <= 1 << 12, headSize <= 1 << 12, headSize % 2 == 0 else {
            throw file.fault("attention_head_dim", expected: "an even number, of at most 4096 heads of at most 4096")
        }
        let patch = StreamConfiguration.patch
        switch variant {
        case .sd3:
            channels = try file.positive("in_channels", default: 16)
            rotaryAxes = [headSize]
            let side = try file.positive("pos_embed_max_size", default: 192)
            guard side <= 1 << 12 else { throw file.fault("pos_embed_max_size", expected: "at most 4096") }
            tableSide = side
            let width = headCount * headSize
            guard try file.int("caption_projection_dim", default: width) == width else {
                throw file.fault("caption_projection_dim", expected: "the width \(width)")
            }
            for (key, value) in [
                ("qk_norm", "rms_norm"), ("pos_embed_type", "sincos"), ("temp_pos_embed_type", "rope"),
            ] {
                guard try file.string(key, default: value) == value else { throw file.fault(key, expected: value) }
            }
            guard try file.int("patch_size", default: patch) == patch else {
                throw file.fault("patch_size", expected: "\(patch)")
            }
        case .miniflux:
            // The patches' numbers; what the file says of patch_size means nothing.
            let inputs = try file.positive("in_channels", default: 64)
            guard inputs % (patch * patch) == 0 else {
                throw file.fault("in_channels", expected: "a multiple of \(patch * patch)")
            }
            channels = inputs / (patch * patch)
            rotaryAxes = try file.ints("axes_dims_rope", default: [16, 24, 24])
            tableSide = nil
            let (axes, size) = (rotaryAxes, headSize)
            guard axes.count == 3, axes.allSatisfy({ $0 > 0 && $0 % 2 == 0 && $0 <= size }), axes.reduce(0, +) == size
            else { throw file.fault("axes_dims_rope", expected: "three even numbers with the sum \(size)") }
        }
        for key in ["use_temporal_causal", "interp_condition_pos", "add_temp_pos_embed"] {
            guard try file.bool(key, default: true) else { throw file.fault(key, expected: "true") }
        }
        guard channels <= 1 << 10 else { throw file.fault("in_channels", expected: "latents of at most 1024 channels") }
    }
}

/// The sizes of all parts of a checkpoint.
struct PyramidConfiguration: Sendable {
    let transformers: [PyramidTransformerKind: PyramidTransformerConfiguration]
    let vae: PyramidVAEConfiguration
    /// The text encoders; nil where conditions are given.
    let text: PyramidTextConfiguration?

    init(_ checkpoint: PyramidCheckpoint) throws(Fault) {
        vae = try PyramidVAEConfiguration(checkpoint.settings(.vae))
        let text = checkpoint.folder.needsEncoders ? try PyramidTextConfiguration(checkpoint) : nil
        self.text = text
        var transformers: [PyramidTransformerKind: PyramidTransformerConfiguration] = [:]
        for kind in checkpoint.kinds {
            let transformer = try checkpoint.transformer(kind)
            func require(_ condition: Bool, _ what: String) throws(Fault) {
                if !condition { throw Fault(.badData, what, at: checkpoint.folder.shown(kind.rawValue)) }
            }
            try require(
                transformer.channels == vae.latentChannels,
                "the transformer has \(transformer.channels) channels, and the VAE \(vae.latentChannels)")
            transformers[kind] = transformer
            guard let text else { continue }
            try require(
                transformer.textWidth == text.language.hiddenSize,
                "joint_attention_dim is not the width of T5, \(text.language.hiddenSize)")
            try require(
                transformer.pooledWidth == text.pooledWidth,
                "pooled_projection_dim is not the width of what CLIP makes of a prompt, \(text.pooledWidth)")
        }
        self.transformers = transformers
    }

    /// The shape of a clip's latents.
    func latentShape(_ plan: Plan) -> [Int] {
        let space = PyramidVAEConfiguration.space
        return [
            1, vae.latentChannels, PyramidVAEConfiguration.latentLength(of: plan.frames), plan.height / space,
            plan.width / space,
        ]
    }
}

/// The sizes of the text encoders.
struct PyramidTextConfiguration: Sendable {
    /// CLIP's towers.
    let towers: [CLIPText.Configuration]
    /// T5.
    let language: T5Encoder.Configuration
    /// Whether the towers' projected states are asked for.
    let isProjected: Bool

    /// The width of what CLIP makes of a prompt.
    var pooledWidth: Int { towers.reduce(0) { $0 + (isProjected ? $1.projectionSize : $1.hiddenSize) } }

    init(_ checkpoint: PyramidCheckpoint) throws(Fault) {
        let variant = checkpoint.variant
        towers = try variant.towers.map { (part) throws(Fault) in try CLIPText.Configuration(checkpoint.settings(part))
        }
        language = try T5Encoder.Configuration(checkpoint.settings(variant.language))
        isProjected = variant == .sd3
        for (tower, part) in zip(towers, variant.towers) where tower.positionCount != PyramidPrompts.clipLength {
            throw Fault(
                .badData, "CLIP has \(tower.positionCount) positions, expected \(PyramidPrompts.clipLength)",
                at: checkpoint.folder.shown(part.rawValue))
        }
    }
}
