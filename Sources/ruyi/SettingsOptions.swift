import ArgumentParser
import RuyiEngine

struct SettingsOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Settings under a name: smoke, draft, standard, archive, or one of a configuration file. Given again, the "
                + "later one wins. (default: none)", valueName: "name"))
    var preset: [String] = []

    @Option(
        help: ArgumentHelp(
            "The configuration file. (default: ruyi/config.json in $XDG_CONFIG_HOME or ~/.config, and ./ruyi.json)",
            valueName: "file"), completion: .file(extensions: ["json"]))
    var config: String?

    @Flag(help: "Read no configuration file.") var noConfig = false

    @Flag(help: "Print every setting with its value and where it comes from, and stop.") var printConfig = false
}

/// A command whose options make an order.
protocol OrderCommand: ParsableCommand {
    /// The start picture that stands on the command line without an option.
    var picture: String? { get }
    /// What the command line says of the names of outputs.
    var outputName: String? { get }
    /// Whether `--from` stands for the picture of that clip too.
    var takesPicture: Bool { get }
    var input: InputOptions { get }
    var output: OutputOptions { get }
    var form: FormOptions { get }
    var sampling: SamplingOptions { get }
    var motion: MotionOptions { get }
    var features: FeatureOptions { get }
    var running: RunningOptions { get }
    var settings: SettingsOptions { get }
}

extension OrderCommand {
    var outputName: String? { output.output }
    var takesPicture: Bool { true }

    /// The settings of every source, of which the command line is the strongest.
    func layers() throws(Faults) -> Settings {
        if settings.noConfig, settings.config != nil {
            throw Faults(Fault(.usage, "--config and --no-config exclude each other"))
        }
        var reader = SettingsReader()
        reader.presets = settings.preset
        reader.config = settings.config
        reader.findsConfig = !settings.noConfig
        reader.request = input.request
        reader.from = input.from
        reader.takesPicture = takesPicture
        reader.commandLine = try commandLine()
        if reader.commandLine.previewTerminal == true, !settings.printConfig, TerminalPicture.standardError == nil {
            throw Faults(
                Fault(
                    .usage, "standard error is no terminal that is known to show pictures", at: "--preview-terminal",
                    hint:
                        "kitty, Ghostty, WezTerm and iTerm2 do, outside tmux and screen; --preview FILE works anywhere"
                ))
        }
        return try reader.read()
    }
}
