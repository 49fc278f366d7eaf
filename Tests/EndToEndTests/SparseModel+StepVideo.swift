import Foundation
import RuyiFamilies

extension SparseModel {
    /// Writes the transformer, both text encoders and the VAE of Step-Video-TI2V at their published sizes over those of a
    /// small checkpoint, whose tokenizers stay.
    static func writeStepVideo(_ folder: String) throws {
        let llm = ["hidden_size": 6144, "num_attention_heads": 48, "num_attention_groups": 8, "ffn_hidden_size": 16384]
        try replace(
            folder + "/transformer", "diffusion_pytorch_model.safetensors", stepTransformer,
            [
                "attention_head_dim": 128, "num_attention_heads": 48, "num_layers": 48, "in_channels": 64,
                "out_channels": 64, "caption_channels": [6144, 1024],
            ])
        try replace(
            folder + "/step_llm", "model.safetensors", stepLanguage,
            llm.merging(["num_layers": 48, "padded_vocab_size": 65536]) { $1 })
        try replace(
            folder + "/hunyuan_clip/clip_text_encoder", "model.safetensors", stepBERT,
            [
                "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "num_hidden_layers": 24,
                "vocab_size": 47020, "max_position_embeddings": 512,
            ])
        try replace(folder + "/vae", "vae_v2.safetensors", StepVAEConfiguration.published.tensors, nil)
    }

    /// Writes tensors in the place of a folder's weights, and changes its settings.
    private static func replace(
        _ folder: String, _ name: String, _ entries: [(key: String, shape: [Int])], _ settings: [String: Any]?
    ) throws {
        let manager = FileManager.default
        for file in try manager.contentsOfDirectory(atPath: folder)
        where file.contains("safetensors") || file.hasSuffix(".bin") {
            try manager.removeItem(atPath: folder + "/" + file)
        }
        try write(entries.map { ($0.key, $0.shape) }, folder + "/" + name)
        guard let settings else { return }
        let url = URL(fileURLWithPath: folder + "/config.json")
        let old = try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any] ?? [:]
        try manager.removeItem(at: url)
        try JSONSerialization.data(withJSONObject: old.merging(settings) { $1 }).write(to: url)
    }

    private static var stepTransformer: [(key: String, shape: [Int])] {
        let width = 6144
        var list: [(String, [Int])] = [
            ("pos_embed.proj.weight", [width, 128, 1, 1]), ("pos_embed.proj.bias", [width]),
            ("scale_shift_table", [2, width]),
        ]
        for name in ["timestep_embedder", "motion_score_embedder"] {
            let place = "adaln_single.emb.\(name).linear_"
            list += layer(place + "1", width, 256) + layer(place + "2", width, width)
        }
        list += layer("adaln_single.linear", 6 * width, width) + layer("clip_projection", width, 1024)
        list += layer("caption_projection.linear_1", width, width) + layer("caption_projection.linear_2", width, width)
        for index in 0..<48 {
            let block = "transformer_blocks.\(index)."
            list.append((block + "scale_shift_table", [6, width]))
            for norm in ["norm1", "norm2"] {
                list += [(block + norm + ".weight", [width]), (block + norm + ".bias", [width])]
            }
            for (name, rows, columns) in [
                ("attn1.wqkv", 3 * width, width), ("attn1.wo", width, width), ("attn2.wq", width, width),
                ("attn2.wkv", 2 * width, width), ("attn2.wo", width, width), ("ff.net.0.proj", 4 * width, width),
                ("ff.net.2", width, 4 * width),
            ] {
                list.append((block + name + ".weight", [rows, columns]))
            }
            for name in ["attn1.q_norm", "attn1.k_norm", "attn2.q_norm", "attn2.k_norm"] {
                list.append((block + name + ".weight", [128]))
            }
        }
        return list + layer("proj_out", 64, width)
    }

    private static var stepLanguage: [(key: String, shape: [Int])] {
        let (width, inner) = (6144, 16384)
        var list: [(String, [Int])] = [("tok_embeddings.word_embeddings.weight", [65536, width])]
        for index in 0..<48 {
            let place = "transformer.layers.\(index)."
            list += ["attention_norm", "ffn_norm"].map { (place + $0 + ".weight", [width]) }
            list += [
                (place + "attention.wqkv.weight", [width + 2 * 8 * 128, width]),
                (place + "attention.wo.weight", [width, width]),
                (place + "feed_forward.w1.weight", [2 * inner, width]),
                (place + "feed_forward.w2.weight", [width, inner]),
            ]
        }
        return list
    }

    private static var stepBERT: [(key: String, shape: [Int])] {
        let (width, inner) = (1024, 4096)
        func norm(_ name: String) -> [(String, [Int])] { [(name + ".weight", [width]), (name + ".bias", [width])] }
        var list = norm("embeddings.LayerNorm")
        for (name, rows) in [("word", 47020), ("position", 512), ("token_type", 2)] {
            list.append(("embeddings.\(name)_embeddings.weight", [rows, width]))
        }
        for index in 0..<24 {
            let place = "encoder.layer.\(index)."
            for name in [
                "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            ] {
                list += layer(place + name, width, width)
            }
            list += norm(place + "attention.output.LayerNorm") + norm(place + "output.LayerNorm")
            list += layer(place + "intermediate.dense", inner, width) + layer(place + "output.dense", width, inner)
        }
        return list
    }

    private static func layer(_ name: String, _ rows: Int, _ columns: Int) -> [(String, [Int])] {
        [(name + ".weight", [rows, columns]), (name + ".bias", [rows])]
    }
}
