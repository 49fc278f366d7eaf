import Foundation
import GoldenRecords
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("FramePack through the executable")
struct FramePackTests {
    private let golden = Golden(name: "i2v-cfg-rescale", family: "framepack")
    private let scratch: Scratch
    private let small = ["--size", "32x32", "--steps", "2", "--latent-window-size", "1", "--sections", "3"]

    init() throws {
        scratch = try Scratch()
        try golden.record.copy("model", to: scratch("model"))
    }

    private func run(_ arguments: [String]) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    /// A clip without metadata, as bytes.
    private func clip(_ options: [String] = [], model: String = "model") throws -> Data {
        let outcome = try run(
            [golden("image.png"), "-p", "A cat.", "-m", model, "-o", "c.mkv", "--overwrite", "--no-metadata"] + small
                + options)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try Data(contentsOf: URL(fileURLWithPath: scratch("c.mkv")))
    }

    private func move(_ from: String, _ to: String) throws {
        try FileManager.default.moveItem(atPath: scratch(from), toPath: scratch(to))
    }

    private func planned(_ options: [String], model: String = "model") throws -> JSONObject {
        let outcome = try run([golden("image.png"), "-p", "A cat.", "-m", model, "--dry-run"] + options)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try JSONObject(parsing: Array(outcome.output.utf8), file: "output")
    }

    @Test("every layout of the three repositories gives the same clip")
    func layouts() throws {
        let expected = try clip()
        #expect(try clip(model: "model/FramePackI2V_HY") == expected)
        // Another model beside them, whose parts have the same names, is not taken.
        try golden.record.copy("model/HunyuanVideo/vae", to: scratch("model/Another/vae"))
        try scratch.write("{\"_class_name\": \"AutoencoderKL\"}", to: "model/Another/vae/config.json")
        #expect(try clip() == expected)

        for (name, repository) in [
            ("FramePackI2V_HY", "lllyasviel--FramePackI2V_HY"), ("flux_redux_bfl", "lllyasviel--flux_redux_bfl"),
            ("HunyuanVideo", "hunyuanvideo-community--HunyuanVideo"),
        ] {
            try scratch.folder("hf_download/hub/models--\(repository)/refs")
            try scratch.folder("hf_download/hub/models--\(repository)/snapshots")
            try golden.record.copy(
                "model/" + name, to: scratch("hf_download/hub/models--\(repository)/snapshots/abc"))
            try scratch.write("abc", to: "hf_download/hub/models--\(repository)/refs/main")
        }
        for model in ["hf_download", "hf_download/hub", "hf_download/hub/models--lllyasviel--FramePackI2V_HY"] {
            #expect(try clip(model: model) == expected, "\(model)")
        }

        try golden.record.copy("model/HunyuanVideo", to: scratch("merged"))
        try golden.record.copy("model/FramePackI2V_HY", to: scratch("merged/transformer"))
        for part in ["image_encoder", "feature_extractor"] {
            try golden.record.copy("model/flux_redux_bfl/" + part, to: scratch("merged/" + part))
        }
        #expect(try clip(["--variant", "i2v"], model: "merged") == expected)
        try FileManager.default.removeItem(atPath: scratch("merged/model_index.json"))
        #expect(try clip(["--variant", "i2v"], model: "merged") == expected)
    }

