import CKernelIntrinsics
import RuyiKernelTable

/// The bf16 kernels, for processors with AVX-512 BF16.
public let pairKernels = PairKernels(
    tile: multiplyTile, partialTile: partialTile, roundRow: roundRow, pairRows: pairRows)

private typealias Vector = SIMD16<Float>
private typealias Words = SIMD16<UInt32>
private let lanes = Vector.scalarCount
/// 28 of 32 registers hold the tile.
private let tileRows = 14
private let tileColumns = 32

/// One row of a tile: two vectors of sums.
private struct TileRow {
    var low = Vector.zero
    var high = Vector.zero

    @inline(__always) mutating func add(_ pair: UInt32, _ b0: Words, _ b1: Words) {
        low = kernel_add_products(low, pair, b0)
        high = kernel_add_products(high, pair, b1)
    }

    @inline(__always) func store(_ target: UnsafeMutablePointer<Float>, _ accumulate: Bool) {
        let place = UnsafeMutableRawPointer(target)
        if accumulate {
            let (a, b) = (place.loadUnaligned(as: Vector.self), (place + 64).loadUnaligned(as: Vector.self))
            place.storeBytes(of: a + low, as: Vector.self)
            (place + 64).storeBytes(of: b + high, as: Vector.self)
        } else {
            place.storeBytes(of: low, as: Vector.self)
            (place + 64).storeBytes(of: high, as: Vector.self)
        }
    }
}

@inline(__always)
private func words(_ source: UnsafePointer<Float>) -> UnsafePointer<UInt32> {
    UnsafeRawPointer(source).assumingMemoryBound(to: UInt32.self)
}

@inline(__always)
private func vector(_ source: UnsafePointer<UInt32>) -> Words {
    UnsafeRawPointer(source).loadUnaligned(as: Words.self)
}

/// The product's inner loop.
///
/// The rows are spelled out so that every sum stays in a register.
private func multiplyTile(
    _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ ldc: Int,
    _ accumulate: Bool, _ ahead: UnsafeRawPointer, _ step: Int
) {
    var r0 = TileRow()
    var r1 = TileRow()
    var r2 = TileRow()
    var r3 = TileRow()
    var r4 = TileRow()
    var r5 = TileRow()
    var r6 = TileRow()
    var r7 = TileRow()
    var r8 = TileRow()
    var r9 = TileRow()
    var r10 = TileRow()
    var r11 = TileRow()
    var r12 = TileRow()
    var r13 = TileRow()
    // The tile's place in the result is fetched while the sums are built.
    for row in 0..<tileRows {
        kernel_prefetch(c + row * ldc)
        kernel_prefetch(c + row * ldc + tileColumns - 1)
    }
    var left = words(a)
    var right = words(b)
    var soon = ahead
    for _ in 0..<k {
        let (b0, b1) = (vector(right), vector(right + lanes))
        r0.add(left[0], b0, b1)
        r1.add(left[1], b0, b1)
        r2.add(left[2], b0, b1)
        r3.add(left[3], b0, b1)
        r4.add(left[4], b0, b1)
        r5.add(left[5], b0, b1)
        r6.add(left[6], b0, b1)
        r7.add(left[7], b0, b1)
        r8.add(left[8], b0, b1)
        r9.add(left[9], b0, b1)
        r10.add(left[10], b0, b1)
        r11.add(left[11], b0, b1)
        r12.add(left[12], b0, b1)
        r13.add(left[13], b0, b1)
        kernel_prefetch_second(soon)
        soon += step
        left += tileRows
        right += tileColumns
    }
    r0.store(c, accumulate)
    r1.store(c + ldc, accumulate)
    r2.store(c + 2 * ldc, accumulate)
    r3.store(c + 3 * ldc, accumulate)
    r4.store(c + 4 * ldc, accumulate)
    r5.store(c + 5 * ldc, accumulate)
    r6.store(c + 6 * ldc, accumulate)
    r7.store(c + 7 * ldc, accumulate)
    r8.store(c + 8 * ldc, accumulate)
    r9.store(c + 9 * ldc, accumulate)
    r10.store(c + 10 * ldc, accumulate)
    r11.store(c + 11 * ldc, accumulate)
    r12.store(c + 12 * ldc, accumulate)
    r13.store(c + 13 * ldc, accumulate)
}

