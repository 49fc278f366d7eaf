import RuyiFault

/// SentencePiece's compiled table of replacements, such as `nmt_nfkc`: a trie in a double array, and the texts that
/// take the place of what it finds.
///
/// Aoe 1989, "An Efficient Digital Search Algorithm by Using a Double-Array Structure"; units as in Darts-clone. It is used
/// as Hugging Face's tokenizers do, whole characters as people see them first, then single code points; or as
/// SentencePiece itself does, what fits at a place.
struct CharacterMap: Sendable {
    /// The most bytes that are looked at for something to replace, and that take its place: `nmt_nfkc` has 12 and 33.
    private static let lengthLimit = 256

    private let units: [UInt32]
    private let texts: [UInt8]

    /// Reads a table, of which none at all replaces nothing; throws `.badData` for one that is cut off or replaces
    /// something by a very long text.
    init(_ bytes: [UInt8], file: String) throws(Fault) {
        guard !bytes.isEmpty else {
            (units, texts) = ([], [])
            return
        }
        func word(_ place: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << UInt32(8 * $1) } }
        guard bytes.count >= 4, case let length = Int(word(0)), length % 4 == 0, length > 0, length <= bytes.count - 4
        else {
            throw Fault(.badData, "the table of replaced characters is cut off", at: file)
        }
        units = stride(from: 4, to: 4 + length, by: 4).map(word)
        texts = Array(bytes[(4 + length)...])
        var run = 0
        for byte in texts {
            run = byte == 0 ? 0 : run + 1
            guard run <= CharacterMap.lengthLimit else {
                throw Fault(
                    .badData, "the table replaces a character by more than \(CharacterMap.lengthLimit) bytes", at: file)
            }
        }
    }

    /// The text with everything replaced.
    func callAsFunction(_ text: String) -> String {
        var result: [UInt8] = []
        for character in text {
            let whole = Array(character.utf8)
            // The length from which tokenizers look at the code points alone.
            if whole.count < 6, let replacement = replacement(of: whole) {
                result += replacement
                continue
            }
            for scalar in character.unicodeScalars {
                let part = Array(String(scalar).utf8)
                result += replacement(of: part) ?? part[...]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The longest beginning at a place of a text that the table has, and what takes its place; nil where there is none.
    func longestMatch(in text: [UInt8], at place: Int) -> (length: Int, replacement: ArraySlice<UInt8>)? {
        var longest: (Int, ArraySlice<UInt8>)?
        forEachMatch(text[place...]) { length, replacement in
            longest = (length, replacement)
            return true
        }
        return longest
    }

    /// The replacement of the shortest beginning that the table has; what follows it within `part` is dropped with it.
    private func replacement(of part: [UInt8]) -> ArraySlice<UInt8>? {
        var shortest: ArraySlice<UInt8>?
        forEachMatch(part[...]) { _, replacement in
            shortest = replacement
            return false
        }
        return shortest
    }

    /// Calls `body` with the length and the replacement of each beginning that the table has, the shortest first, for as
    /// long as it returns true.
    private func forEachMatch(_ text: ArraySlice<UInt8>, _ body: (Int, ArraySlice<UInt8>) -> Bool) {
        guard var unit = units.first else { return }
        var place = CharacterMap.offset(unit)
        for (index, byte) in text.prefix(CharacterMap.lengthLimit).enumerated() {
            place ^= Int(byte)
            // A unit's label is its lowest byte, never zero; values have the highest bit, which no label has.
            guard byte != 0, units.indices.contains(place) else { return }
            unit = units[place]
            guard unit & 0x8000_00FF == UInt32(byte) else { return }
            place ^= CharacterMap.offset(unit)
            guard unit >> 8 & 1 == 1 else { continue }
            guard units.indices.contains(place), case let start = Int(units[place] & 0x7FFF_FFFF), start < texts.count,
                body(index + 1, texts[start...].prefix { $0 != 0 })
            else { return }
        }
    }

    /// The distance to a unit's children.
    private static func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 1 << 9) >> 6) }
}

extension CharacterMap {
    /// Reads a table that is written in base 64, as in `tokenizer.json`.
    init(base64 text: String, file: String) throws(Fault) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 4 * 3)
        var (bits, count) = (UInt32(0), 0)
        for letter in text.utf8 where letter != UInt8(ascii: "=") {
            guard let value = CharacterMap.base64[letter] else {
                throw Fault(.badData, "the table of replaced characters is not written in base 64", at: file)
            }
            bits = bits << 6 | value
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        try self.init(bytes, file: file)
    }

    private static let base64: [UInt8: UInt32] = {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        return Dictionary(uniqueKeysWithValues: letters.utf8.enumerated().map { ($1, UInt32($0)) })
    }()
}
