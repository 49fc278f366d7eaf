import ArgumentParser
import RuyiEngine

/// The manual.
struct ManualCommand: PrintingCommand {
    static let configuration = CommandConfiguration(
        commandName: "man",
        abstract: "Prints the manual: the man page, or the page of all options in Markdown.",
        usage: "ruyi man [--format roff|markdown]",
        discussion: """
            'Scripts/install' puts the man page where 'man ruyi' finds it. Without that:

              ruyi man | man -l -
            """)

    @Option(help: ArgumentHelp("The page to print: roff is ruyi(1). (default: roff)", valueName: "name"))
    var format: ManualFormat?

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let table = try OptionTable.read()
        switch format ?? .roff {
        case .roff: try print(ManualPage(table).text)
        case .markdown: try print(OptionsPage(table).text)
        }
        return nil
    }
}

/// A form of the manual.
enum ManualFormat: String, CaseIterable, ExpressibleByArgument { case roff, markdown }

extension OptionTable.Command {
    /// The groups of options that differ from those of `ruyi render`, and the titles of those that do not.
    func sections(besides render: OptionTable.Command?) -> (
        own: [(title: String, options: [OptionTable.Option])], shared: [String]
    ) {
        guard let render, render.path != path else { return (sections, []) }
        let known = render.sections
        var own = sections
        var shared: [String] = []
        own.removeAll { section in
            let same = known.contains { $0.title == section.title && $0.options == section.options }
            if same, section.title != "Options" { shared.append(section.title) }
            return same
        }
        return (own, shared)
    }
}

/// The files that the program reads and writes without being told their names.
enum KnownFile {
    static let all: [(name: String, meaning: String)] = [
        ("~/.config/ruyi/config.json", "The user's settings and presets: an object with options as keys."),
        ("ruyi.json", "The same for the current folder, and stronger; in a checkpoint's folder, what it recommends."),
        ("PREFIX/share/ruyi/models", "The models that can be named without a path, beside the program's PREFIX/bin."),
        (".ruyi-batch.jsonl", "What of a batch is done, in the folder of its clips."),
        ("NAME.latents.safetensors", "The final latents of a clip that could not be finished, for 'ruyi decode'."),
    ]
}
