import RuyiTensor

/// Two linear layers with an activation between them, run on a few thousand rows at a time, so that the wide
/// intermediate values of a long sequence never exist together.
public struct FeedForward: Sendable {
    /// Rows that are worked on together.
    public static let rowsAtOnce = 4032

    public var inner: Linear
    public let activation: Activation
    public var outer: Linear

    public init(inner: Linear, _ activation: Activation, outer: Linear) {
        self.inner = inner
        self.activation = activation
        self.outer = outer
    }

    /// Switches both layers to 8-bit arithmetic.
    public mutating func quantize(on backend: any Backend) {
        inner.quantize(on: backend)
        outer.quantize(on: backend)
    }

    /// `residual + gate · outer(inner(x))`.
    ///
    /// x and residual `[1, tokens, width]`, gate `[1, width]`.
    public func callAsFunction(_ x: Tensor, gate: Tensor, residual: Tensor) -> Tensor {
        let parts = stride(from: 0, to: x.shape[1], by: FeedForward.rowsAtOnce).map { start in
            let rows = start..<min(start + FeedForward.rowsAtOnce, x.shape[1])
            return outer(inner(x.sliced(1, rows), activation), gate: gate, residual: residual.sliced(1, rows))
        }
        return parts.count == 1 ? parts[0] : x.backend.concatenate(parts, axis: 1)
    }

    /// x `[..., width]`, contiguous; the result has x's shape.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        let width = x.shape.last ?? 0
        let rows = x.reshaped([x.count / max(width, 1), width])
        let parts = stride(from: 0, to: rows.shape[0], by: FeedForward.rowsAtOnce).map { start in
            rows.sliced(0, start..<min(start + FeedForward.rowsAtOnce, rows.shape[0]))
        }
        if parts.count == 1 { return outer(inner(x, activation)) }
        return x.backend.concatenate(parts.map { outer(inner($0, activation)) }, axis: 0).reshaped(x.shape)
    }
}