    @Test("what is missing, ambiguous or of the other variant is asked about, never guessed")
    func refusals() throws {
        func refused(_ options: [String], _ code: Int32, _ words: String..., model: String = "model") throws {
            let outcome = try run([golden("image.png"), "-p", "A cat.", "-m", model, "-o", "r.mp4"] + small + options)
            #expect(outcome.code == code, "\(options): \(outcome.errors)")
            for word in words { #expect(outcome.errors.contains(word), "\(word): \(outcome.errors)") }
            #expect(!scratch.files.contains("r.mp4"))
        }
        try refused(["--variant", "f1", "--end-image", golden("image.png")], 64, "--end-image", "f1")
        try refused(["--scheduler", "DDIM"], 64, "unipc")
        try refused(["--latent-window-size", "34"], 64, "latent_window_size is 34")
        try refused(["--camera", "left"], 64, "has no --camera", "--variant")
        #expect(try run(["-p", "A cat.", "-m", "model"]).code == 64)
        try move("model/FramePackI2V_HY", "model/other")
        try refused([], 64, "--variant i2v or --variant f1")
        #expect(try !clip(["--variant", "f1"]).isEmpty)
        try golden.record.copy("model/FramePackI2V_HY", to: scratch("model/FramePack_F1_I2V_HY_20250503"))
        try refused([], 64, "several transformers", "--model model/")
        #expect(try planned(small, model: "model/FramePack_F1_I2V_HY_20250503").string("variant") == "f1")
        try move("model/flux_redux_bfl", "elsewhere")
        try refused(
            [], 66, "image_encoder/", "feature_extractor/", "lllyasviel/flux_redux_bfl",
            model: "model/FramePack_F1_I2V_HY_20250503")
    }

    @Test("every setting of the family changes the clip, and the clip makes itself again")
    func settings() throws {
        let expected = try clip()
        for options in [
            ["--variant", "f1"], ["--reference-rounding"], ["--true-cfg-scale", "2", "-n", "dog"],
            ["--true-cfg-scale", "2", "-n", "dog", "--cfg-rescale", "0.5"], ["--end-image", golden("image.png")],
            ["--guidance", "4"], ["--seed", "7"], ["--precision", "int8"],
        ] {
            #expect(try clip(options) != expected, "\(options)")
        }
        let guided = [
            "--true-cfg-scale", "3", "-n", "dog", "--steps", "6", "--teacache", "--teacache-threshold", "0.3",
        ]
        #expect(try clip(guided) != clip(guided + ["--teacache-state", "apart"]))
        let made = try run(
            [
                golden("image.png"), "-p", "A cat.", "-m", "model", "-o", "first.mkv", "--keep-latents", "--preview",
                "p.png",
            ]
                + small)
        #expect(made.code == 0 && made.errors.contains("the end is made first"), "\(made.errors)")
        #expect(try PictureReader.read(scratch("p.png")).width > 4)
        let remake = ["--from", "first.mkv", "-m", "model", "-o", "again.mkv"]
        #expect(try run(remake).errors.contains("give it with --image"))
        let again = try run([golden("image.png")] + remake)
        #expect(again.code == 0, "\(again.errors)")
        #expect(try run(["decode", "first.latents.safetensors", "-m", "model", "-o", "decoded.mkv"]).code == 0)
        for other in ["again.mkv", "decoded.mkv"] {
            let compared = try run(["compare", "first.mkv", other, "--at-least", "90"])
            #expect(compared.code == 0, "\(other): \(compared.output)\(compared.errors)")
        }
    }

    @Test("steps are left out as in the authors' program, unless somebody says otherwise")
    func teacache() throws {
        func plan(_ options: [String]) throws -> JSON? { try planned(options)["teacache"] }
        #expect(try plan([])?["threshold"]?.double == 0.15)
        #expect(try plan(["--no-teacache"]) == nil)
        let steps = ["--true-cfg-scale", "3", "-n", "dog", "--steps", "6"]
        #expect(try clip(steps) != clip(steps + ["--no-teacache"]))
        let made = try run(
            [golden("image.png"), "-p", "A cat.", "-m", "model", "-o", "n.mkv", "--no-teacache"] + small)
        #expect(made.code == 0, "\(made.errors)")
        let again = try run([golden("image.png"), "--from", "n.mkv", "-m", "model", "--dry-run"])
        #expect(try JSONObject(parsing: Array(again.output.utf8), file: "plan")["teacache"] == nil)
    }

    @Test("lengths come in sections, and memory does not grow with them")
    func lengths() throws {
        for (options, frames) in [
            (["--seconds", "5"], 145), (["--frames", "73"], 73), (["--sections", "7"], 253), ([String](), 145),
            (["--seconds", "1"], 37), (["--frames", "100"], 109),
        ] {
            #expect(try planned(options + ["--size", "32x32"]).int("frames") == frames, "\(options)")
        }
        let size = ["--size", "64x64"]
        let short = try planned(size + ["--seconds", "5"]).int("peak_memory_bytes")
        let long = try planned(size + ["--seconds", "60"]).int("peak_memory_bytes")
        #expect(Double(long) < 1.02 * Double(short), "\(short) and \(long)")
    }
}
