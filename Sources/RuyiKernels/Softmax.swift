func softmaxTile(
    _ scores: UnsafeMutablePointer<Float>, _ keys: Int, _ maxima: UnsafeMutablePointer<Float>,
    _ sums: UnsafeMutablePointer<Float>, _ factors: UnsafeMutablePointer<Float>
) {
    let (oldLow, oldHigh) = (maxima.vector(0), maxima.vector(lanes))
    var (low, high) = (oldLow, oldHigh)
    var row = scores
    for _ in 0..<keys {
        low = low.maximum(row.vector(0))
        high = high.maximum(row.vector(lanes))
        row += tileColumns
    }
    maxima.store(low, 0)
    maxima.store(high, lanes)
    var (sumLow, sumHigh) = (Vector.zero, Vector.zero)
    row = scores
    for _ in 0..<keys {
        let valueLow = powerOfTwo(row.vector(0) - low)
        let valueHigh = powerOfTwo(row.vector(lanes) - high)
        row.store(valueLow, 0)
        row.store(valueHigh, lanes)
        sumLow += valueLow
        sumHigh += valueHigh
        row += tileColumns
    }
    let (factorLow, factorHigh) = (powerOfTwo(oldLow - low), powerOfTwo(oldHigh - high))
    factors.store(factorLow, 0)
    factors.store(factorHigh, lanes)
    sums.store(sumLow.adding(sums.vector(0), times: factorLow), 0)
    sums.store(sumHigh.adding(sums.vector(lanes), times: factorHigh), lanes)
}

func maskTile(
    _ scores: UnsafeMutablePointer<Float>, _ first: Int, _ keys: Int, _ visible: UnsafePointer<Float>
) {
    let (low, high) = (visible.vector(0), visible.vector(lanes))
    let hidden = Vector(repeating: -.infinity)
    var row = scores
    for key in first..<first + keys {
        let place = Vector(repeating: Float(key))
        row.store(row.vector(0).replacing(with: hidden, where: low .<= place), 0)
        row.store(row.vector(lanes).replacing(with: hidden, where: high .<= place), lanes)
        row += tileColumns
    }
}

func addRows(
    _ x: UnsafeMutablePointer<Float>, _ rows: Int, _ source: UnsafePointer<Float>, _ step: Int, _ factor: Float
) {
    let factors = Vector(repeating: factor)
    var (row, term) = (x, source)
    for _ in 0..<rows {
        row.store(row.vector(0).adding(term.vector(0), times: factors), 0)
        row.store(row.vector(lanes).adding(term.vector(lanes), times: factors), lanes)
        row += tileColumns
        term += step
    }
}

func partialTile(
    _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
    _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafePointer<Float>
) {
    switch rows {
    case 1, 2: multiplyRows(2, k, a, b, c, ldc, accumulate)
    case 3, 4: multiplyRows(4, k, a, b, c, ldc, accumulate)
    #if LEVEL_AVX512
        case 5...8: multiplyRows(8, k, a, b, c, ldc, accumulate)
    #endif
    default: multiplyTile(k, a, b, c, ldc, accumulate, ahead, 4 * tileRows)
    }
}

/// The product's inner loop for 2, 4 or 8 rows, which is known where it is inlined.
@inline(__always)
private func multiplyRows(
    _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
    _ ldc: Int, _ accumulate: Bool
) {
    var r0 = TileRow()
    var r1 = TileRow()
    var r2 = TileRow()
    var r3 = TileRow()
    var r4 = TileRow()
    var r5 = TileRow()
    var r6 = TileRow()
    var r7 = TileRow()
    var left = a
    var right = b
    for _ in 0..<k {
        let b0 = right.vector(0)
        let b1 = right.vector(lanes)
        r0.add(left[0], b0, b1)
        r1.add(left[1], b0, b1)
        if rows > 2 {
            r2.add(left[2], b0, b1)
            r3.add(left[3], b0, b1)
        }
        if rows > 4 {
            r4.add(left[4], b0, b1)
            r5.add(left[5], b0, b1)
            r6.add(left[6], b0, b1)
            r7.add(left[7], b0, b1)
        }
        left += tileRows
        right += tileColumns
    }
    r0.store(c, accumulate)
    r1.store(c + ldc, accumulate)
    if rows > 2 {
        r2.store(c + 2 * ldc, accumulate)
        r3.store(c + 3 * ldc, accumulate)
    }
    if rows > 4 {
        r4.store(c + 4 * ldc, accumulate)
        r5.store(c + 5 * ldc, accumulate)
        r6.store(c + 6 * ldc, accumulate)
        r7.store(c + 7 * ldc, accumulate)
    }
}
