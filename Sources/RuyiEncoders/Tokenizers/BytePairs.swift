import HeapModule
import RuyiFault
import RuyiFiles

/// The merges of byte-pair encoding, over bytes.
///
/// Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"; Radford et al. 2019, GPT-2.
/// Vocabulary files spell bytes as printable characters; here tokens are the bytes themselves.
struct BytePairs: Sendable {
    /// A token as it is compared: its bytes, and whether it ends a word where the vocabulary tells these apart.
    struct Piece: Hashable, Sendable {
        var bytes: [UInt8]
        var endsWord: Bool
    }

    private struct Pair: Hashable {
        let left: Int
        let right: Int
    }

    private struct Merge {
        let rank: Int
        let token: Int
    }

    private let tokens: [Piece: Int]
    private let merges: [Pair: Merge]
    /// The suffix of tokens that end a word, as it is spelled in the files; empty where there is none.
    private let wordEnd: String

    /// Takes the vocabulary and the merges in the order of their ranks, as they are spelled in `file`.
    ///
    /// Throws `.badData` for merges of tokens that the vocabulary lacks, and for a vocabulary without single bytes.
    init(vocabulary: [JSON.Member], merges list: [(String, String)], wordEnd: String = "", file: String) throws(Fault) {
        self.wordEnd = wordEnd
        var tokens: [Piece: Int] = [:]
        tokens.reserveCapacity(vocabulary.count)
        for member in vocabulary {
            guard let id = member.value.int, id >= 0 else {
                throw Fault(.badData, "the id of the token '\(member.key.prefix(40))' is not a number", at: file)
            }
            // What is not spelled in bytes, such as a special token, cannot come out of a text.
            if let piece = BytePairs.piece(member.key, wordEnd) { tokens[piece] = id }
        }
        for byte in UInt8.min...UInt8.max {
            for endsWord in wordEnd.isEmpty ? [false] : [false, true]
            where tokens[Piece(bytes: [byte], endsWord: endsWord)] == nil {
                throw Fault(.badData, "the vocabulary has no token for the byte \(byte)", at: file)
            }
        }
        var merges: [Pair: Merge] = [:]
        merges.reserveCapacity(list.count)
        for (rank, (left, right)) in list.enumerated() {
            guard let first = BytePairs.piece(left, wordEnd), let second = BytePairs.piece(right, wordEnd),
                !first.endsWord, let a = tokens[first], let b = tokens[second],
                let token = tokens[Piece(bytes: first.bytes + second.bytes, endsWord: second.endsWord)]
            else {
                throw Fault(
                    .badData, "the merge '\(left.prefix(40)) \(right.prefix(40))' is not of the vocabulary", at: file)
            }
            // Of equal merges the first counts.
            if merges[Pair(left: a, right: b)] == nil {
                merges[Pair(left: a, right: b)] = Merge(rank: rank, token: token)
            }
        }
        self.tokens = tokens
        self.merges = merges
    }

    /// The id of a word that is a token as a whole.
    func token(_ word: [UInt8]) -> Int? { tokens[Piece(bytes: word, endsWord: !wordEnd.isEmpty)] }

    /// The tokens of a word: pairs are merged in the order of their ranks, of equal ones the leftmost first.
    func encode(_ word: [UInt8]) -> [Int] {
        var ids = word.enumerated().map { index, byte in
            tokens[Piece(bytes: [byte], endsWord: !wordEnd.isEmpty && index == word.count - 1)] ?? 0
        }
        // Neighbours as a list, in which merged tokens are left out.
        var next = Array(1..<max(ids.count, 1) + 1)
        var previous = Array(-1..<max(ids.count, 1) - 1)
        var isGone = [Bool](repeating: false, count: ids.count)
        var candidates = Heap<Candidate>()
        func consider(_ left: Int) {
            guard left >= 0, next[left] < ids.count else { return }
            let pair = Pair(left: ids[left], right: ids[next[left]])
            if let merge = merges[pair] {
                candidates.insert(Candidate(rank: merge.rank, place: left, left: pair.left, right: pair.right))
            }
        }
        for index in ids.indices { consider(index) }
        while let candidate = candidates.popMin() {
            let place = candidate.place
            guard !isGone[place], ids[place] == candidate.left, next[place] < ids.count,
                ids[next[place]] == candidate.right,
                let merge = merges[Pair(left: candidate.left, right: candidate.right)]
            else { continue }
            let merged = next[place]
            ids[place] = merge.token
            isGone[merged] = true
            next[place] = next[merged]
            if next[place] < ids.count { previous[next[place]] = place }
            consider(previous[place])
            consider(place)
        }
        return ids.indices.filter { !isGone[$0] }.map { ids[$0] }
    }

    /// A merge that was possible when it was found.
    private struct Candidate: Comparable {
        let rank: Int
        let place: Int
        let left: Int
        let right: Int

        static func < (a: Candidate, b: Candidate) -> Bool { (a.rank, a.place) < (b.rank, b.place) }
    }

    // MARK: Spelling

    /// The bytes that a token's spelling stands for; nil when it has other characters.
    private static func piece(_ text: String, _ wordEnd: String) -> Piece? {
        let endsWord = !wordEnd.isEmpty && text.hasSuffix(wordEnd) && text != wordEnd
        var bytes: [UInt8] = []
        for scalar in endsWord ? text.dropLast(wordEnd.count).unicodeScalars : Substring(text).unicodeScalars {
            guard let byte = spelling[scalar] else { return nil }
            bytes.append(byte)
        }
        return Piece(bytes: bytes, endsWord: endsWord)
    }

    /// Printable characters of Latin-1 stand for themselves, the others for characters from U+0100 on, in order.
    private static let spelling: [Unicode.Scalar: UInt8] = {
        let printable = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF] as [ClosedRange<UInt32>]
        var table: [Unicode.Scalar: UInt8] = [:]
        var other: UInt32 = 0x100
        for byte in UInt8.min...UInt8.max {
            var code = UInt32(byte)
            if !printable.contains(where: { $0.contains(code) }) {
                code = other
                other += 1
            }
            if let scalar = Unicode.Scalar(code) { table[scalar] = byte }
        }
        return table
    }()
}
