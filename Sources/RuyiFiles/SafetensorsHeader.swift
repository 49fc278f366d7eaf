import RuyiFault
import RuyiTensor

/// A type that a safetensors file can store; not all of them can be computed with.
public enum SafetensorsType: String, Sendable, CaseIterable {
    case bool = "BOOL"
    case f4 = "F4"
    case f6e2m3 = "F6_E2M3"
    case f6e3m2 = "F6_E3M2"
    case u8 = "U8"
    case i8 = "I8"
    case f8e5m2 = "F8_E5M2"
    case f8e4m3 = "F8_E4M3"
    case f8e8m0 = "F8_E8M0"
    case f8e4m3fnuz = "F8_E4M3FNUZ"
    case f8e5m2fnuz = "F8_E5M2FNUZ"
    case i16 = "I16"
    case u16 = "U16"
    case f16 = "F16"
    case bf16 = "BF16"
    case i32 = "I32"
    case u32 = "U32"
    case f32 = "F32"
    case c64 = "C64"
    case f64 = "F64"
    case i64 = "I64"
    case u64 = "U64"

    /// Bits of one element.
    public var bitCount: Int {
        switch self {
        case .f4: 4
        case .f6e2m3, .f6e3m2: 6
        case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
        case .i16, .u16, .f16, .bf16: 16
        case .i32, .u32, .f32: 32
        case .c64, .f64, .i64, .u64: 64
        }
    }

    /// The tensor type; nil for what tensors do not have.
    public var dtype: DType? {
        switch self {
        case .bool: .bool
        case .u8: .u8
        case .i8: .i8
        case .f8e5m2: .f8e5m2
        case .f8e4m3: .f8e4m3
        case .i16: .i16
        case .f16: .f16
        case .bf16: .bf16
        case .i32: .i32
        case .f32: .f32
        case .f64: .f64
        case .i64: .i64
        case .f4, .f6e2m3, .f6e3m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .u16, .u32, .c64, .u64: nil
        }
    }

    /// The stored type of a tensor type.
    public init(_ dtype: DType) {
        switch dtype {
        case .f32: self = .f32
        case .f16: self = .f16
        case .bf16: self = .bf16
        case .f8e4m3: self = .f8e4m3
        case .f8e5m2: self = .f8e5m2
        case .f64: self = .f64
        case .i64: self = .i64
        case .i32: self = .i32
        case .i16: self = .i16
        case .i8: self = .i8
        case .u8: self = .u8
        case .bool: self = .bool
        }
    }
}

/// The header of a safetensors file: every tensor's type, shape and place, checked against one another and the file.
///
/// The rules are those of the reference reader and a few stricter ones (no whitespace before the header, no name twice,
/// no unknown field, rank at most 8, axes below 2⁴⁰, names of 1 to 1,024 bytes without NUL).
public struct SafetensorsHeader: Sendable, Equatable {
    /// One tensor.
    public struct Entry: Sendable, Equatable {
        /// The name; any text, never a path.
        public let name: String
        /// The stored type.
        public let type: SafetensorsType
        /// The lengths of the axes, outermost first.
        public let shape: [Int]
        /// The bytes of the data, counted from the first byte after the header.
        public let range: Range<Int>

        /// Makes an entry; `SafetensorsHeader` checks it.
        public init(name: String, type: SafetensorsType, shape: [Int], range: Range<Int>) {
            self.name = name
            self.type = type
            self.shape = shape
            self.range = range
        }
    }

    /// The most bytes that a header may have.
    public static let byteLimit = 100_000_000
    static let nameLimit = 1024
    static let rankLimit = 8
    static let axisLimit = 1 << 40

    /// The tensors in the order of the header.
    public let entries: [Entry]
    /// The texts under `__metadata__`, in order.
    public let metadata: [JSON.Member]
    /// The place of the first byte of data in the file.
    public let dataStart: Int

