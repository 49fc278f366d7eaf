import ArgumentParser
import RuyiEngine

/// What a file or folder is.
struct InspectCommand: PrintingCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Says what a clip, picture, weight file or checkpoint folder is, and how it was made.",
        usage: "ruyi inspect <path> [--json]",
        discussion: """
            Of a clip: size, frames, codec, and the settings that it was made with. Of a checkpoint: family, parts, types, \
            numbers of parameters, sizes, and what is missing; the exit code is 65 when it cannot be used.

              ruyi inspect clip.mp4
              ruyi inspect Ruyi-Mini-7B --json
            """)

    @Argument(help: ArgumentHelp("A file or folder.", valueName: "path"), completion: .file()) var path: String

    @Flag(help: "Print one JSON object.") var json = false

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let inspection = try Inspection(path)
        try print(json ? inspection.json : inspection.text)
        return inspection.faults
    }
}
