import Testing

/// One safetensors file, good or bad.
struct SafetensorsCase: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let isAccepted: Bool
    var testDescription: String { name }

    /// A file of a header, a number of zero bytes after it, and a length that may lie.
    static func file(_ header: [UInt8], _ data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
        little(length ?? UInt64(header.count), 8) + header + data
    }

    static func file(_ header: String, _ dataCount: Int = 0) -> [UInt8] {
        file(Array(header.utf8), [UInt8](repeating: 0, count: dataCount))
    }

    private static func good(_ name: String, _ header: String, _ dataCount: Int = 0) -> SafetensorsCase {
        SafetensorsCase(name: name, bytes: file(header, dataCount), isAccepted: true)
    }

    private static func bad(_ name: String, _ header: String, _ dataCount: Int = 0) -> SafetensorsCase {
        SafetensorsCase(name: name, bytes: file(header, dataCount), isAccepted: false)
    }

    private static func raw(_ name: String, _ bytes: [UInt8], isAccepted: Bool = false) -> SafetensorsCase {
        SafetensorsCase(name: name, bytes: bytes, isAccepted: isAccepted)
    }

    /// An entry: type, shape and offsets as they are written.
    static func entry(
        _ name: String = "a", _ type: String = "F32", _ shape: String = "[2]", _ offsets: String = "[0,8]"
    ) -> String {
        #""\#(name)":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(offsets)}"#
    }

    private static let plain = "{\(entry())}"

    /// The 112 cases.
    static let all = lengths + texts + good + layout + offsets + shapes + types + entries + metadata + names + stored

    private static let lengths = [
        raw("empty file", []),
        raw("7 bytes", [UInt8](repeating: 0, count: 7)),
        raw("only the length, 60", little(60, 8)),
        raw("length 0, no header", little(0, 8)),
        raw("length u64 max", [UInt8](repeating: 0xFF, count: 8) + Array("{}".utf8)),
        raw("length 100000001", little(100_000_001, 8) + Array("{}".utf8)),
        raw("length 100000000 but short", little(100_000_000, 8) + Array("{}".utf8)),
        raw("length > file", little(3, 8) + Array("{}".utf8)),
        raw("length big-endian", little(2, 8).reversed() + Array("{}".utf8)),
    ]

    private static let texts = [
        good("header empty object", "{}"),
        bad("header [] array", "[]"),
        bad("header null", "null"),
        bad("header \"x\" string", "\"x\""),
        bad("header 5", "5"),
        raw("not utf-8", file([0xFF])),
        raw(
            "overlong utf-8 in name",
            file(
                Array("{\"".utf8) + [0xC0, 0xAF] + Array(entry("").dropFirst().utf8) + Array("}".utf8),
                [UInt8](repeating: 0, count: 8))),
        raw("utf-8 BOM", file([0xEF, 0xBB, 0xBF, 0x7B, 0x7D])),
        raw("utf-16", file([0xFF, 0xFE, 0x7B, 0, 0x7D, 0])),
        bad("not json", "{"),
        bad("single quotes", "{'a':1}"),
        bad("trailing comma", "{\(entry()),}", 8),
        bad("comment in json", "{/*x*/}"),
        bad("NaN literal", #"{"__metadata__":{"a":NaN}}"#),
        good("trailing spaces", "{}      "),
        good("trailing tab cr lf", "{}\t\r\n"),
        bad("leading space", "  {}"),
        bad("trailing NUL", "{}\0\0\0"),
        bad("trailing garbage", "{}x"),
        bad("two objects", "{}{}"),
        bad("deep nest 200 in unknown field", nested(200), 8),
        bad("deep nest 100 in unknown field", nested(100), 8),
    ]

    private static func nested(_ depth: Int) -> String {
        let lists = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        return plain.dropLast(2) + ",\"x\":" + lists + "}}"
    }

    private static let good = [
        good("ok", plain, 8),
        good("ok scalar", "{\(entry("a", "F32", "[]", "[0,4]"))}", 4),
        good("ok zero-size", "{\(entry("a", "F32", "[0,3]", "[0,0]"))}"),
        good(
            "two zero-size same offset",
            "{\(entry("a", "F32", "[0]", "[0,0]")),\(entry("b", "F32", "[0]", "[0,0]")),\(entry("c"))}", 8),
        good(
            "zero-size in the middle",
            "{\(entry()),\(entry("z", "F32", "[0]", "[8,8]")),\(entry("c", "F32", "[2]", "[8,16]"))}", 16),
        good("unordered in header", "{\(entry("b", "F32", "[2]", "[8,16]")),\(entry())}", 16),
    ]

    private static let layout = [
        bad("zero-size out of range", "{\(entry()),\(entry("z", "F32", "[0]", "[99,99]"))}", 8),
        bad("zero-size inside other tensor", "{\(entry()),\(entry("z", "F32", "[0]", "[4,4]"))}", 8),
        bad("overlap full", "{\(entry()),\(entry("b"))}", 8),
        bad("overlap partial", "{\(entry()),\(entry("b", "F32", "[2]", "[4,12]"))}", 12),
        bad("hole between", "{\(entry()),\(entry("b", "F32", "[2]", "[12,20]"))}", 20),
        bad("hole at start", "{\(entry("a", "F32", "[2]", "[4,12]"))}", 12),
        bad("trailing bytes", plain, 9),
        bad("empty header + data", "{}", 9),
        bad("truncated data", plain, 7),
        bad("end < begin", "{\(entry("a", "F32", "[2]", "[8,0]"))}", 8),
        bad("begin==end but shape non-zero", "{\(entry("a", "F32", "[2]", "[0,0]"))}"),
    ]

    private static let offsets = [
        bad("negative offset", "{\(entry("a", "F32", "[2]", "[-8,0]"))}", 8),
        bad("float offset 0.0", "{\(entry("a", "F32", "[2]", "[0.0,8.0]"))}", 8),
        bad("exp offset 8e0", "{\(entry("a", "F32", "[2]", "[0,8e0]"))}", 8),
        bad("string offset", "{\(entry("a", "F32", "[2]", #"["0","8"]"#))}", 8),
        bad("offset > u64", "{\(entry("a", "F32", "[2]", "[0,18446744073709551616]"))}", 8),
        bad("one offset", "{\(entry("a", "F32", "[2]", "[0]"))}", 8),
        bad("three offsets", "{\(entry("a", "F32", "[2]", "[0,8,8]"))}", 8),
        bad("offsets object", "{\(entry("a", "F32", "[2]", #"{"begin":0,"end":8}"#))}", 8),
        bad("leading zero 08", "{\(entry("a", "F32", "[2]", "[0,08]"))}", 8),
        bad("plus sign", "{\(entry("a", "F32", "[+2]"))}", 8),
    ]

    private static let shapes = [
        bad("shape too large for range", "{\(entry("a", "F32", "[3]"))}", 8),
        bad("shape too small", "{\(entry("a", "F32", "[1]"))}", 8),
        bad("negative dim", "{\(entry("a", "F32", "[-2]"))}", 8),
        bad("float dim", "{\(entry("a", "F32", "[2.0]"))}", 8),
        bad("bool dim", "{\(entry("a", "F32", "[true]"))}", 4),
        bad("null dim", "{\(entry("a", "F32", "[null]"))}", 4),
        bad("shape null", "{\(entry("a", "F32", "null"))}", 8),
        bad("shape number", "{\(entry("a", "F32", "2"))}", 8),
        bad("shape overflow product", "{\(entry("a", "F32", "[2,18446744073709551614]"))}", 8),
        bad("shape overflow bytes", "{\(entry("a", "F32", "[4611686018427387904]"))}", 8),
        bad("shape bits wrap to 8 bytes", "{\(entry("a", "F64", "[288230376151711745]"))}", 8),
        bad("shape overflow then zero [2^63,2,0]", "{\(entry("a", "F32", "[9223372036854775808,2,0]", "[0,0]"))}"),
        bad("shape zero then huge [0,2^63,2]", "{\(entry("a", "F32", "[0,9223372036854775808,2]", "[0,0]"))}"),
        bad(
            "rank 10000 of ones",
            "{\(entry("a", "F32", "[" + repeatElement("1", count: 10000).joined(separator: ",") + "]", "[0,4]"))}", 4),
    ]

    private static let types = [
        bad("unknown dtype F31", "{\(entry("a", "F31"))}", 8),
        bad("dtype lower case f32", "{\(entry("a", "f32"))}", 8),
        bad("dtype null", #"{"a":{"dtype":null,"shape":[2],"data_offsets":[0,8]}}"#, 8),
        bad("dtype number", #"{"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}}"#, 8),
        bad("dtype missing", #"{"a":{"shape":[2],"data_offsets":[0,8]}}"#, 8),
        bad("shape missing", #"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, 8),
        bad("offsets missing", #"{"a":{"dtype":"F32","shape":[2]}}"#, 8),
    ]

    private static let entries = [
        bad("tensor entry null", #"{"a":null}"#),
        bad("tensor entry array", #"{"a":["F32",[2],[0,8]]}"#, 8),
        bad("tensor entry number", #"{"a":1}"#),
        bad("unknown field in entry", #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1}}"#, 8),
        bad("duplicate field in entry", #"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8),
        bad("duplicate tensor name, same range", "{\(entry()),\(entry())}", 8),
        bad("duplicate tensor name, disjoint ranges", "{\(entry()),\(entry("a", "F32", "[2]", "[8,16]"))}", 16),
        bad("duplicate via escape", "{\(entry()),\(entry("\\u0061"))}", 8),
    ]

    private static let metadata = [
        bad("duplicate __metadata__", #"{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"}}"#),
        good("metadata ok", #"{"__metadata__":{"format":"pt"}}"#),
        good("metadata null", #"{"__metadata__":null}"#),
        bad("metadata array", #"{"__metadata__":[]}"#),
        bad("metadata number value", #"{"__metadata__":{"a":1}}"#),
        bad("metadata nested", #"{"__metadata__":{"a":{"b":"c"}}}"#),
        bad("metadata null value", #"{"__metadata__":{"a":null}}"#),
        bad("metadata dup key", #"{"__metadata__":{"a":"1","a":"2"}}"#),
        bad("metadata string", #"{"__metadata__":"x"}"#),
    ]

    private static let names = [
        bad("empty tensor name", "{\(entry(""))}", 8),
        bad("name with NUL escape", "{\(entry("a\\u0000b"))}", 8),
        bad("name raw control char", "{\(entry("a\u{1}b"))}", 8),
        bad("lone surrogate escape", "{\(entry("\\ud800"))}", 8),
        good("paired surrogate escape", "{\(entry("\\ud83d\\ude00"))}", 8),
        good("name ../../etc", "{\(entry("../../etc/x"))}", 8),
        bad("name 1 MB", "{\(entry(String(repeating: "x", count: 1_000_000)))}", 8),
    ]

    private static let stored = [
        bad("F4 odd count", "{\(entry("a", "F4", "[3]", "[0,2]"))}", 2),
        good("F4 even count", "{\(entry("a", "F4", "[4]", "[0,2]"))}", 2),
        good("F6_E2M3 count 4 = 3 bytes", "{\(entry("a", "F6_E2M3", "[4]", "[0,3]"))}", 3),
        good("F8_E8M0", "{\(entry("a", "F8_E8M0", "[4]", "[0,4]"))}", 4),
        good("C64", "{\(entry("a", "C64", "[1]", "[0,8]"))}", 8),
        raw(
            "BOOL with value 7", file(Array("{\(entry("a", "BOOL", "[1]", "[0,1]"))}".utf8), [7]), isAccepted: true),
        raw(
            "F32 NaN payload",
            file(Array("{\(entry("a", "F32", "[1]", "[0,4]"))}".utf8), [0xFF, 0xFF, 0xFF, 0xFF]), isAccepted: true),
        good("unaligned F32 (header length 3 mod 8)", plain + "   ", 8),
        good(
            "100k tensors of 1 byte",
            "{" + (0..<100_000).map { entry("t\($0)", "U8", "[1]", "[\($0),\($0 + 1)]") }.joined(separator: ",") + "}",
            100_000),
    ]
}
