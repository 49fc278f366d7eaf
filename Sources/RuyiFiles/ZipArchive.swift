import RuyiFault

/// The directory of a ZIP file whose entries are stored, not compressed: names and the places of their data.
///
/// Every number is checked against the file, local headers against the directory, and entries against one another: what
/// is compressed, encrypted, split, listed twice or overlapping is refused. ZIP64 is read.
struct ZipArchive: Sendable {
    /// One stored file.
    struct Entry: Sendable {
        let name: String
        /// The bytes of the data in the archive.
        let range: Range<Int>
        let checksum: UInt32
        fileprivate let headerStart: Int
    }

    static let entryLimit = 100_000
    private static let directoryLimit = 64 << 20

    let entries: [Entry]

    /// Reads the directory.
    ///
    /// - Parameters:
    ///   - byteCount: the size of the file.
    ///   - file: its name for messages.
    ///   - read: copies a range of the file.
    /// - Throws: `.badData` with what is wrong; what `read` throws.
    init(byteCount: Int, file: String, read: (Range<Int>) throws(Fault) -> [UInt8]) throws(Fault) {
        let end = try EndRecord(byteCount: byteCount, file: file, read: read)
        guard end.entryCount <= ZipArchive.entryLimit else {
            throw Fault(.badData, "the ZIP archive has \(end.entryCount) entries; 100000 is the limit", at: file)
        }
        guard end.directory.count <= ZipArchive.directoryLimit else {
            throw Fault(.badData, "the ZIP directory of \(end.directory.count) bytes is too large", at: file)
        }
        var reader = ByteReader(bytes: try read(end.directory), file: file)
        var entries = [Entry]()
        var names = Set<String>()
        for _ in 0..<end.entryCount {
            let entry = try ZipArchive.entry(&reader, limit: end.directory.lowerBound, file, read)
            guard names.insert(entry.name).inserted else {
                throw Fault(.badData, "the ZIP archive has the entry \"\(entry.name)\" twice", at: file)
            }
            entries.append(entry)
        }
        guard reader.isAtEnd else { throw Fault(.badData, "the ZIP directory has more than its entries", at: file) }
        try ZipArchive.checkOverlap(entries, file)
        self.entries = entries
    }

    private static func entry(
        _ reader: inout ByteReader, limit: Int, _ file: String, _ read: (Range<Int>) throws(Fault) -> [UInt8]
    ) throws(Fault) -> Entry {
        guard try reader.int32() == 0x0201_4B50 else { throw Fault(.badData, "the ZIP directory is damaged", at: file) }
        try reader.skip(4)  // versions
        let flags = try reader.int16()
        let method = try reader.int16()
        try reader.skip(4)  // time and date
        let checksum = UInt32(try reader.int32())
        var packed = try reader.int32()
        var unpacked = try reader.int32()
        let (nameCount, extraCount, commentCount) = (try reader.int16(), try reader.int16(), try reader.int16())
        let disk = try reader.int16()
        try reader.skip(6)  // attributes
        var start = try reader.int32()
        guard let name = String(validating: try reader.take(nameCount), as: UTF8.self), !name.isEmpty else {
            throw Fault(.badData, "a name in the ZIP archive is empty or not UTF-8", at: file)
        }
        let fault = { (what: String) in Fault(.badData, "the ZIP entry \"\(name.prefix(120))\" \(what)", at: file) }
        var extra = ByteReader(bytes: Array(try reader.take(extraCount)), file: file)
        try wide(&extra, &unpacked, &packed, &start, fault)
        try reader.skip(commentCount)
        guard flags & 0x2041 == 0 else { throw fault("is encrypted") }
        guard method == 0 else { throw fault("is compressed; only stored entries are read") }
        guard packed == unpacked else { throw fault("has two sizes") }
        guard disk == 0 || disk == 0xFFFF else { throw fault("is on another disk") }
        // The local header: 30 bytes, the name again, and an extra field of its own length.
        guard start >= 0, start <= limit, limit - start >= 30 else { throw fault("lies outside the file") }
        var local = ByteReader(bytes: try read(start..<start + 30), file: file)
        guard try local.int32() == 0x0403_4B50 else { throw fault("has no header of its own") }
        try local.skip(2)
        guard try local.int16() & 0x2041 == 0 else { throw fault("is encrypted") }
        guard try local.int16() == 0 else { throw fault("is compressed; only stored entries are read") }
        try local.skip(16)
        let (localName, localExtra) = (try local.int16(), try local.int16())
        let nameStart = start + 30
        guard limit - nameStart >= localName + localExtra else { throw fault("lies outside the file") }
        guard try read(nameStart..<nameStart + localName).elementsEqual(name.utf8) else {
            throw fault("has another name in its own header")
        }
        let dataStart = nameStart + localName + localExtra
        guard unpacked >= 0, limit - dataStart >= unpacked else { throw fault("lies outside the file") }
        return Entry(
            name: name, range: dataStart..<dataStart + unpacked, checksum: checksum, headerStart: start)
    }

