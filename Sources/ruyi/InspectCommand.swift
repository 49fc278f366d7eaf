import RuyiEngine

/// What a file or folder is.
struct InspectCommand: PrintingCommand {
    struct Options: SettingTable {
        static let table = Options()

        let path = Setting("path", .path, .arguments, "A file or folder.", value: "path") {
            $0.place = .optionalWord
            $0.completion = .file([])
            $0.standardText = ""
        }
        let json = Setting("json", .flag, .options, "Print one JSON object.") { $0.standardText = "" }
    }

    static let command = Command(
        "inspect", .printing { InspectCommand(given: Given($0)) },
        "Says what a clip, picture, weight file or checkpoint folder is, and how it was made.",
        usage: "ruyi inspect [<path>] [<options>]",
        discussion: """
            Of a clip: size, frames, codec, and the settings that it was made with. Of a checkpoint: family, parts, types, \
            numbers of parameters, sizes, and what is missing; the exit code is 65 when it cannot be used. With parts that are \
            named apart: of the checkpoint that they make up.

              ruyi inspect clip.mp4
              ruyi inspect Ruyi-Mini-7B --json
            """, settings: Options.all + PartSettings.all)

    let given: Given<Options>

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let reference = try ModelReference.given(given.path, given.values, InspectCommand.command)
        let inspection =
            if let path = reference.name, reference.parts.isEmpty {
                try Inspection(path)
            } else {
                try Inspection(reference)
            }
        try print(given.json == true ? inspection.json : inspection.text)
        return inspection.faults
    }
}
