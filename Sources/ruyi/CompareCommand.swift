import RuyiEngine

/// How two clips differ.
struct CompareCommand: PrintingCommand {
    struct Options: SettingTable {
        static let table = Options()

        let first = Setting("first", .path, .arguments, "A video, picture or folder of frames.", value: "first") {
            $0.place = .word
            $0.completion = .file([])
            $0.standardText = ""
        }
        let second = Setting("second", .path, .arguments, "What it is compared with.", value: "second") {
            $0.place = .word
            $0.completion = .file([])
            $0.standardText = ""
        }
        let atLeast = Setting(
            "at_least", .number(-1000...1000), .options, "The PSNR that the whole clip must reach, in decibels.",
            value: "dB"
        ) { $0.standardText = "" }
        let picture = Setting(
            "picture", .path, .options,
            "Write a PNG picture of the frame that differs most: the first clip's, the second's, and four times their "
                + "difference, side by side.", value: "file"
        ) {
            $0.completion = .file(["png"])
            $0.standardText = ""
        }
        let overwrite = Setting("overwrite", .flag, .options, "Replace an existing picture.") {
            $0.standardText = "refuse"
        }
        let json = Setting("json", .flag, .options, "Print one JSON object.") { $0.standardText = "" }
    }

    static let command = Command(
        "compare", .printing { CompareCommand(given: Given($0)) },
        "Measures how two clips differ, frame by frame.", usage: "ruyi compare <first> <second> [<options>]",
        discussion: """
            PSNR is taken over the red, green and blue samples, SSIM over luma in windows of 8x8 pixels, 4 apart. Clips \
            are videos, pictures, and folders of PNG frames, of one size and number of frames.

            The exit code is 1 when --at-least is not reached.

              ruyi compare first.mp4 second.mp4
              ruyi compare first.mp4 frames/ --at-least 40 --picture worst.png
            """, settings: Options.all + PictureOptions.settings)

    let given: Given<Options>

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let comparison = try Comparison(
            given.first ?? "", given.second ?? "", pictures: PictureOptions(given.values))
        if let picture = given.picture { try comparison.writeWorst(to: picture, overwrite: given.overwrite ?? false) }
        try print(given.json == true ? comparison.json : comparison.text)
        return comparison.fault(below: given.atLeast).map { Faults($0) }
    }
}
