import ArgumentParser
import RuyiEngine

/// Many clips of many pictures, with the model loaded once.
struct BatchCommand: OrderCommand {
    static let configuration = CommandConfiguration(
        commandName: "batch",
        abstract: "Turns many pictures into videos with the model loaded once, and goes on where it was stopped.",
        usage: "ruyi batch <source> --output <folder> [<options>]",
        discussion: """
            <source> is a folder of pictures, each with its prompt in a .txt file beside it; or a list: .jsonl with an \
            object a line, .csv or .tsv with a header (keys as in a request file, and 'id', which names the clip), or .txt \
            with a picture a line and after a tab its prompt; or '-' for such lines on standard input. What the list says of a picture wins over the options.

              ruyi batch stills -o clips -m Ruyi-Mini-7B --camera left
              ruyi batch shots.jsonl -o clips -m Ruyi-Mini-7B --seed 1,2,3
              ruyi batch shots.csv -o clips -m Ruyi-Mini-7B --shard 2/8
              find . -name '*.png' | ruyi batch - -o clips -m Ruyi-Mini-7B

            The whole list is checked before the first clip. A clip that fails is told of and the others are rendered. \
            .ruyi-batch.jsonl in the folder notes what is done, so the same command goes on after any stop, and tries \
            again what has failed. Clips whose picture, settings or checkpoint changed are not taken for finished.

            Exit codes are those of 'ruyi render', and 1 when clips have failed, 75 when another run is at work in the \
            folder.
            """)

    @Argument(help: ArgumentHelp("A folder of pictures, or a list of them.", valueName: "source"), completion: .file())
    var source: String
    @OptionGroup(title: "Batch") var batch: BatchOptions
    @OptionGroup(title: "Input") var input: InputOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Length and size") var form: FormOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Motion and camera") var motion: MotionOptions
    @OptionGroup(title: "Model and features") var features: FeatureOptions
    @OptionGroup(title: "Running") var running: RunningOptions
    @OptionGroup(title: "Settings") var settings: SettingsOptions

    var picture: String? { nil }
    var outputName: String? { batch.name }
    var takesPicture: Bool { false }

    /// What the options ask for, with the settings of every source as the clips' defaults.
    func order(_ layers: Settings) throws(Faults) -> BatchOrder {
        guard let folder = output.output, !folder.isEmpty else {
            throw Faults(
                Fault(.usage, "no folder is given for the clips", at: "--output", hint: "name one: --output clips"))
        }
        var defaults = layers.order
        defaults.output = nil
        defaults.origin = nil
        var order = BatchOrder(source: source, folder: folder, defaults: defaults)
        // What a preset or a configuration file says of outputs names the clips, in this folder.
        let pattern = layers.lower.output?.split(separator: "/").last.map(String.init)
        if let pattern = batch.name ?? pattern { order.pattern = pattern }
        batch.fill(&order)
        return order
    }
}
