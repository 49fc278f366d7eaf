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
    /// Whether texts are cleaned as transformers' slow tokenizer cleans them without ftfy.
    private let cleans: Bool

    /// Reads both files; throws `.badData` that names what is not as it should be.
    ///
    /// With `cleans`, controls go and ideographs become words, as in transformers' slow tokenizer without ftfy.
    public init(vocabulary: JSONObject, merges: [UInt8], file: String, cleans: Bool = false) throws(Fault) {
        self.cleans = cleans
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

    /// The text without controls, with spaces for all that is white, and around ideographs.
    private static func cleaned(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if ["\t", "\n", "\r"].contains(scalar) || scalar.properties.generalCategory == .spaceSeparator {
                result.append(" ")
            } else if scalar == "\u{FFFD}" || isControl(scalar) {
                continue
            } else if isIdeograph(scalar) {
                result.append(contentsOf: [" ", scalar, " "])
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned: true
        default: false
        }
    }

    private static func isIdeograph(_ scalar: Unicode.Scalar) -> Bool {
        let ranges: [ClosedRange<UInt32>] = [
            0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B820...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F,
        ]
        return ranges.contains { $0.contains(scalar.value) }
    }

    private func words(_ text: String) -> [Int] {
        var lowered = String.UnicodeScalarView()
        for scalar in (cleans ? CLIPTokenizer.cleaned(text) : text)._nfc {
            lowered.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
        }
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
