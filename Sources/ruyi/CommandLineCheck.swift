import ArgumentParser
import Glibc
import RuyiEngine

/// Says what is wrong with a command line that the parser refuses, and what was probably meant.
enum CommandLineCheck {
    /// Everything that can be said of the arguments, where the parser says `message` of the first mistake alone.
    static func faults(_ message: String, _ arguments: [String]) -> Faults {
        guard let table = try? OptionTable.read() else { return Faults(usage(message, "ruyi")) }
        let (command, rest) = command(arguments, table)
        if let first = arguments.first, command.path.isEmpty, let near = nearest(first, commands(table)) {
            return Faults(unknown(first, near))
        }
        let found = mistakes(rest, command)
        let parsed = usage(message, command.name)
        // The parser's own message comes first, unless it is about one of these.
        let isKnown = found.contains { fault in fault.words.contains { message.contains($0) } }
        let list = found.map(\.fault)
        if isKnown, let first = list.first { return Faults(first, Array(list.dropFirst())) }
        return Faults(parsed, list)
    }

    /// The fault of a first word that is no picture and looks like the name of a command.
    static func unknownCommand(_ arguments: [String]) -> Fault? {
        guard let word = arguments.first, !word.contains("."), !word.contains("/"), System.access(word, F_OK) != 0
        else {
            return nil
        }
        let names = Ruyi.configuration.subcommands.map { $0._commandName }
        guard !names.contains(word), let near = nearest(word, names) else { return nil }
        return unknown(word, near)
    }

    private static func unknown(_ word: String, _ near: String) -> Fault {
        Fault(.usage, "there is no command '\(word)'", hint: "did you mean 'ruyi \(near)'?")
    }

    private static func commands(_ command: OptionTable.Command) -> [String] {
        command.commands.compactMap(\.path.last)
    }

    /// The word that is one or two edits away, among others that are not.
    private static func nearest(_ word: String, _ names: [String]) -> String? {
        guard !word.isEmpty, !word.hasPrefix("-"), !word.contains("."), !word.contains("/") else { return nil }
        return Nearest.match(word, among: names)
    }

    /// The command that the arguments mean, and what follows its name.
    private static func command(
        _ arguments: [String], _ table: OptionTable.Command
    ) -> (OptionTable.Command, ArraySlice<String>) {
        var command = table
        var rest = arguments[...]
        while let word = rest.first, let next = command.commands.first(where: { $0.path.last == word }) {
            command = next
            rest = rest.dropFirst()
        }
        return (command, rest)
    }

    /// Options that do not exist and values that an option does not take.
    private static func mistakes(
        _ arguments: ArraySlice<String>, _ command: OptionTable.Command
    ) -> [(fault: Fault, words: [String])] {
        let options = command.completed.options
        let names = options.flatMap(\.names) + ["--help", "-h", "--help-hidden", "--version"]
        var result: [(fault: Fault, words: [String])] = []
        var rest = arguments
        while let word = rest.popFirst(), word != "--" {
            guard word.hasPrefix("--") else {
                if let option = options.first(where: { $0.names.contains(word) }), option.value != nil {
                    take(rest.popFirst(), word, option)
                }
                continue
            }
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let name = parts[0]
            guard names.contains(name) else {
                let near = Nearest.match(name, among: names.filter { $0.hasPrefix("--") })
                result.append(
                    (
                        Fault(
                            .usage, "unknown option '\(name)'",
                            hint: near.map { "did you mean '\($0)'?" } ?? "'\(command.name) --help' lists the options"),
                        [name]
                    ))
                continue
            }
            guard let option = options.first(where: { $0.names.contains(name) }), option.value != nil else { continue }
            take(parts.count > 1 ? parts[1] : rest.popFirst(), name, option)
        }
        return result

        func take(_ value: String?, _ name: String, _ option: OptionTable.Option) {
            // Values in capitals stand for many.
            guard let value, !option.values.isEmpty, option.words.count == option.values.count,
                !option.values.contains(value)
            else { return }
            let near = Nearest.match(value, among: option.values)
            let list = option.values.joined(separator: ", ")
            result.append(
                (
                    Fault(
                        .usage, "the value '\(value)' is invalid for '\(name)'",
                        hint: near.map { "did you mean '\($0)'? There are \(list)" } ?? "use one of " + list), [name]
                ))
        }
    }

    /// The parser's message in the program's own form: what is wrong, and the way out as a hint.
    private static func usage(_ message: String, _ command: String) -> Fault {
        for (end, form) in [(". Did you mean ", "did you mean %"), (". Please provide one of ", "use one of %")] {
            guard let range = message.firstRange(of: end) else { continue }
            let rest = message[range.upperBound...]
            // Allowed values come as a sentence or as a list with dashes.
            let values = rest.split(separator: "\n").filter { $0.hasPrefix("  - ") }.map { $0.dropFirst(4) }
            let sentence = rest.split(separator: "'", omittingEmptySubsequences: false).enumerated().filter {
                !$0.offset.isMultiple(of: 2)
            }.map(\.element)
            let listed =
                form.hasPrefix("did") ? String(rest) : (values.isEmpty ? sentence : values).joined(separator: ", ")
            return Fault(.usage, lowered(message[..<range.lowerBound]), hint: form.dropLast() + listed)
        }
        return Fault(.usage, lowered(message[...]), hint: "'\(command) --help' lists the options")
    }

    private static func lowered(_ text: Substring) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.prefix(1).lowercased() + line.dropFirst()
    }
}
