import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("weights in several files")
struct ShardTests {
    /// A folder with two parts, `a` and `b` in the first and `c` in the second, and this index.
    private func open(_ index: String) throws -> any WeightFile {
        let scratch = try Scratch()
        let one = { (name: String, value: Float) in (name: name, tensor: HostTensor([value, value], [2])) }
        try SafetensorsWriter.write([one("a", 1), one("b", 2)], to: scratch.path + "/1.safetensors")
        try SafetensorsWriter.write([one("c", 3)], to: scratch.path + "/2.safetensors")
        try SafetensorsWriter.write([one("b", 2)], to: scratch.path + "/3.safetensors")
        try scratch.write("4.safetensors", "x")
        try scratch.write("model.safetensors.index.json", index)
        return try ModelFolder(path: scratch.path).weights("", stem: "model")
    }

    private static let map = #""a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors""#

    @Test("a good index gives all tensors of all files")
    func good() throws {
        let file = try open(#"{"metadata": {"total_size": 24}, "weight_map": {\#(Self.map)}}"#)
        #expect(file.keys == ["a", "b", "c"])
        #expect(file.byteCount == 24)
        #expect(file.warnings == [])
        #expect(try file.tensor("c").floats() == [3, 3])
        #expect(file.path(of: "c").hasSuffix("/2.safetensors"))
        #expect(file.shape(of: "x") == nil)
        expect(.badData, "no tensor \"x\"") { try file.tensor("x") }
    }

    @Test("a wrong total size is a warning", arguments: ["25", "25.5", "1e30", "-1"])
    func totalSize(_ size: String) throws {
        let file = try open(#"{"metadata": {"total_size": \#(size)}, "weight_map": {\#(Self.map)}}"#)
        #expect(file.warnings.count == 1)
        #expect(file.warnings[0].contains("take 24"))
    }

    @Test(
        "odd metadata does not matter",
        arguments: ["null", "{}", "[]", #"{"total_size": "x"}"#, #"{"total_size": 24.0}"#])
    func metadata(_ metadata: String) throws {
        #expect(try open(#"{"metadata": \#(metadata), "weight_map": {\#(Self.map)}}"#).warnings == [])
    }

    @Test(
        "faults of an index are found",
        arguments: [
            ("", "ends too early"), ("[]", "should be an object"),
            ("{}", "\"weight_map\" should be an object but is missing"),
            (#"{"weight_map": []}"#, "should be an object but is a list"),
            (#"{"weight_map": {"a": 1}}"#, "\"weight_map.a\" should be the name of a file but is the number 1"),
            (#"{"weight_map": {"a": null}}"#, "\"weight_map.a\""),
            (#"{"weight_map": {\#(map), "d": "2.safetensors"}}"#, "tensor \"d\" is not in 2.safetensors"),
            (#"{"weight_map": {\#(map.replacing("\"b\": \"1", with: "\"b\": \"2"))}}"#, "tensor \"b\""),
            (
                #"{"weight_map": {"a": "1.safetensors", "c": "2.safetensors"}}"#,
                "tensor \"b\" of 1.safetensors is not in the index"
            ),
            (
                #"{"weight_map": {\#(map), "d": "3.safetensors"}}"#,
                "tensor \"b\", which the index puts in 1.safetensors, is also in 3.safetensors"
            ),
            (#"{"weight_map": {\#(map), "a": "1.safetensors"}}"#, "the name \"a\" twice"),
            (#"{"weight_map": {\#(map), "d": "4.safetensors"}}"#, "4.safetensors"),
            (#"{"weight_map": {"a": "1.bin"}}"#, "not a plain file name"),
        ] as [(String, String)])
    func bad(_ index: String, _ message: String) { expect(.badData, message) { try open(index) } }

    @Test("a missing part is named")
    func missing() {
        expect(.cannotOpen, "9.safetensors") { try open(#"{"weight_map": {"a": "9.safetensors"}}"#) }
    }

    @Test("hostile names of parts are refused", arguments: ModelFolderTests.refused.filter { !$0.isEmpty })
    func hostile(_ name: String) {
        for name in [name, name + "/1.safetensors", name + ".safetensors"] {
            let index: JSON = ["weight_map": ["a": .string(name)]]
            guard let fault = fault({ try open(index.text()) }) else { continue }
            // A name that only became plain by its ending is merely absent.
            #expect(fault.kind == .badData || fault.kind == .cannotOpen)
            if name.contains("/") || name.contains("\\") { #expect(fault.kind == .badData) }
            #expect(!fault.description.unicodeScalars.contains { $0.value < 0x20 })
        }
    }
}
