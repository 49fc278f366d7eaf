import RuyiTensor

/// What the kernel `map` does with an element.
private enum Map: UInt32 {
    case fill, activate, exponential, scale, combine, multiply, multiplyRows, gated, clamp
}

extension GPUSession {
    private func map(
        _ operation: Map, _ x: Tensor?, _ y: Tensor? = nil, into result: Tensor, function: Activation = .none,
        period: Int = 1, width: Int = 1, runs: (length: Int, count: Int, ends: GPUMemory.Block?) = (1, 1, nil),
        stride: Int = 0, _ a: Float = 0, _ b: Float = 0, least: Float = 0, most: Float = 0
    ) {
        withExtendedLifetime((x, y, runs.ends)) {
            run(
                Kernel("map", operation.rawValue, function.function),
                [
                    place(x), place(y), place(result), .place(runs.ends?.memory?.address ?? 0), .integer(result.count),
                    .integer(max(period, 1)), .integer(max(width, 1)), .integer(runs.length), .integer(runs.count),
                    .integer(stride), .number(a), .number(b), .number(least), .number(most),
                ], invocations: result.count)
        }
    }

    func filled(_ shape: [Int], _ value: Float) -> Tensor {
        let result = empty(shape)
        map(.fill, nil, into: result, value)
        return result
    }

    func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        let (source, result) = (dense(x), empty(x.shape))
        map(.activate, source, into: result, function: activation)
        return result
    }

    func exponential(_ x: Tensor) -> Tensor {
        let (source, result) = (dense(x), empty(x.shape))
        map(.exponential, source, into: result)
        return result
    }

    func gated(_ x: Tensor, _ activation: Activation) -> Tensor {
        let width = (x.shape.last ?? 0) / 2
        precondition(width * 2 == x.shape.last, "\(x.shape) does not split into a value and a gate")
        let (source, result) = (dense(x), empty(x.shape.dropLast() + [width]))
        map(.gated, source, into: result, function: activation, width: width)
        return result
    }

    func combine(_ x: Tensor, _ a: Float, _ y: Tensor, _ b: Float) -> Tensor {
        if a == 1, b == 1, x.shape == y.shape {
            if let product = y.product { return compute(product, residual: x) }
            if let product = x.product { return compute(product, residual: y) }
        }
        return pairwise(.combine, x, y, a, b)
    }

    func multiply(_ x: Tensor, _ y: Tensor) -> Tensor {
        if y.count == 1, x.count != 1 { return pairwise(.multiply, x, y.reshaped([1])) }
        return pairwise(.multiply, x, y)
    }

    private func pairwise(_ operation: Map, _ x: Tensor, _ y: Tensor, _ a: Float = 0, _ b: Float = 0) -> Tensor {
        precondition(
            y.count == 1 || y.rank <= x.rank && Array(x.shape.suffix(y.rank)) == y.shape,
            "\(y.shape) does not repeat over \(x.shape)")
        let (left, right, result) = (dense(x), dense(y), empty(x.shape))
        map(operation, left, right, into: result, period: right.count, a, b)
        return result
    }

    func multiply(_ x: Tensor, rows: TokenRows) -> Tensor {
        if var product = x.product, product.gate == nil {
            product.gate = rows
            return Tensor(dtype: .f32, layout: Layout(x.shape), storage: GPUStorage(self, product))
        }
        let width = x.shape.last ?? 0
        guard let factors = self.rows(rows, width: width, "rows") else { return x }
        let (source, result) = (dense(x), empty(x.shape))
        map(
            .multiplyRows, source, factors.tensor, into: result, width: width, runs: runs(rows, of: x.shape),
            stride: factors.stride)
        return result
    }

    func scale(_ x: Tensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?) -> Tensor {
        let (source, result) = (dense(x), empty(x.shape))
        map(
            range == nil ? .scale : .clamp, source, into: result, factor, term, least: range?.lowerBound ?? 0,
            most: range?.upperBound ?? 0)
        return result
    }

    // MARK: Statistics

    func meanMagnitude(_ x: Tensor, minus y: Tensor?) -> Tensor {
        if let y { precondition(y.shape == x.shape, "\(y.shape) cannot be taken from \(x.shape)") }
        return mean(dense(x), minus: y.map(dense), kind: y == nil ? 1 : 2, of: x.count)
    }

    /// The mean over `count` of what the kernel `reduce` makes of every element.
    func mean(_ x: Tensor, minus y: Tensor?, kind: UInt32, of count: Int) -> Tensor {
        // Sums of sums, so that none has many terms.
        let part = max(4096, (x.count + 65_534) / 65_535)
        let groups = max(1, (x.count + part - 1) / part)
        let (sums, result) = (empty([groups]), empty([1]))
        withExtendedLifetime((x, y)) {
            run(
                Kernel("reduce", kind),
                [place(x), place(y), place(sums), .integer(x.count), .integer(part), .number(1)],
                groups: (groups, 1, 1), operations: Double(4 * x.count))
        }
        run(
            Kernel("reduce", 0),
            [place(sums), .place(0), place(result), .integer(groups), .integer(groups), .number(1 / Float(count))],
            groups: (1, 1, 1), operations: Double(4 * groups))
        return result
    }

    func crossFrameAttention(_ q: Tensor, _ k: Tensor, frames: Int, heads: Int, scale: Float) -> Tensor {
        precondition(
            q.rank == 3 && k.shape == q.shape && frames > 1 && q.shape[1] % frames == 0 && q.shape[2] % heads == 0,
            "attention over \(frames) frames of q \(q.shape), k \(k.shape) with \(heads) heads")
        let (batch, places, size) = (q.shape[0], q.shape[1] / frames, q.shape[2] / heads)
        let (q, k) = (dense(q), dense(k))
        let weights = empty([batch * frames * places * heads])
        withExtendedLifetime((q, k)) {
            run(
                Kernel("crossframe"),
                [
                    place(q), place(k), place(weights), .integer(weights.count), .integer(frames), .integer(places),
                    .integer(heads), .integer(size), .number(scale),
                ], invocations: weights.count, operations: Double(4 * weights.count * frames * size))
        }
        return mean(weights, minus: nil, kind: 0, of: batch * places * heads * frames * (frames - 1))
    }
}
