import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// Full attention of the video's tokens among one another; queries, keys and values of each head lie side by side in one
/// weight (specification section 6.2).
package struct StepSelfAttention: Sendable {
    private var packed: Linear
    private var output: Linear
    private let queryNorm, keyNorm: RMSNorm
    private let heads: Int
    private let size: Int

    /// Values that are projected together: long sequences take their heads in groups, so that those of all heads never lie
    /// in memory twice.
    package static let limit = 1 << 27

    package init(_ scope: WeightScope, _ configuration: StepTransformerConfiguration) {
        let width = configuration.width
        packed = Linear(scope / "wqkv", width, 3 * width, bias: false)
        output = Linear(scope / "wo", width, width, bias: false)
        queryNorm = RMSNorm(scope / "q_norm", configuration.headSize, epsilon: 1e-6)
        keyNorm = RMSNorm(scope / "k_norm", configuration.headSize, epsilon: 1e-6)
        (heads, size) = (configuration.headCount, configuration.headSize)
    }

    /// x `[B, N, D]`, of its shape.
    package func callAsFunction(_ x: Tensor, _ rotary: RotaryTable, limit: Int = StepSelfAttention.limit) -> Tensor {
        let parts = projections(of: x, limit: limit).map { projection -> Tensor in
            let (query, key, value) = heads(of: x, projection, rotary)
            let count = query.shape[2] / size
            return x.session.attention(query, key, value, heads: count, scale: 1 / Float(size).squareRoot())
        }
        return output(parts.count == 1 ? parts[0] : x.session.concatenate(parts, axis: 2))
    }

    /// Queries and keys behind norm and rotation, and values of all heads, `[B, N, D]` each.
    package func heads(of x: Tensor, _ rotary: RotaryTable) -> (query: Tensor, key: Tensor, value: Tensor) {
        heads(of: x, packed.projection(on: x.session), rotary)
    }

    private func heads(
        of x: Tensor, _ projection: Projection, _ rotary: RotaryTable
    ) -> (query: Tensor, key: Tensor, value: Tensor) {
        let parts = x.session.linear(x, projection).headParts(3, size: size)
        let count = parts[0].shape[2] / size
        return (
            queryNorm.perHead(parts[0], heads: count, rotary: rotary),
            keyNorm.perHead(parts[1], heads: count, rotary: rotary), parts[2]
        )
    }

    /// The projections of groups of heads, as large as the limit allows.
    private func projections(of x: Tensor, limit: Int) -> [Projection] {
        let rows = 3 * size
        let largest = max(1, limit / max(1, rows * x.shape[0] * x.shape[1]))
        let count = (heads + largest - 1) / largest
        let whole = [packed.projection(on: x.session)]
        guard count > 1 else { return whole }
        let ranges = (0..<count).map { $0 * heads / count * rows..<($0 + 1) * heads / count * rows }
        return packed.projections(ranges, on: x.session) ?? whole
    }

    mutating func quantize(on session: any Session) {
        packed.quantize(on: session)
        output.quantize(on: session)
    }
}

extension Tensor {
    /// The parts of each head, which lie side by side in x `[B, N, heads · parts · size]`, as `[B, N, heads · size]` each.
    func headParts(_ count: Int, size: Int) -> [Tensor] {
        let (batch, tokens, heads) = (shape[0], shape[1], shape[2] / (count * size))
        let split = reshaped([batch, tokens, heads, count, size])
        return (0..<count).map { session.copy(split.selected(3, $0)).reshaped([batch, tokens, heads * size]) }
    }
}

/// Keys and values of a text for one block, which stay the same in all steps, `[B, L, D]`.
struct StepKeys: Sendable {
    let key: Tensor
    let value: Tensor
}

/// Attention of the video's tokens to those of the text.
struct StepCrossAttention: Sendable {
    private var query, output: Linear
    private let packed: Linear
    private let queryNorm, keyNorm: RMSNorm
    private let heads: Int
    private let size: Int

    /// Takes the layers of every step from `scope`, and those of the text alone from the same place in `text`.
    init(_ scope: WeightScope, text: WeightScope, _ configuration: StepTransformerConfiguration) {
        let width = configuration.width
        query = Linear(scope / "wq", width, width, bias: false)
        output = Linear(scope / "wo", width, width, bias: false)
        packed = Linear(text / "wkv", width, 2 * width, bias: false)
        queryNorm = RMSNorm(scope / "q_norm", configuration.headSize, epsilon: 1e-6)
        keyNorm = RMSNorm(text / "k_norm", configuration.headSize, epsilon: 1e-6)
        (heads, size) = (configuration.headCount, configuration.headSize)
    }

