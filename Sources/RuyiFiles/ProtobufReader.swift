import RuyiFault

/// Reads the fields of a message in protocol buffers' wire format, in order; unknown ones are stepped over by who reads.
struct ProtobufReader {
    /// What a field holds.
    enum Value {
        case number(UInt64)
        case word(UInt32)
        case bytes(ArraySlice<UInt8>)
        /// Eight bytes, which nobody asks for.
        case doubleWord
    }

    private var reader: ByteReader

    init(_ bytes: ArraySlice<UInt8>, file: String) { reader = ByteReader(bytes: Array(bytes), file: file) }

    /// The number and the value of the next field; nil at the end.
    ///
    /// Throws `.badData` for what is cut off or no field.
    mutating func next() throws(Fault) -> (field: Int, value: Value)? {
        if reader.isAtEnd { return nil }
        let key = try number()
        guard key >> 3 > 0, let field = Int(exactly: key >> 3) else { throw fault("a field has no number") }
        switch key & 7 {
        case 0: return (field, .number(try number()))
        case 1:
            try reader.skip(8)
            return (field, .doubleWord)
        case 2:
            guard let length = Int(exactly: try number()) else { throw fault("a length is too large") }
            return (field, .bytes(try reader.take(length)))
        case 5: return (field, .word(UInt32(truncatingIfNeeded: try reader.unsigned(4))))
        default: throw fault("a field is of no known kind")
        }
    }

    /// Seven bits a byte, the lowest first.
    private mutating func number() throws(Fault) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            let byte = try reader.unsigned(1)
            // The tenth byte has room for one bit.
            guard shift < 63 || byte < 2 else { break }
            value |= (byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw fault("a number has more than 64 bits")
    }

    private func fault(_ what: String) -> Fault {
        Fault(.badData, "\(what), before byte \(reader.position)", at: reader.file)
    }
}
