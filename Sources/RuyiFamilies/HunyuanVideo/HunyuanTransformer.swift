import Glibc
import RuyiFiles
import RuyiLayers
import RuyiTensor

let hunyuanEpsilon: Float = 1e-6

/// The denoiser of HunyuanVideo (HunyuanVideoTransformer3DModel, specification section 7): full attention over video and
/// text tokens, first with weights of their own, then with common ones.
package struct HunyuanTransformer: Sendable {
    let configuration: HunyuanTransformerConfiguration
    private let patchWeight, patchBias: Tensor
    private let time: HunyuanEmbedder
    private let guidance: HunyuanEmbedder?
    private let pooled: HunyuanEmbedder
    private let refiner: HunyuanRefiner
    private var dualBlocks: [HunyuanDualBlock]
    private var singleBlocks: [HunyuanSingleBlock]
    private let modulation: Linear
    private let projection: Linear

    package init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
        let (width, patch) = (configuration.hiddenSize, HunyuanTransformerConfiguration.patch)
        self.configuration = configuration
        let place = scope / "x_embedder" / "proj"
        patchWeight = place.take("weight", [width, configuration.inChannels, 1, patch, patch])
        patchBias = place.take("bias", [width])
        let embedders = scope / "time_text_embed"
        time = HunyuanEmbedder(embedders / "timestep_embedder", HunyuanEmbedder.sinusoidWidth, width)
        guidance =
            configuration.embedsGuidance
            ? HunyuanEmbedder(embedders / "guidance_embedder", HunyuanEmbedder.sinusoidWidth, width) : nil
        pooled = HunyuanEmbedder(embedders / "text_embedder", configuration.pooledWidth, width)
        refiner = HunyuanRefiner(scope / "context_embedder", configuration)
        dualBlocks = (0..<configuration.dualCount).map {
            HunyuanDualBlock(scope / "transformer_blocks" / $0, configuration)
        }
        singleBlocks = (0..<configuration.singleCount).map {
            HunyuanSingleBlock(scope / "single_transformer_blocks" / $0, configuration)
        }
        modulation = Linear(scope / "norm_out" / "linear", width, 2 * width)
        projection = Linear(scope / "proj_out", width, patch * patch * configuration.outChannels)
    }

    /// The number of blocks, for progress.
    package var blockCount: Int { dualBlocks.count + singleBlocks.count }

    /// What the names of a block's weights begin with; behind the last block comes the first one of the next step.
    func prefix(ofBlock index: Int) -> String {
        let index = index % blockCount
        return index < dualBlocks.count
            ? "transformer_blocks.\(index)." : "single_transformer_blocks.\(index - dualBlocks.count)."
    }

    /// The velocity for latents, `[1, outChannels, f, h, w]`.
    ///
    /// - Parameters:
    ///   - input: latents and what stands beside them, `[1, inChannels, f, h, w]`.
    ///   - time: the noise level, 0 to 1000.
    ///   - guidance: the embedded scale times 1000.
    ///   - text: what the clip shows.
    ///   - rotary: the table of the video's positions, and of the text's behind them.
    package func callAsFunction(
        _ input: Tensor, time level: Float, guidance scale: Float, text: HunyuanText, rotary: HunyuanRotary,
        cache: inout TeaCache?, trace: HunyuanTrace? = nil, blockDone: (Int) throws -> Void = { _ in }
    ) throws -> Tensor {
        let backend = input.backend
        let embedding = embed(level, scale, text, trace)
        let clean = configuration.conditioning == .tokenReplace ? embedClean(text, backend) : nil
        if let clean { trace?.record("temb.token_replace", clean) }
        // The first frame's tokens, where they are told that they are clean.
        let first = clean == nil ? 0 : input.shape[3] * input.shape[4] / 4
        let signal = HunyuanSignal(
            embedding: backend.activate(embedding, .silu), clean: clean.map { backend.activate($0, .silu) },
            firstTokens: first)
        var video = patchify(input)
        trace?.record("embed.out", video)
        var words = refiner(text, time: level, trace)
        let patches = video
        if let reused = cache?.reusedResidual({ dualBlocks[0].modulated(patches, signal) }) {
            try blockDone(blockCount - 1)
            video = backend.combine(video, 1, reused, 1)
        } else {
            for (index, block) in dualBlocks.enumerated() {
                (video, words) = block(video, words, signal, rotary, visible: video.shape[1] + text.valid)
                trace?.record("block", index, video: video, text: words)
                try blockDone(index)
            }
            let split = video.shape[1]
            var tokens = backend.concatenate([video, words], axis: 1)
            for (index, block) in singleBlocks.enumerated() {
                tokens = block(tokens, signal, rotary, visible: split + text.valid)
                if let trace {
                    trace.record(
                        "single", index, video: backend.copy(tokens.sliced(1, 0..<split)),
                        text: backend.copy(tokens.sliced(1, split..<tokens.shape[1])))
                }
                try blockDone(dualBlocks.count + index)
            }
            video = backend.copy(tokens.sliced(1, 0..<split))
            cache?.keep(video, of: patches)
        }
        let parts = modulation(signal.embedding)  // [1, 2 D]: scale, then shift
        let width = configuration.hiddenSize
        let normed = backend.layerNorm(
            video, weight: nil, bias: nil, epsilon: hunyuanEpsilon, scale: parts.sliced(1, 0..<width),
            shift: parts.sliced(1, width..<2 * width))
        trace?.record("norm_out.out", normed)
        let output = projection(normed)
        trace?.record("final.out", output)
        return unpatchify(output, like: input)
    }

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on backend: any Backend, blockDone: () throws -> Void) throws -> HunyuanTransformer {
        var copy = self
        for index in dualBlocks.indices {
            copy.dualBlocks[index].quantize(on: backend)
            try blockDone()
        }
        for index in singleBlocks.indices {
            copy.singleBlocks[index].quantize(on: backend)
            try blockDone()
        }
        return copy
    }

    /// `E_time(t) + E_guidance(g) + E_text(pooled)`.
    private func embed(_ level: Float, _ scale: Float, _ text: HunyuanText, _ trace: HunyuanTrace?) -> Tensor {
        let backend = text.pooled.backend
        var embedding = time(level, on: backend)
        if let guidance { embedding = backend.combine(embedding, 1, guidance(scale, on: backend), 1) }
        embedding = backend.combine(embedding, 1, pooled(text.pooled), 1)
        trace?.record("temb", embedding)
        return embedding
    }

    /// `E_time(0) + E_text(pooled)`.
    private func embedClean(_ text: HunyuanText, _ backend: any Backend) -> Tensor {
        backend.combine(time(0, on: backend), 1, pooled(text.pooled), 1)
    }

    /// Tokens in the order frame, row, column: `[1, f · h/2 · w/2, D]`.
    private func patchify(_ x: Tensor) -> Tensor {
        let (channels, frames, patch) = (x.shape[1], x.shape[2], HunyuanTransformerConfiguration.patch)
        let (rows, columns) = (x.shape[3] / patch, x.shape[4] / patch)
        let backend = x.backend
        let patches = backend.copy(
            x.reshaped([channels, frames * rows, patch, columns, patch]).permuted([1, 3, 0, 2, 4]))
        return backend.linear(
            patches.reshaped([1, frames * rows * columns, channels * patch * patch]), weight: patchWeight,
            bias: patchBias, activation: .none, residual: nil)
    }

    /// The inverse: `out[c, f, 2r + p, 2s + q] = y[token, (c · 2 + p) · 2 + q]`.
    private func unpatchify(_ y: Tensor, like x: Tensor) -> Tensor {
        let (frames, patch, channels) = (x.shape[2], HunyuanTransformerConfiguration.patch, configuration.outChannels)
        let (rows, columns) = (x.shape[3] / patch, x.shape[4] / patch)
        return y.backend.copy(
            y.reshaped([frames * rows, columns, channels, patch, patch]).permuted([2, 0, 3, 1, 4])
        ).reshaped([1, channels, frames, rows * patch, columns * patch])
    }
}

