import RuyiEngine

/// The manual.
struct ManualCommand: PrintingCommand {
    struct Options: SettingTable {
        static let table = Options()

        let format = Setting(
            "format", SettingKind<ManualFormat>.named, .options,
            "The page to print: roff is ruyi(1), markdown all options, json the table that both are made from, prompts what "
                + "'ruyi help prompts' says, in Markdown.",
            value: "name", standard: .roff)
    }

    static let command = Command(
        "man", .printing { ManualCommand(given: Given($0)) },
        "Prints the manual as a man page, as Markdown or as JSON.",
        usage: "ruyi man [--format roff|markdown|json|prompts]",
        discussion: """
            'Scripts/install' puts the man page where 'man ruyi' finds it. Without that:

              ruyi man | man -l -
            """, settings: Options.all)

    let given: Given<Options>

    func answer(print: (String) throws -> Void) throws -> Faults? {
        switch given.format {
        case .roff, nil: try print(ManualPage(.root).text)
        case .markdown: try print(OptionsPage(.root).text)
        case .json: try print(OptionsTable(.root).text)
        case .prompts: try print(PromptsPage().markdown)
        }
        return nil
    }
}

/// A form of the manual.
enum ManualFormat: String, CaseIterable, Sendable { case roff, markdown, json, prompts }

/// The commands with their options as a JSON object, for other programs.
struct OptionsTable {
    /// The object on one line.
    let text: String

    init(_ root: Command) { text = OptionsTable.json(root).text() }

    private static func json(_ command: Command) -> JSON {
        .object([
            .init("command", .string(command.name)), .init("abstract", .string(command.abstract)),
            .init("options", .array(command.completed.map(json))),
            .init("commands", .array(command.commands.map(json))),
        ])
    }

    private static func json(_ setting: any AnySetting) -> JSON {
        .object([
            .init("key", .string(setting.key)), .init("names", .array(setting.names.map(JSON.string))),
            .init("value", setting.isFlag ? .null : .string(setting.traits.valueName ?? "value")),
            .init("values", .array(setting.traits.choices.map(JSON.string))),
            .init("meanings", .object(setting.traits.meanings.map { .init($0.value, .string($0.text)) })),
            .init("group", .string(setting.traits.group.rawValue)), .init("help", .string(setting.help)),
        ])
    }
}

extension Command {
    /// The groups of options that differ from those of `ruyi render`, and the titles of those that do not.
    func sections(besides render: Command) -> (own: [(title: String, settings: [any AnySetting])], shared: [String]) {
        if render.path == path { return (sections, []) }
        let known = render.sections
        var own = sections
        var shared: [String] = []
        own.removeAll { section in
            let same = known.contains {
                $0.title == section.title && $0.settings.map(\.key) == section.settings.map(\.key)
            }
            if same { shared.append(section.title) }
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
