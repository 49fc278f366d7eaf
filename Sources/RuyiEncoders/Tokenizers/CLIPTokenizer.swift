@_spi(_Unicode) import Swift
import RuyiFault
import RuyiFiles

/// The BPE tokenizer of CLIP, from its `vocab.json` and `merges.txt`.
///
/// Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision".
public struct CLIPTokenizer: Sendable {
    private let pairs: BytePairs
    private let added: AddedTokens
    private let start: Int
    /// The token that ends a text, and fills what remains.
    private let end: Int

    /// Reads both files; throws `.badData` that names what is not as it should be.
    public init(vocabulary: JSONObject, merges: [UInt8], file: String) throws(Fault) {
        start = try vocabulary.int("<|startoftext|>")
        end = try vocabulary.int("<|endoftext|>")
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
        added = AddedTokens([("<|startoftext|>", start), ("<|endoftext|>", end)])
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

    /// The ids filled up with the end to `length`.
    public func padded(_ ids: [Int], length: Int) -> [Int] {
        ids + Array(repeating: end, count: max(0, length - ids.count))
    }

    private func words(_ text: String) -> [Int] {
        var lowered = String.UnicodeScalarView()
        for scalar in text._nfc { lowered.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars) }
        var reader = WordReader(String(lowered))
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
