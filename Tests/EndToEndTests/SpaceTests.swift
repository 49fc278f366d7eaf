import Foundation
import Testing

@Suite("Room on the disk", .serialized)
struct SpaceTests {
    let golden = Golden(name: "i2v-bucket")
    let remembering = Golden(name: "i2v-motion5", family: "step-video")

    /// Renders onto a disk of 8 KiB; nil where nobody may mount one.
    func render(_ options: String) throws -> Outcome? {
        let scratch = try Scratch()
        let clip = "\(golden("start.png")) -m \(golden("model")) --no-config --size 64x48 --frames 24 --steps 1"
        let outcome = try Executable.shell(
            "mkdir m; mount -t tmpfs -o size=8k none m 2>/dev/null || exit 200; \"$RUYI\" \(clip) \(options) "
                + "--codec prores -o m/v.mov; code=$?; ls -A m; umount m; exit $code", in: scratch.path)
        return outcome.code == 200 ? nil : outcome
    }

    @Test("a disk without room for what a decoder remembers is refused as well")
    func shelf() throws {
        let scratch = try Scratch()
        let clip =
            "\(remembering("image.png")) -p cat -m \(remembering("model")) --no-config --size 640x480 --frames 17"
        let outcome = try Executable.shell(
            "mkdir m; mount -t tmpfs -o size=64m none m 2>/dev/null || exit 200; "
                + "\"$RUYI\" \(clip) --steps 1 --memory-mode stream -o m/v.mp4; code=$?; umount m; exit $code",
            in: scratch.path)
        if outcome.code == 200 { return }
        #expect(outcome.code == 74 && outcome.errors.contains("67 MB free, and about 36"), "\(outcome.errors)")
        #expect(!outcome.errors.contains("denoising"))
    }

    @Test("a disk that is too small by estimate is refused before anything is computed, unless it is to be tried")
    func refused() throws {
        guard let outcome = try render("") else { return }
        #expect(outcome.code == 74 && outcome.output.isEmpty, "\(outcome.code) \(outcome.errors)")
        #expect(outcome.errors.contains("free, and about") && outcome.errors.contains("--ignore-space"))
        #expect(!outcome.errors.contains("denoising"))
        let tried = try #require(try render("--ignore-space"))
        #expect(tried.code == 74 && tried.output.isEmpty, "\(tried.code) \(tried.errors)")
        #expect(tried.errors.contains("denoising") && !tried.errors.contains("free, and about"), "\(tried.errors)")
    }
}
