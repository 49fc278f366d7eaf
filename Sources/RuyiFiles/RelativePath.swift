import RuyiFault

/// A path inside a folder, as model files, indexes and manifests may name one: plain components, nothing else.
public enum RelativePath {
    /// The components of `transformer/config.json`.
    ///
    /// Throws `.badData` for what is empty, absolute, leads upwards, has empty components, backslashes or control
    /// characters, or is longer than file systems allow.
    @discardableResult
    public static func components(_ path: String, in file: String) throws(Fault) -> [String] {
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map {
            String($0) ?? ""
        }
        for part in parts where !isPlain(part) {
            throw Fault(.badData, "\"\(path.prefix(120))\" is not a plain relative path", at: file)
        }
        if FileName.bytes(of: path).count > 4095 {
            throw Fault(.badData, "the path \"\(path.prefix(120))...\" is too long", at: file)
        }
        return parts
    }

    /// Whether a text names a file in a folder and nothing else on any system.
    public static func isPlain(_ name: String) -> Bool {
        let isReserved = name.isEmpty || name == "." || name == ".." || name.utf8.first == UInt8(ascii: "~")
        let isDrive = name.utf8.count >= 2 && name.utf8.dropFirst().first == UInt8(ascii: ":")
        return !isReserved && !isDrive && FileName.bytes(of: name).count <= 255
            && !name.unicodeScalars.contains { $0 == "\\" || $0 == "/" || $0.value < 0x20 || $0.value == 0x7F }
    }
}