    /// Keys and values of texts `[B, L, D]`.
    func keys(_ texts: Tensor) -> StepKeys {
        let parts = packed(texts).headParts(2, size: size)
        return StepKeys(key: keyNorm.perHead(parts[0], heads: heads, rotary: nil), value: parts[1])
    }

    /// x `[B, N, D]`, of its shape; the mask hides what stands behind a text's end.
    func callAsFunction(_ x: Tensor, _ keys: StepKeys, _ mask: AttentionMask) -> Tensor {
        let queries = queryNorm.perHead(query(x), heads: heads, rotary: nil)
        return output(
            x.session.attention(
                queries, keys.key, keys.value, heads: heads, scale: 1 / Float(size).squareRoot(),
                options: AttentionOptions(mask: mask)))
    }

    mutating func quantize(on session: any Session) {
        query.quantize(on: session)
        output.quantize(on: session)
    }
}

/// What modulates a block: its table and what the time makes of it, a row for each item of a batch.
struct StepModulation {
    let shift1, scale1, gate1, shift2, scale2, gate2: TokenRows

    /// `table + signal`, table `[6, D]`, signal `[1, 6 · D]`.
    init(_ table: Weight, _ signal: Tensor, batch: Int) {
        let session = signal.session
        let sum = session.tensor(table) + signal.reshaped(table.shape)
        func rows(_ index: Int) -> TokenRows {
            let row = sum.sliced(0, index..<index + 1)
            return TokenRows(batch == 1 ? row : session.concatenate(Array(repeating: row, count: batch), axis: 0))
        }
        (shift1, scale1, gate1) = (rows(0), rows(1), rows(2))
        (shift2, scale2, gate2) = (rows(3), rows(4), rows(5))
    }
}

/// A block of the transformer (specification section 6.2; Step-Video `StepVideoTransformerBlock`).
struct StepBlock: Sendable {
    private let table: Weight
    private let norm1, norm2: LayerNorm
    private var attention: StepSelfAttention
    private var crossing: StepCrossAttention
    private var feedForward: FeedForward
    /// The weights of every step, which come and go together.
    let unit: ResidencyUnit
    /// Those that make keys and values of a text, once a clip.
    let textUnit: ResidencyUnit

    init(_ place: WeightScope, _ configuration: StepTransformerConfiguration) {
        let (scope, text, width) = (place.apart, place.apart, configuration.width)
        (unit, textUnit) = (scope.unit, text.unit)
        table = scope.take("scale_shift_table", [6, width])
        norm1 = LayerNorm(scope / "norm1", width, epsilon: 1e-5)
        norm2 = LayerNorm(scope / "norm2", width, epsilon: 1e-5)
        attention = StepSelfAttention(scope / "attn1", configuration)
        crossing = StepCrossAttention(scope / "attn2", text: text / "attn2", configuration)
        let net = scope / "ff" / "net"
        feedForward = FeedForward(
            inner: Linear(net / 0 / "proj", width, configuration.innerWidth, bias: false), .geluTanh,
            outer: Linear(net / 2, configuration.innerWidth, width, bias: false))
    }

    /// Keys and values of texts `[B, L, D]`.
    func keys(_ texts: Tensor) -> StepKeys { crossing.keys(texts) }

    /// The next tokens, x `[B, N, D]`; `signal` is what the time makes for all blocks, `[1, 6 · D]`.
    func callAsFunction(
        _ x: Tensor, _ signal: Tensor, rotary: RotaryTable, keys: StepKeys, mask: AttentionMask,
        trace: StageTrace? = nil
    ) -> Tensor {
        let rows = StepModulation(table, signal, batch: x.shape[0])
        let normed = norm1(x, scale: rows.scale1, shift: rows.shift1)
        if let trace { record(x, normed, rotary, trace) }
        let attended = attention(normed, rotary)
        trace?.record("attn1.out", attended)
        let shown = x + rows.gate1 * attended
        let crossed = crossing(shown, keys, mask)
        trace?.record("attn2.out", crossed)
        let told = shown + crossed
        let made = feedForward(norm2(told, scale: rows.scale2, shift: rows.shift2))
        trace?.record("ff.out", made)
        return told + rows.gate2 * made
    }

    private func record(_ x: Tensor, _ normed: Tensor, _ rotary: RotaryTable, _ trace: StageTrace) {
        trace.record("norm1.out", norm1(x))
        let heads = attention.heads(of: normed, rotary)
        let size = rotary.cosines.shape[1]
        for (name, part) in [("q", heads.query), ("k", heads.key), ("v", heads.value)] {
            trace.record("attn1." + name, part.reshaped(Array(part.shape.prefix(2)) + [part.shape[2] / size, size]))
        }
    }

    mutating func quantize(on session: any Session) {
        attention.quantize(on: session)
        crossing.quantize(on: session)
        feedForward.quantize(on: session)
    }
}
