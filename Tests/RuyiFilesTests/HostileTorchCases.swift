import RuyiFault
import Testing
import TorchFixtures

/// One torch file that must be refused, with words of the message.
struct HostileTorchCase: Sendable, CustomTestStringConvertible {
    let name: String
    let words: String
    let bytes: [UInt8]
    var testDescription: String { name }

    static let all = callables + machine + ids + tensors + typed + archives + numbers + formats

    private static let plain = PickleBuilder.dictionary { $0.item("a") { $0.tensor() } }

    private static func pickle(_ name: String, _ words: String, _ pickle: PickleBuilder) -> HostileTorchCase {
        HostileTorchCase(name: name, words: words, bytes: ZipBuilder.torch(pickle.bytes).bytes)
    }

    private static func item(
        _ name: String, _ words: String, _ value: (PickleBuilder) -> PickleBuilder
    ) -> HostileTorchCase {
        HostileTorchCase(
            name: name, words: words, bytes: ZipBuilder.torch(PickleBuilder.dictionary { $0.item("a", value) }).bytes)
    }

    private static func archive(_ name: String, _ words: String, _ change: (inout ZipBuilder) -> Void)
        -> HostileTorchCase
    {
        var zip = ZipBuilder.torch(plain)
        change(&zip)
        return HostileTorchCase(name: name, words: words, bytes: zip.bytes)
    }

    private static let start = PickleBuilder()

    private static let callables = [
        pickle(
            "REDUCE of os.system", "\"posix system\"",
            start.global("posix", "system").text("id").with([0x85]).op("R").op(".")),
        pickle("eval", "\"builtins eval\"", start.global("builtins", "eval").text("1").with([0x85]).op("R").op(".")),
        pickle("an unused name", "\"subprocess Popen\"", start.op("}").global("subprocess", "Popen").op("0").op(".")),
        pickle(
            "STACK_GLOBAL", "\"os system\"",
            start.text("os").text("system").with([0x93]).text("id").with([0x85]).op("R").op(".")),
        pickle("torch.load within", "\"torch load\"", start.global("torch", "load").op(".")),
        pickle("a near name", "_rebuild_tensor_v2x", start.global("torch._utils", "_rebuild_tensor_v2x").op(".")),
        pickle("a name with a terminal escape", "a\\x1bb", start.global("posix", "a\u{1B}b").op(".")),
        pickle("INST", "INST", start.op("(").with(Array("iposix\nsystem\n".utf8)).op(".")),
        pickle("OBJ", "OBJ", start.op("(").global("collections", "OrderedDict").op("o").op(".")),
        pickle("NEWOBJ", "NEWOBJ", start.global("collections", "OrderedDict").op(")").with([0x81]).op(".")),
        pickle("EXT1", "EXT1", start.with([0x82, 1]).op(".")),
        pickle(
            "a call of a storage class", "calls a storage class",
            start.global("torch", "FloatStorage").op(")").op("R").op(".")),
        pickle("a call of a text", "calls a string", start.text("x").op(")").op("R").op(".")),
    ]

    private static let machine = [
        pickle("BUILD of a list", "attributes", start.op("]").op("}").op("b").op(".")),
        pickle("an unknown opcode", "0xff", start.with([0xFF]).op(".")),
        pickle("protocol 9", "protocol 9", PickleBuilder(bytes: [0x80, 9]).op("}").op(".")),
        pickle("an empty stack", "takes more", start.op(".")),
        pickle("no STOP", "ends too early", start.op("}")),
        pickle("values left over", "left over", start.op("}").op("}").op(".")),
        pickle("bytes after STOP", "after its end", start.op("}").op(".").op("}")),
        pickle("BINGET of nothing", "recalls", start.op("h").with([7]).op(".")),
        pickle("a text longer than the file", "ends too early", start.op("X").with(little(0xFFFF_FFFF, 4))),
        pickle("items without a mark", "closes a group", start.op("}").op("u").op(".")),
        pickle("a key without a value", "without a value", start.op("}").op("(").text("a").op("u").op(".")),
        pickle("a thousand marks", "nests too deeply", start.with([UInt8](repeating: 0x28, count: 1000)).op(".")),
        pickle(
            "a hundred tuples in one another", "nests deeper",
            start.op("}").with([UInt8](repeating: 0x85, count: 100)).op(".")),
        pickle(
            "a long integer of 255 bytes", "255 bytes",
            start.with([0x8A, 255] + [UInt8](repeating: 1, count: 255)).op(".")),
        pickle("a million values", "too many values", start.with([UInt8](repeating: 0x4E, count: 1_000_001)).op(".")),
        pickle(
            "a dictionary in itself", "contains itself",
            start.op("}").op("q").with([0]).text("a").op("h").with([0]).op("s").op(".")),
        pickle(
            "dictionaries that double", "contains itself",
            (0..<40).reduce(start.op("}")) { pickle, level in
                pickle.op("q").with([UInt8(level)]).op("0").op("}").op("(").text("a").op("h").with([UInt8(level)]).text(
                    "b"
                )
                .op("h").with([UInt8(level)]).op("u")
            }.op(".")),
        pickle("no dictionary", "dictionary of tensors but holds a list", start.op("]").op(".")),
        pickle("text that is not UTF-8", "not UTF-8", start.op("X").with(little(1, 4) + [0xFF]).op(".")),
    ]

