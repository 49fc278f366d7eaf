import RuyiEngine

/// The man page ruyi(1).
struct ManualPage {
    /// The page in the macros of man(7).
    let text: String

    init(_ table: Command) {
        let render = Command.render
        var page = Roff()
        page.macro("TH", "RUYI", "1", Program.date, "ruyi " + Program.version, "User Commands")
        page.macro("SH", "NAME")
        page.text("ruyi - turns a picture into a video")
        page.macro("SH", "SYNOPSIS")
        for command in table.family where command.commands.isEmpty { page.synopsis(command.usage) }
        page.macro("SH", "DESCRIPTION")
        page.prose(table.discussion)
        page.prose(render.prose.text)
        page.macro("SH", "COMMANDS")
        for command in table.family where !command.path.isEmpty {
            page.entry(command.name, command.abstract)
        }
        page.macro("SH", "OPTIONS")
        page.text("These are the options of ruyi render, which are those of ruyi too.")
        for section in render.sections { page.section(section.title, section.settings) }
        for command in table.family where command.path != render.path {
            let (own, shared) = command.sections(besides: render)
            page.macro("SS", "Options of " + (command.path.isEmpty ? "the program" : command.name))
            if !command.path.isEmpty { page.prose(command.prose.text) }
            if !shared.isEmpty {
                page.text("As in ruyi render: " + shared.map { "“\($0)”" }.joined(separator: ", ") + ".")
            }
            for section in own { page.options(section.settings) }
        }
        page.macro("SH", "EXIT STATUS")
        for status in ExitStatus.all { page.entry(String(status.code), status.meaning + ".") }
        page.macro("SH", "ENVIRONMENT")
        page.entry(
            "RUYI_NAME",
            "The value of the option --name: RUYI_STEPS of --steps, RUYI_BASE_RESOLUTION of --base-resolution.")
        for variable in EnvironmentVariable.all { page.entry(variable.name, variable.meaning) }
        page.macro("SH", "FILES")
        for file in KnownFile.all { page.entry(file.name, file.meaning) }
        page.macro("SH", "EXAMPLES")
        page.examples(table.family.flatMap(\.prose.examples))
        text = page.lines.joined(separator: "\n")
    }
}

/// Lines of a man page.
private struct Roff {
    var lines: [String] = []

    mutating func macro(_ name: String, _ words: String...) {
        if lines.last == ".PP" { lines.removeLast() }
        // The title line is read by programs, which want the date as it is.
        let words = words.map { name == "TH" ? $0 : Roff.escaped($0) }
        lines.append("." + ([name] + words.map { "\"\($0)\"" }).joined(separator: " "))
    }

    /// A line of text.
    mutating func text(_ text: String) {
        for line in TextLines.wrapped(Roff.escaped(text), 78) {
            // A full stop at the beginning of a line makes a request of it.
            lines.append(line.hasPrefix(".") ? "\\&" + line : line)
        }
    }

    /// Paragraphs, of which indented lines are taken as they stand.
    mutating func prose(_ text: String) {
        var isLiteral = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            let indented = line.hasPrefix("  ")
            if indented != isLiteral {
                lines += indented ? [".PP", ".RS 4", ".nf"] : [".fi", ".RE"]
                isLiteral = indented
            }
            if line.isEmpty {
                lines.append(".PP")
            } else if indented {
                lines.append(Roff.escaped(line.trimmed))
            } else {
                self.text(line)
            }
        }
        if isLiteral { lines += [".fi", ".RE"] }
        lines.append(".PP")
        tidy()
    }

    /// A paragraph needs something to be apart from: no two in a row, and none before a heading or a list.
    private mutating func tidy() {
        var result: [String] = []
        for line in lines {
            let isParagraph = line == ".PP"
            if isParagraph, let last = result.last, last == ".PP" || last == ".RE" || last.hasPrefix(".S") { continue }
            result.append(line)
        }
        lines = result
    }

    mutating func synopsis(_ usage: String) {
        macro("SY", "ruyi")
        text(usage.hasPrefix("ruyi ") ? String(usage.dropFirst(5)) : usage)
        lines.append(".YS")
    }

    mutating func section(_ title: String, _ options: [any AnySetting]) {
        macro("SS", title)
        self.options(options)
    }

    mutating func options(_ options: [any AnySetting]) {
        for option in options {
            let names = option.names.map { "\\fB\(Roff.escaped($0))\\fR" }.joined(separator: ", ")
            let value = option.isFlag ? "" : "\\fI\(Roff.escaped(option.traits.valueName ?? "value"))\\fR"
            let choices = option.listedChoices
            let values = choices.isEmpty ? "" : " (values: \(choices.joined(separator: ", ")))"
            entry(raw: [names, value].filter { !$0.isEmpty }.joined(separator: " "), option.help + values)
            for meaning in option.meanings {
                lines.append(".br")
                text(meaning)
            }
        }
    }

    mutating func entry(_ term: String, _ text: String) { entry(raw: "\\fB\(Roff.escaped(term))\\fR", text) }

    private mutating func entry(raw term: String, _ text: String) {
        if lines.last == ".PP" { lines.removeLast() }
        lines += [".TP", term]
        self.text(text.isEmpty ? "No more is to say." : text)
    }

    mutating func examples(_ examples: [String]) {
        lines += [".nf"]
        lines += examples.map(Roff.escaped)
        lines += [".fi"]
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "\\": "\\e"
            case "-": "\\-"
            case "\"": "\\(dq"
            case "'": "\\(aq"
            case "`": "\\(ga"
            case "^": "\\(ha"
            case "~": "\\(ti"
            case "“": "\\(lq"
            case "”": "\\(rq"
            default: String(character)
            }
        }.joined()
    }
}
