import ArgumentParser
import RuyiEngine

/// What a shell needs to complete command lines of the program.
struct CompletionsCommand: PrintingCommand {
    static let configuration = CommandConfiguration(
        commandName: "completions",
        abstract: "Prints what a shell needs to complete ruyi's commands, options and values.",
        usage: "ruyi completions <shell>",
        discussion: """
            'Scripts/install' puts the files where the shells look. By hand:

              ruyi completions bash > ~/.local/share/bash-completion/completions/ruyi
              ruyi completions zsh > ~/.local/share/zsh/site-functions/_ruyi
              ruyi completions fish > ~/.config/fish/completions/ruyi.fish
            """)

    @Argument(help: ArgumentHelp("bash, zsh or fish.", valueName: "shell")) var shell: Shell

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let table = try OptionTable.read()
        switch shell {
        case .bash: try print(BashCompletions(table).text)
        case .zsh: try print(ZshCompletions(table).text)
        case .fish: try print(FishCompletions(table).text)
        }
        return nil
    }
}

/// A shell that completes.
enum Shell: String, CaseIterable, ExpressibleByArgument { case bash, zsh, fish }

extension OptionTable.Command {
    /// This command and all below it.
    var family: [OptionTable.Command] { [self] + commands.flatMap(\.family) }

    /// What may follow this command's name: the program's own options are those of the command that needs no name.
    var completed: OptionTable.Command {
        guard path.isEmpty, let render = commands.first(where: { $0.path == [Render._commandName] }) else {
            return self
        }
        return OptionTable.Command(
            path: path, abstract: abstract, discussion: discussion, usage: usage,
            options: render.options + options.filter { !render.options.contains($0) }, commands: commands)
    }
}

extension OptionTable.Option {
    /// The values that can be typed as they are; capitals stand for something.
    var words: [String] { values.filter { !$0.contains(where: \.isUppercase) } }
}
