import RuyiEngine

/// What a shell needs to complete command lines of the program.
struct CompletionsCommand: PrintingCommand {
    struct Options: SettingTable {
        static let table = Options()

        let shell = Setting(
            "shell", SettingKind<Shell>.named, .arguments, "bash, zsh or fish.", value: "shell"
        ) {
            $0.place = .word
            $0.standardText = ""
        }
    }

    static let command = Command(
        "completions", .printing { CompletionsCommand(given: Given($0)) },
        "Prints what a shell needs to complete commands and options.",
        usage: "ruyi completions <shell>",
        discussion: """
            'Scripts/install' puts the files where the shells look. By hand:

              ruyi completions bash > ~/.local/share/bash-completion/completions/ruyi
              ruyi completions zsh > ~/.local/share/zsh/site-functions/_ruyi
              ruyi completions fish > ~/.config/fish/completions/ruyi.fish
            """, settings: Options.all)

    let given: Given<Options>

    func answer(print: (String) throws -> Void) throws -> Faults? {
        switch given.shell {
        case .bash, nil: try print(BashCompletions(.root).text)
        case .zsh: try print(ZshCompletions(.root).text)
        case .fish: try print(FishCompletions(.root).text)
        }
        return nil
    }
}

/// A shell that completes.
enum Shell: String, CaseIterable, Sendable { case bash, zsh, fish }

extension Command {
    /// The words and options that may follow this command's name.
    var completed: [any AnySetting] {
        path.isEmpty ? settings : settings + [ProgramOptions.table.help, ProgramOptions.table.helpAll]
    }
}
