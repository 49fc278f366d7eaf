import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The sizes of the blocks that work on a stream of tokens of the video and one of the text.
package struct StreamSizes: Sendable, Equatable {
    /// Heads of the attention.
    package let heads: Int
    /// The width of a head.
    package let headSize: Int
    /// The width inside the feed-forward layers.
    package let innerWidth: Int
    /// What the norms of tokens add to the variance.
    package let epsilon: Float
    /// What those of queries and keys add.
    let headEpsilon: Float

    /// Sizes of blocks of width `heads · headSize`; queries and keys have the tokens' epsilon where none of theirs is given.
    package init(
        heads: Int, headSize: Int, innerWidth: Int, epsilon: Float = 1e-6, headEpsilon: Float? = nil
    ) {
        self.heads = heads
        self.headSize = headSize
        self.innerWidth = innerWidth
        self.epsilon = epsilon
        self.headEpsilon = headEpsilon ?? epsilon
    }

    /// The width of the tokens.
    package var width: Int { heads * headSize }
    /// What the scores of the attention are multiplied by.
    var attentionScale: Float { 1 / Float(headSize).squareRoot() }
}

/// What blocks are modulated by, after SiLU: a row for all tokens, and another one for those of a clean frame.
package struct ModulationSignal {
    /// For the tokens of the video, or of both streams in one.
    let video: TokenRows
    /// For the tokens of the text, `[1, D]`.
    let text: TokenRows

    /// The signal of a model call, `[1, D]` for all tokens.
    package init(_ embedding: Tensor) {
        (video, text) = (TokenRows(embedding), TokenRows(embedding))
    }

    /// The signal of a model call, and that of a clean frame, `[1, D]`, for the first ones of so many tokens.
    package init(_ embedding: Tensor, clean: Tensor, first: Int, of count: Int) {
        let rows = embedding.session.concatenate([clean, embedding], axis: 0)
        (video, text) = (TokenRows(rows, lengths: [first, count - first]), TokenRows(embedding))
    }

    /// The signal for streams in one, of so many tokens.
    package func joined(_ count: Int) -> ModulationSignal {
        guard let lengths = video.lengths else { return self }
        return ModulationSignal(
            video: TokenRows(video.values, lengths: [lengths[0], count - lengths[0]]), text: text)
    }

    init(video: TokenRows, text: TokenRows) {
        self.video = video
        self.text = text
    }
}

/// Shift, scale and gate of one half of a block, for each run of tokens.
struct StreamModulation {
    private(set) var shift, scale, gate: TokenRows
    private let epsilon: Float

    /// Of a block with one half: what `linear` makes of the signal.
    init(_ linear: Linear, _ signal: TokenRows, _ sizes: StreamSizes) {
        self.init(TokenRows(linear(signal.values), lengths: signal.lengths), first: 0, sizes)
    }

    /// The three parts of the rows from `first` on.
    private init(_ rows: TokenRows, first: Int, _ sizes: StreamSizes) {
        func part(_ index: Int) -> TokenRows {
            rows.columns((first + index) * sizes.width..<(first + index + 1) * sizes.width)
        }
        (shift, scale, gate) = (part(0), part(1), part(2))
        epsilon = sizes.epsilon
    }

    /// Those of the attention and of the feed-forward layers: what `linear` makes of the signal.
    static func pair(
        _ linear: Linear, _ signal: TokenRows, _ sizes: StreamSizes
    ) -> (StreamModulation, StreamModulation) {
        let rows = TokenRows(linear(signal.values), lengths: signal.lengths)
        return (StreamModulation(rows, first: 0, sizes), StreamModulation(rows, first: 3, sizes))
    }

    /// `LN(x) · (1 + scale) + shift`, x `[1, tokens, D]`.
    func norm(_ x: Tensor) -> Tensor {
        x.session.layerNorm(x, weight: nil, bias: nil, epsilon: epsilon, scale: scale, shift: shift)
    }