    private static let ids = [
        item("a persistent id of four parts", "unknown way") {
            $0.op("(").text("storage").global("torch", "FloatStorage").text("0").text("cpu").op("t").op("Q")
        },
        item("a persistent id that is a text", "where a tuple belongs") { $0.text("0").op("Q") },
        item("a persistent id of a module", "unknown way") {
            $0.op("(").text("module").global("torch", "FloatStorage").text("0").text("cpu").int(4).op("t").op("Q")
        },
        item("a storage whose class is a function", "whose class is") {
            $0.storage("_rebuild_tensor_v2", module: "torch._utils")
        },
        item("a storage of a negative count", "unknown way") { $0.storage(count: -4) },
        item("a storage key that leads outside", "plain name") { $0.storage(key: "../0") },
        item("a storage that is not there", "no storage \"9\"") { $0.tensor(key: "9") },
    ]

    private static let tensors = [
        item("a shape past the storage", "past its storage") { $0.tensor(shape: [5]) },
        item("an offset past the storage", "past its storage") { $0.tensor(offset: 1) },
        item("a stride past the storage", "past its storage") { $0.tensor(shape: [2], strides: [4]) },
        item("a negative stride", "make no sense") { $0.tensor(offset: 3, strides: [-1]) },
        item("a negative offset", "make no sense") { $0.tensor(offset: -1) },
        item("a negative axis", "make no sense") { $0.tensor(shape: [-1]) },
        item("a shape whose product overflows", "make no sense") { $0.tensor(shape: [1 << 62, 4], strides: [0, 0]) },
        item("a stride that overflows", "make no sense") { $0.tensor(shape: [3], strides: [.max]) },
        item("an offset that overflows", "make no sense") { $0.tensor(offset: .max, shape: [2]) },
        item("a view larger than its storage", "past its storage") { $0.tensor(shape: [1 << 40], strides: [0]) },
        item("a zero axis and huge ones", "make no sense") {
            $0.tensor(shape: [0, 1 << 40, 1 << 40], strides: [0, 0, 0])
        },
        item("a rank of 9", "do not go together") {
            $0.tensor(shape: [Int](repeating: 1, count: 9), strides: [Int](repeating: 1, count: 9))
        },
        item("shape and strides of other lengths", "do not go together") { $0.tensor(shape: [2, 2], strides: [1]) },
        item("a storage longer than its file", "should have 1000000 elements") { $0.tensor(count: 1_000_000) },
        item("a storage count that overflows", "past its storage") { $0.tensor(count: 1 << 62) },
        item("a parameter of nothing", "parameter") {
            $0.global("torch._utils", "_rebuild_parameter").op("}").with([0x85]).op("R")
        },
    ]

    /// A tensor whose type stands beside an untyped storage, as newer versions of torch write those of 8 bits.
    private static func typedTensor(
        _ builder: PickleBuilder, count: Int = 16, offset: Int = 0, shape: [Int] = [4], strides: [Int] = [1],
        type: (PickleBuilder) -> PickleBuilder
    ) -> PickleBuilder {
        type(
            builder.global("torch._utils", "_rebuild_tensor_v3").op("(")
                .storage("UntypedStorage", count: count, module: "torch.storage").int(offset).tuple(shape)
                .tuple(strides).with([0x89]).op("}")
        ).op("t").op("R")
    }

