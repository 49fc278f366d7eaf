import ArgumentParser

/// The command line as a whole.
struct Ruyi: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ruyi",
        abstract: "Turns a picture, or a text alone, into a video.",
        usage: "ruyi [render] [<image>] [<options>]",
        discussion: """
            'ruyi photo.png' is 'ruyi render photo.png'. The finished clip's path is printed on standard output; progress \
            and messages go to standard error. Nothing is ever fetched from a network by rendering.
            """,
        version: "ruyi \(Program.version)",
        subcommands: [
            Render.self, BatchCommand.self, PlanCommand.self, DecodeCommand.self, InspectCommand.self,
            SheetCommand.self, CompareCommand.self, ModelsCommand.self, ConvertCommand.self, BenchCommand.self,
            DoctorCommand.self, CompletionsCommand.self, ManualCommand.self,
        ],
        defaultSubcommand: Render.self)
}

/// One clip of one picture, or one for each seed.
struct Render: OrderCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turns a picture, or a text alone, into a video.",
        usage: "ruyi [render] [<image>] [<options>]",
        discussion: """
              ruyi photo.png
              ruyi photo.png --camera left --seconds 3 -o pan.mp4
              ruyi photo.png -m Ruyi-Mini-7B --seed 1,2,3 -o "clip-{seed}.mov"
              ruyi photo.png --size 360p -o "frames/%05d.png"
              ruyi --prompt "A cat walks on the grass." -m HunyuanVideo
              ruyi --from clip.mp4 --seed 43 -o other.mp4

            A setting is taken from the first place that has it: command line, request file, the clip of --from, \
            environment (RUYI_STEPS for --steps), configuration files, presets, checkpoint.
            """)

    @Argument(
        help: ArgumentHelp(
            "The start picture, PNG or JPEG; none for models that make videos of text.", valueName: "image"),
        completion: .file(extensions: pictures)) var picture: String?
    @OptionGroup(title: "Input") var input: InputOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Length and size") var form: FormOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Motion and camera") var motion: MotionOptions
    @OptionGroup(title: "Model and features") var features: FeatureOptions
    @OptionGroup(title: "Running") var running: RunningOptions
    @OptionGroup(title: "Settings") var settings: SettingsOptions
    @OptionGroup(title: "Running") var results: ResultOptions
}
