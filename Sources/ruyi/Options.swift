import ArgumentParser
import RuyiEngine

struct InputOptions: ParsableArguments {
    @Option(
        name: [.customShort("i"), .long],
        help: ArgumentHelp("The start picture.", valueName: "file"),
        completion: .file(extensions: pictures))
    var image: String?

    @Option(
        help: ArgumentHelp("The picture that the video ends with. (default: none)", valueName: "file"),
        completion: .file(extensions: pictures))
    var endImage: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The checkpoint's folder, in its published layout, or the name of an installed model. (default: the small "
                + "bundled ruyi-nano)", valueName: "dir"),
        completion: .directory)
    var model: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "What happens in the video; models that read no text say so. (default: none)", valueName: "text"))
    var prompt: String?

    @Option(
        name: [.customShort("n"), .long],
        help: ArgumentHelp("What to keep out. (default: the model's)", valueName: "text"))
    var negativePrompt: String?

    @OptionGroup var sources: SourceOptions

    @Option(
        help: ArgumentHelp(
            "A JSON file with any of these options as keys, dashes written as underscores. Its paths are relative to the "
                + "file; options on the command line win.", valueName: "file"), completion: .file(extensions: ["json"]))
    var request: String?

    @Option(
        help: ArgumentHelp(
            "Take the settings that this clip, picture or JSON file beside a clip was made with; the command line and "
                + "--request win.", valueName: "file"), completion: .file())
    var from: String?
}

struct OutputOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The video; its suffix (mp4, mov, mkv, webm, gif, webp) picks the container, and - is standard output. A "
                + "name such as out/%05d.png writes one picture a frame, counted from 0. {seed}, {name}, {index}, {model} "
                + "and {date} stand for the seed, the picture's name, the clip's number, the model and the day. "
                + "(default: <image>-<seed>.mp4 in the current folder, or without a picture <family>-<seed>.mp4)",
            valueName: "file"), completion: .file())
    var output: String?

    @Flag(inversion: .prefixedNo, help: "Replace an existing output. (default: refuse)") var overwrite: Bool?

    @OptionGroup var encoding: EncodingOptions

    @Flag(help: "Keep the final latents beside the video, for 'ruyi decode'. (default: until it is written)")
    var keepLatents = false

    @Flag(help: "Render although the disk seems too small for the video. (default: refuse)")
    var ignoreSpace = false

    @Option(
        help: ArgumentHelp(
            "Also write every recorded stage of the computation, as safetensors.", valueName: "file",
            visibility: .hidden),
        completion: .file(extensions: ["safetensors"]))
    var trace: String?
}

/// How frames are compressed, and what is kept with them.
struct EncodingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How frames are compressed, as far as the container holds it. (default: h264; vp9 in webm)",
            valueName: "name")) var codec: CodecName?

    @Option(
        help: ArgumentHelp(
            "The constant rate factor, 1 to 51 for h264 and hevc, to 63 for vp9 and av1; smaller is better. "
                + "(default: 17, 19, 22)", valueName: "n"))
    var crf: Int?

    @Option(
        help: ArgumentHelp(
            "How samples are stored, as far as the codec does; 10 stands for 10 bits. "
                + "(default: yuv420p; yuv422p10 with prores, rgb with ffv1)", valueName: "name"))
    var pixelFormat: PixelFormatName?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Keep in the video how it was made, for 'ruyi inspect' and --from; GIF and WebP get a JSON file beside them. "
                + "(default: --metadata)"))
    var metadata: Bool?

    @OptionGroup var delivery: DeliveryOptions

    /// Puts what was given into an order.
    func fill(_ order: inout Order) {
        order.codec = codec?.name
        order.crf = crf
        order.pixelFormat = pixelFormat?.name
        order.metadata = metadata
        delivery.fill(&order)
    }
}

