import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The denoiser of Step-Video (StepVideoModel, specification section 6): full attention over the tokens of all frames, which
/// look at the text in every block.
package struct StepTransformer: Sendable {
    let configuration: StepTransformerConfiguration
    private let patches: Linear
    private let times: StepTimeEmbedding
    private let words: (inner: Linear, outer: Linear)
    private let bertWords: Linear
    private var blocks: [StepBlock]
    private let table: Weight
    private let output: Linear

    package init(_ scope: WeightScope, _ configuration: StepTransformerConfiguration) {
        let width = configuration.width
        self.configuration = configuration
        patches = Linear(scope / "pos_embed" / "proj", kernel: [configuration.inChannels, 1, 1], width)
        times = StepTimeEmbedding(scope / "adaln_single", width: width, hasMotion: configuration.kind == .i2v)
        let caption = scope / "caption_projection"
        words = (
            Linear(caption / "linear_1", configuration.textWidths.language, width),
            Linear(caption / "linear_2", width, width)
        )
        bertWords = Linear(scope / "clip_projection", configuration.textWidths.bert, width)
        blocks = scope.list("transformer_blocks", configuration.layers).map { StepBlock($0, configuration) }
        table = scope.take("scale_shift_table", [2, width])
        output = Linear(scope / "proj_out", width, configuration.channels)
    }

    /// The number of blocks, for progress.
    package var blockCount: Int { blocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit { blocks[index % blocks.count].unit }

    /// Patterns of the names of the weights that compute in 8 bits in a quantised copy: what is made of a text is made once.
    static let integerWeights = [
        "transformer_blocks.*.attn1.wqkv.weight", "transformer_blocks.*.attn?.wo.weight",
        "transformer_blocks.*.attn2.wq.weight", "transformer_blocks.*.ff.net.*.weight",
    ]

    /// A copy whose blocks' large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> StepTransformer {
        var copy = self
        for index in blocks.indices {
            copy.blocks[index].quantize(on: session)
            try blockDone()
        }
        return copy
    }

    // MARK: What the calls of a clip share

    /// A text as the blocks see it, `[1, L, D]`: what BERT made of it, all places of it, and then the language model.
    ///
    /// - Parameters:
    ///   - language: the language model's states, `[1, T, width]`.
    ///   - bert: those of BERT, `[1, 77, width]`.
    package func words(language: Tensor, bert: Tensor) -> Tensor {
        let session = language.session
        let normed = session.layerNorm(language, weight: nil, bias: nil, epsilon: 1e-6, scale: nil, shift: nil)
        return session.concatenate([bertWords(bert), words.outer(words.inner(normed, .geluTanh))], axis: 1)
    }

    /// What every block sees of texts `[B, L, D]`, of which item b has `lengths[b]` places.
    package func context(
        _ texts: Tensor, lengths: [Int], blockDone: (ResidencyUnit) throws -> Void
    ) rethrows -> StepContext {
        let keys = try blocks.map { block in
            let keys = block.keys(texts)
            try blockDone(block.textUnit)
            return keys
        }
        return StepContext(count: lengths.count, keys: keys, mask: .lengths(lengths))
    }

    /// What the blocks are told at calls with these times, 0 to 1.
    package func moments(
        _ times: [Float], motion score: Float?, rounding: StepRounding = .none, on session: any Session
    ) -> StepMoments { self.times(times, motion: score, rounding: rounding, on: session) }

    // MARK: A call

    /// The velocities for latents, `[1, C, f, h, w]` each, one for each text.
    ///
    /// - Parameters:
    ///   - input: latents and those of the picture beside them, `[1, inChannels, f, h, w]`.
    ///   - moment: the call's place among the moments.
    ///   - contexts: the texts, in batches that are computed one after the other in every block.
    package func callAsFunction(
        _ input: Tensor, _ moments: StepMoments, at moment: Int, _ contexts: [StepContext], rotary: RotaryTable,
        trace: StageTrace? = nil, blockDone: (Int) throws -> Void = { _ in }
    ) throws -> [Tensor] {
        let session = input.session
        let (embedded, signal) = moments[moment]
        var batches = tokens(of: input, contexts)
        trace?.record("embed.out", batches[0])
        for (index, block) in blocks.enumerated() {
            let name = "block." + StageTrace.digits(index) + "."
            let inner = index == 0 ? trace?.below(name) : nil
            for (place, context) in contexts.enumerated() {
                batches[place] = block(
                    batches[place], signal, rotary: rotary, keys: context.keys[index], mask: context.mask,
                    trace: inner)
            }
            trace?.record(name + "out", batches[0])
            try blockDone(index)
        }
        return batches.flatMap { batch in
            let patches = patches(of: batch, embedded)
            return (0..<batch.shape[0]).map { item in
                let (shape, channels) = (input.shape, configuration.channels)
                let grid = patches.selected(0, item).permuted([1, 0])
                return session.copy(grid).reshaped([1, channels] + shape[2...])
            }
        }
    }

    /// The tokens `[B, N, D]` that each batch of texts begins with.
    private func tokens(of input: Tensor, _ contexts: [StepContext]) -> [Tensor] {
        let tokens = patches(input.patches([1, 1, 1]))
        return contexts.map { context in
            context.count == 1
                ? tokens : input.session.concatenate(Array(repeating: tokens, count: context.count), axis: 0)
        }
    }

    /// `proj_out(LN(x) · (1 + scale) + shift)` with the table's rows and the embedded time, `[B, N, C]`.
    private func patches(of x: Tensor, _ embedded: Tensor) -> Tensor {
        let session = x.session
        func rows(_ index: Int) -> TokenRows {
            let row = session.tensor(table).sliced(0, index..<index + 1) + embedded
            return TokenRows(session.concatenate(Array(repeating: row, count: x.shape[0]), axis: 0))
        }
        return output(
            session.layerNorm(x, weight: nil, bias: nil, epsilon: 1e-6, scale: rows(1), shift: rows(0)))
    }
}

