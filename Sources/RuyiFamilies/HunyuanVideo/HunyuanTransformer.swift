import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The denoiser of HunyuanVideo (HunyuanVideoTransformer3DModel, specification section 7): full attention over video and
/// text tokens, first with weights of their own, then with common ones.
package struct HunyuanTransformer: Sendable {
    let configuration: HunyuanTransformerConfiguration
    private let patches: Linear
    private let time: ConditioningEmbedder
    private let guidance: ConditioningEmbedder?
    private let pooled: ConditioningEmbedder
    private let refiner: TokenRefiner
    private var dualBlocks: [DualStreamBlock]
    private var singleBlocks: [SingleStreamBlock]
    private let modulation: Linear
    private let projection: Linear

    package init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
        let (width, patch) = (configuration.hiddenSize, HunyuanTransformerConfiguration.patch)
        self.configuration = configuration
        patches = Linear(
            scope / "x_embedder" / "proj", kernel: [configuration.inChannels, 1, patch, patch], width)
        let embedders = scope / "time_text_embed"
        time = ConditioningEmbedder(embedders / "timestep_embedder", width)
        guidance =
            configuration.embedsGuidance
            ? ConditioningEmbedder(embedders / "guidance_embedder", width) : nil
        pooled = ConditioningEmbedder(embedders / "text_embedder", width, input: configuration.pooledWidth)
        refiner = TokenRefiner(
            scope / "context_embedder", textWidth: configuration.textWidth, layers: configuration.refinerLayers,
            configuration.sizes)
        dualBlocks = scope.list("transformer_blocks", configuration.dualLayers).map {
            DualStreamBlock($0, configuration.sizes)
        }
        singleBlocks = scope.list("single_transformer_blocks", configuration.singleLayers).map {
            SingleStreamBlock($0, configuration.sizes)
        }
        modulation = Linear(scope / "norm_out" / "linear", width, 2 * width)
        projection = Linear(scope / "proj_out", width, patch * patch * configuration.outChannels)
    }

    /// The number of blocks, for progress.
    package var blockCount: Int { dualBlocks.count + singleBlocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit {
        let index = index % blockCount
        return index < dualBlocks.count ? dualBlocks[index].unit : singleBlocks[index - dualBlocks.count].unit
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
        _ input: Tensor, time level: Float, guidance scale: Float, text: HunyuanText, rotary: VideoRotary,
        cache: inout TeaCache?, trace: StageTrace? = nil, blockDone: (Int) throws -> Void = { _ in }
    ) throws -> Tensor {
        let session = input.session
        let embedding = embed(level, scale, text, trace)
        let clean = configuration.conditioning == .tokenReplace ? embedClean(text) : nil
        if let clean { trace?.record("temb.token_replace", clean) }
        let activated = session.activate(embedding, .silu)
        var video = patchify(input)
        let signal =
            clean.map {
                // The first frame's tokens are told that they are clean.
                ModulationSignal(
                    activated, clean: session.activate($0, .silu), first: input.shape[3] * input.shape[4] / 4,
                    of: video.shape[1])
            } ?? ModulationSignal(activated)
        trace?.record("embed.out", video)
        var words = refiner(text, time: level, trace)
        let tokens = video
        let visible = AttentionMask.lengths([video.shape[1] + text.valid])
        if let reused = cache?.reusedResidual({ dualBlocks[0].modulated(tokens, signal) }) {
            try blockDone(blockCount - 1)
            video = video + reused
        } else {
            for (index, block) in dualBlocks.enumerated() {
                (video, words) = block(video: video, text: words, signal, rotary: rotary.video, mask: visible)
                trace?.record("block", index, video: video, text: words)
                try blockDone(index)
            }
            let split = video.shape[1]
            var both = session.concatenate([video, words], axis: 1)
            let joined = signal.joined(both.shape[1])
            for (index, block) in singleBlocks.enumerated() {
                both = block(both, joined, rotary: rotary.all, mask: visible)
                if let trace {
                    trace.record(
                        "single", index, video: session.copy(both.sliced(1, 0..<split)),
                        text: session.copy(both.sliced(1, split..<both.shape[1])))
                }
                try blockDone(dualBlocks.count + index)
            }
            video = session.copy(both.sliced(1, 0..<split))
            cache?.keep(video, of: tokens)
        }
        let parts = TokenRows(modulation(activated))  // [1, 2 D]: scale, then shift
        let width = configuration.hiddenSize
        let normed = session.layerNorm(
            video, weight: nil, bias: nil, epsilon: configuration.sizes.epsilon, scale: parts.columns(0..<width),
            shift: parts.columns(width..<2 * width))
        trace?.record("norm_out.out", normed)
        let output = projection(normed)
        trace?.record("final.out", output)
        return unpatchify(output, like: input)
    }

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> HunyuanTransformer {
        var copy = self
        for index in dualBlocks.indices {
            copy.dualBlocks[index].quantize(on: session)
            try blockDone()
        }
        for index in singleBlocks.indices {
            copy.singleBlocks[index].quantize(on: session)
            try blockDone()
        }
        return copy
    }

    /// `E_time(t) + E_guidance(g) + E_text(pooled)`.
    private func embed(_ level: Float, _ scale: Float, _ text: HunyuanText, _ trace: StageTrace?) -> Tensor {
        let session = text.pooled.session
        var embedding = time(level, on: session)
        if let guidance { embedding = embedding + guidance(scale, on: session) }
        embedding = embedding + pooled(text.pooled)
        trace?.record("temb", embedding)
        return embedding
    }

    /// `E_time(0) + E_text(pooled)`.
    private func embedClean(_ text: HunyuanText) -> Tensor {
        time(0, on: text.pooled.session) + pooled(text.pooled)
    }

    /// Tokens in the order frame, row, column: `[1, f · h/2 · w/2, D]`.
    private func patchify(_ x: Tensor) -> Tensor {
        let (channels, frames, patch) = (x.shape[1], x.shape[2], HunyuanTransformerConfiguration.patch)
        let (rows, columns) = (x.shape[3] / patch, x.shape[4] / patch)
        let values = x.session.copy(
            x.reshaped([channels, frames * rows, patch, columns, patch]).permuted([1, 3, 0, 2, 4]))
        return patches(values.reshaped([1, frames * rows * columns, channels * patch * patch]))
    }

    /// The inverse: `out[c, f, 2r + p, 2s + q] = y[token, (c · 2 + p) · 2 + q]`.
    private func unpatchify(_ y: Tensor, like x: Tensor) -> Tensor {
        let (frames, patch, channels) = (x.shape[2], HunyuanTransformerConfiguration.patch, configuration.outChannels)
        let (rows, columns) = (x.shape[3] / patch, x.shape[4] / patch)
        return y.session.copy(
            y.reshaped([frames * rows, columns, channels, patch, patch]).permuted([2, 0, 3, 1, 4])
        ).reshaped([1, channels, frames, rows * patch, columns * patch])
    }
}

extension StageTrace {
    /// Records what a block made of both streams.
    fileprivate func record(_ kind: String, _ index: Int, video: Tensor, text: Tensor) {
        record("\(kind).\(StageTrace.digits(index)).out", video)
        record("\(kind).\(StageTrace.digits(index)).text.out", text)
    }
}
