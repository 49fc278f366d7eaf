import ArgumentParser
import RuyiEngine

/// A clip from its final latents.
struct DecodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode",
        abstract: "Finishes a clip from saved latents, or makes it again in another format.",
        usage: "ruyi decode <latents> [<options>]",
        discussion: """
            A run that fails or is interrupted after the denoising leaves its latents beside the output, and \
            --keep-latents leaves them in any case. Decoding takes the model that made them.

              ruyi decode clip.latents.safetensors
              ruyi decode clip.latents.safetensors -o clip.mov --codec prores
            """)

    @Argument(
        help: ArgumentHelp("The latents, clip.latents.safetensors.", valueName: "latents"),
        completion: .file(extensions: ["safetensors"]))
    var latents: String

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The checkpoint's folder. (default: the one that made the latents, if it is found)", valueName: "dir"),
        completion: .directory)
    var model: String?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "The video or the pattern of the pictures. (default: the name that the clip was to have, beside the latents)",
            valueName: "file"), completion: .file())
    var output: String?

    @Flag(help: "Replace an existing output. (default: refuse)") var overwrite = false

    @OptionGroup var encoding: EncodingOptions

    @Option(help: ArgumentHelp("Frames a second in the file, 1 to 120. (default: as asked before)", valueName: "n"))
    var fps: Int?

    @OptionGroup var running: RunningOptions
    @OptionGroup var results: ResultOptions

    /// The order that the latents hold, as far as the command line does not say otherwise.
    func order() throws(Faults) -> Order {
        var order = Order()
        order.latents = latents
        order.request.model = model
        order.request.fps = fps
        order.output = output
        order.overwrite = overwrite ? true : nil
        encoding.fill(&order)
        running.fill(&order)
        return try order.decoding()
    }
}
