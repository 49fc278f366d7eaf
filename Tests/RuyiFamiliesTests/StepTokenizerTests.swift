import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Step-Video's tokenizers and the files of its text encoders")
struct StepTokenizerTests {
    private static let control = [
        "<|BOT|>", "<|EOT|>", "<|CALL_START|>", "<|CALL_END|>", "<|THINK_START|>", "<|THINK_END|>",
    ]
    private static let masks = ["<|MASK_1e69f|>", "<|UNMASK_1e69f|>"]

    private static func step(without name: String? = nil, control kind: UInt8 = 3) throws -> StepTokenizer {
        var pieces: [UnigramTests.Piece] = [("<unk>", 0, 2)]
        pieces += control.map { ($0, 0, kind) }
        pieces += masks.map { ($0, 0, 4) }
        pieces += [("\u{2581}a", -1, 1), ("b", -1, 1)]
        let model = UnigramTests.model(pieces.filter { $0.text != name })
        return try StepTokenizer(SentencePieceFile(parsing: model, file: "step1_chat_tokenizer.model"))
    }

    @Test("a text of Step-LLM stands between its beginning and its end, 320 tokens at most")
    func length() throws {
        let tokenizer = try Self.step()
        #expect(tokenizer("") == [1, 2] && tokenizer("ab") == [1, 9, 10, 2])
        let long = tokenizer(String(repeating: "b", count: 400))
        #expect(long.count == 320 && long.last == 2 && tokenizer.padded(long) == long)
        #expect(tokenizer(String(repeating: "a ", count: 400), length: .max).count == 402)
        #expect(tokenizer("ab", length: 0) == [1, 2])
        #expect(tokenizer.padded([1, 2]) == [1] + Array(repeating: 2, count: 319))
    }

    @Test("a tokenizer without the pieces of Step-LLM is refused by the piece")
    func otherTokenizers() throws {
        for name in Self.control + Self.masks {
            let fault = #expect(throws: Fault.self) { try Self.step(without: name) }
            #expect(fault?.kind == .badData && fault?.description.contains(name) == true)
        }
        #expect(throws: Fault.self) { try Self.step(control: 1) }
    }

    private static let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nab\n!\n\u{732B}\ne\n##c\n"

    private static func bert(_ words: String = words, _ settings: String? = nil) throws -> BERTTokenizer {
        try BERTTokenizer(
            vocabulary: Array(words.utf8), file: "vocab.txt",
            settings: settings.map { try JSONObject(parsing: Array($0.utf8), file: "tokenizer_config.json") })
    }

    @Test("words are cut into the longest pieces from the left, or are unknown")
    func wordPieces() throws {
        let tokenizer = try Self.bert()
        for (text, ids) in [
            ("", []), (" \n", []), ("ab", [7]), ("abb", [7, 6]), ("aab", [1]), ("b", [1]), ("AB ac", [7, 5, 11]),
            ("a!b", [5, 8, 1]), ("a\u{732B}a", [5, 9, 5]), ("\u{E9}c \u{C9}", [10, 11, 10]), ("e\u{301}", [10]),
            ("\u{301}", []), ("a\u{200B}b\u{0}", [7]), ("a\u{3000}a\u{2028}a", [5, 5, 5]),
            ("[SEP]a[sep]", [3, 5, 1, 1, 1]),
            ("a[MASK]b", [5, 4, 1]), (String(repeating: "b", count: 101), [1]), ("a\u{1F431}", [1]),
            ("a" + String(repeating: "b", count: 99), [7] + Array(repeating: 6, count: 98)),
            ("a" + String(repeating: "b", count: 100), [1]),
        ] as [(String, [Int])] {
            #expect(tokenizer(text, length: 200) == [2] + ids + [3], "\(text)")
        }
        let long = tokenizer(String(repeating: "a ", count: 200))
        #expect(long.count == 77 && long.first == 2 && long.last == 3)
        #expect(tokenizer("a a", length: 3) == [2, 5, 3] && tokenizer("a", length: 0) == [2, 3])
        #expect(tokenizer.padded([2, 3], length: 4) == [2, 3, 0, 0])
        #expect(tokenizer(String(repeating: "a ", count: 200), length: .max).count == 202)
    }

