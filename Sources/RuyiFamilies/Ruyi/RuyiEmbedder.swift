import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// What the transformer is conditioned on, prepared once for a run; B is the guidance batch.
struct RuyiConditioning: Sendable {
    /// Both text streams with padding in place of masked tokens, `[B, text tokens, C]`.
    let text: Tensor
    /// The picture's tokens, or their padding, `[B, queries, C]`.
    let picture: Tensor
    /// The part of the conditioning vector that does not depend on time, `[B, D]`.
    let extra: Tensor

    /// Some items of the batch.
    func items(_ range: Range<Int>) -> RuyiConditioning {
        guard range.count < extra.shape[0] else { return self }
        func part(_ x: Tensor) -> Tensor { x.session.copy(x.sliced(0, range)) }
        return RuyiConditioning(text: part(text), picture: part(picture), extra: part(extra))
    }
}

/// One guidance half's control embeddings (specification section 3).
struct RuyiControl: Sendable {
    /// `[1, text tokens, C]`, any float type.
    let first: HostTensor
    /// `[1, second text tokens, C5]`.
    let second: HostTensor
    /// Which tokens of either stream are real.
    let firstMask: [Bool]
    let secondMask: [Bool]
}

/// The conditioning vector and the cross-attention contexts (specification sections 5.2 to 5.4).
struct RuyiEmbedder: Sendable {
    private let configuration: RuyiTransformerConfiguration
    private let timeLinear1, timeLinear2: Linear
    private let extraLinear1, extraLinear2: Linear
    private let textLinear1, textLinear2: Linear
    private let pooler: RuyiAttentionPooler
    /// A table of one row, kept as a layer so that a LoRA can change it.
    private let style: Linear
    private let textPadding, picturePadding: Weight
    private let resampler: RuyiResampler

    /// pictureWidth is the width of the image encoder's features.
    init(_ scope: WeightScope, pictureWidth: Int, _ configuration: RuyiTransformerConfiguration) {
        let (width, context, second) = (configuration.hiddenSize, configuration.contextWidth, configuration.secondWidth)
        self.configuration = configuration
        let time = scope / "time_extra_emb"
        timeLinear1 = Linear(time / "timestep_embedder" / "linear_1", RuyiEmbedder.sinusoidWidth, width)
        timeLinear2 = Linear(time / "timestep_embedder" / "linear_2", width, width)
        pooler = RuyiAttentionPooler(time / "pooler", configuration)
        style = Linear(time / "style_embedder", width, 1, bias: false)
        let extraWidth = configuration.pooledWidth + 6 * RuyiEmbedder.sinusoidWidth + width
        extraLinear1 = Linear(time / "extra_embedder" / "linear_1", extraWidth, 4 * width)
        extraLinear2 = Linear(time / "extra_embedder" / "linear_2", 4 * width, width)
        textLinear1 = Linear(scope / "text_embedder" / "linear_1", second, 4 * second)
        textLinear2 = Linear(scope / "text_embedder" / "linear_2", 4 * second, context)
        textPadding = scope.take(
            "text_embedding_padding", [configuration.textLength + configuration.secondTextLength, context])
        picturePadding = scope.take("clip_padding", [configuration.queryCount, context])
        resampler = RuyiResampler(scope / "clip_projection", pictureWidth: pictureWidth, configuration)
    }

    private static let sinusoidWidth = 256

    /// Whether a picture's patches are a square, which is resampled.
    static func takes(patches: Int) -> Bool {
        let side = RuyiResampler.side(patches)
        return side * side == patches
    }

    /// The vector of a timestep: time plus everything else, `[B, D]`.
    func vector(time: Float, _ conditioning: RuyiConditioning, _ trace: StageTrace?) -> Tensor {
        let session = conditioning.extra.session
        let batch = conditioning.extra.shape[0]
        let sinusoid = Embeddings.sinusoid(time, width: RuyiEmbedder.sinusoidWidth)
        let waves = session.upload(HostTensor((0..<batch).flatMap { _ in sinusoid }, [batch, sinusoid.count]))
        let timeVector = timeLinear2(timeLinear1(waves, .silu))
        trace?.record("temb.time", timeVector)
        let vector = timeVector + conditioning.extra
        trace?.record("temb", vector)
        return vector
    }

    /// The time-independent part: pooled second stream, output size and style.
    ///
    /// width and height in pixels.
    func extra(
        _ controls: [RuyiControl], width: Int, height: Int, on session: any Session, _ trace: StageTrace?
    ) -> Tensor {
        let pooled = session.concatenate(controls.map { pooler(session.upload($0.second)) }, axis: 0)  // [B, pooled]
        trace?.record("temb.pooled", pooled)
        let sizes: [Float] = [1024, 1024, Float(height), Float(width), 0, 0]
        let batch = controls.count
        trace?.record("time_ids", HostTensor((0..<batch).flatMap { _ in sizes }, [batch, sizes.count]))
        let waves = sizes.flatMap { Embeddings.sinusoid($0, width: RuyiEmbedder.sinusoidWidth) }
        let sizeWaves = session.upload(HostTensor((0..<batch).flatMap { _ in waves }, [batch, waves.count]))
        let styles = session.concatenate(
            Array(repeating: style.updatedWeight(on: session), count: batch), axis: 0)
        let joined = session.concatenate([pooled, sizeWaves, styles], axis: 1)
        return extraLinear2(extraLinear1(joined, .silu))
    }

