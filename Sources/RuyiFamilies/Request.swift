import RuyiFault
import RuyiFiles
import RuyiPicture

/// The keys of a request, as they are spelled in its JSON form; the command-line option of the same name uses dashes.
///
/// Keys after `vae_tile` belong to families or features that a request may name without this version having them; they
/// are known so that a request which carries them is refused by name instead of as a spelling mistake.
public enum RequestKey: String, Sendable, CaseIterable {
    case family, model
    case image, endImage = "end_image"
    case prompt, negativePrompt = "negative_prompt"
    case width, height, resolution, baseResolution = "base_resolution"
    case frames, seconds, fps, steps, scheduler, guidance, seed, noise
    case camera, motion, precision
    case loras, teacache, teacacheThreshold = "teacache_threshold"
    case teacacheSkipStartSteps = "teacache_skip_start_steps", teacacheSkipEndSteps = "teacache_skip_end_steps"
    case enhanceAVideo = "enhance_a_video", enhanceAVideoWeight = "enhance_a_video_weight"
    case enhanceAVideoSkipStartSteps = "enhance_a_video_skip_start_steps"
    case enhanceAVideoSkipEndSteps = "enhance_a_video_skip_end_steps"
    case fp8QuantMode = "fp8_quant_mode", fp8DataType = "fp8_data_type"
    case vaeTile = "vae_tile"
    case variant, mode, transformer, conditioning = "i2v_condition", imageEmbedInterleave = "image_embed_interleave"
    case shift = "flow_shift", flowReverse = "flow_reverse", maxSequenceLength = "max_sequence_length"
    case timeShift = "time_shift", cfg, trueCFGScale = "true_cfg_scale", cfgRescale = "cfg_rescale"
    case sections, latentWindowSize = "latent_window_size", latentLength = "temp", videoSteps = "video_steps"
    case videoGuidance = "video_guidance", linearGuidance = "linear_guidance", guidanceAlpha = "guidance_alpha"
    case minGuidance = "min_guidance", motionScore = "motion_score", positiveMagic = "positive_magic"
    case resize, tiledVAE = "vae_tiling", saveMemory = "save_memory", computeType = "compute_dtype"

    /// Other spellings that a request may use.
    public static let spellings: [String: RequestKey] = ["shift": .shift]
}

/// A LoRA file and how strongly it acts.
public struct LoRA: Sendable, Equatable {
    /// The file's path.
    public var path: String
    /// What its update is multiplied by, 1 as trained.
    public var weight: Double

    /// A file and its strength.
    public init(path: String, weight: Double = 1) {
        self.path = path
        self.weight = weight
    }

    /// Reads `FILE` or `FILE:STRENGTH`; the part after the last colon is a strength if it is a number.
    public init(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let weight = Double(text[text.index(after: colon)...]) else {
            self.init(path: text)
            return
        }
        self.init(path: String(text[..<colon]), weight: weight)
    }
}

/// A feature of the denoising that pauses in the first and last steps: TeaCache or Enhance-A-Video.
public struct StepFeature: Sendable, Equatable {
    /// TeaCache's threshold, or Enhance-A-Video's weight.
    public var amount: Double
    /// The first steps, which go without it.
    public var skipStartSteps: Int
    /// The last steps, which go without it.
    public var skipEndSteps: Int

    /// A feature that is on.
    public init(amount: Double, skipStartSteps: Int, skipEndSteps: Int) {
        self.amount = amount
        self.skipStartSteps = skipStartSteps
        self.skipEndSteps = skipEndSteps
    }
}

/// What a request says about a `StepFeature`; a nil value means that the family decides.
public struct StepFeatureRequest: Sendable, Equatable {
    /// Whether it is on; nil is on if any of the other values is given.
    public var isOn: Bool?
    /// TeaCache's threshold, or Enhance-A-Video's weight.
    public var amount: Double?
    /// The first steps, which go without it.
    public var skipStartSteps: Int?
    /// The last steps, which go without it.
    public var skipEndSteps: Int?

    /// A feature about which nothing is said.
    public init() {}

    /// The feature with what was not said taken from `standard`; nil when it is off.
    public func resolved(_ standard: StepFeature) -> StepFeature? {
        guard isOn ?? (self != StepFeatureRequest()) else { return nil }
        return StepFeature(
            amount: amount ?? standard.amount, skipStartSteps: skipStartSteps ?? standard.skipStartSteps,
            skipEndSteps: skipEndSteps ?? standard.skipEndSteps)
    }

    /// This request with the gaps filled from `base`.
    public func over(_ base: StepFeatureRequest) -> StepFeatureRequest {
        var merged = self
        merged.isOn = isOn ?? base.isOn
        merged.amount = amount ?? base.amount
        merged.skipStartSteps = skipStartSteps ?? base.skipStartSteps
        merged.skipEndSteps = skipEndSteps ?? base.skipEndSteps
        return merged
    }
}

