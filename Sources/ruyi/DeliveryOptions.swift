import ArgumentParser
import RuyiEngine

/// The form of the clip's file, and the files beside it.
struct DeliveryOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The container, where the output's name does not say it. (default: by the suffix; mp4)", valueName: "name"))
    var container: ContainerName?

    @Flag(
        inversion: .prefixedNo,
        help: "Keep every sample as it was rendered, with the container's codec for it or --codec. (default: off)")
    var lossless: Bool?

    @Option(
        name: .customLong("prores-profile"),
        help: ArgumentHelp("The kind of ProRes. (default: hq; 4444 where chroma is whole)", valueName: "name"))
    var proresProfile: ProResName?

    @Option(help: ArgumentHelp("How often a GIF or WebP plays, 0 for ever. (default: 0)", valueName: "n"))
    var loop: Int?

    @Flag(
        inversion: .prefixedNo,
        help: "Write how the clip was made into a JSON file beside it. (default: beside GIF and WebP only)")
    var sidecar: Bool?

    @Option(
        help: ArgumentHelp(
            "Also write the clip's middle frame as a PNG picture, named as outputs are. (default: none)",
            valueName: "file"), completion: .file(extensions: ["png"])) var thumbnail: String?

    @Option(
        help: ArgumentHelp(
            "Also write a PNG picture of eight frames with the seed and settings, named as outputs are. (default: none)",
            valueName: "file"), completion: .file(extensions: ["png"])) var sheet: String?

    func fill(_ order: inout Order) {
        order.container = container?.name
        order.lossless = lossless
        order.proresProfile = proresProfile?.name
        order.loop = loop
        order.sidecar = sidecar
        order.thumbnail = thumbnail
        order.sheet = sheet
    }
}

/// How pictures are placed in the frames, and how strictly sizes are taken.
struct PlacingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How a picture of another shape fills the frames: as the model's own program does, cut down, whole with a "
                + "colour around it, or stretched. (default: family)", valueName: "way")) var fit: FitName?

    @Option(
        help: ArgumentHelp(
            "The colour around a picture with --fit pad: black, white, grey or such as #102030. (default: black)",
            valueName: "colour")) var padColor: String?

    @Flag(
        inversion: .prefixedNo,
        help: "Deliver exactly the asked size, cut out of frames of the model's sizes. (default: with a named size)")
    var exactSize: Bool?

    @Flag(inversion: .prefixedNo, help: "Refuse a size or length that the model would round. (default: off)")
    var strictSize: Bool?

    func fill(_ order: inout Order) {
        order.request.fit = fit?.name
        order.padColor = padColor
        order.request.exactSize = exactSize
        order.strictSize = strictSize
    }
}

/// Texts from files, and limits for pictures.
struct SourceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Read the prompt from a UTF-8 file, or from standard input with -.", valueName: "file"),
        completion: .file()) var promptFile: String?

    @Option(
        help: ArgumentHelp("Read the negative prompt from a file in the same way.", valueName: "file"),
        completion: .file()) var negativePromptFile: String?

    @Option(
        help: ArgumentHelp("The pixels that a picture may have, 1 to 1000000000. (default: 100000000)", valueName: "n"))
    var maxPixels: Int?

    func fill(_ order: inout Order) {
        order.promptFile = promptFile
        order.negativePromptFile = negativePromptFile
        order.maxPixels = maxPixels
    }
}

/// How a clip is shown while it is denoised.
struct PreviewOptions: ParsableArguments {
    @Option(
        name: .customLong("preview"),
        help: ArgumentHelp(
            "Show the clip while it is denoised: a PNG picture of a few frames that each preview replaces. "
                + "(default: none)", valueName: "file"), completion: .file(extensions: ["png"])) var file: String?

    @Option(
        name: .customLong("preview-every"),
        help: ArgumentHelp("Steps from one preview to the next, 1 to 1000. (default: 5)", valueName: "n"))
    var every: Int?

    @Flag(
        name: .customLong("preview-terminal"), inversion: .prefixedNo,
        help: "Draw previews in the terminal, if it is kitty, Ghostty, WezTerm or iTerm2. (default: off)")
    var isInTerminal: Bool?

    func fill(_ order: inout Order) {
        order.preview = file
        order.previewEvery = every
        order.previewTerminal = isInTerminal
    }
}

/// A kind of video file.
struct ContainerName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.containers.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.containers }
}

/// A kind of ProRes.
struct ProResName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.proresProfiles.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.proresProfiles }
}

/// How a picture is placed.
struct FitName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.fits.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.fits }
}
