import RuyiEncoders
import RuyiFault
import RuyiFiles
import Testing

@Suite("SentencePiece's tokenizer")
struct SentencePieceTests {
    private typealias Piece = UnigramTests.Piece

    /// The settings of the training: unigrams or merges, each with or without bytes.
    private static let (unigram, pairs): ([UInt8], [UInt8]) = ([0x18, 1], [0x18, 2])
    private static let withBytes: [UInt8] = [0x98, 2, 1]
    /// A space is added or not, extra ones are removed or not, spaces are escaped or not.
    private static func rules(_ adds: UInt8, _ removes: UInt8, _ escapes: UInt8 = 1) -> [UInt8] {
        [0x18, adds, 0x20, removes, 0x28, escapes]
    }

    private static let bytes: [Piece] = (0..<256).map { byte in
        let digits = String(byte, radix: 16, uppercase: true)
        return ("<0x" + (byte < 16 ? "0" : "") + digits + ">", 0, 6)
    }

    private static func tokenizer(
        _ pieces: [Piece], _ training: [UInt8], map: [UInt8] = [], rules: [UInt8] = []
    ) throws -> SentencePieceTokenizer {
        let model = UnigramTests.model(pieces, map: map, training: training, rules: rules)
        return try SentencePieceTokenizer(SentencePieceFile(parsing: model, file: "tokenizer.model"))
    }

    private static func ids(of text: String, _ model: [UInt8]) throws -> [Int] {
        try SentencePieceTokenizer(SentencePieceFile(parsing: model, file: "tokenizer.model"))(text)
    }

    /// Random numbers, the same every time.
    private struct Numbers: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    /// Different random pieces of a few letters, single ones among them or not, and a text of these letters.
    private func draw(_ numbers: inout Numbers, length: Int) -> (pieces: [Piece], text: String) {
        let letters = ["a", "b", "\u{E9}", "\u{732B}"]
        var pieces: [Piece] = [("<unk>", 0, 2)]
        func word(_ count: Int) -> String {
            (0..<count).map { _ in letters.randomElement(using: &numbers) ?? "" }.joined()
        }
        for _ in 0..<Int.random(in: 1...40, using: &numbers) {
            let text = word(Int.random(in: 1...4, using: &numbers))
            // Few different scores, so that many are equal.
            let score = -Float(Int.random(in: 0...9, using: &numbers))
            if !pieces.contains(where: { $0.text == text }) { pieces.append((text, score, 1)) }
        }
        return (pieces, word(length))
    }

    /// What merges give when all neighbours are looked at again after each.
    private func merged(_ text: String, _ pieces: [Piece]) -> [Int] {
        var parts = text.map { String($0) }
        func place(_ text: String) -> Int? { pieces.firstIndex { $0.text == text && $0.kind == 1 } }
        while true {
            var best: (index: Int, score: Float)?
            for index in parts.indices.dropLast() {
                guard let id = place(parts[index] + parts[index + 1]) else { continue }
                if best.map({ pieces[id].score > $0.score }) ?? true { best = (index, pieces[id].score) }
            }
            guard let best else { break }
            parts.replaceSubrange(best.index...best.index + 1, with: [parts[best.index] + parts[best.index + 1]])
        }
        return parts.map { place($0) ?? 0 }.reduce(into: []) { if $1 != 0 || $0.last != 0 { $0.append($1) } }
    }

    @Test("merges are those that looking at all neighbours each time gives")
    func merges() throws {
        var numbers = Numbers(state: 1)
        for _ in 0..<300 {
            let (pieces, text) = draw(&numbers, length: Int.random(in: 0...30, using: &numbers))
            let tokenizer = try Self.tokenizer(pieces, Self.pairs, rules: Self.rules(0, 0))
            #expect(tokenizer(text) == merged(text, pieces), "\(text) \(pieces)")
        }
    }

    /// The best sum of scores of all ways to cut a text; a letter that is no piece costs 10 more than the worst one.
    private func best(_ text: Substring, _ pieces: [Piece]) -> Float {
        guard let first = text.first else { return 0 }
        let normal = pieces.filter { $0.kind == 1 }
        let known = normal.filter { text.hasPrefix($0.text) }.map { piece in
            piece.score + best(text.dropFirst(piece.text.count), pieces)
        }
        if normal.contains(where: { $0.text == String(first) }) { return known.max() ?? 0 }
        let unknown = (normal.map(\.score).min() ?? 0) - 10 + best(text.dropFirst(), pieces)
        return max(known.max() ?? unknown, unknown)
    }

    @Test("the pieces of a unigram model are the best of all ways to cut a text")
    func probabilities() throws {
        var numbers = Numbers(state: 2)
        for _ in 0..<300 {
            let (pieces, text) = draw(&numbers, length: Int.random(in: 0...10, using: &numbers))
            let all = pieces + Self.bytes
            let tokenizer = try Self.tokenizer(all, Self.unigram + Self.withBytes, rules: Self.rules(0, 0))
            // What is unknown is there in bytes: the text comes back, and the letters among them are counted.
            let worst = (pieces.dropFirst().map(\.score).min() ?? 0) - 10
            var (sum, back) = (Float(0), [UInt8]())
            for id in tokenizer(text) {
                if id < pieces.count {
                    sum += all[id].score
                    back += Array(all[id].text.utf8)
                } else {
                    let byte = UInt8(id - pieces.count)
                    if byte & 0xC0 != 0x80 { sum += worst }
                    back.append(byte)
                }
            }
            #expect(back == Array(text.utf8))
            #expect(sum == best(text[...], pieces), "\(text) \(pieces)")
        }
    }

