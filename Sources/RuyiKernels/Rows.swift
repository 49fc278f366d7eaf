import CKernelIntrinsics
import RuyiKernelTable

func finishRow(
    _ x: UnsafeMutablePointer<Float>, _ count: Int, _ bias: UnsafePointer<Float>?, _ activation: Function,
    _ gate: UnsafePointer<Float>?, _ residual: UnsafePointer<Float>?
) {
    finish(count, bias, activation, gate, residual, x, false) { index, valid in load(x, index, valid) }
}

func finishIntegerRow(
    _ sums: UnsafePointer<Int32>, _ count: Int, _ columnScales: UnsafePointer<Float>, _ rowScale: Float,
    _ bias: UnsafePointer<Float>?, _ activation: Function, _ gate: UnsafePointer<Float>?,
    _ residual: UnsafePointer<Float>?, _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    let factor = Vector(repeating: rowScale)
    @inline(__always) func value(_ index: Int, _ valid: Int) -> Vector {
        var lanes = SignedBits.zero
        if valid == SignedBits.scalarCount {
            lanes = UnsafeRawPointer(sums + index).loadUnaligned(as: SignedBits.self)
        } else {
            for lane in 0..<valid { lanes[lane] = sums[index + lane] }
        }
        return kernel_floats(lanes) * load(columnScales, index, valid) * factor
    }
    finish(count, bias, activation, gate, residual, y, streams, value)
}

/// Writes `residual + gate · activation(value + bias)` over one row of values.
@inline(__always)
func finish(
    _ count: Int, _ bias: UnsafePointer<Float>?, _ activation: Function, _ gate: UnsafePointer<Float>?,
    _ residual: UnsafePointer<Float>?, _ target: UnsafeMutablePointer<Float>, _ streams: Bool,
    _ value: (_ index: Int, _ valid: Int) -> Vector
) {
    @inline(__always) func finish<F: PointwiseFunction>(_ function: F.Type) {
        forEachVector(count, target, streams) { index, valid in
            var value = value(index, valid)
            if let bias { value += load(bias, index, valid) }
            value = F.of(value)
            if let gate { value *= load(gate, index, valid) }
            if let residual { value += load(residual, index, valid) }
            return value
        }
    }
    switch activation {
    case .none: finish(Identity.self)
    case .silu: finish(SiLU.self)
    case .quickGelu: finish(QuickGELU.self)
    case .geluTanh: finish(TanhGELU.self)
    case .gelu: finish(GELU.self)
    }
}

/// Mean and sum of squared deviations in two passes; sums of long rows are taken over blocks and merged, so the
/// error does not grow with the length.
func moments(_ x: UnsafePointer<Float>, _ count: Int) -> (mean: Float, deviation: Float) {
    let blockLength = 1024
    if count <= blockLength { return blockMoments(x, count) }
    var mean = 0.0
    var deviation = 0.0
    var seen = 0.0
    var start = 0
    while start < count {
        let length = min(blockLength, count - start)
        let (blockMean, blockDeviation) = blockMoments(x + start, length)
        let n = Double(length)
        let difference = Double(blockMean) - mean
        let sum = seen + n
        mean += difference * n / sum
        deviation += Double(blockDeviation) + difference * difference * seen * n / sum
        seen = sum
        start += length
    }
    return (Float(mean), Float(deviation))
}

@inline(__always)
private func blockMoments(_ x: UnsafePointer<Float>, _ count: Int) -> (mean: Float, deviation: Float) {
    var sum0 = Vector.zero
    var sum1 = Vector.zero
    var sum2 = Vector.zero
    var sum3 = Vector.zero
    var index = 0
    while index + 4 * lanes <= count {
        sum0 += x.vector(index)
        sum1 += x.vector(index + lanes)
        sum2 += x.vector(index + 2 * lanes)
        sum3 += x.vector(index + 3 * lanes)
        index += 4 * lanes
    }
    while index < count {
        sum0 += load(x, index, min(lanes, count - index))
        index += lanes
    }
    let mean = total((sum0 + sum1) + (sum2 + sum3)) / Float(count)
    let center = Vector(repeating: mean)
    var square0 = Vector.zero
    var square1 = Vector.zero
    var error0 = Vector.zero
    var error1 = Vector.zero
    index = 0
    while index + 2 * lanes <= count {
        let d0 = x.vector(index) - center
        let d1 = x.vector(index + lanes) - center
        square0 = square0.adding(d0, times: d0)
        square1 = square1.adding(d1, times: d1)
        error0 += d0
        error1 += d1
        index += 2 * lanes
    }
    while index < count {
        let valid = min(lanes, count - index)
        let d = load(x, index, valid, orElse: mean) - center
        square0 = square0.adding(d, times: d)
        error0 += d
        index += lanes
    }
    let square = total(square0 + square1)
    let error = total(error0 + error1)
    // What rounding left between the mean and the values is taken out again.
    let correction = error / Float(count)
    return (mean + correction, max(0, square - error * correction))
}

