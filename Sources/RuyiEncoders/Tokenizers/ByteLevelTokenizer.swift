import RuyiFault
import RuyiFiles

/// The byte-level BPE tokenizer of LLaMA 3, from its `tokenizer.json` (Hugging Face tokenizers).
public struct ByteLevelTokenizer: Sendable {
    private let pairs: BytePairs
    private let added: AddedTokens
    private let ids: [String: Int]
    private let ignoresMerges: Bool
    private let start: [Int]

    /// Reads `tokenizer.json`; throws `.badData` that names what is not as it should be.
    public init(_ file: JSONObject) throws(Fault) {
        let model = try file.object("model")
        guard try model.string("type", default: "BPE") == "BPE" else { throw model.fault("type", expected: "BPE") }
        guard let vocabulary = model["vocab"]?.members else { throw model.fault("vocab", expected: "an object") }
        var merges: [(String, String)] = []
        for merge in try model.array("merges") {
            guard let pair = ByteLevelTokenizer.pair(merge) else {
                throw model.fault("merges", expected: "a list of pairs")
            }
            merges.append(pair)
        }
        pairs = try BytePairs(vocabulary: vocabulary, merges: merges, file: file.file)
        ignoresMerges = try model.bool("ignore_merges", default: false)
        try ByteLevelTokenizer.checkPattern(file)
        let tokens = try AddedTokens.list(file)
        added = AddedTokens(tokens)
        ids = Dictionary(tokens.map { ($0.text, $0.id) }) { first, _ in first }
        start = try ByteLevelTokenizer.prefix(file, ids)
    }

    /// The id of an added token; throws `.badData` when there is none.
    public func id(of token: String, file: String) throws(Fault) -> Int {
        guard let id = ids[token] else { throw Fault(.badData, "the tokenizer has no token '\(token)'", at: file) }
        return id
    }

    /// The ids of a text, the tokens that begin every text in front.
    public func callAsFunction(_ text: String) -> [Int] {
        start
            + added.split(text).flatMap { part -> [Int] in
                switch part {
                case .token(let id): [id]
                case .text(let text): words(text)
                }
            }
    }

    private func words(_ text: String) -> [Int] {
        var reader = WordReader(text)
        var ids: [Int] = []
        while !reader.isAtEnd {
            let word = reader.take(ByteLevelTokenizer.length(reader))
            if ignoresMerges, let id = pairs.token(word) {
                ids.append(id)
            } else {
                ids += pairs.encode(word)
            }
        }
        return ids
    }

    /// The length of the next word of LLaMA 3's pattern.
    private static func length(_ text: WordReader) -> Int {
        if let count = text.contraction(ignoringCase: true) { return count }
        guard let first = text.peek() else { return 0 }
        if first.isLetter { return text.run(\.isLetter) }
        if !first.isLineBreak, !first.isNumeral {
            let letters = text.run(from: 1, \.isLetter)
            if letters > 0 { return 1 + letters }
        }
        if first.isNumeral { return text.run(atMost: 3, \.isNumeral) }
        let space = first == " " ? 1 : 0
        let symbols = text.run(from: space, \.isSymbol)
        if symbols > 0 { return space + symbols + text.run(from: space + symbols, \.isLineBreak) }
        let spaces = text.run(\.isSpace)
        if let last = (0..<spaces).last(where: { text.peek($0)?.isLineBreak == true }) { return last + 1 }
        // The last of several spaces goes with the word behind them.
        return spaces > 1 && text.peek(spaces) != nil ? spaces - 1 : max(spaces, 1)
    }

    private static let pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"#
        + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// Words are split by one pattern, which is written out above.
    private static func checkPattern(_ file: JSONObject) throws(Fault) {
        if file.has("normalizer") { throw file.fault("normalizer", expected: "null") }
        let step = try file.object("pre_tokenizer")
        let steps = step["pretokenizers"]?.array ?? [step.json]
        let patterns = steps.compactMap { $0["pattern"]?["Regex"]?.string }
        guard patterns == [pattern] else {
            throw Fault(.badData, "the tokenizer splits words by another pattern than LLaMA 3's", at: file.file)
        }
    }

    /// The tokens that the post-processor's template puts before a text; nothing may follow it.
    private static func prefix(_ file: JSONObject, _ ids: [String: Int]) throws(Fault) -> [Int] {
        guard let processor = try file.objectIfPresent("post_processor") else { return [] }
        let processors = processor["processors"]?.array ?? [processor.json]
        guard let template = processors.first(where: { $0["type"]?.string == "TemplateProcessing" }) else { return [] }
        var prefix: [Int] = []
        var isBehind = false
        for item in template["single"]?.array ?? [] {
            if item["Sequence"] != nil {
                isBehind = true
                continue
            }
            guard let name = item["SpecialToken"]?["id"]?.string, let id = ids[name], !isBehind else {
                throw file.fault("post_processor", expected: "a template of known tokens before the text")
            }
            prefix.append(id)
        }
        return prefix
    }

    /// `"a b"` or `["a", "b"]`.
    private static func pair(_ merge: JSON) -> (String, String)? {
        if let parts = merge.array {
            guard parts.count == 2, let left = parts[0].string, let right = parts[1].string else { return nil }
            return (left, right)
        }
        return merge.string.flatMap(BytePairs.pair)
    }
}

extension BytePairs {
    /// The halves of `"a b"`.
    static func pair(_ line: String) -> (String, String)? {
        let parts = line.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        return (String(parts[0]), String(parts[1]))
    }
}
