/// The character classes that the pre-tokenizers' patterns name.
extension Unicode.Scalar {
    /// `\p{L}`.
    var isLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    /// `\p{N}`.
    var isNumeral: Bool {
        switch properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: true
        default: false
        }
    }

    /// `\s`.
    var isSpace: Bool { properties.isWhitespace }

    /// `[\r\n]`.
    var isLineBreak: Bool { self == "\r" || self == "\n" }

    /// `[^\s\p{L}\p{N}]`.
    var isSymbol: Bool { !isSpace && !isLetter && !isNumeral }
}

/// Reads words from a text by patterns that are tried in order at each place.
struct WordReader {
    let scalars: [Unicode.Scalar]
    private(set) var place = 0

    init(_ text: some StringProtocol) { scalars = Array(text.unicodeScalars) }

    var isAtEnd: Bool { place >= scalars.count }

    /// The scalar at a distance from the place.
    func peek(_ offset: Int = 0) -> Unicode.Scalar? {
        scalars.indices.contains(place + offset) ? scalars[place + offset] : nil
    }

    /// How many scalars from a distance on are of a class; no more than `limit` are looked at.
    func run(from offset: Int = 0, atMost limit: Int = .max, _ belongs: (Unicode.Scalar) -> Bool) -> Int {
        var count = 0
        while count < limit, let scalar = peek(offset + count), belongs(scalar) { count += 1 }
        return count
    }

    /// Takes so many scalars, as UTF-8.
    mutating func take(_ count: Int) -> [UInt8] {
        defer { place += count }
        return scalars[place..<place + count].flatMap { UTF8.encode($0).map(Array.init) ?? [] }
    }

    /// The length of an English contraction at the place: `'s 't 're 've 'm 'll 'd`.
    func contraction(ignoringCase: Bool) -> Int? {
        guard peek() == "'" else { return nil }
        func letter(_ offset: Int) -> Unicode.Scalar? {
            guard let scalar = peek(offset) else { return nil }
            guard ignoringCase else { return scalar }
            // The long s folds to s.
            if scalar == "\u{17F}" { return "s" }
            return scalar.isASCII ? scalar.properties.lowercaseMapping.unicodeScalars.first : scalar
        }
        switch letter(1) {
        case "s", "t", "m", "d": return 2
        case "r" where letter(2) == "e", "v" where letter(2) == "e", "l" where letter(2) == "l": return 3
        default: return nil
        }
    }
}

/// Tokens that are cut out of a text before anything else is done to it: at each place the longest.
struct AddedTokens: Sendable {
    /// The most bytes that a token may have.
    static let lengthLimit = 1024

    /// In the order of their bytes: those with a common beginning lie together, and the shortest of them first.
    private let ids: [Int]
    /// The bytes of all tokens one after the other, and where each begins and the last ends.
    private let bytes: [UInt8]
    private let starts: [Int]

    /// Takes tokens; of equal ones the first counts.
    init(_ tokens: [(text: String, id: Int)]) {
        let distinct = Dictionary(tokens.map { (Array($0.text.utf8), $0.id) }) { first, _ in first }
        let ordered = distinct.filter { !$0.key.isEmpty }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        ids = ordered.map(\.value)
        bytes = ordered.flatMap(\.key)
        starts = ordered.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.key.count) }
    }

    /// A part of a text.
    enum Part {
        case text(String)
        case token(Int)
    }

    /// The text's parts in order.
    func split(_ text: String) -> [Part] {
        let bytes = Array(text.utf8)
        var parts: [Part] = []
        var (begin, place) = (0, 0)
        func flush() {
            if begin < place { parts.append(.text(String(decoding: bytes[begin..<place], as: UTF8.self))) }
        }
        while place < bytes.count {
            guard let token = longest(in: bytes, at: place) else {
                place += 1
                continue
            }
            flush()
            parts.append(.token(token.id))
            place += token.length
            begin = place
        }
        flush()
        return parts
    }

    /// The longest token that stands at a place.
    ///
    /// Byte by byte the tokens that still fit are narrowed down, so that their number does not count.
    private func longest(in text: [UInt8], at place: Int) -> (id: Int, length: Int)? {
        var found: (id: Int, length: Int)?
        var (low, high, depth) = (0, ids.count, 0)
        while low < high {
            if starts[low] + depth == starts[low + 1] {
                found = (ids[low], depth)
                low += 1
                continue
            }
            guard place + depth < text.count else { break }
            let byte = text[place + depth]
            if bytes[starts[low] + depth] != byte || bytes[starts[high - 1] + depth] != byte {
                low = boundary(low, high) { bytes[starts[$0] + depth] < byte }
                high = boundary(low, high) { bytes[starts[$0] + depth] == byte }
            }
            depth += 1
        }
        return found
    }

    /// The first place in an ordered range where something no longer holds.
    private func boundary(_ first: Int, _ end: Int, _ holds: (Int) -> Bool) -> Int {
        var (low, high) = (first, end)
        while low < high {
            let middle = (low + high) / 2
            if holds(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
