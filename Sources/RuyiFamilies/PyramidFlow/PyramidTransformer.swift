import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The denoiser of Pyramid Flow (PyramidDiffusionMMDiT and PyramidFluxTransformer, specification section 6): a sequence of
/// text, of finished frames that are the coarser the older they are, and of the frame that is made.
///
/// Frames see the text and all frames before them, the text sees the first frame. So the history never depends on the
/// frame that is made, but on the time of the call, which modulates all of it.
package struct PyramidTransformer: Sendable {
    package let configuration: PyramidTransformerConfiguration
    private let patches: Linear
    private let places: PyramidPlaces?
    private let context: Linear
    private let time, pooled: ConditioningEmbedder
    private var blocks: StreamBlocks
    private let output: StreamOutput

    package init(_ scope: WeightScope, _ configuration: PyramidTransformerConfiguration) {
        let (width, sizes) = (configuration.width, configuration.sizes)
        self.configuration = configuration
        if let side = configuration.tableSide {
            let place = scope / "pos_embed"
            let patch = StreamConfiguration.patch
            patches = Linear(place / "proj", kernel: [configuration.channels, patch, patch], width)
            places = PyramidPlaces(place.take("pos_embed", [1, side * side, width]), side: side)
        } else {
            let patch = StreamConfiguration.patch
            patches = Linear(scope / "x_embedder", configuration.channels * patch * patch, width)
            places = nil
        }
        context = Linear(scope / "context_embedder", configuration.textWidth, width)
        let embedders = scope / "time_text_embed"
        time = ConditioningEmbedder(embedders / "timestep_embedder", width)
        pooled = ConditioningEmbedder(embedders / "text_embedder", width, input: configuration.pooledWidth)
        blocks = StreamBlocks(
            scope, dual: configuration.dualLayers, single: configuration.singleLayers, sizes,
            text: configuration.variant == .sd3 ? .stableDiffusion3 : .text)
        output = StreamOutput(scope, channels: configuration.channels, sizes)
    }

    /// The number of blocks, for progress.
    package var blockCount: Int { blocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit { blocks.unit(of: index) }

    /// What the blocks see of a text, which is the same for all calls of a clip.
    package func text(_ text: HunyuanText) -> PyramidText {
        PyramidText(tokens: context(text.states), valid: text.valid, pooled: pooled(text.pooled))
    }

    /// The tokens of one of a grid's clips, of its latents `[T, C, h, w]`: `[1, tokens, D]`.
    package func tokens(_ latents: Tensor, _ clip: PyramidGrid.Clip, in grid: PyramidGrid) -> Tensor {
        let tokens = patches(latents.patches(channelsLast: places == nil))
        return places.map { tokens + $0(clip, in: grid, on: latents.session) } ?? tokens
    }

    /// The velocities for a frame's latents, `[1, C, h, w]`, one for each text of the surroundings.
    ///
    /// - Parameters:
    ///   - latents: `[1, C, h, w]`.
    ///   - level: the noise level, 0 to 1000.
    ///   - around: what the calls of the stage share.
    ///   - trace: where the call's stages are recorded; those of everything that the blocks see are made then.
    package func callAsFunction(
        _ latents: Tensor, time level: Float, _ around: PyramidSurroundings, trace: StageTrace? = nil,
        blockDone: (Int) throws -> Void = { _ in }
    ) throws -> [Tensor] {
        let (session, grid, count) = (latents.session, around.grid, around.texts.count)
        let own = tokens(latents, grid.current, in: grid)
        let shown = session.concatenate(Array(repeating: around.history + [own], count: count).flatMap { $0 }, axis: 1)
        let embeddings = around.pooled + time(level, on: session).selected(0, 0)  // [texts, D]
        let activated = session.activate(embeddings, .silu)
        let recorder = trace.map { PyramidStages($0, around) }
        recorder?.record(embeddings: embeddings, shown: shown)
        let told = session.concatenate(around.told(isWhole: trace != nil), axis: 1)
        let denoised = try blocks(
            video: shown, text: told, activated, rotary: around.rotary, around.sequences(isWhole: trace != nil),
            witness: recorder?.witness, blockDone: blockDone)
        let velocities = output.patches(output.normed(denoised, activated))
        recorder?.record(output: velocities)
        // Where stages are recorded the blocks have made the history's tokens too.
        let length = velocities.shape[1] / count
        return (0..<count).map { index in
            let end = (index + 1) * length
            return velocities.sliced(1, end - grid.current.count..<end).frame(of: grid.current)
        }
    }

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> PyramidTransformer {
        var copy = self
        copy.blocks = try blocks.quantized(on: session, blockDone: blockDone)
        return copy
    }
}

extension StreamNames {
    /// Those of the text in Stable Diffusion 3's blocks.
    fileprivate static let stableDiffusion3 = StreamNames(
        query: "add_q_proj", key: "add_k_proj", value: "add_v_proj", queryNorm: "norm_add_q", keyNorm: "norm_add_k")
}

/// What the blocks see of a text.
package struct PyramidText: Sendable {
    /// `[1, tokens, D]`, padding behind the first `valid` where stages are recorded.
    let tokens: Tensor
    let valid: Int
    /// What is added to the time's embedding, `[1, D]`.
    let pooled: Tensor

    /// The tokens that the video sees.
    var told: Tensor { tokens.sliced(1, 0..<valid) }
    /// The padding, whose tokens see one another; nil where there is none.
    var padding: Tensor? { valid < tokens.shape[1] ? tokens.sliced(1, valid..<tokens.shape[1]) : nil }
}

/// What the calls of one stage of a frame share: the places of all tokens, the history's tokens before the first block, the
/// texts of the sides of the guidance.
///
/// Both sides see the same history, whose embedding is made once. Behind the first modulation nothing of it is shared: each
/// text, and each call's time, changes it.
package struct PyramidSurroundings {
    let grid: PyramidGrid
    /// The tokens of the clips before the one that is made.
    let history: [Tensor]
    let texts: [PyramidText]
    let rotary: RotaryTable
    /// `[texts, D]`.
    let pooled: Tensor

    private init(_ other: PyramidSurroundings, text index: Int) {
        (grid, history, rotary) = (other.grid, other.history, other.rotary)
        texts = [other.texts[index]]
        pooled = other.texts[index].pooled
    }

    /// The surroundings of a frame of a size in latents, behind clips of finished frames `[T, C, h, w]`.
    package init(
        _ transformer: PyramidTransformer, _ clips: [Tensor], frame: Tensor, _ texts: [PyramidText],
        on session: any Session
    ) {
        let grid = PyramidGrid((clips + [frame]).map { PyramidGrid.Clip($0) })
        self.grid = grid
        self.texts = texts
        history = zip(clips, grid.clips).map { transformer.tokens($0, $1, in: grid) }
        rotary = grid.rotary(axes: transformer.configuration.rotaryAxes, on: session)
        pooled = texts.count == 1 ? texts[0].pooled : session.concatenate(texts.map(\.pooled), axis: 0)
    }

    /// The same with one of the texts alone.
    func apart(_ index: Int) -> PyramidSurroundings { PyramidSurroundings(self, text: index) }

    /// The tokens of the texts, with the paddings behind all of them where stages are recorded.
    func told(isWhole: Bool) -> [Tensor] { texts.map(\.told) + (isWhole ? texts.compactMap(\.padding) : []) }

    /// The sequences of these tokens and the video's.
    ///
    /// Paddings are sequences of their own: nothing else sees them.
    func sequences(isWhole: Bool) -> StreamSequences {
        let parts = texts.enumerated().map { grid.sequence(text: $1.valid, row: $0) }
        guard isWhole else { return StreamSequences(parts, focus: grid.current.count) }
        let paddings = texts.enumerated().compactMap { row, text in
            text.padding.map { StreamSequences.Part(text: $0.shape[1], video: 0, row: row) }
        }
        return StreamSequences(parts + paddings)
    }
}
