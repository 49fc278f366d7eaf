import RuyiFault
import RuyiFiles

/// What SentencePiece does to a text before it is cut: characters replaced, spaces collapsed and made a sign.
struct SentencePieceNormalizer: Sendable {
    private let rules: SentencePieceFile.Normalizer
    private let endsWithSpace: Bool
    private let characters: CharacterMap
    /// The user's own pieces, which stay as they are.
    private let kept: PrefixIndex
    /// What a space is written as.
    private let space: [UInt8]

    /// Takes a model's rules; throws `.badData` for a broken table of replacements.
    init(_ file: SentencePieceFile) throws(Fault) {
        rules = file.normalizer
        endsWithSpace = file.cutting.endsWithSpace
        characters = try CharacterMap(rules.charactersMap, file: file.file)
        kept = PrefixIndex(file.pieces) { $0 == .userDefined }
        space = rules.escapesSpaces ? Array("\u{2581}".utf8) : [SentencePieceNormalizer.plainSpace]
    }

    private static let plainSpace = UInt8(ascii: " ")

    /// The normalised text in UTF-8.
    func callAsFunction(_ text: String) -> [UInt8] {
        let source = Array(text.utf8)
        var place = 0
        while rules.removesExtraSpaces, place < source.count {
            let (part, length) = next(in: source, at: place)
            guard part.elementsEqual([SentencePieceNormalizer.plainSpace]) else { break }
            place += length
        }
        guard place < source.count else { return [] }
        var result: [UInt8] = []
        result.reserveCapacity(source.count + space.count)
        if rules.addsSpace, !endsWithSpace { result += space }
        var isBehindSpace = rules.removesExtraSpaces
        while place < source.count {
            var (part, length) = next(in: source, at: place)
            place += length
            if isBehindSpace { part = part.drop { $0 == SentencePieceNormalizer.plainSpace } }
            for byte in part {
                if byte == SentencePieceNormalizer.plainSpace { result += space } else { result.append(byte) }
            }
            if let last = part.last {
                isBehindSpace = rules.removesExtraSpaces && last == SentencePieceNormalizer.plainSpace
            }
        }
        while rules.removesExtraSpaces, result.suffix(space.count).elementsEqual(space) {
            result.removeLast(space.count)
        }
        if rules.addsSpace, endsWithSpace { result += space }
        // A table may replace characters by parts of others.
        return Array(String(decoding: result, as: UTF8.self).utf8)
    }

    /// What becomes of the next bytes, and how many these are.
    private func next(in source: [UInt8], at place: Int) -> (part: ArraySlice<UInt8>, length: Int) {
        let whole = kept.longestMatch(in: source, at: place)?.length
        if whole == nil, let (length, part) = characters.longestMatch(in: source, at: place) { return (part, length) }
        let length = whole ?? source.characterLength(at: place)
        return (source[place..<place + length], length)
    }
}
