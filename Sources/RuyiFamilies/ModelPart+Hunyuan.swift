import RuyiModels

extension ModelPart {
    /// HunyuanVideo's VAE, which other families have too.
    static let hunyuanVAE = ModelPart(
        "vae", stem: "diffusion_pytorch_model", title: "the VAE", PartSettings.table.vae, comfyFolders: ["vae"],
        source: "hunyuan_video_vae_bf16.safetensors from Comfy-Org/HunyuanVideo_repackaged"
    ) { HunyuanVAEFile.isThere(in: $0) }
    /// The language model that reads prompts with it.
    static let hunyuanLanguage = ModelPart(
        "text_encoder", stem: "model", title: "the language model", PartSettings.table.textEncoder,
        comfyFolders: ["text_encoders", "clip"],
        source: "llava_llama3_fp8_scaled.safetensors from Comfy-Org/HunyuanVideo_repackaged"
    ) { HunyuanTextFile.isThere(in: $0) }
    /// The second text encoder.
    static let hunyuanCLIP = ModelPart(
        "text_encoder_2", stem: "model", title: "CLIP's text tower", PartSettings.table.textEncoder2,
        comfyFolders: ["text_encoders", "clip"],
        source: "clip_l.safetensors from Comfy-Org/HunyuanVideo_repackaged"
    ) { HunyuanCLIPFile($0) != nil }
}

extension ModelCompanion {
    /// The tokenizer of HunyuanVideo's language model.
    static let hunyuanTokenizer = ModelCompanion(
        "tokenizer", ["tokenizer.json"], or: ["text_encoder", "text_encoder_i2v", "HunyuanVideo/tokenizer"],
        title: "LLaMA's tokenizer", source: "the folder 'tokenizer' of hunyuanvideo-community/HunyuanVideo")
    /// That of the second text encoder.
    static let hunyuanCLIPTokenizer = ModelCompanion(
        "tokenizer_2", ["vocab.json", "merges.txt"], or: ["text_encoder_2", "HunyuanVideo/tokenizer_2"],
        title: "CLIP's tokenizer", source: "the folder 'tokenizer_2' of hunyuanvideo-community/HunyuanVideo")
}
