import RuyiFault

extension JSON {
    /// The most values that a document may have where nothing else is said: some ten megabytes of them.
    public static let valueLimit = 1 << 18

    /// Parses one JSON document as RFC 8259 has it, without any of the usual liberties.
    ///
    /// Refused are byte order marks, UTF-16, comments, trailing commas, `NaN`, names that occur twice in one object
    /// (compared after decoding, byte by byte), control characters in strings, lone surrogates, malformed UTF-8 and
    /// anything after the value. Throws `.badData` with the line and the byte offset.
    ///
    /// - Parameters:
    ///   - bytes: the document, in UTF-8.
    ///   - file: the name for messages.
    ///   - depth: how deep arrays and objects may nest.
    ///   - values: how many values it may have, those in others included.
    public static func parse(
        _ bytes: [UInt8], file: String, depth: Int = 64, values: Int = valueLimit
    ) throws(Fault) -> JSON {
        var parser = JSONParser(bytes: bytes, file: file, depthLimit: depth, valueLimit: values)
        return try parser.document()
    }
}

/// Makes values of the tokens of a document.
private struct JSONParser {
    private var scanner: JSONScanner
    private let depthLimit: Int
    private let valueLimit: Int
    private var count = 0

    init(bytes: [UInt8], file: String, depthLimit: Int, valueLimit: Int) {
        scanner = JSONScanner(bytes: bytes, file: file)
        (self.depthLimit, self.valueLimit) = (depthLimit, valueLimit)
    }

    mutating func document() throws(Fault) -> JSON {
        try scanner.begin()
        let value = try value(depth: 0)
        try scanner.end()
        return value
    }

    private mutating func value(depth: Int) throws(Fault) -> JSON {
        count += 1
        if count > valueLimit { throw scanner.fault("has more than \(valueLimit) values") }
        switch try scanner.kind() {
        case .object: return .object(try object(depth: depth + 1))
        case .array: return .array(try array(depth: depth + 1))
        case .string: return .string(try scanner.string())
        case .number: return .number(try scanner.number())
        case .true:
            try scanner.word("true")
            return .bool(true)
        case .false:
            try scanner.word("false")
            return .bool(false)
        case .null:
            try scanner.word("null")
            return .null
        }
    }

    private func check(depth: Int) throws(Fault) {
        if depth > depthLimit { throw scanner.fault("nests deeper than \(depthLimit)") }
    }

    private mutating func array(depth: Int) throws(Fault) -> [JSON] {
        try check(depth: depth)
        var elements = [JSON]()
        if try scanner.isEmpty(close: UInt8(ascii: "]")) { return elements }
        while true {
            elements.append(try value(depth: depth))
            if try scanner.isLast(close: UInt8(ascii: "]")) { return elements }
        }
    }

    private mutating func object(depth: Int) throws(Fault) -> [JSON.Member] {
        try check(depth: depth)
        var members = [JSON.Member]()
        var names = NameSet()
        if try scanner.isEmpty(close: UInt8(ascii: "}")) { return members }
        while true {
            let start = scanner.offset
            let key = try scanner.name()
            if !names.insert(key, among: members) {
                throw scanner.fault("has the name \"\(key.prefix(80))\" twice", at: start)
            }
            members.append(JSON.Member(key, try value(depth: depth)))
            if try scanner.isLast(close: UInt8(ascii: "}")) { return members }
        }
    }
}

/// The names of one object so far.
///
/// Small objects are searched, large ones hashed; names are equal if their bytes are.
private struct NameSet {
    private struct Name: Hashable {
        let text: String
        static func == (one: Name, other: Name) -> Bool { one.text.utf8.elementsEqual(other.text.utf8) }
        func hash(into hasher: inout Hasher) { for byte in text.utf8 { hasher.combine(byte) } }
    }

    private var names = Set<Name>()

    /// Adds a name; false if it is there already.
    ///
    /// `members` are the ones added before.
    mutating func insert(_ key: String, among members: [JSON.Member]) -> Bool {
        if members.count < 16 {
            return !members.contains { $0.key.utf8.elementsEqual(key.utf8) }
        }
        if members.count == 16 { for member in members { names.insert(Name(text: member.key)) } }
        return names.insert(Name(text: key)).inserted
    }
}
