import RuyiFault

/// Reads little-endian numbers from bytes in order.
///
/// Every read past the end throws `.badData`.
struct ByteReader {
    let bytes: [UInt8]
    let file: String
    private(set) var position = 0

    init(bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
    }

    var isAtEnd: Bool { position == bytes.count }

    mutating func take(_ count: Int) throws(Fault) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.count - position else {
            throw Fault(.badData, "the data ends too early, at byte \(position)", at: file)
        }
        position += count
        return bytes[position - count..<position]
    }

    mutating func skip(_ count: Int) throws(Fault) { _ = try take(count) }

    mutating func int8() throws(Fault) -> Int { Int(try unsigned(1)) }
    mutating func int16() throws(Fault) -> Int { Int(try unsigned(2)) }
    mutating func int32() throws(Fault) -> Int { Int(try unsigned(4)) }

    /// Eight bytes; what does not fit `Int` throws.
    mutating func int64() throws(Fault) -> Int {
        guard let value = Int(exactly: try unsigned(8)) else {
            throw Fault(.badData, "a size is not a 63-bit number, at byte \(position - 8)", at: file)
        }
        return value
    }

    mutating func unsigned(_ count: Int) throws(Fault) -> UInt64 {
        try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The bytes up to a line feed, which is stepped over.
    mutating func line() throws(Fault) -> ArraySlice<UInt8> {
        guard let end = bytes[position...].firstIndex(of: 0x0A) else {
            throw Fault(.badData, "the data ends within a line, at byte \(position)", at: file)
        }
        let line = bytes[position..<end]
        position = end + 1
        return line
    }
}
