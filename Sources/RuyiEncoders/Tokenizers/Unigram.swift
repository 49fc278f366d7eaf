import RuyiFault
import RuyiFiles

/// A unigram model of words: of all ways to cut a word into pieces, the most probable one (Kudo 2018).
struct Unigram: Sendable {
    private let pieces: PrefixIndex
    private let scores: [Double]
    /// The id of what is no piece, and the score of each such character.
    private let unknown: Int
    private let unknownScore: Double
    /// Whether sums of scores are rounded to float32, as SentencePiece itself does.
    private let isSingle: Bool

    /// Takes the pieces in the order of their ids; of equal ones the last counts.
    ///
    /// Throws `.badData` for scores that are no numbers, pieces that are too long, and an unknown id of no piece.
    init(_ list: [(text: String, score: Double)], unknown: Int, file: String) throws(Fault) {
        guard list.indices.contains(unknown) else {
            throw Fault(.badData, "the unknown piece is \(unknown), and there are \(list.count)", at: file)
        }
        if let index = list.firstIndex(where: { !$0.score.isFinite || $0.text.utf8.count > AddedTokens.lengthLimit }) {
            throw Fault(
                .badData, "the piece \(index) is longer than \(AddedTokens.lengthLimit) bytes or has no score", at: file
            )
        }
        pieces = PrefixIndex(Dictionary(list.enumerated().map { (Array($1.text.utf8), $0) }) { $1 })
        scores = list.map(\.score)
        self.unknown = unknown
        // Worse than any piece, by as much as SentencePiece has it.
        unknownScore = (scores.min() ?? 0) - 10
        isSingle = false
    }

    /// Takes the pieces of a file that texts are cut into, with the scores that SentencePiece 0.2.3 gives them: the user's
    /// own are more than certain, the longer the more, and so they come before those that are logarithms of probabilities.
    init(_ list: [SentencePieceFile.Piece], unknown: Int) {
        pieces = PrefixIndex(list) { $0 == .normal || $0 == .userDefined }
        scores = list.map { piece in
            piece.kind == .userDefined ? Double(Float(piece.text.utf8.count - 1) * 0.1) : piece.score
        }
        self.unknown = unknown
        let worst = list.filter { $0.kind == .normal }.map { Float($0.score) }.min() ?? 0
        unknownScore = Double(worst - 10)
        isSingle = true
    }

    /// The best way to a place.
    private struct Way {
        let score: Double
        let start: Int
        let id: Int
    }

    /// The ids of a word; neighbours that are no pieces are one.
    func encode(_ word: [UInt8]) -> [Int] {
        cut(word).reduce(into: []) { if $1.id != unknown || $0.last != unknown { $0.append($1.id) } }
    }

    /// The pieces of a text in order, and each character that is none.
    func cut(_ text: [UInt8]) -> [CutPiece] {
        var ways = [Way?](repeating: nil, count: text.count + 1)
        func offer(_ id: Int, _ score: Double, from start: Int, to end: Int) {
            let exact = score + (ways[start]?.score ?? 0)
            let sum = isSingle ? Double(Float(exact)) : exact
            if ways[end].map({ sum > $0.score }) ?? true { ways[end] = Way(score: sum, start: start, id: id) }
        }
        var place = 0
        while place < text.count {
            let length = text.characterLength(at: place)
            var isKnown = false
            pieces.forEachMatch(in: text, at: place) { id, matched in
                offer(id, scores[id], from: place, to: place + matched)
                if matched == length { isKnown = true }
            }
            if !isKnown { offer(unknown, unknownScore, from: place, to: place + length) }
            place += length
        }
        var parts: [CutPiece] = []
        while place > 0, let way = ways[place] {
            parts.append(CutPiece(id: way.id, range: way.start..<place))
            place = way.start
        }
        return parts.reversed()
    }
}

/// A piece of a text and where it lies.
struct CutPiece: Sendable, Equatable {
    let id: Int
    let range: Range<Int>
}

extension [UInt8] {
    /// The bytes of the character at a place of valid UTF-8.
    func characterLength(at place: Int) -> Int { self[place...].dropFirst().prefix { $0 & 0xC0 == 0x80 }.count + 1 }
}

extension PrefixIndex {
    /// The pieces of some kinds, by their texts.
    init(_ pieces: [SentencePieceFile.Piece], _ belongs: (SentencePieceFile.Kind) -> Bool) {
        var strings: [[UInt8]: Int] = [:]
        for (id, piece) in pieces.enumerated() where belongs(piece.kind) { strings[Array(piece.text.utf8)] = id }
        self.init(strings)
    }
}