private func partialTile(
    _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
    _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafePointer<Float>
) {
    switch rows {
    case 1, 2: multiplyRows(2, k, a, b, c, ldc, accumulate)
    case 3, 4: multiplyRows(4, k, a, b, c, ldc, accumulate)
    case 5...8: multiplyRows(8, k, a, b, c, ldc, accumulate)
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
    var left = words(a)
    var right = words(b)
    for _ in 0..<k {
        let (b0, b1) = (vector(right), vector(right + lanes))
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

// MARK: Rounding

private func roundRow(_ source: UnsafePointer<Float>, _ count: Int, _ words: UnsafeMutablePointer<Float>) {
    let target = UnsafeMutableRawPointer(words)
    var index = 0
    while index + 2 * lanes <= count {
        let from = UnsafeRawPointer(source + index)
        let rounded = kernel_round(from.loadUnaligned(as: Vector.self), (from + 64).loadUnaligned(as: Vector.self))
        target.storeBytes(of: rounded, toByteOffset: 2 * index, as: Words.self)
        index += 2 * lanes
    }
    while index < count {
        let valid = min(lanes, count - index)
        var low = Vector.zero
        for lane in 0..<valid { low[lane] = source[index + lane] }
        let rounded = kernel_round(low, .zero)
        for word in 0..<(valid + 1) / 2 {
            target.storeBytes(of: rounded[word], toByteOffset: 2 * index + 4 * word, as: UInt32.self)
        }
        index += lanes
    }
}

private func pairRows(
    _ source: UnsafePointer<Float>, _ rows: Int, _ width: Int, _ words: UnsafeMutablePointer<Float>
) {
    if width == tileRows {
        for row in stride(from: 0, to: rows, by: 2) {
            pairNarrow(source + row * width, row + 1 < rows, words + row / 2 * width)
        }
        return
    }
    for row in stride(from: 0, to: rows, by: 2) {
        let even = UnsafeRawPointer(source + row * width)
        let target = UnsafeMutableRawPointer(words + row / 2 * width)
        for place in stride(from: 0, to: 4 * width, by: 64) {
            let first = (even + place).loadUnaligned(as: Vector.self)
            let second = row + 1 < rows ? (even + 4 * width + place).loadUnaligned(as: Vector.self) : .zero
            target.storeBytes(of: kernel_pair(first, second), toByteOffset: place, as: Words.self)
        }
    }
}

/// Two rows of a tile's height, in two parts that overlap.
@inline(__always)
private func pairNarrow(
    _ source: UnsafePointer<Float>, _ isPair: Bool, _ words: UnsafeMutablePointer<Float>
) {
    typealias Part = SIMD8<Float>
    let (even, odd) = (UnsafeRawPointer(source), UnsafeRawPointer(source + tileRows))
    let last = 4 * (tileRows - Part.scalarCount)
    let (a, b) = (even.loadUnaligned(as: Part.self), (even + last).loadUnaligned(as: Part.self))
    let c = isPair ? odd.loadUnaligned(as: Part.self) : .zero
    let d = isPair ? (odd + last).loadUnaligned(as: Part.self) : .zero
    let result = kernel_pair(Vector(lowHalf: a, highHalf: b), Vector(lowHalf: c, highHalf: d))
    let target = UnsafeMutableRawPointer(words)
    target.storeBytes(of: result.lowHalf, as: SIMD8<UInt32>.self)
    target.storeBytes(of: result.highHalf, toByteOffset: last, as: SIMD8<UInt32>.self)
}