    /// Replaces sizes and the start by those of the ZIP64 field, where the plain ones are all ones.
    private static func wide(
        _ extra: inout ByteReader, _ unpacked: inout Int, _ packed: inout Int, _ start: inout Int,
        _ fault: (String) -> Fault
    ) throws(Fault) {
        let needed = [unpacked, packed, start].filter { $0 == 0xFFFF_FFFF }.count
        guard needed > 0 else { return }
        while !extra.isAtEnd {
            let kind = try extra.int16()
            let count = try extra.int16()
            if kind != 1 {
                try extra.skip(count)
                continue
            }
            guard count >= needed * 8 else { break }
            if unpacked == 0xFFFF_FFFF { unpacked = try extra.int64() }
            if packed == 0xFFFF_FFFF { packed = try extra.int64() }
            if start == 0xFFFF_FFFF { start = try extra.int64() }
            return
        }
        throw fault("lacks its ZIP64 sizes")
    }

    private static func checkOverlap(_ entries: [Entry], _ file: String) throws(Fault) {
        var end = 0
        for entry in entries.sorted(by: { $0.headerStart < $1.headerStart }) {
            if entry.headerStart < end {
                throw Fault(.badData, "the ZIP entry \"\(entry.name.prefix(120))\" overlaps another", at: file)
            }
            end = entry.range.upperBound
        }
    }
}

/// The record at the end of a ZIP file, with its ZIP64 form: where the directory is and how many entries it has.
private struct EndRecord {
    let directory: Range<Int>
    let entryCount: Int

    init(byteCount: Int, file: String, read: (Range<Int>) throws(Fault) -> [UInt8]) throws(Fault) {
        let tailStart = max(0, byteCount - 65_557)
        let tail = try read(tailStart..<byteCount)
        guard
            let index = stride(from: tail.count - 22, through: 0, by: -1).first(where: {
                tail[$0] == 0x50 && tail[$0 + 1] == 0x4B && tail[$0 + 2] == 5 && tail[$0 + 3] == 6
                    && Int(tail[$0 + 20]) | Int(tail[$0 + 21]) << 8 == tail.count - $0 - 22
            })
        else {
            throw Fault(
                .badData, "the ZIP archive has no end", at: file, hint: "the file is incomplete; download it again")
        }
        var reader = ByteReader(bytes: Array(tail[index...]), file: file)
        try reader.skip(4)
        let (disk, directoryDisk) = (try reader.int16(), try reader.int16())
        let (countHere, count) = (try reader.int16(), try reader.int16())
        let (size, start) = (try reader.int32(), try reader.int32())
        guard disk == directoryDisk, disk == 0 || disk == 0xFFFF, countHere == count else {
            throw Fault(.badData, "the ZIP archive is split over several files", at: file)
        }
        let place = tailStart + index
        if count == 0xFFFF || size == 0xFFFF_FFFF || start == 0xFFFF_FFFF || disk == 0xFFFF {
            let wide = try EndRecord.wide(before: place, file, read)
            (directory, entryCount) = (try EndRecord.range(wide.start, wide.size, end: wide.end, file), wide.count)
        } else {
            // The ZIP64 record may stand there without being needed.
            let hasWide = place >= 20 ? try read(place - 20..<place - 16) == [0x50, 0x4B, 6, 7] : false
            let end = hasWide ? try EndRecord.wide(before: place, file, read).end : place
            (directory, entryCount) = (try EndRecord.range(start, size, end: end, file), count)
        }
    }

    private static func range(_ start: Int, _ size: Int, end: Int, _ file: String) throws(Fault) -> Range<Int> {
        guard start >= 0, size >= 0, start <= end, end - start == size else {
            throw Fault(.badData, "the ZIP directory is not where the end of the archive says", at: file)
        }
        return start..<end
    }

    private static func wide(
        before place: Int, _ file: String, _ read: (Range<Int>) throws(Fault) -> [UInt8]
    ) throws(Fault) -> (start: Int, size: Int, count: Int, end: Int) {
        let fault = Fault(.badData, "the ZIP64 end of the archive is damaged", at: file)
        guard place >= 20 + 56 else { throw fault }
        var locator = ByteReader(bytes: try read(place - 20..<place), file: file)
        guard try locator.int32() == 0x0706_4B50 else { throw fault }
        try locator.skip(4)
        let recordStart = try locator.int64()
        guard recordStart >= 0, recordStart <= place - 20 - 56 else { throw fault }
        var record = ByteReader(bytes: try read(recordStart..<recordStart + 56), file: file)
        guard try record.int32() == 0x0606_4B50, try record.int64() == place - 20 - recordStart - 12 else {
            throw fault
        }
        try record.skip(12)
        let (countHere, count) = (try record.int64(), try record.int64())
        let (size, start) = (try record.int64(), try record.int64())
        guard countHere == count, count >= 0 else { throw fault }
        return (start, size, count, recordStart)
    }
}

/// CRC-32 as ZIP uses it.
enum Checksum {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 0 ? value >> 1 : value >> 1 ^ 0xEDB8_8320 }
    }

    static func crc32(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }
}