/// The encoded prompt: what the transformer attends to.
package struct HunyuanText: Sendable {
    /// States of the language model, `[1, tokens, width]`, padding behind the first `valid`.
    package let states: Tensor
    package let valid: Int
    /// CLIP's state of the whole text, `[1, width]`.
    package let pooled: Tensor

    package init(states: Tensor, valid: Int, pooled: Tensor) {
        self.states = states
        self.valid = valid
        self.pooled = pooled
    }
}

/// What the blocks are modulated by, after SiLU: `[1, D]` for all tokens, and another one for those of a clean frame.
struct HunyuanSignal {
    let embedding: Tensor
    let clean: Tensor?
    /// The tokens of the clean frame, the first of the video.
    let firstTokens: Int
}

/// A scalar or a vector, embedded by two linear layers with a SiLU between them.
struct HunyuanEmbedder: Sendable {
    static let sinusoidWidth = 256

    private let linear1, linear2: Linear

    init(_ scope: WeightScope, _ input: Int, _ width: Int) {
        linear1 = Linear(scope / "linear_1", input, width)
        linear2 = Linear(scope / "linear_2", width, width)
    }

    /// x `[1, input]`.
    func callAsFunction(_ x: Tensor) -> Tensor { linear2(linear1(x, .silu)) }

