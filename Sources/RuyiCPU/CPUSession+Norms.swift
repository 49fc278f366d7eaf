import RuyiKernelTable
import RuyiTensor

extension CPUSession {
    func layerNorm(
        _ x: Tensor, weight: Weight?, bias: Weight?, epsilon: Float, scale: TokenRows?, shift: TokenRows?
    ) -> Tensor {
        let width = x.shape.last ?? 0
        let weights = vector(weight, count: width, "weight")
        let biases = vector(bias, count: width, "bias")
        let scales = vector(scale, width: width, "scale")
        let shifts = vector(shift, width: width, "shift")
        let rows = scale ?? shift
        precondition(
            scale == nil || shift == nil
                || scale?.values.shape == shift?.values.shape && scale?.lengths == shift?.lengths,
            "scale and shift have other runs of tokens")
        // One gain and one offset per run of tokens: gain = w (1 + s), offset = b (1 + s) + shift.
        let sets = rows?.values.shape[0] ?? 1
        let runs = RowRuns(rows, of: x.shape)
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
        let streams = streams(result)
        forEachRange(x.count / max(width, 1), grain: max(1, 32_768 / max(width, 1))) { [gains, offsets] range in
            let (from, target) = (source.floatPointer, result.floatPointer)
            withOptionalPointer(gains) { gain in
                withOptionalPointer(offsets) { offset in
                    for row in range {
                        let start = runs.index(of: row) * width
                        kernels.normalizeRow(
                            from + row * width, width, epsilon, gain.map { $0 + start }, offset.map { $0 + start },
                            target + row * width, streams)
                    }
                }
            }
        }
        return result
    }

    func headNorm(
        _ x: Tensor, heads: Int, weight: Weight, bias: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        let size = (x.shape.last ?? 0) / heads
        let gains = vector(weight, count: size, "weight")
        let offsets = vector(bias, count: size, "bias")
        return mapHeads(x, heads: heads, rotary) { kernels, from, target, streams in
            withOptionalPointer(gains) { gain in
                withOptionalPointer(offsets) { kernels.normalizeRow(from, size, epsilon, gain, $0, target, streams) }
            }
        }
    }

    func headRMSNorm(
        _ x: Tensor, heads: Int, weight: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        let size = (x.shape.last ?? 0) / heads
        let gains = vector(weight, count: size, "weight") ?? []
        return mapHeads(x, heads: heads, rotary) { kernels, from, target, streams in
            gains.withUnsafeBufferPointer { buffer in
                guard let gain = buffer.baseAddress else { return }
                kernels.rootMeanSquareRow(from, size, epsilon, gain, target, streams)
            }
        }
    }

