import Foundation
import GoldenRecords
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Pyramid Flow through the executable")
struct PyramidFlowTests {
    private let golden = Golden(name: "miniflux-i2v-bf16", family: "pyramid-flow")
    private let scratch: Scratch
    private let small = ["--size", "64x64", "--steps", "1", "--video-steps", "1", "--temp", "2"]

    init() throws {
        scratch = try Scratch()
        try golden.record.copy("model", to: scratch("model"))
        try FileManager.default.copyItem(atPath: golden("image.png"), toPath: scratch("photo.png"))
    }

    private func run(_ arguments: [String]) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    /// A clip without metadata, as bytes.
    private func clip(_ options: [String] = [], model: String = "model", picture: String? = "photo.png") throws -> Data
    {
        let outcome = try run(
            (picture.map { [$0] } ?? []) + ["-p", "A cat.", "-m", model, "-o", "c.mkv", "--overwrite", "--no-metadata"]
                + small + options)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try Data(contentsOf: URL(fileURLWithPath: scratch("c.mkv")))
    }

    private func planned(_ options: [String], picture: String? = nil) throws -> JSONObject {
        let outcome = try run((picture.map { [$0] } ?? []) + ["-p", "A cat.", "-m", "model", "--dry-run"] + options)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try JSONObject(parsing: Array(outcome.output.utf8), file: "output")
    }

