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
    private var blocks: StreamBlocks
    private let output: StreamOutput

    package init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
        let width = configuration.hiddenSize
        self.configuration = configuration
        patches = Linear(
            scope / "x_embedder" / "proj", kernel: [configuration.inChannels] + HunyuanTransformer.kernel, width)
        let embedders = scope / "time_text_embed"
        time = ConditioningEmbedder(embedders / "timestep_embedder", width)
        guidance =
            configuration.embedsGuidance
            ? ConditioningEmbedder(embedders / "guidance_embedder", width) : nil
        pooled = ConditioningEmbedder(embedders / "text_embedder", width, input: configuration.pooledWidth)
        refiner = TokenRefiner(
            scope / "context_embedder", textWidth: configuration.textWidth, layers: configuration.refinerLayers,
            configuration.sizes)
        blocks = StreamBlocks(scope, configuration.stream)
        output = StreamOutput(scope, channels: configuration.outChannels, configuration.sizes)
    }

    /// The number of blocks, for progress.
    package var blockCount: Int { blocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit { blocks.unit(of: index) }

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
        let video = patches(input.patches(HunyuanTransformer.kernel))
        let signal =
            clean.map {
                // The first frame's tokens are told that they are clean.
                ModulationSignal(
                    activated, clean: session.activate($0, .silu), first: input.shape[3] * input.shape[4] / 4,
                    of: video.shape[1])
            } ?? ModulationSignal(activated)
        trace?.record("embed.out", video)
        let words = refiner(text, time: level, trace)
        let denoised = try blocks(
            video, text: words, signal, rotary: (rotary.video, rotary.all),
            mask: .lengths([video.shape[1] + text.valid]), cache: &cache,
            witness: trace.map(HunyuanTransformer.witness),
            blockDone: blockDone)
        let normed = output.normed(denoised, activated)
        trace?.record("norm_out.out", normed)
        let patches = output.patches(normed)
        trace?.record("final.out", patches)
        return patches.latents(channels: configuration.outChannels, like: input)
    }

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> HunyuanTransformer {
        var copy = self
        copy.blocks = try blocks.quantized(on: session, blockDone: blockDone)
        return copy
    }

    /// Frames, rows and columns of a patch.
    private static let kernel = [1, StreamConfiguration.patch, StreamConfiguration.patch]

    /// Records what blocks make of both streams.
    private static func witness(_ trace: StageTrace) -> StreamBlocks.Witness {
        { isDual, index, video, text in
            let name = (isDual ? "block." : "single.") + StageTrace.digits(index)
            trace.record(name + ".out", video)
            trace.record(name + ".text.out", text)
        }
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
}
