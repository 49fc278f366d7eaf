import HeapModule
import RuyiFiles

/// SentencePiece's byte-pair encoding: of all neighbours that are a piece together those with the highest score become one,
/// of equal ones the leftmost, until there are no more.
///
/// Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units". Unlike `BytePairs` it begins with
/// characters, and what may be merged is told by the pieces alone.
struct PieceMerges: Sendable {
    private let pieces: PrefixIndex
    private let scores: [Float]
    /// Pieces that only others are made of.
    private let unused: Set<Int>
    /// The user's own pieces, which are never merged.
    private let frozen: PrefixIndex
    private let unknown: Int

    /// Takes the pieces of a file.
    init(_ list: [SentencePieceFile.Piece], unknown: Int) {
        pieces = PrefixIndex(list) { [.normal, .userDefined, .unused].contains($0) }
        scores = list.map { Float($0.score) }
        unused = Set(list.indices.filter { list[$0].kind == .unused })
        frozen = PrefixIndex(list) { $0 == .userDefined }
        self.unknown = unknown
    }

    /// A part of the text with its neighbours; it is empty once it has become part of the left one.
    private struct Symbol {
        var range: Range<Int>
        var previous: Int
        var next: Int
        let isFrozen: Bool
    }

    /// Two neighbours that were a piece together when they were looked at.
    private struct Candidate: Comparable {
        let score: Float
        let left: Int
        let right: Int
        let length: Int

        static func < (a: Candidate, b: Candidate) -> Bool { a.score != b.score ? a.score > b.score : a.left < b.left }
    }

    /// The pieces of a text in order, and each character that is none.
    func cut(_ text: [UInt8]) -> [CutPiece] {
        var symbols = symbols(of: text)
        var candidates = Heap<Candidate>()
        // Of what pieces that are not used were made last, by their ids: the length of the left half.
        var halves: [Int: Int] = [:]
        func consider(_ left: Int, _ right: Int) {
            guard left >= 0, right < symbols.count, !symbols[left].isFrozen, !symbols[right].isFrozen else { return }
            let range = symbols[left].range.lowerBound..<symbols[right].range.upperBound
            guard let id = pieces.value(of: range, in: text) else { return }
            candidates.insert(Candidate(score: scores[id], left: left, right: right, length: range.count))
            if unused.contains(id) { halves[id] = symbols[left].range.count }
        }
        for index in symbols.indices { consider(index, index + 1) }
        while let candidate = candidates.popMin() {
            let (left, right) = (symbols[candidate.left], symbols[candidate.right])
            guard !left.range.isEmpty, !right.range.isEmpty, left.range.count + right.range.count == candidate.length
            else { continue }
            symbols[candidate.left].range = left.range.lowerBound..<right.range.upperBound
            symbols[candidate.left].next = right.next
            symbols[candidate.right].range = right.range.upperBound..<right.range.upperBound
            if right.next < symbols.count { symbols[right.next].previous = candidate.left }
            consider(left.previous, candidate.left)
            consider(candidate.left, right.next)
        }
        return symbols.flatMap { $0.range.isEmpty ? [] : used($0.range, in: text, halves) }
    }

    /// The characters of a text and the user's pieces in it.
    private func symbols(of text: [UInt8]) -> [Symbol] {
        var symbols: [Symbol] = []
        var place = 0
        while place < text.count {
            let whole = frozen.longestMatch(in: text, at: place)?.length
            let end = place + (whole ?? text.characterLength(at: place))
            symbols.append(
                Symbol(
                    range: place..<end, previous: symbols.count - 1, next: symbols.count + 1, isFrozen: whole != nil))
            place = end
        }
        return symbols
    }

    /// A part of a text as a piece or, where that is not used, as those that it was made of, if there are any.
    private func used(_ range: Range<Int>, in text: [UInt8], _ halves: [Int: Int]) -> [CutPiece] {
        var parts: [CutPiece] = []
        var waiting = [range]
        while let range = waiting.popLast() {
            let id = pieces.value(of: range, in: text) ?? unknown
            if unused.contains(id), let left = halves[id] {
                let middle = range.lowerBound + left
                waiting += [middle..<range.upperBound, range.lowerBound..<middle]
            } else {
                parts.append(CutPiece(id: unused.contains(id) ? unknown : id, range: range))
            }
        }
        return parts
    }
}