struct FormOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Width and height in pixels, or 360p, 480p, 540p, 720p. (default: from the picture's shape, or the model's)",
            valueName: "WxH|360p|...")) var size: Size?

    @OptionGroup var placing: PlacingOptions

    @Option(
        help: ArgumentHelp(
            "The side of the square that sizes are scaled to, 384 to 1024 as a rule. (default: 512 with Ruyi)",
            valueName: "n"))
    var baseResolution: Int?

    @Option(
        help: ArgumentHelp("The number of frames; the model's rule rounds it. (default: the model's)", valueName: "n"))
    var frames: Int?

    @Option(help: ArgumentHelp("The length, instead of --frames.", valueName: "s")) var seconds: Double?

    @Option(
        help: ArgumentHelp(
            "Frames a second in the file, 1 to 120, or a fraction such as 30000/1001. (default: the model's)",
            valueName: "n[/m]"))
    var fps: FrameRate?
}

struct SamplingOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Denoising steps, 1 to 1000. (default: the model's)", valueName: "n")) var steps: Int?

    @Option(
        help: ArgumentHelp(
            "The step rule: DDIM, Euler, 'Euler A', DPM++ or PNDM with Ruyi, flow-euler with "
                + "HunyuanVideo. (default: the model's)", valueName: "name")
    )
    var scheduler: String?

    @Option(
        help: ArgumentHelp(
            "How strongly the conditions steer; 1 switches guidance off. (default: the model's)", valueName: "x"))
    var guidance: Double?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The seed, 0 to 18446744073709551615, or random. A list such as 1,2,3 renders each with the model loaded "
                + "once. (default: 42)", valueName: "n[,n...]")) var seed: SeedList?

    @Option(
        help: ArgumentHelp("Clips of each picture, 1 to 10000, with seeds counted up. (default: 1)", valueName: "n"))
    var variations: Int?

    @Option(
        help: ArgumentHelp(
            "Take the random draws (noise.000, noise.001, ...) from this safetensors file instead of the seed.",
            valueName: "file", visibility: .hidden), completion: .file(extensions: ["safetensors"]))
    var noise: String?

    @OptionGroup var conditioning: ConditioningOptions

    @OptionGroup var preview: PreviewOptions
}

struct MotionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where the camera goes. (default: auto)", valueName: "move")) var camera: Camera?
    @Option(help: ArgumentHelp("How much moves, 1 is least. (default: auto)", valueName: "level")) var motion: Motion?
}

struct FeatureOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The arithmetic of the transformer's large layers; int8 is faster and takes a copy of their weights in "
                + "memory, and the video differs a little. (default: float32)", valueName: "kind"))
    var precision: PrecisionName?

    @Option(
        help: ArgumentHelp(
            "Add a LoRA to the transformer, at a strength of -100 to 100 (1 if not said); may be repeated.",
            valueName: "file[:strength]"), completion: .file(extensions: ["safetensors"]))
    var lora: [LoRA] = []

    @Flag(
        inversion: .prefixedNo,
        help: "Reuse steps that would change little: faster, and the video differs. (default: off)")
    var teacache: Bool?

    @Option(
        help: ArgumentHelp(
            "The change up to which TeaCache reuses, 0 to 10. (default: 0.1)", valueName: "x", visibility: .hidden))
    var teacacheThreshold: Double?

    @Option(
        help: ArgumentHelp(
            "First steps without TeaCache, from 1. (default: 3, 1 with HunyuanVideo)", valueName: "n",
            visibility: .hidden))
    var teacacheSkipStartSteps: Int?

    @Option(
        help: ArgumentHelp("Last steps without TeaCache, from 1. (default: 1)", valueName: "n", visibility: .hidden))
    var teacacheSkipEndSteps: Int?

    @Flag(
        name: .customLong("enhance-a-video"), inversion: .prefixedNo,
        help: "Strengthen attention between the frames. (default: off)")
    var enhanceAVideo: Bool?

    @Option(
        name: .customLong("enhance-a-video-weight"),
        help: ArgumentHelp("How strongly, 0 to 100; best below 10. (default: 1)", valueName: "x", visibility: .hidden))
    var enhanceAVideoWeight: Double?

    @Option(
        name: .customLong("enhance-a-video-skip-start-steps"),
        help: ArgumentHelp("First steps without Enhance-A-Video. (default: 0)", valueName: "n", visibility: .hidden))
    var enhanceAVideoSkipStartSteps: Int?

    @Option(
        name: .customLong("enhance-a-video-skip-end-steps"),
        help: ArgumentHelp("Last steps without Enhance-A-Video. (default: 0)", valueName: "n", visibility: .hidden))
    var enhanceAVideoSkipEndSteps: Int?

    @Option(
        name: .customLong("fp8-quant-mode"),
        help: ArgumentHelp(
            "Round layers of the transformer to 8-bit floating-point numbers: the largest, the large, or nearly all. "
                + "(default: none)", valueName: "mode"))
    var fp8QuantMode: FP8QuantMode?

    @Option(
        name: .customLong("fp8-data-type"),
        help: ArgumentHelp(
            "The type to round to; auto is fp8_e4m3fn. (default: auto)", valueName: "type", visibility: .hidden))
    var fp8DataType: FP8DataType?

    /// Puts the options into a request; one of a feature's settings switches it on.
    func fill(_ request: inout Request) {
        request.precision = precision?.name
        request.loras = lora
        request.teacache.amount = teacacheThreshold
        request.teacache.skipStartSteps = teacacheSkipStartSteps
        request.teacache.skipEndSteps = teacacheSkipEndSteps
        request.teacache.isOn = teacache ?? (request.teacache == StepFeatureRequest() ? nil : true)
        request.enhanceAVideo.amount = enhanceAVideoWeight
        request.enhanceAVideo.skipStartSteps = enhanceAVideoSkipStartSteps
        request.enhanceAVideo.skipEndSteps = enhanceAVideoSkipEndSteps
        request.enhanceAVideo.isOn = enhanceAVideo ?? (request.enhanceAVideo == StepFeatureRequest() ? nil : true)
        request.fp8QuantMode = fp8QuantMode?.rawValue
        request.fp8DataType = fp8DataType?.rawValue
    }
}

