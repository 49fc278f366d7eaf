import RuyiFault

/// The tokens of a JSON document, in one pass over bytes that come piece by piece.
///
/// Whoever reads a document by it decides at every token whether to go on, so that a hostile one ends where it is
/// wrong, with no more of it in memory than a piece. Every fault is `.badData` with the line and the byte offset.
struct JSONScanner {
    let file: String
    private let pull: () throws(Fault) -> [UInt8]
    /// The bytes at hand, and the place in them.
    private var piece: [UInt8] = []
    private var place = 0
    private var isAtEnd = false
    /// Bytes and line feeds of the pieces that are gone.
    private var passed = 0
    private var passedLines = 0

    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")
    private static let numberLimit = 1000

    /// A document in memory.
    init(bytes: [UInt8], file: String) {
        (self.file, piece, isAtEnd) = (file, bytes, true)
        pull = { () throws(Fault) in [] }
    }

    /// A document of which `pull` gives piece after piece, and nothing at the end.
    init(file: String, pull: @escaping () throws(Fault) -> [UInt8]) {
        (self.file, self.pull) = (file, pull)
    }

    /// The bytes before the place.
    var offset: Int { passed + place }

    /// A fault at a byte offset, or at the place.
    func fault(_ what: String, at offset: Int? = nil) -> Fault {
        let offset = offset ?? self.offset
        let inside = piece[..<min(max(offset - passed, 0), piece.count)]
        let line = inside.reduce(1 + passedLines) { $1 == 0x0A ? $0 + 1 : $0 }
        return Fault(.badData, "the JSON \(what), line \(line), byte \(offset)", at: file)
    }

    // MARK: Bytes

    /// Brings at least so many bytes behind the place into the piece, if there are any.
    private mutating func ensure(_ count: Int) throws(Fault) {
        while piece.count - place < count, !isAtEnd {
            let more = try pull()
            isAtEnd = more.isEmpty
            passed += place
            passedLines += piece[..<place].reduce(0) { $1 == 0x0A ? $0 + 1 : $0 }
            piece = place == piece.count ? more : piece[place...] + more
            place = 0
        }
    }

    /// The byte at the place; nil at the end.
    mutating func next() throws(Fault) -> UInt8? {
        if place == piece.count { try ensure(1) }
        return place < piece.count ? piece[place] : nil
    }

    /// Steps over the byte at the place.
    mutating func step() { place += 1 }

