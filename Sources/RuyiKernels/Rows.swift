import RuyiKernelTable

func finishRow(
    _ x: UnsafeMutablePointer<Float>, _ count: Int, _ bias: UnsafePointer<Float>?, _ activation: Activation,
    _ residual: UnsafePointer<Float>?
) {
    forEachVector(count, x) { index, valid in
        var value = load(x, index, valid)
        if let bias { value += load(bias, index, valid) }
        value = apply(activation, value)
        if let residual { value += load(residual, index, valid) }
        return value
    }
}

/// Mean and sum of squared deviations in two passes; sums of long rows are taken over blocks and merged, so the
/// error does not grow with the length.
func moments(_ x: UnsafePointer<Float>, _ count: Int) -> (mean: Float, deviation: Float) {
    let blockLength = 1024
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
private func blockMoments(_ x: UnsafePointer<Float>, _ count: Int) -> (Float, Float) {
    var sum0 = Vector.zero
    var sum1 = Vector.zero
    var index = 0
    while index + 2 * lanes <= count {
        sum0 += x.vector(index)
        sum1 += x.vector(index + lanes)
        index += 2 * lanes
    }
    var sum = total(sum0 + sum1)
    for rest in index..<count { sum += x[rest] }
    let mean = sum / Float(count)
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
    var square = total(square0 + square1)
    var error = total(error0 + error1)
    for rest in index..<count {
        let d = x[rest] - mean
        square += d * d
        error += d
    }
    // What rounding left between the mean and the values is taken out again.
    let correction = error / Float(count)
    return (mean + correction, max(0, square - error * correction))
}

func normalizeRow(
    _ x: UnsafePointer<Float>, _ count: Int, _ epsilon: Float, _ gain: UnsafePointer<Float>?,
    _ offset: UnsafePointer<Float>?, _ y: UnsafeMutablePointer<Float>
) {
    let (mean, deviation) = moments(x, count)
    let scale = 1 / (deviation / Float(count) + epsilon).squareRoot()
    let center = Vector(repeating: mean)
    let factor = Vector(repeating: scale)
    forEachVector(count, y) { index, valid in
        var value = (load(x, index, valid) - center) * factor
        if let gain { value *= load(gain, index, valid) }
        if let offset { value += load(offset, index, valid) }
        return value
    }
}

func rotateRow(
    _ x: UnsafeMutablePointer<Float>, _ count: Int, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>
) {
    var index = 0
    while index + 2 <= count {
        let first = x[index]
        let second = x[index + 1]
        x[index] = first * cosines[index] - second * sines[index]
        x[index + 1] = second * cosines[index + 1] + first * sines[index + 1]
        index += 2
    }
}

func affine(
    _ x: UnsafePointer<Float>, _ count: Int, _ gain: Float, _ offset: Float, _ activation: Activation,
    _ y: UnsafeMutablePointer<Float>
) {
    let factor = Vector(repeating: gain)
    let addend = Vector(repeating: offset)
    forEachVector(count, y) { index, valid in
        apply(activation, addend.adding(load(x, index, valid), times: factor))
    }
}

func combine(
    _ left: UnsafePointer<Float>, _ a: Float, _ right: UnsafePointer<Float>?, _ b: Float, _ count: Int,
    _ y: UnsafeMutablePointer<Float>
) {
    let leftFactor = Vector(repeating: a)
    let rightFactor = Vector(repeating: b)
    guard let right else {
        forEachVector(count, y) { index, valid in load(left, index, valid) * leftFactor + rightFactor }
        return
    }
    forEachVector(count, y) { index, valid in
        load(left, index, valid) * leftFactor + load(right, index, valid) * rightFactor
    }
}

func exponentials(_ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
    forEachVector(count, y) { index, valid in exponential(load(x, index, valid)) }
}

func gated(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, _ activation: Activation, _ count: Int,
    _ y: UnsafeMutablePointer<Float>
) {
    forEachVector(count, y) { index, valid in
        load(left, index, valid) * apply(activation, load(right, index, valid))
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
