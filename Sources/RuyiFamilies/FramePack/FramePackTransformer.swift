import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The denoiser of FramePack (HunyuanVideoTransformer3DModelPacked, specification section 9): HunyuanVideo's, over a packed
/// sequence of history and section, with tokens of the start picture before those of the text.
package struct FramePackTransformer: Sendable {
    package let configuration: FramePackTransformerConfiguration
    private let patches, cleanPatches, patches2x, patches4x: Linear
    private let pictureUp, pictureDown: Linear
    private let time, guidance, pooled: ConditioningEmbedder
    private let refiner: TokenRefiner
    private var blocks: StreamBlocks
    private let output: StreamOutput

    package init(_ scope: WeightScope, _ configuration: FramePackTransformerConfiguration) {
        let (width, channels) = (configuration.hiddenSize, configuration.channels)
        self.configuration = configuration
        func embedder(_ place: WeightScope, _ kernel: [Int]) -> Linear {
            Linear(place, kernel: [channels] + kernel, width)
        }
        let clean = scope / "clean_x_embedder"
        patches = embedder(scope / "x_embedder" / "proj", FramePackTransformer.kernel(1))
        cleanPatches = embedder(clean / "proj", FramePackTransformer.kernel(1))
        patches2x = embedder(clean / "proj_2x", FramePackTransformer.kernel(2))
        patches4x = embedder(clean / "proj_4x", FramePackTransformer.kernel(4))
        let picture = scope / "image_projection"
        pictureUp = Linear(picture / "up", configuration.pictureWidth, 3 * width)
        pictureDown = Linear(picture / "down", 3 * width, width)
        let embedders = scope / "time_text_embed"
        time = ConditioningEmbedder(embedders / "timestep_embedder", width)
        guidance = ConditioningEmbedder(embedders / "guidance_embedder", width)
        pooled = ConditioningEmbedder(embedders / "text_embedder", width, input: configuration.pooledWidth)
        refiner = TokenRefiner(
            scope / "context_embedder", textWidth: configuration.textWidth, layers: configuration.refinerLayers,
            configuration.sizes)
        blocks = StreamBlocks(scope, configuration.stream)
        output = StreamOutput(scope, channels: channels, configuration.sizes)
    }

    /// Latents of a cube of patches: frames, rows and columns.
    private static func kernel(_ cube: Int) -> [Int] { [cube, 2 * cube, 2 * cube] }

    /// The number of blocks, for progress.
    package var blockCount: Int { blocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit { blocks.unit(of: index) }

    /// The start picture's tokens, `[1, tokens, D]`, from what the encoder sees `[1, tokens, width]`.
    package func picture(_ states: Tensor) -> Tensor { pictureDown(pictureUp(states, .silu)) }

    /// The tokens of the history, `[1, tokens, D]`, the most packed ones first; nil where there are none.
    package func history(_ context: FramePackContext) -> Tensor? {
        let groups = [
            (context.clean4x, 4, patches4x), (context.clean2x, 2, patches2x), (context.clean, 1, cleanPatches),
        ]
        let parts = groups.compactMap { frames, cube, embedder -> Tensor? in
            let kernel = FramePackTransformer.kernel(cube)
            return frames.map { embedder($0.latents.padded(toMultiplesOf: kernel).patches(kernel)) }
        }
        guard let first = parts.first else { return nil }
        return parts.count == 1 ? first : first.session.concatenate(parts, axis: 1)
    }

    /// The velocity for a section's latents, of their shape.
    ///
    /// - Parameters:
    ///   - latents: `[1, C, T, h, w]`.
    ///   - level: the noise level, 0 to 1000.
    ///   - scale: the embedded guidance times 1000.
    ///   - text: what the clip shows.
    ///   - picture: the start picture's tokens.
    ///   - history: the history's tokens.
    ///   - rotary: the table of all of them.
    package func callAsFunction(
        _ latents: Tensor, time level: Float, guidance scale: Float, text: HunyuanText, picture: Tensor,
        history: Tensor?, rotary: FramePackRotary, cache: inout TeaCache?, trace: StageTrace? = nil,
        blockDone: (Int) throws -> Void = { _ in }
    ) throws -> Tensor {
        let session = latents.session
        let embedding = time(level, on: session) + guidance(scale, on: session) + pooled(text.pooled)
        trace?.record("temb.out", embedding)
        let activated = session.activate(embedding, .silu)
        let signal = ModulationSignal(activated)
        let own = patches(latents.patches(FramePackTransformer.kernel(1)))
        let packed = history.map { session.concatenate([$0, own], axis: 1) } ?? own
        trace?.record("embed.out", packed)
        let encoder = session.concatenate([picture, refiner(text, time: level, trace)], axis: 1)
        let denoised = try blocks(
            packed, text: encoder, signal, rotary: (rotary.packed, rotary.all),
            mask: .lengths([packed.shape[1] + encoder.shape[1]]), cache: &cache,
            witness: trace.map(FramePackTransformer.witness), blockDone: blockDone)
        trace?.record("final.out", output.normed(denoised, activated))
        let last = session.copy(denoised.sliced(1, denoised.shape[1] - own.shape[1]..<denoised.shape[1]))
        return output.patches(output.normed(last, activated)).latents(channels: configuration.channels, like: latents)
    }

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> FramePackTransformer {
        var copy = self
        copy.blocks = try blocks.quantized(on: session, blockDone: blockDone)
        return copy
    }

    /// Records what blocks make of both streams.
    private static func witness(_ trace: StageTrace) -> StreamBlocks.Witness {
        { isDual, index, packed, encoder in
            let name = (isDual ? "block." : "single_block.") + StageTrace.digits(index)
            trace.record(name + ".out", packed)
            trace.record(name + ".encoder_out", encoder)
        }
    }
}
