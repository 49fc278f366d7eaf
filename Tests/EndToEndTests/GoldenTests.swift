import Foundation
import GoldenRecords
import RuyiCPU
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

/// A recorded case, run through the executable as a person would.
struct Golden: Sendable, CustomTestStringConvertible {
    let record: GoldenRecord

    var name: String { record.name }
    var testDescription: String { record.description }
    var folder: String { record.folder }
    func callAsFunction(_ file: String) -> String { record(file) }

    init(_ record: GoldenRecord) { self.record = record }

    /// One of the clone's own.
    init(name: String, family: String = "ruyi") { self.init(GoldenRecord(name: name, family: family)) }

    /// Every case with the best kernels, and those of each type of weights with the others too.
    static let runs: [(golden: Golden, level: KernelLevel)] = GoldenSet.runs.map { Golden($0) }.flatMap { golden in
        KernelLevel.supported.filter { level in
            level == KernelLevel.supported.last
                || ["i2v-euler", "i2v-fp8", "i2v-bf16", "i2v-token-replace-cfg-long", "t2v-cfg-tiled-mixed"]
                    .contains(golden.name)
        }.map { (golden, $0) }
    }

    /// The stages of a trace that are missing or further from the recorded ones, or another trace's, than the case
    /// allows.
    func differences(_ trace: String, from other: String? = nil) throws -> [String] {
        let found = try SafetensorsFile(path: trace)
        return try record.mismatches(
            of: { found.shape(of: $0) == nil ? nil : try found.tensor($0) },
            with: other.map { try SafetensorsFile(path: $0) })
    }
}

@Suite("Golden cases through the executable")
struct GoldenTests {
    @Test("a case gives the reference's stages and a video of the planned form", arguments: Golden.runs)
    func matches(_ golden: Golden, _ level: KernelLevel) throws {
        let scratch = try Scratch()
        let models = try Scratch()
        let outcome = try Executable.run(
            [
                "--request", golden("request.json"), "--model",
                try golden.record.model(orCopiedTo: models("model")), "--noise",
                golden("expected.safetensors"),
                "--trace", scratch("t.safetensors"), "-o", scratch("v.mp4"),
            ], environment: ["RUYI_KERNELS": level.rawValue])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.lines == [scratch("v.mp4")])
        #expect(try golden.differences(scratch("t.safetensors")) == [])
        let video = try #require(try SafetensorsFile(path: scratch("t.safetensors")).shape(of: "video"))
        let facts = try VideoReader(scratch("v.mp4")).facts
        let fps = try golden.record.json("request.json")["fps"]?.int ?? 24
        #expect([facts.frameCount, facts.height, facts.width, 3] == video && facts.fps == FrameRate(fps))
        #expect(scratch.files == ["t.safetensors", "v.mp4"])
    }

    @Test("a request alone is enough, the default name says picture and seed, and frames are the exact pixels")
    func requestAlone() throws {
        let golden = Golden(name: "i2v-euler")
        let scratch = try Scratch()
        let video = try Executable.run(["--request", golden("request.json"), "-q"], in: scratch.path)
        #expect(video.code == 0 && video.output == "start-11.mp4\n" && video.errors.isEmpty)
        let frames = try Executable.run(
            ["--request", golden("request.json"), "-o", "f/%03d.png", "--trace", "t.safetensors", "-q"],
            in: scratch.path)
        #expect(frames.lines == (0..<8).map { "f/00\($0).png" })
        let values = try SafetensorsFile(path: scratch("t.safetensors")).tensor("video")
        for (index, line) in frames.lines.enumerated() {
            let expected = values.selected(0, index).floats().map { UInt8(min(max($0, 0), 1) * 255) }
            #expect(try PictureReader.read(scratch(line)).pixels == expected)
        }
    }

    @Test("the result does not depend on the number of threads")
    func threads() throws {
        let golden = Golden(name: "i2v-start-end")
        let scratch = try Scratch()
        let files = try ["1", "2", "3"].map { threads in
            let name = scratch("v\(threads).mkv")
            let outcome = try Executable.run([
                "--request", golden("request.json"), "--threads", threads, "-q", "-o", name,
            ])
            #expect(outcome.code == 0, "\(outcome.errors)")
            return FileManager.default.contents(atPath: name)
        }
        #expect(files[0] != nil && files[0] == files[1] && files[1] == files[2])
    }
}
