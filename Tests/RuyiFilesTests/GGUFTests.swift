import Foundation
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing
import TorchFixtures

@Suite("GGUF files")
struct GGUFTests {
    private func header(_ bytes: [UInt8]) throws(Fault) -> GGUFHeader {
        try GGUFHeader(byteCount: bytes.count, file: "x.gguf") { Array(bytes[$0]) }
    }

    @Test("every type means what gguf's own package makes of it")
    func types() throws {
        let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/types.gguf").path
        let file = try GGUFFile(path: fixture)
        #expect(file.header.architecture == "test" && file.header.metadata["test.number"] == .int(7))
        #expect(file.header.metadata["test.words"] == .list(count: 2))
        let names = file.keys.filter { !$0.hasSuffix(".values") }
        #expect(names.count == 12 && Set(names.compactMap { file.dtype(of: $0) }).count == 12)
        for name in names {
            let (found, expected) = (try file.tensor(name), try file.tensor(name + ".values"))
            #expect(found.shape == [2, 512] && found.dtype.rawValue == name.lowercased(), "\(name)")
            #expect(found.floats() == expected.floats(), "\(name)")
        }
        #expect(Set(DType.allCases.filter(\.isBlocked)).isSubset(of: names.compactMap { file.dtype(of: $0) }))
    }

    /// A file with a tensor of each kind.
    private func small() -> GGUFBytes {
        var file = GGUFBytes()
        file.set("general.architecture", .string("hyvid"))
        file.set("comfy.gguf.orig_shape.flat", .ints([2, 3, 1, 4]))
        file.add("flat", type: 0, [24], [UInt8](repeating: 1, count: 96))
        file.add("half", type: 1, [3, 2], [UInt8](repeating: 2, count: 12))
        file.add("empty", type: 8, [0, 32], [])
        file.add("five", type: 0, [2, 1, 1, 1, 2], [UInt8](repeating: 3, count: 16))
        file.add("quick", type: 16, [256], [UInt8](repeating: 4, count: 66))
        return file
    }

    @Test(
        "shapes, places and metadata are read in both versions, whatever the alignment", arguments: [2, 3],
        [1, 8, 32, 4096])
    func reading(_ version: UInt32, _ alignment: Int) throws {
        var builder = small()
        (builder.version, builder.alignment) = (version, alignment)
        let scratch = try Scratch()
        let path = try scratch.write("m.gguf", builder.bytes)
        let file = try #require(try WeightFiles.open(path: path) as? GGUFFile)
        #expect(file.keys == ["flat", "half", "empty", "five", "quick"] && file.header.version == Int(version))
        #expect(file.shape(of: "flat") == [2, 3, 1, 4] && file.shape(of: "half") == [3, 2])
        #expect(file.shape(of: "empty") == [0, 32] && file.shape(of: "five") == [2, 1, 1, 1, 2])
        #expect(file.dtype(of: "half") == .f16 && file.dtype(of: "empty") == .q80 && file.dtype(of: "quick") == nil)
        #expect(file.byteCount == 96 + 12 + 16 + 66)
        for name in ["flat", "half", "empty", "five"] {
            let tensor = try file.tensor(name)
            let byte = UInt8(["flat": 1, "half": 2, "five": 3][name] ?? 0)
            #expect(tensor.bytes(0..<tensor.count, as: tensor.dtype).allSatisfy { $0 == byte }, "\(name)")
        }
        let fault = fault { try file.tensor("quick") }
        #expect(fault?.kind == .badData && fault?.what == "tensor \"quick\": the type IQ2_XXS is not supported")
        try file.checkUnchanged()
    }

