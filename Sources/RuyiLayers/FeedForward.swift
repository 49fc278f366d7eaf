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
