import CPNG

/// The chunks of a PNG file that say how its samples are meant; nothing is decoded.
struct PNGChunks {
    /// Larger contents are passed over.
    private static let limit = 16 << 20

    private let bytes: [UInt8]
    /// Where the content of the first chunk of each kind lies.
    private var places: [String: Range<Int>] = [:]
    /// The contents of chunks with text.
    private var texts: [(kind: String, place: Range<Int>)] = []

    /// Looks for the chunks up to the end of the file or of its last whole chunk.
    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var at = 8
        while at + 12 <= bytes.count {
            let length = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - at - 12 else { return }
            let kind = String(decoding: bytes[(at + 4)..<(at + 8)], as: UTF8.self)
            let place = (at + 8)..<(at + 8 + length)
            if ["tEXt", "zTXt", "iTXt"].contains(kind) { texts.append((kind, place)) }
            if places[kind] == nil { places[kind] = place }
            at += 12 + length
        }
    }

    /// The content of the first chunk of a kind; nil where there is none.
    subscript(kind: String) -> ArraySlice<UInt8>? { places[kind].map { bytes[$0] } }

    /// Whether pixels may be transparent.
    var hasAlpha: Bool {
        guard let header = self["IHDR"], header.count == 13 else { return false }
        return header[header.startIndex + 9] & 4 != 0 || places["tRNS"] != nil
    }

    /// What is said of colours, the first of cICP, iCCP, sRGB, and cHRM with gAMA.
    var colors: PictureColors {
        if let points = self["cICP"], points.count == 4, points[points.startIndex + 2] == 0 {
            return .points(primaries: Int(points[points.startIndex]), transfer: Int(points[points.startIndex + 1]))
        }
        if let chunk = self["iCCP"], let end = chunk.firstIndex(of: 0), chunk[(end + 1)...].first == 0 {
            return .profile(inflated(chunk[(end + 2)...]) ?? [])
        }
        if places["sRGB"] != nil { return .standard }
        return primaries
    }

    /// cHRM and gAMA, where they are not those of sRGB.
    private var primaries: PictureColors {
        func numbers(_ kind: String, _ count: Int) -> [Double]? {
            guard let chunk = self[kind], chunk.count == 4 * count else { return nil }
            return (0..<count).map { index in
                let start = chunk.startIndex + 4 * index
                return Double(chunk[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }) / 100_000
            }
        }
        let standard = PictureColors.standardPrimaries
        // Exponents of sRGB's approximation by a power are that curve as everybody writes it.
        let gamma = numbers("gAMA", 1)?.first.flatMap { $0 > 0 && abs($0 - 1 / 2.2) > 0.001 ? 1 / $0 : nil }
        let chromaticities = numbers("cHRM", 8).flatMap { $0.allSatisfy { (0.0001...1).contains($0) } ? $0 : nil }
        let isStandard = zip(chromaticities ?? standard, standard).allSatisfy { abs($0 - $1) < 0.002 }
        guard gamma != nil || !isStandard else { return .standard }
        return .primaries(isStandard ? standard : chromaticities ?? standard, gamma: gamma)
    }

    /// The orientation in eXIf, in ImageMagick's text of a raw profile, or in XMP.
    var orientation: Int {
        if let found = self["eXIf"].flatMap(Orientation.exif) { return found }
        for name in ["Raw profile type exif", "Raw profile type APP1"] {
            if let found = text(name).flatMap(PNGChunks.rawProfile).flatMap({ Orientation.exif($0[...]) }) {
                return found
            }
        }
        return text("XML:com.adobe.xmp").flatMap { Orientation.xmp($0[...]) } ?? 1
    }

    /// The bytes of a text with this keyword, unpacked.
    private func text(_ key: String) -> [UInt8]? {
        for (kind, place) in texts {
            let content = bytes[place]
            guard content.starts(with: key.utf8), let end = content.firstIndex(of: 0),
                end == content.startIndex + key.utf8.count
            else { continue }
            let rest = content[(end + 1)...]
            switch kind {
            case "tEXt": return Array(rest)
            case "zTXt": return rest.first == 0 ? inflated(rest.dropFirst()) : nil
            default:
                // Two bytes on compression, a language and a translated keyword come before the text.
                let parts = rest.dropFirst(2).split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
                guard rest.count >= 2, parts.count == 3 else { return nil }
                return rest.first == 1 ? inflated(parts[2]) : Array(parts[2])
            }
        }
        return nil
    }

    /// The bytes that a text in the form of ImageMagick stands for: a name, a number of bytes, and hexadecimal digits.
    private static func rawProfile(_ text: [UInt8]) -> [UInt8]? {
        let lines = text.split(separator: 10, maxSplits: 2)
        guard lines.count == 3 else { return nil }
        let digits = lines[2].compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// The content of a zlib stream of a reasonable size.
    private func inflated(_ packed: ArraySlice<UInt8>) -> [UInt8]? {
        // The format packs a thousand to one at most.
        let room = min(PNGChunks.limit, packed.count * 1032 + 64)
        var isWhole = false
        let content = [UInt8](unsafeUninitializedCapacity: room) { target, count in
            isWhole = packed.withUnsafeBufferPointer { data in
                ruyi_png_inflate(data.baseAddress, data.count, target.baseAddress, target.count, &count)
                    == Int32(RUYI_PNG_OK)
            }
        }
        return isWhole ? content : nil
    }
}