    mutating func skipSpace() throws(Fault) {
        while let byte = try next(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { place += 1 }
    }

    // MARK: Documents, arrays and objects

    /// Refuses what is not UTF-8 from its first bytes on, and goes to the value, over the mark that editors put in front.
    mutating func begin() throws(Fault) {
        try ensure(3)
        place += PlainText.markLength(piece)
        if piece.starts(with: [0xFF, 0xFE]) || piece.starts(with: [0xFE, 0xFF]) {
            throw fault("is UTF-16, not UTF-8")
        }
        try skipSpace()
    }

    /// Refuses whatever follows the value.
    mutating func end() throws(Fault) {
        try skipSpace()
        if try next() != nil { throw fault("has something after its end") }
    }

    /// Steps over an opening bracket: true where the closing one follows at once, which is stepped over too.
    mutating func isEmpty(close: UInt8) throws(Fault) -> Bool {
        place += 1
        try skipSpace()
        guard try next() == close else { return false }
        place += 1
        return true
    }

    /// Steps over what follows an element: true at the closing bracket, false at a comma that something follows.
    mutating func isLast(close: UInt8) throws(Fault) -> Bool {
        try skipSpace()
        let byte = try next()
        if byte == close {
            place += 1
            return true
        }
        guard byte == UInt8(ascii: ",") else {
            throw fault(byte == nil ? "ends too early" : "lacks a comma or closing bracket")
        }
        place += 1
        try skipSpace()
        if try next() == close { throw fault("has a comma before a closing bracket") }
        return false
    }

    /// A name of an object and the colon behind it; a name of more than `limit` bytes is a fault.
    mutating func name(limit: Int = .max) throws(Fault) -> String {
        guard try next() == JSONScanner.quote else { throw fault("should have a name in double quotes here") }
        let name = try string(limit: limit)
        try skipSpace()
        guard try next() == UInt8(ascii: ":") else { throw fault("lacks a colon after a name") }
        place += 1
        try skipSpace()
        return name
    }

    /// What a value can be.
    enum Kind { case object, array, string, number, `true`, `false`, null }

    /// What the value at the place is, by its first byte.
    mutating func kind() throws(Fault) -> Kind {
        guard let byte = try next() else { throw fault("ends too early") }
        switch byte {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case JSONScanner.quote: return .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"): return .true
        case UInt8(ascii: "f"): return .false
        case UInt8(ascii: "n"): return .null
        default:
            let isPlain = (0x21...0x7E).contains(byte)
            let shown =
                isPlain
                ? "'\(Character(Unicode.Scalar(byte)))'" : "byte 0x" + String(byte, radix: 16, uppercase: true)
            throw fault("has an unexpected \(shown) where a value should begin")
        }
    }

    /// What the value at the place is, in words for messages, as `JSON.summary` has them; it may be stepped over.
    mutating func summary() throws(Fault) -> String {
        switch try kind() {
        case .object: return JSON.object([]).summary
        case .array: return JSON.array([]).summary
        case .string: return JSON.string(try string(limit: 1 << 16)).summary
        case .number: return JSON.number(try number()).summary
        case .true: return JSON.bool(true).summary
        case .false: return JSON.bool(false).summary
        case .null: return JSON.null.summary
        }
    }

    // MARK: Plain values

    /// Steps over a word.
    mutating func word(_ text: StaticString) throws(Fault) {
        try ensure(text.utf8CodeUnitCount)
        let matches = text.withUTF8Buffer { piece[place...].starts(with: $0) }
        guard matches else { throw fault("has an unknown word") }
        place += text.utf8CodeUnitCount
    }

    mutating func number() throws(Fault) -> JSONNumber {
        try ensure(JSONScanner.numberLimit + 1)
        let start = place
        if byte == UInt8(ascii: "-") { place += 1 }
        let first = byte
        let whole = digits()
        if whole == 0 { throw fault("has a number without digits") }
        if whole > 1, first == UInt8(ascii: "0") { throw fault("has a number with a leading zero", at: passed + start) }
        if byte == UInt8(ascii: ".") {
            place += 1
            if digits() == 0 { throw fault("has a number without digits after the point") }
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            place += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { place += 1 }
            if digits() == 0 { throw fault("has a number without digits in the exponent") }
        }
        if place - start > JSONScanner.numberLimit {
            throw fault("has a number of more than \(JSONScanner.numberLimit) characters", at: passed + start)
        }
        return JSONNumber(text: String(decoding: piece[start..<place], as: UTF8.self))
    }

    /// The byte at the place in the piece.
    private var byte: UInt8? { place < piece.count ? piece[place] : nil }

    private mutating func digits() -> Int {
        let start = place
        while let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { place += 1 }
        return place - start
    }

    // MARK: Strings

    /// A string; one of more than `limit` bytes is a fault.
    mutating func string(limit: Int = .max) throws(Fault) -> String {
        place += 1
        let start = offset
        let first = place
        // Nearly every string lies in one piece and has no escapes.
        plain: while let byte {
            switch byte {
            case JSONScanner.quote:
                guard place - first <= limit else { break plain }
                place += 1
                return String(decoding: piece[first..<place - 1], as: UTF8.self)
            case JSONScanner.backslash, 0x00..<0x20: break plain
            case 0x80...:
                guard piece.count - place >= 4 || isAtEnd else { break plain }
                place += try characterLength(byte)
            default: place += 1
            }
        }
        var text = Array(piece[first..<place])
        while let byte = try next() {
            if text.count > limit { break }
            switch byte {
            case JSONScanner.quote:
                place += 1
                return String(decoding: text, as: UTF8.self)
            case JSONScanner.backslash: try escape(into: &text)
            case 0x00..<0x20: throw fault("has a control character in a string")
            case 0x80...:
                try ensure(4)
                let count = try characterLength(byte)
                text.append(contentsOf: piece[place..<place + count])
                place += count
            default:
                text.append(byte)
                place += 1
            }
        }
        throw text.count > limit
            ? fault("has a string of more than \(limit) bytes", at: start) : fault("ends within a string")
    }

    private mutating func escape(into text: inout [UInt8]) throws(Fault) {
        try ensure(12)
        place += 1
        guard let byte else { throw fault("ends within a string") }
        place += 1
        switch byte {
        case JSONScanner.quote, JSONScanner.backslash, UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: String(try escapedScalar()).utf8)
        default: throw fault("has an unknown escape", at: offset - 2)
        }
    }

    private mutating func escapedScalar() throws(Fault) -> Character {
        let start = offset - 2
        var code = try hexadecimal()
        if (0xD800...0xDBFF).contains(code) {
            guard place + 1 < piece.count, piece[place] == JSONScanner.backslash,
                piece[place + 1] == UInt8(ascii: "u")
            else { throw fault("has half of a surrogate pair", at: start) }
            place += 2
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
            guard let byte, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw fault("has an escape without four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            place += 1
        }
        return code
    }

    /// The bytes of the character of more than one byte at the place, as RFC 3629 allows it.
    private func characterLength(_ first: UInt8) throws(Fault) -> Int {
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
        guard count > 0, piece.count - place >= count, second.contains(piece[place + 1]),
            piece[place + 2..<max(place + count, place + 2)].allSatisfy({ (0x80...0xBF).contains($0) })
        else { throw fault("is not valid UTF-8") }
        return count
    }
}
