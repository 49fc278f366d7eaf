import Glibc
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing
import TorchFixtures

@Suite("torch archives")
struct TorchArchiveTests {
    @Test("a hostile file is refused and the message says why", arguments: HostileTorchCase.all)
    func hostile(_ one: HostileTorchCase) throws {
        let scratch = try Scratch()
        let path = try scratch.write("a.bin", one.bytes)
        expect(.badData, one.words, path) { try TorchArchive(path: path) }
    }

    @Test("there are more than forty hostile cases under different names")
    func caseCount() {
        #expect(HostileTorchCase.all.count >= 40)
        #expect(Set(HostileTorchCase.all.map(\.name)).count == HostileTorchCase.all.count)
    }

    /// Four floats: 1, 2, 3, 4.
    private static let floats = (1...4).flatMap { little(UInt64(Float($0).bitPattern), 4) }

    private func open(_ zip: ZipBuilder) throws -> TorchArchive {
        let scratch = try Scratch()
        return try TorchArchive(path: try scratch.write("a.bin", zip.bytes))
    }

    @Test("tensors are read with their offsets and strides, and share storages")
    func strides() throws {
        let pickle = PickleBuilder.dictionary {
            $0.item("whole") { $0.tensor(shape: [2, 2], strides: [2, 1]) }
                .item("turned") { $0.tensor(shape: [2, 2], strides: [1, 2]) }
                .item("last") { $0.tensor(offset: 3, shape: [], strides: []) }
                .item("odd") { $0.tensor(offset: 1, shape: [2], strides: [2]) }
                .item("none") { $0.tensor(offset: 4, shape: [0, 3], strides: [3, 1]) }
        }
        let archive = try open(ZipBuilder.torch(pickle, ["0": Self.floats]))
        #expect(archive.keys == ["whole", "turned", "last", "odd", "none"])
        #expect(try archive.tensor("whole").floats() == [1, 2, 3, 4])
        #expect(try archive.tensor("turned").floats() == [1, 3, 2, 4])
        #expect(try !archive.tensor("turned").isContiguous)
        #expect(try archive.tensor("last").floats() == [4])
        #expect(try archive.tensor("odd").floats() == [2, 4])
        #expect(try archive.tensor("none").floats() == [])
        #expect(archive.byteCount == 16)
        #expect(archive.shape(of: "x") == nil)
        expect(.badData, "no tensor \"x\"") { try archive.tensor("x") }
    }

    @Test("data that lies askew is copied")
    func askew() throws {
        var zip = ZipBuilder.torch(PickleBuilder.dictionary { $0.item("a") { $0.tensor() } }, ["0": Self.floats])
        for extra in 0..<5 {
            for index in zip.entries.indices { zip.entries[index].isPadded = false }
            zip.entries[1].name = "m/" + String(repeating: "x", count: 20 + extra)
            let tensor = try open(zip).tensor("a")
            #expect(tensor.floats() == [1, 2, 3, 4])
            #expect(UInt(bitPattern: tensor.storage.base).isMultiple(of: 4))
        }
    }

    @Test("ZIP64 archives are read")
    func wide() throws {
        let pickle = PickleBuilder.dictionary { $0.item("a") { $0.tensor() } }
        var zip = ZipBuilder.torch(pickle, ["0": Self.floats])
        zip.isWide = true
        for index in zip.entries.indices { zip.entries[index].isWide = true }
        #expect(try open(zip).tensor("a").floats() == [1, 2, 3, 4])
        // The record may be there without being needed, as torch writes it, and a comment may follow.
        zip = ZipBuilder.torch(pickle, ["0": Self.floats])
        zip.isWide = true
        zip.count = zip.entries.count
        #expect(try open(zip).tensor("a").floats() == [1, 2, 3, 4])
        zip.comment = Array("PK\u{5}\u{6} by someone".utf8)
        #expect(try open(zip).tensor("a").floats() == [1, 2, 3, 4])
    }

    @Test("nested dictionaries give dotted names; what is no tensor is left out")
    func nested() throws {
        let pickle = PickleBuilder().op("}")
            .item("module") { $0.op("}").item("b.weight") { $0.tensor() }.item("epoch") { $0.int(7) } }
            .item("step") { $0.int(1000) }.item("lr") { $0.op("G").with([0x3F, 0xF0, 0, 0, 0, 0, 0, 0]) }
            .item("list") { $0.op("]").op("(").int(1).tensor().op("e") }
            .item("a") { $0.tensor() }.op(".").bytes
        #expect(try open(ZipBuilder.torch(pickle)).keys == ["module.b.weight", "a"])
    }

    @Test("names that meet after joining are refused")
    func doubled() throws {
        let pickle = PickleBuilder().op("}").item("a") { $0.op("}").item("b") { $0.tensor() } }
            .item("a.b") { $0.tensor() }.op(".").bytes
        expect(.badData, "\"a.b\" is in the archive twice") { try open(ZipBuilder.torch(pickle)) }
    }

