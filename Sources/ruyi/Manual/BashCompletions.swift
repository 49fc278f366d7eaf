import RuyiEngine

/// Completions for bash 4.1 or newer, with or without the bash-completion package.
struct BashCompletions {
    /// The script.
    let text: String

    init(_ table: Command) {
        let commands = table.family
        var lines = [
            "# bash completion for ruyi; 'ruyi completions bash' prints it.", "",
            "# Words that begin like the one that is typed.",
            "_ruyi_words() { COMPREPLY+=($(compgen -W \"$1\" -- \"$word\")); }", "",
            "# Folders, and files with one of these extensions; all files without any.",
            "_ruyi_files() {",
            "    local name extension", "    compopt -o filenames 2> /dev/null",
            "    while IFS= read -r name; do",
            "        if [[ $# -eq 0 || -d $name ]]; then COMPREPLY+=(\"$name\"); continue; fi",
            "        for extension; do [[ ${name,,} == *.\"$extension\" ]] && COMPREPLY+=(\"$name\"); done",
            "    done < <(compgen -f -- \"$word\")", "}", "",
            "# Models that are here, by name.",
            "_ruyi_models() { _ruyi_words \"$(ruyi models list 2> /dev/null | cut -d ' ' -f 1)\"; }", "",
            "_ruyi_folders() {",
            "    local name", "    compopt -o filenames 2> /dev/null",
            "    while IFS= read -r name; do COMPREPLY+=(\"$name\"); done < <(compgen -d -- \"$word\")", "}", "",
            "_ruyi() {",
            "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=ruyi index=1",
            "    COMPREPLY=()",
            "    # bash takes the sign of --name=value for a word.",
            "    if [[ $word == = ]]; then word=; elif [[ $previous == = ]]; then previous=${COMP_WORDS[COMP_CWORD - 2]}; fi",
            "    while ((index < COMP_CWORD)); do",
            "        case \"$command ${COMP_WORDS[index]}\" in",
        ]
        for command in commands where !command.path.isEmpty {
            lines.append("            '\(command.name)') command='\(command.name)' ;;")
        }
        lines += [
            "            *) break ;;", "        esac", "        index=$((index + 1))", "    done",
            "    case \"$command $previous\" in",
        ]
        for command in commands {
            for option in command.completed where !option.isWord && !option.isFlag {
                let patterns = option.names.map { "'\(command.name) \($0)'" }.joined(separator: " | ")
                lines.append("        \(patterns)) \(BashCompletions.action(option)); return ;;")
            }
        }
        lines += ["    esac", "    case $command in"]
        for command in commands {
            lines.append("        '\(command.name)')")
            let names = command.completed.flatMap(\.names).joined(separator: " ")
            lines.append("            if [[ $word == -* ]]; then _ruyi_words '\(names)'; return; fi")
            if !command.commands.isEmpty {
                let words = command.commands.map(\.word).joined(separator: " ")
                lines.append("            ((index < COMP_CWORD)) || _ruyi_words '\(words)'")
            }
            for option in command.completed where option.isWord {
                lines.append("            \(BashCompletions.action(option))")
            }
            lines.append("            ;;")
        }
        lines += ["    esac", "}", "complete -F _ruyi ruyi"]
        text = lines.joined(separator: "\n")
    }

    private static func action(_ option: any AnySetting) -> String {
        if !option.words.isEmpty { return "_ruyi_words '\(option.words.joined(separator: " "))'" }
        return switch option.traits.completion {
        case .none: ":"
        case .folder: "_ruyi_folders"
        case .model: "_ruyi_models; _ruyi_folders"
        case .file(let extensions): (["_ruyi_files"] + extensions).joined(separator: " ")
        }
    }
}