    @Test("values of every type are read, and long lists are stepped over")
    func metadata() throws {
        var builder = GGUFBytes()
        let values: [(GGUFBytes.Value, GGUFValue)] = [
            (.uint8(200), .int(200)), (.int8(-3), .int(-3)), (.uint16(65535), .int(65535)), (.int16(-4), .int(-4)),
            (.uint32(.max), .int(0xFFFF_FFFF)), (.int32(-5), .int(-5)), (.float(0.5), .double(0.5)),
            (.bool(true), .bool(true)), (.string("\u{e9}"), .string("\u{e9}")), (.uint64(7), .int(7)),
            (.uint64(.max), .double(Double(UInt64.max))), (.int64(-6), .int(-6)), (.double(1e300), .double(1e300)),
            (.ints([1, -2]), .ints([1, -2])), (.ints(Array(0..<9)), .list(count: 9)),
            (.floats([1, 2]), .list(count: 2)), (.strings(["a", "", "b"]), .list(count: 3)),
            (.strings((0..<100_000).map { "token \($0)" }), .list(count: 100_000)),
            (.floats([Float](repeating: 0, count: 100_000)), .list(count: 100_000)),
        ]
        for (index, value) in values.enumerated() { builder.set("key.\(index)", value.0) }
        builder.add("x", type: 0, [1], [0, 0, 0, 0])
        let found = try header(builder.bytes)
        for (index, value) in values.enumerated() { #expect(found.metadata["key.\(index)"] == value.1, "\(index)") }
        #expect(found.entries.map(\.name) == ["x"])
    }

    @Test("what is wrong is refused with the tensor and the rule, wherever the file ends")
    func hostile() throws {
        func expect(_ rule: String, _ change: (inout GGUFBytes) -> Void, _ place: SourceLocation = #_sourceLocation) {
            var builder = GGUFBytes()
            change(&builder)
            let found = fault { try header(builder.bytes) }
            #expect(
                found?.kind == .badData && found?.what.contains(rule) == true, "\(String(describing: found))",
                sourceLocation: place)
        }
        expect("version 1 of GGUF is not read") { $0.version = 1 }
        expect("big-endian") { $0.version = UInt32(3).byteSwapped }
        expect("the number of tensors is 18446744073709551615") { $0.statedCount = .max }
        expect("the name is empty") {
            $0.statedCount = 1; $0.set("a", .string(""))
        }
        expect("\"a\" is a list of lists") { $0.set("a", .list(type: 9, count: 1, bytes: [])) }
        expect("\"a\" has the unknown type 13") { $0.set("a", .list(type: 13, count: 1, bytes: [])) }
        expect("the length of \"a\" is 9223372036854775807") {
            $0.set("a", .list(type: 0, count: UInt64(Int.max), bytes: []))
        }
        expect("key \"a\" twice") {
            $0.set("a", .bool(true)); $0.set("a", .bool(true))
        }
        for value in [GGUFBytes.Value.uint32(0), .uint32(48), .uint64(1 << 40), .string("32")] {
            expect("power of two") { $0.set("general.alignment", value) }
        }
        expect("one of 3 parts") { $0.set("split.count", .uint16(3)) }
        let four: [UInt8] = [0, 0, 0, 0]
        expect("the name is empty") { $0.add("", type: 0, [1], four) }
        expect("contains a NUL") { $0.add("a\0", type: 0, [1], four) }
        expect("tensor \"a\" twice") {
            $0.add("a", type: 0, [1], four); $0.add("a", type: 0, [1], four)
        }
        expect("has 9 axes") { $0.add("a", type: 0, [Int](repeating: 1, count: 9), four) }
        expect("longer than 2^40") { $0.add("a", type: 0, [1 << 41], four) }
        expect("not a 64-bit number") { $0.add("a", type: 0, [1 << 40, 1 << 40], four) }
        expect("unknown type 4") { $0.add("a", type: 4, [1], four) }
        expect("rows of 48 are not whole blocks of 32 of Q8_0") { $0.add("a", type: 8, [48], four) }
        expect("no multiple of 32") { $0.add("a", type: 0, [1], four, at: 4) }
        expect("outside the file") { $0.add("a", type: 0, [1], four, at: UInt64(Int.max) / 32 * 32 + 32) }
        expect("is not at byte 0") { $0.add("a", type: 0, [1], four, at: 32) }
        expect("overlaps") {
            $0.add("a", type: 0, [1], four); $0.add("b", type: 0, [1], four, at: 0)
        }
        expect("ends at byte 64") { $0.add("a", type: 0, [16], four) }
        expect("bytes, but 64 follow") { $0.add("a", type: 0, [1], [UInt8](repeating: 0, count: 64)) }
        expect("no shape of its 1 elements") {
            $0.set("comfy.gguf.orig_shape.a", .ints([2]))
            $0.add("a", type: 0, [1], four)
        }
        expect("no shape of its 1 elements") {
            $0.set("comfy.gguf.orig_shape.a", .ints([-1, -1]))
            $0.add("a", type: 0, [1], four)
        }
        let whole = small().bytes
        for count in 0..<whole.count - 31 {
            #expect(fault { try header(Array(whole.prefix(count))) }?.kind == .badData, "\(count)")
        }
        let text = fault { try header(Array("GGUF".utf8) + [3, 0, 0, 0] + [UInt8](repeating: 0xFF, count: 64)) }
        #expect(text?.kind == .badData)
    }

    @Test("a component's folder may hold one such file under any name")
    func folders() throws {
        let scratch = try Scratch()
        try scratch.write("transformer/hunyuan-Q8_0.gguf", small().bytes)
        let folder = try ModelFolder(path: scratch.path)
        let file = try folder.weights("transformer", stem: "diffusion_pytorch_model")
        #expect(file.shape(of: "half") == [3, 2] && file.path.hasSuffix("transformer/hunyuan-Q8_0.gguf"))
        try scratch.write("transformer/hunyuan-Q4_0.gguf", small().bytes)
        let several = fault { try ModelFolder(path: scratch.path).weights("transformer", stem: "model") }
        #expect(several?.kind == .usage && several?.what.contains("hunyuan-Q4_0.gguf, hunyuan-Q8_0.gguf") == true)
        let none = fault { try ModelFolder(path: scratch.path).weights("vae", stem: "model") }
        #expect(none?.kind == .cannotOpen)
    }

    @Test("rows of a stored tensor are blocks of the file")
    func rows() throws {
        var builder = GGUFBytes()
        var block = [UInt8](repeating: 0, count: 34)
        (block[0], block[1]) = (0, 0x3C)  // 1.0
        let blocks = (0..<6).flatMap { row -> [UInt8] in block.enumerated().map { $0 < 2 ? $1 : UInt8(row) } }
        builder.add("qkv", type: 8, [6, 32], blocks)
        let scratch = try Scratch()
        let file = try GGUFFile(path: try scratch.write("m.gguf", builder.bytes))
        let renamed = try RenamedWeights(
            file,
            [
                ("k", RenamedWeights.Place("qkv", .rows(2..<4, of: 6))),
                ("turned", RenamedWeights.Place("qkv", .halvesSwapped)),
            ])
        #expect(try renamed.tensor("k").floats() == [Float](repeating: 2, count: 32) + [Float](repeating: 3, count: 32))
        #expect(try renamed.tensor("k").byteCount == 68)
        #expect(try renamed.tensor("turned").floats().first == 3)
    }
}
