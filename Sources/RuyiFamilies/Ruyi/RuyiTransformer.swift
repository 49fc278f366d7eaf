import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

private let normEpsilon: Float = 1e-6

/// Ruyi's transformer (HunyuanTransformer3DModel, specification section 5): a U of blocks with full attention over
/// space and time, cross-attention to two text streams and to the picture, and skips from the first half to the second.
struct RuyiTransformer: Sendable {
    let configuration: RuyiTransformerConfiguration
    let embedder: RuyiEmbedder
    private let patches: Linear
    private var blocks: [RuyiBlock]
    private let modulation: Linear
    private let projection: Linear

    /// pictureWidth is the width of the image encoder's features.
    init(_ scope: WeightScope, pictureWidth: Int, _ configuration: RuyiTransformerConfiguration) {
        let width = configuration.hiddenSize
        let patch = configuration.patchSize
        self.configuration = configuration
        embedder = RuyiEmbedder(scope, pictureWidth: pictureWidth, configuration)
        patches = Linear(scope / "pos_embed" / "proj", kernel: [configuration.inChannels, patch, patch], width)
        blocks = scope.list("blocks", configuration.layers).enumerated().map { RuyiBlock($1, index: $0, configuration) }
        modulation = Linear(scope / "norm_out" / "linear", width, 2 * width)
        projection = Linear(scope / "proj_out", width, patch * patch * configuration.outChannels)
    }

    /// The model's output for every item of the guidance batch, `[B, outChannels, f, h, w]`.
    ///
    /// - Parameters:
    ///   - input: latents and conditioning, `[B, inChannels, f, h, w]`.
    ///   - time: the timestep.
    ///   - conditioning: the prepared streams of the same batch.
    ///   - rotary: the table of one frame's positions.
    ///   - enhancement: the weight of Enhance-A-Video, if it is on in this call.
    ///   - cache: what earlier calls left for TeaCache, if it is on.
    ///   - blockDone: called with the index of each finished block.
    func callAsFunction(
        _ input: Tensor, time: Float, conditioning: RuyiConditioning, rotary: RotaryTable, enhancement: Double?,
        cache: inout TeaCache?, trace: StageTrace?, blockDone: (Int) throws -> Void
    ) throws -> Tensor {
        let session = input.session
        let frames = input.shape[2]
        let embedding = embedder.vector(time: time, conditioning, trace)  // [B, D]
        let activated = session.activate(embedding, .silu)
        var hidden = patchify(input, trace)  // [B, N, D]
        let tokens = cache == nil ? nil : hidden
        let reused = cache?.reusedResidual {
            blocks[0].modulatedInput(hidden, frames: frames, embedding: activated)
        }
        if let reused {
            try blockDone(blocks.count - 1)
            return unpatchify(projection(hidden + reused), like: input)
        }
        var skips: [Tensor] = []
        for (index, block) in blocks.enumerated() {
            let skip = block.takesSkip ? skips.removeLast() : nil
            hidden = block(
                hidden, skip: skip, frames: frames, embedding: activated, text: conditioning.text,
                picture: conditioning.picture, rotary: rotary, enhancement: enhancement, trace)
            if block.givesSkip { skips.append(hidden) }
            try blockDone(index)
        }
        let modulated = TokenRows(modulation(activated))  // [B, 2 D]: scale, then shift
        let width = configuration.hiddenSize
        let normed = session.layerNorm(
            hidden, weight: nil, bias: nil, epsilon: normEpsilon, scale: modulated.columns(0..<width),
            shift: modulated.columns(width..<2 * width))
        trace?.record("final.out", normed)
        if let tokens { cache?.keep(normed, of: tokens) }
        return unpatchify(projection(normed), like: input)
    }

    /// Patterns of the names of the weights that compute in 8 bits in a quantised copy.
    static let integerWeights = [
        "blocks.*.skip_linear.weight", "blocks.*.attn*.to_*.weight", "blocks.*.gate_clip.proj.weight",
        "blocks.*.ff.net.*.weight",
    ]

    /// A copy whose blocks' large linear layers compute in 8 bits.
    ///
    /// `blockDone` is called after each block, whose stored weights are then not needed for a while.
    func quantized(on session: any Session, blockDone: () throws -> Void) rethrows -> RuyiTransformer {
        var copy = self
        for index in blocks.indices {
            copy.blocks[index].quantize(on: session)
            try blockDone()
        }
        return copy
    }

