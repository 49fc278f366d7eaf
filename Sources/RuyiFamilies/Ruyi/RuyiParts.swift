import RuyiFiles
import RuyiModels

extension Ruyi {
    private static let repository = "IamCreateAI/Ruyi-Mini-7B"

    public static let parts = [
        ModelPart(
            "transformer", stem: "diffusion_pytorch_model", title: "the transformer", PartSettings.table.transformer,
            source: repository
        ) { $0.shape(of: "time_extra_emb.pooler.q_proj.weight") != nil },
        ModelPart(
            "vae", stem: "diffusion_pytorch_model", title: "the VAE", PartSettings.table.vae, source: repository
        ) { $0.shape(of: "decoder.mid_block.convs.0.conv1.weight") != nil },
        ModelPart(
            "image_encoder", stem: "model", title: "the part that sees pictures", PartSettings.table.imageEncoder,
            source: repository
        ) { CLIPVisionFile($0)?.start == "vision_model." },
    ]

    public static let companions = [
        ModelCompanion(
            "", ["embeddings.safetensors"], title: "the control embeddings",
            source: "embeddings.safetensors of \(repository)"),
        ModelCompanion("scheduler", ["scheduler_config.json"], title: "the scheduler's settings"),
        ModelCompanion("image_encoder", ["preprocessor_config.json"], title: "the pictures' preprocessing"),
    ]
}
