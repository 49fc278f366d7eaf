import RuyiEngine

/// The help of a command for a terminal of 80 columns.
struct HelpPage {
    /// The text.
    let text: String

    /// More options than this are no help any more.
    private static let limit = 30

    /// Help with all options, or with those that people use first.
    init(_ command: Command, isWhole: Bool) {
        let shown = command.path.isEmpty ? Command.render : command
        var lines = HelpPage.wrapped("OVERVIEW: " + shown.abstract)
        if !shown.discussion.isEmpty { lines += [""] + HelpPage.prose(shown.discussion) }
        lines += [""] + HelpPage.wrapped("USAGE: " + shown.usage)
        let usual = shown.settings.filter { !$0.traits.isHidden }
        let isShort = !isWhole && usual.count > HelpPage.limit
        for (title, settings) in shown.sections {
            let settings = settings.filter { setting in
                isWhole || !setting.traits.isHidden && (!isShort || setting.isFirst)
            }
            if settings.isEmpty { continue }
            lines += ["", title.uppercased() + ":"] + settings.flatMap(HelpPage.entry)
        }
        let common: [any AnySetting] =
            (command.path.isEmpty ? [ProgramOptions.table.version] : [])
            + [ProgramOptions.table.help, ProgramOptions.table.helpAll]
        if !shown.sections.contains(where: { $0.title == SettingGroup.options.rawValue }) { lines += ["", "OPTIONS:"] }
        lines += common.flatMap(HelpPage.entry)
        if isShort {
            lines.append("")
            lines += HelpPage.wrapped(
                "These are the options that people use first. '\(shown.name) --help-all' shows all "
                    + "\(shown.settings.count).")
        }
        if !command.commands.isEmpty { lines += HelpPage.commands(command) }
        text = lines.joined(separator: "\n")
    }

    /// What is printed where nothing is asked for.
    static let short: String = {
        let examples = Command.render.prose.examples.prefix(3).map { "  " + $0 }
        let names = Command.root.commands.map(\.word).joined(separator: ", ")
        return
            (["Usage: " + Command.root.usage, ""] + examples + [""] + wrapped("Commands: " + names)
            + ["'ruyi --help' says more."]).joined(separator: "\n")
    }()

    private static let width = 80
    /// The column in which texts begin.
    private static let column = 26

    private static func wrapped(_ text: String) -> [String] { TextLines.wrapped(text, width) }

    /// Paragraphs, of which indented lines are taken as they stand.
    private static func prose(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
            line.isEmpty ? [""] : line.hasPrefix("  ") ? [String(line)] : wrapped(String(line))
        }
    }

    /// A setting's names and what it does.
    private static func entry(_ setting: any AnySetting) -> [String] {
        let names = setting.names
        let value = setting.isFlag ? "" : "<\(setting.traits.valueName ?? "value")>"
        var label = names.joined(separator: ", ")
        if setting.traits.hasNegative {
            label = names.dropLast().joined(separator: ", ") + "/" + (names.last ?? "")
        }
        label = "  " + [label, value].filter { !$0.isEmpty }.joined(separator: " ")
        let choices = setting.listedChoices
        let values = choices.isEmpty ? "" : " (values: \(choices.joined(separator: ", ")))"
        let indent = String(repeating: " ", count: column)
        return entry(label, setting.help + values, at: column)
            + setting.meanings.flatMap { TextLines.wrapped($0, width - column).map { indent + $0 } }
    }

    /// A text beside its label, or below it where there is no room.
    private static func entry(_ label: String, _ text: String, at column: Int) -> [String] {
        let indent = String(repeating: " ", count: column)
        let body = TextLines.wrapped(text, width - column).map { indent + $0 }
        guard label.count < column, let first = body.first else { return [label] + body }
        return [label + first.dropFirst(label.count)] + body.dropFirst()
    }

    private static func commands(_ command: Command) -> [String] {
        let column = (command.commands.map(\.word.count).max() ?? 0) + 4
        return ["", "COMMANDS:"] + command.commands.flatMap { entry("  " + $0.word, $0.abstract, at: column) } + [
            "", "  '\(command.name) <command> --help' says more of a command",
        ]
            + (command.path.isEmpty
                ? [
                    "  'ruyi help \(ArgumentReader.promptsTopic)' says how to write prompts for each model",
                    "  and 'man ruyi' or 'ruyi man' holds everything.",
                ] : [])
    }
}
