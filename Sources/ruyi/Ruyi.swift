import ArgumentParser

/// The command line as a whole.
struct Ruyi: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ruyi",
        abstract: "Turns a picture into a video.",
        usage: "ruyi [render] <image> [<options>]",
        discussion: """
            'ruyi photo.png' is 'ruyi render photo.png'; 'ruyi batch' renders many pictures, 'ruyi plan' says what a run \
            will do and take, 'ruyi bench' measures the engine on this machine.
            """,
        version: "ruyi \(Program.version)",
        subcommands: [
            Render.self, BatchCommand.self, PlanCommand.self, DecodeCommand.self, InspectCommand.self,
            SheetCommand.self, CompareCommand.self, BenchCommand.self,
        ],
        defaultSubcommand: Render.self)
}

/// One clip of one picture, or one for each seed.
struct Render: OrderCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turns a picture into a video.",
        usage: "ruyi [render] <image> [<options>]",
        discussion: """
            The finished file's path is printed on standard output; progress and messages go to standard error.

              ruyi photo.png -m Ruyi-Mini-7B
              ruyi photo.png -m Ruyi-Mini-7B --camera left --seconds 3 -o pan.mp4
              ruyi photo.png -m Ruyi-Mini-7B --seed 1,2,3 -o "clip-{seed}.mov"
              ruyi photo.png -m Ruyi-Mini-7B --size 360p -o "frames/%05d.png"
              ruyi photo.png -m Ruyi-Mini-7B -o clip.webm --codec av1
              ruyi --from clip.mp4 --seed 43 -o other.mp4

            'ruyi batch' renders many pictures, 'ruyi plan' says what a run will do and take, 'ruyi decode' finishes a \
            clip from saved latents, 'ruyi inspect' says what a clip or checkpoint is, 'ruyi sheet' shows several clips \
            in one picture, 'ruyi compare' measures how two differ, and 'ruyi bench' measures the engine on this \
            machine; each has its own --help.

            A setting that is given in several places is taken from the first of: command line, request file, the \
            clip of --from, environment (RUYI_STEPS for --steps), configuration files, presets, checkpoint.

            Exit codes: 0 done, 64 usage, 65 bad data, 66 an input cannot be opened, 69 unavailable, 70 internal error, \
            71 not enough memory, 73 the output cannot be created, 74 input or output failed midway, 78 a \
            configuration file or environment variable is wrong, 130 interrupted, 143 terminated.
            """)

    @Argument(
        help: ArgumentHelp("The start picture, PNG or JPEG.", valueName: "image"),
        completion: .file(extensions: pictures)) var picture: String?
    @OptionGroup(title: "Input") var input: InputOptions
    @OptionGroup(title: "Output") var output: OutputOptions
    @OptionGroup(title: "Length and size") var form: FormOptions
    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Motion and camera") var motion: MotionOptions
    @OptionGroup(title: "Model and features") var features: FeatureOptions
    @OptionGroup(title: "Running") var running: RunningOptions
    @OptionGroup(title: "Settings") var settings: SettingsOptions
}
