/// Writes pickles opcode by opcode, as torch does it with protocol 2, or wrongly.
package struct PickleBuilder {
    package var bytes: [UInt8] = [0x80, 2]

    package init() {}

    /// Starts without the protocol opcode.
    package init(bytes: [UInt8]) { self.bytes = bytes }

    package func with(_ more: [UInt8]) -> PickleBuilder { PickleBuilder(bytes: bytes + more) }
    package func op(_ name: Character) -> PickleBuilder { with(Array(String(name).utf8)) }

    package func global(_ module: String, _ name: String) -> PickleBuilder { with(Array("c\(module)\n\(name)\n".utf8)) }
    package func text(_ text: String) -> PickleBuilder {
        op("X").with(little(UInt64(text.utf8.count), 4) + Array(text.utf8))
    }

    package func int(_ value: Int) -> PickleBuilder {
        if let byte = UInt8(exactly: value) { return op("K").with([byte]) }
        if let small = Int32(exactly: value) { return op("J").with(little(UInt64(UInt32(bitPattern: small)), 4)) }
        return with([0x8A, 8] + little(UInt64(bitPattern: Int64(value)), 8))
    }

    package func tuple(_ values: [Int]) -> PickleBuilder { values.reduce(op("(")) { $0.int($1) }.op("t") }

    /// A storage by its persistent id.
    package func storage(_ type: String = "FloatStorage", key: String = "0", count: Int = 4, module: String = "torch")
        -> PickleBuilder
    {
        op("(").text("storage").global(module, type).text(key).text("cpu").int(count).op("t").op("Q")
    }

    /// A tensor as `_rebuild_tensor_v2` makes it; leaves it on the stack.
    package func tensor(
        type: String = "FloatStorage", key: String = "0", count: Int = 4, offset: Int = 0, shape: [Int] = [4],
        strides: [Int] = [1]
    ) -> PickleBuilder {
        global("torch._utils", "_rebuild_tensor_v2").op("(").storage(type, key: key, count: count).int(offset)
            .tuple(shape).tuple(strides).with([0x89]).global("collections", "OrderedDict").op(")").op("R").op("t").op(
                "R")
    }

    /// One item of the dictionary below it on the stack.
    package func item(_ name: String, _ value: (PickleBuilder) -> PickleBuilder) -> PickleBuilder {
        value(text(name)).op("s")
    }

    /// A whole pickle: an OrderedDict with items.
    package static func dictionary(_ items: (PickleBuilder) -> PickleBuilder) -> [UInt8] {
        items(PickleBuilder().global("collections", "OrderedDict").op(")").op("R")).op(".").bytes
    }
}

