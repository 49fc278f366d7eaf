import CKernelIntrinsics
import RuyiKernelTable

/// Elements of a row that are unpacked and transposed at a time.
private let pieceLength = 256

extension BlockFormat {
    /// Elements of a block.
    @inline(__always) fileprivate var length: Int {
        switch self {
        case .q40, .q41, .q50, .q51, .q80: 32
        case .q2k, .q3k, .q4k, .q5k, .q6k: 256
        }
    }

    /// Bytes of a block.
    @inline(__always) fileprivate var byteCount: Int {
        switch self {
        case .q40: 18
        case .q41: 20
        case .q50: 22
        case .q51: 24
        case .q80: 34
        case .q2k: 84
        case .q3k: 110
        case .q4k: 144
        case .q5k: 176
        case .q6k: 210
        }
    }
}

func packBlocks(
    _ format: BlockFormat, _ source: UnsafeRawPointer, _ stride: Int, _ rows: Int, _ k: Int,
    _ sliver: UnsafeMutablePointer<Float>
) {
    if rows < tileColumns { sliver.update(repeating: 0, count: k * tileColumns) }
    withUnsafeTemporaryAllocation(byteCount: 4 * lanes * (pieceLength + 2 * lanes), alignment: 64) { buffer in
        guard let piece = buffer.baseAddress?.assumingMemoryBound(to: Float.self) else { return }
        let scratch = piece + lanes * pieceLength
        for start in Swift.stride(from: 0, to: k, by: pieceLength) {
            let count = min(pieceLength, k - start)
            let place = start / format.length * format.byteCount
            for first in Swift.stride(from: 0, to: rows, by: lanes) {
                let filled = min(lanes, rows - first)
                let target = sliver + start * tileColumns + first
                for row in 0..<filled {
                    unpackBlocks(format, source + (first + row) * stride + place, count, piece + row * pieceLength)
                }
                if filled == lanes {
                    for column in Swift.stride(from: 0, to: count, by: lanes) {
                        transposeSquare(
                            UnsafePointer(piece + column), pieceLength, scratch, target + column * tileColumns)
                    }
                } else {
                    for row in 0..<filled {
                        for index in 0..<count { target[index * tileColumns + row] = piece[row * pieceLength + index] }
                    }
                }
            }
        }
    }
}

func unpackBlocks(
    _ format: BlockFormat, _ source: UnsafeRawPointer, _ count: Int, _ target: UnsafeMutablePointer<Float>
) {
    let blocks = count / format.length
    switch format {
    case .q40: for index in 0..<blocks { unpackQ40(source + index * 18, target + index * 32) }
    case .q41: for index in 0..<blocks { unpackQ41(source + index * 20, target + index * 32) }
    case .q50: for index in 0..<blocks { unpackQ50(source + index * 22, target + index * 32) }
    case .q51: for index in 0..<blocks { unpackQ51(source + index * 24, target + index * 32) }
    case .q80: for index in 0..<blocks { unpackQ80(source + index * 34, target + index * 32) }
    case .q2k: for index in 0..<blocks { unpackQ2K(source + index * 84, target + index * 256) }
    case .q3k: for index in 0..<blocks { unpackQ3K(source + index * 110, target + index * 256) }
    case .q4k: for index in 0..<blocks { unpackQ4K(source + index * 144, target + index * 256) }
    case .q5k: for index in 0..<blocks { unpackQ5K(source + index * 176, target + index * 256) }
    case .q6k: for index in 0..<blocks { unpackQ6K(source + index * 210, target + index * 256) }
    }
}

// MARK: Parts of blocks

/// A vector of bytes as numbers.
@inline(__always)
private func numbers(_ source: UnsafeRawPointer) -> Bits {
    kernel_widen_bytes(source.loadUnaligned(as: Bytes.self))
}

/// Numbers below 2²³ as floats, less a small whole number: they are the low bits of a float's mantissa.
@inline(__always)
private func floats(_ numbers: Bits, less offset: Float = 0) -> Vector {
    unsafeBitCast(numbers | Bits(repeating: 0x4B00_0000), to: Vector.self) - Vector(repeating: 8_388_608 + offset)
}

/// A half-precision number.
@inline(__always)
private func half(_ source: UnsafeRawPointer) -> Float {
    let bits = halfBits(Bits(repeating: UInt32(source.loadUnaligned(as: UInt16.self))))
    return Float(bitPattern: bits[0])
}

