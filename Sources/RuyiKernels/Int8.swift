import CKernelIntrinsics
import RuyiKernelTable

#if !LEVEL_BF16
    /// The 8-bit kernels of this target's instruction-set level.
    public let integerKernels = IntegerKernels(
        mr: integerTileRows, nr: SumRow.columns, leftWords: SumRow.leftWords, packRow: packRow,
        quantizeRow: quantizeRow, quantizeLeft: quantizeLeft, tile: multiplyIntegerTile, finishRow: finishIntegerRow)
#endif

/// Integers that are worked on together, in one register or in several.
private typealias Integers = SIMD16<Int32>
private typealias Floats = SIMD16<Float>
private let width = Integers.scalarCount

// MARK: Products

#if LEVEL_VNNI
    /// 28 of 32 registers hold the tile.
    private let integerTileRows = 14

    /// One row of a tile: the sums of 32 columns.
    private struct SumRow {
        static let columns = 32
        static let leftWords = 1
        private var low: Integers
        private var high: Integers

        @inline(__always) init(_ start: UnsafePointer<Int32>) {
            low = start.integers(0)
            high = start.integers(width)
        }

        @inline(__always) mutating func add(_ quad: UInt32, _ right: Right) {
            low = kernel_dot(low, quad, right.low)
            high = kernel_dot(high, quad, right.high)
        }

        @inline(__always) func store(_ target: UnsafeMutablePointer<Int32>) {
            target.store(low, 0)
            target.store(high, width)
        }
    }

    /// The quads of 32 columns.
    private struct Right {
        let low: SIMD64<Int8>
        let high: SIMD64<Int8>

        @inline(__always) init(_ source: UnsafeRawPointer) {
            low = source.loadUnaligned(as: SIMD64<Int8>.self)
            high = source.loadUnaligned(fromByteOffset: 4 * width, as: SIMD64<Int8>.self)
        }
    }
#else
    #if LEVEL_AVX512
        private let integerTileRows = 8
    #elseif LEVEL_AVX2
        /// 12 of 16 registers hold the tile.
        private let integerTileRows = 6
    #else
        private let integerTileRows = 1
    #endif

    /// One row of a tile: the sums of 16 columns.
    private struct SumRow {
        static let columns = 16
        static let leftWords = 2
        private var sums: Integers

        @inline(__always) init(_ start: UnsafePointer<Int32>) { sums = start.integers(0) }

        @inline(__always) mutating func add(_ pair: UInt32, _ right: Right) {
            sums &+= kernel_multiply_pairs(kernel_repeat(pair), right.pairs)
        }

        @inline(__always) func store(_ target: UnsafeMutablePointer<Int32>) { target.store(sums, 0) }
    }

    /// The pairs of 16 columns, 16 bits a value.
    private struct Right {
        let pairs: SIMD32<Int16>

        @inline(__always) init(_ source: UnsafeRawPointer) {
            pairs = kernel_widen(source.loadUnaligned(as: SIMD32<Int8>.self))
        }
    }
#endif

/// The product's inner loop.
///
/// The rows are spelled out so that every sum stays in a register.
private func multiplyIntegerTile(
    _ quads: Int, _ a: UnsafePointer<UInt32>, _ b: UnsafePointer<UInt32>, _ start: UnsafePointer<Int32>,
    _ sums: UnsafeMutablePointer<Int32>, _ lds: Int, _ ahead: UnsafeRawPointer, _ step: Int
) {
    var r0 = SumRow(start)
    #if LEVEL_AVX512 || LEVEL_AVX2
        var r1 = SumRow(start)
        var r2 = SumRow(start)
        var r3 = SumRow(start)
        var r4 = SumRow(start)
        var r5 = SumRow(start)
    #endif
    #if LEVEL_AVX512
        var r6 = SumRow(start)
        var r7 = SumRow(start)
    #endif
    #if LEVEL_VNNI
        var r8 = SumRow(start)
        var r9 = SumRow(start)
        var r10 = SumRow(start)
        var r11 = SumRow(start)
        var r12 = SumRow(start)
        var r13 = SumRow(start)
    #endif
    var left = a
    var right = UnsafeRawPointer(b)
    var soon = ahead
    for _ in 0..<quads * SumRow.leftWords {
        let columns = Right(right)
        r0.add(left[0], columns)
        #if LEVEL_AVX512 || LEVEL_AVX2
            r1.add(left[1], columns)
            r2.add(left[2], columns)
            r3.add(left[3], columns)
            r4.add(left[4], columns)
            r5.add(left[5], columns)
        #endif
        #if LEVEL_AVX512
            r6.add(left[6], columns)
            r7.add(left[7], columns)
        #endif
        #if LEVEL_VNNI
            r8.add(left[8], columns)
            r9.add(left[9], columns)
            r10.add(left[10], columns)
            r11.add(left[11], columns)
            r12.add(left[12], columns)
            r13.add(left[13], columns)
        #endif
        kernel_prefetch_second(soon)
        soon += step
        left += integerTileRows
        right += 4 * SumRow.columns / SumRow.leftWords
    }
    r0.store(sums)
    #if LEVEL_AVX512 || LEVEL_AVX2
        r1.store(sums + lds)
        r2.store(sums + 2 * lds)
        r3.store(sums + 3 * lds)
        r4.store(sums + 4 * lds)
        r5.store(sums + 5 * lds)
    #endif
    #if LEVEL_AVX512
        r6.store(sums + 6 * lds)
        r7.store(sums + 7 * lds)
    #endif
    #if LEVEL_VNNI
        r8.store(sums + 8 * lds)
        r9.store(sums + 9 * lds)
        r10.store(sums + 10 * lds)
        r11.store(sums + 11 * lds)
        r12.store(sums + 12 * lds)
        r13.store(sums + 13 * lds)
    #endif
}

