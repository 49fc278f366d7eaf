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
        case (.passing, .passing): return 1
        default: return nil
        }
    }
}

extension CPUBackend {
    /// How much of a kind of work is done in a second, from the faster of two runs of about `amount`, after one that
    /// warms up.
    public func speed(of work: Work, amount: Double) -> Double {
        func filled(_ shape: [Int]) -> Tensor { scale(empty(shape), by: 0, plus: 0.01, clampedTo: -1...1) }
        func count(_ size: Double, _ range: ClosedRange<Int>) -> Int {
            Int(min(max(size, Double(range.lowerBound)), Double(range.upperBound)))
        }
        let run: () -> Tensor
        let done: Double
        switch work {
        case .product(let inputs, let outputs):
            let (x, weight) = (filled([rows(amount, inputs, outputs), inputs]), filled([outputs, inputs]))
            done = 2 * Double(x.count) * Double(outputs)
            run = { self.linear(x, weight: weight, bias: nil, activation: .none, residual: nil) }
        case .integerProduct(let inputs, let outputs):
            let x = filled([rows(amount, inputs, outputs), inputs])
            guard let weight = quantize(filled([outputs, inputs])) else { return 1e9 }
            done = 2 * Double(x.count) * Double(outputs)
            run = { self.linear(x, weight: weight, bias: nil, activation: .none, residual: nil) }
        case .attention(let size):
            let tokens = count((amount / Double(8 * size)).squareRoot(), 64...2048)
            let x = filled([1, tokens, 2 * size])
            done = 8 * Double(tokens) * Double(tokens) * Double(size)
            run = { self.attention(x, x, x, heads: 2, scale: 1) }
        case .convolution(let inputs, let outputs, let frames, let side, let stride):
            let perPlace = 2 * Double(frames * side * side * inputs * outputs)
            let length = count((amount / perPlace).squareRoot(), 32...192) * stride
            let timeline = (0..<frames).map { _ in Tensor?(filled([inputs, length, length])) }
            let weight = filled([outputs, inputs, frames, side, side])
            let padding = SpatialPadding(before: stride == 1 ? side / 2 : 0, after: stride == 1 ? side / 2 : 1)
            done = perPlace * Double(length / stride * (length / stride))
            run = {
                self.convolution(
                    timeline, weight: weight, bias: nil,
                    stride: ConvolutionStride(1, stride, stride), padding: padding, residual: nil)
            }
        case .passing:
            // As norms do, which most of it are: read twice, written once.
            let x = filled([1, 32, 256, 128])
            let weight = filled([32])
            done = Double(x.byteCount)
            run = {
                self.groupNorm(
                    x, groups: 32, weight: weight, bias: weight, epsilon: 1e-6, perFrame: true, activation: .silu)
            }
        }
        _ = run()
        let times = (0..<2).map { _ in
            let start = ContinuousClock.now
            _ = run()
            return (ContinuousClock.now - start) / .seconds(1)
        }
        return done / max(times.min() ?? 0, 1e-9)
    }

    private func rows(_ amount: Double, _ inputs: Int, _ outputs: Int) -> Int {
        Int(min(max(amount / (2 * Double(inputs) * Double(outputs)), 16), 1024))
    }
}
