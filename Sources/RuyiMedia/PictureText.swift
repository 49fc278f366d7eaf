import RuyiFault

/// Text that a PNG picture carries.
public enum PictureText {
    /// The signature that every PNG file begins with.
    private static let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    /// Larger texts are passed over.
    private static let limit = 1 << 20

    /// The uncompressed texts of a PNG file by keyword; none for other files.
    ///
    /// Throws `.cannotOpen` for what is missing or no file, `.badData` for chunks that are cut short.
    public static func read(_ path: String) throws(Fault) -> [String: String] {
        try InputFile.with(path) { (file) throws(Fault) in try texts(of: try file.bytes(), name: path) }
    }

    /// The texts of a PNG file in memory; `name` is what a fault calls it.
    package static func texts(of bytes: [UInt8], name: String) throws(Fault) -> [String: String] {
        guard bytes.starts(with: signature) else { return [:] }
        var texts: [String: String] = [:]
        var place = signature.count
        while place < bytes.count {
            guard place + 12 <= bytes.count else { throw cut(name) }
            let length = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - place - 12 else { throw cut(name) }
            let kind = bytes[place + 4..<place + 8]
            let content = bytes[place + 8..<place + 8 + length]
            if kind.elementsEqual("IEND".utf8) { break }
            if length <= limit, let (key, text) = text(kind, content) { texts[key] = text }
            place += 12 + length
        }
        return texts
    }

    private static func cut(_ name: String) -> Fault { Fault(.badData, "the picture is cut short", at: name) }

    /// Keyword and text of a `tEXt` or uncompressed `iTXt` chunk.
    private static func text(_ kind: ArraySlice<UInt8>, _ content: ArraySlice<UInt8>) -> (String, String)? {
        guard let end = content.firstIndex(of: 0) else { return nil }
        let key = String(decoding: content[..<end], as: UTF8.self)
        var rest = content[(end + 1)...]
        if kind.elementsEqual("tEXt".utf8) {
            // Latin-1: every byte is the character of its number.
            return (key, String(String.UnicodeScalarView(rest.map { Unicode.Scalar($0) })))
        }
        // A flag for compression, its method, a language and the keyword in it stand before the text.
        guard kind.elementsEqual("iTXt".utf8), rest.count >= 2, rest.first == 0 else { return nil }
        rest = rest.dropFirst(2)
        for _ in 0..<2 {
            guard let zero = rest.firstIndex(of: 0) else { return nil }
            rest = rest[(zero + 1)...]
        }
        return String(validating: rest, as: UTF8.self).map { (key, $0) }
    }
}
