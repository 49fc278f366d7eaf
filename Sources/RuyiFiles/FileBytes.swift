import RuyiFault

/// Reads small files whole: configuration, vocabularies, requests.
public enum FileBytes {
    /// The bytes of a regular file.
    ///
    /// Throws `.cannotOpen` for what is missing or not a regular file, `.badData` when it has more than `limit` bytes,
    /// `.io` when reading fails.
    public static func read(_ path: String, limit: Int = 64 << 20, shown: String? = nil) throws(Fault) -> [UInt8] {
        let file = try OpenFile(path: path, shown: shown)
        if file.byteCount > limit {
            throw Fault(
                .badData, "the file has \(file.byteCount) bytes, more than the limit of \(limit)", at: shown ?? path)
        }
        return try file.read(0..<file.byteCount)
    }

    /// The text of a regular file in UTF-8.
    ///
    /// Throws as `read` does, and `.badData` for other encodings.
    public static func text(_ path: String, limit: Int = 64 << 20, shown: String? = nil) throws(Fault) -> String {
        guard let text = String(validating: try read(path, limit: limit, shown: shown), as: UTF8.self) else {
            throw Fault(.badData, "the file is not UTF-8 text", at: shown ?? path)
        }
        return text
    }
}
