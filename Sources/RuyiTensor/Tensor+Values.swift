extension Tensor {
    /// Makes a contiguous `f32` tensor on the heap from values; meant for tables, tests and other small things.
    public init(_ values: [Float], _ shape: [Int]) {
        precondition(values.count == shape.reduce(1, *), "\(values.count) values do not fill \(shape)")
        let storage = Storage.heap(byteCount: max(values.count, 1) * 4)
        values.withUnsafeBytes {
            storage.base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(storage.base), byteCount: $0.count)
        }
        self.init(dtype: .f32, shape: shape, storage: storage)
    }

    /// Makes a contiguous `i64` tensor on the heap from values.
    public init(integers values: [Int64], _ shape: [Int]) {
        precondition(values.count == shape.reduce(1, *), "\(values.count) values do not fill \(shape)")
        let storage = Storage.heap(byteCount: max(values.count, 1) * 8)
        values.withUnsafeBytes {
            storage.base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(storage.base), byteCount: $0.count)
        }
        self.init(dtype: .i64, shape: shape, storage: storage)
    }

    /// The elements in row-major order, converted to `Float` whatever their type is.
    public func floats() -> [Float] {
        var result = [Float]()
        result.reserveCapacity(count)
        forEachOffset(0..<count) { result.append(scalar(at: $0)) }
        return result
    }

    /// The elements in row-major order as integers; floating-point values are truncated.
    public func integers() -> [Int64] {
        var result = [Int64]()
        result.reserveCapacity(count)
        forEachOffset(0..<count) { index in
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

    func scalar(at index: Int) -> Float {
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
        }
    }

    /// Visits a range of the elements in row-major order: their places in the storage, counted in elements.
    func forEachOffset(_ range: Range<Int>, _ body: (Int) -> Void) {
        var index = [Int](repeating: 0, count: rank)
        var rest = range.lowerBound
        for axis in (0..<rank).reversed() {
            index[axis] = rest % max(shape[axis], 1)
            rest /= max(shape[axis], 1)
        }
        var position = zip(index, strides).reduce(offset) { $0 + $1.0 * $1.1 }
        for _ in range {
            body(position)
            var axis = rank - 1
            while axis >= 0 {
                index[axis] += 1
                position += strides[axis]
                if index[axis] < shape[axis] { break }
                position -= strides[axis] * shape[axis]
                index[axis] = 0
                axis -= 1
            }
        }
    }
}

extension Storage {
    /// Uncounted memory for small tables.
    static func heap(byteCount: Int) -> Storage {
        Storage(base: .allocate(byteCount: byteCount, alignment: 64), byteCount: byteCount) { base, _ in
            base.deallocate()
        }
    }
}

/// The value of a bit pattern, spelled out; the kernels' conversions are tested against these.
public enum FloatBits {
    /// IEEE binary16.
    ///
    /// f8_e5m2 is its upper byte.
    public static func half(_ bits: UInt16) -> Float {
        let sign: Float = bits & 0x8000 == 0 ? 1 : -1
        let exponent = Int(bits >> 10) & 31
        let mantissa = Float(bits & 0x3FF)
        switch exponent {
        case 0: return sign * mantissa * 0x1p-24
        case 31: return mantissa == 0 ? sign * .infinity : .nan
        default: return sign * Float(sign: .plus, exponent: exponent - 25, significand: mantissa + 1024)
        }
    }

    /// OCP 8-bit float with 4 exponent bits, no infinities; 0x7F and 0xFF are NaN.
    public static func e4m3(_ bits: UInt8) -> Float {
        let sign: Float = bits & 0x80 == 0 ? 1 : -1
        let exponent = Int(bits >> 3) & 15
        let mantissa = Float(bits & 7)
        if bits & 0x7F == 0x7F { return .nan }
        if exponent == 0 { return sign * mantissa * 0x1p-9 }
        return sign * Float(sign: .plus, exponent: exponent - 10, significand: mantissa + 8)
    }

    /// The f8_e4m3 nearest to a value, ties to even; what rounds to more than 448 becomes NaN, as in torch.
    public static func e4m3(rounding value: Float) -> UInt8 {
        let sign: UInt8 = value.sign == .minus ? 0x80 : 0
        // 464 lies between 448 and the 480 that there is not, and 448 is even.
        guard value.magnitude <= 464 else { return sign | 0x7F }
        return sign | small(value.magnitude, mantissaBits: 3, leastExponent: -6)
    }

    /// The f8_e5m2 nearest to a value, ties to even; what rounds to more than 57344 becomes infinite.
    public static func e5m2(rounding value: Float) -> UInt8 {
        let sign: UInt8 = value.sign == .minus ? 0x80 : 0
        if value.isNaN { return sign | 0x7F }
        return sign | small(min(value.magnitude, 65_536), mantissaBits: 2, leastExponent: -14)
    }

    /// The bits of a magnitude with so many bits of mantissa; below the least exponent all steps are of one size.
    private static func small(_ magnitude: Float, mantissaBits: Int, leastExponent: Int) -> UInt8 {
        let exponent = max(Int(magnitude.bitPattern >> 23) - 127, leastExponent)
        let stepsPerUnit = Float(bitPattern: UInt32(127 + mantissaBits - exponent) << 23)
        // From the least exponent on each binade has as many steps as the mantissa has values, so that a carry counts on.
        let steps = (magnitude * stepsPerUnit).rounded(.toNearestOrEven)
        return UInt8((exponent - leastExponent) << mantissaBits + Int(steps))
    }
}
