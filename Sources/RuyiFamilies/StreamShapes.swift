import RuyiModels

/// What parts of transformers of dual-stream and single-stream blocks hold, in the names of diffusers, for measuring.
enum StreamShapes {
    typealias Entry = (key: String, shape: [Int])

    /// A layer with weight and bias.
    static func layer(_ key: String, _ outputs: Int, _ inputs: Int...) -> [Entry] {
        [(key + ".weight", [outputs] + inputs), (key + ".bias", [outputs])]
    }

    /// A number's or a vector's embedding.
    static func embedder(_ key: String, _ width: Int, from input: Int) -> [Entry] {
        layer(key + ".linear_1", width, input) + layer(key + ".linear_2", width, width)
    }

    /// A block with weights of its own for video and text.
    static func dual(_ sizes: StreamSizes) -> [Entry] {
        let (width, inner) = (sizes.width, sizes.innerWidth)
        let norms = ["norm_q", "norm_k", "norm_added_q", "norm_added_k"]
        let projections = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
        return norms.map { ("attn.\($0).weight", [sizes.headSize]) }
            + projections.flatMap { layer("attn." + $0, width, width) }
            + ["norm1", "norm1_context"].flatMap { layer($0 + ".linear", 6 * width, width) }
            + ["ff", "ff_context"].flatMap {
                layer($0 + ".net.0.proj", inner, width) + layer($0 + ".net.2", width, inner)
            }
    }

    /// A block with common weights.
    static func single(_ sizes: StreamSizes) -> [Entry] {
        let (width, inner) = (sizes.width, sizes.innerWidth)
        return ["norm_q", "norm_k"].map { ("attn.\($0).weight", [sizes.headSize]) }
            + ["to_q", "to_k", "to_v"].flatMap { layer("attn." + $0, width, width) }
            + layer("norm.linear", 3 * width, width) + layer("proj_mlp", inner, width)
            + layer("proj_out", width, width + inner)
    }

    /// The refiner of the text's tokens.
    static func refiner(_ sizes: StreamSizes, textWidth: Int, layers: Int) -> [Entry] {
        let width = sizes.width
        let block =
            ["norm1", "norm2"].flatMap { [("\($0).weight", [width]), ("\($0).bias", [width])] }
            + ["to_q", "to_k", "to_v", "to_out.0"].flatMap { layer("attn." + $0, width, width) }
            + layer("ff.net.0.proj", 4 * width, width) + layer("ff.net.2", width, 4 * width)
            + layer("norm_out.linear", 2 * width, width)
        return embedder("time_text_embed.timestep_embedder", width, from: ConditioningEmbedder.sinusoidWidth)
            + embedder("time_text_embed.text_embedder", width, from: textWidth) + layer("proj_in", width, textWidth)
            + (0..<layers).flatMap { inside("token_refiner.refiner_blocks.\($0)", block) }
    }

    /// The same below a name.
    static func inside(_ key: String, _ entries: [Entry]) -> [Entry] {
        entries.map { ("\(key).\($0.key)", $0.shape) }
    }

    /// Multiplications and additions of either block's matrix products at full width, whose layers have the same sizes per
    /// token; `tokens` are those of video and text.
    static func operations(tokens: Int) -> Double {
        let (width, inner, count) = (3072.0, 12288.0, Double(tokens))
        return count * (8 * width * width + 4 * width * inner) + 4 * count * count * width
    }
}
