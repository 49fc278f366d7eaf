import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiTensor

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
    let dualCount: Int
    /// Blocks in which they share them.
    let singleCount: Int
    let refinerCount: Int
    let innerWidth: Int
    /// Whether the model is told the guidance scale that it was distilled for.
    let embedsGuidance: Bool
    let textWidth: Int
    let pooledWidth: Int
    let rotaryBase: Float
    /// The parts of a head that are rotated by frame, row and column.
    let rotaryAxes: [Int]
    let conditioning: HunyuanConditioning?

    /// Side of a patch in latents.
    static let patch = 2

    var hiddenSize: Int { headCount * headSize }

    package init(_ file: JSONObject) throws(Fault) {
        inChannels = try file.positive("in_channels", default: 16)
        outChannels = try file.positive("out_channels", default: 16)
        headCount = try file.positive("num_attention_heads", default: 24)
        headSize = try file.positive("attention_head_dim", default: 128)
        dualCount = try file.positive("num_layers", default: 20)
        singleCount = try file.positive("num_single_layers", default: 40)
        refinerCount = try file.positive("num_refiner_layers", default: 2)
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

/// The VAE's sizes, from `vae/config.json` (specification section 6).
package struct HunyuanVAEConfiguration: Sendable, Equatable {
    let widths: [Int]
    let layersPerBlock: Int
    let latentChannels: Int
    let groups: Int
    let scalingFactor: Float
    let hasAttention: Bool

    /// Pixels of a latent along each side.
    static let space = 8
    /// Frames of a latent, the first apart.
    static let time = 4

    package init(_ file: JSONObject) throws(Fault) {
        widths = try file.ints("block_out_channels", default: [128, 256, 512, 512])
        layersPerBlock = try file.positive("layers_per_block", default: 2)
        latentChannels = try file.positive("latent_channels", default: 16)
        groups = try file.positive("norm_num_groups", default: 32)
        scalingFactor = Float(try file.double("scaling_factor", default: 0.476986))
        hasAttention = try file.bool("mid_block_add_attention", default: true)
        let groups = groups
        guard widths.count == 4, widths.allSatisfy({ $0 > 0 && $0 <= 1 << 14 && $0 % groups == 0 }) else {
            throw file.fault("block_out_channels", expected: "four multiples of norm_num_groups \(groups)")
        }
        guard layersPerBlock <= 64 else { throw file.fault("layers_per_block", expected: "at most 64") }
        guard scalingFactor > 0, scalingFactor.isFinite else { throw file.fault("scaling_factor", expected: "above 0") }
        for key in ["in_channels", "out_channels"] {
            guard try file.int(key, default: 3) == 3 else { throw file.fault(key, expected: "3") }
        }
        guard try file.string("act_fn", default: "silu") == "silu" else { throw file.fault("act_fn", expected: "silu") }
        let factors = [
            ("spatial_compression_ratio", HunyuanVAEConfiguration.space),
            ("temporal_compression_ratio", HunyuanVAEConfiguration.time),
            ("time_compression_ratio", HunyuanVAEConfiguration.time),
        ]
        for (key, value) in factors {
            guard try file.int(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
        }
    }

    /// Latent frames of a video.
    func latentLength(of frames: Int) -> Int { (frames - 1) / HunyuanVAEConfiguration.time + 1 }
    /// Frames that latents decode to.
    func frameLength(of latents: Int) -> Int { (latents - 1) * HunyuanVAEConfiguration.time + 1 }

    /// What a level of the encoder divides time and space by; nil for the last, which changes neither.
    func factors(down level: Int) -> HunyuanUpBlock.Factors? {
        level == widths.count - 1 ? nil : HunyuanUpBlock.Factors(time: level == 0 ? 1 : 2, space: 2)
    }
    /// What a level of the decoder multiplies them by.
    func factors(up level: Int) -> HunyuanUpBlock.Factors? { factors(down: level) }
}

/// How the VAE's work is cut into overlapping tiles, in pixels and frames; the numbers depend on it (specification 6.2).
package struct HunyuanTiling: Sendable, Equatable {
    package var inTime = true
    var inSpace = false
    var height = 256
    var width = 256
    var frames = 16
    var heightStep = 192
    var widthStep = 192
    var frameStep = 12

    /// The reference's own: tiles in time, whole frames.
    package init() {}

    /// Those of the original program: larger tiles, in space too.
    package static let original = {
        var tiling = HunyuanTiling()
        (tiling.inSpace, tiling.frames, tiling.frameStep) = (true, 64, 48)
        return tiling
    }()

    /// What a request says: the name of one of these, whether there are tiles in space too, or the text of an object.
    ///
    /// Throws `.usage` for anything else.
    package init(text: String) throws(Fault) {
        switch text {
        case "diffusers", "false": self.init()
        case "true":
            self.init()
            inSpace = true
        case "original": self = .original
        case "none":
            self.init()
            inTime = false
        default: try self.init(JSONObject(parsing: Array(text.utf8), file: "vae_tiling"))
        }
    }

    /// The same with square tiles of so many pixels in space that overlap by a quarter, or with none for 0; nil leaves
    /// everything as it is.
    package func tiled(_ size: Int?) -> HunyuanTiling {
        guard let size else { return self }
        var copy = self
        copy.inSpace = size > 0
        if size > 0 {
            (copy.height, copy.width) = (size, size)
            (copy.heightStep, copy.widthStep) = (size * 3 / 4, size * 3 / 4)
        }
        return copy
    }

    /// Reads a request's object, whose keys are those of the reference; tiles in space are on where it is given.
    ///
    /// Throws `.usage` that names the wrong key.
    package init(_ object: JSONObject) throws(Fault) {
        inSpace = true
        let known = [
            "tile_sample_min_height", "tile_sample_min_width", "tile_sample_min_num_frames",
            "tile_sample_stride_height", "tile_sample_stride_width", "tile_sample_stride_num_frames",
        ]
        if let key = object.keys.first(where: { !known.contains($0) }) {
            throw Fault(.usage, "vae_tiling has no \"\(key)\"", hint: "it has " + known.joined(separator: ", "))
        }
        height = try object.positive(known[0], default: height)
        width = try object.positive(known[1], default: width)
        frames = try object.positive(known[2], default: frames)
        heightStep = try object.positive(known[3], default: heightStep)
        widthStep = try object.positive(known[4], default: widthStep)
        frameStep = try object.positive(known[5], default: frameStep)
        let (space, time) = (HunyuanVAEConfiguration.space, HunyuanVAEConfiguration.time)
        for (size, step, unit) in [(height, heightStep, space), (width, widthStep, space), (frames, frameStep, time)] {
            guard size % unit == 0, step % unit == 0, step > 0, step <= size, size <= 1 << 14 else {
                throw Fault(
                    .usage, "tiles of \(size) in steps of \(step) do not fit the VAE",
                    hint: "sizes are multiples of \(unit), steps too, and no step is larger than its size")
            }
        }
    }
}

/// The sizes of all parts of a checkpoint.
struct HunyuanConfiguration: Sendable {
    let transformer: HunyuanTransformerConfiguration
    let vae: HunyuanVAEConfiguration
    let language: LLaMA.Configuration
    /// What sees the picture; only in checkpoints that take one.
    let picture: Picture?
    let clip: CLIPText.Configuration
    /// `shift` of the scheduler.
    let shift: Double

    /// The parts of LLaVA beside the language model.
    struct Picture: Sendable {
        let vision: CLIPVision.Configuration
        let processor: CLIPImageProcessor
        let projector: Activation
        /// The token that the picture's tokens take the place of.
        let token: Int
    }

    /// Whether the checkpoint animates a picture.
    var takesPicture: Bool { picture != nil }

    init(_ folder: ModelFolder) throws(Fault) {
        let checkpoint = try HunyuanCheckpoint(folder)
        transformer = try HunyuanTransformerConfiguration(checkpoint.settings(.transformer))
        vae = try HunyuanVAEConfiguration(checkpoint.settings(.vae))
        clip = try CLIPText.Configuration(checkpoint.settings(.clip))
        let text = try checkpoint.settings(.text)
        if let nested = try text.objectIfPresent("text_config") {
            language = try LLaMA.Configuration(nested)
            let projector = try text.string("projector_hidden_act", default: "gelu")
            guard projector == "gelu" else { throw text.fault("projector_hidden_act", expected: "gelu") }
            guard try text.int("vision_feature_layer", default: -2) == -2 else {
                throw text.fault("vision_feature_layer", expected: "-2")
            }
            guard try text.string("vision_feature_select_strategy", default: "default") == "default" else {
                throw text.fault("vision_feature_select_strategy", expected: "default")
            }
            picture = Picture(
                vision: try CLIPVision.Configuration(text),
                processor: try CLIPImageProcessor(checkpoint.settings(.processor)),
                projector: .gelu, token: try text.int("image_token_index", default: 128257))
        } else {
            language = try LLaMA.Configuration(text)
            picture = nil
        }
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
            transformer.textWidth == language.hiddenSize,
            "the transformer takes text of width \(transformer.textWidth), the encoder gives \(language.hiddenSize)")
        try require(
            transformer.pooledWidth == clip.hiddenSize,
            "the transformer takes pooled text of width \(transformer.pooledWidth), CLIP gives \(clip.hiddenSize)")
        try require(
            transformer.outChannels == vae.latentChannels,
            "the transformer makes \(transformer.outChannels) channels, the VAE has \(vae.latentChannels)")
        try require(
            (transformer.conditioning != nil) == takesPicture,
            "the transformer's image_condition_type and the text encoder do not fit together")
        try require(
            clip.positionCount >= HunyuanPrompts.clipLength,
            "CLIP has \(clip.positionCount) positions, \(HunyuanPrompts.clipLength) are needed")
        if let picture {
            try require(
                picture.processor.cropSize >= picture.vision.imageSize,
                "crop_size is \(picture.processor.cropSize), expected the encoder's image_size "
                    + "\(picture.vision.imageSize)")
        }
        try require(
            language.layerCount > 2, "the text encoder has \(language.layerCount) layers, more than 2 are needed")
    }
}
