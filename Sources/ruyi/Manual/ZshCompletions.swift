import RuyiEngine

/// Completions for zsh.
struct ZshCompletions {
    /// The script.
    let text: String

    init(_ table: Command) {
        var lines = ["#compdef ruyi", "# 'ruyi completions zsh' prints this.", ""]
        for command in table.family { lines += ZshCompletions.function(command) + [""] }
        lines += [
            "if [[ $funcstack[1] == _ruyi ]]; then", "    _ruyi \"$@\"", "else", "    compdef _ruyi ruyi", "fi",
        ]
        text = lines.joined(separator: "\n")
    }

    private static func function(_ command: Command) -> [String] {
        var lines = ["\(name(command))() {"]
        if !command.commands.isEmpty {
            lines += ["    local -a commands", "    commands=("]
            lines += command.commands.map { child in
                "        '\(quoted(child.word + ":" + child.abstract))'"
            }
            lines += ["    )", "    if ((CURRENT > 2)); then", "        case $words[2] in"]
            lines += command.commands.map { child in
                "            \(child.word)) shift words; ((CURRENT--)); \(name(child)); return ;;"
            }
            lines += [
                "        esac", "    elif [[ $PREFIX != -* ]]; then", "        _describe -t commands command commands",
                "    fi",
            ]
        }
        lines.append("    _arguments -s -S \\")
        lines += command.completed.flatMap { option in specifications(option).map { "        \($0) \\" } }
        if var last = lines.last, last.hasSuffix(" \\") {
            last.removeLast(2)
            lines[lines.count - 1] = last
        }
        return lines + ["}"]
    }

    private static func name(_ command: Command) -> String {
        (["_ruyi"] + command.path).joined(separator: "_")
    }

    /// The option in the language of `_arguments`, a text for each name.
    private static func specifications(_ option: any AnySetting) -> [String] {
        let action = option.isFlag ? "" : ":" + escaped(option.traits.valueName ?? "value") + ":" + self.action(option)
        if option.isWord { return ["'\(quoted((option.takesMany ? "*" : "") + action))'"] }
        // Once an option is there, it and its other names are not offered again.
        let others = option.takesMany ? "*" : option.names.count > 1 ? "(\(option.names.joined(separator: " ")))" : ""
        return option.names.map { name in
            let form = !option.isFlag && name.hasPrefix("--") ? name + "=" : name
            return "'\(quoted(others + form + "[" + escaped(option.summary) + "]" + action))'"
        }
    }

    private static func action(_ option: any AnySetting) -> String {
        if !option.words.isEmpty { return "(" + option.words.joined(separator: " ") + ")" }
        return switch option.traits.completion {
        case .none: " "
        case .folder: "_files -/"
        case .model: "{_values model ${(f)\"$(ruyi models list 2>/dev/null | cut -d \" \" -f 1)\"}; _files -/}"
        case .file(let extensions):
            files(extensions)
        }
    }

    /// Folders, and files with one of these extensions; all files without any.
    private static func files(_ extensions: [String]) -> String {
        // A single word in parentheses at the end of a pattern would be a qualifier.
        let list = extensions.count == 1 ? extensions[0] : "(\(extensions.joined(separator: "|")))"
        return extensions.isEmpty ? "_files" : "_files -g \"(#i)*.\(list)\""
    }

    /// Brackets and colons mean something to `_arguments`.
    private static func escaped(_ text: String) -> String {
        text.map { "[]:\\".contains($0) ? "\\\($0)" : String($0) }.joined()
    }

    /// A text between single quotes.
    private static func quoted(_ text: String) -> String {
        text.map { $0 == "'" ? "'\\''" : String($0) }.joined()
    }
}
