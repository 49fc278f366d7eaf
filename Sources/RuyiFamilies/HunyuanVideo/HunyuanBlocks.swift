import RuyiFiles
import RuyiLayers
import RuyiTensor

/// Shift, scale and gate of one half of a block, `[1, D]` each.
struct HunyuanModulation {
    let shift, scale, gate: Tensor

    /// The three parts from `first` on of a row of several.
    init(_ row: Tensor, first: Int, width: Int) {
        func part(_ index: Int) -> Tensor { row.sliced(1, (first + index) * width..<(first + index + 1) * width) }
        (shift, scale, gate) = (part(0), part(1), part(2))
    }

    /// `LN(x) · (1 + scale) + shift`.
    func norm(_ x: Tensor) -> Tensor {
        x.backend.layerNorm(x, weight: nil, bias: nil, epsilon: hunyuanEpsilon, scale: scale, shift: shift)
    }
}

/// The modulation of a stream of tokens, whose first ones may have another than the rest.
struct HunyuanModulations {
    let rest: HunyuanModulation
    let clean: HunyuanModulation?
    let firstTokens: Int

    init(_ linear: Linear, _ signal: HunyuanSignal, first: Int = 0, isVideo: Bool, width: Int) {
        rest = HunyuanModulation(linear(signal.embedding), first: first, width: width)
        clean = isVideo ? signal.clean.map { HunyuanModulation(linear($0), first: first, width: width) } : nil
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
    func map(_ count: Int, on backend: any Backend, _ body: (Range<Int>, HunyuanModulation) -> Tensor) -> Tensor {
        guard let clean else { return body(0..<count, rest) }
        return backend.concatenate([body(0..<firstTokens, clean), body(firstTokens..<count, rest)], axis: 1)
    }
}

/// Queries and keys with an RMS norm on each head, and values, of one stream.
private struct HunyuanProjections: Sendable {
    private(set) var query, key, value: Linear
    private let queryNorm, keyNorm: RMSNorm
    private let heads: Int

    /// The names of the three projections and of the two norms.
    init(_ scope: WeightScope, _ names: [String], _ configuration: HunyuanTransformerConfiguration) {
        let (width, size) = (configuration.hiddenSize, configuration.headSize)
        query = Linear(scope / names[0], width, width)
        key = Linear(scope / names[1], width, width)
        value = Linear(scope / names[2], width, width)
        queryNorm = RMSNorm(scope / names[3], size, epsilon: hunyuanEpsilon)
        keyNorm = RMSNorm(scope / names[4], size, epsilon: hunyuanEpsilon)
        heads = configuration.headCount
    }

    static let video = ["to_q", "to_k", "to_v", "norm_q", "norm_k"]
    static let text = ["add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"]

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

/// A block in which video and text have weights of their own and attend together.
struct HunyuanDualBlock: Sendable {
    private let modulation, textModulation: Linear
    private var projections, textProjections: HunyuanProjections
    private var output, textOutput: Linear
    private var feedForward, textFeedForward: FeedForward
    private let heads: Int
    private let scale: Float

    init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
        let (width, inner) = (configuration.hiddenSize, configuration.innerWidth)
        modulation = Linear(scope / "norm1" / "linear", width, 6 * width)
        textModulation = Linear(scope / "norm1_context" / "linear", width, 6 * width)
        let attention = scope / "attn"
        projections = HunyuanProjections(attention, HunyuanProjections.video, configuration)
        textProjections = HunyuanProjections(attention, HunyuanProjections.text, configuration)
        output = Linear(attention / "to_out" / 0, width, width)
        textOutput = Linear(attention / "to_add_out", width, width)
        func layers(_ place: WeightScope) -> FeedForward {
            FeedForward(
                inner: Linear(place / "net" / 0 / "proj", width, inner), .geluTanh,
                outer: Linear(place / "net" / 2, inner, width))
        }
        feedForward = layers(scope / "ff")
        textFeedForward = layers(scope / "ff_context")
        heads = configuration.headCount
        scale = 1 / Float(configuration.headSize).squareRoot()
    }

    /// What the attention sees of the video's tokens.
    func modulated(_ video: Tensor, _ signal: HunyuanSignal) -> Tensor {
        HunyuanModulations(modulation, signal, isVideo: true, width: video.shape[2]).norm(video)
    }

