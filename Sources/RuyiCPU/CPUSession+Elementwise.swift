import RuyiKernelTable
import RuyiTensor

/// Elements that one task of a pointwise operation takes.
private let grain = 1 << 16

extension CPUSession {
    func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        let streams = streams(result)
        forEachRange(x.count, grain: grain) { range in
            kernels.affine(
                source.floatPointer + range.lowerBound, range.count, 1, 0, activation.function,
                result.floatPointer + range.lowerBound, streams)
        }
        return result
    }

    func exponential(_ x: Tensor) -> Tensor {
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        forEachRange(x.count, grain: grain) { range in
            kernels.exponentials(
                source.floatPointer + range.lowerBound, range.count, result.floatPointer + range.lowerBound)
        }
        return result
    }

    func gated(_ x: Tensor, _ activation: Activation) -> Tensor {
        let width = (x.shape.last ?? 0) / 2
        precondition(width * 2 == x.shape.last, "\(x.shape) does not split into a value and a gate")
        let source = dense(x)
        let result = empty(x.shape.dropLast() + [width])
        let kernels = kernels
        let rows = result.count / max(width, 1)
        let streams = streams(result)
        forEachRange(rows, grain: max(1, grain / max(width, 1))) { range in
            for row in range {
                let from = source.floatPointer + row * 2 * width
                kernels.gated(
                    from, from + width, activation.function, width, result.floatPointer + row * width, streams)
            }
        }
        return result
    }

    func combine(_ x: Tensor, _ a: Float, _ y: Tensor, _ b: Float) -> Tensor {
        if a == 1, b == 1, x.shape == y.shape {
            if let product = y.product { return compute(product, residual: x) }
            if let product = x.product { return compute(product, residual: y) }
        }
        return pairwise(x, y) { [kernels] in kernels.combine($0, a, $1, b, $2, $3, $4) }
    }

    func multiply(_ x: Tensor, rows: TokenRows) -> Tensor {
        if var product = x.product, product.gate == nil {
            product.gate = rows
            return Tensor(dtype: .f32, layout: Layout(x.shape), storage: CPUStorage(self, product))
        }
        let width = x.shape.last ?? 0
        let factors = vector(rows, width: width, "rows") ?? []
        let (source, result, runs, kernels) = (dense(x), empty(x.shape), RowRuns(rows, of: x.shape), kernels)
        forEachRange(x.count / max(width, 1), grain: max(1, grain / max(width, 1))) { range in
            withOptionalPointer(factors) { factors in
                guard let factors else { return }
                for row in range {
                    kernels.gated(
                        source.floatPointer + row * width, factors + runs.index(of: row) * width, .none, width,
                        result.floatPointer + row * width, false)
                }
            }
        }
        return result
    }

    func multiply(_ x: Tensor, _ y: Tensor) -> Tensor {
        if y.count == 1, x.count != 1 { return multiply(x, byElement: y) }
        return pairwise(x, y) { [kernels] in kernels.gated($0, $1, .none, $2, $3, $4) }
    }

    /// Every element of x times the one of y.
    private func multiply(_ x: Tensor, byElement y: Tensor) -> Tensor {
        let (source, factor, result, kernels) = (dense(x), dense(y), empty(x.shape), kernels)
        forEachRange(x.count, grain: grain) { range in
            kernels.combine(
                source.floatPointer + range.lowerBound, factor.floatPointer[0], nil, 0, range.count,
                result.floatPointer + range.lowerBound, false)
        }
        return result
    }

    /// Runs `body(x, y, count, result, streams)` over x's elements, y's repeating over x's leading axes.
    private func pairwise(
        _ x: Tensor, _ y: Tensor,
        _ body:
            @escaping @Sendable (
                UnsafePointer<Float>, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Bool
            ) -> Void
    ) -> Tensor {
        precondition(
            y.rank <= x.rank && Array(x.shape.suffix(y.rank)) == y.shape, "\(y.shape) does not repeat over \(x.shape)")
        let left = dense(x)
        let right = dense(y)
        let result = empty(x.shape)
        let period = right.count
        guard period > 0 else { return result }
        let streams = streams(result)
        forEachRange(x.count, grain: grain) { range in
            var start = range.lowerBound
            while start < range.upperBound {
                let phase = start % period
                let count = min(range.upperBound - start, period - phase)
                body(left.floatPointer + start, right.floatPointer + phase, count, result.floatPointer + start, streams)
                start += count
            }
        }
        return result
    }

    func scale(_ x: Tensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?) -> Tensor {
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        forEachRange(x.count, grain: grain) { part in
            let target = result.floatPointer + part.lowerBound
            kernels.combine(source.floatPointer + part.lowerBound, factor, nil, term, part.count, target, false)
            guard let range else { return }
            for index in 0..<part.count { target[index] = min(max(target[index], range.lowerBound), range.upperBound) }
        }
        return result
    }
}
