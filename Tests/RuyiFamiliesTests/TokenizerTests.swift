import GoldenRecords
import RuyiEncoders
import RuyiFault
import RuyiFiles
import Testing

@Suite("Tokenizers of broken files")
struct TokenizerTests {
    private static func file(_ name: String) throws -> [UInt8] {
        try FileBytes.read(
            GoldenRecord(name: "tokenizers", family: "hunyuanvideo")("model/" + name), limit: 1 << 22)
    }

    /// The recorded `tokenizer.json` with one value changed or, with nil, taken out; `path` leads to it.
    private static func tokenizer(_ path: [String], _ value: JSON?) throws -> JSONObject {
        func changed(_ json: JSON, _ path: ArraySlice<String>) -> JSON {
            guard let key = path.first, let members = json.members else { return value ?? .null }
            let rest = members.compactMap { member -> JSON.Member? in
                guard member.key == key else { return member }
                if path.count == 1 { return value.map { JSON.Member(key, $0) } }
                return JSON.Member(key, changed(member.value, path.dropFirst()))
            }
            let isNew = value != nil && path.count == 1 && !members.contains { $0.key == key }
            return .object(rest + (isNew ? [JSON.Member(key, value ?? .null)] : []))
        }
        let json = try JSON.parse(file("tokenizer/tokenizer.json"), file: "tokenizer.json")
        return try JSONObject(changed(json, path[...]), file: "tokenizer.json")
    }

    /// What is wrong, the place of it, and words of the message.
    static let broken: [(path: [String], value: JSON?, words: String)] = [
        (["model"], nil, "model"), (["model"], .null, "model"), (["model"], 3, "model"),
        (["model", "type"], "WordPiece", "type"), (["model", "vocab"], nil, "vocab"),
        (["model", "vocab"], ["a", "b"], "vocab"), (["model", "vocab"], .object([]), "no token for the byte"),
        (["model", "vocab", "a"], nil, "no token for the byte 97"), (["model", "vocab", "a"], "x", "is not a number"),
        (["model", "vocab", "a"], -1, "is not a number"), (["model", "vocab", "a"], 1.5, "is not a number"),
        (["model", "merges"], nil, "merges"), (["model", "merges"], [["a"]], "merges"),
        (["model", "merges"], ["a b c"], "merges"), (["model", "merges"], ["a"], "merges"),
        (["model", "merges"], [""], "merges"), (["model", "merges"], [[1, 2]], "merges"),
        (["model", "merges"], [.null], "merges"), (["model", "merges"], ["q zzzz"], "not of the vocabulary"),
        (["model", "merges"], ["\u{3042} a"], "not of the vocabulary"),
        (["model", "ignore_merges"], "yes", "ignore_merges"), (["normalizer"], ["type": "NFC"], "normalizer"),
        (["pre_tokenizer"], nil, "pre_tokenizer"), (["pre_tokenizer"], .object([]), "another pattern"),
        (["pre_tokenizer", "pretokenizers"], [["pattern": ["Regex": "a+"]]], "another pattern"),
        (["added_tokens"], nil, "added_tokens"), (["added_tokens"], [3], "tokenizer.json"),
        (["added_tokens"], [["content": "<pad>"]], "id"), (["added_tokens"], [["id": 3]], "content"),
        (
            ["post_processor"], ["type": "TemplateProcessing", "single": [["SpecialToken": ["id": "<nowhere>"]]]],
            "post_processor"
        ),
        (
            ["post_processor"],
            [
                "type": "TemplateProcessing",
                "single": [["Sequence": ["id": "A"]], ["SpecialToken": ["id": "<|begin_of_text|>"]]],
            ], "post_processor"
        ),
    ]

    @Test("a wrong tokenizer.json is one fault that names what is wrong", arguments: broken.indices)
    func tokenizerFiles(_ index: Int) throws {
        let (path, value, words) = Self.broken[index]
        let file = try Self.tokenizer(path, value)
        let fault = #expect(throws: Fault.self) { try ByteLevelTokenizer(file) }
        #expect(fault?.kind == .badData && fault?.description.contains(words) == true, "\(path): \(fault as Any)")
        #expect(fault?.description.contains("\n") == false)
    }

    /// Vocabularies with ids that are too large, equal or out of order still give ids of the vocabulary.
    @Test("odd ids are given as they are, and every text is read")
    func oddVocabularies() throws {
        for id in [0, 5, Int.max] {
            let tokenizer = try ByteLevelTokenizer(Self.tokenizer(["model", "vocab", "a"], .int(id)))
            for text in ["a", "a\u{0}b", "\u{FFFD}\u{200D}\u{1F468}", "<|eot_id|><|eot_", "\r\n\r\n \t a", ""] {
                #expect(tokenizer(text).first == 662)
            }
            #expect(tokenizer("a ").contains(id))
        }
    }

