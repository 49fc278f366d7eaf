import Foundation
import GoldenRecords
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

    @Test("where the heads are those of the published models, no settings are needed, and conversion writes them")
    func told() throws {
        let layout = layout()
        try layout.writeWide("wide")
        let expected = try clip(layout, ["-m", "wide"])
        let manager = FileManager.default
        let places = [
            ("transformer/diffusion_pytorch_model", "unet/t2v"), ("vae/diffusion_pytorch_model", "vae/v"),
            ("text_encoder/model", "clip/llama"), ("text_encoder_2/model", "clip/clip_l"),
        ]
        for (from, to) in places {
            try scratch.folder(("comfy/" + to as NSString).deletingLastPathComponent)
            try manager.copyItem(
                atPath: scratch("wide/\(from).safetensors"), toPath: scratch("comfy/\(to).safetensors"))
        }
        for part in ["tokenizer", "tokenizer_2"] {
            try manager.copyItem(atPath: scratch("wide/" + part), toPath: scratch("comfy/" + part))
        }
        #expect(try expected != nil && clip(layout, ["-m", "comfy"]) == expected)
        #expect(try run("convert", "comfy", "-o", "plain", "-q").code == 0)
        #expect(try clip(layout, ["-m", "plain"]) == expected)
        // Others' heads are asked for.
        try layout.writeComfy("tiny", .diffusers)
        try manager.removeItem(atPath: scratch("tiny/text_encoder_2/config.json"))
        try expectFault(65, ["heads", "text_encoder_2"], "-p", "cat", "-m", "tiny", "-o", "v.mp4")
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
        try expectFault(
            66, ["the VAE (--vae)", "embeddings.safetensors", "IamCreateAI/Ruyi-Mini-7B"], golden("start.png"),
            "--transformer", "x.safetensors", "-o", "v.mp4")
    }

    @Test("Ruyi's parts need no folder: sizes come from the weights, and what these do not tell is asked for")
    func ruyiWithoutFolder() throws {
        let golden = Golden(name: "i2v-euler")
        let manager = FileManager.default
        for part in ["vae", "image_encoder"] { try golden.record.copy("model/" + part, to: scratch("parts/" + part)) }
        for (from, to) in [
            ("embeddings", "embeddings"), ("transformer/diffusion_pytorch_model", "ruyi-mini"),
        ] {
            let file = try Data(contentsOf: URL(fileURLWithPath: golden("model/\(from).safetensors")))
            try file.write(to: URL(fileURLWithPath: scratch("parts/\(to).safetensors")))
        }
        let parts = [
            "--transformer", "parts/ruyi-mini.safetensors", "--vae", "parts/vae", "--image-encoder",
            "parts/image_encoder",
        ]
        func clip(_ options: [String]) throws -> Data? {
            let outcome = try Executable.run(
                ["--request", golden("request.json"), "-q", "--no-metadata", "-o", "v.mp4", "--overwrite"] + options,
                in: scratch.path)
            #expect(outcome.code == 0, "\(options) \(outcome.errors)")
            return manager.contents(atPath: scratch("v.mp4"))
        }
        let expected = try clip(["-m", golden("model")])
        #expect(try expected != nil && clip(parts) == expected)
        #expect(try clip(["-m", "parts/ruyi-mini.safetensors"] + parts.dropFirst(2)) == expected)
        for command in [["models", "verify"], ["models", "show"], ["inspect"]] {
            let outcome = try Executable.run(command + parts, in: scratch.path)
            #expect(outcome.code == 0 && outcome.output.lowercased().contains("ruyi"), "\(command) \(outcome.errors)")
        }
        #expect(try Executable.run(["convert", "-o", "plain", "-q"] + parts, in: scratch.path).code == 0)
        #expect(try clip(["-m", "plain"]) == expected)
        let refusal = ["plan", golden("start.png")] + parts
        try manager.removeItem(atPath: scratch("parts/vae/config.json"))
        let without = try Executable.run(refusal, in: scratch.path)
        #expect(without.code == 66 && without.errors.contains("vae/config.json of IamCreateAI"), "\(without.errors)")
        try manager.removeItem(atPath: scratch("parts/embeddings.safetensors"))
        let bare = try Executable.run(refusal, in: scratch.path)
        #expect(bare.code == 66 && bare.errors.contains("the control embeddings"), "\(bare.errors)")
    }

    @Test("every command that reads a checkpoint takes it as files")
    func commands() throws {
        let layout = layout()
        try layout.writeTransformer(.comfy, to: scratch("x.safetensors"))
        let others = ["vae", "text_encoder", "text_encoder_2"].flatMap { part in
            ["--" + part.replacingOccurrences(of: "_", with: "-"), layout("model/" + part)]
        }
        let expected = try clip(layout, ["-m", layout("model")])
        func run(_ arguments: [String]) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }
        for (index, model) in [["x.safetensors"], ["--transformer", "x.safetensors"]].enumerated() {
            let verified = try run(["models", "verify"] + model + others)
            #expect(
                verified.output.contains("x.safetensors: names and shapes fit HunyuanVideo"),
                "\(verified.output)\(verified.errors)")
            let shown = try run(["models", "show"] + model + others)
            #expect(
                shown.code == 0
                    && ["name: x.safetensors", "complete: true", "text_encoder_2:"].allSatisfy(
                        shown.output.contains),
                "\(shown.output)\(shown.errors)")
            #expect(try run(["inspect", "--json"] + model + others).output.contains("\"complete\":true"))
            let plain = "plain-\(index)"
            #expect(try run(["convert", "-o", plain, "-q"] + model + others).output == plain + "\n")
            #expect(try clip(layout, ["-m", plain]) == expected)
        }
        // Parts in the place of a folder's.
        #expect(try run(["models", "verify", layout("model"), "--transformer", "x.safetensors"]).code == 0)
        // A lone file is converted as one, and read again.
        #expect(try run(["convert", "x.safetensors", "-o", "y.safetensors", "-q"]).code == 0)
        #expect(try clip(layout, ["--transformer", "y.safetensors"] + others) == expected)
        // What rendering refuses, they refuse.
        let file = try SafetensorsFile(path: scratch("x.safetensors"))
        let key = "double_blocks.0.img_attn.qkv.weight"
        let scaled = try file.keys.map { ($0, try file.tensor($0)) } + [(key + ".absmax", HostTensor([1], [1]))]
        try SafetensorsWriter.write(scaled, to: scratch("four.safetensors"))
        let bad = ["--transformer", "four.safetensors"] + others
        for command in [
            ["render", "-p", "cat", "-o", "v.mp4"], ["plan", "-p", "cat"], ["models", "verify"], ["models", "show"],
            ["inspect"], ["convert", "-o", "bad"],
        ] {
            let outcome = try run(command + bad)
            #expect(outcome.code == 65 && outcome.errors.contains("four.safetensors"), "\(command) \(outcome.errors)")
        }
        try expectFault(64, ["2 models"], "models", "verify", "a", "b", "--vae", layout("model/vae"))
        try expectFault(64, ["neither a model nor a part"], "models", "show")
        try expectFault(66, ["the VAE (--vae)"], "models", "verify", "x.safetensors")
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
