import RuyiEngine

/// The models of this machine.
enum ModelsCommand {
    static let command = Command(
        "models", .group, "Lists, shows, downloads and verifies models.", usage: "ruyi models [<command>] [<options>]",
        discussion: """
            Models are found by name in the folders of RUYI_MODELS (a list with colons), in models in RUYI_HOME \
            (~/.local/share/ruyi), beside the program, and in the Hugging Face caches (HF_HUB_CACHE, HF_HOME).
            """, commands: [List.command, Show.command, Pull.command, Verify.command, Place.command])

    /// The word that names a model for a command that takes its parts too.
    struct PartsWord: SettingTable {
        static let table = PartsWord()

        let name = Setting(
            "name", .text, .arguments, "The model's name, its folder, or a file that is its transformer.", value: "name"
        ) {
            $0.place = .optionalWord
            $0.completion = .model
            $0.standardText = ""
        }
    }

    /// The word that names a model.
    struct NameWord: SettingTable {
        static let table = NameWord()

        let name = Setting("name", .text, .arguments, "The model's name or folder.", value: "name") {
            $0.place = .word
            $0.completion = .model
            $0.standardText = ""
        }
    }

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
        struct Options: SettingTable {
            static let table = Options()

            let all = Setting("all", .flag, .options, "List also the models that could be pulled.") {
                $0.standardText = ""
            }
            let json = Setting("json", .flag, .options, "Print one JSON object a line.") { $0.standardText = "" }
        }

        static let command = Command(
            "models list", .printing { List(given: Given($0)) },
            "Lists the models that are there: name, family, types, size, whether complete, folder.",
            usage: "ruyi models list [--all] [--json]", settings: Options.all)

        let given: Given<Options>

        func answer(print: (String) throws -> Void) throws -> Faults? {
            let store = ModelStore()
            let entries = store.entries()
            let others = given.all == true ? store.missing() : []
            let lines =
                given.json == true
                ? entries.map(\.json) + others.map(\.json)
                : ModelsCommand.table(entries.map(\.columns) + others.map(\.columns))
            for line in lines { try print(line) }
            return nil
        }
    }

    /// One model.
    struct Show: PrintingCommand {
        static let command = Command(
            "models show", .printing { Show(values: $0) },
            "Says what a model consists of, the sizes and lengths it renders, and the memory that takes.",
            usage: "ruyi models show [<name>] [<options>]",
            settings: PartsWord.all + [InspectCommand.Options.table.json] + PartSettings.all)

        let values: SettingValues

        func answer(print: (String) throws -> Void) throws -> Faults? {
            let reference = try ModelReference.given(values[PartsWord.table.name], values, Self.command)
            let description = try ModelStore().describe(reference)
            try print(values[InspectCommand.Options.table.json] == true ? description.json : description.text)
            return description.faults
        }
    }

    /// A model's folder.
    struct Place: PrintingCommand {
        static let command = Command(
            "models path", .printing { Place(values: $0) }, "Prints a model's folder.",
            usage: "ruyi models path <name>", settings: NameWord.all)

        let values: SettingValues

        func answer(print: (String) throws -> Void) throws -> Faults? {
            try print(try ModelStore().find(values[NameWord.table.name] ?? "").path)
            return nil
        }
    }

    /// The digests, names and shapes of models.
    struct Verify: LongCommand {
        struct Options: SettingTable {
            static let table = Options()

            let names = Setting(
                "names", .texts, .arguments, "Names or folders of models, or files that are their transformers.",
                value: "name"
            ) {
                $0.place = .optionalWords
                $0.completion = .model
                $0.standardText = ""
            }
            let quick = Setting(
                "quick", .flag, .options, "Compare sizes, names and shapes alone, without reading the data."
            ) { $0.standardText = "" }
        }

        static let command = Command(
            "models verify", .long { Verify(given: Given($0)) },
            "Checks models: every file against its digest, every weight against what the family loads.",
            usage: "ruyi models verify [<name> ...] [<options>]",
            discussion: """
                A pulled model's digests are in its folder; a Hugging Face cache names its files by them. Every bad file \
                is named, and the exit code is then 65. Without names all models are checked. With parts that are named \
                apart one model is checked, which they belong to.
                """, settings: Options.all + PartSettings.all + ReportingOptions.all)

        let given: Given<Options>

        func carryOut(_ errand: Errand) throws -> Faults? {
            let store = ModelStore()
            var faults: [Fault] = []
            for model in try models(store) {
                let result = try store.verify(
                    model, quick: given.quick ?? false, cancellation: errand.cancellation)
                faults += result.faults
                try errand.print(Fault.printable(result.line))
            }
            return faults.first.map { Faults($0, Array(faults.dropFirst())) }
        }

        /// The models to check.
        ///
        /// Throws `.usage` for parts of several.
        private func models(_ store: ModelStore) throws -> [ModelReference] {
            let parts = given.values.parts
            guard let names = given.names else {
                return parts.isEmpty
                    ? store.entries().map { ModelReference($0.found) } : [ModelReference(nil, parts: parts)]
            }
            guard parts.isEmpty || names.count == 1 else {
                throw Fault(
                    .usage, "parts are named apart, and \(names.count) models are given",
                    hint: "give the one that the parts belong to")
            }
            return names.map { ModelReference($0, parts: parts) }
        }
    }
}

extension ModelReference {
    /// What a command line names.
    ///
    /// Throws `.usage` when it names nothing.
    static func given(_ name: String?, _ values: SettingValues, _ command: Command) throws(Fault) -> ModelReference {
        guard name != nil || !values.parts.isEmpty else {
            throw Fault(.usage, "neither a model nor a part of one is given", hint: "it is: " + command.usage)
        }
        return ModelReference(name, parts: values.parts)
    }
}
