@_spi(_Unicode) import Swift
import RuyiFault
import RuyiFiles

/// The BPE tokenizer of CLIP, from its `vocab.json` and `merges.txt`.
///
/// Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision".
public struct CLIPTokenizer: Sendable {
    /// What is done to a text before it is split into words.
    public enum Cleaning: Sendable {
        /// Nothing, as in transformers' fast tokenizer.
        case none
        /// Controls go and ideographs become words, as in transformers' slow tokenizer without ftfy.
        case plain
        /// It is repaired as in transformers' slow tokenizer with ftfy.
        case repaired
    }

    private let pairs: BytePairs
    private let added: AddedTokens
    /// The start and the end as texts have them.
    private let marks: AddedTokens
    private let start: Int
    private let end: Int
    /// The token that fills what remains.
    private let padding: Int
    private let cleaning: Cleaning

    /// Reads both files; throws `.badData` that names what is not as it should be.
    ///
    /// `padding` is the token that fills what remains, and is one where it is written in a text; the end if it is nil.
    public init(
        vocabulary: JSONObject, merges: [UInt8], file: String, cleaning: Cleaning = .none, padding: String? = nil
    ) throws(Fault) {
        self.cleaning = cleaning
        start = try vocabulary.int("<|startoftext|>")
        end = try vocabulary.int("<|endoftext|>")
        let fill = try padding.map { token throws(Fault) in try vocabulary.int(token) } ?? end
        self.padding = fill
        var list: [(String, String)] = []
        for line in merges.split(separator: UInt8(ascii: "\n")) {
            let text = String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
            if list.isEmpty && text.hasPrefix("#version") { continue }
            guard let pair = BytePairs.pair(text) else {
                throw Fault(.badData, "the merge '\(text.prefix(40))' is no pair", at: file)
            }
            list.append(pair)
        }
        pairs = try BytePairs(vocabulary: vocabulary.members, merges: list, wordEnd: "</w>", file: file)
        let both = [("<|startoftext|>", start), ("<|endoftext|>", end)]
        marks = AddedTokens(both)
        added = AddedTokens(both + (padding.map { [($0, fill)] } ?? []))
    }

    /// The padding token that `special_tokens_map.json` or, where that is missing, `tokenizer_config.json` names; nil where
    /// neither does.
    public static func padding(_ files: [JSONObject]) throws(Fault) -> String? {
        for file in files {
            if file["pad_token"]?.members != nil { return try file.object("pad_token").string("content") }
            if let token = try file.stringIfPresent("pad_token") { return token }
        }
        return nil
    }

    /// The ids of a text between those of its start and its end, `length` at most; the end is kept.
    public func callAsFunction(_ text: String, length: Int) -> [Int] {
        let body = added.split(text).flatMap { part -> [Int] in
            switch part {
            case .token(let id): [id]
            case .text(let text): words(text)
            }
        }
        return [start] + body.prefix(max(0, length - 2)) + [end]
    }

    /// The ids filled up with the padding to `length`.
    public func padded(_ ids: [Int], length: Int) -> [Int] {
        ids + Array(repeating: padding, count: max(0, length - ids.count))
    }

    private func words(_ text: String) -> [Int] {
        switch cleaning {
        case .none: return ids(of: CLIPTokenizer.lowered(text))
        case .plain, .repaired:
            let cleaned = cleaning == .plain ? text.cleaned() : TextRepair.repaired(text)
            // The pattern of the slow tokenizer finds the start and the end once more.
            return marks.split(CLIPTokenizer.lowered(cleaned, inContext: true)).flatMap { part -> [Int] in
                switch part {
                case .token(let id): [id]
                case .text(let text): ids(of: text)
                }
            }
        }
    }

    /// The composed text in lower case; in context a sigma that ends a word has a form of its own.
    private static func lowered(_ text: String, inContext: Bool = false) -> String {
        let scalars = Array(text._nfc)
        var result = String.UnicodeScalarView()
        for (index, scalar) in scalars.enumerated() {
            if inContext, scalar == "\u{3A3}", endsWord(scalars, index) {
                result.append("\u{3C2}")
            } else {
                result.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
            }
        }
        return String(result)
    }

    /// Whether letters stand before a place and none behind it (Unicode's condition `Final_Sigma`).
    private static func endsWord(_ scalars: [Unicode.Scalar], _ index: Int) -> Bool {
        func isCased(_ part: some Sequence<Unicode.Scalar>) -> Bool {
            part.first { !$0.properties.isCaseIgnorable }?.properties.isCased ?? false
        }
        return isCased(scalars[..<index].reversed()) && !isCased(scalars[(index + 1)...])
    }

    /// The ids of a text in lower case.
    private func ids(of text: String) -> [Int] {
        var reader = WordReader(text)
        var ids: [Int] = []
        while let scalar = reader.peek() {
            let count: Int
            if let contraction = reader.contraction(ignoringCase: false) {
                count = contraction
            } else if scalar.isLetter {
                count = reader.run(\.isLetter)
            } else if scalar.isNumeral {
                count = 1
            } else {
                count = reader.run(\.isSymbol)
            }
            // Spaces part words and are dropped.
            if count == 0 { _ = reader.take(1) } else { ids += pairs.encode(reader.take(count)) }
        }
        return ids
    }
}
