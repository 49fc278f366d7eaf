import ArgumentParser
import RuyiEngine

/// How prompt and picture enter models that read text, and how these go from noise to a clip.
struct ConditioningOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How strongly the negative prompt is kept out, by a second pass with it; 1 switches that off. HunyuanVideo; "
                + "--guidance is the scale that it was distilled for, and may be on too. (default: 1)", valueName: "x"))
    var trueCFGScale: Double?

    @Option(
        help: ArgumentHelp(
            "How long the noise stays high: 7 is steady, 17 has more motion. HunyuanVideo. (default: the model's)",
            valueName: "x"))
    var flowShift: Double?

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Go from noise to the clip; HunyuanVideo's weights know no other direction. (default: --flow-reverse)",
            visibility: .hidden))
    var flowReverse: Bool?

    @Option(
        help: ArgumentHelp(
            "The most tokens of a prompt, 16 to 1024; what is longer is cut. HunyuanVideo. (default: 256)",
            valueName: "n", visibility: .hidden))
    var maxSequenceLength: Int?

    @Option(
        help: ArgumentHelp(
            "Every how many of the picture's tokens are read with the prompt; 0, or more than 5, stands for 1. HunyuanVideo. "
                + "(default: 4 with token_replace, 2 with latent_concat)", valueName: "n", visibility: .hidden))
    var imageEmbedInterleave: Int?

    @Option(
        help: ArgumentHelp(
            "What the checkpoint must be for; refuses another one. (default: the checkpoint's)", valueName: "mode",
            visibility: .hidden))
    var mode: ModeName?

    @Option(
        name: .customLong("i2v-condition"),
        help: ArgumentHelp(
            "How a start picture must enter the model; refuses a checkpoint that differs. HunyuanVideo. "
                + "(default: the checkpoint's)", valueName: "way", visibility: .hidden))
    var condition: ConditionName?

    @Option(
        help: ArgumentHelp(
            "How the VAE's work is cut up, which changes the video a little: as diffusers does, 16 frames at a time; as the "
                + "authors' program, 64 frames of 256 pixels; or not at all, which takes most memory. HunyuanVideo; a request "
                + "file may give an object with the six sizes. (default: diffusers)", valueName: "name"))
    var vaeTiling: TilingName?

    /// Puts what was given into a request.
    func fill(_ request: inout Request) {
        request.own[.trueCFGScale] = trueCFGScale.map(JSON.double)
        request.own[.shift] = flowShift.map(JSON.double)
        request.own[.flowReverse] = flowReverse.map(JSON.bool)
        request.own[.maxSequenceLength] = maxSequenceLength.map(JSON.int)
        request.own[.imageEmbedInterleave] = imageEmbedInterleave.map(JSON.int)
        request.own[.mode] = mode.map { .string($0.name) }
        request.own[.conditioning] = condition.map { .string($0.name) }
        request.own[.tiledVAE] = vaeTiling.map { .string($0.name) }
    }
}

/// What a clip is made of.
struct ModeName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.modes.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.modes }
}

/// How a start picture enters a model.
struct ConditionName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.conditionings.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.conditionings }
}

/// How the VAE's work is cut up.
struct TilingName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.vaeTilings.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.vaeTilings }
}
