import Foundation
import RuyiFiles
import RuyiTensor
import Testing

/// A recorded case of HunyuanVideo, and its checkpoint in the layouts of single files.
struct PartLayout {
    let name: String
    let scratch: Scratch

    /// The case's own files.
    func callAsFunction(_ file: String) -> String { Golden(name: name, family: "hunyuanvideo")(file) }

    /// The names of the transformer's tensors.
    enum Names: Sendable, CaseIterable {
        case diffusers, original, module, comfy, comfyModel
    }

    /// What ComfyUI calls the original's layers.
    private static let comfy = [
        ("txt_in.t_embedder.mlp.0.", "txt_in.t_embedder.in_layer."),
        ("txt_in.t_embedder.mlp.2.", "txt_in.t_embedder.out_layer."),
        ("txt_in.c_embedder.linear_1.", "txt_in.c_embedder.in_layer."),
        ("txt_in.c_embedder.linear_2.", "txt_in.c_embedder.out_layer."), ("_mod.linear.", "_mod.lin."),
        ("_attn_qkv.", "_attn.qkv."), ("mlp.fc1.", "mlp.0."), ("mlp.fc2.", "mlp.2."),
        ("_attn_q_norm.weight", "_attn.norm.query_norm.scale"), ("_attn_k_norm.weight", "_attn.norm.key_norm.scale"),
        (".q_norm.weight", ".norm.query_norm.scale"), (".k_norm.weight", ".norm.key_norm.scale"),
        ("_attn_proj.", "_attn.proj."), (".modulation.linear.", ".modulation.lin."),
        ("time_in.mlp.0.", "time_in.in_layer."), ("time_in.mlp.2.", "time_in.out_layer."),
        ("guidance_in.mlp.0.", "guidance_in.in_layer."), ("guidance_in.mlp.2.", "guidance_in.out_layer."),
    ]

    /// Writes the transformer into a file.
    func writeTransformer(_ names: Names, to path: String) throws {
        let file = try SafetensorsFile(path: self("model/transformer/diffusion_pytorch_model.safetensors"))
        if names == .diffusers {
            return try SafetensorsWriter.write(try file.keys.map { ($0, try file.tensor($0)) }, to: path)
        }
        let tensors = try OriginalNames.rename(file).map { name, parts in
            let rows = parts.reduce(0) { $0 + $1.shape[0] }
            let whole = HostTensor(parts.flatMap { $0.floats() }, [rows] + parts[0].shape.dropFirst())
            let comfy = Self.comfy.reduce(name) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
            let stored =
                switch names {
                case .module: "module." + name
                case .comfy: comfy
                case .comfyModel: "model.model." + comfy
                case .diffusers, .original: name
                }
            return (stored, whole)
        }
        try SafetensorsWriter.write(tensors, to: path)
    }

    /// Writes the VAE with the names of the latent diffusion models.
    func writeVAE(to path: String) throws {
        let file = try SafetensorsFile(path: self("model/vae/diffusion_pytorch_model.safetensors"))
        try SafetensorsWriter.write(
            try file.keys.map { key in
                var tensor = try file.tensor(key)
                if key.contains("attentions"), tensor.rank == 2 { tensor = tensor.reshaped(tensor.shape + [1, 1, 1]) }
                return (Self.latentDiffusionName(key), tensor)
            }, to: path)
    }

    private static func latentDiffusionName(_ key: String) -> String {
        var name = key
        for level in 0..<4 {
            name = name.replacingOccurrences(of: "up_blocks.\(level).", with: "up.\(3 - level).")
            name = name.replacingOccurrences(of: "down_blocks.\(level).", with: "down.\(level).")
        }
        let words = [
            ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
            ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
            ("mid_block.attentions.0.to_", "mid.attn_1."), ("mid_block.resnets.0", "mid.block_1"),
            ("mid_block.resnets.1", "mid.block_2"), ("resnets.", "block."), ("downsamplers.0.", "downsample."),
            ("upsamplers.0.", "upsample."), ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut"),
        ]
        return words.reduce(name) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
    }

    /// Writes the checkpoint as ComfyUI's users have it, with tokenizers, and the settings that tiny models' weights do
    /// not tell.
    func writeComfy(_ folder: String, _ names: Names) throws {
        let isOfPictures = name.hasPrefix("i2v")
        for part in ["diffusion_models", "vae", "text_encoders", "clip_vision", "text_encoder", "text_encoder_2"] {
            try scratch.folder(folder + "/" + part)
        }
        let kind = isOfPictures ? "image_to_video" : "t2v"
        try writeTransformer(
            names, to: scratch(folder + "/diffusion_models/hunyuan_video_\(kind)_720p_bf16.safetensors"))
        try writeVAE(to: scratch(folder + "/vae/hunyuan_video_vae_bf16.safetensors"))
        let text = try SafetensorsFile(path: self("model/text_encoder/model.safetensors"))
        func copy(_ path: String, _ rename: (String) -> String?) throws {
            let tensors = try text.keys.compactMap { key in try rename(key).map { ($0, try text.tensor(key)) } }
            try SafetensorsWriter.write(tensors, to: scratch(folder + "/" + path))
        }
        let (model, tower) = ("language_model.", "vision_tower.")
        try copy("text_encoders/llava_llama3_fp16.safetensors") { key in
            isOfPictures ? (key.hasPrefix(model) ? String(key.dropFirst(model.count)) : nil) : "model." + key
        }
        if isOfPictures {
            try copy("clip_vision/llava_llama3_vision.safetensors") { key in
                key.hasPrefix(model) ? nil : key.replacingOccurrences(of: tower, with: "")
            }
        }
        let manager = FileManager.default
        try manager.copyItem(
            atPath: self("model/text_encoder_2/model.safetensors"),
            toPath: scratch(folder + "/text_encoders/clip_l.safetensors"))
        for part in ["tokenizer", "tokenizer_2"] {
            try manager.copyItem(atPath: self("model/" + part), toPath: scratch(folder + "/" + part))
        }
        for part in ["vae", "text_encoder", "text_encoder_2"] {
            try manager.copyItem(
                atPath: self("model/\(part)/config.json"), toPath: scratch("\(folder)/\(part)/config.json"))
        }
    }
}
