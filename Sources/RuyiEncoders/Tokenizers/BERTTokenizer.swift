@_spi(_Unicode) import Swift
import RuyiFault
import RuyiFiles

/// The WordPiece tokenizer of BERT, from its `vocab.txt` and its settings in `tokenizer_config.json`.
///
/// Wu et al. 2016, "Google's Neural Machine Translation System"; transformers `BertTokenizer`.
public struct BERTTokenizer: Sendable {
    /// The tokens of a text with its beginning, its end and what fills up.
    public static let length = 77

    /// The most characters of a word that is cut into pieces.
    private static let wordLimit = 100
    /// The most tokens of a vocabulary.
    private static let tokenLimit = 1 << 20
    /// What stands before pieces that go on with a word.
    private static let continuation = Array("##".utf8)

    /// Pieces that begin words, and without their sign those that go on.
    private let beginnings, continuations: PrefixIndex
    private let special: AddedTokens
    private let start, end, unknown, padding: Int
    private let lowersCase, stripsAccents, splitsIdeographs: Bool

    /// Reads both files, of which the settings may be missing; throws `.badData` that names what is not as it should be.
    public init(vocabulary bytes: [UInt8], file: String, settings: JSONObject? = nil) throws(Fault) {
        let (text, limit) = (try PlainText.text(bytes, at: file), BERTTokenizer.tokenLimit)
        var (whole, rest, ids) = ([[UInt8]: Int](), [[UInt8]: Int](), [String: Int]())
        // What is left behind the limit is one line more.
        var lines = text.utf8.split(separator: 0x0A, maxSplits: limit, omittingEmptySubsequences: false)
        // The last line is ended too.
        if lines.last?.isEmpty == true { lines.removeLast() }
        guard lines.count <= limit else {
            throw Fault(.badData, "the vocabulary has more than \(limit) tokens, which is the limit", at: file)
        }
        for (id, line) in lines.enumerated() {
            let token = Array(line)
            guard token.count <= AddedTokens.lengthLimit else {
                throw Fault(
                    .badData, "the token in line \(id + 1) has more than \(AddedTokens.lengthLimit) bytes", at: file)
            }
            if token.starts(with: BERTTokenizer.continuation) {
                rest[Array(token.dropFirst(BERTTokenizer.continuation.count))] = id
            }
            whole[token] = id
        }
        for name in ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"] { ids[name] = whole[Array(name.utf8)] }
        func id(_ name: String) throws(Fault) -> Int {
            guard let id = ids[name] else { throw Fault(.badData, "the vocabulary has no token '\(name)'", at: file) }
            return id
        }
        (start, end, unknown, padding) = (try id("[CLS]"), try id("[SEP]"), try id("[UNK]"), try id("[PAD]"))
        special = AddedTokens(ids.map { ($0.key, $0.value) })
        (beginnings, continuations) = (PrefixIndex(whole), PrefixIndex(rest))
        lowersCase = try settings?.bool("do_lower_case", default: true) ?? true
        splitsIdeographs = try settings?.bool("tokenize_chinese_chars", default: true) ?? true
        stripsAccents = try settings?.boolIfPresent("strip_accents") ?? lowersCase
        if let settings, try !settings.bool("do_basic_tokenize", default: true) {
            throw settings.fault("do_basic_tokenize", expected: "true")
        }
    }

    /// The ids of a text between those of its beginning and its end, `length` at most; the end is kept.
    public func callAsFunction(_ text: String, length: Int = BERTTokenizer.length) -> [Int] {
        let limit = max(0, length - 2)
        var ids: [Int] = []
        for part in special.split(text) where ids.count < limit {
            switch part {
            case .token(let id): ids.append(id)
            case .text(let text): append(text, to: &ids, limit)
            }
        }
        return [start] + ids.prefix(limit) + [end]
    }

    /// The ids filled up with the padding to `length`.
    public func padded(_ ids: [Int], length: Int = BERTTokenizer.length) -> [Int] {
        ids + Array(repeating: padding, count: max(0, length - ids.count))
    }

    /// Appends the ids of a text's words until there are enough.
    private func append(_ text: String, to ids: inout [Int], _ limit: Int) {
        let cleaned = text.cleaned(splittingIdeographs: splitsIdeographs)
        for word in cleaned.unicodeScalars.split(whereSeparator: \.isSpace) {
            guard ids.count < limit else { return }
            var piece: [Unicode.Scalar] = []
            func flush() {
                if !piece.isEmpty { ids += pieces(piece) }
                piece = []
            }
            for scalar in normalized(word) {
                guard ids.count < limit else { return }
                if scalar.isPunctuation {
                    flush()
                    ids += pieces([scalar])
                } else {
                    piece.append(scalar)
                }
            }
            flush()
        }
    }

    /// A word in lower case and without accents, where the settings say so, otherwise composed.
    private func normalized(_ word: Substring.UnicodeScalarView) -> [Unicode.Scalar] {
        guard stripsAccents else { return String(word)._nfc.flatMap(lowered) }
        // Without the accents it does not matter in which order they were.
        return word.flatMap(lowered).flatMap { scalar in
            scalar.isASCII
                ? [scalar] : String(scalar)._nfd.filter { $0.properties.generalCategory != .nonspacingMark }
        }
    }

    private func lowered(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        lowersCase ? Array(scalar.properties.lowercaseMapping.unicodeScalars) : [scalar]
    }

    /// The longest pieces from the left; a word that does not end with one, or is long, is unknown as a whole.
    private func pieces(_ word: [Unicode.Scalar]) -> [Int] {
        guard word.count <= BERTTokenizer.wordLimit else { return [unknown] }
        let text = word.flatMap { UTF8.encode($0).map(Array.init) ?? [] }
        var (ids, place) = ([Int](), 0)
        while place < text.count {
            let index = place == 0 ? beginnings : continuations
            guard let (id, length) = index.longestMatch(in: text, at: place) else { return [unknown] }
            ids.append(id)
            place += length
        }
        return ids
    }
}