/// What all blocks see of a batch of texts.
package struct StepContext: Sendable {
    /// Texts.
    let count: Int
    /// Keys and values for each block.
    let keys: [StepKeys]
    /// Hides what stands behind a text's end.
    let mask: AttentionMask
}

/// What the model is told of time and motion (AdaLayerNormSingle, specification section 6.1).
package struct StepTimeEmbedding: Sendable {
    private let time: ConditioningEmbedder
    private let motion: ConditioningEmbedder?
    private let modulation: Linear

    /// Takes `emb.timestep_embedder`, `emb.motion_score_embedder` where the model has one, and `linear`.
    package init(_ scope: WeightScope, width: Int, hasMotion: Bool) {
        time = ConditioningEmbedder(scope / "emb" / "timestep_embedder", width)
        motion = hasMotion ? ConditioningEmbedder(scope / "emb" / "motion_score_embedder", width) : nil
        modulation = Linear(scope / "linear", width, 6 * width)
    }

    /// What the blocks are told at calls with these times, 0 to 1.
    package func callAsFunction(
        _ times: [Float], motion score: Float?, rounding: StepRounding = .none, on session: any Session
    ) -> StepMoments {
        let width = ConditioningEmbedder.sinusoidWidth
        let sinusoids = times.flatMap { Embeddings.sinusoid(rounding(1000 * rounding($0)), width: width) }
        var embedded = time(session.upload(HostTensor(sinusoids, [times.count, width])))
        if let motion, let score {
            let told = motion(score, on: session)
            embedded = embedded + told.reshaped([told.count])
        }
        return StepMoments(embedded: embedded, signals: modulation(session.activate(embedded, .silu)))
    }
}

/// What the blocks are told at each call of a clip.
package struct StepMoments: Sendable {
    /// The embedded times, `[calls, D]`.
    package let embedded: Tensor
    /// What modulates the blocks, `[calls, 6 · D]`.
    package let signals: Tensor

    /// Those of a call, `[1, D]` and `[1, 6 · D]`.
    subscript(call: Int) -> (embedded: Tensor, signal: Tensor) {
        (embedded.sliced(0, call..<call + 1), signals.sliced(0, call..<call + 1))
    }
}
