extension HostTensor {
    /// Makes a contiguous `f32` tensor from values.
    public init(_ values: [Float], _ shape: [Int]) { self.init(values, shape, as: .f32) }

    /// Makes a contiguous `i64` tensor from values.
    public init(integers values: [Int64], _ shape: [Int]) { self.init(values, shape, as: .i64) }

    /// Makes a contiguous tensor of elements in their own bytes.
    package init<Element: BitwiseCopyable>(_ values: [Element], _ shape: [Int], as dtype: DType) {
        precondition(
            values.count * MemoryLayout<Element>.size == dtype.byteCount(of: shape.reduce(1, *)),
            "\(values.count) values do not fill \(shape) of \(dtype)")
        let storage = HostStorage.zeros(byteCount: dtype.byteCount(of: shape.reduce(1, *)))
        values.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress { storage.base.copyMemory(from: source, byteCount: bytes.count) }
        }
        self.init(dtype: dtype, shape: shape, storage: storage)
    }

    /// A contiguous tensor of zeros.
    public static func zeros(_ shape: [Int], _ dtype: DType = .f32) -> HostTensor {
        HostTensor(
            dtype: dtype, shape: shape, storage: .zeros(byteCount: dtype.byteCount(of: shape.reduce(1, *))))
    }

    /// The tensor in contiguous `f32`: itself where it is that.
    public var single: HostTensor {
        dtype == .f32 && isContiguous ? self : HostTensor(floats(), shape)
    }

    /// The elements in row-major order, converted to `Float` whatever their type is.
    public func floats() -> [Float] {
        if dtype == .f32, isContiguous {
            return [Float](unsafeUninitializedCapacity: count) { values, filled in
                if let target = values.baseAddress {
                    UnsafeMutableRawPointer(target).copyMemory(from: storage.base + 4 * offset, byteCount: 4 * count)
                }
                filled = count
            }
        }
        if dtype.isBlocked, isContiguous { return unpacked(0..<count) }
        var result = [Float]()
        result.reserveCapacity(count)
        layout.forEachOffset(0..<count) { result.append(scalar(at: $0)) }
        return result
    }

    /// A range of the elements of contiguous blocks.
    package func unpacked(_ range: Range<Int>) -> [Float] {
        precondition(isContiguous, "the blocks of \(shape) do not follow one another")
        let (length, first) = (dtype.blockLength, (offset + range.lowerBound) % dtype.blockLength)
        let start = (offset + range.lowerBound) / length
        let blocks = (first + range.count + length - 1) / length
        let values = [Float](unsafeUninitializedCapacity: blocks * length) { values, filled in
            for block in 0..<blocks {
                guard let target = values.baseAddress else { return }
                Reference.unpack(
                    storage.base + (start + block) * dtype.blockByteCount, dtype, into: target + block * length)
            }
            filled = blocks * length
        }
        return first == 0 && values.count == range.count ? values : Array(values[first..<first + range.count])
    }

    /// The elements in row-major order as integers; floating-point values are truncated.
    public func integers() -> [Int64] {
        var result = [Int64]()
        result.reserveCapacity(count)
        layout.forEachOffset(0..<count) { index in
            switch dtype {
            case .i64: result.append(load(index, Int64.self))
            case .i32: result.append(Int64(load(index, Int32.self)))
            default: result.append(Int64(scalar(at: index)))
            }
        }
        return result
    }

    private func load<T: BitwiseCopyable>(_ index: Int, _ type: T.Type) -> T {
        UnsafeRawPointer(storage.base).loadUnaligned(fromByteOffset: index * dtype.byteCount, as: type)
    }

    /// The element at a place in the storage.
    package func scalar(at index: Int) -> Float {
        switch dtype {
        case .f32: load(index, Float.self)
        case .f64: Float(load(index, Double.self))
        case .bf16: Float(bitPattern: UInt32(load(index, UInt16.self)) << 16)
        case .f16: FloatBits.half(load(index, UInt16.self))
        case .f8e4m3: FloatBits.e4m3(load(index, UInt8.self))
        case .f8e5m2: FloatBits.half(UInt16(load(index, UInt8.self)) << 8)
        case .i64: Float(load(index, Int64.self))
        case .i32: Float(load(index, Int32.self))
        case .i16: Float(load(index, Int16.self))
        case .i8: Float(load(index, Int8.self))
        case .u8: Float(load(index, UInt8.self))
        case .bool: load(index, UInt8.self) == 0 ? 0 : 1
        case .q40, .q41, .q50, .q51, .q80, .q2k, .q3k, .q4k, .q5k, .q6k:
            withUnsafeTemporaryAllocation(of: Float.self, capacity: dtype.blockLength) { values in
                guard let target = values.baseAddress else { return 0 }
                let block = index / dtype.blockLength
                Reference.unpack(storage.base + block * dtype.blockByteCount, dtype, into: target)
                return values[index % dtype.blockLength]
            }
        }
    }
}