    /// The same for other runs of tokens.
    func map(_ change: (TokenRows) -> TokenRows) -> StreamModulation {
        var copy = self
        (copy.shift, copy.scale, copy.gate) = (change(shift), change(scale), change(gate))
        return copy
    }
}

/// A norm with a scale and a shift that the time gives, and no gate (diffusers: AdaLayerNormContinuous).
struct ContinuousNorm: Sendable {
    private let modulation: Linear
    private let sizes: StreamSizes

    /// Takes `linear`.
    init(_ scope: WeightScope, _ sizes: StreamSizes) {
        modulation = Linear(scope / "linear", sizes.width, 2 * sizes.width)
        self.sizes = sizes
    }

    /// x `[1, tokens, D]` normed, with what is activated of the embedding for each run of tokens.
    func callAsFunction(_ x: Tensor, _ signal: TokenRows) -> Tensor {
        // [runs, 2 D]: scale, then shift
        let parts = TokenRows(modulation(signal.values), lengths: signal.lengths)
        let width = sizes.width
        return x.session.layerNorm(
            x, weight: nil, bias: nil, epsilon: sizes.epsilon, scale: parts.columns(0..<width),
            shift: parts.columns(width..<2 * width))
    }
}

/// The names of one stream's projections and norms within a block's attention.
package struct StreamNames: Sendable {
    let query, key, value, queryNorm, keyNorm: String

    /// Names of the layers below `attn`.
    package init(query: String, key: String, value: String, queryNorm: String, keyNorm: String) {
        self.query = query
        self.key = key
        self.value = value
        self.queryNorm = queryNorm
        self.keyNorm = keyNorm
    }

    /// Those of the video, and of both streams where they share their weights.
    package static let video = StreamNames(
        query: "to_q", key: "to_k", value: "to_v", queryNorm: "norm_q", keyNorm: "norm_k")
    /// Those of the text.
    package static let text = StreamNames(
        query: "add_q_proj", key: "add_k_proj", value: "add_v_proj", queryNorm: "norm_added_q",
        keyNorm: "norm_added_k")
}

/// Queries and keys with an RMS norm on each head, and values, of one stream.
struct StreamProjections: Sendable {
    private var query, key, value: Linear
    private let queryNorm, keyNorm: RMSNorm
    private let heads: Int

    init(_ scope: WeightScope, _ names: StreamNames, _ sizes: StreamSizes) {
        query = Linear(scope / names.query, sizes.width, sizes.width)
        key = Linear(scope / names.key, sizes.width, sizes.width)
        value = Linear(scope / names.value, sizes.width, sizes.width)
        queryNorm = RMSNorm(scope / names.queryNorm, sizes.headSize, epsilon: sizes.headEpsilon)
        keyNorm = RMSNorm(scope / names.keyNorm, sizes.headSize, epsilon: sizes.headEpsilon)
        heads = sizes.heads
    }

    func callAsFunction(_ x: Tensor, _ rotary: RotaryTable?) -> (query: Tensor, key: Tensor, value: Tensor) {
        (queries(x, rotary), keys(x, rotary), value(x))
    }

    /// The queries alone.
    func queries(_ x: Tensor, _ rotary: RotaryTable?) -> Tensor {
        queryNorm.perHead(query(x), heads: heads, rotary: rotary)
    }

    /// Keys and values of tokens that ask nothing themselves.
    func seen(_ x: Tensor, _ rotary: RotaryTable?) -> (key: Tensor, value: Tensor) { (keys(x, rotary), value(x)) }

    private func keys(_ x: Tensor, _ rotary: RotaryTable?) -> Tensor {
        keyNorm.perHead(key(x), heads: heads, rotary: rotary)
    }

    mutating func quantize(on session: any Session) {
        query.quantize(on: session)
        key.quantize(on: session)
        value.quantize(on: session)
    }
}
