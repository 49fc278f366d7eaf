import RuyiEncoders
import RuyiFiles
import RuyiModels

extension PyramidFlow {
    public static let parts = [
        ModelPart(
            PyramidCheckpoint.single, stem: "diffusion_pytorch_model", title: "the transformer",
            PartSettings.table.transformer, comfyFolders: ["diffusion_models", "unet"],
            source: "pyramid_flow_miniflux_768_bf16.safetensors from Kijai/pyramid-flow-comfy"
        ) { PyramidTransformerFile($0) != nil },
        ModelPart(
            PyramidCheckpoint.Part.vae.rawValue, stem: "diffusion_pytorch_model", title: "the VAE",
            PartSettings.table.vae, comfyFolders: ["vae"],
            source: "pyramid_flow_vae_bf16.safetensors from Kijai/pyramid-flow-comfy"
        ) { PyramidVAEFile.isThere(in: $0) },
        ModelPart(
            PyramidVariant.miniflux.language.rawValue, stem: "model", title: "T5", PartSettings.table.textEncoder,
            comfyFolders: ["text_encoders", "clip"],
            source: "t5xxl_fp16.safetensors from comfyanonymous/flux_text_encoders"
        ) { T5File($0) != nil },
        ModelPart(
            PyramidVariant.miniflux.towers[0].rawValue, stem: "model", title: "CLIP's text tower",
            PartSettings.table.textEncoder2, comfyFolders: ["text_encoders", "clip"],
            source: "clip_l.safetensors from comfyanonymous/flux_text_encoders"
        ) { HunyuanCLIPFile($0) != nil },
    ]

    public static let companions = [
        ModelCompanion(
            "tokenizer", ["vocab.json", "merges.txt"], title: "CLIP's tokenizer",
            source: "the folder 'tokenizer' of rain1011/pyramid-flow-miniflux"),
        ModelCompanion(
            "tokenizer_2", ["spiece.model"], title: "T5's tokenizer",
            source: "the folder 'tokenizer_2' of rain1011/pyramid-flow-miniflux"),
    ]
}
