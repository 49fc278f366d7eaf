import RuyiKernelTable

extension CPUBackend {
    public func layerNorm(
        _ x: Tensor, weight: Tensor?, bias: Tensor?, epsilon: Float, scale: Tensor?, shift: Tensor?
    ) -> Tensor {
        let width = x.shape.last ?? 0
        let batch = x.shape.first ?? 0
        let rows = x.count / max(width, 1)
        let weights = vector(weight, count: width, "weight")
        let biases = vector(bias, count: width, "bias")
        let scales = vector(scale, count: batch * width, "scale")
        let shifts = vector(shift, count: batch * width, "shift")
        // One gain and one offset per batch item: gain = w (1 + s), offset = b (1 + s) + shift.
        let sets = scales == nil && shifts == nil ? 1 : batch
        var gains: [Float]?
        if weights != nil || scales != nil {
            gains = (0..<sets * width).map { (weights?[$0 % width] ?? 1) * (1 + (scales?[$0] ?? 0)) }
        }
        var offsets: [Float]?
        if biases != nil || shifts != nil {
            offsets = (0..<sets * width).map {
                (biases?[$0 % width] ?? 0) * (1 + (scales?[$0] ?? 0)) + (shifts?[$0] ?? 0)
            }
        }
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        let rowsPerSet = sets == 1 ? rows : rows / batch
        forEachRange(rows, grain: max(1, 32_768 / max(width, 1))) { [gains, offsets] range in
            withOptionalPointer(gains) { gain in
                withOptionalPointer(offsets) { offset in
                    for row in range {
                        let start = row / rowsPerSet * width
                        kernels.normalizeRow(
                            source.floatPointer + row * width, width, epsilon, gain.map { $0 + start },
                            offset.map { $0 + start }, result.floatPointer + row * width)
                    }
                }
            }
        }
        return result
    }

    public func headNorm(
        _ x: Tensor, heads: Int, weight: Tensor, bias: Tensor, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        let width = x.shape.last ?? 0
        let size = width / heads
        precondition(x.rank == 3 && size * heads == width, "\(x.shape) does not split into \(heads) heads")
        if let rotary {
            precondition(
                rotary.cosines.shape[1] == size, "rotary \(rotary.cosines.shape) does not fit heads of \(size)")
        }
        let gains = vector(weight, count: size, "weight")
        let offsets = vector(bias, count: size, "bias")
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        let tokens = x.shape[1]
        forEachRange(x.shape[0] * tokens, grain: max(1, 16_384 / max(width, 1))) { range in
            withOptionalPointer(gains) { gain in
                withOptionalPointer(offsets) { offset in
                    for row in range {
                        for head in 0..<heads {
                            let start = row * width + head * size
                            let target = result.floatPointer + start
                            kernels.normalizeRow(source.floatPointer + start, size, epsilon, gain, offset, target)
                            guard let rotary else { continue }
                            let position = row % tokens % rotary.cosines.shape[0] * size
                            kernels.rotateRow(
                                target, size, rotary.cosines.floatPointer + position,
                                rotary.sines.floatPointer + position)
                        }
                    }
                }
            }
        }
        return result
    }

    public func groupNorm(
        _ x: Tensor, groups: Int, weight: Tensor, bias: Tensor, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor {
        precondition(x.rank == 4 && x.shape[1] % groups == 0, "\(x.shape) does not split into \(groups) groups")
        let (frames, channels, area) = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        let perGroup = channels / groups * area
        let gains = vector(weight, count: channels, "weight") ?? []
        let offsets = vector(bias, count: channels, "bias") ?? []
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        var statistics = [(mean: Float, deviation: Float)](repeating: (0, 0), count: frames * groups)
        statistics.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let shared = Shared(base)
            pool.parallel(frames * groups) { index in
                shared.pointer[index] = kernels.moments(source.floatPointer + index * perGroup, perGroup)
            }
        }
        if !perFrame { statistics = merged(statistics, frames: frames, groups: groups, perGroup: perGroup) }
        let count = Float(perFrame ? perGroup : perGroup * frames)
        pool.parallel(frames * channels) { [statistics] index in
            let channel = index % channels
            let (mean, deviation) = statistics[index / channels * groups + channel / (channels / groups)]
            let gain = gains[channel] / (deviation / count + epsilon).squareRoot()
            kernels.affine(
                source.floatPointer + index * area, area, gain, offsets[channel] - mean * gain, activation,
                result.floatPointer + index * area)
        }
        return result
    }

    /// The statistics of all frames together, for every frame.
    private func merged(
        _ statistics: [(mean: Float, deviation: Float)], frames: Int, groups: Int, perGroup: Int
    ) -> [(mean: Float, deviation: Float)] {
        let whole = (0..<groups).map { group -> (mean: Float, deviation: Float) in
            var (mean, deviation) = (0.0, 0.0)
            for frame in 0..<frames {
                let part = statistics[frame * groups + group]
                let difference = Double(part.mean) - mean
                let seen = Double(frame)
                mean += difference / (seen + 1)
                deviation += Double(part.deviation) + difference * difference * Double(perGroup) * seen / (seen + 1)
            }
            return (Float(mean), Float(deviation))
        }
        return (0..<frames * groups).map { whole[$0 % groups] }
    }
}

/// Calls `body` with a pointer to the values, or with nil.
func withOptionalPointer<Result>(_ values: [Float]?, _ body: (UnsafePointer<Float>?) -> Result) -> Result {
    guard let values else { return body(nil) }
    return values.withUnsafeBufferPointer { body($0.baseAddress) }
}
