import RuyiEngine

/// The page of all commands and options in Markdown.
struct OptionsPage {
    /// The page.
    let text: String

    init(_ table: Command) {
        let render = Command.render
        var lines = [
            "# Commands and options", "",
            "`Scripts/generate-documentation` writes this page and `ruyi.1` from the program's own table of options.",
            "",
            table.discussion, "", "| command | |", "| --- | --- |",
        ]
        lines += table.family.filter { !$0.path.isEmpty }.map { command in
            let link = "#" + command.name.map { $0 == " " ? "-" : String($0) }.joined()
            return "| [`\(command.name)`](\(link)) | \(OptionsPage.cell(command.abstract)) |"
        }
        for command in table.family {
            let (own, shared) = command.sections(besides: render)
            lines += ["", "## " + command.name, "", command.path.isEmpty ? "Of the program itself." : command.abstract]
            lines += ["", "```", command.usage, "```"]
            let (prose, examples) = command.prose
            if !command.path.isEmpty, !prose.isEmpty { lines += [""] + OptionsPage.prose(prose) }
            if !examples.isEmpty { lines += ["", "```"] + examples + ["```"] }
            if !shared.isEmpty {
                lines += ["", "As in [`ruyi render`](#ruyi-render): \(shared.joined(separator: "; "))."]
            }
            for section in own {
                lines += ["", "| \(section.title) | |", "| --- | --- |"]
                lines += section.settings.map { option in
                    let choices = option.listedChoices
                    let values = choices.isEmpty ? "" : " Values: \(choices.joined(separator: ", "))."
                    let help =
                        option.help.isEmpty
                        ? ""
                        : ([option.help + values] + option.meanings).map(OptionsPage.cell).joined(separator: "<br>")
                    return "| `\(OptionsPage.cell(option.label))` | \(help) |"
                }
            }
        }
        lines += ["", "## Exit codes", "", "| code | name | meaning |", "| ---: | --- | --- |"]
        lines += ExitStatus.all.map { "| \($0.code) | \($0.name) | \($0.meaning) |" }
        lines += ["", "## Environment variables", "", "| variable | |", "| --- | --- |"]
        lines += [
            "| `RUYI_NAME` | The value of the option --name: `RUYI_STEPS` of `--steps`, `RUYI_BASE_RESOLUTION` of "
                + "`--base-resolution`. |"
        ]
        lines += EnvironmentVariable.all.map { "| `\($0.name)` | \(OptionsPage.cell($0.meaning)) |" }
        lines += ["", "## Files", "", "| file | |", "| --- | --- |"]
        lines += KnownFile.all.map { "| `\($0.name)` | \($0.meaning) |" }
        text = lines.joined(separator: "\n")
    }

    /// Paragraphs, with indented lines as a block.
    private static func prose(_ text: String) -> [String] {
        var result: [String] = []
        var isLiteral = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            let indented = line.hasPrefix("  ")
            if indented != isLiteral { result.append("```") }
            isLiteral = indented
            result.append(line.trimmed)
        }
        return result + (isLiteral ? ["```"] : [])
    }

    /// A text that stands in a cell of a table.
    private static func cell(_ text: String) -> String {
        text.map { $0 == "|" ? "\\|" : $0 == "\n" ? " " : String($0) }.joined()
    }
}
