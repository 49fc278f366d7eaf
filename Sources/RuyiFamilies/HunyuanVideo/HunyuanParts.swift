import RuyiFiles
import RuyiModels

extension HunyuanVideo {
    public static let parts = [
        ModelPart(
            "transformer", stem: "diffusion_pytorch_model", title: "the transformer", PartSettings.table.transformer,
            comfyFolders: ["diffusion_models", "unet"],
            source: "hunyuan_video_t2v_720p_bf16.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanTransformerFile($0) != nil },
        ModelPart(
            "vae", stem: "diffusion_pytorch_model", title: "the VAE", PartSettings.table.vae, comfyFolders: ["vae"],
            source: "hunyuan_video_vae_bf16.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanVAEFile.isThere(in: $0) },
        ModelPart(
            "text_encoder", stem: "model", title: "the language model", PartSettings.table.textEncoder,
            comfyFolders: ["text_encoders", "clip"],
            source: "llava_llama3_fp8_scaled.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanTextFile.isThere(in: $0) },
        ModelPart(
            "text_encoder_2", stem: "model", title: "CLIP's text tower", PartSettings.table.textEncoder2,
            comfyFolders: ["text_encoders", "clip"],
            source: "clip_l.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanCLIPFile($0) != nil },
        ModelPart(
            "image_encoder", stem: "model", title: "the part that sees pictures", PartSettings.table.imageEncoder,
            comfyFolders: ["clip_vision"], isOptional: true,
            source: "llava_llama3_vision.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanTextFile.isTower($0) },
    ]

    public static let companions = [
        ModelCompanion(
            "tokenizer", ["tokenizer.json"], or: ["text_encoder", "text_encoder_i2v"], title: "LLaMA's tokenizer",
            source: "the folder 'tokenizer' of hunyuanvideo-community/HunyuanVideo"),
        ModelCompanion(
            "tokenizer_2", ["vocab.json", "merges.txt"], or: ["text_encoder_2"], title: "CLIP's tokenizer",
            source: "the folder 'tokenizer_2' of hunyuanvideo-community/HunyuanVideo"),
        ModelCompanion("scheduler", ["scheduler_config.json"], title: "the scheduler's settings"),
        ModelCompanion("image_processor", ["preprocessor_config.json"], title: "the pictures' preprocessing"),
    ]
}

/// Settings that hold for every published model of the family.
enum HunyuanSettingsTable {
    /// The scheduler's.
    static let scheduler: JSON = .object([
        .init("_class_name", "FlowMatchEulerDiscreteScheduler"), .init("num_train_timesteps", .int(1000)),
        .init("shift", .double(7)), .init("use_dynamic_shifting", .bool(false)),
    ])
}
