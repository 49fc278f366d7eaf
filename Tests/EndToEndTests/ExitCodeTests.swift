import Foundation
import RuyiEngine
import RuyiMedia
import RuyiPicture
import Testing

/// A command line in a folder of pictures that ends with one of the exit codes.
struct ExitCase: Sendable, CustomTestStringConvertible {
    let code: Int32
    let command: String

    init(_ code: Int32, _ command: String) {
        self.code = code
        self.command = command
    }

    var testDescription: String { "\(code): \(command)" }
}

@Suite("Exit codes")
struct ExitCodeTests {
    /// `$QUICK` is a clip that takes no time and `$SLOW` one that takes long; `begun` waits until it is under way.
    static let cases = [
        ExitCase(0, "\"$RUYI\" --version"),
        ExitCase(1, "\"$RUYI\" compare a.png b.png --at-least 90"),
        ExitCase(64, "\"$RUYI\" a.png --frobnicate"),
        ExitCase(65, "\"$RUYI\" inspect text.png"),
        ExitCase(66, "\"$RUYI\" nowhere.png"),
        ExitCase(69, "cp \"$RUYI\" alone; ./alone a.png"),
        ExitCase(71, "ulimit -v 1500000; \"$RUYI\" $QUICK --size 1024x1024 --frames 120"),
        ExitCase(73, "\"$RUYI\" $QUICK -o nowhere/v.mp4"),
        ExitCase(74, "\"$RUYI\" --version > /dev/full"),
        ExitCase(
            75,
            "\"$RUYI\" batch in -o out $SLOW 2> log & begun; \"$RUYI\" batch in -o out $SLOW; code=$?; "
                + "kill -KILL $!; wait; exit $code"),
        ExitCase(78, "RUYI_STEPS=many \"$RUYI\" a.png"),
        ExitCase(130, "\"$RUYI\" a.png $SLOW 2> log & begun; kill -INT $!; wait $!"),
        ExitCase(143, "\"$RUYI\" a.png $SLOW 2> log & begun; kill -TERM $!; wait $!"),
        ExitCase(143, "\"$RUYI\" a.png $SLOW 2> log & begun; kill -HUP $!; wait $!"),
    ]

    @Test("every exit code is what its cause gives", arguments: cases)
    func code(_ item: ExitCase) throws {
        let scratch = try Scratch()
        for folder in ["in", "out"] { try scratch.folder(folder) }
        for (index, name) in ["a.png", "b.png", "in/c.png"].enumerated() {
            try PictureWriter.write(
                Picture(width: 24, height: 16, pixels: [UInt8](repeating: UInt8(80 * index), count: 24 * 16 * 3)),
                to: scratch(name))
        }
        try scratch.write("no picture", to: "text.png")
        let model = Golden(name: "i2v-bucket")("model")
        let prelude = """
            QUICK="a.png -m \(model) --size 48x32 --frames 8 --steps 1"
            SLOW="-m \(model) --size 128x128 --frames 120 --steps 500 --progress plain"
            begun() { for i in {1..500}; do grep -qs denoising log && return; sleep 0.02; done; exit 99; }

            """
        let outcome = try Executable.shell(prelude + item.command, in: scratch.path)
        #expect(outcome.code == item.code, "\(outcome.errors)")
    }

    @Test("no exit code is without a case; that of a defect is what an unforeseen error gets")
    func complete() {
        struct Unforeseen: Error {}
        let defect = Faults(of: Unforeseen()).kind.exitStatus
        #expect(defect.name == "internal")
        #expect(Set(ExitCodeTests.cases.map(\.code)).union([defect.code]) == Set(ExitStatus.all.map(\.code)))
    }
}
