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
    /// What all norms add to the variance.
    package let epsilon: Float

    /// Sizes of blocks of width `heads · headSize`.
    package init(heads: Int, headSize: Int, innerWidth: Int, epsilon: Float = 1e-6) {
        self.heads = heads
        self.headSize = headSize
        self.innerWidth = innerWidth
        self.epsilon = epsilon
    }

    /// The width of the tokens.
    package var width: Int { heads * headSize }
    /// What the scores of the attention are multiplied by.
    var attentionScale: Float { 1 / Float(headSize).squareRoot() }
}

/// What blocks are modulated by, after SiLU: `[1, D]` for all tokens, and another one for those of a clean frame.
package struct ModulationSignal {
    /// For all tokens, `[1, D]`.
    package let embedding: Tensor
    /// For the tokens of a clean frame, `[1, D]`.
    package let clean: Tensor?
    /// The tokens of the clean frame, the first of the video.
    package let firstTokens: Int

    /// The signal of a model call.
    package init(embedding: Tensor, clean: Tensor? = nil, firstTokens: Int = 0) {
        self.embedding = embedding
        self.clean = clean
        self.firstTokens = firstTokens
    }
}

/// Shift, scale and gate of one half of a block, `[1, D]` each.
struct Modulation {
    let shift, scale, gate: Tensor
    private let epsilon: Float

    /// The three parts from `first` on of a row of several.
    init(_ row: Tensor, first: Int, _ sizes: StreamSizes) {
        func part(_ index: Int) -> Tensor {
            row.sliced(1, (first + index) * sizes.width..<(first + index + 1) * sizes.width)
        }
        (shift, scale, gate) = (part(0), part(1), part(2))
        epsilon = sizes.epsilon
    }

    /// `LN(x) · (1 + scale) + shift`.
    func norm(_ x: Tensor) -> Tensor {
        x.backend.layerNorm(x, weight: nil, bias: nil, epsilon: epsilon, scale: scale, shift: shift)
    }
}

/// The modulation of a stream of tokens, whose first ones may have another than the rest.
struct StreamModulation {
    private let rest: Modulation
    private let clean: Modulation?
    private let firstTokens: Int

    /// The parts from `first` on of what `linear` makes of the signal; only the video has a clean frame.
    init(_ linear: Linear, _ signal: ModulationSignal, first: Int = 0, isVideo: Bool, _ sizes: StreamSizes) {
        rest = Modulation(linear(signal.embedding), first: first, sizes)
        clean = isVideo ? signal.clean.map { Modulation(linear($0), first: first, sizes) } : nil
        firstTokens = clean == nil ? 0 : signal.firstTokens
    }

    /// The modulated norm of x `[1, tokens, D]`.
    func norm(_ x: Tensor) -> Tensor {
        map(x.shape[1], on: x.backend) { $1.norm(x.sliced(1, $0)) }
    }

    /// `residual + gate · layer(x)`, where the layer is given x, the gate and the residual, `[1, tokens, D]`.
    func add(_ residual: Tensor, _ x: Tensor, _ layer: (Tensor, Tensor, Tensor) -> Tensor) -> Tensor {
        map(x.shape[1], on: x.backend) { layer(x.sliced(1, $0), $1.gate, residual.sliced(1, $0)) }
    }

    /// What `body` makes of the tokens with the same modulation, one after the other along axis 1.
    func map(_ count: Int, on backend: any Backend, _ body: (Range<Int>, Modulation) -> Tensor) -> Tensor {
        guard let clean else { return body(0..<count, rest) }
        return backend.concatenate([body(0..<firstTokens, clean), body(firstTokens..<count, rest)], axis: 1)
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
        queryNorm = RMSNorm(scope / names.queryNorm, sizes.headSize, epsilon: sizes.epsilon)
        keyNorm = RMSNorm(scope / names.keyNorm, sizes.headSize, epsilon: sizes.epsilon)
        heads = sizes.heads
    }

    func callAsFunction(_ x: Tensor, _ rotary: RotaryTable?) -> (query: Tensor, key: Tensor, value: Tensor) {
        (
            queryNorm.perHead(query(x), heads: heads, rotary: rotary),
            keyNorm.perHead(key(x), heads: heads, rotary: rotary), value(x)
        )
    }

    mutating func quantize(on backend: any Backend) {
        query.quantize(on: backend)
        key.quantize(on: backend)
        value.quantize(on: backend)
    }
}
