import ArgumentParser
import RuyiEngine

extension Conversion.Kind: ExpressibleByArgument {}

/// Weights in another form.
struct ConvertCommand: LongCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Rewrites weights, or a whole checkpoint, as safetensors, in the same or another type of number.",
        usage: "ruyi convert <input> --output <output> [<options>]",
        discussion: """
            <input> is a file (safetensors, or torch's .bin, .pt and .pth) or a checkpoint folder; a folder keeps its \
            layout, and what is no weights is copied; HunyuanVideo as its authors publish it gets that of diffusers. \
            Numbers are rounded to the nearest, ties to even, as torch does. \
            The 8-bit types take matrices alone: norms, biases and convolutions stay as they are.

              ruyi convert pytorch_model.bin -o model.safetensors
              ruyi convert Ruyi-Mini-7B -o Ruyi-Mini-7B-fp8 --type fp8_e4m3 --only 'transformer/*'
            """)

    @Argument(help: ArgumentHelp("A file of weights or a checkpoint folder.", valueName: "input"), completion: .file())
    var input: String
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The file (.safetensors) or folder to make.", valueName: "output"), completion: .file())
    var output: String
    @Option(help: ArgumentHelp("The type of number. (default: as stored)", valueName: "type"))
    var type: Conversion.Kind?
    @Option(
        help: ArgumentHelp(
            "Change only tensors whose names match the pattern; may be repeated. In a folder names begin with the part's, "
                + "as in 'transformer/*'.", valueName: "pattern")) var only: [String] = []
    @Option(help: ArgumentHelp("Leave tensors whose names match as they are; may be repeated.", valueName: "pattern"))
    var keep: [String] = []
    @Option(help: ArgumentHelp("The most bytes in one file, such as 5G. (default: no limit)", valueName: "size"))
    var shardSize: ByteCount?
    @Flag(help: "Replace an existing file; folders are never replaced.") var overwrite = false
    @OptionGroup var reporting: ReportingOptions

    func validate() throws {
        if type == nil, !only.isEmpty || !keep.isEmpty {
            throw ValidationError("--only and --keep choose what --type changes, and there is no --type")
        }
    }

    func carryOut(_ errand: Errand) throws -> Faults? {
        var conversion = Conversion()
        conversion.kind = type
        conversion.only = only
        conversion.keep = keep
        conversion.shardSize = shardSize?.bytes
        conversion.overwrite = overwrite
        let paths = try conversion.run(
            input, to: output, cancellation: errand.cancellation, observer: errand.reporter.receive)
        for path in paths { try errand.print(path) }
        return nil
    }
}
