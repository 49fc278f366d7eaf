extension Reference {
    /// Writes the elements of one block: `scale · code`, or `scale · code − minimum` where it has minima.
    ///
    /// The layouts are those of ggml (`ggml-common.h`); every sum of products is rounded once, so that there is one right
    /// result.
    ///
    /// - Parameters:
    ///   - block: `type.blockByteCount` bytes, on any address.
    ///   - values: room for `type.blockLength` numbers.
    package static func unpack(_ block: UnsafeRawPointer, _ type: DType, into values: UnsafeMutablePointer<Float>) {
        let bits = BlockBits(block)
        for index in 0..<type.blockLength {
            switch type {
            case .q40: values[index] = bits.half(0) * Float(bits.nibble(2, index) - 8)
            case .q41: values[index] = bits.half(0) * Float(bits.nibble(4, index)) + bits.half(2)
            case .q50: values[index] = bits.half(0) * Float(bits.nibble(6, index) + bits.bit(2, index) * 16 - 16)
            case .q51:
                values[index] = bits.half(0) * Float(bits.nibble(8, index) + bits.bit(4, index) * 16) + bits.half(2)
            case .q80: values[index] = bits.half(0) * Float(bits.signed(2 + index))
            case .q2k: values[index] = bits.q2k(index)
            case .q3k: values[index] = bits.q3k(index)
            case .q4k: values[index] = bits.q4k(index)
            case .q5k: values[index] = bits.q5k(index)
            case .q6k: values[index] = bits.q6k(index)
            case .f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64, .i64, .i32, .i16, .i8, .u8, .bool:
                preconditionFailure("\(type) has no blocks")
            }
        }
    }
}

/// The parts of a block by their places in it.
private struct BlockBits {
    private let start: UnsafeRawPointer

    init(_ start: UnsafeRawPointer) { self.start = start }

    func byte(_ place: Int) -> Int { Int(start.load(fromByteOffset: place, as: UInt8.self)) }
    func signed(_ place: Int) -> Int { Int(start.load(fromByteOffset: place, as: Int8.self)) }
    func half(_ place: Int) -> Float {
        FloatBits.half(UInt16(byte(place)) | UInt16(byte(place + 1)) << 8)
    }

    /// One of 32 codes of 4 bits: the first 16 are the lower halves of 16 bytes.
    func nibble(_ place: Int, _ index: Int) -> Int {
        let pair = byte(place + index % 16)
        return index < 16 ? pair & 15 : pair >> 4
    }

    /// One of a row of bits.
    func bit(_ place: Int, _ index: Int) -> Int { byte(place + index / 8) >> (index % 8) & 1 }

    /// One of 256 codes of 2 bits: 32 bytes hold four runs of 32.
    private func pair(_ place: Int, _ index: Int) -> Int {
        byte(place + index / 128 * 32 + index % 32) >> (index % 128 / 32 * 2) & 3
    }

    /// One of 256 codes of 4 bits: 32 bytes hold two runs of 32.
    private func quad(_ place: Int, _ index: Int) -> Int {
        byte(place + index / 64 * 32 + index % 32) >> (index % 64 / 32 * 4) & 15
    }

    /// Scale and minimum, of 6 bits each, of one of eight parts; the last four have their upper bits with the first four.
    private func scales(_ place: Int, _ part: Int) -> (scale: Int, minimum: Int) {
        if part < 4 { return (byte(place + part) & 63, byte(place + part + 4) & 63) }
        let (low, high) = (byte(place + part + 4), (byte(place + part - 4) >> 6, byte(place + part) >> 6))
        return (low & 15 | high.0 << 4, low >> 4 | high.1 << 4)
    }

    /// Bytes: 16 scales with minima, 64 of codes, scale of the scales, scale of the minima.
    func q2k(_ index: Int) -> Float {
        let scales = byte(index / 16)
        return half(80) * Float(scales & 15) * Float(pair(16, index)) - half(82) * Float(scales >> 4)
    }

    /// Bytes: 32 of upper bits, 64 of codes, 12 of scales, their scale.
    func q3k(_ index: Int) -> Float {
        let part = index / 16
        let low = part < 8 ? byte(96 + part) & 15 : byte(96 + part - 8) >> 4
        let high = byte(104 + part % 4) >> (part / 4 * 2) & 3
        let upper = byte(index % 32) >> (index / 32) & 1
        return half(108) * Float((low | high << 4) - 32) * Float(pair(32, index) + upper * 4 - 4)
    }

    /// Bytes: scale of the scales, scale of the minima, 12 of both, 128 of codes.
    func q4k(_ index: Int) -> Float {
        let (scale, minimum) = scales(4, index / 32)
        return half(0) * Float(scale) * Float(quad(16, index)) - half(2) * Float(minimum)
    }

    /// The same with 32 bytes of upper bits before the codes.
    func q5k(_ index: Int) -> Float {
        let (scale, minimum) = scales(4, index / 32)
        let upper = byte(16 + index % 32) >> (index / 32) & 1
        return half(0) * Float(scale) * Float(quad(48, index) + upper * 16) - half(2) * Float(minimum)
    }

    /// Bytes: 128 of lower halves, 64 of upper bits, 16 scales, their scale.
    func q6k(_ index: Int) -> Float {
        let run = index % 128 / 32
        let low = byte(index / 128 * 64 + run % 2 * 32 + index % 32) >> (run / 2 * 4) & 15
        let high = byte(128 + index / 128 * 32 + index % 32) >> (run * 2) & 3
        return half(208) * Float(signed(192 + index / 16)) * Float((low | high << 4) - 32)
    }
}
