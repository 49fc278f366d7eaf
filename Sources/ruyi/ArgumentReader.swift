import Glibc
import RuyiEngine

/// Reads a command's arguments by its table of settings.
struct ArgumentReader {
    /// What the arguments mean: the command, and the help that they may ask for.
    enum Meaning {
        case run(Command, SettingValues)
        case help(Command, isWhole: Bool)
        /// How to write prompts.
        case prompts
        case version
        /// Nothing is asked for.
        case nothing
    }

    /// What `ruyi help` takes beside the commands.
    static let promptsTopic = "prompts"

    private let command: Command
    private let options: [String: any AnySetting]
    private var values = SettingValues()
    private var words: [String] = []
    private var faults: [Fault] = []
    /// The word after an option that does not exist may be its value.
    private var followsUnknown = false

    private init(_ command: Command) {
        self.command = command
        var options: [String: any AnySetting] = [:]
        for setting in command.settings {
            for name in setting.names { options[name] = setting }
        }
        self.options = options
    }

    /// What a whole command line means; everything wrong with it is thrown together.
    static func read(_ arguments: [String]) throws(Faults) -> Meaning {
        if arguments.isEmpty { return .nothing }
        var rest = arguments[...]
        let asksForHelp = rest.first == "help"
        if asksForHelp { rest = rest.dropFirst() }
        if asksForHelp, rest.first == ArgumentReader.promptsTopic { return .prompts }
        let command = command(&rest)
        let options = rest.prefix { $0 != "--" }
        let isWhole = options.contains("--help-all")
        if asksForHelp || isWhole || options.contains("--help") || options.contains("-h") {
            // The default command's help is the program's help.
            return .help(command.path == Command.render.path ? Command.root : command, isWhole: isWhole)
        }
        if options.contains("--version") { return .version }
        if let word = arguments.first, command.path.isEmpty, let near = nearCommand(word) {
            throw Faults(Fault(.usage, "there is no command '\(word)'", hint: "did you mean 'ruyi \(near)'?"))
        }
        if case .group = command.action, let word = rest.first {
            let near = Nearest.match(word, among: command.commands.map(\.word))
            throw Faults(
                Fault(
                    .usage, "there is no command '\(command.name) \(word)'",
                    hint: near.map { "did you mean '\(command.name) \($0)'?" }
                        ?? "'\(command.name) --help' lists the commands"))
        }
        var reader = ArgumentReader(command)
        reader.read(rest)
        if let first = reader.faults.first { throw Faults(first, Array(reader.faults.dropFirst())) }
        return .run(command, reader.values)
    }

    /// The command that the arguments begin with, and takes its words away; the first of a group needs no name.
    private static func command(_ rest: inout ArraySlice<String>) -> Command {
        var command = Command.root
        while let word = rest.first, let next = command.commands.first(where: { $0.word == word }) {
            command = next
            rest = rest.dropFirst()
        }
        if case .group = command.action, rest.first.map({ $0.hasPrefix("-") }) ?? true,
            !rest.contains(where: { ["--help", "-h", "--help-all"].contains($0) })
        {
            return command.commands.first ?? command
        }
        return command
    }

    /// The command whose name a first word nearly is, unless it is a picture's or an option.
    private static func nearCommand(_ word: String) -> String? {
        guard !word.isEmpty, !word.hasPrefix("-"), !word.contains("."), !word.contains("/"),
            System.access(word, F_OK) != 0
        else { return nil }
        return Nearest.match(word, among: Command.root.commands.map(\.word))
    }

    // MARK: Reading

    private mutating func read(_ arguments: ArraySlice<String>) {
        var rest = arguments
        while let argument = rest.popFirst() {
            if argument == "--" {
                words += rest
                break
            }
            guard argument.hasPrefix("-"), argument != "-" else {
                if !followsUnknown { words.append(argument) }
                followsUnknown = false
                continue
            }
            followsUnknown = false
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if let setting = options[parts[0]] {
                take(setting, as: parts[0], parts.count > 1 ? parts[1] : nil, &rest)
            } else if !argument.hasPrefix("--"), let setting = options[String(argument.prefix(2))] {
                takeShort(setting, argument, &rest)
            } else {
                unknown(parts[0])
                followsUnknown = parts.count == 1
            }
        }
        takeWords()
    }