    /// Both text streams side by side, `[B, tokens, C]`; masked tokens are replaced by learned padding.
    func text(_ controls: [RuyiControl], on session: any Session, _ trace: StageTrace?) -> Tensor {
        let second = session.concatenate(controls.map { session.upload($0.second) }, axis: 0)  // [B, tokens, C5]
        let projected = textLinear2(textLinear1(second, .silu))
        trace?.record("text.projected", projected.reshaped([projected.count / projected.shape[2], projected.shape[2]]))
        let first = session.concatenate(controls.map { session.upload($0.first) }, axis: 0)
        let joined = session.concatenate([first, projected], axis: 1)
        let padding = session.tensor(textPadding)
        let items = controls.enumerated().map { index, control in
            replaceMasked(joined.selected(0, index), control.firstMask + control.secondMask, by: padding)
        }
        return session.concatenate(items.map { $0.expanded(at: 0) }, axis: 0)
    }

    /// The picture's tokens for the items that see it, `[B, queries, C]`, and learned padding for the others.
    func picture(_ features: Tensor?, sees: [Bool], on session: any Session) -> Tensor {
        let padding = session.tensor(picturePadding).expanded(at: 0)
        let seen = features.map { resampler($0) }
        return session.concatenate(sees.map { $0 ? seen ?? padding : padding }, axis: 0)
    }

    private func replaceMasked(_ tokens: Tensor, _ mask: [Bool], by padding: Tensor) -> Tensor {
        let session = tokens.session
        return session.gather(
            session.concatenate([tokens, padding], axis: 0), mask.indices.map { mask[$0] ? $0 : mask.count + $0 })
    }
}

/// Attention pooling of the second text stream by its mean (specification section 5.2).
private struct RuyiAttentionPooler: Sendable {
    let positions: Weight
    let query, key, value, output: Linear
    let heads = 8

    init(_ scope: WeightScope, _ configuration: RuyiTransformerConfiguration) {
        let width = configuration.secondWidth
        positions = scope.take("positional_embedding", [configuration.secondTextLength + 1, width])
        query = Linear(scope / "q_proj", width, width)
        key = Linear(scope / "k_proj", width, width)
        value = Linear(scope / "v_proj", width, width)
        output = Linear(scope / "c_proj", width, configuration.pooledWidth)
    }

    func callAsFunction(_ x: Tensor) -> Tensor {  // [1, tokens, C5] -> [1, pooled]
        let session = x.session
        let (count, width) = (x.shape[1], x.shape[2])
        let averaging = session.filled([1, count], 1 / Float(count))
        let states = x.selected(0, 0)
        let mean = session.linear(averaging, Projection(.computed(states.permuted([1, 0]))))
        let tokens = (session.concatenate([mean, states], axis: 0) + session.tensor(positions)).expanded(at: 0)
        let q = query(tokens.sliced(1, 0..<1))
        let scale = 1 / Float(width / heads).squareRoot()
        let pooled = session.attention(q, key(tokens), value(tokens), heads: heads, scale: scale)
        return output(pooled).reshaped([1, output.weight.shape[0]])
    }
}

/// Resamples the picture's patches to a few tokens by attention from learned queries (specification section 5.4).
private struct RuyiResampler: Sendable {
    /// A grid of vectors, which the host resizes to that of the patches.
    let positions: HostTensor
    let queries: Weight
    let inWeight, inBias: Weight
    let output: Linear
    let queryNorm, keyNorm: LayerNorm
    let input: Linear?
    let heads: Int

    init(_ scope: WeightScope, pictureWidth: Int, _ configuration: RuyiTransformerConfiguration) {
        let width = configuration.contextWidth
        positions = scope.takeTable("pos_embed", [configuration.queryCount, width])
        queries = scope.take("query", [configuration.queryCount, width])
        inWeight = (scope / "attn").take("in_proj_weight", [3 * width, width])
        inBias = (scope / "attn").take("in_proj_bias", [3 * width])
        output = Linear(scope / "attn" / "out_proj", width, width)
        queryNorm = LayerNorm(scope / "ln_q", width, epsilon: 1e-5)
        keyNorm = LayerNorm(scope / "ln_kv", width, epsilon: 1e-5)
        input = pictureWidth == width ? nil : Linear(scope / "kv_proj", pictureWidth, width, bias: false)
        heads = configuration.headCount
    }

    func callAsFunction(_ features: Tensor) -> Tensor {  // [1, patches, Cv] -> [1, queries, C]
        let session = features.session
        let patches = features.shape[1]
        let keys = keyNorm(input.map { $0(features) } ?? features)
        let q = queryNorm(session.tensor(queries))
        let (from, to) = (RuyiResampler.side(queries.shape[0]), RuyiResampler.side(patches))
        let keyPositions = session.upload(Embeddings.bicubicGrid(positions, from: from, to: to))
        let attended = session.attention(
            part(0)((q + session.upload(positions)).expanded(at: 0)), part(1)(keys + keyPositions), part(2)(keys),
            heads: heads,
            scale: 1 / Float(inWeight.shape[1] / heads).squareRoot())
        return output(attended)
    }

    /// The query, key or value projection of the packed one.
    private func part(_ index: Int) -> Linear {
        let width = inWeight.shape[1]
        let range = index * width..<(index + 1) * width
        return Linear(weight: inWeight.sliced(0, range), bias: inBias.sliced(0, range))
    }

    static func side(_ count: Int) -> Int { Int(Double(count).squareRoot().rounded()) }
}