/// What a person asked for.
///
/// A nil value means that the family decides.
public struct Request: Sendable, Equatable {
    /// The family's name; only checked against what the checkpoint is.
    public var family: String?
    /// The checkpoint folder.
    public var model: String?
    /// The start picture's path.
    public var image: String?
    /// The end picture's path.
    public var endImage: String?
    /// What happens in the clip.
    public var prompt: String?
    /// What to keep out of it.
    public var negativePrompt: String?
    /// Output width in pixels; given together with `height`.
    public var width: Int?
    /// Output height in pixels; given together with `width`.
    public var height: Int?
    /// A named resolution: the length of the short side, such as 360.
    public var resolution: Int?
    /// The side of the square whose area the size table is scaled to (Ruyi).
    public var baseResolution: Int?
    /// How a picture of another shape fills the frames, by the name of a `PictureFit`; nil leaves it to the family.
    public var fit: String?
    /// Whether frames of exactly the asked size are delivered, cut out of those that the model makes.
    public var exactSize: Bool?
    /// The number of frames; excludes `seconds`.
    public var frames: Int?
    /// The length; excludes `frames`.
    public var seconds: Double?
    /// Frames a second of the file.
    public var fps: FrameRate?
    /// Denoising steps.
    public var steps: Int?
    /// Steps of each stage, where a request gives `steps` as a list.
    public var stageSteps: [Int]?
    /// The step rule's name.
    public var scheduler: String?
    /// Classifier-free guidance scale.
    public var guidance: Double?
    /// The seed of the random draws.
    public var seed: UInt64?
    /// A safetensors file with the random draws.
    public var noise: String?
    /// The camera move (Ruyi).
    public var camera: String?
    /// The amount of motion (Ruyi).
    public var motion: String?
    /// The arithmetic of the large linear layers.
    public var precision: String?
    /// Low-rank updates of the transformer, in the order in which they are added.
    public var loras: [LoRA] = []
    /// TeaCache, which reuses what the blocks added in an earlier step.
    public var teacache = StepFeatureRequest()
    /// Enhance-A-Video, which strengthens attention between frames.
    public var enhanceAVideo = StepFeatureRequest()
    /// Which layers of the transformer are rounded to 8-bit floating-point numbers.
    public var fp8QuantMode: String?
    /// The type that they are rounded to.
    public var fp8DataType: String?
    /// Side of the VAE's tiles in pixels; 0 for none.
    public var vaeTile: Int?
    /// The values of keys that only some families have, and that no field above holds.
    public var own: [RequestKey: JSON] = [:]

    /// A request in which everything is left to the family.
    public init() {}

    /// The keys that have a value.
    public var given: Set<RequestKey> {
        let fields: [(RequestKey, Bool)] = [
            (.family, family != nil), (.model, model != nil), (.image, image != nil), (.endImage, endImage != nil),
            (.prompt, prompt != nil), (.negativePrompt, negativePrompt != nil), (.width, width != nil),
            (.height, height != nil), (.resolution, resolution != nil), (.baseResolution, baseResolution != nil),
            (.frames, frames != nil), (.seconds, seconds != nil), (.fps, fps != nil),
            (.steps, steps != nil || stageSteps != nil), (.scheduler, scheduler != nil), (.guidance, guidance != nil),
            (.seed, seed != nil), (.noise, noise != nil), (.camera, camera != nil), (.motion, motion != nil),
            (.precision, precision != nil), (.loras, !loras.isEmpty), (.teacache, teacache.isOn == true),
            (.teacacheThreshold, teacache.amount != nil), (.teacacheSkipStartSteps, teacache.skipStartSteps != nil),
            (.teacacheSkipEndSteps, teacache.skipEndSteps != nil), (.enhanceAVideo, enhanceAVideo.isOn == true),
            (.enhanceAVideoWeight, enhanceAVideo.amount != nil),
            (.enhanceAVideoSkipStartSteps, enhanceAVideo.skipStartSteps != nil),
            (.enhanceAVideoSkipEndSteps, enhanceAVideo.skipEndSteps != nil),
            (.fp8QuantMode, fp8QuantMode != nil), (.fp8DataType, fp8DataType != nil), (.vaeTile, vaeTile != nil),
        ]
        return Set(own.keys).union(fields.filter(\.1).map(\.0))
    }
}

extension Request {
    /// The value of a key that only some families have, or nil where none is given.
    ///
    /// Throws `.badData` that names the key where the value is not what the family expects.
    func own<Value>(_ key: RequestKey, _ expected: String, _ read: (JSON) -> Value?) throws(Fault) -> Value? {
        guard let value = own[key] else { return nil }
        guard let read = read(value) else {
            throw Fault(.badData, "the value of '\(key.rawValue)' must be \(expected), not \(value.text().prefix(40))")
        }
        return read
    }
}