    @Test("parameters, attributes of dictionaries and newer protocols are read")
    func forms() throws {
        let parameter = PickleBuilder.dictionary {
            $0.item("p") {
                $0.global("torch._utils", "_rebuild_parameter").op("(").tensor().with([0x88]).op("}").op("t").op("R")
            }
            .op("}").item("_metadata") { $0.op("}") }.op("b")
        }
        #expect(try open(ZipBuilder.torch(parameter, ["0": Self.floats])).tensor("p").floats() == [1, 2, 3, 4])
        // Protocol 4: FRAME, SHORT_BINUNICODE, MEMOIZE, STACK_GLOBAL.
        let short = { (text: String) in [0x8C, UInt8(text.utf8.count)] + Array(text.utf8) + [0x94] }
        let modern = PickleBuilder(bytes: [0x80, 4, 0x95] + little(100, 8)).op("}").with([0x94]).with(short("w"))
            .with(short("torch._utils") + short("_rebuild_tensor_v2") + [0x93, 0x94]).op("(").storage().int(0).tuple([4]
            )
            .tuple([1]).with([0x89]).op("}").op("t").op("R").op("s").op(".").bytes
        #expect(try open(ZipBuilder.torch(modern, ["0": Self.floats])).tensor("w").floats() == [1, 2, 3, 4])
    }

    @Test("8-bit floats come as untyped storages with a type")
    func untyped() throws {
        let make = { (type: String, count: Int) in
            PickleBuilder.dictionary {
                $0.item("a") {
                    $0.global("torch._utils", "_rebuild_tensor_v3").op("(")
                        .storage("UntypedStorage", count: count, module: "torch.storage").int(0).tuple([4]).tuple([1])
                        .with([0x89]).op("}").global("torch", type).op("t").op("R")
                }
            }
        }
        let archive = try open(ZipBuilder.torch(make("float8_e4m3fn", 4), ["0": [0x38, 0x40, 0xB8, 0]]))
        #expect(archive.dtype(of: "a") == .f8e4m3)
        #expect(try archive.tensor("a").floats() == [1, 2, -1, 0])
        // The count is in bytes, so wider elements need more of them.
        expect(.badData, "past its storage") { try open(ZipBuilder.torch(make("float32", 4))) }
        #expect(
            try open(ZipBuilder.torch(make("float32", 16), ["0": Self.floats])).tensor("a").floats() == [1, 2, 3, 4])
    }

    @Test("every storage class gives its type, and other types are named")
    func types() throws {
        let classes: [(String, DType?, Int)] = [
            ("FloatStorage", .f32, 4), ("DoubleStorage", .f64, 2), ("HalfStorage", .f16, 8),
            ("BFloat16Storage", .bf16, 8),
            ("LongStorage", .i64, 2), ("IntStorage", .i32, 4), ("ShortStorage", .i16, 8), ("CharStorage", .i8, 16),
            ("ByteStorage", .u8, 16), ("BoolStorage", .bool, 16), ("ComplexFloatStorage", nil, 2),
        ]
        for (name, dtype, count) in classes {
            let pickle = PickleBuilder.dictionary {
                $0.item("a") { $0.tensor(type: name, count: count, shape: [count]) }
            }
            let archive = try open(ZipBuilder.torch(pickle))
            #expect(archive.dtype(of: "a") == dtype)
            if dtype == nil {
                expect(.badData, "complex64 is not supported") { try archive.tensor("a") }
            } else {
                #expect(try archive.tensor("a").count == count)
            }
        }
    }

    @Test("an image encoder written by torch is read")
    func golden() throws {
        let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let archive = try TorchArchive(path: folder + "/Fixtures/image_encoder.bin")
        #expect(archive.keys.count == 80)
        #expect(archive.keys.first == "logit_scale")
        #expect(archive.shape(of: "logit_scale") == [])
        let embedding = try archive.tensor("text_model.embeddings.token_embedding.weight")
        #expect(embedding.shape == [40, 8] && embedding.dtype == .f32)
        #expect(abs(embedding.floats().reduce(0) { $0 + Double($1) } + 20.763321340084076) < 1e-9)
        #expect(embedding.floats()[0] == -0.6614428758621216)
        let positions = try archive.tensor("vision_model.embeddings.position_ids")
        #expect(positions.shape == [1, 26] && positions.dtype == .i64)
        #expect(positions.integers() == (0..<26).map(Int64.init))
        for key in archive.keys { #expect(try archive.tensor(key).isContiguous) }
    }

    @Test("ten thousand mutations of pickles and archives are read or refused with a fault")
    func mutations() throws {
        var random = Seeded(state: 2)
        let scratch = try Scratch()
        let pickle = PickleBuilder.dictionary {
            $0.item("whole") { $0.tensor(shape: [2, 2], strides: [2, 1]) }.item("part") {
                $0.tensor(offset: 1, shape: [3])
            }
            .op("}").item("_metadata") { $0.op("}") }.op("b")
        }
        let archive = ZipBuilder.torch(pickle).bytes
        var accepted = 0
        for index in 0..<10_000 {
            // Three of four change the pickle in a sound archive.
            let bytes =
                index % 4 == 0
                ? random.mutate(archive) : ZipBuilder.torch(random.mutate(pickle)).bytes
            // A new file each time: writing over one makes some file systems wait for the disk.
            let path = try scratch.write("\(index).bin", bytes)
            defer { unlink(path) }
            do {
                let file = try TorchArchive(path: path)
                accepted += 1
                for key in file.keys where file.dtype(of: key) != nil { _ = try file.tensor(key).floats() }
            } catch {
                #expect(error.kind == .badData)
            }
        }
        #expect(accepted > 100 && accepted < 9000, "\(accepted)")
    }
}
