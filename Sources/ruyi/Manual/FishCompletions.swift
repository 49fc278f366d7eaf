import RuyiEngine

/// Completions for fish.
struct FishCompletions {
    /// The script.
    let text: String

    init(_ table: Command) {
        let commands = table.family
        var lines = [
            "# fish completion for ruyi; 'ruyi completions fish' prints it.", "",
            "# Whether the command line so far means this command.", "function __ruyi_means",
            "    set -l command ruyi", "    for word in (commandline -opc)[2..]", "        switch \"$command $word\"",
        ]
        for command in commands where !command.path.isEmpty {
            lines += ["            case '\(command.name)'", "                set command '\(command.name)'"]
        }
        lines += [
            "            case '*'", "                break", "        end", "    end",
            "    test \"$command\" = \"$argv\"", "end", "", "complete -c ruyi -f",
        ]
        for command in commands {
            let condition = "complete -c ruyi -n '__ruyi_means \(command.name)'"
            // A command's name stands in the second place, before anything else.
            for child in command.commands {
                let place = "test (count (commandline -opc)) -eq \(command.path.count + 1)"
                lines.append(
                    "complete -c ruyi -n '__ruyi_means \(command.name); and \(place)' "
                        + "-a \(child.word) -d '\(FishCompletions.quoted(child.abstract))'")
            }
            for option in command.completed {
                let action = FishCompletions.action(option)
                if option.isWord {
                    if !action.isEmpty { lines.append("\(condition) \(action)") }
                    continue
                }
                let summary = FishCompletions.quoted(option.summary)
                let value = option.isFlag ? "" : action.isEmpty ? " -x" : " -r \(action)"
                let names = option.names.map { $0.hasPrefix("--") ? "-l \($0.dropFirst(2))" : "-s \($0.dropFirst())" }
                // fish shows the short and the long name of a line as one.
                let negative = option.names.filter { $0.hasPrefix("--") }.count > 1 ? names.count - 1 : names.count
                lines.append("\(condition) \(names[..<negative].joined(separator: " "))\(value) -d '\(summary)'")
                for name in names[negative...] { lines.append("\(condition) \(name) -d '\(summary)'") }
            }
        }
        text = lines.joined(separator: "\n")
    }

    private static func action(_ option: any AnySetting) -> String {
        if !option.words.isEmpty { return "-f -a '\(quoted(option.words.joined(separator: " ")))'" }
        return switch option.traits.completion {
        case .none: ""
        case .folder: "-f -a '(__fish_complete_directories)'"
        case .model: "-f -a '(ruyi models list 2>/dev/null | string split -f 1 \" \"; __fish_complete_directories)'"
        case .file: "-F"
        }
    }

    private static func quoted(_ text: String) -> String {
        text.map { "'\\".contains($0) ? "\\\($0)" : String($0) }.joined()
    }
}
