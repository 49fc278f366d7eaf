import RuyiFault
import RuyiFiles
import Testing

@Suite("JSON")
struct JSONTests {
    private func parse(_ text: String) throws(Fault) -> JSON { try JSON.parse(Array(text.utf8), file: "x.json") }

    @Test(
        "values are read as RFC 8259 has them",
        arguments: [
            ("null", JSON.null), (" true ", true), ("false", false), ("\"\"", ""), ("[]", []), ("{}", [:]),
            ("[1,\n2 , 3]", [1, 2, 3]), (#"{"a":{"b":[null]}}"#, ["a": ["b": [nil]]]),
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"), (#""\u00e9\ud83d\ude00A""#, "\u{e9}\u{1F600}A"),
            ("\"\u{10FFFF}\u{7FF}\u{800}\u{7F}\"", "\u{10FFFF}\u{7FF}\u{800}\u{7F}"),
        ] as [(String, JSON)])
    func good(_ text: String, _ value: JSON) throws { #expect(try parse(text) == value) }

    @Test("a document has no more values than it may")
    func values() throws {
        func parse(_ text: String, _ limit: Int) throws(Fault) {
            _ = try JSON.parse(Array(text.utf8), file: "x", values: limit)
        }
        try parse("[1,{\"a\":2}]", 4)
        expect(.badData, "more than 3 values") { try parse("[1,{\"a\":2}]", 3) }
        let start = ContinuousClock.now
        let many = "[" + String(repeating: "0,", count: 20_000_000) + "0]"
        expect(.badData, "more than \(JSON.valueLimit) values") { try self.parse(many) }
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test(
        "liberties are refused",
        arguments: [
            "", " ", "[1,]", "{\"a\":1,}", "[1 2]", "{\"a\" 1}", "{a:1}", "{'a':1}", "// x\n1", "/**/1", "NaN",
            "Infinity",
            "-Infinity", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "-", "0x1", "1_000", "tru", "nul", "True", "\"",
            "\"\\",
            "\"\\u12\"", "\"\\u12g4\"", "\"\\x41\"", "\"\t\"", "\"\n\"", "\"\\ud800\"", "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "\"\\ud800x\"", "[", "{", "[1", "{\"a\"", "{\"a\":", "{\"a\":1", "]", "1 1", "{}{}", "[]x",
            "\u{FEFF}\u{FEFF}1",
            "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "1\0", "\u{A0}1", "\"\\u+123\"", "[,1]", "{,}",
        ])
    func bad(_ text: String) { expect(.badData, "x.json", "line ", "byte ") { try parse(text) } }

    @Test(
        "malformed UTF-8 is refused",
        arguments: [
            [0xFF], [0xC0, 0xAF], [0xC1, 0xBF], [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80], [0xF0, 0x8F, 0xBF, 0xBF],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0x80], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98],
            [0xC3, 0x28],
            [0xE2, 0x28, 0xA1], [0xF0, 0x9F, 0x28, 0x80],
        ] as [[UInt8]])
    func encoding(_ bytes: [UInt8]) {
        expect(.badData, "UTF-8") { try JSON.parse([0x22] + bytes + [0x22], file: "x.json") }
        expect(.badData) { try JSON.parse([0x22] + bytes, file: "x.json") }
        // The same after an escape, where the text is put together.
        expect(.badData, "UTF-8") { try JSON.parse(Array("\"\\n".utf8) + bytes + [0x22], file: "x.json") }
    }

    @Test("UTF-16 is refused by name")
    func wide() {
        expect(.badData, "UTF-16") { try JSON.parse([0xFF, 0xFE, 0x31, 0], file: "x.json") }
        expect(.badData, "UTF-16") { try JSON.parse([0xFE, 0xFF, 0, 0x31], file: "x.json") }
        expect(.badData) { try JSON.parse([0x31, 0], file: "x.json") }
    }

    @Test("nesting stops at the limit and not before")
    func depth() throws {
        let lists = { (count: Int) in String(repeating: "[", count: count) + String(repeating: "]", count: count) }
        _ = try parse(lists(64))
        expect(.badData, "deeper than 64") { try parse(lists(65)) }
        expect(.badData, "deeper than 64") { try parse(String(repeating: "{\"a\":", count: 100_000)) }
        expect(.badData, "deeper than 2") { try JSON.parse(Array("[[[]]]".utf8), file: "x.json", depth: 2) }
    }

    @Test("names are compared byte by byte, in small and in large objects")
    func names() throws {
        // A letter with its accent in one or two characters: Swift calls them equal, JSON does not.
        #expect(try parse("{\"\u{e9}\":1,\"e\u{301}\":2}").members?.count == 2)
        #expect(try parse("{\"\u{e9}\":1,\"e\u{301}\":2}")["e\u{301}"] == 2)
        for count in [2, 15, 16, 17, 18, 100] {
            let members = (0..<count).map { "\"k\($0)\":\($0)" }
            #expect(try parse("{" + members.joined(separator: ",") + "}").members?.count == count)
            for twin in [0, count / 2, count - 1] {
                let text = "{" + (members + ["\"k\(twin)\":0"]).joined(separator: ",") + "}"
                expect(.badData, "\"k\(twin)\" twice") { try parse(text) }
            }
        }
    }

    @Test("faults give the line and the byte")
    func place() {
        expect(.badData, "line 3, byte 12 (x.json)") { try parse("{\n \"a\": 1,\n x\n}") }
    }

    @Test("numbers keep their text: integers are exact, others the nearest Double")
    func numbers() throws {
        #expect(try parse("9223372036854775807").int == .max)
        #expect(try parse("-9223372036854775808").int == .min)
        #expect(try parse("9223372036854775808").int == nil)
        #expect(try parse("1.0").int == nil)
        #expect(try parse("1e2").int == nil)
        #expect(try parse("-0").int == nil)
        #expect(try parse("1e-5").double == 0.00001)
        #expect(try parse("0.1").double == 0.1)
        #expect(try parse("-1.5E+3").double == -1500)
        #expect(try parse("9007199254740993").double == 9_007_199_254_740_992)
        #expect(try parse("1e999").double == nil)
        #expect(try parse("4.9406564584124654e-324").double == .leastNonzeroMagnitude)
        #expect(try parse("1.7976931348623157e308").double == .greatestFiniteMagnitude)
        expect(.badData, "1000 characters") { try parse(String(repeating: "1", count: 1001)) }
    }

    @Test("text that is written parses to the same value, in both forms", arguments: 0..<200)
    func roundTrip(_ seed: Int) throws {
        var random = Seeded(state: UInt64(seed))
        let value = make(depth: 4, &random)
        #expect(try parse(value.text()) == value)
        #expect(try parse(value.text(pretty: true)) == value)
        #expect(try parse(value.text()).text() == value.text())
    }

    private func make(depth: Int, _ random: inout Seeded) -> JSON {
        switch Int.random(in: 0..<(depth == 0 ? 5 : 7), using: &random) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &random))
        case 2: return .int(Int.random(in: .min ... .max, using: &random))
        case 3: return .double(Double(bitPattern: random.next()))
        case 4: return .string(text(&random))
        case 5: return .array((0..<Int.random(in: 0...4, using: &random)).map { _ in make(depth: depth - 1, &random) })
        default:
            return .object(
                (0..<Int.random(in: 0...4, using: &random)).map { index in
                    JSON.Member("\(index)" + text(&random), make(depth: depth - 1, &random))
                })
        }
    }

    private func text(_ random: inout Seeded) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let limit: UInt32 = [0x20, 0x80, 0x800, 0x11_0000][Int.random(in: 0..<4, using: &random)]
            if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    @Test("the pretty form is indented and keeps flat lists on a line")
    func pretty() {
        let value: JSON = ["a": [1, 2], "b": ["c": nil], "d": [[:]], "e": 1e-5, "f": 0.25]
        let expected = """
            {
              "a": [1, 2],
              "b": {
                "c": null
              },
              "d": [
                {}
              ],
              "e": 1e-05,
              "f": 0.25
            }
            """
        #expect(value.text(pretty: true) == expected)
        #expect(value.text() == #"{"a":[1,2],"b":{"c":null},"d":[{}],"e":1e-05,"f":0.25}"#)
    }

    @Test("configuration values of the wrong type name file, key, expected and found")
    func configuration() throws {
        let text = """
            {"n": 3, "x": 1.5, "s": "t", "b": true, "l": [1, 2], "m": [1, "a"], "o": {"p": {"q": "z"}}, "z": null}
            """
        let config = try JSONObject(parsing: Array(text.utf8), file: "config.json")
        #expect(try config.int("n") == 3)
        #expect(try config.double("n") == 3)
        #expect(try config.double("x") == 1.5)
        #expect(try config.string("s") == "t")
        #expect(try config.bool("b"))
        #expect(try config.ints("l") == [1, 2])
        #expect(try config.doubles("l") == [1, 2])
        #expect(try config.object("o").object("p").string("q") == "z")
        #expect(try config.int("absent", default: 7) == 7)
        #expect(try config.int("z", default: 7) == 7)
        #expect(try config.intIfPresent("z") == nil)
        #expect(try config.objectIfPresent("absent") == nil)
        #expect(config.has("n") && !config.has("z"))
        expect(.badData, "\"x\" should be an integer but is the number 1.5 (config.json)") { try config.int("x") }
        expect(.badData, "\"absent\" should be an integer but is missing (config.json)") { try config.int("absent") }
        expect(.badData, "\"s\" should be a number but is the string \"t\"") { try config.double("s", default: 1) }
        expect(.badData, "\"m\" should be a list of integers but is a list") { try config.ints("m") }
        expect(.badData, "\"o.p.q\" should be an integer but is the string \"z\"") {
            try config.object("o").object("p").int("q")
        }
        expect(.badData, "\"n\" should be an object but is the number 3") { try config.object("n") }
        expect(.badData, "\"b\" should be a string but is true") { try config.string("b") }
        expect(.badData, "should be an object but is a list") { try JSONObject(parsing: Array("[]".utf8), file: "c") }
    }
}
