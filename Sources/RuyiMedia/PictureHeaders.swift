/// The header of a Windows bitmap.
struct BMPHeader {
    /// The lengths of the headers behind the file's own, which tell their versions apart.
    static let sizes: Set<Int> = [12, 16, 40, 52, 56, 64, 108, 124]

    let width: Int
    let height: Int
    /// Whether the samples have alpha; without a mask for it the fourth byte of a pixel means nothing.
    let hasAlpha: Bool
    /// The ICC profile.
    let profile: [UInt8]?

    /// Reads a header; nil where the bytes end before it does.
    init?(_ bytes: [UInt8]) {
        func number(_ at: Int, _ count: Int = 4) -> Int {
            (0..<count).reversed().reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
        }
        guard bytes.count >= 26 else { return nil }
        let size = number(14)
        guard bytes.count >= 14 + size, BMPHeader.sizes.contains(size) else { return nil }
        if size == 12 {
            (width, height, hasAlpha, profile) = (number(18, 2), number(20, 2), false, nil)
            return
        }
        width = number(18)
        // Rows from the top have a negative number.
        height = abs(Int(Int32(truncatingIfNeeded: number(22))))
        // Compressions 3 and 6 give masks, the fourth of them for alpha.
        let hasMasks = size >= 56 && [3, 6].contains(number(30))
        hasAlpha = hasMasks && number(66) != 0
        guard size == 124, number(70) == 0x4D42_4544 else {
            profile = nil
            return
        }
        let (start, length) = (14 + number(126), number(130))
        profile = start <= bytes.count && length <= bytes.count - start ? Array(bytes[start..<(start + length)]) : []
    }
}

/// The header of a GIF and its blocks.
struct GIFHeader {
    let width: Int
    let height: Int
    private(set) var frames = 0
    /// Whether pixels of the first frame may be transparent.
    private(set) var hasAlpha = false

    /// Walks through the blocks; nil where the bytes end before the first frame.
    init?(_ bytes: [UInt8]) {
        func number(_ at: Int) -> Int { Int(bytes[at]) | Int(bytes[at + 1]) << 8 }
        func table(_ flags: UInt8) -> Int { flags & 0x80 == 0 ? 0 : 3 << (Int(flags & 7) + 1) }
        /// The place behind a chain of blocks, each with its length in front.
        func end(ofBlocksAt place: Int) -> Int {
            var at = place
            while at < bytes.count, bytes[at] != 0 { at += 1 + Int(bytes[at]) }
            return at + 1
        }
        guard bytes.count >= 13 else { return nil }
        (width, height) = (number(6), number(8))
        var at = 13 + table(bytes[10])
        while at + 10 <= bytes.count {
            if bytes[at] == 0x21 {
                if frames == 0, bytes[at + 1] == 0xF9, bytes[at + 3] & 1 == 1 { hasAlpha = true }
                at = end(ofBlocksAt: at + 2)
            } else if bytes[at] == 0x2C {
                frames += 1
                let fills =
                    number(at + 1) == 0 && number(at + 3) == 0 && number(at + 5) >= width && number(at + 7) >= height
                if frames == 1, !fills { hasAlpha = true }
                at = end(ofBlocksAt: at + 11 + table(bytes[at + 9]))
            } else {
                break
            }
        }
        if frames == 0 { return nil }
    }
}

/// The boxes of ISO media files.
enum ISOBoxes {
    /// Whether the properties of a HEIF file's pictures turn or mirror one.
    static func turns(_ bytes: [UInt8]) -> Bool {
        // The meta box has a version in front of those inside.
        guard let meta = find("meta", in: bytes[...]).first?.dropFirst(4),
            let properties = find("iprp", in: meta).first.flatMap({ find("ipco", in: $0).first })
        else { return false }
        return find("irot", in: properties).contains { ($0.first ?? 0) & 3 != 0 }
            || !find("imir", in: properties).isEmpty
    }

    /// Whether a HEIF file's pictures are made of others in a way that comes to an end soon: a grid of tiles, and maybe a
    /// picture derived from it, with alpha.
    ///
    /// libheif follows references without a limit, so that a grid whose tile is the grid itself would never end.
    static func areReferencesBounded(_ bytes: [UInt8]) -> Bool {
        // What a picture is made of: those that it is derived from, and its alpha, which refers to it.
        var parts: [Int: [Int]] = [:]
        for meta in find("meta", in: bytes[...]) {
            for references in find("iref", in: meta.dropFirst(4)) {
                let width = references.first == 0 ? 2 : 4
                for (kind, isReversed) in [("dimg", false), ("auxl", true)] {
                    for box in find(kind, in: references.dropFirst(4)) {
                        func number(_ offset: Int, _ count: Int) -> Int {
                            box.dropFirst(offset).prefix(count).reduce(0) { $0 << 8 | Int($1) }
                        }
                        let from = number(0, width)
                        let count = min(number(width, 2), (box.count - width - 2) / width)
                        for index in 0..<max(0, count) {
                            let to = number(width + 2 + index * width, width)
                            parts[isReversed ? to : from, default: []].append(isReversed ? from : to)
                        }
                    }
                }
            }
        }
        var left = 0
        func isBounded(_ item: Int, depth: Int) -> Bool {
            left -= 1
            guard left >= 0, depth <= 4 else { return false }
            return (parts[item] ?? []).allSatisfy { isBounded($0, depth: depth + 1) }
        }
        return parts.keys.allSatisfy { item in
            left = partLimit
            return isBounded(item, depth: 0)
        }
    }

    /// More parts than the tiles of the largest pictures that are read.
    private static let partLimit = 4096

    /// The contents of the boxes of a kind that lie in some bytes.
    private static func find(_ kind: String, in bytes: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var found: [ArraySlice<UInt8>] = []
        var rest = bytes
        while rest.count >= 8 {
            func number(_ offset: Int, _ count: Int) -> UInt64 {
                rest.dropFirst(offset).prefix(count).reduce(0) { $0 << 8 | UInt64($1) }
            }
            var (size, start) = (number(0, 4), 8)
            if size == 1, rest.count >= 16 { (size, start) = (number(8, 8), 16) }
            if size == 0 { size = UInt64(rest.count) }
            guard size >= UInt64(start), size <= UInt64(rest.count) else { return found }
            if rest.dropFirst(4).starts(with: kind.utf8) { found.append(rest.prefix(Int(size)).dropFirst(start)) }
            rest = rest.dropFirst(Int(size))
        }
        return found
    }
}