    /// The number of blocks, for progress.
    var blockCount: Int { blocks.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    func unit(ofBlock index: Int) -> ResidencyUnit { blocks[index % blockCount].unit }

    /// Tokens in the order frame, row, column: `[B, f · h/2 · w/2, D]`.
    private func patchify(_ x: Tensor, _ trace: StageTrace?) -> Tensor {
        let (batch, channels, frames, patch) = (x.shape[0], x.shape[1], x.shape[2], configuration.patchSize)
        let (rows, columns) = (x.shape[3] / patch, x.shape[4] / patch)
        let values = x.session.copy(
            x.reshaped([batch, channels, frames, rows, patch, columns * patch])
                .reshaped([batch, channels, frames * rows, patch, columns, patch]).permuted([0, 2, 4, 1, 3, 5]))
        let tokens = patches(values.reshaped([batch, frames * rows * columns, channels * patch * patch]))
        trace?.record("embed.patch", tokens.reshaped([batch * frames, rows * columns, configuration.hiddenSize]))
        trace?.record("embed.out", tokens)
        return tokens
    }

    /// The inverse: `out[b, c, f, 2r + p, 2s + q] = y[b, token, (2p + q) · C + c]`.
    private func unpatchify(_ y: Tensor, like x: Tensor) -> Tensor {
        let (batch, frames, patch) = (x.shape[0], x.shape[2], configuration.patchSize)
        let (rows, columns, channels) = (x.shape[3] / patch, x.shape[4] / patch, configuration.outChannels)
        return y.session.copy(
            y.reshaped([batch, frames * rows, columns, patch, patch, channels]).permuted([0, 5, 1, 3, 2, 4])
        ).reshaped([batch, channels, frames, rows * patch, columns * patch])
    }
}

/// One block (specification section 5.6).
struct RuyiBlock: Sendable {
    /// The weights, which come and go together.
    let unit: ResidencyUnit
    let takesSkip: Bool
    let givesSkip: Bool
    let name: String
    let skipNorm: LayerNorm?
    private(set) var skipLinear: Linear?
    /// Rows that are added to the tokens of each frame.
    let positions: Weight
    let norm1, norm2, norm3, normClip, normClipOut: LayerNorm
    let shift: Linear
    private(set) var attention, textAttention, pictureAttention: RuyiAttention
    let gateNorm: LayerNorm
    private(set) var gateProjection: Linear
    private(set) var feedForward: FeedForward

    init(_ place: WeightScope, index: Int, _ configuration: RuyiTransformerConfiguration) {
        let (scope, width) = (place.apart, configuration.hiddenSize)
        let half = configuration.layerCount / 2
        unit = scope.unit
        takesSkip = index > half
        givesSkip = index < half - 1
        name = "block." + StageTrace.digits(index)
        skipNorm = takesSkip ? LayerNorm(scope / "skip_norm", 2 * width, epsilon: normEpsilon) : nil
        skipLinear = takesSkip ? Linear(scope / "skip_linear", 2 * width, width) : nil
        positions = RuyiBlock.positions(scope / "t_embed", width)
        norm1 = LayerNorm(scope / "norm1" / "norm", width, epsilon: normEpsilon)
        shift = Linear(scope / "norm1" / "linear", width, width)
        norm2 = LayerNorm(scope / "norm2", width, epsilon: normEpsilon)
        norm3 = LayerNorm(scope / "norm3", width, epsilon: normEpsilon)
        normClip = LayerNorm(scope / "norm_clip", width, epsilon: normEpsilon)
        normClipOut = LayerNorm(scope / "norm_clip_out", width, epsilon: normEpsilon)
        attention = RuyiAttention(scope / "attn1", context: width, configuration)
        textAttention = RuyiAttention(scope / "attn2", context: configuration.contextWidth, configuration)
        pictureAttention = RuyiAttention(scope / "attn_clip", context: configuration.contextWidth, configuration)
        // The reference passes the width as the epsilon: (x − mean) / sqrt(variance + D).
        gateNorm = LayerNorm(scope / "gate_clip" / "norm", width, epsilon: Float(width))
        gateProjection = Linear(scope / "gate_clip" / "proj", width, 2 * width)
        feedForward = FeedForward(
            inner: Linear(scope / "ff" / "net" / 0 / "proj", width, configuration.innerWidth), .geluTanh,
            outer: Linear(scope / "ff" / "net" / 2, configuration.innerWidth, width))
    }

    /// Switches the layers that work on every token to 8 bits.
    mutating func quantize(on session: any Session) {
        skipLinear?.quantize(on: session)
        attention.quantize(on: session)
        textAttention.quantize(on: session)
        pictureAttention.quantize(on: session)
        gateProjection.quantize(on: session)
        feedForward.inner.quantize(on: session)
        feedForward.outer.quantize(on: session)
    }

    /// Frame positions: the stored table, whose rounding counts, or the computed one where the file has none.
    private static func positions(_ scope: WeightScope, _ width: Int) -> Weight {
        let shape = [1, RuyiLimits.latentFrames, width]
        // Nothing is computed of a width that other weights do not have.
        if scope.has("pe") || !scope.ledger.isClean { return scope.take("pe", shape).selected(0, 0) }
        return scope.constant(Embeddings.positions(count: RuyiLimits.latentFrames, width: width))
    }

    /// What the first attention sees of x where there is no skip: frame positions added, normed, shifted by the time.
    func modulatedInput(_ x: Tensor, frames: Int, embedding: Tensor) -> Tensor {
        norm1(frames == 1 ? x : addPositions(x, frames: frames), shift: TokenRows(shift(embedding)))
    }

