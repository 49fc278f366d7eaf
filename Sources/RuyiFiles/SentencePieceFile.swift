import RuyiFault

/// A model of SentencePiece (`spiece.model`, `tokenizer.model`): pieces of words with their scores, what is done to texts,
/// and how they are cut.
///
/// The message is `ModelProto` of `sentencepiece_model.proto`; what only its training needs is stepped over.
public struct SentencePieceFile: Sendable {
    /// How texts are cut.
    public enum Model: UInt64, Sendable {
        /// The most probable pieces are taken.
        case unigram = 1
        /// Neighbours are merged.
        case bytePairs
    }

    /// What a piece is for.
    public enum Kind: UInt64, Sendable {
        case normal = 1
        case unknown
        case control
        case userDefined
        case unused
        case byte
    }

    /// A piece of a word, or a token that stands for no text.
    public struct Piece: Sendable, Equatable {
        public let text: String
        /// The logarithm of its probability; where neighbours are merged, the highest comes first.
        public let score: Double
        public let kind: Kind
    }

    /// How a text is cut (`TrainerSpec`).
    public struct Cutting: Sendable, Equatable {
        /// The kind of model.
        public fileprivate(set) var model = Model.unigram
        /// Whether the space of the normaliser stands behind a text, not in front of it.
        public fileprivate(set) var endsWithSpace = false
        /// Whether what is no piece becomes its bytes.
        public fileprivate(set) var fallsBackToBytes = false
    }

    /// What is done to a text before it is cut (`NormalizerSpec`).
    public struct Normalizer: Sendable, Equatable {
        /// The compiled table of replacements, which is empty where there is none.
        public fileprivate(set) var charactersMap: [UInt8] = []
        /// Whether a space is added.
        public fileprivate(set) var addsSpace = true
        /// Whether spaces around a text go, and several in a row are one.
        public fileprivate(set) var removesExtraSpaces = true
        /// Whether spaces are written as U+2581.
        public fileprivate(set) var escapesSpaces = true
    }

    /// The most pieces that a model may have.
    public static let pieceLimit = 1 << 20

    /// The pieces, whose places are their ids.
    public let pieces: [Piece]
    /// How a text is cut.
    public let cutting: Cutting
    /// What is done to a text before.
    public let normalizer: Normalizer
    /// The file, for messages.
    public let file: String

    /// Reads a model; throws `.badData` for what is broken, and for one of an unknown kind.
    public init(parsing bytes: [UInt8], file: String) throws(Fault) {
        var reader = ProtobufReader(bytes[...], file: file)
        var pieces: [Piece] = []
        var (cutting, normalizer) = (Cutting(), Normalizer())
        while let (field, value) = try reader.next() {
            guard case .bytes(let bytes) = value else { continue }
            switch field {
            case 1:
                guard pieces.count < SentencePieceFile.pieceLimit else {
                    throw Fault(
                        .badData, "the file holds more than \(SentencePieceFile.pieceLimit) pieces, which is the limit",
                        at: file)
                }
                pieces.append(try SentencePieceFile.piece(bytes, pieces.count, file))
            case 2: try cutting.read(bytes, file)
            case 3: try normalizer.read(bytes, file)
            default: continue
            }
        }
        guard !pieces.isEmpty else {
            throw Fault(
                .badData, "the file holds no pieces of words", at: file, hint: "it is no model of SentencePiece")
        }
        (self.pieces, self.cutting, self.normalizer, self.file) = (pieces, cutting, normalizer, file)
    }

    /// The id of what is no piece; throws `.badData` where nothing stands for it.
    public var unknown: Int {
        get throws(Fault) {
            guard let id = pieces.firstIndex(where: { $0.kind == .unknown }) else {
                throw Fault(.badData, "no piece stands for what is unknown", at: file)
            }
            return id
        }
    }

    private static func piece(_ bytes: ArraySlice<UInt8>, _ index: Int, _ file: String) throws(Fault) -> Piece {
        var reader = ProtobufReader(bytes, file: file)
        var (text, score, kind) = ("", Float(0), Kind.normal)
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let bytes)):
                guard let valid = String(validating: bytes, as: UTF8.self) else {
                    throw Fault(.badData, "the piece \(index) is not UTF-8 text", at: file)
                }
                text = valid
            case (2, .word(let word)): score = Float(bitPattern: word)
            case (3, .number(let number)):
                guard let known = Kind(rawValue: number) else {
                    throw Fault(.badData, "the piece \(index) is of the unknown kind \(number)", at: file)
                }
                kind = known
            default: continue
            }
        }
        guard score.isFinite else { throw Fault(.badData, "the score of the piece \(index) is not a number", at: file) }
        return Piece(text: text, score: Double(score), kind: kind)
    }
}

extension SentencePieceFile.Cutting {
    fileprivate mutating func read(_ bytes: ArraySlice<UInt8>, _ file: String) throws(Fault) {
        var reader = ProtobufReader(bytes, file: file)
        while let (field, value) = try reader.next() {
            guard case .number(let number) = value else { continue }
            switch field {
            case 3:
                guard let known = SentencePieceFile.Model(rawValue: number) else {
                    throw Fault(
                        .badData, "the model is of the kind \(number), expected 1 (unigram) or 2 (BPE)", at: file)
                }
                model = known
            case 24: endsWithSpace = number != 0
            case 35: fallsBackToBytes = number != 0
            default: continue
            }
        }
    }
}

extension SentencePieceFile.Normalizer {
    fileprivate mutating func read(_ bytes: ArraySlice<UInt8>, _ file: String) throws(Fault) {
        var reader = ProtobufReader(bytes, file: file)
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (2, .bytes(let bytes)): charactersMap = Array(bytes)
            case (3, .number(let number)): addsSpace = number != 0
            case (4, .number(let number)): removesExtraSpaces = number != 0
            case (5, .number(let number)): escapesSpaces = number != 0
            default: continue
            }
        }
    }
}
