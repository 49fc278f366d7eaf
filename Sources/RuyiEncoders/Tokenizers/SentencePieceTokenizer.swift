import RuyiFault
import RuyiFiles

/// SentencePiece's own tokenizer of a model of either kind, with what it does to texts before.
///
/// Kudo and Richardson 2018, "SentencePiece". Pieces of the user are found first; those that control are never found.
public struct SentencePieceTokenizer: Sendable {
    private enum Model: Sendable {
        case unigram(Unigram)
        case bytePairs(PieceMerges)
    }

    private let normalize: SentencePieceNormalizer
    private let model: Model
    private let unknown: Int
    /// The ids of all bytes; none where what is no piece stays unknown.
    private let bytes: [Int]

    /// Takes a model; throws `.badData` that says what is not as it should be.
    public init(_ file: SentencePieceFile) throws(Fault) {
        let unknown = try file.unknown
        try SentencePieceTokenizer.check(file)
        bytes = try SentencePieceTokenizer.bytes(file)
        normalize = try SentencePieceNormalizer(file)
        switch file.cutting.model {
        case .unigram: model = .unigram(Unigram(file.pieces, unknown: unknown))
        case .bytePairs: model = .bytePairs(PieceMerges(file.pieces, unknown: unknown))
        }
        self.unknown = unknown
    }

    /// The ids of a text, without those of its beginning and its end.
    public func callAsFunction(_ text: String) -> [Int] {
        let text = normalize(text)
        let parts =
            switch model {
            case .unigram(let model): model.cut(text)
            case .bytePairs(let model): model.cut(text)
            }
        var ids: [Int] = []
        ids.reserveCapacity(parts.count)
        for part in parts {
            if part.id == unknown, !bytes.isEmpty {
                ids += text[part.range].map { bytes[Int($0)] }
            } else if part.id != unknown || ids.last != unknown {
                ids.append(part.id)
            }
        }
        return ids
    }

    /// Pieces are texts, of which each is there once, and one stands for what is unknown.
    private static func check(_ file: SentencePieceFile) throws(Fault) {
        var places: [[UInt8]: Int] = [:]
        for (id, piece) in file.pieces.enumerated() {
            let text = Array(piece.text.utf8)
            guard (1...AddedTokens.lengthLimit).contains(text.count) else {
                throw Fault(
                    .badData,
                    "the piece \(id) has \(text.count) bytes, expected 1 to \(AddedTokens.lengthLimit)", at: file.file)
            }
            if let first = places.updateValue(id, forKey: text) {
                throw Fault(.badData, "the pieces \(first) and \(id) are the same", at: file.file)
            }
        }
        let unknown = file.pieces.indices.filter { file.pieces[$0].kind == .unknown }
        guard unknown.count == 1 else {
            throw Fault(
                .badData, "the pieces \(unknown[0]) and \(unknown[1]) both stand for what is unknown", at: file.file)
        }
    }

    /// The ids of the bytes, all or none of which are pieces.
    private static func bytes(_ file: SentencePieceFile) throws(Fault) -> [Int] {
        let names = Dictionary(uniqueKeysWithValues: (0..<256).map { (name(of: $0), $0) })
        var ids = [Int?](repeating: nil, count: 256)
        for (id, piece) in file.pieces.enumerated() where piece.kind == .byte {
            guard file.cutting.fallsBackToBytes, let byte = names[piece.text] else {
                throw Fault(
                    .badData, "the piece \(id) is a byte, and the model has none or not of this name", at: file.file)
            }
            ids[byte] = id
        }
        guard file.cutting.fallsBackToBytes else { return [] }
        if let missing = ids.firstIndex(of: nil) {
            throw Fault(.badData, "no piece stands for the byte \(name(of: missing))", at: file.file)
        }
        return ids.compactMap(\.self)
    }

    private static func name(of byte: Int) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x" + (digits.count < 2 ? "0" : "") + digits + ">"
    }
}