// MARK: Quantisation

private func packRow(
    _ source: UnsafePointer<Int8>, _ count: Int, _ panel: UnsafeMutablePointer<UInt32>, _ column: Int
) -> Int32 {
    var sum: Int32 = 0
    for word in 0..<(count + 3) / 4 {
        var quad: UInt32 = 0
        for lane in 0..<min(4, count - 4 * word) {
            let value = source[4 * word + lane]
            sum += Int32(value)
            quad |= UInt32(UInt8(bitPattern: value)) << UInt32(8 * lane)
        }
        store(quad, panel, word, column)
    }
    return sum
}

private func quantizeRow(
    _ source: UnsafePointer<Float>, _ count: Int, _ panel: UnsafeMutablePointer<UInt32>, _ column: Int
) -> (scale: Float, sum: Int32) {
    quantize(source, count, 0) { word, quad in store(quad, panel, word, column) }
}

/// Writes a quad of the right operand.
@inline(__always)
private func store(_ quad: UInt32, _ panel: UnsafeMutablePointer<UInt32>, _ word: Int, _ column: Int) {
    #if LEVEL_VNNI
        panel[word * SumRow.columns + column] = quad
    #else
        let pairs = UnsafeMutableRawPointer(panel + word * SumRow.columns).assumingMemoryBound(to: UInt16.self)
        pairs[column] = UInt16(truncatingIfNeeded: quad)
        pairs[SumRow.columns + column] = UInt16(truncatingIfNeeded: quad >> 16)
    #endif
}

private func quantizeLeft(
    _ source: UnsafePointer<Float>, _ count: Int, _ offset: Int32, _ sliver: UnsafeMutablePointer<UInt32>, _ row: Int
) -> Float {
    quantize(source, count, offset) { word, quad in
        let words = sliver + word * integerTileRows * SumRow.leftWords + row
        #if LEVEL_VNNI
            words[0] = quad
        #else
            words[0] = quad & 0xFF | (quad & 0xFF00) << 8
            words[integerTileRows] = quad >> 16 & 0xFF | quad >> 8 & 0xFF_0000
        #endif
    }.scale
}

/// Quantises a row by its largest magnitude, and has its quads stored with an offset added to each value.
@inline(__always)
private func quantize(
    _ source: UnsafePointer<Float>, _ count: Int, _ offset: Int32, _ store: (_ word: Int, _ quad: UInt32) -> Void
) -> (scale: Float, sum: Int32) {
    let largest = largestMagnitude(source, count)
    // Beyond the least of these, the factor would overflow; the products of such rows are zero.
    let isUsable = largest >= 1e-30 && largest.isFinite
    let scale = isUsable ? largest / 127 : largest < 1e-30 ? 0 : .nan
    let factor = Floats(repeating: isUsable ? 127 / largest : 0)
    let offsets = Integers(repeating: offset)
    var sums = Integers.zero
    var index = 0
    while index < count {
        let x = floats(source + index, min(width, count - index))
        let rounded = roundedIntegers(x * factor)
        sums &+= rounded
        let quads = unsafeBitCast(kernel_bytes(rounded &+ offsets), to: SIMD4<UInt32>.self)
        let word = index / 4
        if index + width <= count {
            store(word, quads[0])
            store(word + 1, quads[1])
            store(word + 2, quads[2])
            store(word + 3, quads[3])
        } else {
            for lane in 0..<(count - index + 3) / 4 { store(word + lane, quads[lane]) }
        }
        index += width
    }
    return (scale, sums.wrappedSum())
}

/// The nearest integers of numbers below 2²²; anything for others.
///
/// Adding 1.5 · 2²³ leaves the integer in the low bits.
@inline(__always)
private func roundedIntegers(_ x: Floats) -> Integers {
    unsafeBitCast(x + Floats(repeating: 12_582_912), to: Integers.self) &- Integers(repeating: 0x4B40_0000)
}

/// The largest magnitude, infinite or NaN if any value is; magnitudes compare like their bit patterns.
private func largestMagnitude(_ source: UnsafePointer<Float>, _ count: Int) -> Float {
    let mask = Integers(repeating: 0x7FFF_FFFF)
    var largest = Integers.zero
    var index = 0
    while index < count {
        let bits = unsafeBitCast(floats(source + index, min(width, count - index)), to: Integers.self) & mask
        largest.replace(with: bits, where: bits .> largest)
        index += width
    }
    return Float(bitPattern: UInt32(truncatingIfNeeded: largest.max()))
}

/// Loads `valid` floats, the rest being zero.
@inline(__always)
private func floats(_ source: UnsafePointer<Float>, _ valid: Int) -> Floats {
    if valid == width { return UnsafeRawPointer(source).loadUnaligned(as: Floats.self) }
    var result = Floats.zero
    for lane in 0..<valid { result[lane] = source[lane] }
    return result
}

extension UnsafePointer<Int32> {
    @inline(__always) fileprivate func integers(_ index: Int) -> Integers {
        UnsafeRawPointer(self + index).loadUnaligned(as: Integers.self)
    }
}

extension UnsafeMutablePointer<Int32> {
    @inline(__always) fileprivate func store(_ value: Integers, _ index: Int) {
        UnsafeMutableRawPointer(self + index).storeBytes(of: value, as: Integers.self)
    }
}
