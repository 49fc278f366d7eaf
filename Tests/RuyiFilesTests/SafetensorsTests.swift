import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("safetensors")
struct SafetensorsTests {
    @Test("there are 112 cases under different names, 21 of them good")
    func caseCount() {
        #expect(SafetensorsCase.all.count == 112)
        #expect(Set(SafetensorsCase.all.map(\.name)).count == 112)
        #expect(SafetensorsCase.all.filter(\.isAccepted).count == 21)
    }

    @Test("a file is taken or refused as the rules say, and the fault names the file", arguments: SafetensorsCase.all)
    func rules(_ one: SafetensorsCase) throws {
        let scratch = try Scratch()
        let path = try scratch.write("case.safetensors", one.bytes)
        if one.isAccepted {
            let file = try SafetensorsFile(path: path)
            // Every tensor can be viewed, or its type is named.
            for key in file.keys.prefix(10) {
                if file.dtype(of: key) == nil {
                    expect(.badData, "\"\(key)\"", "not supported", path) { try file.tensor(key) }
                } else {
                    #expect(try file.tensor(key).shape == file.shape(of: key))
                }
            }
        } else {
            let fault = fault { try SafetensorsFile(path: path) }
            #expect(fault?.kind == .badData)
            #expect(fault?.place == path)
        }
    }

    @Test(
        "the fault names the tensor and the rule",
        arguments: [
            ("hole between", "tensor \"b\": begins at byte 12 and leaves a hole after byte 8"),
            ("overlap partial", "tensor \"b\": begins at byte 4 and overlaps"),
            ("shape too small", "tensor \"a\": F32 [1] takes 4 bytes, but its range has 8"),
            ("unknown dtype F31", "tensor \"a\": has the unknown type \"F31\""),
            ("F4 odd count", "tensor \"a\": 12 bits do not fill whole bytes"),
            ("duplicate via escape", "the name \"a\" twice"),
            ("truncated data", "the tensors take 8 bytes, but 7 follow the header"),
            ("unknown field in entry", "the unknown field \"extra\""),
            ("leading space", "does not begin with '{'"),
        ])
    func messages(_ name: String, _ message: String) throws {
        let one = try #require(SafetensorsCase.all.first { $0.name == name })
        expect(.badData, message) { try header(of: one.bytes) }
    }

    @Test("a header of 100,000 tensors is read")
    func large() throws {
        let one = try #require(SafetensorsCase.all.last)
        #expect(try header(of: one.bytes).entries.count == 100_000)
    }

    @Test("a header is the same wherever its pieces end")
    func pieces() throws {
        // Names of growing length move every token over the end of a piece of 256 KiB.
        let entries = (0..<1600).map { index in
            SafetensorsCase.entry(
                String(repeating: "\u{E9}\\u00e9\\n", count: index % 90) + "\(index)", "U8", "[1]",
                "[\(index),\(index + 1)]")
        }
        let header = "{" + entries.joined(separator: " , ") + "}"
        #expect(header.utf8.count > 3 << 18)
        let bytes = SafetensorsCase.file(Array(header.utf8), [UInt8](repeating: 0, count: 1600))
        let found = try self.header(of: bytes).entries
        let expected = try JSON.parse(Array(header.utf8), file: "x").members?.map(\.key)
        #expect(found.map(\.name) == expected)
    }

    @Test("tensors are views of the map, and data that lies askew is copied")
    func views() throws {
        let scratch = try Scratch()
        let values = (0..<2).flatMap { little(UInt64(Float($0 + 1).bitPattern), 4) }
        for spaces in 0..<8 {
            let header = "{\(SafetensorsCase.entry())}" + String(repeating: " ", count: spaces)
            let path = try scratch.write("\(spaces)", SafetensorsCase.file(Array(header.utf8), values))
            let tensor = try SafetensorsFile(path: path).tensor("a")
            #expect(tensor.floats() == [1, 2])
            #expect(UInt(bitPattern: tensor.storage.base).isMultiple(of: 4))
        }
    }

    @Test("a tensor outlives the file object that it came from")
    func lifetime() throws {
        let scratch = try Scratch()
        let path = try scratch.write(
            "a", SafetensorsCase.file(Array("{\(SafetensorsCase.entry())}  ".utf8), [0, 0, 128, 63, 0, 0, 0, 64]))
        let tensor = try { try SafetensorsFile(path: path).tensor("a") }()
        #expect(tensor.floats() == [1, 2])
    }

    @Test("a file that changes while it is in use is noticed")
    func changed() throws {
        let scratch = try Scratch()
        let bytes = SafetensorsCase.file("{\(SafetensorsCase.entry())}", 8)
        let path = try scratch.write("a", bytes)
        let file = try SafetensorsFile(path: path)
        try file.checkUnchanged()
        try scratch.write("a", bytes + [0])
        expect(.badData, "changed", path) { try file.checkUnchanged() }
    }

