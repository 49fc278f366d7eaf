extension HostTensor {
    /// A range of the elements in row-major order as the bytes of another floating-point type, rounded as torch rounds:
    /// to the nearest, ties to even.
    ///
    /// The elements are floating-point numbers, or 8-bit integers.
    ///
    /// Too large values become infinite, or NaN in `f8e4m3`, which has no infinities. The bytes of the own type are
    /// copied as they are, unless they are to be scaled.
    package func bytes(_ range: Range<Int>, as type: DType, scaledBy scale: WeightScale = .none) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "\(range) is outside \(shape)")
        if dtype.isBlocked { return blockBytes(range, as: type, scaledBy: scale) }
        let size = dtype.byteCount
        var source = UnsafeRawPointer(storage.base) + offset * size
        var gathered: [UInt8] = []
        if isContiguous {
            source += range.lowerBound * size
        } else {
            gathered = gather(range)
        }
        return gathered.withUnsafeBytes { buffer in
            let start = gathered.isEmpty ? source : buffer.baseAddress ?? source
            if type == dtype, scale == .none {
                return Array(UnsafeRawBufferPointer(start: start, count: range.count * size))
            }
            return HostTensor.convert(start, dtype, range.count, to: type) { values in
                scale.multiply(&values, from: range.lowerBound, columns: shape.last ?? 1)
            }
        }
    }

    /// The same of elements in blocks; those of the own type are whole blocks.
    private func blockBytes(_ range: Range<Int>, as type: DType, scaledBy scale: WeightScale) -> [UInt8] {
        if type == dtype, scale == .none {
            let start = offset + range.lowerBound
            precondition(
                isContiguous && start % dtype.blockLength == 0 && range.count % dtype.blockLength == 0,
                "\(range) of \(shape) is no row of whole blocks")
            return Array(
                UnsafeRawBufferPointer(
                    start: storage.base + dtype.byteCount(of: start), count: dtype.byteCount(of: range.count)))
        }
        var values: [Float] = []
        if isContiguous {
            values = unpacked(range)
        } else {
            layout.forEachOffset(range) { values.append(scalar(at: $0)) }
        }
        return values.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return [] }
            return HostTensor.convert(start, .f32, range.count, to: type) { values in
                scale.multiply(&values, from: range.lowerBound, columns: shape.last ?? 1)
            }
        }
    }

    /// The bytes of a range of the elements of a strided view.
    private func gather(_ range: Range<Int>) -> [UInt8] {
        let size = dtype.byteCount
        let base = UnsafeRawPointer(storage.base)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count * size)
        layout.forEachOffset(range) {
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: base + $0 * size, count: size))
        }
        return bytes
    }

    /// Elements one after the other to another type, by way of float32, as torch does it.
    private static func convert(
        _ source: UnsafeRawPointer, _ from: DType, _ count: Int, to type: DType, scale: (inout [Float]) -> Void
    ) -> [UInt8] {
        precondition((from.isFloat || from == .i8) && type.isFloat, "\(from) to \(type) is no rounding")
        var values = [Float](unsafeUninitializedCapacity: count) { values, filled in
            func fill<Bits: BitwiseCopyable>(_ bits: Bits.Type, _ value: (Bits) -> Float) {
                let step = MemoryLayout<Bits>.size
                for index in 0..<count {
                    values[index] = value(source.loadUnaligned(fromByteOffset: index * step, as: Bits.self))
                }
            }
            switch from {
            case .f64: fill(Double.self) { Float($0) }
            case .f16: fill(UInt16.self, FloatBits.half)
            case .bf16: fill(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
            case .f8e4m3: fill(UInt8.self, FloatBits.e4m3)
            case .f8e5m2: fill(UInt8.self) { FloatBits.half(UInt16($0) << 8) }
            case .i8: fill(Int8.self) { Float($0) }
            default: fill(Float.self) { $0 }
            }
            filled = count
        }
        scale(&values)
        return [UInt8](unsafeUninitializedCapacity: count * type.byteCount) { bytes, filled in
            func fill<Bits: BitwiseCopyable>(_ bits: (Float) -> Bits) {
                for index in 0..<count {
                    UnsafeMutableRawBufferPointer(bytes).storeBytes(
                        of: bits(values[index]), toByteOffset: index * MemoryLayout<Bits>.size, as: Bits.self)
                }
            }
            switch type {
            case .f64: fill { Double($0) }
            case .f16: fill(FloatBits.half(rounding:))
            case .bf16: fill(FloatBits.bfloat(rounding:))
            case .f8e4m3: fill(FloatBits.e4m3(rounding:))
            case .f8e5m2: fill(FloatBits.e5m2(rounding:))
            default: fill { $0 }
            }
            filled = count * type.byteCount
        }
    }
}

extension HostTensor {
    /// The numbers rounded to bfloat16, and stored so.
    package var roundedToBFloat16: HostTensor { HostTensor(bytes(0..<count, as: .bf16), shape, as: .bf16) }
}

extension WeightScale {
    /// Multiplies elements that follow one another in a weight of so many columns, from one of them on.
    fileprivate func multiply(_ values: inout [Float], from first: Int, columns: Int) {
        if self == .none { return }
        for index in values.indices { values[index] *= self[(first + index) / columns, (first + index) % columns] }
    }
}
