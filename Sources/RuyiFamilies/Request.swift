/// The keys of a request, as they are spelled in its JSON form; the command-line option of the same name uses dashes.
///
/// Keys after `precision` belong to families or features that a request may name without this version having them; they
/// are known so that a request which carries them is refused by name instead of as a spelling mistake.
public enum RequestKey: String, Sendable, CaseIterable {
    case family, model
    case image, endImage = "end_image"
    case prompt, negativePrompt = "negative_prompt"
    case width, height, resolution, baseResolution = "base_resolution"
    case frames, seconds, fps, steps, scheduler, guidance, seed, noise
    case camera, motion, precision
    case loras, teacache, teacacheThreshold = "teacache_threshold", enhanceAVideo = "enhance_a_video"
    case variant, mode, transformer, conditioning = "i2v_condition", imageEmbedInterleave = "image_embed_interleave"
    case shift, timeShift = "time_shift", cfg, trueCFGScale = "true_cfg_scale", cfgRescale = "cfg_rescale"
    case sections, latentWindowSize = "latent_window_size", latentLength = "temp", videoSteps = "video_steps"
    case videoGuidance = "video_guidance", linearGuidance = "linear_guidance", guidanceAlpha = "guidance_alpha"
    case minGuidance = "min_guidance", motionScore = "motion_score", positiveMagic = "positive_magic"
    case resize, tiledVAE = "vae_tiling", saveMemory = "save_memory", computeType = "compute_dtype"
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
    /// The number of frames; excludes `seconds`.
    public var frames: Int?
    /// The length; excludes `frames`.
    public var seconds: Double?
    /// Frames a second of the file.
    public var fps: Int?
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
    /// Keys that were given a value which no field above holds.
    public var foreign: Set<RequestKey> = []

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
            (.precision, precision != nil),
        ]
        return foreign.union(fields.filter(\.1).map(\.0))
    }
}
