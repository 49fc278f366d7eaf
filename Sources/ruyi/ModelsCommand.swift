import ArgumentParser
import Glibc
import RuyiEngine

/// The models of this machine.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "Lists, shows, downloads and verifies models.",
        discussion: """
            Models are found by name in the folders of RUYI_MODELS (a list with colons), in models in RUYI_HOME \
            (~/.local/share/ruyi), beside the program, and in the Hugging Face caches (HF_HUB_CACHE, HF_HOME).
            """,
        subcommands: [List.self, Show.self, Pull.self, Verify.self, Place.self],
        defaultSubcommand: List.self)

    /// A table whose columns are as wide as they need to be; control characters are escaped.
    static func table(_ rows: [[String]]) -> [String] {
        let rows = rows.map { $0.map(Fault.printable) }
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { index, cell in
                index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
            }
            return cells.joined(separator: "  ")
        }
    }

    /// The models that are there.
    struct List: PrintingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the models that are there: name, family, types, size, whether complete, folder.",
            usage: "ruyi models list [--all] [--json]")

        @Flag(help: "List also the models that could be pulled.") var all = false
        @Flag(help: "Print one JSON object a line.") var json = false

        func answer(print: (String) throws -> Void) throws -> Faults? {
            let store = ModelStore()
            let entries = store.entries()
            let others = all ? store.missing() : []
            let lines =
                json
                ? entries.map(\.json) + others.map(\.json)
                : ModelsCommand.table(entries.map(\.columns) + others.map(\.columns))
            for line in lines { try print(line) }
            return nil
        }
    }

    /// One model.
    struct Show: PrintingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says what a model consists of, the sizes and lengths it renders, and the memory that takes.",
            usage: "ruyi models show <name> [--json]")

        @Argument(help: ArgumentHelp("The model's name or folder.", valueName: "name")) var name: String
        @Flag(help: "Print one JSON object.") var json = false

        func answer(print: (String) throws -> Void) throws -> Faults? {
            let description = try ModelStore().describe(name)
            try print(json ? description.json : description.text)
            return description.faults
        }
    }

    /// A model's folder.
    struct Place: PrintingCommand {
        static let configuration = CommandConfiguration(
            commandName: "path", abstract: "Prints a model's folder.", usage: "ruyi models path <name>")

        @Argument(help: ArgumentHelp("The model's name.", valueName: "name")) var name: String

        func answer(print: (String) throws -> Void) throws -> Faults? {
            try print(try ModelStore().find(name).path)
            return nil
        }
    }

    /// The digests, names and shapes of models.
    struct Verify: LongCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks models: every file against its digest, every weight against what the family loads.",
            usage: "ruyi models verify [<name> ...] [--quick]",
            discussion: """
                A pulled model's digests are in its folder; a Hugging Face cache names its files by them. Every bad file \
                is named, and the exit code is then 65. Without names all models are checked.
                """)

        @Argument(help: ArgumentHelp("Names or folders of models.", valueName: "name")) var names: [String] = []
        @Flag(help: "Compare sizes, names and shapes alone, without reading the data.") var quick = false
        @OptionGroup var reporting: ReportingOptions

        func carryOut(_ errand: Errand) throws -> Faults? {
            let store = ModelStore()
            let models =
                try names.isEmpty
                ? store.entries().map(\.found) : names.map { try store.find($0) }
            var faults: [Fault] = []
            for model in models {
                let result = try store.verify(model, quick: quick, cancellation: errand.cancellation)
                faults += result.faults
                try errand.print(Fault.printable(result.line))
            }
            return faults.first.map { Faults($0, Array(faults.dropFirst())) }
        }
    }
}