/// A bit for each lane, from one of a word's bits on, at `place` in the numbers.
@inline(__always)
private func laneBits(_ word: UInt32, _ first: Int, at place: UInt32) -> Bits {
    var shifts = Bits.zero
    for lane in 0..<lanes { shifts[lane] = UInt32(lane) }
    return ((Bits(repeating: word) &>> (shifts &+ UInt32(first))) & Bits(repeating: 1)) &<< place
}

// MARK: Blocks of 32

@inline(__always)
private func unpackQ40(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let scale = Vector(repeating: half(block))
    for index in Swift.stride(from: 0, to: 16, by: lanes) {
        let pair = numbers(block + 2 + index)
        target.store(floats(pair & Bits(repeating: 15), less: 8) * scale, index)
        target.store(floats(pair &>> 4, less: 8) * scale, 16 + index)
    }
}

@inline(__always)
private func unpackQ41(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let (scale, minimum) = (Vector(repeating: half(block)), Vector(repeating: half(block + 2)))
    for index in Swift.stride(from: 0, to: 16, by: lanes) {
        let pair = numbers(block + 4 + index)
        target.store(minimum.adding(floats(pair & Bits(repeating: 15)), times: scale), index)
        target.store(minimum.adding(floats(pair &>> 4), times: scale), 16 + index)
    }
}

@inline(__always)
private func unpackQ50(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let (scale, upper) = (Vector(repeating: half(block)), (block + 2).loadUnaligned(as: UInt32.self))
    for index in Swift.stride(from: 0, to: 16, by: lanes) {
        let pair = numbers(block + 6 + index)
        let low = pair & Bits(repeating: 15) | laneBits(upper, index, at: 4)
        let high = pair &>> 4 | laneBits(upper, 16 + index, at: 4)
        target.store(floats(low, less: 16) * scale, index)
        target.store(floats(high, less: 16) * scale, 16 + index)
    }
}

@inline(__always)
private func unpackQ51(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let (scale, minimum) = (Vector(repeating: half(block)), Vector(repeating: half(block + 2)))
    let upper = (block + 4).loadUnaligned(as: UInt32.self)
    for index in Swift.stride(from: 0, to: 16, by: lanes) {
        let pair = numbers(block + 8 + index)
        let low = pair & Bits(repeating: 15) | laneBits(upper, index, at: 4)
        let high = pair &>> 4 | laneBits(upper, 16 + index, at: 4)
        target.store(minimum.adding(floats(low), times: scale), index)
        target.store(minimum.adding(floats(high), times: scale), 16 + index)
    }
}

@inline(__always)
private func unpackQ80(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let scale = Vector(repeating: half(block))
    for index in Swift.stride(from: 0, to: 32, by: lanes) {
        // With the sign turned, −128 becomes 0.
        let code = numbers(block + 2 + index) ^ Bits(repeating: 0x80)
        target.store(floats(code, less: 128) * scale, index)
    }
}

// MARK: Blocks of 256

@inline(__always)
private func unpackQ2K(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let (scale, minimum) = (half(block + 80), half(block + 82))
    for part in 0..<16 {
        let scales = Int((block + part).load(as: UInt8.self))
        let (factor, term) = (
            Vector(repeating: scale * Float(scales & 15)), Vector(repeating: -(minimum * Float(scales >> 4)))
        )
        // 32 bytes hold four runs of 32 elements, each with two scales.
        let codes = block + 16 + part / 8 * 32 + part % 2 * 16
        let shift = UInt32(part % 8 / 2 * 2)
        for index in Swift.stride(from: 0, to: 16, by: lanes) {
            let code = (numbers(codes + index) &>> shift) & Bits(repeating: 3)
            target.store(term.adding(floats(code), times: factor), 16 * part + index)
        }
    }
}

@inline(__always)
private func unpackQ3K(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let scale = half(block + 108)
    let scales = block + 96
    for part in 0..<16 {
        let low = Int((scales + part % 8).load(as: UInt8.self)) >> (part / 8 * 4) & 15
        let high = Int((scales + 8 + part % 4).load(as: UInt8.self)) >> (part / 4 * 2) & 3
        let factor = Vector(repeating: scale * Float((low | high << 4) - 32))
        let codes = block + 32 + part / 8 * 32 + part % 2 * 16
        let (shift, place) = (UInt32(part % 8 / 2 * 2), UInt32(part / 2))
        for index in Swift.stride(from: 0, to: 16, by: lanes) {
            let upper = (numbers(block + part % 2 * 16 + index) &>> place) & Bits(repeating: 1)
            let code = (numbers(codes + index) &>> shift) & Bits(repeating: 3) | upper &<< 2
            target.store(floats(code, less: 4) * factor, 16 * part + index)
        }
    }
}