    private static func narrow(_ builder: PickleBuilder) -> PickleBuilder { builder.global("torch", "float8_e4m3fn") }

    private static let typed = [
        item("a typed tensor without a type", "without a type") { typedTensor($0) { $0 } },
        item("a typed tensor whose type is a text", "without a type") { typedTensor($0) { $0.text("float8_e4m3fn") } },
        item("a typed tensor whose type is a storage", "without a type") {
            typedTensor($0) { $0.global("torch", "FloatStorage") }
        },
        item("a type that torch does not have", "torch float9") { typedTensor($0) { $0.global("torch", "float9") } },
        item("a typed tensor of 17 bytes in 16", "past its storage") { typedTensor($0, shape: [17], type: narrow) },
        item("a typed tensor that starts behind its storage", "past its storage") {
            typedTensor($0, offset: 13, type: narrow)
        },
        item("a typed tensor of wider elements than its storage has bytes", "past its storage") {
            typedTensor($0, shape: [5]) { $0.global("torch", "float32") }
        },
        item("a typed tensor whose size overflows", "make no sense") {
            typedTensor($0, shape: [1 << 40, 1 << 40], strides: [0, 0], type: narrow)
        },
        item("a typed tensor that repeats a byte beyond its storage", "past its storage") {
            typedTensor($0, shape: [1 << 40], strides: [0], type: narrow)
        },
        item("an untyped storage longer than its file", "should have 1000000 elements") {
            typedTensor($0, count: 1_000_000, type: narrow)
        },
        item("an untyped storage without a type beside it", "without a type") {
            $0.global("torch._utils", "_rebuild_tensor_v2").op("(")
                .storage("UntypedStorage", count: 16, module: "torch.storage").int(0).tuple([4]).tuple([1]).with([0x89])
                .op("}").op("t").op("R")
        },
    ]

    private static let archives = [
        archive("a wrong checksum", "checksum") { $0.entries[0].checksum = 1 },
        archive("a compressed entry", "compressed") { $0.entries[2].method = 8 },
        archive("an encrypted entry", "encrypted") { $0.entries[2].flags |= 1 },
        archive("an entry twice", "twice") { $0.entries.append($0.entries[2]) },
        archive("entries that overlap", "overlaps") { $0.entries[2].size = 40 },
        archive("a size past the end", "outside the file") { $0.entries[3].size = 1_000_000 },
        archive("a start past the end", "outside the file") { $0.entries[2].start = 1 << 30 },
        archive("another name in the local header", "another name") { $0.entries[2].localName = "m/data/1" },
        archive("no pickle", "0 entries") { $0.entries.removeFirst() },
        archive("two pickles", "2 entries") { $0.entries.append(.init(name: "n/data.pkl", data: plain)) },
        archive("big-endian", "big-endian") { $0.entries[1].data = Array("big".utf8) },
    ]

    private static let numbers = [
        archive("more entries promised than there are", "ends too early") { $0.count = 9 },
        archive("fewer entries promised than there are", "more than its entries") { $0.count = 2 },
        archive("a directory at another place", "not where") { $0.directoryShift = 7 },
        archive("a ZIP64 record that promises 2^40 entries", "100000 is the limit") {
            ($0.isWide, $0.wideCount) = (true, 1 << 40)
        },
        archive("a pickle of 17 MB", "is the limit") { $0.entries[0].data = [UInt8](repeating: 0x4E, count: 17 << 20) },
        archive("a hundred thousand entries too many", "100000 is the limit") { zip in
            zip.isWide = true
            zip.entries += (0..<100_000).map { .init(name: "m/x\($0)", data: [], isPadded: false) }
        },
    ]

    private static let formats = [
        HostileTorchCase(name: "a bare pickle", words: "old format", bytes: plain),
        HostileTorchCase(
            name: "a tar archive", words: "old format",
            bytes: Array("pickle".utf8) + [UInt8](repeating: 0, count: 251) + Array("ustar".utf8) + [0, 0]),
        HostileTorchCase(name: "an empty file", words: "not a torch archive", bytes: []),
        HostileTorchCase(
            name: "a truncated archive", words: "no end", bytes: Array(ZipBuilder.torch(plain).bytes.dropLast(30))),
        HostileTorchCase(name: "a text", words: "not a torch archive", bytes: Array("<html>404</html>".utf8)),
    ]
}
