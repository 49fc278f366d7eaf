import RuyiFault
import RuyiTensor

/// A value in a GGUF file's metadata; lists are told by their lengths, short ones of whole numbers are kept.
public enum GGUFValue: Sendable, Equatable {
    case int(Int)
    /// A number with a fraction, or a whole one that is too large.
    case double(Double)
    case bool(Bool)
    case string(String)
    case ints([Int])
    case list(count: Int)

    /// A whole number.
    public var int: Int? { if case .int(let value) = self { value } else { nil } }
    /// A number.
    public var number: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var ints: [Int]? { if case .ints(let values) = self { values } else { nil } }
}

/// The header of a GGUF file: its metadata, and every tensor's type, shape and place, checked against one another and the
/// file.
///
/// Read are versions 2 and 3 in little-endian order (ggml's `docs/gguf.md`). Axes stand outermost first, as everywhere
/// else; where ComfyUI has flattened a tensor and noted its shape under `comfy.gguf.orig_shape.NAME`, it has that shape.
public struct GGUFHeader: Sendable {
    /// One tensor.
    public struct Entry: Sendable, Equatable {
        public let name: String
        public let type: GGUFType
        /// The lengths of the axes, outermost first.
        public let shape: [Int]
        /// The bytes of the data, counted from the first byte behind the header.
        public let range: Range<Int>
    }

    /// The most bytes that a header may have.
    public static let byteLimit = 100_000_000
    static let tensorLimit = SafetensorsHeader.tensorLimit
    static let valueLimit = 1 << 16
    static let nameLimit = SafetensorsHeader.nameLimit
    static let rankLimit = SafetensorsHeader.rankLimit
    static let axisLimit = SafetensorsHeader.axisLimit
    static let textLimit = SafetensorsHeader.textLimit

    /// The tensors in the order of the header.
    public let entries: [Entry]
    /// The metadata by key.
    public let metadata: [String: GGUFValue]
    /// The version of the format.
    public let version: Int
    /// The place of the first byte of data in the file.
    public let dataStart: Int

    /// What kind of model the file says that it holds, such as `hyvid` or `llama`.
    public var architecture: String? { metadata["general.architecture"]?.string }

    /// Reads and checks the header of a file.
    ///
    /// - Parameters:
    ///   - byteCount: the size of the file.
    ///   - file: its name for messages.
    ///   - read: copies a range of the file.
    /// - Throws: `.badData` with the file, the tensor or key if it is about one, and the rule; what `read` throws.
    public init(
        byteCount: Int, file: String, read: @escaping (Range<Int>) throws(Fault) -> [UInt8]
    ) throws(Fault) {
        var parser = GGUFParser(byteCount: byteCount, file: file, read: read)
        try parser.parse()
        (entries, metadata, version) = (parser.entries, parser.metadata, parser.version)
        dataStart = parser.dataStart
    }
}

/// Reads the parts of a header one after the other.
private struct GGUFParser {
    private var reader: GGUFReader
    private let file: String
    private let byteCount: Int
    private(set) var entries: [GGUFHeader.Entry] = []
    private(set) var metadata: [String: GGUFValue] = [:]
    private(set) var version = 0
    private(set) var dataStart = 0
    private var alignment = 32
    /// Bytes that texts may still have.
    private var rest = GGUFHeader.textLimit

    init(byteCount: Int, file: String, read: @escaping (Range<Int>) throws(Fault) -> [UInt8]) {
        reader = GGUFReader(byteCount: byteCount, file: file, read: read)
        (self.file, self.byteCount) = (file, byteCount)
    }

    private func fault(_ what: String, hint: String? = nil) -> Fault { Fault(.badData, what, at: file, hint: hint) }

    private func fault(_ tensor: String, _ rule: String, hint: String? = nil) -> Fault {
        fault("tensor \"\(tensor.prefix(120))\": \(rule)", hint: hint)
    }

