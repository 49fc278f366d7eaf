import RuyiFault

/// Reads the little-endian numbers and texts of a GGUF file's header one after the other, in pieces, and steps over what
/// nobody asks for without reading it.
struct GGUFReader {
    private let file: String
    private let read: (Range<Int>) throws(Fault) -> [UInt8]
    /// Where the file ends.
    private let byteCount: Int
    private var bytes: [UInt8] = []
    /// The place of the first of `bytes` in the file.
    private var start = 0
    /// The place in the file.
    private(set) var position = 0

    private static let pieceLength = 1 << 18

    init(byteCount: Int, file: String, read: @escaping (Range<Int>) throws(Fault) -> [UInt8]) {
        (self.byteCount, self.file, self.read) = (byteCount, file, read)
    }

    /// Bytes that the file still has.
    var rest: Int { byteCount - position }

    /// Steps over bytes.
    mutating func skip(_ count: Int) throws(Fault) {
        guard count <= rest else {
            throw Fault(
                .badData, "the header reaches past the end of the file of \(byteCount) bytes", at: file,
                hint: "the file is incomplete; download it again")
        }
        position += count
        guard position <= GGUFHeader.byteLimit else {
            throw Fault(.badData, "the header has more than \(GGUFHeader.byteLimit) bytes", at: file)
        }
    }

    /// The next bytes.
    mutating func take(_ count: Int) throws(Fault) -> ArraySlice<UInt8> {
        let begin = position
        try skip(count)
        if begin < start || position > start + bytes.count {
            start = begin
            bytes = try read(begin..<max(position, min(begin + GGUFReader.pieceLength, byteCount)))
        }
        return bytes[begin - start..<position - start]
    }

    /// A number of so many bytes without a sign.
    mutating func unsigned(_ count: Int) throws(Fault) -> UInt64 {
        try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func uint32() throws(Fault) -> UInt32 { UInt32(truncatingIfNeeded: try unsigned(4)) }

    /// A count or a size, which is not more than `limit`.
    mutating func count(_ what: String, atMost limit: Int) throws(Fault) -> Int {
        let value = try unsigned(8)
        guard value <= UInt64(limit) else {
            throw Fault(.badData, "\(what) is \(value), and at most \(limit) can be", at: file)
        }
        return Int(value)
    }

    /// A text of so many bytes at most.
    mutating func text(_ what: String, atMost limit: Int) throws(Fault) -> String {
        let count = try count("the length of \(what)", atMost: min(limit, max(rest - 8, 0)))
        guard let text = String(validating: try take(count), as: UTF8.self) else {
            throw Fault(.badData, "\(what) is not UTF-8", at: file)
        }
        return text
    }
}