    @Test("spaces are added, removed and escaped as the file says", arguments: [unigram, pairs])
    func spaces(_ training: [UInt8]) throws {
        let pieces: [Piece] = [("<unk>", 0, 2), ("\u{2581}", -1, 1), (" ", -1, 1), ("a", -1, 1), ("b", -1, 1)]
        for (rules, text, ids) in [
            ([], " a  b ", [1, 3, 1, 4]), ([], "   ", []), ([], "", []), ([], "a", [1, 3]), ([], "a\u{2581}", [1, 3]),
            (Self.rules(1, 0), " a  b ", [1, 1, 3, 1, 1, 4, 1]), (Self.rules(1, 0), " ", [1, 1]),
            (Self.rules(0, 1), " a  b ", [3, 1, 4]), (Self.rules(0, 0), " a  b ", [1, 3, 1, 1, 4, 1]),
            (Self.rules(0, 0, 0), " a", [2, 3]), (Self.rules(1, 1, 0), " a  b ", [2, 3, 2, 4]),
        ] as [([UInt8], String, [Int])] {
            let tokenizer = try Self.tokenizer(pieces, training, rules: rules)
            #expect(tokenizer(text) == ids, "\(rules) \(text)")
        }
        // The space of a text may stand behind it.
        let behind = try Self.tokenizer(pieces, training + [0xC0, 1, 1])
        #expect(behind("a b ") == [3, 1, 4, 1])
    }

    @Test("the user's pieces come first, control is not read, unused pieces are taken apart")
    func kinds() throws {
        let pieces: [Piece] = [
            ("<unk>", 0, 2), ("<s>", 0, 3), ("ab", 0, 4), ("a", -1, 1), ("b", -1, 1), ("c", -1, 1), ("bc", -0.5, 1),
            ("abc", -0.1, 1), ("cc", -0.2, 5), ("<", -3, 1), ("s", -3, 1), (">", -3, 1),
        ]
        for training in [Self.unigram, Self.pairs] {
            let tokenizer = try Self.tokenizer(pieces, training, rules: Self.rules(0, 0))
            for (text, ids) in [
                ("bcab", [6, 2]), ("<s>", [9, 10, 11]), ("cc", [5, 5]), ("xyb", [0, 4]),
                ("<unk>", [9, 0, 11]),
            ] {
                #expect(tokenizer(text) == ids, "\(text)")
            }
        }
        // Where pieces are merged, those of the user are never parts of others, and those that are unused take part.
        let merging = try Self.tokenizer(pieces, Self.pairs, rules: Self.rules(0, 0))
        #expect(merging("abc") == [2, 5] && merging("bcccc") == [4, 5, 5, 5, 5])
        let probable = try Self.tokenizer(pieces, Self.unigram, rules: Self.rules(0, 0))
        #expect(probable("bcccc") == [6, 5, 5, 5] && probable("aabab") == [3, 2, 2])
        // What is made of nothing else is unknown where it is not used.
        let single: [Piece] = [("<unk>", 0, 2), ("a", -1, 1), ("b", -1, 5)]
        for training in [Self.unigram, Self.pairs] {
            #expect(try Self.tokenizer(single, training, rules: Self.rules(0, 0))("ab") == [1, 0])
        }
    }

    @Test("characters are replaced by the longest rule, and what is no piece becomes its bytes")
    func replacements() throws {
        // A trie of "a" -> "b" and "ac" -> "": units of the root, a, its value, c and its value.
        var units = [UInt32](repeating: 0, count: 512)
        func put(_ place: Int, label: UInt32, offset: Int, isRule: Bool) {
            units[place] = label | UInt32(offset) << 10 | (isRule ? 1 << 8 : 0)
        }
        put(0, label: 0, offset: 1, isRule: false)
        let a = 1 ^ 97
        put(a, label: 97, offset: a ^ 256, isRule: true)
        units[256] = 1 << 31
        put(256 ^ 99, label: 99, offset: 256 ^ 99 ^ 400, isRule: true)
        units[400] = 1 << 31 | 2
        let table = units.flatMap { unit in (0..<4).map { UInt8(truncatingIfNeeded: unit >> (8 * $0)) } }
        let map = [0, 8, 0, 0] + table + [98, 0, 0]
        let pieces: [Piece] = [("<unk>", 0, 2), ("a", -1, 1), ("b", -1, 1), ("c", -1, 1), ("aa", -1, 4)]
        for training in [Self.unigram, Self.pairs] {
            let tokenizer = try Self.tokenizer(
                pieces + Self.bytes, training + Self.withBytes, map: map, rules: Self.rules(0, 0))
            let first = pieces.count
            #expect(tokenizer("aba") == [2, 2, 2] && tokenizer("bacb") == [2, 2] && tokenizer("c") == [3])
            // The user's own pieces are not replaced.
            #expect(tokenizer("aab") == [4, 2])
            let (accented, cat) = ([0xC3, 0xA9].map { first + $0 }, [0xF0, 0x9F, 0x90, 0xB1].map { first + $0 })
            #expect(tokenizer("\u{E9}a\u{1F431}") == accented + [2] + cat)
        }
    }

