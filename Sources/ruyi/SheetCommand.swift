import RuyiEngine

/// Frames of several clips in one picture.
struct SheetCommand: PrintingCommand {
    struct Options: SettingTable {
        static let table = Options()

        let clips = Setting("clips", .texts, .arguments, "Videos, pictures, folders of frames.", value: "clips") {
            $0.place = .words
            $0.completion = .file([])
            $0.standardText = ""
        }
        let output = Setting("output", .path, .options, "The PNG picture.", value: "file") {
            $0.short = "o"
            $0.completion = .file(["png"])
            $0.standardText = ""
        }
        let overwrite = Setting("overwrite", .flag, .options, "Replace an existing picture.") {
            $0.standardText = "refuse"
        }
        let frames = Setting(
            "frames", .integer(1...64), .options, "Frames of each clip, 1 to 64.", value: "n", standard: 8)
        let width = Setting(
            "width", .integer(64...1024), .options, "The width of a frame in pixels, 64 to 1024.", value: "n",
            standard: 256)
    }

    static let command = Command(
        "sheet", .printing { SheetCommand(given: Given($0)) },
        "Shows frames of several clips in one picture.",
        usage: "ruyi sheet <clips> ... -o <file> [<options>]",
        discussion: """
            One row a clip: videos, pictures, and folders of PNG frames. The written picture's path is printed.

              ruyi sheet clip-1.mp4 clip-2.mp4 clip-3.mp4 -o sheet.png
            """, settings: Options.all + PictureOptions.settings)

    let given: Given<Options>

    func answer(print: (String) throws -> Void) throws -> Faults? {
        guard let output = given.output else {
            throw Fault(.usage, "no output is given", at: "--output", hint: "it is: " + SheetCommand.command.usage)
        }
        let sheet = try Sheet(
            given.clips ?? [], frames: given.settled(\.frames) ?? 0, width: given.settled(\.width) ?? 0,
            pictures: PictureOptions(given.values))
        try sheet.write(to: output, overwrite: given.overwrite ?? false)
        try print(output)
        return nil
    }
}
