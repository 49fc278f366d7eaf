import RuyiFiles
import RuyiModels

extension HunyuanVideo {
    public static let parts = [
        ModelPart(
            "transformer", stem: "diffusion_pytorch_model", title: "the transformer", PartSettings.table.transformer,
            comfyFolders: ["diffusion_models", "unet"],
            source: "hunyuan_video_t2v_720p_bf16.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanTransformerFile($0) != nil },
        .hunyuanVAE, .hunyuanLanguage, .hunyuanCLIP,
        ModelPart(
            "image_encoder", stem: "model", title: "the part that sees pictures", PartSettings.table.imageEncoder,
            comfyFolders: ["clip_vision"], isOptional: true,
            source: "llava_llama3_vision.safetensors from Comfy-Org/HunyuanVideo_repackaged"
        ) { HunyuanTextFile.isTower($0) },
    ]

    public static let companions = [
        .hunyuanTokenizer, .hunyuanCLIPTokenizer,
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
