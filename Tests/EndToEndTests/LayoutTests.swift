import Foundation
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Layouts that checkpoints are held in")
struct LayoutTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func layout(_ name: String = "t2v-basic") -> PartLayout { PartLayout(name: name, scratch: scratch) }

    /// Renders a case; gives the clip's bytes.
    private func clip(_ layout: PartLayout, _ options: [String]) throws -> Data? {
        let path = UUID().uuidString + ".mkv"
        let outcome = try Executable.run(
            [
                "--request", layout("request.json"), "--noise", layout("expected.safetensors"), "-q", "--no-metadata",
                "--codec", "ffv1", "-o", path,
            ] + options, in: scratch.path)
        #expect(outcome.code == 0, "\(options) \(outcome.errors)")
        return FileManager.default.contents(atPath: scratch(path))
    }

    private func run(_ arguments: String...) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    private func expectFault(_ code: Int32, _ words: [String], _ arguments: String...) throws {
        let outcome = try Executable.run(arguments, in: scratch.path)
        #expect(outcome.code == code, "\(arguments) \(outcome.errors)")
        for word in words { #expect(outcome.errors.contains(word), "\(arguments): \(outcome.errors) lacks \(word)") }
    }

    // MARK: ComfyUI's folders

    @Test(
        "ComfyUI's folders give the clip of the plain folder, and every command reads them",
        arguments: PartLayout.Names.allCases)
    func comfy(_ names: PartLayout.Names) throws {
        let layout = layout()
        try layout.writeComfy("comfy", names)
        let expected = try clip(layout, ["-m", layout("model")])
        #expect(try expected != nil && clip(layout, ["-m", "comfy"]) == expected)
        #expect(try run("models", "verify", "comfy").output.contains("names and shapes fit HunyuanVideo"))
        #expect(try run("models", "show", "comfy").output.contains("family: hunyuanvideo"))
        #expect(try run("inspect", "comfy", "--json").output.contains("\"complete\":true"))
        let planned = try run("plan", "-p", "cat", "-m", "comfy")
        #expect(planned.code == 0, "\(planned.errors)")
        #expect(try run("convert", "comfy", "-o", "plain", "-q").output == "plain\n")
        #expect(try clip(layout, ["-m", "plain"]) == expected)
    }

    @Test("a model of pictures finds its tower in clip_vision", arguments: ["i2v-token-replace", "i2v-latent-concat"])
    func pictures(_ name: String) throws {
        let layout = layout(name)
        try layout.writeComfy("comfy", .comfy)
        let expected = try clip(layout, ["-m", layout("model")])
        #expect(try expected != nil && clip(layout, ["-m", "comfy"]) == expected)
    }

    @Test("what is missing or there twice is said, with the option that names it")
    func choices() throws {
        let layout = layout()
        try layout.writeComfy("comfy", .comfy)
        let manager = FileManager.default
        let vae = scratch("comfy/vae/hunyuan_video_vae_bf16.safetensors")
        try manager.copyItem(atPath: vae, toPath: scratch("comfy/vae/other.safetensors"))
        try expectFault(64, ["--vae", "other.safetensors"], "-p", "cat", "-m", "comfy", "-o", "v.mp4")
        #expect(try clip(layout, ["-m", "comfy", "--vae", vae]) != nil)
        try manager.removeItem(atPath: scratch("comfy/vae"))
        try manager.removeItem(atPath: scratch("comfy/tokenizer"))
        try expectFault(
            66, ["the VAE (--vae)", "tokenizer.json", "hunyuanvideo-community/HunyuanVideo"], "-p", "cat", "-m",
            "comfy",
            "-o", "v.mp4")
        // Weights of other programs' models are passed over.
        try SafetensorsWriter.write(
            [("double_blocks.0.img_attn.qkv.weight", HostTensor([1], [1]))],
            to: scratch("comfy/diffusion_models/flux.safetensors"))
        try expectFault(66, ["the VAE (--vae)"], "-p", "cat", "-m", "comfy", "-o", "v.mp4")
        try manager.removeItem(
            atPath: scratch("comfy/diffusion_models/hunyuan_video_t2v_720p_bf16.safetensors"))
        try expectFault(65, ["no transformer is in diffusion_models"], "-p", "cat", "-m", "comfy", "-o", "v.mp4")
    }

    // MARK: Parts named apart

    @Test("parts named apart take the place of a folder's, or of the folder", arguments: PartLayout.Names.allCases)
    func parts(_ names: PartLayout.Names) throws {
        let layout = layout()
        let expected = try clip(layout, ["-m", layout("model")])
        try layout.writeTransformer(names, to: scratch("x.safetensors"))
        #expect(
            try expected != nil && clip(layout, ["-m", layout("model"), "--transformer", "x.safetensors"]) == expected)
        let others = ["vae", "text_encoder", "text_encoder_2"].flatMap { part in
            ["--" + part.replacingOccurrences(of: "_", with: "-"), layout("model/" + part)]
        }
        // The tokenizers lie beside the encoders' folders.
        #expect(try clip(layout, ["--transformer", "x.safetensors"] + others) == expected)
        #expect(try clip(layout, ["-m", "x.safetensors"] + others) == expected)
        try expectFault(
            66, ["(--vae)", "(--text-encoder)", "tokenizer.json"], "-p", "cat", "-m", "x.safetensors", "-o", "v.mp4")
        try expectFault(
            65, ["does not hold the VAE"], "-p", "cat", "-m", layout("model"), "--vae", "x.safetensors", "-o", "v.mp4")
        try expectFault(66, ["nothing.safetensors"], "-p", "cat", "--transformer", "nothing.safetensors", "-o", "v.mp4")
    }

    @Test("a clip says of which parts it was made, and is made again of them")
    func again() throws {
        let layout = layout()
        try layout.writeTransformer(.comfy, to: scratch("x.safetensors"))
        try FileManager.default.copyItem(atPath: layout("model"), toPath: scratch("m"))
        let first = try run(
            "-p", "cat", "-m", "m", "--transformer", "x.safetensors", "--size", "64x48", "--frames", "5", "--steps",
            "1",
            "-o", "a.mp4")
        #expect(first.code == 0, "\(first.errors)")
        let second = try run("--from", "a.mp4", "-o", "b.mp4")
        #expect(second.code == 0 && !second.errors.contains("will differ"), "\(second.errors)")
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: scratch("a.mp4")))
                == Data(contentsOf: URL(fileURLWithPath: scratch("b.mp4"))))
    }

    @Test("Ruyi's parts are named in the same way")
    func ruyi() throws {
        let golden = Golden(name: "i2v-euler")
        try FileManager.default.copyItem(
            atPath: golden("model/transformer/diffusion_pytorch_model.safetensors"), toPath: scratch("x.safetensors"))
        let outcomes = try [[], ["--transformer", "x.safetensors"]].enumerated().map { index, options in
            try Executable.run(
                [
                    "--request", golden("request.json"), "-m", golden("model"), "-q", "--no-metadata", "-o",
                    "\(index).mp4",
                ]
                    + options, in: scratch.path)
        }
        #expect(outcomes.allSatisfy { $0.code == 0 }, "\(outcomes.map(\.errors))")
        let clips = [0, 1].map { FileManager.default.contents(atPath: scratch("\($0).mp4")) }
        #expect(clips[0] != nil && clips[0] == clips[1])
        try expectFault(
            64, ["no --text-encoder"], "-m", golden("model"), "--text-encoder", "x.safetensors", golden("start.png"),
            "-o", "v.mp4")
        try expectFault(64, ["--model"], golden("start.png"), "--transformer", "x.safetensors", "-o", "v.mp4")
    }

    // MARK: The authors' folders

    @Test(
        "any safetensors file in the authors' folder of transformers is read",
        arguments: ["mp_rank_00_model_states", "hunyuan_video_720_cfgdistill_fp8_e4m3fn"])
    func transformers(_ name: String) throws {
        let layout = OriginalLayout(name: "t2v-basic", scratch: scratch)
        try layout.write("original", .nested(["module"]))
        let expected = try clip(self.layout(), ["-m", "original"])
        let folder = "original/\(layout.inner)/transformers"
        // What the conversion of a file writes is read again.
        #expect(
            try run("convert", folder + "/mp_rank_00_model_states.pt", "-o", "\(folder)/\(name).safetensors", "-q").code
                == 0)
        try FileManager.default.removeItem(atPath: scratch(folder + "/mp_rank_00_model_states.pt"))
        #expect(try expected != nil && clip(self.layout(), ["-m", "original"]) == expected)
        #expect(try run("models", "verify", "original").code == 0)
        #expect(try run("convert", "original", "-o", "plain", "-q").code == 0)
        #expect(try clip(self.layout(), ["-m", "plain"]) == expected)
        if name.hasPrefix("mp") { return }
        try FileManager.default.copyItem(
            atPath: scratch("\(folder)/\(name).safetensors"), toPath: scratch("\(folder)/second.safetensors"))
        try expectFault(64, ["second", "--transformer"], "-p", "cat", "-m", "original", "-o", "v.mp4")
    }

    // MARK: Variants

    /// Calls the weights of a part otherwise.
    private func rename(_ path: String, _ name: String) throws {
        let target = (path as NSString).deletingLastPathComponent + "/" + name
        try FileManager.default.moveItem(atPath: scratch(path), toPath: scratch(target))
    }

    @Test("the only variant of save_pretrained is taken, and several are asked about")
    func variants() throws {
        let layout = layout()
        let expected = try clip(layout, ["-m", layout("model")])
        try FileManager.default.copyItem(atPath: layout("model"), toPath: scratch("v"))
        try rename("v/transformer/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bf16.safetensors")
        #expect(try expected != nil && clip(layout, ["-m", "v"]) == expected)
        // In several files, as the text encoders are published.
        #expect(try run("convert", layout("model"), "-o", "parts", "--shard-size", "20k", "-q").code == 0)
        let manager = FileManager.default
        try manager.removeItem(atPath: scratch("v/text_encoder/model.safetensors"))
        for file in try manager.contentsOfDirectory(atPath: scratch("parts/text_encoder")) where file != "config.json" {
            let isIndex = file.hasSuffix("json")
            let name =
                isIndex
                ? "model.safetensors.index.fp16.json" : file.replacingOccurrences(of: "model-", with: "model.fp16-")
            let data = try Data(contentsOf: URL(fileURLWithPath: scratch("parts/text_encoder/" + file)))
            let text = String(decoding: data, as: UTF8.self).replacingOccurrences(of: "\"model-", with: "\"model.fp16-")
            try (isIndex ? Data(text.utf8) : data).write(to: URL(fileURLWithPath: scratch("v/text_encoder/" + name)))
        }
        #expect(try clip(layout, ["-m", "v"]) == expected)
        #expect(try run("models", "verify", "v").code == 0)
        #expect(try run("models", "show", "v").output.contains("text_encoder:"))
        #expect(try run("convert", "v", "-o", "plain", "-q").code == 0)
        #expect(scratch.files.contains("plain/transformer/diffusion_pytorch_model.safetensors"))
        #expect(try clip(layout, ["-m", "plain"]) == expected)
        try manager.copyItem(
            atPath: scratch("v/transformer/diffusion_pytorch_model.bf16.safetensors"),
            toPath: scratch("v/transformer/diffusion_pytorch_model.fp16.safetensors"))
        try expectFault(64, ["bf16, fp16"], "-p", "cat", "-m", "v", "-o", "v.mp4")
        // The plain name comes first.
        try manager.copyItem(
            atPath: scratch("v/transformer/diffusion_pytorch_model.bf16.safetensors"),
            toPath: scratch("v/transformer/diffusion_pytorch_model.safetensors"))
        #expect(try clip(layout, ["-m", "v"]) == expected)
    }
}
