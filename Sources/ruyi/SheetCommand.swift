import ArgumentParser
import RuyiEngine

/// Frames of several clips in one picture.
struct SheetCommand: PrintingCommand {
    static let configuration = CommandConfiguration(
        commandName: "sheet",
        abstract: "Shows frames of several clips in one picture, with their settings.",
        usage: "ruyi sheet <clips> ... -o <file> [<options>]",
        discussion: """
            One row a clip: videos, pictures, and folders of PNG frames. The written picture's path is printed.

              ruyi sheet clip-1.mp4 clip-2.mp4 clip-3.mp4 -o sheet.png
            """)

    @Argument(help: ArgumentHelp("Videos, pictures, folders of frames.", valueName: "clips"), completion: .file())
    var clips: [String]

    @Option(
        name: .shortAndLong, help: ArgumentHelp("The PNG picture.", valueName: "file"),
        completion: .file(extensions: ["png"]))
    var output: String

    @Flag(help: "Replace an existing picture. (default: refuse)") var overwrite = false

    @Option(help: ArgumentHelp("Frames of each clip, 1 to 64.", valueName: "n")) var frames = 8

    @Option(help: ArgumentHelp("The width of a frame in pixels, 64 to 1024.", valueName: "n")) var width = 256

    func answer(print: (String) throws -> Void) throws -> Faults? {
        try Sheet(clips, frames: frames, width: width).write(to: output, overwrite: overwrite)
        try print(output)
        return nil
    }
}
