import RuyiFault
import RuyiFiles

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

    /// `\p{C}`.
    fileprivate var isControl: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned: true
        default: false
        }
    }

    /// What BERT's tokenizer takes for punctuation: `\p{P}`, and every sign of ASCII that is no letter, digit or space.
    var isPunctuation: Bool {
        switch properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            true
        default: isASCII && value > 0x20 && value < 0x7F && !isLetter && !isNumeral
        }
    }

    fileprivate var isIdeograph: Bool {
        let ranges: [ClosedRange<UInt32>] = [
            0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B820...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F,
        ]
        return value >= 0x3400 && ranges.contains { $0.contains(value) }
    }
}

extension String {
    /// The text without controls, with spaces for all that is white and, where ideographs are words, around these: what
    /// BERT's tokenizer does first.
    func cleaned(splittingIdeographs: Bool = true) -> String {
        var result = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            if ["\t", "\n", "\r"].contains(scalar) || scalar.properties.generalCategory == .spaceSeparator {
                result.append(" ")
            } else if scalar == "\u{FFFD}" || scalar.isControl {
                continue
            } else if splittingIdeographs, scalar.isIdeograph {
                result.append(contentsOf: [" ", scalar, " "])
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }
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

    private let index: PrefixIndex

    /// Takes tokens; of equal ones the first counts.
    init(_ tokens: [(text: String, id: Int)]) {
        index = PrefixIndex(Dictionary(tokens.map { (Array($0.text.utf8), $0.id) }) { first, _ in first })
    }

    /// Those that a `tokenizer.json` lists; throws `.badData` for what is no token.
    static func list(_ file: JSONObject) throws(Fault) -> [(text: String, id: Int)] {
        var tokens: [(text: String, id: Int)] = []
        for entry in try file.array("added_tokens") {
            let token = try JSONObject(entry, file: file.file)
            let content = try token.string("content")
            guard content.utf8.count <= lengthLimit else {
                throw token.fault("content", expected: "a token of at most \(lengthLimit) bytes")
            }
            tokens.append((content, try token.int("id")))
        }
        return tokens
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
            guard let token = index.longestMatch(in: bytes, at: place) else {
                place += 1
                continue
            }
            flush()
            parts.append(.token(token.value))
            place += token.length
            begin = place
        }
        flush()
        return parts
    }
}