    @Test("a wrong merges.txt or vocab.json is one fault that names what is wrong")
    func clipFiles() throws {
        let vocabulary = try JSONObject(parsing: Self.file("tokenizer_2/vocab.json"), file: "vocab.json")
        func read(_ vocabulary: JSONObject, _ merges: String) throws -> CLIPTokenizer {
            try CLIPTokenizer(vocabulary: vocabulary, merges: Array(merges.utf8), file: "merges.txt")
        }
        for (merges, words) in [
            ("#version: 0.2\nt", "no pair"), ("t h e", "no pair"), ("t  h", "no pair"), (" t h", "no pair"),
            ("t \u{3042}", "not of the vocabulary"), ("t h\nq zz", "not of the vocabulary"),
            ("h</w> e", "not of the vocabulary"), (String(repeating: "x", count: 1 << 16), "no pair"),
        ] {
            let fault = #expect(throws: Fault.self) { try read(vocabulary, merges) }
            #expect(fault?.kind == .badData && fault?.description.contains(words) == true, "\(fault as Any)")
            #expect((fault?.description.count ?? 0) < 300)
        }
        for key in ["<|startoftext|>", "<|endoftext|>", "a", "a</w>"] {
            let file = try JSONObject(.object(vocabulary.members.filter { $0.key != key }), file: "vocab.json")
            let fault = #expect(throws: Fault.self) { try read(file, "") }
            #expect(fault?.kind == .badData, "\(key)")
        }
        #expect(throws: Fault.self) {
            try CLIPTokenizer(vocabulary: vocabulary, merges: [0xFF, 0x20, 0xFE], file: "merges.txt")
        }
        // Line ends of either kind, a missing last one and empty lines are no faults.
        let plain = try read(vocabulary, "#version: 0.2\nt h\nth e</w>\n")("the", length: 77)
        for merges in ["#version: 0.2\r\nt h\r\nth e</w>\r\n", "t h\nth e</w>", "\n\nt h\n\nth e</w>"] {
            #expect(try read(vocabulary, merges)("the", length: 77) == plain && plain.count == 3)
        }
    }

    @Test("twenty thousand added tokens with a common beginning, and long runs of digits, take no time")
    func manyTokens() throws {
        let file = try JSON.parse(Self.file("tokenizer/tokenizer.json"), file: "tokenizer.json")
        let beginning = String(repeating: "a", count: 300)
        let old = file["added_tokens"]?.array ?? []
        let new = (0..<20_000).map {
            JSON.object([.init("id", .int(900_000 + $0)), .init("content", .string("\(beginning)b\($0)"))])
        }
        func tokenizer(_ tokens: [JSON]) throws -> ByteLevelTokenizer {
            let members = (file.members ?? []).map {
                $0.key == "added_tokens" ? JSON.Member($0.key, .array(tokens)) : $0
            }
            return try ByteLevelTokenizer(JSONObject(.object(members), file: "tokenizer.json"))
        }
        let plain = try tokenizer(old)
        let long = try tokenizer(old + new)
        let start = ContinuousClock.now
        let text = String(repeating: "a", count: 60_000)
        #expect(long(text) == plain(text))
        // The longest of those that fit, and what follows as text.
        let mixed = long("x\(beginning)b123y")
        #expect(mixed.contains(900_123) && !mixed.contains(900_012))
        #expect(long("\(beginning)b20000").contains(902_000))
        #expect(plain(String(repeating: "7", count: 60_000)).count >= 20_000)
        #expect(ContinuousClock.now - start < .seconds(20))
        let tooLong = JSON.object([.init("id", 1), .init("content", .string(String(repeating: "x", count: 2000)))])
        #expect(throws: Fault.self) { try tokenizer(old + [tooLong]) }
    }

    @Test("CLIP keeps the end of a long text, and special tokens written out are single ids")
    func clipLength() throws {
        let vocabulary = try JSONObject(parsing: Self.file("tokenizer_2/vocab.json"), file: "vocab.json")
        let tokenizer = try CLIPTokenizer(
            vocabulary: vocabulary, merges: Self.file("tokenizer_2/merges.txt"), file: "merges.txt")
        let (start, end) = (try vocabulary.int("<|startoftext|>"), try vocabulary.int("<|endoftext|>"))
        let long = tokenizer(String(repeating: "a b ", count: 500), length: 77)
        #expect(long.count == 77 && long.first == start && long.last == end)
        #expect(tokenizer("<|endoftext|> <|startoftext|>", length: 77) == [start, end, start, end])
        #expect(tokenizer.padded([start, end], length: 5) == [start, end, end, end, end])
        #expect(tokenizer(" \n\t", length: 77) == [start, end])
    }

    @Test("texts are repaired before they are read, where the slow tokenizer repairs them")
    func repairs() throws {
        let vocabulary = try JSONObject(parsing: Self.file("tokenizer_2/vocab.json"), file: "vocab.json")
        let merges = try Self.file("tokenizer_2/merges.txt")
        func read(_ cleaning: CLIPTokenizer.Cleaning) throws -> CLIPTokenizer {
            try CLIPTokenizer(vocabulary: vocabulary, merges: merges, file: "merges.txt", cleaning: cleaning)
        }
        let (repairing, plain) = (try read(.repaired), try read(.none))
        // What ftfy 6.3 makes of each.
        for (text, repaired) in [
            ("&amp;amp; &lt;i&gt;", "& <i>"), ("a < b &amp; c", "a < b &amp; c"), ("&amp;\n<b>", "&\n<b>"),
            ("a\n<b> &amp;\n&amp;", "a\n<b> &amp;\n&amp;"), ("&nosuch; &; & &#; &#x;", "&nosuch; &; & &#; &#x;"),
            ("&EACUTE;&szlig;&SZLIG; &#233;&#xE9;&#12ab;", "\u{C9}\u{DF}SS \u{E9}\u{E9}&#12ab;"),
            ("&#150; &#0; &#x110000; &#99999999999999;", "\u{2013} \u{FFFD} \u{FFFD} \u{FFFD}"),
            ("\u{E2}\u{20AC}\u{153}quote\u{E2}\u{20AC}\u{9D} it\u{E2}\u{20AC}\u{2122}s", "\"quote\" it's"),
            ("caf\u{C3}\u{A9} \u{C2}\u{A3}5 double \u{C3}\u{192}\u{C2}\u{A9}", "caf\u{E9} \u{A3}5 double \u{E9}"),
            ("\u{D0}\u{178}\u{D1}\u{20AC}\u{D0}\u{B8}", "\u{41F}\u{440}\u{438}"),
            ("\u{F0}\u{178}\u{161}\u{20AC} rocket", "\u{1F680} rocket"), ("GR\u{D6}\u{DF}E", "GR\u{D6}\u{DF}E"),
            (
                "n\u{E9}\u{BB}\u{2014}non \u{C9}\u{C0} \u{D4}\u{B9}",
                "n\u{E9}\u{BB}\u{2014}non \u{C9}\u{C0} \u{D4}\u{B9}"
            ),
            ("fi\u{FB01}\u{FB03} \u{132}ssel \u{1C4} \u{149}", "fififfi IJssel D\u{17D} 'n"),
            ("\u{201C}a\u{201D} \u{201E}b\u{201F} \u{2018}c\u{2019} \u{2BC}n", "\"a\" \"b\" 'c' 'n"),
            ("\u{FF21}\u{3000}\u{FF11}\u{FF5E}\u{FF76}\u{FF9E}\u{FFE3}", "A 1~\u{30AC} \u{304}"),
            ("bell\u{7} esc\u{1B}[31mred\u{1B}[0m\u{1B}7x \u{FEFF}bom\u{206A}a\u{FFFC}\u{1B}[", "bell escred7x boma["),
            ("line\u{2028}sep\u{85}next\r\nend", "line\nsep\u{2026}next\nend"),
            ("e\u{301} \u{1100}\u{1161} \u{93}hi\u{94} \u{80}", "\u{E9} \u{AC00} \"hi\" \u{20AC}"),
        ] {
            #expect(repairing(text, length: 999) == plain(repaired, length: 999), "\(text)")
        }
        // A sigma at the end of a word, and the end's own sign in other letters.
        let sigma = repairing("\u{3A3}\u{399}\u{3A3} \u{3A3}", length: 99)
        #expect(sigma == plain("\u{3C3}\u{3B9}\u{3C2} \u{3C3}", length: 99))
        #expect(try repairing("A<|ENDOFTEXT|>", length: 9).contains(vocabulary.int("<|endoftext|>")))
        let start = ContinuousClock.now
        for text in ["&", "&amp;", "\u{C3}", "\u{1B}[", "\u{3A3}"] {
            #expect(repairing(String(repeating: text, count: 20_000), length: 77).count <= 77)
        }
        #expect(repairing("&" + String(repeating: "amp;", count: 20_000), length: 77).count == 77)
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    @Test("a padding token of its own fills what remains, and is cut out of texts")
    func padding() throws {
        let vocabulary = try JSONObject(parsing: Self.file("tokenizer_2/vocab.json"), file: "vocab.json")
        let merges = try Self.file("tokenizer_2/merges.txt")
        func object(_ text: String) throws -> JSONObject { try JSONObject(parsing: Array(text.utf8), file: "map.json") }
        let names = try [#"{"pad_token": "!"}"#, #"{"pad_token": {"content": "!"}}"#, #"{"pad_token": null}"#].map {
            try CLIPTokenizer.padding([object($0), object(#"{"pad_token": "<|endoftext|>"}"#)])
        }
        #expect(names == ["!", "!", "<|endoftext|>"])
        #expect(try CLIPTokenizer.padding([object("{}")]) == nil)
        #expect(throws: Fault.self) { try CLIPTokenizer.padding([object(#"{"pad_token": 3}"#)]) }
        let tokenizer = try CLIPTokenizer(
            vocabulary: vocabulary, merges: merges, file: "merges.txt", cleaning: .repaired, padding: "!")
        let (start, end, fill) = (
            try vocabulary.int("<|startoftext|>"), try vocabulary.int("<|endoftext|>"), try vocabulary.int("!")
        )
        #expect(tokenizer("!!", length: 77) == [start, fill, fill, end])
        #expect(tokenizer.padded([start, end], length: 4) == [start, end, fill, fill])
        #expect(throws: Fault.self) {
            try CLIPTokenizer(vocabulary: vocabulary, merges: merges, file: "merges.txt", padding: "no token")
        }
    }
}
