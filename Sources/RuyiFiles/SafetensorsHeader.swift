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

    /// The stored type of a tensor type; nil for blocks, which such a file has no place for.
    public init?(_ dtype: DType) {
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
        case .q40, .q41, .q50, .q51, .q80, .q2k, .q3k, .q4k, .q5k, .q6k: return nil
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
    /// The most tensors that a file may have.
    public static let tensorLimit = 1 << 17
    static let nameLimit = 1024
    static let rankLimit = 8
    static let axisLimit = 1 << 40
    /// The most bytes that all names together, and all texts under `__metadata__` together, may have.
    static let textLimit = 1 << 24

    /// The tensors in the order of the header.
    public let entries: [Entry]
    /// The texts under `__metadata__`, in order.
    public let metadata: [JSON.Member]
    /// The place of the first byte of data in the file.
    public let dataStart: Int

    /// Reads and checks the header of a file.
    ///
    /// The header is read in pieces and no further than to what is wrong in it.
    ///
    /// - Parameters:
    ///   - byteCount: the size of the file.
    ///   - file: its name for messages.
    ///   - read: copies a range of the file.
    /// - Throws: `.badData` with the file, the tensor if it is about one, and the rule; what `read` throws.
    public init(
        byteCount: Int, file: String, read: @escaping (Range<Int>) throws(Fault) -> [UInt8]
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
        var done = 8
        var reader = HeaderReader(
            scanner: JSONScanner(file: file) { () throws(Fault) in
                let range = done..<min(done + 1 << 18, start)
                done = range.upperBound
                return try read(range)
            }, file: file)
        try reader.read()
        (entries, metadata, dataStart) = (reader.entries, reader.metadata, start)
        try checkLayout(byteCount - start, file)
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

/// Reads the header's entries one after the other.
private struct HeaderReader {
    var scanner: JSONScanner
    let file: String
    private(set) var entries = [SafetensorsHeader.Entry]()
    private(set) var metadata = [JSON.Member]()
    private var names = Set<String>()
    private var nameBytes = 0
    private var hasMetadata = false

    init(scanner: JSONScanner, file: String) { (self.scanner, self.file) = (scanner, file) }

    mutating func read() throws(Fault) {
        guard try scanner.next() == UInt8(ascii: "{") else {
            throw Fault(.badData, "not a safetensors file: the header does not begin with '{'", at: file)
        }
        var isDone = try scanner.isEmpty(close: UInt8(ascii: "}"))
        while !isDone {
            let start = scanner.offset
            let name = try scanner.name(limit: 1 << 16)
            if name == "__metadata__" {
                if hasMetadata { throw twice(name, start) }
                hasMetadata = true
                try readMetadata()
            } else {
                try check(name, start)
                entries.append(try entry(name))
            }
            isDone = try scanner.isLast(close: UInt8(ascii: "}"))
        }
        try scanner.end()
    }

    private func twice(_ name: String, _ start: Int) -> Fault {
        scanner.fault("has the name \"\(name.prefix(80))\" twice", at: start)
    }

    /// Checks a tensor's name, which begins at a byte offset.
    private mutating func check(_ name: String, _ start: Int) throws(Fault) {
        guard !name.isEmpty else { throw fault(name, "the name is empty") }
        guard name.utf8.count <= SafetensorsHeader.nameLimit else {
            throw fault(name, "the name has more than 1024 bytes")
        }
        guard !name.utf8.contains(0) else { throw fault(name, "the name contains a NUL") }
        let (isNew, old) = names.insert(name)
        guard isNew else {
            throw old.utf8.elementsEqual(name.utf8)
                ? twice(name, start) : fault(name, "another tensor's name looks the same")
        }
        nameBytes += name.utf8.count
        guard names.count <= SafetensorsHeader.tensorLimit else {
            throw Fault(.badData, "the file has more than \(SafetensorsHeader.tensorLimit) tensors", at: file)
        }
        guard nameBytes <= SafetensorsHeader.textLimit else {
            throw Fault(
                .badData, "the names of the tensors have more than \(SafetensorsHeader.textLimit) bytes", at: file)
        }
    }

    private func fault(_ name: String, _ rule: String) -> Fault {
        Fault(.badData, "tensor \"\(name.prefix(120))\": \(rule)", at: file)
    }

    private mutating func readMetadata() throws(Fault) {
        let wrong = Fault(.badData, "\"__metadata__\" should be an object of strings", at: file)
        let kind = try scanner.kind()
        if kind == .null { return try scanner.word("null") }
        guard kind == .object else { throw wrong }
        var keys = Set<String>()
        var rest = SafetensorsHeader.textLimit
        var isDone = try scanner.isEmpty(close: UInt8(ascii: "}"))
        while !isDone {
            let key = try scanner.name(limit: rest)
            guard keys.insert(key).inserted else {
                throw Fault(.badData, "\"__metadata__\" has the name \"\(key.prefix(80))\" twice", at: file)
            }
            guard try scanner.kind() == .string else { throw wrong }
            let value = try scanner.string(limit: rest)
            // What a text takes beside its bytes is counted too.
            rest -= key.utf8.count + value.utf8.count + 64
            guard rest >= 0 else {
                throw Fault(
                    .badData, "\"__metadata__\" has more than \(SafetensorsHeader.textLimit) bytes of text", at: file)
            }
            metadata.append(JSON.Member(key, .string(value)))
            isDone = try scanner.isLast(close: UInt8(ascii: "}"))
        }
    }

    // MARK: Entries

    private mutating func entry(_ name: String) throws(Fault) -> SafetensorsHeader.Entry {
        guard try scanner.kind() == .object else {
            throw fault(name, "should be an object but is \(try scanner.summary())")
        }
        var type: SafetensorsType?
        var shape: [Int]?
        var offsets: [Int]?
        var isDone = try scanner.isEmpty(close: UInt8(ascii: "}"))
        while !isDone {
            let field = try scanner.name(limit: 1 << 16)
            let isTwice: Bool
            switch field {
            case "dtype":
                isTwice = type != nil
                type = try readType(name)
            case "shape":
                isTwice = shape != nil
                shape = try integers(name, field, atMost: SafetensorsHeader.rankLimit, "axes")
            case "data_offsets":
                isTwice = offsets != nil
                offsets = try integers(name, field, atMost: 2, "numbers")
            default: throw fault(name, "has the unknown field \"\(field.prefix(40))\"")
            }
            if isTwice { throw fault(name, "has the field \"\(field)\" twice") }
            isDone = try scanner.isLast(close: UInt8(ascii: "}"))
        }
        guard let type else { throw fault(name, "lacks \"dtype\"") }
        guard let shape else { throw fault(name, "lacks \"shape\"") }
        guard let offsets else { throw fault(name, "lacks \"data_offsets\"") }
        return try checked(name, type, shape, offsets)
    }

    private func checked(
        _ name: String, _ type: SafetensorsType, _ shape: [Int], _ offsets: [Int]
    ) throws(Fault) -> SafetensorsHeader.Entry {
        guard shape.allSatisfy({ $0 <= SafetensorsHeader.axisLimit }) else {
            throw fault(name, "has an axis longer than 2^40")
        }
        guard offsets.count == 2 else {
            throw fault(name, "\"data_offsets\" should have 2 numbers but has \(offsets.count)")
        }
        guard offsets[0] <= offsets[1] else {
            throw fault(name, "ends at byte \(offsets[1]) before it begins at \(offsets[0])")
        }
        guard let bits = Extent.product(shape, times: type.bitCount) else {
            throw fault(name, "the size of \(shape) is not a 64-bit number")
        }
        guard bits.isMultiple(of: 8) else { throw fault(name, "\(bits) bits do not fill whole bytes") }
        guard bits / 8 == offsets[1] - offsets[0] else {
            throw fault(
                name, "\(type.rawValue) \(shape) takes \(bits / 8) bytes, but its range has \(offsets[1] - offsets[0])")
        }
        return SafetensorsHeader.Entry(name: name, type: type, shape: shape, range: offsets[0]..<offsets[1])
    }

    private mutating func readType(_ name: String) throws(Fault) -> SafetensorsType {
        guard try scanner.kind() == .string else {
            throw fault(name, "\"dtype\" should be a string but is \(try scanner.summary())")
        }
        let text = try scanner.string(limit: 1 << 16)
        guard let type = SafetensorsType(rawValue: text) else {
            throw fault(name, "has the unknown type \"\(text.prefix(40))\"")
        }
        return type
    }

    /// A list of integers from 0 on.
    private mutating func integers(
        _ name: String, _ field: String, atMost limit: Int, _ things: String
    ) throws(Fault) -> [Int] {
        guard try scanner.kind() == .array else {
            throw fault(name, "\"\(field)\" should be a list but is \(try scanner.summary())")
        }
        var result = [Int]()
        var isDone = try scanner.isEmpty(close: UInt8(ascii: "]"))
        while !isDone {
            guard result.count < limit else { throw fault(name, "\"\(field)\" has more than \(limit) \(things)") }
            let number = try scanner.kind() == .number ? try scanner.number() : nil
            guard let value = number?.int, value >= 0 else {
                let found: String
                if let number { found = JSON.number(number).summary } else { found = try scanner.summary() }
                throw fault(name, "\"\(field)\" should hold integers from 0 on but holds \(found)")
            }
            result.append(value)
            isDone = try scanner.isLast(close: UInt8(ascii: "]"))
        }
        return result
    }
}