/// Writes ZIP archives of stored entries, or wrong ones.
package struct ZipBuilder {
    package struct Entry {
        package var name: String
        package var data: [UInt8]
        package var method = 0
        package var flags = 0x0808
        package var checksum: UInt32?
        /// Another size in the directory.
        package var size: Int?
        /// Another name in the local header.
        package var localName: String?
        /// Where the directory says that it starts.
        package var start: Int?
        /// Zeros that put the data at a multiple of 64, as torch does.
        package var isPadded = true
        /// Sizes and start in a ZIP64 field.
        package var isWide = false

        package init(name: String, data: [UInt8], isPadded: Bool = true) {
            self.name = name
            self.data = data
            self.isPadded = isPadded
        }
    }

    package var entries: [Entry]
    /// Another number of entries at the end.
    package var count: Int?
    /// A ZIP64 end record, and whether it lies.
    package var isWide = false
    package var wideCount: Int?
    package var comment: [UInt8] = []
    package var directoryShift = 0

    package init(_ entries: [Entry]) { self.entries = entries }

    /// The archive of a pickle and storages, as torch writes it.
    package static func torch(
        _ pickle: [UInt8], _ storages: [String: [UInt8]] = ["0": [UInt8](repeating: 0, count: 16)]
    )
        -> ZipBuilder
    {
        ZipBuilder(
            [Entry(name: "m/data.pkl", data: pickle), Entry(name: "m/byteorder", data: Array("little".utf8))]
                + storages.sorted { $0.key < $1.key }.map { Entry(name: "m/data/" + $0.key, data: $0.value) }
                + [Entry(name: "m/version", data: Array("3\n".utf8))])
    }

    package var bytes: [UInt8] {
        var result = [UInt8]()
        var directory = [UInt8]()
        for entry in entries {
            directory += ZipBuilder.directoryEntry(entry, at: result.count)
            result += ZipBuilder.localEntry(entry, at: result.count)
        }
        let start = UInt64(result.count + directoryShift)
        let count = UInt64(self.count ?? entries.count)
        result += directory
        if isWide {
            let record = UInt64(result.count)
            let wide = UInt64(wideCount ?? entries.count)
            result += numbers([(0x0606_4B50, 4), (44, 8), (0, 12), (wide, 8), (wide, 8), (UInt64(directory.count), 8)])
            result += numbers([(start, 8), (0x0706_4B50, 4), (0, 4), (record, 8), (1, 4)])
        }
        result += numbers([(0x0605_4B50, 4), (0, 4)])
        if isWide && self.count == nil {
            result += numbers([(.max, 4), (.max, 8)])
        } else {
            result += numbers([(count, 2), (count, 2), (UInt64(directory.count), 4), (start, 4)])
        }
        return result + little(UInt64(comment.count), 2) + comment
    }

    private static func localEntry(_ entry: Entry, at start: Int) -> [UInt8] {
        let name = Array((entry.localName ?? entry.name).utf8)
        var extra = [UInt8]()
        if entry.isPadded {
            let padding = 64 - (start + 34 + name.count) % 64
            extra = numbers([(0x4246, 2), (UInt64(padding), 2)]) + [UInt8](repeating: 90, count: padding)
        }
        let head: [UInt8] = numbers([
            (0x0403_4B50, 4), (0, 2), (UInt64(entry.flags), 2), (UInt64(entry.method), 2), (0, 4), (0, 12),
            (UInt64(name.count), 2), (UInt64(extra.count), 2),
        ])
        return [head, name, extra, entry.data].flatMap { $0 }
    }

    private static func directoryEntry(_ entry: Entry, at start: Int) -> [UInt8] {
        let checksum = UInt64(entry.checksum ?? crc32(entry.data))
        let size = UInt64(entry.size ?? entry.data.count)
        let place = UInt64(entry.start ?? start)
        let wide: [UInt8] = entry.isWide ? numbers([(1, 2), (24, 2), (size, 8), (size, 8), (place, 8)]) : []
        let head: [UInt8] = numbers([
            (0x0201_4B50, 4), (0, 4), (UInt64(entry.flags), 2), (UInt64(entry.method), 2), (0, 4), (checksum, 4),
        ])
        let sizes: [UInt8] = entry.isWide ? little(.max, 8) : numbers([(size, 4), (size, 4)])
        let tail: [UInt8] = numbers([
            (UInt64(entry.name.utf8.count), 2), (UInt64(wide.count), 2), (0, 10), (entry.isWide ? .max : place, 4),
        ])
        return [head, sizes, tail, Array(entry.name.utf8), wide].flatMap { $0 }
    }

    /// CRC-32, bit by bit.
    package static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var value = ~UInt32(0)
        for byte in bytes {
            value ^= UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 0 ? value >> 1 : (value >> 1) ^ 0xEDB8_8320 }
        }
        return ~value
    }
}

/// Numbers with their widths in bytes, each lowest byte first; widths above 8 are filled with zeros.
private func numbers(_ list: [(value: UInt64, width: Int)]) -> [UInt8] {
    list.flatMap { little($0.value, min($0.width, 8)) + [UInt8](repeating: 0, count: max($0.width - 8, 0)) }
}

/// The bytes of a number, lowest first.
private func little(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
}