    @Test("case, accents and ideographs are treated as the settings say")
    func settings() throws {
        let words = Self.words + "\u{C9}\n\u{E9}\nA\na\u{732B}\n"
        for (settings, text, ids) in [
            ("{}", "\u{C9} A", [10, 5]), (#"{"do_lower_case": false}"#, "E\u{301} A", [12, 14]),
            (#"{"strip_accents": false}"#, "E\u{301}", [13]), (#"{"strip_accents": null}"#, "\u{C9}", [10]),
            (#"{"do_lower_case": false, "strip_accents": true}"#, "\u{E9}", [10]),
            (#"{"tokenize_chinese_chars": false}"#, "a\u{732B}", [15]),
        ] {
            #expect(try Self.bert(words, settings)(text) == [2] + ids + [3], "\(settings)")
        }
        for settings in [#"{"do_basic_tokenize": false}"#, #"{"do_lower_case": 1}"#, #"{"strip_accents": "no"}"#] {
            #expect(throws: Fault.self) { try Self.bert(words, settings) }
        }
    }

    @Test("a vocabulary may be written with any ends of lines; a wrong one is one fault")
    func vocabularies() throws {
        #expect(try Self.bert(Self.words.split(separator: "\n").joined(separator: "\r\n"))("abb") == [2, 7, 6, 3])
        // Empty lines count, and of equal tokens the last one.
        #expect(try Self.bert(Self.words + "\n\nab\n")("abb") == [2, 14, 6, 3])
        for name in ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] {
            let words = Self.words.split(separator: "\n").filter { $0 != name }.joined(separator: "\n")
            let fault = #expect(throws: Fault.self) { try Self.bert(words) }
            #expect(fault?.kind == .badData && fault?.description.contains(name) == true)
        }
        for (words, expected) in [
            ("", "[CLS]"), ("\u{0}", "UTF-8"), (Self.words + String(repeating: "x", count: 2000), "line 13"),
            (Self.words + String(repeating: "\n", count: 1 << 20), "1048576"),
        ] {
            let fault = #expect(throws: Fault.self) { try Self.bert(words) }
            #expect(fault?.kind == .badData && fault?.description.contains(expected) == true, "\(fault as Any)")
        }
        #expect(throws: Fault.self) { try BERTTokenizer(vocabulary: [0xFF], file: "vocab.txt") }
    }

    @Test("long texts of any characters are read quickly")
    func longTexts() throws {
        let tokenizer = try Self.bert()
        let start = ContinuousClock.now
        for text in ["a", "a ", "\u{301}\u{323}", "\u{732B}", "!", "[SEP", "\u{AC00}", " "] {
            #expect(tokenizer(String(repeating: text, count: 50_000)).count <= 77)
        }
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    @Test("settings that the encoders do not have are faults that name them")
    func encoderSettings() throws {
        let step: [JSON.Member] = [
            .init("hidden_size", 48), .init("num_attention_heads", 12), .init("num_attention_groups", 3),
            .init("ffn_hidden_size", 300), .init("num_layers", 2), .init("padded_vocab_size", 640),
        ]
        func settings(_ members: [JSON.Member], _ key: String, _ value: JSON?) throws -> JSONObject {
            let rest = members.filter { $0.key != key }
            return try JSONObject(.object(rest + (value.map { [JSON.Member(key, $0)] } ?? [])), file: "config.json")
        }
        let whole = try StepLLM.Configuration(JSONObject(.object(step), file: "config.json"))
        #expect(whole.intermediateSize == 512 && whole.headSize == 4 && whole.bias == .squareRoot)
        for (key, value) in [
            ("hidden_size", nil), ("num_attention_heads", 7), ("num_attention_groups", 5), ("num_layers", 0),
            ("ffn_hidden_size", 1_099_511_627_776), ("padded_vocab_size", -1), ("alibi", "cubic"),
            ("layernorm_epsilon", "x"),
        ] as [(String, JSON?)] {
            let fault = #expect(throws: Fault.self) { try StepLLM.Configuration(settings(step, key, value)) }
            #expect(fault?.kind == .badData && fault?.description.contains(key) == true, "\(fault as Any)")
        }
        for (key, value) in [
            ("num_attention_heads", 7), ("max_position_embeddings", 76), ("hidden_act", "relu"),
            ("position_embedding_type", "relative_key"), ("vocab_size", 0), ("num_hidden_layers", "x"),
        ] as [(String, JSON)] {
            let fault = #expect(throws: Fault.self) { try BERT.Configuration(settings([], key, value)) }
            #expect(fault?.kind == .badData && fault?.description.contains(key) == true, "\(fault as Any)")
        }
    }

    @Test("of a file with more than BERT's encoder only that is taken, under its own names")
    func bertFiles() throws {
        func keys(_ names: [String]) throws -> [String] {
            let file = MemoryWeights(names.map { ($0, HostTensor([1, 2], [2])) }, path: "model.safetensors")
            return try BERTFile(file).weights.keys
        }
        let inner = ["embeddings.LayerNorm.weight", "encoder.layer.0.output.dense.bias"]
        #expect(try keys(inner + ["pooler.dense.weight", "embeddings.position_ids", "visual.conv1.weight"]) == inner)
        let nested = inner.map { "bert." + $0 }
        let others = [
            "bert.pooler.dense.bias", "bert.embeddings.position_ids", "cls.predictions.bias", "encoder.layer.9.x",
        ]
        #expect(try keys(nested + others) == inner)
        for names in [["visual.conv1.weight"], [], ["bert.pooler.dense.bias", "embeddings.LayerNorm.weight"]] {
            #expect(throws: Fault.self) { try keys(names) }
        }
    }
}
