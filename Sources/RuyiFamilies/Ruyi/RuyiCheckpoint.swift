import RuyiFault
import RuyiFiles
import RuyiModels

/// The settings of a checkpoint's parts: those of its files, and of a part that was named apart without any, those that
/// its weights tell and the published model's.
struct RuyiCheckpoint: Sendable {
    /// The checkpoint.
    let folder: ModelFolder

    private static let repository = "IamCreateAI/Ruyi-Mini-7B"

    /// The transformer's sizes.
    ///
    /// Throws `.badData` that names a tensor which does not tell what it should.
    func transformer() throws(Fault) -> JSONObject {
        let name = "transformer/config.json"
        if try has(name, of: "transformer") { return try folder.json(name) }
        let file = try folder.weights("transformer", stem: "diffusion_pytorch_model")
        return try JSONObject(RuyiCheckpoint.transformerSettings(file), file: file.path)
    }

    /// The VAE's sizes and modes.
    ///
    /// Throws `.cannotOpen` where they are not there: how the clip is cut into chunks, and how its latents are scaled,
    /// no weight tells.
    func vae() throws(Fault) -> JSONObject {
        let name = "vae/config.json"
        if try has(name, of: "vae") { return try folder.json(name) }
        throw Fault(
            .cannotOpen, "the VAE has no config.json beside it, and its weights do not tell how it works",
            at: try folder.weights("vae", stem: "diffusion_pytorch_model").path,
            hint: "put \(name) of \(RuyiCheckpoint.repository) beside the file")
    }

    /// The sizes of what sees the picture.
    ///
    /// Throws `.badData` where its weights do not tell them.
    func vision() throws(Fault) -> JSONObject {
        let name = "image_encoder/config.json"
        if try has(name, of: "image_encoder") { return try folder.json(name) }
        let file = try visionFile()
        return try JSONObject(file.tower.settings(folder: "image_encoder"), file: file.path)
    }

    /// How pictures are made ready for it.
    func processor() throws(Fault) -> JSONObject {
        let name = "image_encoder/preprocessor_config.json"
        if try has(name, of: "image_encoder") { return try folder.json(name) }
        let file = try visionFile()
        return try JSONObject(file.tower.processorSettings(), file: file.path)
    }

    /// The noise levels; nil where they are the published ones, for want of a file.
    func scheduler() throws(Fault) -> JSONObject? {
        let name = "scheduler/scheduler_config.json"
        return try has(name, of: "transformer") ? try folder.json(name) : nil
    }

    /// Whether a file is there, or has to be: the settings of a part that lies in the folder.
    private func has(_ name: String, of part: String) throws(Fault) -> Bool {
        if folder.isPlaced(part) { return try folder.has(name) }
        return true
    }

    private func visionFile() throws(Fault) -> (tower: CLIPVisionFile, path: String) {
        let file = try folder.weights("image_encoder", stems: ["model", "pytorch_model"])
        guard let tower = CLIPVisionFile(file) else {
            throw Fault(.badData, "the file holds no part of CLIP that sees pictures", at: file.path)
        }
        return (tower, file.path)
    }

    private static func transformerSettings(_ file: any WeightFile) throws(Fault) -> JSON {
        let patches = "pos_embed.proj.weight"
        let width = try file.size(0, of: patches, rank: 4)
        let patch = try file.size(2, of: patches, rank: 4)
        let head = try file.size(0, of: "blocks.0.attn1.norm_q.weight", rank: 1)
        let inner = try file.size(0, of: "blocks.0.ff.net.0.proj.weight", rank: 2)
        let textCount = try file.size(0, of: "text_embedding_padding", rank: 2)
        let secondCount = try file.size(0, of: "time_extra_emb.pooler.positional_embedding", rank: 2) - 1
        let output = try file.size(0, of: "proj_out.weight", rank: 2) / max(1, patch * patch)
        return .object([
            .init("_class_name", "HunyuanTransformer3DModel"),
            .init("in_channels", .int(try file.size(1, of: patches, rank: 4))), .init("out_channels", .int(output)),
            .init("patch_size", .int(patch)), .init("hidden_size", .int(width)),
            .init("num_attention_heads", .int(width / head)), .init("attention_head_dim", .int(head)),
            .init("num_layers", .int(try file.count(of: "blocks"))),
            .init("cross_attention_dim", .int(try file.size(1, of: "blocks.0.attn2.to_k.weight", rank: 2))),
            .init("cross_attention_dim_t5", .int(try file.size(1, of: "text_embedder.linear_1.weight", rank: 2))),
            .init("text_len", .int(textCount - secondCount)), .init("text_len_t5", .int(secondCount)),
            .init("n_query", .int(try file.size(0, of: "clip_padding", rank: 2))),
            .init(
                "pooled_projection_dim", .int(try file.size(0, of: "time_extra_emb.pooler.c_proj.weight", rank: 2))),
            // The width is made of the ratio, and what is behind the point is left out.
            .init("mlp_ratio", .double((Double(inner) + 0.5) / Double(width))), .init("learn_sigma", true),
            .init("norm_type", "layer_norm"), .init("activation_fn", "gelu-approximate"),
        ])
    }

    // MARK: The published layout

    /// The checkpoint in the published layout, whose parts were named apart.
    ///
    /// Throws `.badData` for weights and settings that are not those of the model.
    func rearranged() throws(Fault) -> RearrangedCheckpoint {
        var result = RearrangedCheckpoint()
        for part in ["transformer", "vae"] {
            let stem = "diffusion_pytorch_model"
            result.weights.append((part + "/" + stem, try folder.weights(part, stem: stem)))
        }
        let vision = try folder.weights("image_encoder", stems: ["model", "pytorch_model"])
        result.weights.append(("image_encoder/model", vision))
        result.weights.append(("embeddings", try folder.weights("", stem: "embeddings")))
        var schedule = try JSONObject(.object([]), file: folder.path)
        if let own = try scheduler() { schedule = own }
        let settings = [
            ("transformer/config.json", try transformer()), ("vae/config.json", try vae()),
            ("image_encoder/config.json", try self.vision()),
            ("image_encoder/preprocessor_config.json", try processor()),
            ("scheduler/scheduler_config.json", schedule),
        ]
        for (name, json) in settings { result.texts.append((name, json.json.text(pretty: true) + "\n")) }
        result.texts.append(
            ("model_index.json", JSON.object([.init("_class_name", "RuyiInpaintPipeline")]).text() + "\n"))
        return result
    }
}
