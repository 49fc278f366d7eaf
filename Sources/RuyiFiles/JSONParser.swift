import RuyiFault

extension JSON {
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
    public static func parse(_ bytes: [UInt8], file: String, depth: Int = 64) throws(Fault) -> JSON {
        var parser = JSONParser(bytes: bytes, file: file, depthLimit: depth)
        return try parser.document()
    }
}

/// One pass over the bytes of a document.
struct JSONParser {
    let bytes: [UInt8]
    let file: String
    let depthLimit: Int
    private var position = 0

    init(bytes: [UInt8], file: String, depthLimit: Int) {
        self.bytes = bytes
        self.file = file
        self.depthLimit = depthLimit
    }

    mutating func document() throws(Fault) -> JSON {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { throw fault("begins with a byte order mark") }
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw fault("is UTF-16, not UTF-8")
        }
        skipSpace()
        let value = try value(depth: 0)
        skipSpace()
        if position < bytes.count { throw fault("has something after its end") }
        return value
    }

    private func fault(_ what: String, at place: Int? = nil) -> Fault {
        let offset = min(place ?? position, bytes.count)
        let line = bytes[..<offset].reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
        return Fault(.badData, "the JSON \(what), line \(line), byte \(offset)", at: file)
    }

    /// The byte at the position; nil at the end.
    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func value(depth: Int) throws(Fault) -> JSON {
        guard let byte = next else { throw fault("ends too early") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object(depth: depth + 1))
        case UInt8(ascii: "["): return .array(try array(depth: depth + 1))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: throw fault("has an unexpected \(name(of: byte)) where a value should begin")
        }
    }

    private func name(of byte: UInt8) -> String {
        (0x21...0x7E).contains(byte)
            ? "'\(Character(Unicode.Scalar(byte)))'" : "byte 0x" + String(byte, radix: 16, uppercase: true)
    }

    private mutating func word(_ text: StaticString, _ value: JSON) throws(Fault) -> JSON {
        let matches = text.withUTF8Buffer { bytes[position...].starts(with: $0) }
        guard matches else { throw fault("has an unknown word") }
        position += text.utf8CodeUnitCount
        return value
    }

    private func check(depth: Int) throws(Fault) {
        if depth > depthLimit { throw fault("nests deeper than \(depthLimit)") }
    }

    private mutating func array(depth: Int) throws(Fault) -> [JSON] {
        try check(depth: depth)
        position += 1
        skipSpace()
        var elements = [JSON]()
        if next == UInt8(ascii: "]") {
            position += 1
            return elements
        }
        while true {
            elements.append(try value(depth: depth))
            if try isLast(close: UInt8(ascii: "]")) { return elements }
        }
    }

    private mutating func object(depth: Int) throws(Fault) -> [JSON.Member] {
        try check(depth: depth)
        position += 1
        skipSpace()
        var members = [JSON.Member]()
        var names = NameSet()
        if next == UInt8(ascii: "}") {
            position += 1
            return members
        }
        while true {
            let start = position
            guard next == UInt8(ascii: "\"") else { throw fault("should have a name in double quotes here") }
            let key = try string()
            if !names.insert(key, among: members) { throw fault("has the name \"\(key.prefix(80))\" twice", at: start) }
            skipSpace()
            guard next == UInt8(ascii: ":") else { throw fault("lacks a colon after a name") }
            position += 1
            skipSpace()
            members.append(JSON.Member(key, try value(depth: depth)))
            if try isLast(close: UInt8(ascii: "}")) { return members }
        }
    }

    /// Steps over what follows an element: true at the closing bracket, false at a comma that something follows.
    private mutating func isLast(close: UInt8) throws(Fault) -> Bool {
        skipSpace()
        if next == close {
            position += 1
            return true
        }
        guard next == UInt8(ascii: ",") else {
            throw fault(next == nil ? "ends too early" : "lacks a comma or closing bracket")
        }
        position += 1
        skipSpace()
        if next == close { throw fault("has a comma before a closing bracket") }
        return false
    }

    private mutating func number() throws(Fault) -> JSONNumber {
        let start = position
        if next == UInt8(ascii: "-") { position += 1 }
        let first = next
        let whole = digits()
        if whole == 0 { throw fault("has a number without digits") }
        if whole > 1, first == UInt8(ascii: "0") { throw fault("has a number with a leading zero", at: start) }
        if next == UInt8(ascii: ".") {
            position += 1
            if digits() == 0 { throw fault("has a number without digits after the point") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            if digits() == 0 { throw fault("has a number without digits in the exponent") }
        }
        if position - start > 1000 { throw fault("has a number of more than 1000 characters", at: start) }
        return JSONNumber(text: String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
        return position - start
    }

    private mutating func string() throws(Fault) -> String {
        position += 1
        let start = position
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return String(decoding: bytes[start..<position - 1], as: UTF8.self)
            case UInt8(ascii: "\\"): return try escapedString(from: start)
            case 0x00..<0x20: throw fault("has a control character in a string")
            case 0x80...: try skipCharacter(byte)
            default: position += 1
            }
        }
        throw fault("ends within a string")
    }

    /// The rest of a string of which the part from `start` has been checked; the position is at a backslash.
    private mutating func escapedString(from start: Int) throws(Fault) -> String {
        var text = Array(bytes[start..<position])
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0x00..<0x20: throw fault("has a control character in a string")
            case 0x80...:
                let first = position
                try skipCharacter(byte)
                text.append(contentsOf: bytes[first..<position])
            default:
                text.append(byte)
                position += 1
            }
        }
        throw fault("ends within a string")
    }

    private mutating func escape(into text: inout [UInt8]) throws(Fault) {
        position += 1
        guard let byte = next else { throw fault("ends within a string") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: String(try escapedScalar()).utf8)
        default: throw fault("has an unknown escape", at: position - 2)
        }
    }

    private mutating func escapedScalar() throws(Fault) -> Character {
        let start = position - 2
        var code = try hexadecimal()
        if (0xD800...0xDBFF).contains(code) {
            guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            else { throw fault("has half of a surrogate pair", at: start) }
            position += 2
            let low = try hexadecimal()
            guard (0xDC00...0xDFFF).contains(low) else { throw fault("has half of a surrogate pair", at: start) }
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw fault("has half of a surrogate pair", at: start) }
        return Character(scalar)
    }

    private mutating func hexadecimal() throws(Fault) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw fault("has an escape without four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    /// Steps over one character of more than one byte, as RFC 3629 allows it.
    private mutating func skipCharacter(_ first: UInt8) throws(Fault) {
        let (count, second): (Int, ClosedRange<UInt8>) =
            switch first {
            case 0xC2...0xDF: (2, 0x80...0xBF)
            case 0xE0: (3, 0xA0...0xBF)
            case 0xED: (3, 0x80...0x9F)
            case 0xE1...0xEF: (3, 0x80...0xBF)
            case 0xF0: (4, 0x90...0xBF)
            case 0xF1...0xF3: (4, 0x80...0xBF)
            case 0xF4: (4, 0x80...0x8F)
            default: (0, 0x80...0xBF)
            }
        guard count > 0, bytes.count - position >= count, second.contains(bytes[position + 1]),
            bytes[position + 2..<max(position + count, position + 2)].allSatisfy({ (0x80...0xBF).contains($0) })
        else { throw fault("is not valid UTF-8") }
        position += count
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
