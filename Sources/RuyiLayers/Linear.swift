import RuyiFiles
import RuyiTensor

/// `y = x Wᵀ + b` over the last axis.
public struct Linear: Sendable {
    /// `[out, in]`, in the type in which it is stored.
    public let weight: Weight
    /// What the stored values of the weight are multiplied by.
    public let scale: WeightScale
    /// `[out]`.
    public let bias: Weight?
    /// What adapters make of the weight, one after the other.
    public let updates: [WeightUpdate<Weight>]
    /// The weight in 8 bits, which products then use in its place.
    private var quantizedWeight: Weight?

    /// Takes `weight` `[output, input]` and, if the layer has one, `bias` `[output]`.
    public init(_ scope: WeightScope, _ input: Int, _ output: Int, bias: Bool = true) {
        (weight, scale) = scope.takeScaled("weight", [output, input])
        self.bias = bias ? scope.take("bias", [output]) : nil
        updates = scope.updates(of: "weight")
    }

    /// Takes `weight` `[output] + kernel` and `bias` `[output]` of a convolution whose patches do not overlap: x holds the
    /// numbers of one patch in the order of the kernel.
    public init(_ scope: WeightScope, kernel: [Int], _ output: Int) {
        (weight, scale) = scope.takeScaled("weight", [output] + kernel)
        bias = scope.take("bias", [output])
        updates = scope.updates(of: "weight")
    }

    /// Wraps weights that were taken elsewhere, such as a part of a packed projection; more axes flatten to the inputs.
    public init(weight: Weight, bias: Weight?) {
        self.weight = weight
        scale = .none
        self.bias = bias
        updates = []
    }

    /// Whether products are computed in 8 bits.
    public var isQuantized: Bool { quantizedWeight != nil }

    /// The weight with its scale and its updates, `[out, in]`.
    ///
    /// It is made anew each time: next to a product over thousands of tokens that costs little, and a second copy of
    /// all weights is never there.
    public func updatedWeight(on session: any Session) -> Tensor {
        let stored = session.tensor(weight).reshaped([weight.shape[0], weight.count / max(weight.shape[0], 1)])
        return updates.reduce(stored.scaled(by: scale)) { $1.applied(to: $0) }
    }

    /// What products multiply by and add.
    public func projection(on session: any Session) -> Projection {
        if let quantizedWeight { return Projection(quantizedWeight, bias: bias) }
        if updates.isEmpty { return Projection(.stored(weight), scale: scale, bias: bias) }
        return Projection(.computed(updatedWeight(on: session)), bias: bias)
    }

    /// What products with some of the outputs each multiply by and add; nil where the weight is in 8 bits, as a whole.
    public func projections(_ ranges: [Range<Int>], on session: any Session) -> [Projection]? {
        if isQuantized { return nil }
        let matrix = updates.isEmpty ? nil : updatedWeight(on: session)
        return ranges.map { rows in
            let bias = bias?.sliced(0, rows)
            if let matrix { return Projection(.computed(matrix.sliced(0, rows)), bias: bias) }
            return Projection(.stored(weight.sliced(0, rows)), scale: scale.rows(rows), bias: bias)
        }
    }

    /// `activation(x Wᵀ + b)`; x `[B, ..., in]`, result `[B, ..., out]`.
    public func callAsFunction(_ x: Tensor, _ activation: Activation = .none) -> Tensor {
        x.session.linear(x, projection(on: x.session), activation)
    }

    /// Switches to 8-bit arithmetic; a weight that has no 8-bit form stays as it is.
    public mutating func quantize(on session: any Session) {
        // Integers with a scale for each row are taken as they are.
        let isWhole = weight.dtype == .i8 ? scale.perRow(weight.shape[0]) != nil : scale == .none
        let matrix =
            updates.isEmpty && isWhole
            ? Projection(.stored(weight), scale: scale) : Projection(.computed(updatedWeight(on: session)))
        quantizedWeight = session.quantized(matrix, in: weight.unit)
    }
}

extension Tensor {
    /// The numbers of a stored matrix `[N, K]` times their scale.
    fileprivate func scaled(by scale: WeightScale) -> Tensor {
        switch scale {
        case .number(let factor): return factor == 1 ? self : factor * self
        case .blocks(let blocks):
            if session.isMeasuring { return self * session.empty(shape) }
            var factors: [Float] = []
            factors.reserveCapacity(count)
            for row in 0..<shape[0] { for column in 0..<shape[1] { factors.append(blocks[row, column]) } }
            return self * session.upload(HostTensor(factors, shape))
        }
    }
}
