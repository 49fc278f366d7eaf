import ArgumentParser
import RuyiEngine

/// The commands and options as they are declared: what manual, options page, completions and suggestions are made from.
struct OptionTable {
    /// A command with what it takes.
    struct Command {
        /// The words after `ruyi`; empty for the program itself.
        let path: [String]
        let abstract: String
        let discussion: String
        let usage: String
        let options: [Option]
        let commands: [Command]

        /// `ruyi`, `ruyi batch`.
        var name: String { (["ruyi"] + path).joined(separator: " ") }

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

        /// The options in the order of their declaration, by the titles of their groups.
        var sections: [(title: String, options: [Option])] {
            var result: [(title: String, options: [Option])] = []
            for option in options {
                let title = option.section ?? (option.isArgument ? "Arguments" : "Options")
                if let index = result.firstIndex(where: { $0.title == title }) {
                    result[index].options.append(option)
                } else {
                    result.append((title, [option]))
                }
            }
            return result
        }
    }

    /// An option, a flag or an argument without a name.
    struct Option: Equatable {
        /// The names with their dashes, short ones first; none of an argument.
        var names: [String]
        /// What stands for the value; nil of a flag.
        let value: String?
        let help: String
        /// The values that it takes, where they are few.
        let values: [String]
        let section: String?
        let repeats: Bool
        /// What the value completes to.
        let completion: Completion

        var isArgument: Bool { names.isEmpty }

        /// `-s, --seed <n>`, and `<image>` of an argument.
        var label: String {
            let value = value.map { "<\($0)>" }
            return names.isEmpty ? value ?? "" : names.joined(separator: ", ") + (value.map { " " + $0 } ?? "")
        }

        /// The first clause of the help, for one line.
        var summary: String {
            let end = help.firstIndex { ".;(".contains($0) } ?? help.endIndex
            var text = help[..<end]
            // A full stop inside of a word ends nothing.
            if end < help.endIndex, help[end] == ".", let after = help[end...].dropFirst().first, after != " " {
                text = help.split(separator: ". ", maxSplits: 1).first ?? text
            }
            return String(text).trimmed
        }
    }

    /// What a value can be completed with.
    enum Completion: Equatable {
        case none, folder
        case file(extensions: [String])
    }

    /// The table of the whole program.
    static func read() throws -> Command {
        let root = try JSON.parse(Array(Ruyi._dumpHelp().utf8), file: "the option table")["command"] ?? .null
        return command(Ruyi.self, root, path: [])
    }

    private static func command(_ type: any ParsableCommand.Type, _ json: JSON, path: [String]) -> Command {
        let nodes = json["subcommands"]?.array ?? []
        let commands = type.configuration.subcommands.filter { $0.configuration.shouldDisplay }.map { child in
            let node = nodes.first { $0["commandName"]?.string == child._commandName } ?? .null
            return command(child, node, path: path + [child._commandName])
        }
        return Command(
            path: path, abstract: type.configuration.abstract, discussion: type.configuration.discussion,
            usage: type.configuration.usage ?? (["ruyi"] + path + ["[<options>]"]).joined(separator: " "),
            options: options(json["arguments"]?.array ?? []), commands: commands)
    }

    /// The options of a command; the name that switches a flag off goes with the one that switches it on.
    private static func options(_ list: [JSON]) -> [Option] {
        list.map(option).reduce(into: []) { options, option in
            guard let last = options.last, option.names.map({ "--" + $0.dropFirst(5) }) == last.names,
                option.help == last.help
            else {
                options.append(option)
                return
            }
            options[options.count - 1].names += option.names
        }
    }

    private static func option(_ json: JSON) -> Option {
        var names: [String] = (json["names"]?.array ?? []).map { name in
            (name["kind"]?.string == "long" ? "--" : "-") + (name["name"]?.string ?? "")
        }
        names.sort { $0.hasPrefix("--") == $1.hasPrefix("--") ? false : !$0.hasPrefix("--") }
        let kind = json["completionKind"]
        let extensions = kind?["file"]?["extensions"]?.array?.compactMap(\.string)
        let completion: Completion =
            kind?["directory"] != nil || kind?.string == "directory"
            ? .folder : kind?["file"] != nil || kind?.string == "file" ? .file(extensions: extensions ?? []) : .none
        return Option(
            names: names, value: json["kind"]?.string == "flag" ? nil : json["valueName"]?.string ?? "value",
            help: (json["abstract"]?.string ?? "") + defaultText(json),
            values: json["allValues"]?.array?.compactMap(\.string) ?? [],
            section: json["sectionTitle"]?.string, repeats: json["isRepeating"]?.bool ?? false, completion: completion)
    }

    /// The default that the parser knows of, as its help shows it.
    private static func defaultText(_ json: JSON) -> String {
        json["defaultValue"]?.string.map { " (default: \($0))" } ?? ""
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