    /// Tokens `[1, N, D]` and `[1, L, D]`, of which the first `visible` together are seen.
    func callAsFunction(
        _ video: Tensor, _ text: Tensor, _ signal: HunyuanSignal, _ rotary: HunyuanRotary, visible: Int
    ) -> (video: Tensor, text: Tensor) {
        let (backend, width, split) = (video.backend, video.shape[2], video.shape[1])
        func modulations(_ linear: Linear, _ first: Int, isVideo: Bool) -> HunyuanModulations {
            HunyuanModulations(linear, signal, first: first, isVideo: isVideo, width: width)
        }
        let mine = modulations(modulation, 0, isVideo: true)
        let theirs = modulations(textModulation, 0, isVideo: false)
        let attended: Tensor
        do {
            let a = projections(mine.norm(video), rotary.video)
            let b = textProjections(theirs.norm(text), nil)
            attended = backend.attention(
                backend.concatenate([a.query, b.query], axis: 1), backend.concatenate([a.key, b.key], axis: 1),
                backend.concatenate([a.value, b.value], axis: 1), heads: heads, scale: scale,
                options: AttentionOptions(mask: .lengths([visible])))
        }
        let shown = mine.add(video, attended.sliced(1, 0..<split)) { output($0, gate: $1, residual: $2) }
        let told = theirs.add(text, attended.sliced(1, split..<attended.shape[1])) {
            textOutput($0, gate: $1, residual: $2)
        }
        let after = modulations(modulation, 3, isVideo: true)
        let textAfter = modulations(textModulation, 3, isVideo: false)
        return (
            after.add(shown, after.norm(shown)) { feedForward($0, gate: $1, residual: $2) },
            textAfter.add(told, textAfter.norm(told)) { textFeedForward($0, gate: $1, residual: $2) }
        )
    }

    /// Switches the layers that work on every token to 8 bits.
    mutating func quantize(on backend: any Backend) {
        projections.quantize(on: backend)
        textProjections.quantize(on: backend)
        output.quantize(on: backend)
        textOutput.quantize(on: backend)
        feedForward.quantize(on: backend)
        textFeedForward.quantize(on: backend)
    }
}

/// A block in which video and text share their weights, with attention and feed-forward layers side by side.
struct HunyuanSingleBlock: Sendable {
    private let modulation: Linear
    private var projections: HunyuanProjections
    private var inner: Linear
    private var output: Linear
    private let heads: Int
    private let scale: Float

    init(_ scope: WeightScope, _ configuration: HunyuanTransformerConfiguration) {
        let width = configuration.hiddenSize
        modulation = Linear(scope / "norm" / "linear", width, 3 * width)
        projections = HunyuanProjections(scope / "attn", HunyuanProjections.video, configuration)
        inner = Linear(scope / "proj_mlp", width, configuration.innerWidth)
        output = Linear(scope / "proj_out", width + configuration.innerWidth, width)
        heads = configuration.headCount
        scale = 1 / Float(configuration.headSize).squareRoot()
    }

    /// Tokens `[1, N + L, D]` of video and text, of which the first `visible` are seen.
    func callAsFunction(_ x: Tensor, _ signal: HunyuanSignal, _ rotary: HunyuanRotary, visible: Int) -> Tensor {
        let backend = x.backend
        let modulations = HunyuanModulations(modulation, signal, isVideo: true, width: x.shape[2])
        let normed = modulations.norm(x)
        let attended: Tensor
        do {
            let a = projections(normed, rotary.all)
            attended = backend.attention(
                a.query, a.key, a.value, heads: heads, scale: scale,
                options: AttentionOptions(mask: .lengths([visible])))
        }
        return modulations.map(x.shape[1], on: backend) { range, modulation in
            // A few thousand rows at a time, so that the wide values of all tokens never exist together.
            let parts = stride(from: range.lowerBound, to: range.upperBound, by: FeedForward.rowsAtOnce).map { start in
                let rows = start..<min(start + FeedForward.rowsAtOnce, range.upperBound)
                let wide = backend.concatenate(
                    [attended.sliced(1, rows), inner(normed.sliced(1, rows), .geluTanh)], axis: 2)
                return output(wide, gate: modulation.gate, residual: x.sliced(1, rows))
            }
            return parts.count == 1 ? parts[0] : backend.concatenate(parts, axis: 1)
        }
    }

    /// Switches the layers that work on every token to 8 bits.
    mutating func quantize(on backend: any Backend) {
        projections.quantize(on: backend)
        inner.quantize(on: backend)
        output.quantize(on: backend)
    }
}