    @Test("ten thousand mutations of good files are taken or refused with a fault")
    func mutations() throws {
        var random = Seeded(state: 1)
        let good = SafetensorsCase.all.filter { $0.isAccepted && $0.bytes.count < 1000 }.map(\.bytes)
        var accepted = 0
        for index in 0..<10_000 {
            var bytes = random.mutate(good[index % good.count], from: index % 4 == 0 ? 0 : 8)
            // Most keep a length that fits, so that the header is reached.
            if index % 4 != 0, bytes.count > 8, let close = bytes.lastIndex(of: 0x7D) {
                bytes.replaceSubrange(0..<8, with: little(UInt64(max(close, 8) - 7), 8))
            }
            do {
                let header = try header(of: bytes)
                accepted += 1
                // What is taken covers the file exactly.
                let end = header.entries.map(\.range.upperBound).max() ?? 0
                #expect(header.dataStart + end == bytes.count)
            } catch {
                #expect(error.kind == .badData)
            }
        }
        #expect(accepted > 50 && accepted < 9000, "\(accepted)")
    }

    @Test("what is written reads back the same", arguments: 0..<50)
    func roundTrip(_ seed: Int) throws {
        var random = Seeded(state: UInt64(seed))
        let scratch = try Scratch()
        let types = DType.allCases.filter { !$0.isBlocked }
        let tensors = (0..<Int.random(in: 0...12, using: &random)).map { index in
            let dtype = types[Int.random(in: types.indices, using: &random)]
            let shape = (0..<Int.random(in: 0...4, using: &random)).map { _ in Int.random(in: 0...4, using: &random) }
            let tensor = bytes(dtype, shape, &random)
            let axes = Array(shape.indices).shuffled(using: &random)
            return (name: "block.\(index).\u{e9}\"\\\n", tensor: tensor.permuted(axes))
        }
        let path = scratch.path + "/out.safetensors"
        try SafetensorsWriter.write(tensors, metadata: ["seed": "\(seed)", "b": "\u{1F600}\u{7}"], to: path)
        let file = try SafetensorsFile(path: path)
        #expect(Set(file.keys) == Set(tensors.map(\.name)))
        for (name, tensor) in tensors {
            let found = try file.tensor(name)
            #expect(found.dtype == tensor.dtype && found.shape == tensor.shape)
            #expect(elements(found) == elements(tensor))
        }
        #expect(file.header.metadata.map(\.key) == ["b", "seed"])
        // A second writing gives the same bytes, so the header parses to the same.
        let again = scratch.path + "/again.safetensors"
        try SafetensorsWriter.write(
            try file.keys.map { ($0, try file.tensor($0)) },
            metadata: Dictionary(uniqueKeysWithValues: file.header.metadata.map { ($0.key, $0.value.string ?? "") }),
            to: again)
        #expect(try FileBytes.read(again) == FileBytes.read(path))
    }

    @Test(
        "names that readers refuse are not written",
        arguments: ["__metadata__", "", "a\0", String(repeating: "x", count: 1025)])
    func badNames(_ name: String) throws {
        let scratch = try Scratch()
        expect(.software, "name of a tensor") {
            try SafetensorsWriter.write([(name, HostTensor([1], [1]))], to: scratch.path + "/a")
        }
        #expect(scratch.names.isEmpty)
    }

    @Test("a name is not written twice, and an existing file is not replaced unasked")
    func collisions() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/a"
        let one = HostTensor([1], [1])
        expect(.software) { try SafetensorsWriter.write([("x", one), ("x", one)], to: path) }
        try SafetensorsWriter.write([("x", one)], to: path)
        expect(.cannotCreate, "exists") { try SafetensorsWriter.write([("y", one)], to: path) }
        try SafetensorsWriter.write([("y", one)], to: path, overwrite: true)
        #expect(try SafetensorsFile(path: path).keys == ["y"])
        #expect(scratch.names == ["a"])
    }

    private func header(of bytes: [UInt8]) throws(Fault) -> SafetensorsHeader {
        try SafetensorsHeader(byteCount: bytes.count, file: "x.safetensors") { Array(bytes[$0]) }
    }

    private func bytes(_ dtype: DType, _ shape: [Int], _ random: inout Seeded) -> HostTensor {
        let count = shape.reduce(dtype.byteCount, *)
        return HostTensor((0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }, shape, as: dtype)
    }

    /// The bytes of every element in row-major order.
    private func elements(_ tensor: HostTensor) -> [[UInt8]] {
        var result = [[UInt8]]()
        func visit(_ axis: Int, _ position: Int) {
            if axis == tensor.rank {
                let size = tensor.dtype.byteCount
                result.append(Array(UnsafeRawBufferPointer(start: tensor.storage.base + position * size, count: size)))
                return
            }
            for index in 0..<tensor.shape[axis] { visit(axis + 1, position + index * tensor.strides[axis]) }
        }
        visit(0, tensor.offset)
        return result
    }
}
