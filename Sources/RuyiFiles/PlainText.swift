import RuyiFault

/// Text that people write, as their editors save it: UTF-8, with or without a byte order mark, lines ended by LF or CR LF.
public enum PlainText {
    /// What some editors put in front of a text in UTF-8.
    package static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// The text of a regular file, without the mark and with LF as the only end of a line.
    ///
    /// Throws as `FileBytes.read` does, and as `text` does.
    public static func read(_ path: String, limit: Int) throws(Fault) -> String {
        try text(FileBytes.read(path, limit: limit), at: path)
    }

    /// The text that bytes hold, without the mark and with LF as the only end of a line.
    ///
    /// Throws `.badData` for another encoding, and for a zero, which no text has.
    public static func text(_ bytes: [UInt8], at place: String) throws(Fault) -> String {
        let body = bytes.starts(with: mark) ? bytes[mark.count...] : bytes[...]
        guard let text = String(validating: body, as: UTF8.self), !body.contains(0) else {
            let isWide = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
            throw Fault(
                .badData, isWide ? "the text is UTF-16, not UTF-8" : "the text is not UTF-8", at: place,
                hint: "save it as UTF-8")
        }
        return String(text.map { $0 == "\r\n" ? "\n" : $0 })
    }

    /// How many of the first bytes are the mark.
    package static func markLength(_ bytes: some Collection<UInt8>) -> Int {
        bytes.starts(with: mark) ? mark.count : 0
    }
}