    mutating func parse() throws(Fault) {
        guard byteCount >= 4, try reader.take(4).elementsEqual("GGUF".utf8) else {
            throw fault("not a GGUF file: it does not begin with \"GGUF\"")
        }
        let number = try reader.uint32()
        guard number == 2 || number == 3 else {
            let isSwapped = number.byteSwapped == 2 || number.byteSwapped == 3
            throw fault(
                isSwapped
                    ? "the numbers of the GGUF file are big-endian, which is not read"
                    : "version \(number) of GGUF is not read, 2 and 3 are", hint: "convert the model again")
        }
        version = Int(number)
        // A tensor takes 24 bytes at least, a value 13.
        let tensors = try reader.count("the number of tensors", atMost: min(GGUFHeader.tensorLimit, byteCount / 24))
        let values = try reader.count("the number of values", atMost: min(GGUFHeader.valueLimit, byteCount / 13))
        for _ in 0..<values { try readValue() }
        try readAlignment()
        if let parts = metadata["split.count"]?.int, parts > 1 {
            throw fault(
                "the file is one of \(parts) parts of a model", hint: "join them first: llama-gguf-split --merge")
        }
        var names = Set<String>()
        for _ in 0..<tensors { try readEntry(&names) }
        let start = reader.position + (alignment - reader.position % alignment) % alignment
        dataStart = min(start, byteCount)
        try checkLayout()
    }

    // MARK: Metadata

    private enum Kind: UInt32 {
        case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

        /// Bytes of a value of fixed size.
        var byteCount: Int? {
            switch self {
            case .uint8, .int8, .bool: 1
            case .uint16, .int16: 2
            case .uint32, .int32, .float32: 4
            case .uint64, .int64, .float64: 8
            case .string, .array: nil
            }
        }
    }

    private mutating func kind(of key: String) throws(Fault) -> Kind {
        let number = try reader.uint32()
        guard let kind = Kind(rawValue: number) else {
            throw fault("\"\(key.prefix(120))\" has the unknown type \(number)")
        }
        return kind
    }

    private mutating func readValue() throws(Fault) {
        let key = try reader.text("a key", atMost: GGUFHeader.nameLimit)
        // What a value takes beside its text is counted too.
        rest -= key.utf8.count + 64
        let value: GGUFValue
        switch try kind(of: key) {
        case .array: value = try readList(key)
        case .string:
            let text = try reader.text("\"\(key.prefix(120))\"", atMost: max(rest, 0))
            rest -= text.utf8.count
            value = .string(text)
        case let kind: value = try readScalar(kind)
        }
        guard rest >= 0 else { throw fault("the metadata has more than \(GGUFHeader.textLimit) bytes of text") }
        guard metadata.updateValue(value, forKey: key) == nil else {
            throw fault("the metadata has the key \"\(key.prefix(120))\" twice")
        }
    }

