/// The bytes of a GGUF file, right or wrong.
public struct GGUFBytes {
    /// A value of the metadata.
    public enum Value {
        case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16), uint32(UInt32), int32(Int32)
        case float(Float), bool(Bool), string(String), uint64(UInt64), int64(Int64), double(Double)
        case strings([String]), ints([Int32]), floats([Float])
        /// A list whose elements are of a type of this number.
        case list(type: UInt32, count: UInt64, bytes: [UInt8])
    }

    public var version: UInt32 = 3
    /// What the data of each tensor are aligned to; it is written where it is not 32.
    public var alignment = 32
    /// The number of tensors that the header states; that of the tensors if nothing is said.
    public var statedCount: UInt64?
    private var values: [(key: String, value: Value)] = []
    private var tensors: [(name: String, type: UInt32, shape: [Int], bytes: [UInt8], offset: UInt64?)] = []

    public init() {}

    /// Adds a value.
    public mutating func set(_ key: String, _ value: Value) { values.append((key, value)) }

    /// Adds a tensor whose axes are given outermost first, and whose place may be another than that behind the last one.
    public mutating func add(_ name: String, type: UInt32, _ shape: [Int], _ bytes: [UInt8], at offset: UInt64? = nil) {
        tensors.append((name, type, shape, bytes, offset))
    }

    /// The whole file.
    public var bytes: [UInt8] {
        var header =
            Array("GGUF".utf8) + GGUFBytes.number(version) + GGUFBytes.number(statedCount ?? UInt64(tensors.count))
        let values = alignment == 32 ? self.values : self.values + [("general.alignment", .uint32(UInt32(alignment)))]
        header += GGUFBytes.number(UInt64(values.count))
        for (key, value) in values { header += GGUFBytes.text(key) + GGUFBytes.bytes(value) }
        var data: [UInt8] = []
        for tensor in tensors {
            header += GGUFBytes.text(tensor.name) + GGUFBytes.number(UInt32(tensor.shape.count))
            for axis in tensor.shape.reversed() { header += GGUFBytes.number(UInt64(axis)) }
            header += GGUFBytes.number(tensor.type) + GGUFBytes.number(tensor.offset ?? UInt64(data.count))
            data += padded(tensor.bytes)
        }
        return padded(header) + data
    }

    private func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
    }

    private static func number(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    private static func text(_ text: String) -> [UInt8] { number(UInt64(text.utf8.count)) + Array(text.utf8) }

    private static func bytes(_ value: Value) -> [UInt8] {
        func typed(_ type: UInt32, _ bytes: [UInt8]) -> [UInt8] { number(type) + bytes }
        func list(_ type: UInt32, _ count: Int, _ bytes: [UInt8]) -> [UInt8] {
            typed(9, number(type) + number(UInt64(count)) + bytes)
        }
        switch value {
        case .uint8(let value): return typed(0, [value])
        case .int8(let value): return typed(1, number(value))
        case .uint16(let value): return typed(2, number(value))
        case .int16(let value): return typed(3, number(value))
        case .uint32(let value): return typed(4, number(value))
        case .int32(let value): return typed(5, number(value))
        case .float(let value): return typed(6, number(value.bitPattern))
        case .bool(let value): return typed(7, [value ? 1 : 0])
        case .string(let value): return typed(8, text(value))
        case .uint64(let value): return typed(10, number(value))
        case .int64(let value): return typed(11, number(value))
        case .double(let value): return typed(12, number(value.bitPattern))
        case .strings(let values): return list(8, values.count, values.flatMap(text))
        case .ints(let values): return list(5, values.count, values.flatMap { number($0) })
        case .floats(let values): return list(6, values.count, values.flatMap { number($0.bitPattern) })
        case .list(let type, let count, let bytes): return typed(9, number(type) + number(count) + bytes)
        }
    }
}