    /// Reads and checks the header of a file.
    ///
    /// - Parameters:
    ///   - byteCount: the size of the file.
    ///   - file: its name for messages.
    ///   - read: copies a range of the file.
    /// - Throws: `.badData` with the file, the tensor if it is about one, and the rule; what `read` throws.
    public init(
        byteCount: Int, file: String, read: (Range<Int>) throws(Fault) -> [UInt8]
    ) throws(Fault) {
        guard byteCount >= 8 else {
            throw Fault(
                .badData, "not a safetensors file: it has \(byteCount) bytes, and the header's length takes 8", at: file
            )
        }
        let length = try read(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(SafetensorsHeader.byteLimit) else {
            throw Fault(
                .badData, "not a safetensors file: a header of \(length) bytes exceeds the limit of 100000000", at: file
            )
        }
        let start = 8 + Int(length)
        guard start <= byteCount else {
            throw Fault(
                .badData, "the header of \(length) bytes reaches past the end of the file of \(byteCount) bytes",
                at: file,
                hint: "the file is incomplete; download it again")
        }
        let header = try read(8..<start)
        guard header.first == UInt8(ascii: "{") else {
            throw Fault(.badData, "not a safetensors file: the header does not begin with '{'", at: file)
        }
        try self.init(
            json: JSON.parse(header, file: file, depth: 8), dataStart: start, dataByteCount: byteCount - start,
            file: file)
    }

    private init(json: JSON, dataStart: Int, dataByteCount: Int, file: String) throws(Fault) {
        var entries = [Entry]()
        var metadata = [JSON.Member]()
        var names = Set<String>()
        for member in json.members ?? [] {
            if member.key == "__metadata__" {
                metadata = try SafetensorsHeader.metadata(member.value, file)
                continue
            }
            let entry = try EntryReader(name: member.key, file: file).entry(member.value)
            guard names.insert(entry.name).inserted else {
                throw Fault(.badData, "tensor \"\(entry.name)\": another tensor's name looks the same", at: file)
            }
            entries.append(entry)
        }
        self.entries = entries
        self.metadata = metadata
        self.dataStart = dataStart
        try checkLayout(dataByteCount, file)
    }

    private static func metadata(_ json: JSON, _ file: String) throws(Fault) -> [JSON.Member] {
        if json == .null { return [] }
        guard let members = json.members, members.allSatisfy({ $0.value.string != nil }) else {
            throw Fault(.badData, "\"__metadata__\" should be an object of strings", at: file)
        }
        return members
    }

    /// Checks that the tensors cover the data completely and without overlap.
    private func checkLayout(_ dataByteCount: Int, _ file: String) throws(Fault) {
        let ordered = entries.sorted {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        var end = 0
        for entry in ordered {
            let begin = entry.range.lowerBound
            guard begin == end else {
                let what =
                    begin < end
                    ? "overlaps the tensor before it, which ends at \(end)" : "leaves a hole after byte \(end)"
                throw Fault(.badData, "tensor \"\(entry.name)\": begins at byte \(begin) and \(what)", at: file)
            }
            end = entry.range.upperBound
        }
        if end != dataByteCount {
            throw Fault(
                .badData, "the tensors take \(end) bytes, but \(dataByteCount) follow the header", at: file,
                hint: end > dataByteCount ? "the file is incomplete; download it again" : nil)
        }
    }
}

/// Reads one entry of the header.
private struct EntryReader {
    let name: String
    let file: String

    func fault(_ rule: String) -> Fault { Fault(.badData, "tensor \"\(name.prefix(120))\": \(rule)", at: file) }

    func entry(_ json: JSON) throws(Fault) -> SafetensorsHeader.Entry {
        guard !name.isEmpty else { throw fault("the name is empty") }
        guard name.utf8.count <= SafetensorsHeader.nameLimit else { throw fault("the name has more than 1024 bytes") }
        guard !name.utf8.contains(0) else { throw fault("the name contains a NUL") }
        guard let fields = json.members else { throw fault("should be an object but is \(json.summary)") }
        for field in fields where !["dtype", "shape", "data_offsets"].contains(field.key) {
            throw fault("has the unknown field \"\(field.key.prefix(40))\"")
        }
        let type = try type(json["dtype"])
        let shape = try integers(json["shape"], "shape")
        let offsets = try integers(json["data_offsets"], "data_offsets")
        guard shape.count <= SafetensorsHeader.rankLimit else { throw fault("has \(shape.count) axes; 8 is the limit") }
        guard shape.allSatisfy({ $0 <= SafetensorsHeader.axisLimit }) else {
            throw fault("has an axis longer than 2^40")
        }
        guard offsets.count == 2 else { throw fault("\"data_offsets\" should have 2 numbers but has \(offsets.count)") }
        guard offsets[0] <= offsets[1] else {
            throw fault("ends at byte \(offsets[1]) before it begins at \(offsets[0])")
        }
        let byteCount = try byteCount(type, shape)
        guard byteCount == offsets[1] - offsets[0] else {
            throw fault(
                "\(type.rawValue) \(shape) takes \(byteCount) bytes, but its range has \(offsets[1] - offsets[0])")
        }
        return SafetensorsHeader.Entry(name: name, type: type, shape: shape, range: offsets[0]..<offsets[1])
    }

    private func type(_ json: JSON?) throws(Fault) -> SafetensorsType {
        guard let json else { throw fault("lacks \"dtype\"") }
        guard let text = json.string else { throw fault("\"dtype\" should be a string but is \(json.summary)") }
        guard let type = SafetensorsType(rawValue: text) else {
            throw fault("has the unknown type \"\(text.prefix(40))\"")
        }
        return type
    }

    private func integers(_ json: JSON?, _ field: String) throws(Fault) -> [Int] {
        guard let json else { throw fault("lacks \"\(field)\"") }
        guard let elements = json.array else { throw fault("\"\(field)\" should be a list but is \(json.summary)") }
        var result = [Int]()
        result.reserveCapacity(elements.count)
        for element in elements {
            guard let value = element.int, value >= 0 else {
                throw fault("\"\(field)\" should hold integers from 0 on but holds \(element.summary)")
            }
            result.append(value)
        }
        return result
    }

    private func byteCount(_ type: SafetensorsType, _ shape: [Int]) throws(Fault) -> Int {
        guard let bits = Extent.product(shape, times: type.bitCount) else {
            throw fault("the size of \(shape) is not a 64-bit number")
        }
        guard bits.isMultiple(of: 8) else { throw fault("\(bits) bits do not fill whole bytes") }
        return bits / 8
    }
}