    private mutating func take(
        _ setting: any AnySetting, as name: String, _ value: String?, _ rest: inout ArraySlice<String>
    ) {
        if setting.isFlag {
            if value != nil {
                faults.append(Fault(.usage, "'\(name)' takes no value", hint: "write \(name) alone"))
                return
            }
            let isOn = !(setting.traits.hasNegative && name == "--no-" + (setting.traits.option ?? ""))
            _ = setting.read(text: isOn ? "true" : "false", reading(setting), into: &values)
            return
        }
        guard let text = value ?? next(&rest) else {
            let form = "<\(setting.traits.valueName ?? "value")>"
            let hint =
                "write \(name) \(form)"
                + (rest.isEmpty ? "" : ", or \(setting.option)=\(form) for a value that begins with a dash")
            faults.append(Fault(.usage, "missing value for '\(name)'", hint: hint))
            return
        }
        if setting.add(text: text, reading(setting), to: &values) { return check(setting) }
        faults.append(wrong(text, setting, name))
    }

    /// `-s42` and `-qv` are what `-s 42` and `-q -v` are.
    private mutating func takeShort(_ setting: any AnySetting, _ argument: String, _ rest: inout ArraySlice<String>) {
        let (name, tail) = (String(argument.prefix(2)), String(argument.dropFirst(2)))
        if !setting.isFlag { return take(setting, as: name, tail, &rest) }
        take(setting, as: name, nil, &rest)
        rest = ["-" + tail] + rest
    }

    /// The word that is an option's value: any that cannot be an option itself, such as a number below zero or a text with
    /// spaces.
    private func next(_ rest: inout ArraySlice<String>) -> String? {
        guard let word = rest.first, !looksLikeOption(word) else { return nil }
        return rest.popFirst()
    }

    private func looksLikeOption(_ word: String) -> Bool {
        guard word.hasPrefix("-"), word != "-", !word.contains(where: \.isWhitespace) else { return false }
        return word.hasPrefix("--") || options[String(word.prefix(2))] != nil
    }

    /// Bounds of options that are no settings of a run, whose bounds are looked at with their other sources.
    private mutating func check(_ setting: any AnySetting) {
        if SettingsTable.standard[setting.key] == nil, let what = setting.fault(values) {
            faults.append(Fault(.usage, what))
        }
    }

    private mutating func takeWords() {
        var rest = words[...]
        for setting in command.settings where setting.isWord {
            let isMany = setting.takesMany
            let isNeeded = [.word, .words].contains(setting.traits.place)
            if rest.isEmpty, isNeeded, faults.isEmpty {
                let name = setting.traits.valueName ?? setting.key
                faults.append(
                    Fault(.usage, "missing argument <\(name)>", hint: "it is: " + command.usage))
            }
            while let word = rest.popFirst() {
                if !setting.add(text: word, reading(setting), to: &values) {
                    faults.append(wrong(word, setting, "<\(setting.traits.valueName ?? setting.key)>"))
                }
                if !isMany { break }
            }
        }
        for word in rest {
            faults.append(
                Fault(.usage, "unexpected argument '\(word)'", hint: "'\(command.name) --help' lists the options"))
        }
    }

    private func reading(_ setting: any AnySetting) -> SettingReading {
        SettingReading(key: setting.option, file: "command line")
    }

    // MARK: Mistakes

    private mutating func unknown(_ name: String) {
        let names = options.keys + ["--help", "--help-all", "--version"]
        let near = name.hasPrefix("--") ? Nearest.match(name, among: names.filter { $0.hasPrefix("--") }) : nil
        faults.append(
            Fault(
                .usage, "unknown option '\(name)'",
                hint: near.map { "did you mean '\($0)'?" } ?? "'\(command.name) --help' lists the options"))
    }

    private func wrong(_ text: String, _ setting: any AnySetting, _ name: String) -> Fault {
        let near = Nearest.match(text, among: setting.words)
        let list = setting.traits.choices.joined(separator: ", ")
        let hint =
            list.isEmpty
            ? "it takes \(setting.expected)"
            : near.map { "did you mean '\($0)'? There are \(list)" } ?? "use one of " + list
        return Fault(.usage, "the value '\(text.prefix(80))' is invalid for '\(name)'", hint: hint)
    }
}
