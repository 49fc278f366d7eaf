import RuyiFiles
import RuyiLayers
import RuyiTensor

/// Blocks that let the text's tokens see one another, modulated by time and by their mean (diffusers:
/// HunyuanVideoTokenRefiner).
package struct TokenRefiner: Sendable {
    private let time, mean: ConditioningEmbedder
    private let projection: Linear
    private let blocks: [Block]

    /// Takes `time_text_embed`, `proj_in` and `count` blocks for states of width `textWidth`.
    package init(_ scope: WeightScope, textWidth: Int, count: Int, _ sizes: StreamSizes) {
        let embedders = scope / "time_text_embed"
        time = ConditioningEmbedder(embedders / "timestep_embedder", sizes.width)
        mean = ConditioningEmbedder(embedders / "text_embedder", sizes.width, input: textWidth)
        projection = Linear(scope / "proj_in", textWidth, sizes.width)
        blocks = (0..<count).map { Block(scope / "token_refiner" / "refiner_blocks" / $0, sizes) }
    }

    /// The text's tokens in the transformer's width, `[1, tokens, D]`.
    package func callAsFunction(_ text: HunyuanText, time level: Float, _ trace: StageTrace?) -> Tensor {
        let session = text.states.session
        let embedding = time(level, on: session) + mean(average(text))
        trace?.record("context.temb", embedding)
        let activated = session.activate(embedding, .silu)
        var hidden = projection(text.states)
        trace?.record("context.proj_in.out", hidden)
        // Padding sees the first token only.
        let mask = AttentionMask(visibleKeys: [(0..<text.states.shape[1]).map { $0 < text.valid ? text.valid : 1 }])
        for (index, block) in blocks.enumerated() {
            hidden = block(hidden, activated, mask)
            trace?.record("context.block.\(StageTrace.digits(index)).out", hidden)
        }
        trace?.record("context.out", hidden)
        return hidden
    }

    /// The mean of the valid states, `[1, width]`.
    private func average(_ text: HunyuanText) -> Tensor {
        let session = text.states.session
        let weights = session.filled([1, text.valid], 1 / Float(max(text.valid, 1)))
        let valid = text.states.selected(0, 0).sliced(0, 0..<text.valid)
        return session.linear(weights, Projection(.computed(valid.permuted([1, 0]))))
    }

    private struct Block: Sendable {
        let norm1, norm2: LayerNorm
        let query, key, value, output: Linear
        let feedForward: FeedForward
        let modulation: Linear
        let heads: Int
        let scale: Float

        init(_ scope: WeightScope, _ sizes: StreamSizes) {
            let width = sizes.width
            norm1 = LayerNorm(scope / "norm1", width, epsilon: sizes.epsilon)
            norm2 = LayerNorm(scope / "norm2", width, epsilon: sizes.epsilon)
            query = Linear(scope / "attn" / "to_q", width, width)
            key = Linear(scope / "attn" / "to_k", width, width)
            value = Linear(scope / "attn" / "to_v", width, width)
            output = Linear(scope / "attn" / "to_out" / 0, width, width)
            feedForward = FeedForward(
                inner: Linear(scope / "ff" / "net" / 0 / "proj", width, sizes.innerWidth), .silu,
                outer: Linear(scope / "ff" / "net" / 2, sizes.innerWidth, width))
            modulation = Linear(scope / "norm_out" / "linear", width, 2 * width)
            heads = sizes.heads
            scale = sizes.attentionScale
        }

        func callAsFunction(_ x: Tensor, _ signal: Tensor, _ mask: AttentionMask) -> Tensor {
            let gates = TokenRows(modulation(signal))  // [1, 2 D]: of the attention, of the feed-forward layers
            let width = x.shape[2]
            let normed = norm1(x)
            let attended = x.session.attention(
                query(normed), key(normed), value(normed), heads: heads, scale: scale,
                options: AttentionOptions(mask: mask))
            let hidden = x + gates.columns(0..<width) * output(attended)
            return hidden + gates.columns(width..<2 * width) * feedForward(norm2(hidden))
        }
    }
}