    /// The sinusoids of a number.
    func callAsFunction(_ value: Float, on backend: any Backend) -> Tensor {
        let width = HunyuanEmbedder.sinusoidWidth
        return self(backend.copy(Tensor(Embeddings.sinusoid(value, width: width), [1, width])))
    }
}

/// Two blocks that let the text's tokens see one another, modulated by time and by their mean
/// (HunyuanVideoTokenRefiner).
struct HunyuanRefiner: Sendable {
    private let time, mean: HunyuanEmbedder
    private let projection: Linear
    private let blocks: [Block]

    init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
        let width = configuration.hiddenSize
        let embedders = scope / "time_text_embed"
        time = HunyuanEmbedder(embedders / "timestep_embedder", HunyuanEmbedder.sinusoidWidth, width)
        mean = HunyuanEmbedder(embedders / "text_embedder", configuration.textWidth, width)
        projection = Linear(scope / "proj_in", configuration.textWidth, width)
        blocks = (0..<configuration.refinerCount).map {
            Block(scope / "token_refiner" / "refiner_blocks" / $0, configuration)
        }
    }

    /// The text's tokens in the transformer's width, `[1, tokens, D]`.
    func callAsFunction(_ text: HunyuanText, time level: Float, _ trace: HunyuanTrace?) -> Tensor {
        let backend = text.states.backend
        let embedding = backend.combine(time(level, on: backend), 1, mean(average(text)), 1)
        trace?.record("context.temb", embedding)
        let activated = backend.activate(embedding, .silu)
        var hidden = projection(text.states)
        trace?.record("context.proj_in.out", hidden)
        // Padding sees the first token only.
        let mask = AttentionMask(visibleKeys: [(0..<text.states.shape[1]).map { $0 < text.valid ? text.valid : 1 }])
        for (index, block) in blocks.enumerated() {
            hidden = block(hidden, activated, mask)
            trace?.record("context.block.\(HunyuanTrace.digits(index)).out", hidden)
        }
        trace?.record("context.out", hidden)
        return hidden
    }

    /// The mean of the valid states, `[1, width]`.
    private func average(_ text: HunyuanText) -> Tensor {
        let backend = text.states.backend
        let weights = backend.copy(
            Tensor([Float](repeating: 1 / Float(max(text.valid, 1)), count: text.valid), [1, text.valid]))
        let valid = text.states.selected(0, 0).sliced(0, 0..<text.valid)
        return backend.linear(weights, weight: valid.permuted([1, 0]), bias: nil, activation: .none, residual: nil)
    }

    private struct Block: Sendable {
        let norm1, norm2: LayerNorm
        let query, key, value, output: Linear
        let feedForward: FeedForward
        let modulation: Linear
        let heads: Int
        let scale: Float

        init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
            let width = configuration.hiddenSize
            norm1 = LayerNorm(scope / "norm1", width, epsilon: hunyuanEpsilon)
            norm2 = LayerNorm(scope / "norm2", width, epsilon: hunyuanEpsilon)
            query = Linear(scope / "attn" / "to_q", width, width)
            key = Linear(scope / "attn" / "to_k", width, width)
            value = Linear(scope / "attn" / "to_v", width, width)
            output = Linear(scope / "attn" / "to_out" / 0, width, width)
            feedForward = FeedForward(
                inner: Linear(scope / "ff" / "net" / 0 / "proj", width, configuration.innerWidth), .silu,
                outer: Linear(scope / "ff" / "net" / 2, configuration.innerWidth, width))
            modulation = Linear(scope / "norm_out" / "linear", width, 2 * width)
            heads = configuration.headCount
            scale = 1 / Float(configuration.headSize).squareRoot()
        }

        func callAsFunction(_ x: Tensor, _ signal: Tensor, _ mask: AttentionMask) -> Tensor {
            let gates = modulation(signal)  // [1, 2 D]: of the attention, of the feed-forward layers
            let width = x.shape[2]
            let normed = norm1(x)
            let attended = x.backend.attention(
                query(normed), key(normed), value(normed), heads: heads, scale: scale,
                options: AttentionOptions(mask: mask))
            let hidden = output(attended, gate: gates.sliced(1, 0..<width), residual: x)
            return feedForward(norm2(hidden), gate: gates.sliced(1, width..<2 * width), residual: hidden)
        }
    }
}