    private mutating func readScalar(_ kind: Kind) throws(Fault) -> GGUFValue {
        let bits = try reader.unsigned(kind.byteCount ?? 0)
        switch kind {
        case .int8: return .int(Int(Int8(truncatingIfNeeded: bits)))
        case .int16: return .int(Int(Int16(truncatingIfNeeded: bits)))
        case .int32: return .int(Int(Int32(truncatingIfNeeded: bits)))
        case .int64: return .int(Int(truncatingIfNeeded: bits))
        case .float32: return .double(Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits))))
        case .float64: return .double(Double(bitPattern: bits))
        case .bool: return .bool(bits != 0)
        default: return Int(exactly: bits).map { .int($0) } ?? .double(Double(bits))
        }
    }

    private mutating func readList(_ key: String) throws(Fault) -> GGUFValue {
        let kind = try kind(of: key)
        guard kind != .array else { throw fault("\"\(key.prefix(120))\" is a list of lists, which is not read") }
        // Texts take 8 bytes at least.
        let size = kind.byteCount ?? 8
        let count = try reader.count("the length of \"\(key.prefix(120))\"", atMost: max(reader.rest - 8, 0) / size)
        guard kind.byteCount != nil else {
            for _ in 0..<count {
                try reader.skip(reader.count("the length of a text", atMost: max(reader.rest - 8, 0)))
            }
            return .list(count: count)
        }
        let isKept = count <= GGUFHeader.rankLimit && ![.float32, .float64, .bool].contains(kind)
        guard isKept else {
            try reader.skip(count * size)
            return .list(count: count)
        }
        var values: [Int] = []
        for _ in 0..<count {
            guard let value = try readScalar(kind).int else { continue }
            values.append(value)
        }
        return values.count == count ? .ints(values) : .list(count: count)
    }

    private mutating func readAlignment() throws(Fault) {
        guard let value = metadata["general.alignment"] else { return }
        guard let number = value.int, number > 0, number <= 1 << 30, number & (number - 1) == 0 else {
            throw fault("\"general.alignment\" should be a power of two up to 2^30")
        }
        alignment = number
    }

    // MARK: Tensors

    private mutating func readEntry(_ names: inout Set<String>) throws(Fault) {
        let name = try reader.text("a tensor's name", atMost: GGUFHeader.nameLimit)
        guard !name.isEmpty, !name.utf8.contains(0) else {
            throw fault(name, name.isEmpty ? "the name is empty" : "the name contains a NUL")
        }
        guard names.insert(name).inserted else { throw fault("the file has the tensor \"\(name.prefix(120))\" twice") }
        rest -= name.utf8.count
        guard rest >= 0 else { throw fault("the header has more than \(GGUFHeader.textLimit) bytes of text") }
        let rank = try reader.uint32()
        guard rank <= GGUFHeader.rankLimit else {
            throw fault(name, "has \(rank) axes, and at most \(GGUFHeader.rankLimit) can be")
        }
        var axes: [Int] = []
        for _ in 0..<rank {
            let axis = try reader.unsigned(8)
            guard axis <= GGUFHeader.axisLimit else { throw fault(name, "has an axis longer than 2^40") }
            axes.append(Int(axis))
        }
        let number = try reader.uint32()
        guard let type = GGUFType(number) else {
            throw fault(name, "has the unknown type \(number)", hint: "the file needs a newer version of the program")
        }
        let offset = try reader.unsigned(8)
        // The first axis of a file is the innermost one.
        guard (axes.first ?? 1).isMultiple(of: type.blockLength) else {
            throw fault(name, "rows of \(axes.first ?? 1) are not whole blocks of \(type.blockLength) of \(type.name)")
        }
        let stored = Array(axes.reversed())
        guard let count = Extent.product(stored, times: 1),
            let bytes = Extent.product([count / type.blockLength], times: type.blockByteCount)
        else { throw fault(name, "the size of \(stored) is not a 64-bit number") }
        guard offset.isMultiple(of: UInt64(alignment)) else {
            throw fault(name, "begins at byte \(offset), which is no multiple of \(alignment)")
        }
        guard let start = Int(exactly: offset), case let (end, overflow) = start.addingReportingOverflow(bytes),
            !overflow
        else { throw fault(name, "begins at byte \(offset), which is outside the file") }
        entries.append(
            GGUFHeader.Entry(
                name: name, type: type, shape: try shape(of: name, stored, count), range: start..<end))
    }

    /// The shape that a tensor had before it was flattened.
    private func shape(of name: String, _ stored: [Int], _ count: Int) throws(Fault) -> [Int] {
        let key = "comfy.gguf.orig_shape." + name
        guard let value = metadata[key] else { return stored }
        guard let shape = value.ints, Extent.product(shape, times: 1) == count,
            shape.allSatisfy({ $0 <= GGUFHeader.axisLimit })
        else { throw fault(name, "\"\(key.prefix(160))\" is no shape of its \(count) elements") }
        return shape
    }

    /// Checks that the tensors follow one another without overlap, with nothing between them but what aligns them.
    private func checkLayout() throws(Fault) {
        let ordered = entries.sorted {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        var end = 0
        for entry in ordered {
            let (begin, next) = (entry.range.lowerBound, end + (alignment - end % alignment) % alignment)
            guard begin == next else {
                let what =
                    begin < end
                    ? "overlaps the tensor before it, which ends at \(end)" : "is not at byte \(next), where it belongs"
                throw fault(entry.name, "begins at byte \(begin) and \(what)")
            }
            end = entry.range.upperBound
            guard end <= byteCount - dataStart else {
                throw fault(
                    entry.name, "ends at byte \(end), but \(byteCount - dataStart) follow the header",
                    hint: "the file is incomplete; download it again")
            }
        }
        guard byteCount - dataStart - end < max(alignment, 1) else {
            throw fault("the tensors take \(end) bytes, but \(byteCount - dataStart) follow the header")
        }
    }
}
