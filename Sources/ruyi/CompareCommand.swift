import ArgumentParser
import RuyiEngine

/// How two clips differ.
struct CompareCommand: PrintingCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Measures how two clips differ, frame by frame.",
        usage: "ruyi compare <first> <second> [<options>]",
        discussion: """
            PSNR is taken over the red, green and blue samples, SSIM over luma in windows of 8x8 pixels, 4 apart. Clips \
            are videos, PNG or JPEG pictures, and folders of PNG frames, of one size and number of frames.

            The exit code is 1 when --at-least is not reached.

              ruyi compare first.mp4 second.mp4
              ruyi compare first.mp4 frames/ --at-least 40 --picture worst.png
            """)

    @Argument(help: ArgumentHelp("A video, picture or folder of frames.", valueName: "first"), completion: .file())
    var first: String

    @Argument(help: ArgumentHelp("What it is compared with.", valueName: "second"), completion: .file())
    var second: String

    @Option(help: ArgumentHelp("The PSNR that the whole clip must reach, in decibels.", valueName: "dB"))
    var atLeast: Double?

    @Option(
        help: ArgumentHelp(
            "Write a PNG picture of the frame that differs most: the first clip's, the second's, and four times their "
                + "difference, side by side.", valueName: "file"), completion: .file(extensions: ["png"]))
    var picture: String?

    @Flag(help: "Replace an existing picture. (default: refuse)") var overwrite = false

    @Flag(help: "Print one JSON object.") var json = false

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let comparison = try Comparison(first, second)
        if let picture { try comparison.writeWorst(to: picture, overwrite: overwrite) }
        try print(json ? comparison.json : comparison.text)
        return comparison.fault(below: atLeast).map { Faults($0) }
    }
}
