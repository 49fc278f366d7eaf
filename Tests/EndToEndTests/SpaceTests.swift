import Foundation
import Testing

@Suite("Room on the disk", .serialized)
struct SpaceTests {
    let golden = Golden(name: "i2v-bucket")

    /// Renders onto a disk of 8 KiB; nil where nobody may mount one.
    func render(_ options: String) throws -> Outcome? {
        let scratch = try Scratch()
        let clip = "\(golden("start.png")) -m \(golden("model")) --no-config --size 64x48 --frames 24 --steps 1"
        let outcome = try Executable.shell(
            "mkdir m; mount -t tmpfs -o size=8k none m 2>/dev/null || exit 200; \"$RUYI\" \(clip) \(options) "
                + "--codec prores -o m/v.mov; code=$?; ls -A m; umount m; exit $code", in: scratch.path)
        return outcome.code == 200 ? nil : outcome
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
