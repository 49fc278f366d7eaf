/// Kinds of work whose speed is measured by itself; the amounts are operations, or bytes where only memory is passed.
public enum Work: Hashable, Sendable {
    /// A matrix product over `inputs` values with `outputs` columns.
    case product(inputs: Int, outputs: Int)
    /// The same with both operands in 8 bits.
    case integerProduct(inputs: Int, outputs: Int)
    /// Attention with heads of `size`.
    case attention(size: Int)
    /// A convolution over `frames` frames with square kernels.
    case convolution(inputs: Int, outputs: Int, frames: Int, side: Int, stride: Int)
    /// A convolution with kernels of 3 x 3 over frames that are doubled in space.
    case doublingConvolution(inputs: Int, outputs: Int, frames: Int)
    /// Everything else, by the bytes that it writes.
    case passing

    /// How far another work's speed may be from this one's; nil for one of another kind.
    public func distance(to other: Work) -> Double? {
        func ratio(_ a: Int, _ b: Int) -> Double { Double(max(a, b)) / Double(max(min(a, b), 1)) }
        switch (self, other) {
        case (.product(let a, let b), .product(let c, let d)),
            (.integerProduct(let a, let b), .integerProduct(let c, let d)):
            return ratio(a * b, c * d)
        case (.attention(let a), .attention(let b)): return ratio(a, b)
        case (.convolution(let a, let b, _, let s, let t), .convolution(let c, let d, _, let u, let v)):
            return ratio(a * b, c * d) * (s == u && t == v ? 1 : 4)
        case (.doublingConvolution(let a, let b, _), .doublingConvolution(let c, let d, _)): return ratio(a * b, c * d)
        case (.passing, .passing): return 1
        default: return nil
        }
    }
}

extension Session {
    /// How much of a kind of work is done in a second, from the faster of two runs of about `amount`, after one that
    /// warms up.
    public func speed(of work: Work, amount: Double) -> Double {
        let (run, done) = trial(of: work, amount: amount)
        func finish() { _ = read(run().view(Layout([1]))) }
        finish()
        let times = (0..<2).map { _ in
            let start = ContinuousClock.now
            finish()
            return (ContinuousClock.now - start) / .seconds(1)
        }
        return done / max(times.min() ?? 0, 1e-9)
    }

    /// A piece of work of about `amount`, and how much it is.
    private func trial(of work: Work, amount: Double) -> (run: () -> Tensor, done: Double) {
        func values(_ shape: [Int]) -> Tensor { filled(shape, 0.01) }
        func weight(_ shape: [Int]) -> Weight {
            backend.weight(.zeros(shape), in: ResidencyUnit())
        }
        func count(_ size: Double, _ range: ClosedRange<Int>) -> Int {
            Int(min(max(size, Double(range.lowerBound)), Double(range.upperBound)))
        }
        switch work {
        case .product(let inputs, let outputs):
            let x = values([rows(amount, inputs, outputs), inputs])
            let projection = Projection(.computed(values([outputs, inputs])))
            return ({ self.linear(x, projection) }, 2 * Double(x.count) * Double(outputs))
        case .integerProduct(let inputs, let outputs):
            let x = values([rows(amount, inputs, outputs), inputs])
            let matrix = Projection(.computed(values([outputs, inputs])))
            guard let weight = quantized(matrix, in: ResidencyUnit()) else { return ({ x }, 1e9) }
            return ({ self.linear(x, Projection(weight)) }, 2 * Double(x.count) * Double(outputs))
        case .attention(let size):
            let tokens = count((amount / Double(8 * size)).squareRoot(), 64...2048)
            let x = values([1, tokens, 2 * size])
            return (
                { self.attention(x, x, x, heads: 2, scale: 1) }, 8 * Double(tokens) * Double(tokens) * Double(size)
            )
        case .convolution(let inputs, let outputs, let frames, let side, let stride):
            let perPlace = 2 * Double(frames * side * side * inputs * outputs)
            let length = count((amount / perPlace).squareRoot(), 32...192) * stride
            let timeline = (0..<frames).map { _ in Tensor?(values([inputs, length, length])) }
            let weight = weight([outputs, inputs, frames, side, side])
            let padding = SpatialPadding(before: stride == 1 ? side / 2 : 0, after: stride == 1 ? side / 2 : 1)
            return (
                {
                    self.convolution(
                        timeline, weight: weight, bias: nil, stride: ConvolutionStride(1, stride, stride),
                        padding: padding, residual: nil)
                }, perPlace * Double(length / stride * (length / stride))
            )
        case .doublingConvolution(let inputs, let outputs, let frames):
            let perPlace = 8 * 9 * Double(frames * inputs * outputs)
            let length = count((amount / perPlace).squareRoot(), 16...96)
            let timeline = (0..<frames).map { _ in Tensor?(values([inputs, length, length])) }
            let weight = weight([outputs, inputs, frames, 3, 3])
            return (
                { self.convolutionDoubled(timeline, weight: weight, bias: nil, border: .zeros) },
                perPlace * Double(length * length)
            )
        case .passing:
            // As norms do, which most of it are: read twice, written once.
            let (x, weight) = (values([1, 32, 256, 128]), weight([32]))
            return (
                {
                    self.groupNorm(
                        x, groups: 32, weight: weight, bias: weight, epsilon: 1e-6, perFrame: true, activation: .silu)
                }, Double(x.byteCount)
            )
        }
    }

    private func rows(_ amount: Double, _ inputs: Int, _ outputs: Int) -> Int {
        Int(min(max(amount / (2 * Double(inputs) * Double(outputs)), 16), 1024))
    }
}
