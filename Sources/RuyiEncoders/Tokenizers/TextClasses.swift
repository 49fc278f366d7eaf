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

    /// How many scalars from a distance on are of a class.
    func run(from offset: Int = 0, _ belongs: (Unicode.Scalar) -> Bool) -> Int {
        var count = 0
        while let scalar = peek(offset + count), belongs(scalar) { count += 1 }
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
    private let tokens: [(text: [UInt8], id: Int)]

    init(_ tokens: [(text: String, id: Int)]) {
        self.tokens = tokens.filter { !$0.text.isEmpty }.map { (Array($0.text.utf8), $0.id) }
            .sorted { $0.text.count > $1.text.count }
    }

    /// A part of a text.
    enum Part {
        case text(String)
        case token(Int)
    }

    /// The text's parts in order.
    func split(_ text: String) -> [Part] {
        let bytes = Array(text.utf8)
        let starts = Set(tokens.map { $0.text[0] })
        var parts: [Part] = []
        var (begin, place) = (0, 0)
        func flush() {
            if begin < place { parts.append(.text(String(decoding: bytes[begin..<place], as: UTF8.self))) }
        }
        while place < bytes.count {
            guard starts.contains(bytes[place]),
                let token = tokens.first(where: { bytes[place...].starts(with: $0.text) })
            else {
                place += 1
                continue
            }
            flush()
            parts.append(.token(token.id))
            place += token.text.count
            begin = place
        }
        flush()
        return parts
    }
}
