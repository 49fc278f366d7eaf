import RuyiFiles
import RuyiTensor

/// `y = x Wᵀ + b` over the last axis.
public struct Linear: Sendable {
    /// `[out, in]`, in the type in which it is stored.
    public let weight: Tensor
    /// What the stored values of the weight are multiplied by; 1 where they are what they say.
    public let scale: Float
    /// `[out]`.
    public let bias: Tensor?
    /// What is added to the weight.
    public let updates: [LowRankUpdate]
    /// The weight in 8 bits, which products then use in its place.
    public private(set) var quantizedWeight: QuantizedWeight?

    /// Takes `weight` `[output, input]` and, if the layer has one, `bias` `[output]`.
    public init(_ scope: WeightScope, _ input: Int, _ output: Int, bias: Bool = true) {
        (weight, scale) = scope.takeScaled("weight", [output, input])
        self.bias = bias ? scope.take("bias", [output]) : nil
        updates = scope.updates(of: "weight")
    }

    /// Wraps weights that were taken elsewhere, such as a part of a packed projection.
    public init(weight: Tensor, bias: Tensor?) {
        self.weight = weight
        scale = 1
        self.bias = bias
        updates = []
    }

    /// The weight with its scale and its updates, `[out, in]`.
    ///
    /// It is made anew each time: next to a product over thousands of tokens that costs little, and a second copy of
    /// all weights is never there.
    public func updatedWeight(on backend: any Backend) -> Tensor {
        let scaled = scale == 1 ? weight : backend.scale(weight, by: scale, plus: 0, clampedTo: nil)
        return updates.reduce(scaled) { $1.added(to: $0, on: backend) }
    }

    /// `residual + gate · activation(x Wᵀ + b)`.
    ///
    /// x `[B, ..., in]`, gate `[B, out]`, residual and result `[B, ..., out]`.
    public func callAsFunction(
        _ x: Tensor, _ activation: Activation = .none, gate: Tensor? = nil, residual: Tensor? = nil
    ) -> Tensor {
        if let quantizedWeight {
            return x.backend.linear(
                x, weight: quantizedWeight, bias: bias, activation: activation, gate: gate, residual: residual)
        }
        let isStored = updates.isEmpty
        return x.backend.linear(
            x, weight: isStored ? weight : updatedWeight(on: x.backend), scale: isStored ? scale : 1, bias: bias,
            activation: activation, gate: gate, residual: residual)
    }

    /// Switches to 8-bit arithmetic; a weight that has no 8-bit form stays as it is.
    public mutating func quantize(on backend: any Backend) {
        quantizedWeight = backend.quantize(updatedWeight(on: backend))
    }
}

extension LowRankUpdate {
    /// `W + factor · up · down` in float32; W `[out, in]` of any floating-point type.
    public func added(to weight: Tensor, on backend: any Backend) -> Tensor {
        let scaled = backend.scale(up, by: factor, plus: 0, clampedTo: nil)
        return backend.linear(
            scaled, weight: down.permuted([1, 0]), bias: nil, activation: .none, residual: weight)
    }
}
