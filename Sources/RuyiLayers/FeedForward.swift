import RuyiTensor

/// Two linear layers with an activation between them, run on a few thousand rows at a time, so that the wide
/// intermediate values of a long sequence never exist together.
public struct FeedForward: Sendable {
    public var inner: Linear
    public let activation: Activation
    public var outer: Linear

    public init(inner: Linear, _ activation: Activation, outer: Linear) {
        self.inner = inner
        self.activation = activation
        self.outer = outer
    }

    /// Switches both layers to 8-bit arithmetic.
    public mutating func quantize(on session: any Session) {
        inner.quantize(on: session)
        outer.quantize(on: session)
    }

    /// `outer(activation(inner(x)))`; x `[B, ..., width]`.
    ///
    /// `beside` `[B, ..., other]` stands in front of what the outer layer is given, where it takes more.
    public func callAsFunction(_ x: Tensor, beside: Tensor? = nil) -> Tensor {
        let session = x.session
        return session.feedForward(
            x, inner: inner.projection(on: session), activation, outer: outer.projection(on: session), beside: beside)
    }
}
