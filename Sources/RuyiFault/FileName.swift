/// Names of files as text that stands for their bytes one to one.
///
/// A name in UTF-8 is itself. A byte that is not UTF-8 becomes a scalar from U+10F780 to U+10F7FF, at the end of the
/// last private-use plane, and so do the bytes of these scalars themselves; hence different bytes give different texts,
/// and `bytes(of:)` gives every name back (the idea of Python's PEP 383, with scalars that a `String` can hold).
public enum FileName {
    /// What is added to a byte that is not UTF-8.
    private static let base: UInt32 = 0x10F700
    private static let escapes: ClosedRange<UInt32> = base + 0x80...base + 0xFF

    /// The text of a name or path.
    public static func text(_ bytes: some Sequence<UInt8>) -> String {
        let bytes = Array(bytes)
        if let text = String(validating: bytes, as: UTF8.self), isUTF8(text) { return text }
        var text = String.UnicodeScalarView()
        var place = 0
        while place < bytes.count {
            let length = characterLength(bytes[place...])
            if length > 0, let character = String(validating: bytes[place..<place + length], as: UTF8.self),
                isUTF8(character)
            {
                text.append(contentsOf: character.unicodeScalars)
                place += length
            } else {
                if let scalar = Unicode.Scalar(base + UInt32(bytes[place])) { text.append(scalar) }
                place += 1
            }
        }
        return String(text)
    }

    /// The text of a name or path that the C library gives.
    public static func text(_ name: UnsafePointer<CChar>) -> String {
        var bytes: [UInt8] = []
        var next = name
        while next.pointee != 0 {
            bytes.append(UInt8(bitPattern: next.pointee))
            next += 1
        }
        return text(bytes)
    }

    /// The bytes that a text stands for.
    public static func bytes(of text: String) -> [UInt8] {
        if isUTF8(text) { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in byte(scalar).map { [$0] } ?? Array(String(scalar).utf8) }
    }

    /// Whether a name is in UTF-8, and its text thus no more than that.
    public static func isUTF8(_ text: String) -> Bool { !text.unicodeScalars.contains { byte($0) != nil } }

    /// The byte that a scalar stands for; nil where it is a character of the name.
    public static func byte(_ scalar: Unicode.Scalar) -> UInt8? {
        escapes.contains(scalar.value) ? UInt8(scalar.value - base) : nil
    }

    /// The bytes that a character in UTF-8 takes by its first one; 0 where no character begins so.
    private static func characterLength(_ bytes: ArraySlice<UInt8>) -> Int {
        let length =
            switch bytes.first ?? 0xFF {
            case 0x00...0x7F: 1
            case 0xC2...0xDF: 2
            case 0xE0...0xEF: 3
            case 0xF0...0xF4: 4
            default: 0
            }
        return length <= bytes.count ? length : 0
    }
}