    private func refused(_ options: [String], _ code: Int32, _ words: String..., picture: String? = "photo.png") throws
    {
        let outcome = try run(
            (picture.map { [$0] } ?? []) + ["-p", "A cat.", "-m", "model", "-o", "r.mp4"] + options)
        #expect(outcome.code == code, "\(options): \(outcome.errors)")
        for word in words { #expect(outcome.errors.contains(word), "\(word): \(outcome.errors)") }
        #expect(!scratch.files.contains("r.mp4"))
    }

    @Test("the size picks the transformer, unless one is named")
    func transformers() throws {
        try FileManager.default.copyItem(
            atPath: scratch("model/diffusion_transformer_768p"), toPath: scratch("model/diffusion_transformer_384p"))
        for (options, size, kind) in [
            ([String](), [640, 384], "384p"), (["--size", "1280x768"], [1280, 768], "768p"),
            (["--size", "720p"], [1216, 768], "768p"), (["--size", "700x400"], [640, 384], "384p"),
            (["--transformer", "768p"], [1280, 768], "768p"), (["--frames", "1"], [1024, 1024], "image"),
            (["--transformer", "768p", "--size", "64x64"], [64, 64], "768p"),
            (["--transformer", "diffusion_transformer_image"], [1024, 1024], "image"),
        ] {
            let plan = try planned(options)
            #expect(try [plan.int("width"), plan.int("height")] == size, "\(options)")
            #expect(try plan.string("transformer") == "diffusion_transformer_" + kind, "\(options)")
        }
        try PictureWriter.write(
            Picture(width: 30, height: 50, pixels: [UInt8](repeating: 9, count: 4500)), to: scratch("tall.png"))
        #expect(try planned([], picture: "tall.png").int("height") == 640)
    }

    @Test("lengths, steps and guidance are settled as they are used, and said so")
    func settled() throws {
        for (options, frames, calls) in [
            (["--seconds", "5"], 121, 510), (["--temp", "31"], 241, 960), (["--frames", "20"], 17, 120),
            (["--frames", "17", "--steps", "4,3,2", "--video-steps", "2"], 17, 21),
        ] {
            let plan = try planned(options + ["--size", "64x64"])
            #expect(try plan.int("frames") == frames, "\(options)")
            let steps = try plan.array("steps").compactMap(\.int) + plan.array("video_steps").compactMap(\.int)
            #expect(steps.prefix(3).reduce(0, +) + (frames - 1) / 8 * steps.suffix(3).reduce(0, +) == calls)
        }
        let moved = try planned(["--steps", "4,3,2", "--temp", "3", "--size", "64x64"], picture: "photo.png")
        #expect(try moved.array("video_steps").compactMap(\.int) == [4, 3, 2] && moved.double("video_guidance") == 4)
        let falling = try planned(["--linear-guidance", "--size", "64x64"])
        #expect(try falling.bool("linear_guidance") && falling.double("guidance_alpha") == 0.5)
    }

    @Test("what does not fit is refused with what does")
    func refusals() throws {
        try refused(["--steps", "1,2"], 64, "3 numbers such as 20,20,20")
        try refused(["--steps", "0,1,1"], 64, "steps has 0")
        try refused(["--temp", "32"], 64, "temp is 32")
        try refused(["--temp", "3", "--frames", "9"], 64, "17 frames, not 9")
        try refused(["--seconds", "20"], 64, "1 to 241 frames")
        try refused(["--size", "32x64"], 64, "64x64")
        try refused(["--transformer", "384p"], 66, "no transformer 384p", "768p, image")
        try refused(["--transformer", "image"], 64, "only the text")
        try refused(["--mode", "t2v"], 64, "leave out the picture")
        try refused(["--variant", "sd3"], 65, "of the form miniflux")
        try refused(["--variant", "f1"], 64, "takes no \"f1\"")
        try refused(["--scheduler", "DDIM"], 64, "pyramid-flow-match-euler")
        try refused(["--vae-tile", "100"], 64, "multiple of 32")
        try refused(["--camera", "left"], 64, "has no --camera")
        try refused(["--transformer", "image", "--frames", "9"], 64, "one frame", picture: nil)
        try refused(["--mode", "i2v"], 64, "no picture", picture: nil)
        let other = try run(["photo.png", "--steps", "20,20,20", "-o", "r.mp4"])
        #expect(other.code == 64 && other.errors.contains("takes no [20,20,20] for --steps"), "\(other.errors)")
        try scratch.folder("model/diffusion_transformer_384p")
        try scratch.write(
            "{\"_class_name\": \"PyramidDiffusionMMDiT\"}", to: "model/diffusion_transformer_384p/config.json")
        try refused(small, 65, "two forms")
        try FileManager.default.removeItem(atPath: scratch("model/diffusion_transformer_384p"))
        try FileManager.default.removeItem(atPath: scratch("model/text_encoder_2"))
        try refused(small, 66, "text_encoder_2")
    }

    @Test("weights of any container give the same clip, and nothing in a torch archive is run")
    func containers() throws {
        let expected = try clip()
        let converted = try run(["convert", "model", "-o", "whole", "--type", "fp32"])
        #expect(converted.code == 0, "\(converted.errors)")
        #expect(try clip(model: "whole") == expected)
        let other = "model/causal_video_vae/"
        try FileManager.default.removeItem(atPath: scratch(other + "diffusion_pytorch_model.safetensors"))
        try scratch.write("\u{80}\u{2}cos\nsystem\n.", to: other + "diffusion_pytorch_model.bin")
        let outcome = try run(["photo.png", "-p", "A cat.", "-m", "model", "-o", "r.mp4"] + small)
        #expect(outcome.code == 65, "\(outcome.errors)")
    }

    /// Writes a transformer of one head and random weights that fits the checkpoint's text encoders.
    private func writeTransformer(to path: String) throws {
        let (width, head) = (64, 64)
        func layer(_ key: String, _ outputs: Int, _ inputs: Int) -> [(String, [Int])] {
            [(key + ".weight", [outputs, inputs]), (key + ".bias", [outputs])]
        }
        func embedder(_ key: String, _ inputs: Int) -> [(String, [Int])] {
            layer("time_text_embed.\(key).linear_1", width, inputs)
                + layer("time_text_embed.\(key).linear_2", width, width)
        }
        let (dual, single) = ("transformer_blocks.0.", "single_transformer_blocks.0.")
        let projections = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
        let norms =
            ["norm_q", "norm_k", "norm_added_q", "norm_added_k"].map { dual + "attn.\($0).weight" }
            + ["norm_q", "norm_k"].map { single + "attn.\($0).weight" }
        let shapes =
            layer("x_embedder", width, 64) + layer("context_embedder", width, 40) + embedder("timestep_embedder", 256)
            + embedder("text_embedder", 48) + layer("norm_out.linear", 2 * width, width) + layer("proj_out", 64, width)
            + norms.map { ($0, [head]) } + projections.flatMap { layer(dual + "attn." + $0, width, width) }
            + ["norm1", "norm1_context"].flatMap { layer(dual + $0 + ".linear", 6 * width, width) }
            + ["ff", "ff_context"].flatMap {
                layer(dual + $0 + ".net.0.proj", 4 * width, width) + layer(dual + $0 + ".net.2", width, 4 * width)
            }
            + ["to_q", "to_k", "to_v"].flatMap { layer(single + "attn." + $0, width, width) }
            + layer(single + "norm.linear", 3 * width, width) + layer(single + "proj_mlp", 4 * width, width)
            + layer(single + "proj_out", width, 5 * width)
        var state: UInt32 = 1
        try SafetensorsWriter.write(
            shapes.map { key, shape in
                let values = (0..<shape.reduce(1, *)).map { _ -> Float in
                    state = state &* 1_664_525 &+ 1_013_904_223
                    return Float(Int32(bitPattern: state)) / Float(1 << 34)
                }
                return (key, HostTensor(values, shape))
            }, to: path)
    }

    @Test("the single files of ComfyUI's wrapper, in its folders or named apart")
    func comfy() throws {
        let files = FileManager.default
        func put(_ part: String, _ place: String, _ name: String, settings: Bool = true) throws {
            try scratch.folder("comfy/" + place)
            let file = try #require(
                try files.contentsOfDirectory(atPath: scratch("model/" + part)).first { $0.hasSuffix(".safetensors") })
            try files.copyItem(atPath: scratch("model/\(part)/\(file)"), toPath: scratch("comfy/\(place)/\(name)"))
            guard settings else { return }
            try files.copyItem(
                atPath: scratch("model/\(part)/config.json"), toPath: scratch("comfy/\(place)/config.json"))
        }
        let folder = "comfy/diffusion_models/pyramidflow/"
        try scratch.folder(folder)
        try writeTransformer(to: scratch("all.safetensors"))
        for (kind, name) in [("bf16", "bf16"), ("fp8_e4m3", "fp8_e4m3fn")] {
            let converted = try run([
                "convert", "all.safetensors", "-o", folder + "pyramid_flow_miniflux_768_\(name).safetensors", "--type",
                kind,
            ])
            #expect(converted.code == 0, "\(converted.errors)")
        }
        try put("causal_video_vae", "vae/pyramidflow", "pyramid_flow_vae_bf16.safetensors")
        try put("text_encoder_2", "text_encoders", "t5xxl_fp16.safetensors", settings: false)
        try put("text_encoder", "text_encoders/clip_l", "clip_l.safetensors")
        // Two transformers are there.
        #expect(try run(["photo.png", "-p", "A cat.", "-m", "comfy", "-o", "r.mp4"] + small).code == 64)
        let parts = [
            "--vae", "comfy/vae/pyramidflow/pyramid_flow_vae_bf16.safetensors", "--text-encoder",
            "comfy/text_encoders/t5xxl_fp16.safetensors", "--text-encoder-2",
            "comfy/text_encoders/clip_l/clip_l.safetensors",
        ]
        var clips: [Data] = []
        for name in ["bf16", "fp8_e4m3fn"] {
            let transformer = ["--transformer", folder + "pyramid_flow_miniflux_768_\(name).safetensors"]
            let lacking = try run(["photo.png", "-p", "A cat.", "-o", "r.mp4"] + transformer + parts + small)
            if clips.isEmpty { #expect(lacking.code == 66 && lacking.errors.contains("T5's tokenizer")) }
            for tokenizer in ["tokenizer", "tokenizer_2"] where clips.isEmpty {
                try files.copyItem(atPath: scratch("model/" + tokenizer), toPath: scratch("comfy/" + tokenizer))
            }
            let made = try clip(transformer, model: "comfy")
            #expect(try clip(transformer, model: "model") == made, "beside the other parts of a folder")
            let apart = try run(
                ["photo.png", "-p", "A cat.", "-o", "apart.mkv", "--overwrite", "--no-metadata"] + transformer + parts
                    + small)
            #expect(apart.code == 0, "\(apart.errors)")
            #expect(try Data(contentsOf: URL(fileURLWithPath: scratch("apart.mkv"))) == made)
            // And so does what a conversion of the files writes.
            let converted = try run(["convert", "-o", "whole-" + name, "-q"] + transformer + parts)
            #expect(converted.code == 0, "\(converted.errors)")
            #expect(try clip(model: "whole-" + name) == made)
            clips.append(made)
        }
        #expect(clips[0] != clips[1])
    }

    @Test("every setting of the family changes the clip, and the clip makes itself again")
    func settings() throws {
        let expected = try clip()
        for options in [
            ["--guidance", "0"], ["--video-guidance", "2"], ["--linear-guidance"], ["-n", "dog"], ["--seed", "7"],
            ["--video-steps", "1,2,1"], ["--precision", "int8"],
            ["--fp8-quant-mode", "strong", "--fp8-data-type", "fp8_e5m2"],
        ] {
            #expect(try clip(options) != expected, "\(options)")
        }
        #expect(try clip(["--memory-mode", "stream"]) == expected)
        #expect(try clip(["--threads", "1"]) == expected)
        // The authors' ways with a picture of another shape.
        let ways = try [["--fit", "family"], ["--fit", "family", "--resize", "resize-bicubic"], ["--fit", "pad"]].map {
            try clip(["--size", "128x64"] + $0)
        }
        #expect(Set(ways).count == 3)
        let made = try run(
            ["photo.png", "-p", "A cat.", "-m", "model", "-o", "first.mkv", "--keep-latents", "--preview", "p.png"]
                + small)
        #expect(made.code == 0 && made.errors.contains("transformer 768p"), "\(made.errors)")
        #expect(try PictureReader.read(scratch("p.png")).width > 4)
        let again = try run(["--from", "first.mkv", "-m", "model", "-o", "again.mkv"])
        #expect(again.code == 0, "\(again.errors)")
        #expect(try run(["decode", "first.latents.safetensors", "-m", "model", "-o", "decoded.mkv"]).code == 0)
        for other in ["again.mkv", "decoded.mkv"] {
            let compared = try run(["compare", "first.mkv", other, "--at-least", "90"])
            #expect(compared.code == 0, "\(other): \(compared.output)\(compared.errors)")
        }
    }

    @Test("a text becomes a picture, or a video whose first frame it makes first")
    func texts() throws {
        let picture = try run([
            "-p", "A cat.", "-m", "model", "-o", "cat.png", "--frames", "1", "--size", "128x64", "--steps", "1",
        ])
        #expect(picture.code == 0, "\(picture.errors)")
        let made = try PictureReader.read(scratch("cat.png"))
        #expect(made.width == 128 && made.height == 64)
        #expect(try clip(picture: nil) != clip())
    }

    @Test("a run that was stopped goes on with the frames that are finished, and ends with the same video")
    func resumed() throws {
        let long = ["-p", "A cat.", "-m", "model", "--size", "64x64", "--steps", "2", "--temp", "4", "--no-metadata"]
        #expect(try run(["photo.png", "-o", "whole.mkv"] + long).code == 0)
        // The frames of a run that was stopped are those of a shorter one, whose latents are kept as its sections are.
        let running = try Executable.start(
            [Executable.path, "photo.png", "-o", "cut.mkv", "--resume", "--progress", "json"] + long, in: scratch.path)
        #expect(running.waits(for: "\"section\""))
        running.send(SIGINT)
        let stopped = running.finish()
        #expect(stopped.code == 130 || stopped.code == 0, "\(stopped.errors)")
        let resumed = try run(["photo.png", "-o", "cut.mkv", "--resume", "--overwrite"] + long)
        #expect(resumed.code == 0, "\(resumed.errors)")
        let files = try ["whole.mkv", "cut.mkv"].map { try Data(contentsOf: URL(fileURLWithPath: scratch($0))) }
        #expect(files[0] == files[1])
        #expect(!scratch.files.contains("cut.sections"))
    }

    @Test(
        "a video that grows plays at any time, and is the video in the end",
        arguments: [[String](), ["--vae-tile", "64"]])
    func grows(options: [String]) throws {
        let long =
            ["-p", "A cat.", "-m", "model", "--size", "128x64", "--steps", "2", "--temp", "5", "--no-metadata"]
            + options
        #expect(try run(["photo.png", "-o", "whole.mkv"] + long).code == 0)
        let running = try Executable.start(
            [Executable.path, "photo.png", "-o", "grown.mkv", "--grow"] + long, in: scratch.path)
        #expect(running.waits(for: "section 3"))
        running.send(SIGKILL)
        _ = running.finish()
        let seen = try VideoReader(scratch("grown.mkv")).facts.frameCount
        #expect([17, 25, 33].contains(seen), "\(seen)")
        let resumed = try run(["photo.png", "-o", "grown.mkv", "--grow", "--resume"] + long)
        #expect(resumed.code == 0, "\(resumed.errors)")
        let files = try ["whole.mkv", "grown.mkv"].map { try Data(contentsOf: URL(fileURLWithPath: scratch($0))) }
        #expect(files[0] == files[1])
    }

    @Test("a plan's memory grows with the history, and its work with every frame")
    func plans() throws {
        let plans = try [3, 9].map { try planned(["--temp", "\($0)", "--size", "640x384"]) }
        let bytes = try plans.map { try $0.int("peak_memory_bytes") }
        #expect(bytes[0] <= bytes[1])
        #expect(try plans[0].int("tokens") == 960 + 960 + 240 && plans[1].int("tokens") == 960 + 960 + 240 + 6 * 60)
    }
}
