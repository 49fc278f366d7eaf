import RuyiFiles
import RuyiModels

extension FramePack {
    public static let parts = [
        ModelPart(
            "transformer", stem: "diffusion_pytorch_model", title: "the transformer", PartSettings.table.transformer,
            comfyFolders: ["diffusion_models", "unet"],
            source: "FramePackI2V_HY_bf16.safetensors from Kijai/HunyuanVideo_comfy"
        ) { FramePackTransformerFile($0) != nil },
        .hunyuanVAE, .hunyuanLanguage, .hunyuanCLIP,
        ModelPart(
            "image_encoder", stem: "model", title: "the part that sees pictures", PartSettings.table.imageEncoder,
            comfyFolders: ["clip_vision"],
            source: "sigclip_vision_patch14_384.safetensors from Comfy-Org/sigclip_vision_384"
        ) { SigLIPFile($0) != nil },
    ]

    public static let companions = [
        .hunyuanTokenizer, .hunyuanCLIPTokenizer,
        ModelCompanion(
            "feature_extractor", ["preprocessor_config.json"],
            or: ["image_encoder", "flux_redux_bfl/feature_extractor"], title: "the pictures' preprocessing"),
    ]
}
