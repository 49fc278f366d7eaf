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
    private var dualBlocks: [DualStreamBlock]
    private var singleBlocks: [SingleStreamBlock]
    private let modulation: Linear
    private let projection: Linear

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
        dualBlocks = scope.list("transformer_blocks", configuration.dualLayers).map {
            DualStreamBlock($0, configuration.sizes)
        }
        singleBlocks = scope.list("single_transformer_blocks", configuration.singleLayers).map {
            SingleStreamBlock($0, configuration.sizes)
        }
        modulation = Linear(scope / "norm_out" / "linear", width, 2 * width)
        projection = Linear(scope / "proj_out", width, 4 * channels)
    }

    /// Latents of a cube of patches: frames, rows and columns.
    private static func kernel(_ cube: Int) -> [Int] { [cube, 2 * cube, 2 * cube] }

    /// The number of blocks, for progress.
    package var blockCount: Int { dualBlocks.count + singleBlocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit {
        let index = index % blockCount
        return index < dualBlocks.count ? dualBlocks[index].unit : singleBlocks[index - dualBlocks.count].unit
    }

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
        var packed = history.map { session.concatenate([$0, own], axis: 1) } ?? own
        trace?.record("embed.out", packed)
        let words = refiner(text, time: level, trace)
        var encoder = session.concatenate([picture, words], axis: 1)
        let tokens = packed
        let mask = AttentionMask.lengths([packed.shape[1] + encoder.shape[1]])
        if let reused = cache?.reusedResidual({ dualBlocks[0].modulated(tokens, signal) }) {
            try blockDone(blockCount - 1)
            packed = packed + reused
        } else {
            for (index, block) in dualBlocks.enumerated() {
                (packed, encoder) = block(video: packed, text: encoder, signal, rotary: rotary.packed, mask: mask)
                trace?.record("block.\(StageTrace.digits(index))", packed, encoder)
                try blockDone(index)
            }
            let split = packed.shape[1]
            var both = session.concatenate([packed, encoder], axis: 1)
            for (index, block) in singleBlocks.enumerated() {
                both = block(both, signal.joined(both.shape[1]), rotary: rotary.all, mask: mask)
                if let trace {
                    trace.record(
                        "single_block.\(StageTrace.digits(index))", session.copy(both.sliced(1, 0..<split)),
                        session.copy(both.sliced(1, split..<both.shape[1])))
                }
                try blockDone(dualBlocks.count + index)
            }
            packed = session.copy(both.sliced(1, 0..<split))
            cache?.keep(packed, of: tokens)
        }
        let parts = TokenRows(modulation(activated))  // [1, 2 D]: scale, then shift
        let width = configuration.hiddenSize
        func normed(_ x: Tensor) -> Tensor {
            session.layerNorm(
                x, weight: nil, bias: nil, epsilon: configuration.sizes.epsilon, scale: parts.columns(0..<width),
                shift: parts.columns(width..<2 * width))
        }
        trace?.record("final.out", normed(packed))
        let last = session.copy(packed.sliced(1, packed.shape[1] - own.shape[1]..<packed.shape[1]))
        return unpatchify(projection(normed(last)), like: latents)
    }

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> FramePackTransformer {
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

    /// `out[c, f, 2r + p, 2s + q] = y[token, (c · 2 + p) · 2 + q]`.
    private func unpatchify(_ y: Tensor, like x: Tensor) -> Tensor {
        let (channels, frames, rows, columns) = (x.shape[1], x.shape[2], x.shape[3] / 2, x.shape[4] / 2)
        return y.session.copy(
            y.reshaped([frames * rows, columns, channels, 2, 2]).permuted([2, 0, 3, 1, 4])
        ).reshaped([1, channels, frames, 2 * rows, 2 * columns])
    }
}

extension StageTrace {
    /// Records what a block made of both streams.
    fileprivate func record(_ block: String, _ packed: Tensor, _ encoder: Tensor) {
        record(block + ".out", packed)
        record(block + ".encoder_out", encoder)
    }
}
