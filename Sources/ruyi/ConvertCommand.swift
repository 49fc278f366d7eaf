import RuyiEngine

/// Weights in another form.
struct ConvertCommand: LongCommand {
    struct Options: SettingTable {
        static let table = Options()

        let input = Setting(
            "input", .path, .arguments, "A file of weights or a checkpoint folder.", value: "input"
        ) {
            $0.place = .optionalWord
            $0.completion = .file([])
            $0.standardText = ""
        }
        let output = Setting(
            "output", .path, .options, "The file (.safetensors) or folder to make.", value: "output"
        ) {
            $0.short = "o"
            $0.completion = .file([])
            $0.standardText = ""
        }
        let type = Setting(
            "type", SettingKind<Conversion.Kind>.named, .options, "The type of number.", value: "type"
        ) { $0.standardText = "as stored" }
        let only = Setting(
            "only", .texts, .options,
            "Change only tensors whose names match the pattern; may be repeated. In a folder names begin with the part's, as "
                + "in 'transformer/*'.", value: "pattern"
        ) {
            $0.repeats = true
            $0.standardText = ""
        }
        let keep = Setting(
            "keep", .texts, .options, "Leave tensors whose names match as they are; may be repeated.", value: "pattern"
        ) {
            $0.repeats = true
            $0.standardText = ""
        }
        let shardSize = Setting(
            "shard_size", .bytes, .options, "The most bytes in one file, such as 5G.", value: "size"
        ) { $0.standardText = "no limit" }
        let overwrite = Setting(
            "overwrite", .flag, .options, "Replace an existing file; folders are never replaced."
        ) { $0.standardText = "" }
    }

    static let command = Command(
        "convert", .long { ConvertCommand(given: Given($0)) },
        "Rewrites weights, or a whole checkpoint, as safetensors, in the same or another type of number.",
        usage: "ruyi convert [<input>] --output <output> [<options>]",
        discussion: """
            <input> is a file (safetensors, or torch's .bin, .pt and .pth) or a checkpoint folder; a folder keeps its \
            layout, and what is no weights is copied; HunyuanVideo as its authors publish it gets that of diffusers. With parts that \
            are named apart the whole checkpoint is written, as a folder. \
            Numbers are rounded to the nearest, ties to even, as torch does. \
            The 8-bit types take matrices alone: norms, biases and convolutions stay as they are. \
            int8 has a scale for each row, and takes the layers with which --precision int8 computes in 8 bits, so that clips \
            with it are the same; --only names others.

              ruyi convert pytorch_model.bin -o model.safetensors
              ruyi convert Ruyi-Mini-7B -o Ruyi-Mini-7B-fp8 --type fp8_e4m3 --only 'transformer/*'
              ruyi convert Ruyi-Mini-7B -o Ruyi-Mini-7B-int8 --type int8
            """, settings: Options.all + PartSettings.all + ReportingOptions.all)

    let given: Given<Options>

    func carryOut(_ errand: Errand) throws -> Faults? {
        guard let output = given.output else {
            throw Fault(.usage, "no output is given", at: "--output", hint: "it is: " + ConvertCommand.command.usage)
        }
        var conversion = Conversion()
        conversion.kind = given.type
        conversion.only = given.only ?? []
        conversion.keep = given.keep ?? []
        if conversion.kind == nil, !conversion.only.isEmpty || !conversion.keep.isEmpty {
            throw Fault(.usage, "--only and --keep choose what --type changes, and there is no --type")
        }
        conversion.shardSize = given.shardSize
        conversion.overwrite = given.overwrite ?? false
        let input = try ModelReference.given(given.input, given.values, ConvertCommand.command)
        let paths = try conversion.run(
            input, to: output, cancellation: errand.cancellation, observer: errand.reporter.receive)
        for path in paths { try errand.print(path) }
        return nil
    }
}
