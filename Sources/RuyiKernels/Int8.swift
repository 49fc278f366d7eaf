import CKernelIntrinsics
import RuyiKernelTable

#if !LEVEL_BF16
    /// The 8-bit kernels of this target's instruction-set level.
    public let integerKernels = IntegerKernels(
        mr: integerTileRows, nr: SumRow.columns, quantizeRow: quantizeRow, tile: multiplyIntegerTile,
        scaleRow: scaleRow)
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

        @inline(__always) init(_ source: UnsafePointer<UInt32>) {
            low = UnsafeRawPointer(source).loadUnaligned(as: SIMD64<Int8>.self)
            high = UnsafeRawPointer(source + width).loadUnaligned(as: SIMD64<Int8>.self)
        }
    }
#else
    #if LEVEL_AVX512
        private let integerTileRows = 8
    #elseif LEVEL_AVX2
        private let integerTileRows = 3
    #else
        private let integerTileRows = 1
    #endif

    /// One row of a tile: two sums for each of 16 columns, that of the first and that of the last halves of quads.
    private struct SumRow {
        static let columns = 16
        private let start: Integers
        private var low = Integers.zero
        private var high = Integers.zero

        @inline(__always) init(_ start: UnsafePointer<Int32>) {
            self.start = start.integers(0)
        }

        @inline(__always) mutating func add(_ quad: UInt32, _ right: Right) {
            let left = kernel_repeat(quad)
            low &+= kernel_multiply_pairs(left, right.low)
            high &+= kernel_multiply_pairs(left, right.high)
        }

        @inline(__always) func store(_ target: UnsafeMutablePointer<Int32>) {
            target.store(start &+ kernel_add_pairs(low, high), 0)
        }
    }

    /// The quads of 16 columns, 16 bits a value.
    private struct Right {
        let low: SIMD32<Int16>
        let high: SIMD32<Int16>

        @inline(__always) init(_ source: UnsafePointer<UInt32>) {
            low = kernel_widen(UnsafeRawPointer(source).loadUnaligned(as: SIMD32<Int8>.self))
            high = kernel_widen(UnsafeRawPointer(source + width / 2).loadUnaligned(as: SIMD32<Int8>.self))
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
    #endif
    #if LEVEL_AVX512
        var r3 = SumRow(start)
        var r4 = SumRow(start)
        var r5 = SumRow(start)
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
    var right = b
    var soon = ahead
    for _ in 0..<quads {
        let columns = Right(right)
        r0.add(left[0], columns)
        #if LEVEL_AVX512 || LEVEL_AVX2
            r1.add(left[1], columns)
            r2.add(left[2], columns)
        #endif
        #if LEVEL_AVX512
            r3.add(left[3], columns)
            r4.add(left[4], columns)
            r5.add(left[5], columns)
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
        right += SumRow.columns
    }
    r0.store(sums)
    #if LEVEL_AVX512 || LEVEL_AVX2
        r1.store(sums + lds)
        r2.store(sums + 2 * lds)
    #endif
    #if LEVEL_AVX512
        r3.store(sums + 3 * lds)
        r4.store(sums + 4 * lds)
        r5.store(sums + 5 * lds)
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

private func scaleRow(
    _ sums: UnsafePointer<Int32>, _ count: Int, _ columnScales: UnsafePointer<Float>, _ rowScale: Float,
    _ y: UnsafeMutablePointer<Float>
) {
    let factor = Floats(repeating: rowScale)
    var index = 0
    while index + width <= count {
        let scales = UnsafeRawPointer(columnScales + index).loadUnaligned(as: Floats.self)
        let scaled = kernel_floats(sums.integers(index)) * scales * factor
        UnsafeMutableRawPointer(y + index).storeBytes(of: scaled, as: Floats.self)
        index += width
    }
    while index < count {
        y[index] = Float(sums[index]) * columnScales[index] * rowScale
        index += 1
    }
}

// MARK: Quantisation

private func quantizeRow(
    _ source: UnsafePointer<Float>, _ count: Int, _ offset: Int32, _ target: UnsafeMutablePointer<UInt32>, _ step: Int
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
            target[word * step] = quads[0]
            target[(word + 1) * step] = quads[1]
            target[(word + 2) * step] = quads[2]
            target[(word + 3) * step] = quads[3]
        } else {
            for lane in 0..<(count - index + 3) / 4 { target[(word + lane) * step] = quads[lane] }
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
