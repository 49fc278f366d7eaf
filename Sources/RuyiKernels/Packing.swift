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
    case .bf16:
        let from = source + 2 * start
        widen(count, target, from, 2) {
            Bits(truncatingIfNeeded: $0.loadUnaligned(as: Halves.self)) &<< 16
        } one: {
            UInt32($0.loadUnaligned(as: UInt16.self)) << 16
        }
    case .f16:
        let from = source + 2 * start
        widen(count, target, from, 2) {
            halfBits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Halves.self)))
        } one: {
            halfBits(Bits(repeating: UInt32($0.loadUnaligned(as: UInt16.self))))[0]
        }
    case .f8e5m2:
        let from = source + start
        widen(count, target, from, 1) {
            halfBits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Bytes.self)) &<< 8)
        } one: {
            halfBits(Bits(repeating: UInt32($0.load(as: UInt8.self)) << 8))[0]
        }
    case .f8e4m3:
        let from = source + start
        widen(count, target, from, 1) {
            e4m3Bits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Bytes.self)))
        } one: {
            e4m3Bits(Bits(repeating: UInt32($0.load(as: UInt8.self))))[0]
        }
    case .i8:
        let from = source + start
        widen(count, target, from, 1) {
            integerBits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Bytes.self)))
        } one: {
            integerBits(Bits(repeating: UInt32($0.load(as: UInt8.self))))[0]
        }
    }
}

@inline(__always)
private func widen(
    _ count: Int, _ target: UnsafeMutablePointer<Float>, _ source: UnsafeRawPointer, _ width: Int,
    many: (UnsafeRawPointer) -> Bits, one: (UnsafeRawPointer) -> UInt32
) {
    var index = 0
    while index + lanes <= count {
        target.store(unsafeBitCast(many(source + index * width), to: Vector.self), index)
        index += lanes
    }
    while index < count {
        target[index] = Float(bitPattern: one(source + index * width))
        index += 1
    }
}

/// Signed integers of eight bits to binary32 bits: with the sign's bit turned they are 128 more, and 2²³ more than that is a
/// number whose low bits they are.
@inline(__always)
private func integerBits(_ bytes: Bits) -> Bits {
    let raised = unsafeBitCast((bytes ^ Bits(repeating: 0x80)) | Bits(repeating: 0x4B00_0000), to: Vector.self)
    return unsafeBitCast(raised - Vector(repeating: 0x1p23 + 128), to: Bits.self)
}

/// IEEE binary16 to binary32 bits: shifts exponent and mantissa into place and lets a multiplication by 2¹¹²
/// renormalise subnormal numbers; infinities and NaN get the full exponent.
@inline(__always)
func halfBits(_ half: Bits) -> Bits {
    let magnitude = (half & Bits(repeating: 0x7FFF)) &<< 13
    let sign = (half & Bits(repeating: 0x8000)) &<< 16
    let scaled = unsafeBitCast(magnitude, to: Vector.self) * Vector(repeating: 0x1p112)
    let bits = unsafeBitCast(scaled, to: Bits.self)
    let special = magnitude | Bits(repeating: 0x7F80_0000)
    return bits.replacing(with: special, where: magnitude .>= Bits(repeating: 0x0F80_0000)) | sign
}

/// OCP e4m3 to binary32 bits, by the same multiplication with 2¹²⁰; 0x7F is NaN.
@inline(__always)
private func e4m3Bits(_ byte: Bits) -> Bits {
    let magnitude = (byte & Bits(repeating: 0x7F)) &<< 20
    let sign = (byte & Bits(repeating: 0x80)) &<< 24
    let scaled = unsafeBitCast(magnitude, to: Vector.self) * Vector(repeating: 0x1p120)
    let bits = unsafeBitCast(scaled, to: Bits.self)
    let nan = Bits(repeating: 0x7FC0_0000)
    return bits.replacing(with: nan, where: magnitude .== Bits(repeating: 0x07F0_0000)) | sign
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
