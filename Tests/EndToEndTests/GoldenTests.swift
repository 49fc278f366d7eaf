import Foundation
import RuyiCPU
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

/// The recorded cases of the reference, run through the executable as a person would.
struct Golden: Sendable, CustomTestStringConvertible {
    let name: String
    var family = "ruyi"

    var testDescription: String { "\(family) \(name)" }
    var folder: String { Executable.root.appendingPathComponent("Tests/Goldens/\(family)/\(name)").path }
    func callAsFunction(_ file: String) -> String { folder + "/" + file }

    /// All of them.
    static let cases = [
        "i2v-bf16", "i2v-bucket", "i2v-ddim-left", "i2v-dpmpp", "i2v-enhance", "i2v-euler", "i2v-euler-a", "i2v-fp8",
        "i2v-long-tiled", "i2v-lora", "i2v-nocfg", "i2v-pndm", "i2v-single-frame", "i2v-slice-smooth", "i2v-start-end",
        "i2v-teacache",
    ].map { Golden(name: $0) }

    /// Those of HunyuanVideo.
    static let hunyuanCases = [
        "i2v-latent-concat", "i2v-token-replace", "i2v-token-replace-cfg-long", "t2v-basic", "t2v-cfg-tiled-mixed",
    ].map { Golden(name: $0, family: "hunyuanvideo") }

    /// Every case with the best kernels, and four of them (float32, 8-bit, bfloat16 and mixed weights) with the others
    /// too.
    static let runs: [(golden: Golden, level: KernelLevel)] = (cases + hunyuanCases).flatMap { golden in
        KernelLevel.supported.filter { level in
            level == KernelLevel.supported.last
                || ["i2v-euler", "i2v-fp8", "i2v-bf16", "t2v-cfg-tiled-mixed"].contains(golden.name)
        }.map { (golden, $0) }
    }

    /// The tensors of a trace that are missing or further from the expected ones, or another trace's, than the case
    /// allows.
    func differences(_ trace: String, from other: String? = nil) throws -> [String] {
        let expected = try SafetensorsFile(path: other ?? self("expected.safetensors"))
        let found = try SafetensorsFile(path: trace)
        let limits = try JSONObject(parsing: FileBytes.read(self("tolerance.json")), file: "tolerance.json")
        return try expected.keys.filter { !$0.hasPrefix("noise") }.compactMap { key in
            guard found.shape(of: key) == expected.shape(of: key) else { return "\(key) is missing or misshapen" }
            let prefix = limits.keys.filter { key.hasPrefix($0) }.max { $0.count < $1.count } ?? "default"
            let (a, b) = (try found.tensor(key).floats(), try expected.tensor(key).floats())
            var (distance, length) = (0.0, 0.0)
            for (x, y) in zip(a, b) {
                distance += Double(x - y) * Double(x - y)
                length += Double(y) * Double(y)
            }
            let error = (distance / max(length, 1e-60)).squareRoot()
            return error <= (try limits.double(prefix)) ? nil : "\(key) is off by \(error)"
        }
    }
}

@Suite("Golden cases through the executable")
struct GoldenTests {
    @Test("a case gives the reference's stages and a video of the planned form", arguments: Golden.runs)
    func matches(_ golden: Golden, _ level: KernelLevel) throws {
        let scratch = try Scratch()
        let outcome = try Executable.run(
            [
                "--request", golden("request.json"), "--model", golden("model"), "--noise",
                golden("expected.safetensors"),
                "--trace", scratch("t.safetensors"), "-o", scratch("v.mp4"),
            ], environment: ["RUYI_KERNELS": level.rawValue])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.lines == [scratch("v.mp4")])
        #expect(try golden.differences(scratch("t.safetensors")) == [])
        let video = try #require(try SafetensorsFile(path: scratch("t.safetensors")).shape(of: "video"))
        let facts = try VideoReader(scratch("v.mp4")).facts
        #expect([facts.frameCount, facts.height, facts.width, 3] == video && facts.fps == 24)
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
