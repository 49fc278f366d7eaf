import GoldenRecords
import RuyiEncoders
import RuyiFault
import RuyiFiles
import Testing

@Suite("T5's tokenizer")
struct UnigramTests {
    /// A piece of a model of SentencePiece; kinds are 1 for words, 2 for what is unknown, 3 for control.
    typealias Piece = (text: String, score: Float, kind: UInt8)

    static let pieces: [Piece] = [
        ("<pad>", 0, 3), ("</s>", 0, 3), ("<unk>", 0, 2), ("\u{2581}", -3, 1), ("\u{2581}a", -1, 1), ("b", -2, 1),
        ("ab", -1.5, 1), ("bb", -2.5, 1),
    ]

    /// A field that holds bytes.
    static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        var (length, digits) = (bytes.count, [UInt8]())
        repeat {
            digits.append(UInt8(length & 0x7F) | (length > 0x7F ? 0x80 : 0))
            length >>= 7
        } while length > 0
        return [number << 3 | 2] + digits + bytes
    }

    /// A model as SentencePiece writes it.
    ///
    /// `rules` are those of the normaliser besides its table.
    static func model(
        _ pieces: [Piece] = pieces, map: [UInt8] = [], training: [UInt8] = [0x18, 1], rules: [UInt8] = []
    ) -> [UInt8] {
        let list = pieces.flatMap { piece in
            let score = (0..<4).map { UInt8(truncatingIfNeeded: piece.score.bitPattern >> (8 * $0)) }
            return field(1, field(1, Array(piece.text.utf8)) + [0x15] + score + [0x18, piece.kind])
        }
        return list + field(2, training) + field(3, (map.isEmpty ? [] : field(2, map)) + rules)
    }

    static func tokenizer(_ bytes: [UInt8] = model()) throws -> T5Tokenizer {
        try T5Tokenizer(SentencePieceFile(parsing: bytes, file: "spiece.model"))
    }

    /// The same in `tokenizer.json`.
    private static func json(_ change: (inout [String: JSON]) -> Void = { _ in }) throws -> T5Tokenizer {
        let vocabulary = pieces.map { JSON.array([.string($0.text), .double(Double($0.score))]) }
        let added = pieces.prefix(3).enumerated().map { id, piece in
            JSON.object([.init("id", .int(id)), .init("content", .string(piece.text))])
        }
        var parts: [String: JSON] = [
            "model": ["type": "Unigram", "unk_id": 2, "vocab": .array(vocabulary), "byte_fallback": false],
            "normalizer": ["type": "Precompiled", "precompiled_charsmap": ""],
            "pre_tokenizer": ["type": "Metaspace", "replacement": "\u{2581}"], "added_tokens": .array(added),
        ]
        change(&parts)
        let members = parts.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value) }
        return try T5Tokenizer(JSONObject(.object(members), file: "tokenizer.json"))
    }

    @Test("the most probable pieces are taken, unknown neighbours are one, spaces are signs")
    func words() throws {
        for tokenizer in [try Self.tokenizer(), try Self.json()] {
            for (text, ids) in [
                ("", []), ("   ", []), ("ab", [4, 5]), ("a", [4]), ("abb", [4, 7]), ("b", [3, 5]), ("xyz", [3, 2]),
                ("xbz", [3, 2, 5, 2]), ("x y", [3, 2, 3, 2]), ("  a   b ", [4, 3, 5]), ("a\u{2581}b", [4, 3, 5]),
                ("a\u{2581} b", [4, 3, 3, 5]), ("\u{2581}a", [4]), ("a</s>a", [4, 1, 4]), ("a <unk> a", [4, 2, 4]),
                ("\u{1F469}\u{200D}\u{1F680}", [3, 2]), ("<pad", [3, 2]),
            ] {
                #expect(tokenizer(text) == ids + [1], "\(text)")
            }
            #expect(tokenizer("ab ab ab", length: 4) == [4, 5, 4, 1])
            #expect(tokenizer("ab", length: 1) == [1])
            #expect(tokenizer.padded([4, 1], length: 4) == [4, 1, 0, 0])
        }
        // A hundred signs for gaps stand behind the pieces of the model, the last first.
        #expect(try Self.tokenizer()("<extra_id_99>a<extra_id_0>") == [8, 4, 107, 1])
    }

    @Test("a long word is cut quickly")
    func longWord() throws {
        let start = ContinuousClock.now
        let ids = try Self.tokenizer()(String(repeating: "b", count: 100_000))
        #expect(ids.count == 50_002)
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test("a model that is cut off or changed anywhere is one fault, or another tokenizer")
    func brokenModels() throws {
        let whole = Self.model(map: [4, 0, 0, 0, 0, 1, 0, 0, 65, 0])
        _ = try Self.tokenizer(whole)
        var faults = 0
        func take(_ bytes: [UInt8]) throws {
            do {
                let tokenizer = try Self.tokenizer(bytes)
                #expect(tokenizer("a b\u{FB01}\u{0}", length: 8).count <= 8)
            } catch let fault as Fault {
                #expect(fault.kind == .badData && !fault.description.contains("\n"))
                faults += 1
            }
        }
        for count in whole.indices { try take(Array(whole[..<count])) }
        for place in whole.indices {
            for byte: UInt8 in [0, 1, 0x7F, 0x80, 0xFF] {
                var changed = whole
                changed[place] = byte
                try take(changed)
            }
        }
        #expect(faults > whole.count)
        for (bytes, words) in [
            ([], "no pieces"), (Self.model([("a", 0, 1)]), "unknown"), (Self.model(training: [0x18, 2]), "kind 2"),
            (Self.model(training: [0x18, 3]), "kind 3"),
            (Self.model([("<unk>", .nan, 2)]), "not a number"), (Self.model([("<unk>", 0, 9)]), "kind 9"),
            (Self.model(Array(Self.pieces.dropFirst(2))), "<pad>"), ([0x0B], "known kind"), ([0x02, 0], "no number"),
            ([0x0A] + Array(repeating: 0xFF, count: 10), "64 bits"), ([0x0A, 5, 1], "ends too early"),
            (Self.model(map: [9, 0, 0, 0, 1]), "cut off"), (Self.model(map: [1]), "cut off"),
            (Self.model([(String(repeating: "x", count: 2000), 0, 2)] + Self.pieces), "longer"),
            (Self.model(map: [4, 0, 0, 0, 0, 1, 0, 0] + Array(repeating: 65, count: 257)), "more than 256 bytes"),
        ] {
            let fault = #expect(throws: Fault.self) { try Self.tokenizer(bytes) }
            #expect(fault?.description.contains(words) == true, "\(words): \(fault as Any)")
        }
    }

    @Test("tables of replaced characters made of anything replace without a trap")
    func oddTables() throws {
        var state: UInt64 = 1
        for round in 0..<200 {
            let map: [UInt8] = (0..<400).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> (round % 2 == 0 ? 56 : 61))
            }
            let tokenizer = try Self.tokenizer(Self.model(map: [0, 1, 0, 0] + map))
            #expect(tokenizer("a\u{0}b e\u{301} \u{FB01} \u{1F469}\u{200D}\u{1F680}", length: 30).count <= 30)
        }
    }

    @Test("a wrong tokenizer.json is one fault that names what is wrong")
    func brokenFiles() throws {
        let changes: [(key: String, value: JSON?, words: String)] = [
            ("model", nil, "model"), ("model", ["type": "BPE"], "type"), ("model", ["type": "Unigram"], "vocab"),
            ("model", ["type": "Unigram", "vocab": [["a"]], "unk_id": 0], "vocab"),
            ("model", ["type": "Unigram", "vocab": [["a", "b"]], "unk_id": 0], "vocab"),
            ("model", ["type": "Unigram", "vocab": [["a", 1]]], "unk_id"),
            ("model", ["type": "Unigram", "vocab": [["a", 1]], "unk_id": 1], "unknown piece"),
            ("model", ["type": "Unigram", "vocab": [["a", 1]], "unk_id": -1], "unknown piece"),
            ("model", ["type": "Unigram", "vocab": [["a", 1]], "unk_id": 0, "byte_fallback": true], "byte_fallback"),
            ("normalizer", nil, "normalizer"), ("normalizer", ["type": "NFC"], "normalizer"),
            ("normalizer", ["type": "Precompiled", "precompiled_charsmap": "?"], "base 64"),
            ("normalizer", ["type": "Precompiled", "precompiled_charsmap": "AAA"], "cut off"),
            ("pre_tokenizer", ["type": "ByteLevel"], "pre_tokenizer"), ("added_tokens", nil, "added_tokens"),
            ("added_tokens", [["content": "</s>", "id": 1]], "<pad>"), ("added_tokens", [["content": "</s>"]], "id"),
        ]
        for (key, value, words) in changes {
            let fault = #expect(throws: Fault.self) { try Self.json { $0[key] = value } }
            #expect(fault?.kind == .badData && fault?.description.contains(words) == true, "\(key): \(fault as Any)")
        }
    }

    @Test("settings that the encoder does not have are faults that name them")
    func encoderSettings() throws {
        for (key, value) in [
            ("feed_forward_proj", JSON.string("relu")), ("relative_attention_num_buckets", 30),
            ("relative_attention_max_distance", 8), ("num_layers", 0), ("d_model", -1), ("vocab_size", "many"),
        ] {
            let file = try JSONObject(.object([.init(key, value)]), file: "config.json")
            let fault = #expect(throws: Fault.self) { try T5Encoder.Configuration(file) }
            #expect(fault?.kind == .badData && fault?.description.contains(key) == true, "\(fault as Any)")
        }
    }
}
