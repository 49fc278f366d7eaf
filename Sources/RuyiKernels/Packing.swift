import RuyiKernelTable

/// Values per row that are converted and transposed at a time; a block of a sliver then stays in the first cache.
private let blockLength = 64

func packLeft(
    _ source: UnsafePointer<Float>, _ stride: Int, _ rows: Int, _ k: Int, _ sliver: UnsafeMutablePointer<Float>
) {
    if rows == tileRows {
        transpose(source, stride, k, sliver)
        return
    }
    for index in 0..<k {
        for row in 0..<rows { sliver[index * tileRows + row] = source[row * stride + index] }
        for row in rows..<tileRows { sliver[index * tileRows + row] = 0 }
    }
}

@inline(__always)
private func transpose(
    _ source: UnsafePointer<Float>, _ stride: Int, _ k: Int, _ sliver: UnsafeMutablePointer<Float>
) {
    var target = sliver
    for index in 0..<k {
        for row in 0..<tileRows { target[row] = source[row * stride + index] }
        target += tileRows
    }
}

func packRight(
    _ element: Element, _ source: UnsafeRawPointer, _ stride: Int, _ rows: Int, _ k: Int,
    _ sliver: UnsafeMutablePointer<Float>
) {
    if rows < tileColumns { sliver.update(repeating: 0, count: k * tileColumns) }
    withUnsafeTemporaryAllocation(byteCount: 4 * lanes * (blockLength + 2 * lanes), alignment: 64) { buffer in
        guard let block = buffer.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
        let scratch = block + lanes * blockLength
        for start in Swift.stride(from: 0, to: k, by: blockLength) {
            let count = min(blockLength, k - start)
            for first in Swift.stride(from: 0, to: rows, by: lanes) {
                let filled = min(lanes, rows - first)
                let target = sliver + start * tileColumns + first
                for row in 0..<filled {
                    convertBlock(element, source, (first + row) * stride + start, count, block + row * blockLength)
                }
                let whole = filled == lanes ? count / lanes * lanes : 0
                for column in Swift.stride(from: 0, to: whole, by: lanes) {
                    transposeSquare(
                        UnsafePointer(block + column), blockLength, scratch, target + column * tileColumns)
                }
                for row in 0..<filled {
                    for index in whole..<count {
                        target[index * tileColumns + row] = block[row * blockLength + index]
                    }
                }
            }
        }
    }
}

/// Transposes a square of vectors, rows `stride` apart, into columns `tileColumns` apart.
///
/// Separating the even from the odd lanes of neighbouring rows rotates the bits of an element's index (row, lane) by
/// one; after as many rounds as a lane's index has bits, rows and lanes have changed places.
@inline(__always)
func transposeSquare(
    _ source: UnsafePointer<Float>, _ stride: Int, _ scratch: UnsafeMutablePointer<Float>,
    _ target: UnsafeMutablePointer<Float>
) {
    let half = lanes / 2
    separate(source, stride, scratch, lanes)
    #if LEVEL_AVX512
        separate(scratch, lanes, scratch + lanes * lanes, lanes)
        separate(scratch + lanes * lanes, lanes, scratch, lanes)
    #elseif LEVEL_AVX2
        separate(scratch, lanes, scratch + lanes * lanes, lanes)
    #endif
    #if LEVEL_AVX2
        let last = scratch + lanes * lanes
    #else
        let last = scratch
    #endif
    for pair in 0..<half {
        let (even, odd) = separated(last.vector(2 * pair * lanes), last.vector((2 * pair + 1) * lanes))
        target.store(even, pair * tileColumns)
        target.store(odd, (pair + half) * tileColumns)
    }
}

/// One round: the even lanes of each pair of rows become a row of the first half, the odd ones one of the second.
@inline(__always)
private func separate(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let half = lanes / 2
    for pair in 0..<half {
        let (even, odd) = separated(source.vector(2 * pair * stride), source.vector((2 * pair + 1) * stride))
        target.store(even, pair * targetStride)
        target.store(odd, (pair + half) * targetStride)
    }
}

@inline(__always)
private func separated(_ a: Vector, _ b: Vector) -> (even: Vector, odd: Vector) {
    (Vector(lowHalf: a.evenHalf, highHalf: b.evenHalf), Vector(lowHalf: a.oddHalf, highHalf: b.oddHalf))
}

func convert(_ element: Element, _ source: UnsafeRawPointer, _ count: Int, _ target: UnsafeMutablePointer<Float>) {
    convertBlock(element, source, 0, count, target)
}

@inline(__always)
private func convertBlock(
    _ element: Element, _ source: UnsafeRawPointer, _ start: Int, _ count: Int, _ target: UnsafeMutablePointer<Float>
) {
    switch element {
    case .f32:
        let from = source + 4 * start
        UnsafeMutableRawPointer(target).copyMemory(from: from, byteCount: 4 * count)
    case .bf16: widen(StoredBF16.self, source, start, count, target)
    case .f16: widen(StoredF16.self, source, start, count, target)
    case .f8e5m2: widen(StoredE5M2.self, source, start, count, target)
    case .f8e4m3: widen(StoredE4M3.self, source, start, count, target)
    case .i8: widen(StoredI8.self, source, start, count, target)
    }
}

@inline(__always)
private func widen<Number: StoredNumber>(
    _ type: Number.Type, _ source: UnsafeRawPointer, _ start: Int, _ count: Int, _ target: UnsafeMutablePointer<Float>
) {
    let from = source + start * Number.byteCount
    var index = 0
    while index + lanes <= count {
        target.store(Number.vector(from + index * Number.byteCount), index)
        index += lanes
    }
    while index < count {
        target[index] = Number.float(from + index * Number.byteCount)
        index += 1
    }
}

func packPlanes(
    _ source: UnsafePointer<Float>, _ stride: Int, _ planes: Int, _ width: Int, _ step: Int,
    _ target: UnsafeMutablePointer<Float>
) {
    var from = source
    var to = target
    if width == tileColumns && step == 1 {
        for _ in 0..<planes {
            to.store(from.vector(0), 0)
            to.store(from.vector(lanes), lanes)
            from += stride
            to += tileColumns
        }
        return
    }
    for _ in 0..<planes {
        for index in 0..<width { to[index] = from[index * step] }
        from += stride
        to += tileColumns
    }
}
