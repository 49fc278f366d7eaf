import RuyiTensor

extension GPUSession {
    func layerNorm(
        _ x: Tensor, weight: Weight?, bias: Weight?, epsilon: Float, scale: TokenRows?, shift: TokenRows?
    ) -> Tensor {
        precondition(
            scale == nil || shift == nil
                || scale?.values.shape == shift?.values.shape && scale?.lengths == shift?.lengths,
            "scale and shift have other runs of tokens")
        let width = x.shape.last ?? 0
        return norm(
            x, width: width, isRMS: false, vector(weight, count: width, "weight"), vector(bias, count: width, "bias"),
            epsilon, rows(scale, width: width, "scale"), rows(shift, width: width, "shift"),
            scale != nil || shift != nil ? runs(scale ?? shift, of: x.shape) : (1, 1, nil),
            has: (weight != nil ? 1 : 0) | (bias != nil ? 2 : 0))
    }

    func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float) -> Tensor {
        let width = x.shape.last ?? 0
        return norm(x, width: width, isRMS: true, vector(weight, count: width, "weight"), nil, epsilon, has: 1)
    }

    func headNorm(
        _ x: Tensor, heads: Int, weight: Weight, bias: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        let size = headSize(x, heads, rotary)
        let normed = norm(
            x, width: size, isRMS: false, vector(weight, count: size, "weight"), vector(bias, count: size, "bias"),
            epsilon, has: 3)
        return rotary.map { rotated(normed, size: size, $0) } ?? normed
    }

    func headRMSNorm(
        _ x: Tensor, heads: Int, weight: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        let size = headSize(x, heads, rotary)
        let normed = norm(x, width: size, isRMS: true, vector(weight, count: size, "weight"), nil, epsilon, has: 1)
        return rotary.map { rotated(normed, size: size, $0) } ?? normed
    }

    private func headSize(_ x: Tensor, _ heads: Int, _ rotary: RotaryTable?) -> Int {
        let size = (x.shape.last ?? 0) / heads
        precondition(x.rank == 3 && size * heads == x.shape[2], "\(x.shape) does not split into \(heads) heads")
        if let rotary {
            precondition(
                rotary.cosines.shape[1] == size, "rotary \(rotary.cosines.shape) does not fit heads of \(size)")
        }
        return size
    }

    /// The norm of runs of `width` numbers; `has` says which vectors there are: 1 the weight, 2 the bias.
    private func norm(
        _ x: Tensor, width: Int, isRMS: Bool, _ weight: GPUDevice.Block?, _ bias: GPUDevice.Block?, _ epsilon: Float,
        _ scale: (tensor: Tensor, stride: Int)? = nil, _ shift: (tensor: Tensor, stride: Int)? = nil,
        _ runs: (length: Int, count: Int, ends: GPUMemory.Block?) = (1, 1, nil), has: Int
    ) -> Tensor {
        let (source, result) = (dense(x), empty(x.shape))
        let rows = x.count / max(width, 1)
        let lanes = width <= 512 ? 32 : 256
        withExtendedLifetime((source, weight, bias, scale?.tensor, shift?.tensor, runs.ends)) {
            run(
                Kernel("norm", UInt32(lanes), isRMS ? 1 : 0),
                [
                    place(source), place(result), .place(weight?.address ?? 0), .place(bias?.address ?? 0),
                    place(scale?.tensor), place(shift?.tensor), .place(runs.ends?.memory?.address ?? 0), .integer(rows),
                    .integer(width), .integer(scale?.stride ?? 0), .integer(shift?.stride ?? 0), .integer(runs.length),
                    .integer(runs.count), .integer(has | (scale != nil ? 4 : 0) | (shift != nil ? 8 : 0)),
                    .number(epsilon),
                ], groups: folded(rows), operations: Double(8 * x.count))
        }
        return result
    }

    /// The pairs of every head of x `[B, N, H·d]` turned by a table.
    func rotated(_ x: Tensor, size: Int, _ rotary: RotaryTable) -> Tensor {
        let (source, result) = (dense(x), empty(x.shape))
        let (cosines, sines) = (dense(rotary.cosines), dense(rotary.sines))
        let partners = words(rotary.pairing.partners(size))
        withExtendedLifetime((source, cosines, sines, partners)) {
            run(
                Kernel("rotate"),
                [
                    place(source), place(result), place(cosines), place(sines),
                    .place(partners.memory?.address ?? 0), .integer(x.count), .integer(x.shape[1]),
                    .integer(x.shape[2]), .integer(size), .integer(cosines.shape[0]),
                ], invocations: x.count)
        }
        return result
    }

    // MARK: Groups

    func groupNorm(
        _ x: Tensor, groups: Int, weight: Weight, bias: Weight, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor {
        precondition(x.rank == 4 && x.shape[1] % groups == 0, "\(x.shape) does not split into \(groups) groups")
        let source = dense(x)
        let (frames, area) = (x.shape[0], x.shape[2] * x.shape[3])
        let isPerFrame = perFrame || frames == 1
        let moments = empty([frames * groups, 2])
        note(moments, of: source, groups: groups, at: 0)
        let length = x.shape[1] / groups * area
        let statistics =
            isPerFrame
            ? merged(moments, groups: frames * groups, length: length) : merged(moments, groups: groups, length: length)
        return normed(
            source, statistics, groups: groups, frameGroups: isPerFrame ? groups : 0, weight, bias, epsilon, activation)
    }

    func groupStatistics(_ parts: [Tensor], groups: Int) -> Tensor {
        for part in parts {
            precondition(
                part.rank == 4 && part.shape[1] % groups == 0 && part.shape.dropFirst() == parts[0].shape.dropFirst(),
                "\(part.shape) is no part of a video that splits into \(groups) groups")
        }
        let moments = empty([parts.reduce(0) { $0 + $1.shape[0] } * groups, 2])
        var start = 0
        for part in parts {
            note(moments, of: dense(part), groups: groups, at: start)
            start += part.shape[0] * groups
        }
        let shape = parts[0].shape
        return merged(moments, groups: groups, length: shape[1] / groups * shape[2] * shape[3])
    }

    func groupNorm(
        _ x: Tensor, statistics: Tensor, weight: Weight, bias: Weight, epsilon: Float, activation: Activation
    ) -> Tensor {
        let groups = statistics.shape[0]
        precondition(
            x.rank == 4 && x.shape[1] % groups == 0 && statistics.shape == [groups, 2],
            "statistics \(statistics.shape) do not fit \(x.shape)")
        return normed(
            dense(x), dense(statistics), groups: groups, frameGroups: 0, weight, bias, epsilon, activation)
    }

    /// Writes mean and squared deviations of every group of every frame, from a run on.
    private func note(_ moments: Tensor, of x: Tensor, groups: Int, at start: Int) {
        let runs = x.shape[0] * groups
        let part = moments.sliced(0, start..<start + runs)
        withExtendedLifetime(x) {
            run(
                Kernel("moments"), [place(x), place(part), .integer(runs), .integer(x.count / max(runs, 1))],
                groups: folded(runs), operations: Double(8 * x.count))
        }
    }

    private func merged(_ moments: Tensor, groups: Int, length: Int) -> Tensor {
        let result = empty([groups, 2])
        withExtendedLifetime(moments) {
            run(
                Kernel("merge"),
                [place(moments), place(result), .integer(moments.shape[0]), .integer(groups), .integer(length)],
                invocations: groups, operations: Double(8 * moments.count))
        }
        return result
    }

    private func normed(
        _ x: Tensor, _ statistics: Tensor, groups: Int, frameGroups: Int, _ weight: Weight, _ bias: Weight,
        _ epsilon: Float, _ activation: Activation
    ) -> Tensor {
        let channels = x.shape[1]
        let result = empty(x.shape)
        let (gains, offsets) = (
            vector(weight, count: channels, "weight"), vector(bias, count: channels, "bias")
        )
        withExtendedLifetime((x, statistics, gains, offsets)) {
            run(
                Kernel("group", activation.function),
                [
                    place(x), place(result), place(statistics), .place(gains?.address ?? 0),
                    .place(offsets?.address ?? 0), .integer(x.count), .integer(x.shape[2] * x.shape[3]),
                    .integer(channels), .integer(channels / groups), .integer(frameGroups), .number(epsilon),
                ], invocations: x.count, operations: Double(8 * x.count))
        }
        return result
    }
}

extension RotaryTable.Pairing {
    /// For each place of a head twice its partner's place, and one more where the partner counts negative.
    fileprivate func partners(_ size: Int) -> [UInt32] {
        let parts: [Int] =
            switch self {
            case .neighbours: Array(repeating: 2, count: size / 2)
            case .halves: [size]
            case .halvesOfParts(let parts): parts
            }
        var start = 0
        return parts.flatMap { part -> [UInt32] in
            defer { start += part }
            return (0..<part).map { place in
                place < part / 2 ? UInt32(2 * (start + place + part / 2) + 1) : UInt32(2 * (start + place - part / 2))
            }
        }
    }
}