func normalizeRow(
    _ x: UnsafePointer<Float>, _ count: Int, _ epsilon: Float, _ gain: UnsafePointer<Float>?,
    _ offset: UnsafePointer<Float>?, _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    let (mean, deviation) = moments(x, count)
    let scale = 1 / (deviation / Float(count) + epsilon).squareRoot()
    let center = Vector(repeating: mean)
    let factor = Vector(repeating: scale)
    if let gain, let offset {
        forEachVector(count, y, streams) { index, valid in
            let normed = (load(x, index, valid) - center) * factor
            return load(offset, index, valid).adding(normed, times: load(gain, index, valid))
        }
        return
    }
    forEachVector(count, y, streams) { index, valid in
        var value = (load(x, index, valid) - center) * factor
        if let gain { value *= load(gain, index, valid) }
        if let offset { value += load(offset, index, valid) }
        return value
    }
}

func rootMeanSquareRow(
    _ x: UnsafePointer<Float>, _ count: Int, _ epsilon: Float, _ gain: UnsafePointer<Float>,
    _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    let (mean, deviation) = moments(x, count)
    let factor = Vector(repeating: 1 / (deviation / Float(count) + mean * mean + epsilon).squareRoot())
    forEachVector(count, y, streams) { index, valid in load(x, index, valid) * factor * load(gain, index, valid) }
}

func rotateHalves(
    _ x: UnsafePointer<Float>, _ count: Int, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>,
    _ y: UnsafeMutablePointer<Float>
) {
    let half = count / 2
    forEachVector(half, y) { index, valid in
        (load(x, index, valid) * load(cosines, index, valid))
            .adding(Vector.zero - load(x, half + index, valid), times: load(sines, index, valid))
    }
    forEachVector(half, y + half) { index, valid in
        (load(x, half + index, valid) * load(cosines, half + index, valid))
            .adding(load(x, index, valid), times: load(sines, half + index, valid))
    }
}

func rotateRow(
    _ x: UnsafePointer<Float>, _ count: Int, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>,
    _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    var signs = Vector(repeating: 1)
    signs.evenHalf = Vector(repeating: -1).evenHalf
    forEachVector(count, y, streams) { index, valid in
        let value = load(x, index, valid)
        var swapped = Vector.zero
        swapped.evenHalf = value.oddHalf
        swapped.oddHalf = value.evenHalf
        return (value * load(cosines, index, valid)).adding(swapped * signs, times: load(sines, index, valid))
    }
}

func affine(
    _ x: UnsafePointer<Float>, _ count: Int, _ gain: Float, _ offset: Float, _ activation: Function,
    _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    let factor = Vector(repeating: gain)
    let addend = Vector(repeating: offset)
    @inline(__always) func map<F: PointwiseFunction>(_ function: F.Type) {
        forEachVector(count, y, streams) { index, valid in
            // Far enough ahead for the memory, which the stores keep busy as well.
            if streams { kernel_prefetch_second(x + index + 2048) }
            return F.of(addend.adding(load(x, index, valid), times: factor))
        }
    }
    switch activation {
    case .none: map(Identity.self)
    case .silu: map(SiLU.self)
    case .quickGelu: map(QuickGELU.self)
    case .geluTanh: map(TanhGELU.self)
    case .gelu: map(GELU.self)
    }
}

func combine(
    _ left: UnsafePointer<Float>, _ a: Float, _ right: UnsafePointer<Float>?, _ b: Float, _ count: Int,
    _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    let leftFactor = Vector(repeating: a)
    let rightFactor = Vector(repeating: b)
    guard let right else {
        forEachVector(count, y, streams) { index, valid in load(left, index, valid) * leftFactor + rightFactor }
        return
    }
    forEachVector(count, y, streams) { index, valid in
        load(left, index, valid) * leftFactor + load(right, index, valid) * rightFactor
    }
}

func endStreams() { kernel_end_streams() }

func exponentials(_ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
    forEachVector(count, y) { index, valid in exponential(load(x, index, valid)) }
}

func gated(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, _ activation: Function, _ count: Int,
    _ y: UnsafeMutablePointer<Float>, _ streams: Bool
) {
    @inline(__always) func map<F: PointwiseFunction>(_ function: F.Type) {
        forEachVector(count, y, streams) { index, valid in
            load(left, index, valid) * F.of(load(right, index, valid))
        }
    }
    switch activation {
    case .none: map(Identity.self)
    case .silu: map(SiLU.self)
    case .quickGelu: map(QuickGELU.self)
    case .geluTanh: map(TanhGELU.self)
    case .gelu: map(GELU.self)
    }
}

func scaleColumns(_ x: UnsafeMutablePointer<Float>, _ rows: Int, _ factors: UnsafePointer<Float>) {
    let low = factors.vector(0)
    let high = factors.vector(lanes)
    var row = x
    for _ in 0..<rows {
        row.store(row.vector(0) * low, 0)
        row.store(row.vector(lanes) * high, lanes)
        row += tileColumns
    }
}