/// Scale and minimum of one of eight parts, of six bits each; the last four have their upper bits with the first four.
@inline(__always)
private func partScales(_ scales: UnsafeRawPointer, _ part: Int) -> (scale: Float, minimum: Float) {
    func byte(_ place: Int) -> Int { Int((scales + place).load(as: UInt8.self)) }
    if part < 4 { return (Float(byte(part) & 63), Float(byte(part + 4) & 63)) }
    let both = byte(part + 4)
    return (Float(both & 15 | (byte(part - 4) >> 6) << 4), Float(both >> 4 | (byte(part) >> 6) << 4))
}

@inline(__always)
private func unpackQ4K(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let (scale, minimum) = (half(block), half(block + 2))
    for pair in 0..<4 {
        let (first, second) = (partScales(block + 4, 2 * pair), partScales(block + 4, 2 * pair + 1))
        let factors = (Vector(repeating: scale * first.scale), Vector(repeating: scale * second.scale))
        let terms = (Vector(repeating: -(minimum * first.minimum)), Vector(repeating: -(minimum * second.minimum)))
        for index in Swift.stride(from: 0, to: 32, by: lanes) {
            let codes = numbers(block + 16 + 32 * pair + index)
            let (low, high) = (floats(codes & Bits(repeating: 15)), floats(codes &>> 4))
            target.store(terms.0.adding(low, times: factors.0), 64 * pair + index)
            target.store(terms.1.adding(high, times: factors.1), 64 * pair + 32 + index)
        }
    }
}

@inline(__always)
private func unpackQ5K(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let (scale, minimum) = (half(block), half(block + 2))
    for pair in 0..<4 {
        let (first, second) = (partScales(block + 4, 2 * pair), partScales(block + 4, 2 * pair + 1))
        let factors = (Vector(repeating: scale * first.scale), Vector(repeating: scale * second.scale))
        let terms = (Vector(repeating: -(minimum * first.minimum)), Vector(repeating: -(minimum * second.minimum)))
        for index in Swift.stride(from: 0, to: 32, by: lanes) {
            let codes = numbers(block + 48 + 32 * pair + index)
            let upper = numbers(block + 16 + index) &>> UInt32(2 * pair)
            let low = codes & Bits(repeating: 15) | (upper & Bits(repeating: 1)) &<< 4
            let high = codes &>> 4 | (upper & Bits(repeating: 2)) &<< 3
            target.store(terms.0.adding(floats(low), times: factors.0), 64 * pair + index)
            target.store(terms.1.adding(floats(high), times: factors.1), 64 * pair + 32 + index)
        }
    }
}

@inline(__always)
private func unpackQ6K(_ block: UnsafeRawPointer, _ target: UnsafeMutablePointer<Float>) {
    let scale = half(block + 208)
    for half in 0..<2 {
        let (lower, upper) = (block + 64 * half, block + 128 + 32 * half)
        let values = target + 128 * half
        // Sixteen elements have one scale; 32 bytes of upper bits hold four runs of 32 elements.
        for index in Swift.stride(from: 0, to: 32, by: lanes) {
            let scales = block + 192 + 8 * half + index / 16
            func factor(_ run: Int) -> Vector {
                Vector(repeating: scale * Float((scales + 2 * run).load(as: Int8.self)))
            }
            let (left, right, high) = (numbers(lower + index), numbers(lower + 32 + index), numbers(upper + index))
            let four = Bits(repeating: 15)
            let two = Bits(repeating: 0x30)
            values.store(floats(left & four | (high &<< 4) & two, less: 32) * factor(0), index)
            values.store(floats(right & four | (high &<< 2) & two, less: 32) * factor(1), 32 + index)
            values.store(floats(left &>> 4 | high & two, less: 32) * factor(2), 64 + index)
            values.store(floats(right &>> 4 | (high &>> 2) & two, less: 32) * factor(3), 96 + index)
        }
    }
}
