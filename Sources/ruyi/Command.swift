import RuyiEngine

/// A command as it is declared: what help, manual, completions and the reading of its arguments are made from.
struct Command: Sendable {
    /// What a command does.
    enum Action: Sendable {
        /// Leads to the commands below it, the first of which needs no name.
        case group
        case render, batch, submit, plan, encode, decode, bench
        /// Finds something out and prints it.
        case printing(@Sendable (SettingValues) -> any PrintingCommand)
        /// Takes its time.
        case long(@Sendable (SettingValues) -> any LongCommand)
    }

    /// The words after `ruyi`; empty for the program itself.
    let path: [String]
    let action: Action
    let abstract: String
    let usage: String
    var discussion = ""
    /// The words and options that it takes.
    var settings: [any AnySetting] = []
    var commands: [Command] = []

    init(
        _ name: String, _ action: Action, _ abstract: String, usage: String, discussion: String = "",
        settings: [any AnySetting] = [], commands: [Command] = []
    ) {
        path = name.split(separator: " ").map(String.init)
        self.action = action
        self.abstract = abstract
        self.usage = usage
        self.discussion = discussion
        self.settings = settings
        self.commands = commands
    }

    /// `ruyi`, `ruyi batch`.
    var name: String { (["ruyi"] + path).joined(separator: " ") }
    /// The last word of the name.
    var word: String { path.last ?? "ruyi" }
    /// This command and all below it.
    var family: [Command] { [self] + commands.flatMap(\.family) }

    /// The discussion without its example lines, and those lines.
    var prose: (text: String, examples: [String]) {
        let lines = discussion.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let examples = lines.filter { $0.hasPrefix("  ruyi ") }
        let rest = lines.filter { !$0.hasPrefix("  ruyi ") }
        var text: [String] = []
        for line in rest where !line.isEmpty || text.last?.isEmpty == false { text.append(line) }
        while text.last?.isEmpty == true { text.removeLast() }
        return (text.joined(separator: "\n"), examples.map { String($0.dropFirst(2)) })
    }

    /// What it takes, by the titles of the groups.
    var sections: [(title: String, settings: [any AnySetting])] {
        SettingGroup.allCases.compactMap { group in
            let found = settings.filter { $0.traits.group == group }
            return found.isEmpty ? nil : (group.rawValue, found)
        }
    }

    /// Settings with which every run that renders can be described.
    static var runs: [any AnySetting] { SettingsTable.standard.all.filter { $0.traits.option != nil } }

    /// The command line as a whole.
    static let root = Command(
        "", .render, "Turns a picture, or a text alone, into a video.",
        usage: "ruyi [render] [<image>] [<options>]",
        discussion: """
            'ruyi photo.png' is 'ruyi render photo.png'. The finished clip's path is printed on standard output; progress \
            and messages go to standard error. Nothing is ever fetched from a network by rendering.
            """,
        settings: render.settings + ProgramOptions.all,
        commands: [
            render, BatchCommand.command, SubmitCommand.command, PlanCommand.command, EncodeCommand.command,
            DecodeCommand.command,
            InspectCommand.command, SheetCommand.command, CompareCommand.command, ModelsCommand.command,
            ConvertCommand.command, BenchCommand.command, DoctorCommand.command, ServeCommand.command,
            CompletionsCommand.command,
            ManualCommand.command,
        ])

    /// One clip of one picture, or one for each seed.
    static let render = Command(
        "render", .render, "Turns a picture, or a text alone, into a video.",
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
            """,
        settings: [RenderWords.table.picture] + runs + SourceOptions.all + [ResultOptions.table.json])
}

/// The words of a command that renders.
struct RenderWords: SettingTable {
    static let table = RenderWords()

    let picture = Setting(
        "picture", .path, .arguments, "The start picture; none for models that make videos of text.",
        value: "image"
    ) {
        $0.place = .optionalWord
        $0.completion = .file(pictureSuffixes)
        $0.standardText = ""
    }
}

/// How results are printed.
struct ResultOptions: SettingTable {
    static let table = ResultOptions()

    let json = Setting("json", .flag, .running, "Print results as JSON, an object a line.") {
        $0.isFirst = true
        $0.standardText = ""
    }
}

/// What every command takes.
struct ProgramOptions: SettingTable {
    static let table = ProgramOptions()

    let version = Setting("version", .flag, .options, "Show the version.") { $0.standardText = "" }
    let help = Setting("help", .flag, .options, "Show help information.") {
        $0.short = "h"
        $0.standardText = ""
    }
    let helpAll = Setting("help_all", .flag, .options, "Show every option.") {
        $0.standardText = ""
    }
}

extension AnySetting {
    /// The names with their dashes, short ones first; none of a word without an option.
    var names: [String] {
        guard traits.place == .option, let option = traits.option else { return [] }
        return (traits.short.map { ["-\($0)"] } ?? []) + ["--" + option]
            + (traits.hasNegative ? ["--no-" + option] : [])
    }

    /// Whether it stands on the command line as a word of its own.
    var isWord: Bool { traits.place != .option }
    /// Whether several words are taken.
    var takesMany: Bool { [.words, .optionalWords].contains(traits.place) || traits.repeats }
    /// The values that can be typed as they are; one in capitals stands for many.
    var words: [String] { traits.choices.filter { $0 != AskedSize.anySize } }

    /// Whether the first page of help shows it: a word, what only this command has, and what is used most.
    var isFirst: Bool { isWord || traits.isFirst || [.arguments, .batch, .options].contains(traits.group) }

    /// What it does, with its default.
    var help: String { SettingsTable.standard.help(self) }

    /// Its values and what they mean, `crop: cut to the frame's shape`, a line each; none where the words say it.
    var meanings: [String] { traits.meanings.map { "\($0.value): \($0.text)" } }

    /// The values that are listed behind the help, as far as they have no lines of their own.
    var listedChoices: [String] { traits.meanings.isEmpty ? traits.choices : [] }

    /// `-s, --seed <n>`, and `<image>` of a word.
    var label: String {
        let value = isFlag ? nil : "<\(traits.valueName ?? "value")>"
        return names.isEmpty ? value ?? "" : names.joined(separator: ", ") + (value.map { " " + $0 } ?? "")
    }

    /// The first clause of the help, for one line.
    var summary: String {
        let help = traits.help
        let end = help.firstIndex { ".;(".contains($0) } ?? help.endIndex
        var text = help[..<end]
        // A full stop inside of a word ends nothing.
        if end < help.endIndex, help[end] == ".", let after = help[end...].dropFirst().first, after != " " {
            text = help.split(separator: ". ", maxSplits: 1).first ?? text
        }
        return String(text).trimmed
    }
}

extension String {
    /// Without the spaces at both ends.
    var trimmed: String {
        var text = self[...]
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
