/// Texts in UTF-8 that were read as Windows-1252 or Latin-1.
enum Mojibake {
    /// What Windows-1252 has in the place of C1's controls; 0 where it has nothing.
    private static let characters: [UInt32] = [
        0x20AC, 0, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0, 0x17D, 0, 0,
        0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0, 0x17E, 0x178,
    ]
    private static let bytes: [UInt32: UInt8] = Dictionary(
        uniqueKeysWithValues: characters.enumerated().filter { $1 > 0 }.map { ($1, UInt8(0x80 + $0)) })

    /// What a byte from 80 to 9F stands for in Windows-1252.
    static func character(of byte: UInt8) -> Unicode.Scalar? {
        let index = Int(byte) - 0x80
        guard characters.indices.contains(index), characters[index] > 0 else { return nil }
        return Unicode.Scalar(characters[index])
    }

    /// The text with sequences that nobody writes on purpose read as UTF-8.
    static func repaired(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        let bytes = scalars.map { $0.value < 0x100 ? UInt8($0.value) : Mojibake.bytes[$0.value] }
        var result = String.UnicodeScalarView()
        var (place, isBeside) = (0, false)
        while place < scalars.count {
            guard let (scalar, length) = sequence(bytes, at: place),
                isTelling(bytes[place]) || isBeside || sequence(bytes, at: place + length) != nil
            else {
                result.append(scalars[place])
                (place, isBeside) = (place + 1, false)
                continue
            }
            result.append(scalar)
            (place, isBeside) = (place + length, true)
        }
        return String(result)
    }

    /// Whether a sequence that starts with this byte is one even when it stands alone: those of Latin letters, of
    /// typographic signs and of emoji are.
    private static func isTelling(_ byte: UInt8?) -> Bool { [0xC2, 0xC3, 0xE2, 0xF0].contains(byte) }

    /// The character of more than one byte that stands at a place, and its length.
    private static func sequence(_ bytes: [UInt8?], at place: Int) -> (scalar: Unicode.Scalar, length: Int)? {
        guard place < bytes.count, let first = bytes[place], first >= 0xC2, first < 0xF5 else { return nil }
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        let all = bytes[place...].prefix(length).compactMap(\.self)
        guard all.count == length, let text = String(validating: all, as: UTF8.self),
            let scalar = text.unicodeScalars.first
        else { return nil }
        return (scalar, length)
    }
}