    func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float) -> Tensor {
        let width = x.shape.last ?? 0
        let tokens = dense(x).reshaped([1, x.count / max(width, 1), width])
        return headRMSNorm(tokens, heads: 1, weight: weight, epsilon: epsilon, rotary: nil).reshaped(x.shape)
    }

    /// Applies `norm` to each head of x `[B, N, H·d]`, then the rotation.
    private func mapHeads(
        _ x: Tensor, heads: Int, _ rotary: RotaryTable?,
        _ norm: @escaping @Sendable (KernelTable, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Bool) -> Void
    ) -> Tensor {
        let width = x.shape.last ?? 0
        let size = width / heads
        precondition(x.rank == 3 && size * heads == width, "\(x.shape) does not split into \(heads) heads")
        if let rotary {
            precondition(
                rotary.cosines.shape[1] == size, "rotary \(rotary.cosines.shape) does not fit heads of \(size)")
        }
        let table = rotary.map(dense)
        let rotation = table.map(Rotation.init)
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        let tokens = x.shape[1]
        let streams = streams(result)
        forEachRange(x.shape[0] * tokens, grain: max(1, 16_384 / max(width, 1))) { range in
            let (from, target) = (source.floatPointer, result.floatPointer)
            withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { buffer in
                guard let normed = buffer.baseAddress else { return }
                for row in range {
                    for start in stride(from: row * width, to: (row + 1) * width, by: size) {
                        guard let rotation else {
                            norm(kernels, from + start, target + start, streams)
                            continue
                        }
                        norm(kernels, from + start, normed, false)
                        rotation(normed, token: row % tokens, into: target + start, streams: streams, with: kernels)
                    }
                }
            }
        }
        withExtendedLifetime(table) {}
        return result
    }

    func groupNorm(
        _ x: Tensor, groups: Int, weight: Weight, bias: Weight, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor {
        precondition(x.rank == 4 && x.shape[1] % groups == 0, "\(x.shape) does not split into \(groups) groups")
        let (frames, channels, area) = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        let perGroup = channels / groups * area
        let gains = vector(weight, count: channels, "weight") ?? []
        let offsets = vector(bias, count: channels, "bias") ?? []
        let source = dense(x)
        let result = empty(x.shape)
        let kernels = kernels
        let work = GroupNormWork(
            kernels: kernels, channelsPerGroup: channels / groups, area: area, gains: gains, offsets: offsets,
            epsilon: epsilon, activation: activation, streams: streams(result))
        // A group is read twice in a row, the second time from a cache.
        if perFrame || frames == 1 {
            parallel(frames * groups) { index in
                let from = source.floatPointer + index * perGroup
                let moments = kernels.moments(from, perGroup)
                work.normalize(
                    from, group: index % groups, (moments.mean, moments.deviation / Float(perGroup)),
                    into: result.floatPointer + index * perGroup)
            }
            return result
        }
        let statistics = statistics([source], groups: groups)
        parallel(frames * groups) { index in
            work.normalize(
                source.floatPointer + index * perGroup, group: index % groups, statistics[index % groups],
                into: result.floatPointer + index * perGroup)
        }
        return result
    }

    func groupStatistics(_ parts: [Tensor], groups: Int) -> Tensor {
        for part in parts {
            precondition(
                part.rank == 4 && part.shape[1] % groups == 0 && part.shape.dropFirst() == parts[0].shape.dropFirst(),
                "\(part.shape) is no part of a video that splits into \(groups) groups")
        }
        let values = statistics(parts.map(dense), groups: groups).flatMap { [$0.mean, $0.variance] }
        return upload(HostTensor(values, [groups, 2]))
    }

    func groupNorm(
        _ x: Tensor, statistics: Tensor, weight: Weight, bias: Weight, epsilon: Float, activation: Activation
    ) -> Tensor {
        let groups = statistics.shape[0]
        precondition(
            x.rank == 4 && x.shape[1] % groups == 0 && statistics.shape == [groups, 2],
            "statistics \(statistics.shape) do not fit \(x.shape)")
        let (channels, area) = (x.shape[1], x.shape[2] * x.shape[3])
        let perGroup = channels / groups * area
        let (source, result) = (dense(x), empty(x.shape))
        let work = GroupNormWork(
            kernels: kernels, channelsPerGroup: channels / groups, area: area,
            gains: vector(weight, count: channels, "weight") ?? [],
            offsets: vector(bias, count: channels, "bias") ?? [], epsilon: epsilon, activation: activation,
            streams: streams(result))
        let values = floats(statistics)
        parallel(x.shape[0] * groups) { index in
            let group = index % groups
            work.normalize(
                source.floatPointer + index * perGroup, group: group, (values[2 * group], values[2 * group + 1]),
                into: result.floatPointer + index * perGroup)
        }
        return result
    }

    /// The statistics of each group over all frames of contiguous parts together.
    private func statistics(_ parts: [Tensor], groups: Int) -> [(mean: Float, variance: Float)] {
        let perGroup = parts[0].count / max(parts[0].shape[0] * groups, 1)
        var moments: [(mean: Float, deviation: Float)] = []
        for part in parts {
            let count = part.shape[0] * groups
            var found = [(mean: Float, deviation: Float)](repeating: (0, 0), count: count)
            found.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                let shared = Shared(base)
                parallel(count) { index in
                    shared.pointer[index] = kernels.moments(part.floatPointer + index * perGroup, perGroup)
                }
            }
            moments += found
        }
        return (0..<groups).map { group in
            var (mean, deviation, seen) = (0.0, 0.0, 0.0)
            for index in stride(from: group, to: moments.count, by: groups) {
                let difference = Double(moments[index].mean) - mean
                mean += difference / (seen + 1)
                deviation +=
                    Double(moments[index].deviation) + difference * difference * Double(perGroup) * seen / (seen + 1)
                seen += 1
            }
            return (Float(mean), Float(deviation) / Float(perGroup * moments.count / groups))
        }
    }
}

/// The second half of a group norm.
private struct GroupNormWork: Sendable {
    let kernels: KernelTable
    let channelsPerGroup: Int
    let area: Int
    let gains: [Float]
    let offsets: [Float]
    let epsilon: Float
    let activation: Activation
    let streams: Bool

    /// Normalises one frame of a group.
    func normalize(
        _ x: UnsafePointer<Float>, group: Int, _ statistics: (mean: Float, variance: Float),
        into y: UnsafeMutablePointer<Float>
    ) {
        for index in 0..<channelsPerGroup {
            let channel = group * channelsPerGroup + index
            let gain = gains[channel] / (statistics.variance + epsilon).squareRoot()
            kernels.affine(
                x + index * area, area, gain, offsets[channel] - statistics.mean * gain, activation.function,
                y + index * area,
                streams)
        }
        kernels.endStreams()
    }
}

/// Calls `body` with a pointer to the values, or with nil.
func withOptionalPointer<Result>(_ values: [Float]?, _ body: (UnsafePointer<Float>?) -> Result) -> Result {
    guard let values else { return body(nil) }
    return values.withUnsafeBufferPointer { body($0.baseAddress) }
}
