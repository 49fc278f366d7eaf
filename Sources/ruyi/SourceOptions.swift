import RuyiEngine
import RuyiHub

/// Where settings come from, and whether they are only shown.
struct SourceOptions: SettingTable {
    static let table = SourceOptions()

    let request = Setting(
        "request", .name, .input,
        "A JSON file with these options as keys, with underscores; what is typed wins.",
        value: "file"
    ) {
        $0.isFirst = true
        $0.completion = .file(["json"])
        $0.standardText = ""
    }
    let from = Setting(
        "from", .name, .input,
        "Take the settings of this clip, or of the JSON file beside it; what is typed wins.", value: "file"
    ) {
        $0.isFirst = true
        $0.completion = .file([])
        $0.standardText = ""
    }
    let preset = Setting(
        "preset", .texts, .settings,
        "Settings under a name: smoke, draft, standard, archive, or one of a configuration file. Given again, the later one "
            + "wins.", value: "name"
    ) {
        $0.isFirst = true
        $0.repeats = true
        $0.standardText = "none"
    }
    let config = Setting("config", .name, .settings, "The configuration file.", value: "file") {
        $0.completion = .file(["json"])
        $0.standardText = "ruyi/config.json in $XDG_CONFIG_HOME or ~/.config, and ./ruyi.json"
    }
    let noConfig = Setting("no_config", .flag, .settings, "Read no configuration file.") { $0.standardText = "" }
    let printConfig = Setting(
        "print_config", .flag, .settings, "Print every setting with its value and where it comes from, and stop."
    ) { $0.standardText = "" }
}

/// What a command line says of a run that renders.
struct RunArguments {
    /// The values of all settings and of the command's own options.
    let values: SettingValues
    /// Whether a batch is asked for, whose output is a folder.
    let isBatch: Bool

    private var sources: Given<SourceOptions> { Given(values) }
    private var batch: Given<BatchOptions> { Given(values) }

    /// Whether the settings are only to be printed.
    var printsConfig: Bool { sources.printConfig ?? false }
    /// Whether results are printed as JSON.
    var isJSON: Bool { values[ResultOptions.table.json] ?? false }
    /// What the line says of the way progress is shown, for faults that come before the settings.
    var reporting: Order { Order(values) }

    /// The server that is to make the clips, of the command line or of the environment; nil where they are made here.
    ///
    /// Throws as `ServerSettings` does.
    func server(environment variable: (String) -> String? = { _ in nil }) throws(Fault) -> ServerSettings? {
        let given = Given<ServerOptions>(values)
        guard let address = given.server ?? variable("RUYI_SERVER"), !address.isEmpty else { return nil }
        return try given.settings(address)
    }

    /// The settings of every source, of which the command line is the strongest.
    func layers() throws(Faults) -> Settings {
        if sources.noConfig == true, sources.config != nil {
            throw Faults(Fault(.usage, "--config and --no-config exclude each other"))
        }
        var reader = SettingsReader()
        reader.presets = sources.preset ?? []
        reader.config = sources.config
        reader.findsConfig = sources.noConfig != true
        reader.request = sources.request
        reader.from = sources.from
        reader.takesPicture = !isBatch
        reader.commandLine = try commandLine()
        if reader.commandLine.previewTerminal == true, !printsConfig, TerminalPicture.standardError == nil {
            throw Faults(
                Fault(
                    .usage, "standard error is no terminal that is known to show pictures", at: "--preview-terminal",
                    hint:
                        "kitty, Ghostty, WezTerm and iTerm2 do, outside tmux and screen; --preview FILE works anywhere"
                ))
        }
        return try reader.read()
    }

    /// What stands on the command line alone.
    private func commandLine() throws(Faults) -> Order {
        var order = Order()
        for setting in SettingsTable.standard.all { order.request.values.take(setting.key, from: values) }
        if isBatch {
            order.request.resume = nil
            order.output = batch.name
        } else if let picture = values[RenderWords.table.picture] {
            if order.request.image != nil {
                throw Faults(Fault(.usage, "the picture is given twice, as <image> and with --image"))
            }
            order.request.image = picture
        }
        // Whoever says how a feature works wants it.
        for setting in SettingsTable.standard.all where order.request.values[setting.key] == nil {
            guard setting.traits.parts.contains(where: { order.request.values[$0.setting.key] != nil }) else {
                continue
            }
            order.request.values.switchOn(setting)
        }
        return order
    }

    /// What the line asks of a batch, with the settings of every source as the clips' defaults.
    func batchOrder(_ layers: Settings) throws(Faults) -> BatchOrder {
        let source = values[BatchOptions.table.source] ?? values[RenderWords.table.picture] ?? ""
        guard let folder = values[RunSettings.table.output], !folder.isEmpty else {
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
        order.isRecursive = batch.recursive ?? false
        order.includes = batch.include ?? []
        order.excludes = batch.exclude ?? []
        order.resumes = batch.resume ?? true
        order.verifies = batch.verify ?? false
        order.allowsOutside = batch.allowOutside ?? false
        order.shard = batch.shard ?? Shard()
        order.limit = batch.limit
        order.stopsOnError = batch.onError == .stop
        order.retries = batch.retry ?? 0
        order.onlyFailed = batch.onlyFailed ?? false
        return order
    }
}
