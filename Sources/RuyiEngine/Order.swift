/// How the progress of a run is shown.
public enum ProgressStyle: String, Sendable, CaseIterable {
    case auto, bar, plain, json, none
}

/// A request and how to carry it out, as it comes from a file or from the command line.
///
/// A nil value was not given.
public struct Order: Sendable, Equatable {
    /// What to render.
    public var request = Request()
    /// The seeds to render one after the other; empty when none was given.
    public var seeds: [UInt64] = []
    /// The output file or the pattern of the frame files.
    public var output: String?
    /// Whether an existing output may be replaced.
    public var overwrite: Bool?
    /// How frames are compressed, by the codec's name; nil takes the container's usual codec.
    public var codec: String?
    /// The constant rate factor of the video encoder.
    public var crf: Int?
    /// How the video's samples are stored, by the format's name.
    public var pixelFormat: String?
    /// Whether a disk that seems too small is tried all the same.
    public var ignoreSpace: Bool?
    /// Whether the clip holds how it was made.
    public var metadata: Bool?
    /// Whether the final latents stay beside the clip.
    public var keepLatents: Bool?
    /// The file of final latents that is decoded instead of denoising.
    public var latents: String?
    /// How the clip that is made again was made.
    public var origin: Provenance?
    /// Where to write the recorded stages.
    public var trace: String?
    /// The number of threads.
    public var threads: Int?
    /// Whether only errors are shown.
    public var quiet: Bool?
    /// How progress is shown.
    public var progress: ProgressStyle?
    /// Whether to print the plan and stop.
    public var dryRun: Bool?

    /// An order in which everything is left to the defaults.
    public init() {}

    /// This order with the gaps filled from `base`.
    ///
    /// What excludes one another counts as one setting: a length given
    /// here as frames takes the place of seconds there, and a size given here in any form that of every form there.
    public func over(_ base: Order) -> Order {
        var merged = self
        merged.request = request.over(base.request)
        if seeds.isEmpty { merged.seeds = base.seeds }
        merged.output = output ?? base.output
        merged.overwrite = overwrite ?? base.overwrite
        merged.codec = codec ?? base.codec
        // A quality or format of another codec says nothing about this one.
        if codec == nil || codec == base.codec {
            merged.crf = crf ?? base.crf
            merged.pixelFormat = pixelFormat ?? base.pixelFormat
        }
        merged.metadata = metadata ?? base.metadata
        merged.ignoreSpace = ignoreSpace ?? base.ignoreSpace
        merged.keepLatents = keepLatents ?? base.keepLatents
        merged.latents = latents ?? base.latents
        merged.origin = origin ?? base.origin
        merged.trace = trace ?? base.trace
        merged.threads = threads ?? base.threads
        merged.quiet = quiet ?? base.quiet
        merged.progress = progress ?? base.progress
        merged.dryRun = dryRun ?? base.dryRun
        return merged
    }
}

extension Request {
    /// Whether any of the settings that decide the size of the clip is given.
    var givesSize: Bool { width != nil || height != nil || resolution != nil || baseResolution != nil }

    /// This request with the gaps filled from `base`.
    func over(_ base: Request) -> Request {
        var merged = self
        merged.family = family ?? base.family
        merged.model = model ?? base.model
        merged.image = image ?? base.image
        merged.endImage = endImage ?? base.endImage
        merged.prompt = prompt ?? base.prompt
        merged.negativePrompt = negativePrompt ?? base.negativePrompt
        if !givesSize {
            merged.width = base.width
            merged.height = base.height
            merged.resolution = base.resolution
            merged.baseResolution = base.baseResolution
        }
        if frames == nil && seconds == nil {
            merged.frames = base.frames
            merged.seconds = base.seconds
        }
        merged.fps = fps ?? base.fps
        if steps == nil && stageSteps == nil {
            merged.steps = base.steps
            merged.stageSteps = base.stageSteps
        }
        merged.scheduler = scheduler ?? base.scheduler
        merged.guidance = guidance ?? base.guidance
        merged.seed = seed ?? base.seed
        merged.noise = noise ?? base.noise
        merged.camera = camera ?? base.camera
        merged.motion = motion ?? base.motion
        merged.precision = precision ?? base.precision
        if loras.isEmpty { merged.loras = base.loras }
        merged.teacache = teacache.over(base.teacache)
        merged.enhanceAVideo = enhanceAVideo.over(base.enhanceAVideo)
        merged.fp8QuantMode = fp8QuantMode ?? base.fp8QuantMode
        merged.fp8DataType = fp8DataType ?? base.fp8DataType
        merged.foreign.formUnion(base.foreign)
        return merged
    }
}