    func callAsFunction(
        _ x: Tensor, skip: Tensor?, frames: Int, embedding: Tensor, text: Tensor, picture: Tensor,
        rotary: RotaryTable, enhancement: Double? = nil, _ trace: StageTrace?
    ) -> Tensor {
        let session = x.session
        var hidden = x  // [B, N, D]
        if let skip, let skipNorm, let skipLinear {
            hidden = skipLinear(skipNorm(session.concatenate([hidden, skip], axis: 2)))
            trace?.record(name + ".skip.out", hidden)
        }
        if frames != 1 { hidden = addPositions(hidden, frames: frames) }
        let normed = norm1(hidden, shift: TokenRows(shift(embedding)))
        trace?.record(name + ".norm1.out", normed)
        let attended =
            enhancement.map { attention.enhanced(normed, frames: frames, weight: $0, rotary: rotary) }
            ?? attention(normed, context: normed, rotary: rotary, keyRotary: rotary)
        trace?.record(name + ".attn1.out", attended)
        hidden = hidden + attended
        let normed2 = norm2(hidden)
        let textual = textAttention(normed2, context: text, rotary: rotary, keyRotary: nil)
        trace?.record(name + ".attn2.out", textual)
        hidden = hidden + textual
        let pictured = pictureAttention(normClip(hidden), context: picture, rotary: rotary, keyRotary: nil)
        trace?.record(name + ".attn_clip.out", pictured)
        let gated = session.gated(gateProjection(gateNorm(pictured)), .gelu)
        trace?.record(name + ".gate_clip.out", gated)
        let change = normClipOut(gated)
        trace?.record(name + ".norm_clip_out.out", change)
        hidden = hidden + change
        let forwarded = feedForward(norm3(hidden))
        trace?.record(name + ".ff.out", forwarded)
        hidden = hidden + forwarded
        trace?.record(name + ".out", hidden)
        return hidden
    }

    /// Adds each frame's position row to all of its tokens.
    private func addPositions(_ hidden: Tensor, frames: Int) -> Tensor {
        let session = hidden.session
        let (tokens, width) = (hidden.shape[1], hidden.shape[2])
        let rows = session.tensor(positions.sliced(0, 0..<frames)).expanded(at: 1).repeated(1, tokens / frames)
        return hidden + session.copy(rows).reshaped([tokens, width])
    }
}

/// Attention with layer norm on each head's queries and keys.
struct RuyiAttention: Sendable {
    private(set) var query, key, value, output: Linear
    let queryNorm, keyNorm: LayerNorm
    let heads: Int
    let scale: Float

    init(_ scope: WeightScope, context: Int, _ configuration: RuyiTransformerConfiguration) {
        let (width, size) = (configuration.hiddenSize, configuration.headSize)
        query = Linear(scope / "to_q", width, width)
        key = Linear(scope / "to_k", context, width)
        value = Linear(scope / "to_v", context, width)
        output = Linear(scope / "to_out" / 0, width, width)
        queryNorm = LayerNorm(scope / "norm_q", size, epsilon: normEpsilon)
        keyNorm = LayerNorm(scope / "norm_k", size, epsilon: normEpsilon)
        heads = configuration.headCount
        scale = 1 / Float(size).squareRoot()
    }

    mutating func quantize(on session: any Session) {
        query.quantize(on: session)
        key.quantize(on: session)
        value.quantize(on: session)
        output.quantize(on: session)
    }

    func callAsFunction(_ x: Tensor, context: Tensor, rotary: RotaryTable, keyRotary: RotaryTable?) -> Tensor {
        let q = queryNorm.perHead(query(x), heads: heads, rotary: rotary)
        let k = keyNorm.perHead(key(context), heads: heads, rotary: keyRotary)
        return output(x.session.attention(q, k, value(context), heads: heads, scale: scale))
    }

    /// Attention of x to itself, the stronger the more its frames attend to one another.
    ///
    /// Luo et al. 2025, "Enhance-A-Video: Better Generated Video for Free" (specification section 9).
    func enhanced(_ x: Tensor, frames: Int, weight: Double, rotary: RotaryTable) -> Tensor {
        let session = x.session
        // Frames are compared before the rotation, which then takes place inside the attention.
        let q = queryNorm.perHead(query(x), heads: heads, rotary: nil)
        let k = keyNorm.perHead(key(x), heads: heads, rotary: nil)
        let score = session.crossFrameAttention(q, k, frames: frames, heads: heads, scale: scale)
        let attended = session.attention(
            q, k, value(x), heads: heads, scale: scale,
            options: AttentionOptions(queryRotary: rotary, keyRotary: rotary))
        let factor = session.scale(score, by: Float(Double(frames) + weight), plus: 0, clampedTo: 1...Float.infinity)
        return output(attended) * factor
    }
}

/// Limits of the model that are not in its configuration.
enum RuyiLimits {
    /// Rows of the table of frame positions.
    static let latentFrames = 512
    /// TeaCache's fit for this model (specification section 9).
    static let teacacheCoefficients = [-7511.8562, 2329.32511, -225.610663, 9.39902237, -0.0743067848]
}