struct RunningOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Threads, 1 to 1024; the video does not depend on it. (default: the physical cores allowed)", valueName: "n"
        ))
    var threads: Int?

    @OptionGroup var memory: MemoryOptions

    @Flag(name: .shortAndLong, inversion: .prefixedNo, help: "Say nothing but errors.") var quiet: Bool?

    @Option(
        help: ArgumentHelp(
            "How progress is shown: a bar on a terminal and plain lines elsewhere, or one JSON object a line. (default: auto)",
            valueName: "style")) var progress: ProgressStyle?

    @Flag(help: "Print what would be done and the memory it takes, as JSON, and stop.") var dryRun = false

    /// Puts what was given into an order.
    func fill(_ order: inout Order) {
        order.threads = threads
        memory.fill(&order)
        order.quiet = quiet
        order.progress = progress
        order.dryRun = dryRun ? true : nil
    }
}

let pictures = ["png", "jpg", "jpeg"]

/// `640x368` or a named resolution.
struct Size: ExpressibleByArgument {
    var request = Request()

    init?(argument: String) {
        guard Choices.readSize(argument, into: &request) else { return nil }
    }

    static var allValueStrings: [String] { ["WIDTHxHEIGHT"] + Choices.resolutions }
}

/// One seed or several, or one that is drawn.
struct SeedList: ExpressibleByArgument {
    let seeds: [UInt64]
    let isDrawn: Bool

    init?(argument: String) {
        isDrawn = argument == Seeds.random
        if isDrawn {
            seeds = [Seeds.draw()]
            return
        }
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { part in
            part.allSatisfy { ("0"..."9").contains($0) } ? UInt64(part) : nil
        }
        guard numbers.count == parts.count else { return nil }
        seeds = numbers
    }
}

/// A camera move.
struct Camera: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.camera.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.camera }
}

/// An amount of motion.
struct Motion: ExpressibleByArgument {
    let level: String

    init?(argument: String) {
        guard Choices.motion.contains(argument) else { return nil }
        level = argument
    }

    static var allValueStrings: [String] { Choices.motion }
}

/// How frames are compressed.
struct CodecName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.codecs.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.codecs }
}

/// How a video's samples are stored.
struct PixelFormatName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.pixelFormats.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.pixelFormats }
}

/// The arithmetic of the large linear layers.
struct PrecisionName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.precision.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.precision }
}

extension LoRA: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension FrameRate: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension FP8QuantMode: ExpressibleByArgument {}
extension FP8DataType: ExpressibleByArgument {}
extension ProgressStyle: ExpressibleByArgument {}
