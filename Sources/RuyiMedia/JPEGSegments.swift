/// The segments in front of a JPEG's data that say how its samples are meant; nothing is decoded.
struct JPEGSegments {
    private var exif: ArraySlice<UInt8>?
    private var xmp: ArraySlice<UInt8>?
    /// The parts of the ICC profile by their numbers, and how many there are to be.
    private var profile: [Int: ArraySlice<UInt8>] = [:]
    private var profileParts = 0

    private static let exifMark = Array("Exif\0\0".utf8)
    private static let xmpMark = Array("http://ns.adobe.com/xap/1.0/\0".utf8)
    private static let profileMark = Array("ICC_PROFILE\0".utf8)

    /// Looks at the segments up to the data or the last whole one.
    init(_ bytes: [UInt8]) {
        var at = 2
        while at + 4 <= bytes.count, bytes[at] == 0xFF {
            let marker = bytes[at + 1]
            if marker == 0xFF {
                at += 1
                continue
            }
            guard marker != 0xDA, marker != 0xD9 else { return }
            let end = at + 2 + Int(bytes[at + 2]) << 8 + Int(bytes[at + 3])
            guard end <= bytes.count, end >= at + 4 else { return }
            take(marker, bytes[(at + 4)..<end])
            at = end
        }
    }

    private mutating func take(_ marker: UInt8, _ content: ArraySlice<UInt8>) {
        func after(_ mark: [UInt8]) -> ArraySlice<UInt8>? {
            content.starts(with: mark) ? content.dropFirst(mark.count) : nil
        }
        if marker == 0xE1 {
            exif = exif ?? after(JPEGSegments.exifMark)
            xmp = xmp ?? after(JPEGSegments.xmpMark)
        }
        if marker == 0xE2, let part = after(JPEGSegments.profileMark), part.count > 2 {
            profile[Int(part[part.startIndex])] = part.dropFirst(2)
            profileParts = Int(part[part.startIndex + 1])
        }
    }

    /// The orientation in EXIF, or where that says nothing in XMP.
    var orientation: Int { exif.flatMap(Orientation.exif) ?? xmp.flatMap(Orientation.xmp) ?? 1 }

    /// The ICC profile.
    var colors: PictureColors {
        guard profileParts > 0 else { return .standard }
        let parts = (1...profileParts).map { profile[$0] }
        return .profile(parts.contains { $0 == nil } ? [] : parts.flatMap { $0 ?? [] })
    }
}
