import RuyiFault
import RuyiFiles

/// The unigram tokenizer of T5, from its `tokenizer.json` or its `spiece.model`.
///
/// Kudo and Richardson 2018, "SentencePiece"; transformers `T5TokenizerFast`. Texts are cut as transformers 4.39 has it
/// whichever file they come from: characters replaced, spaces at the end dropped and others made one sign, which every
/// text begins with.
public struct T5Tokenizer: Sendable {
    private let characters: CharacterMap
    private let model: Unigram
    private let added: AddedTokens
    private let padding: Int
    private let end: Int

    /// The sign that words begin with.
    private static let wordStart = Array("\u{2581}".utf8)

    /// Reads `tokenizer.json`; throws `.badData` that names what is not as it should be.
    public init(_ file: JSONObject) throws(Fault) {
        let model = try file.object("model")
        guard try model.string("type") == "Unigram" else { throw model.fault("type", expected: "Unigram") }
        guard try !model.bool("byte_fallback", default: false) else {
            throw model.fault("byte_fallback", expected: "false")
        }
        var pieces: [(text: String, score: Double)] = []
        for entry in try model.array("vocab") {
            guard let pair = entry.array, pair.count == 2, let text = pair[0].string, let score = pair[1].double else {
                throw model.fault("vocab", expected: "a list of pieces with their scores")
            }
            pieces.append((text, score))
        }
        let steps = try T5Tokenizer.steps(file, "normalizer", "normalizers")
        guard let map = steps.first(where: { $0["type"]?.string == "Precompiled" })?["precompiled_charsmap"]?.string
        else {
            throw file.fault("normalizer", expected: "a table of replaced characters (Precompiled)")
        }
        let splits = try T5Tokenizer.steps(file, "pre_tokenizer", "pretokenizers")
        guard splits.last?["type"]?.string == "Metaspace", splits.last?["replacement"]?.string == "\u{2581}" else {
            throw file.fault("pre_tokenizer", expected: "Metaspace with \u{2581}")
        }
        try self.init(
            CharacterMap(base64: map, file: file.file), pieces, unknown: model.int("unk_id"),
            added: AddedTokens.list(file), file: file.file)
    }

    /// Reads `spiece.model`, to whose pieces `<extra_id_99>` to `<extra_id_0>` are added.
    ///
    /// Throws `.badData` that says what is not as it should be.
    public init(_ file: SentencePieceFile) throws(Fault) {
        guard file.cutting.model == .unigram else {
            throw Fault(
                .badData, "the model is of the kind \(file.cutting.model.rawValue), expected 1 (unigram)", at: file.file
            )
        }
        let unknown = try file.unknown
        let extra = (0..<100).reversed().map { "<extra_id_\($0)>" }
        let pieces = file.pieces.map { ($0.text, $0.score) } + extra.map { ($0, 0) }
        let special = file.pieces.enumerated().filter { $1.kind == .control || $1.kind == .unknown }
        let added = special.map { ($1.text, $0) } + extra.enumerated().map { ($1, file.pieces.count + $0) }
        try self.init(
            CharacterMap(file.normalizer.charactersMap, file: file.file), pieces, unknown: unknown, added: added,
            file: file.file)
    }

    private init(
        _ characters: CharacterMap, _ pieces: [(text: String, score: Double)], unknown: Int,
        added: [(text: String, id: Int)], file: String
    ) throws(Fault) {
        func id(_ token: String) throws(Fault) -> Int {
            guard let id = added.first(where: { $0.text == token })?.id else {
                throw Fault(.badData, "the tokenizer has no token '\(token)'", at: file)
            }
            return id
        }
        (padding, end) = (try id("<pad>"), try id("</s>"))
        model = try Unigram(pieces, unknown: unknown, file: file)
        self.characters = characters
        self.added = AddedTokens(added)
    }

    /// The steps of a part of `tokenizer.json`, which is one or a list of them.
    private static func steps(_ file: JSONObject, _ key: String, _ list: String) throws(Fault) -> [JSON] {
        let part = try file.object(key)
        return part[list]?.array ?? [part.json]
    }

    /// The ids of a text and of its end, at most `length`; the end is kept.
    public func callAsFunction(_ text: String, length: Int = .max) -> [Int] {
        let body = added.split(text).flatMap { part -> [Int] in
            switch part {
            case .token(let id): [id]
            case .text(let text): words(text).flatMap(model.encode)
            }
        }
        return body.prefix(max(0, length - 1)) + [end]
    }

    /// The ids filled up with the padding to `length`.
    public func padded(_ ids: [Int], length: Int) -> [Int] {
        ids + Array(repeating: padding, count: max(0, length - ids.count))
    }

    /// The words of a text, each of which begins with the sign for a space.
    private func words(_ text: String) -> [[UInt8]] {
        var scalars = Array(characters(text).unicodeScalars)
        while scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        guard let first = scalars.first else { return [] }
        var words: [[UInt8]] = first == " " || first == "\u{2581}" ? [] : [T5Tokenizer.wordStart]
        for (index, scalar) in scalars.enumerated() {
            if scalar == "\u{2581}" || scalar == " " {
                // Spaces in a row are one.
                if scalar != " " || index == 0 || scalars[index - 1] != " " { words.append(T5Tokenizer.wordStart) }
            } else {
                words[words.count - 1] += Array(String(scalar).utf8)
            }
        }
        return words
    }
}
