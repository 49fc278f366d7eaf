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
    /// Whether the seed was drawn, not chosen.
    public var drawsSeed = false
    /// How many clips to render of a picture, with seeds that count up from the one that is given.
    public var variations: Int?
    /// Whether the steps are a preset's, which gives way to a checkpoint that recommends fewer.
    public var takesFewerSteps = false
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
    /// The container, where the output's name does not say it.
    public var container: String?
    /// Whether the file gives back every sample as it was rendered.
    public var lossless: Bool?
    /// The kind of ProRes, by its name.
    public var proresProfile: String?
    /// How often a GIF or WebP plays, 0 for ever.
    public var loop: Int?
    /// Whether a JSON file beside the clip says how it was made.
    public var sidecar: Bool?
    /// The PNG picture of the clip's middle frame.
    public var thumbnail: String?
    /// The PNG picture that shows frames of the clip with its settings.
    public var sheet: String?
    /// The PNG picture that shows the clip while it is denoised.
    public var preview: String?
    /// The steps from one preview to the next.
    public var previewEvery: Int?
    /// Whether previews are drawn in the terminal.
    public var previewTerminal: Bool?
    /// The file with the prompt, or `-` for standard input.
    public var promptFile: String?
    /// The file with the negative prompt, or `-` for standard input.
    public var negativePromptFile: String?
    /// The colour around a picture that is placed whole.
    public var padColor: String?
    /// Whether a size or length that is not exactly the asked one is refused.
    public var strictSize: Bool?
    /// The pixels that a picture may have.
    public var maxPixels: Int?
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
    /// The memory that the run may take, in the form of `MemoryBudget`.
    public var memory: String?
    /// How memory is saved, by the mode's name or `auto`.
    public var memoryMode: String?
    /// Whether a clip is rendered although its plan needs more memory than there is.
    public var ignoreMemory: Bool?
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
        var base = base
        base.leaveOut(excludedBy: self)
        merged.request = request.over(base.request)
        for setting in OrderSetting.all { setting.fill(&merged, base) }
        if seeds.isEmpty { (merged.seeds, merged.drawsSeed) = (base.seeds, base.drawsSeed) }
        // A list of seeds says how many clips there are.
        merged.variations = variations ?? (seeds.count > 1 ? nil : base.variations)
        if request.steps == nil && request.stageSteps == nil { merged.takesFewerSteps = base.takesFewerSteps }
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
        merged.memory = memory ?? base.memory
        merged.memoryMode = memoryMode ?? base.memoryMode
        merged.quiet = quiet ?? base.quiet
        merged.progress = progress ?? base.progress
        merged.dryRun = dryRun ?? base.dryRun
        return merged
    }

    /// Forgets what makes no sense beside what a stronger order says.
    private mutating func leaveOut(excludedBy stronger: Order) {
        if stronger.request.prompt != nil || stronger.promptFile != nil { (request.prompt, promptFile) = (nil, nil) }
        if stronger.request.negativePrompt != nil || stronger.negativePromptFile != nil {
            (request.negativePrompt, negativePromptFile) = (nil, nil)
        }
        if stronger.output != nil { container = nil }
        if stronger.lossless == true { crf = nil }
        if stronger.crf != nil { lossless = nil }
        if stronger.codec != nil, stronger.codec != codec { proresProfile = nil }
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
        merged.vaeTile = vaeTile ?? base.vaeTile
        merged.own = own.merging(base.own) { mine, _ in mine }
        return merged
    }
}