    @Test("long texts are cut in seconds, whatever they and the pieces are")
    func longTexts() throws {
        let run: [Piece] = (1...100).map { (String(repeating: "a", count: $0), -Float($0), 1) }
        let words: [Piece] = [("the", -1, 1), ("th", -2, 1), ("\u{2581}the", -0.5, 1)]
        for training in [Self.unigram, Self.pairs] {
            let tokenizer = try Self.tokenizer([("<unk>", 0, 2)] + run + words, training)
            for text in ["a", "the ", " ", "x", "\u{1F431}", "aab"] {
                let start = ContinuousClock.now
                let ids = tokenizer(String(repeating: text, count: 200_000 / text.utf8.count))
                #expect(ids.allSatisfy { (0..<104).contains($0) })
                #expect(ContinuousClock.now - start < .seconds(10), "\(text)")
            }
        }
    }

    @Test("a model that is no tokenizer is one fault that names what is wrong")
    func brokenModels() throws {
        let good: [Piece] = [("<unk>", 0, 2), ("a", -1, 1), ("b", -1, 1)]
        for (pieces, training, words) in [
            (Array(good.dropFirst()), [], "unknown"), (good + [("c", 0, 2)], [], "pieces 0 and 3 both"),
            (good + [("a", 0, 1)], [], "1 and 3 are the same"), (good + [("a", 0, 4)], [], "1 and 3 are the same"),
            (good + [("b", 0, 3)], [], "2 and 3 are the same"), (good + [("", 0, 1)], [], "has 0 bytes"),
            (good + [(String(repeating: "x", count: 2000), 0, 1)], [], "has 2000 bytes"),
            (good + [("<0x0A>", 0, 6)], [], "3 is a byte"), (good + Self.bytes.dropLast(), Self.withBytes, "<0xFF>"),
            (good + [("<0x0a>", 0, 6)] + Self.bytes, Self.withBytes, "3 is a byte"), (good, Self.withBytes, "<0x00>"),
            (good, [0x18, 0], "kind 0"), (good, [0x18, 4], "kind 4"),
        ] as [([Piece], [UInt8], String)] {
            let fault = #expect(throws: Fault.self) { try Self.tokenizer(pieces, training) }
            #expect(fault?.kind == .badData && fault?.description.contains(words) == true, "\(words): \(fault as Any)")
        }
    }

    @Test("a model that is cut off or changed anywhere is one fault, or another tokenizer")
    func changedModels() throws {
        let pieces: [Piece] = [
            ("<unk>", 0, 2), ("<s>", 0, 3), ("ab", 0, 4), ("\u{2581}a", -1, 1), ("b", -1, 5), ("a", -1, 1),
        ]
        let sample = "a b\u{FB01}\u{0}abab\u{1F431} "
        for training in [Self.unigram, Self.pairs] {
            let whole = UnigramTests.model(
                pieces, map: [4, 0, 0, 0, 0, 1, 0, 0, 65, 0], training: training, rules: Self.rules(1, 1))
            var faults = 0
            func take(_ bytes: [UInt8]) throws {
                do {
                    let ids = try Self.ids(of: sample, bytes)
                    #expect(ids.allSatisfy { (0..<bytes.count).contains($0) })
                } catch let fault as Fault {
                    #expect(fault.kind == .badData && !fault.description.contains("\n"))
                    faults += 1
                }
            }
            _ = try Self.ids(of: sample, whole)
            for count in whole.indices { try take(Array(whole[..<count])) }
            for place in whole.indices {
                for byte: UInt8 in [0, 1, 2, 0x7F, 0x80, 0xFF] {
                    var changed = whole
                    changed[place] = byte
                    try take(changed)
                }
            }
            #expect(faults > whole.count)
        }
    }

    @Test("a vocabulary of a million pieces is the limit, and one of fewer is read quickly")
    func manyPieces() throws {
        let piece: [UInt8] = [0x0A, 3, 0x0A, 1, 0x61]
        let many = (0...SentencePieceFile.pieceLimit).flatMap { _ in piece }
        let fault = #expect(throws: Fault.self) { try SentencePieceFile(parsing: many, file: "tokenizer.model") }
        #expect(fault?.description.contains("1048576") == true)
        let pieces = (0..<100_000).map { ("w\($0)", -Float($0 % 1000), 1) as Piece }
        let start = ContinuousClock.now
        let tokenizer = try Self.tokenizer([("<unk>", 0, 2)] + pieces, Self.unigram, rules: Self.rules(0, 0))
        #expect(tokenizer("w99999w5") == [100_000, 6])
        #expect(ContinuousClock.now - start < .seconds(20))
    }
}
