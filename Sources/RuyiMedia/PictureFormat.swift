/// The kinds of picture file that can be read.
public enum PictureFormat: String, Sendable, CaseIterable {
    /// Portable Network Graphics.
    case png = "PNG"
    /// JPEG, baseline or progressive.
    case jpeg = "JPEG"
    /// WebP, lossy or lossless; of an animation the first frame.
    case webp = "WebP"
    /// HEIF: the HEIC files of telephones, and AVIF.
    case heif = "HEIF"
    /// JPEG XL.
    case jxl = "JPEG XL"
    /// TIFF; the first page.
    case tiff = "TIFF"
    /// Windows bitmaps.
    case bmp = "BMP"
    /// GIF; the first frame.
    case gif = "GIF"

    /// The first bytes of a file that `init` looks at.
    public static let startBytes = 64

    /// The kind of file that begins with these bytes; nil where it is none that can be read.
    public init?(_ start: some Collection<UInt8>) {
        let start = [UInt8](start.prefix(PictureFormat.startBytes))
        func has(_ mark: String, at offset: Int = 0) -> Bool { start.dropFirst(offset).starts(with: mark.utf8) }
        if start.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
            self = .png
        } else if start.starts(with: [0xFF, 0xD8, 0xFF]) {
            self = .jpeg
        } else if has("RIFF"), has("WEBP", at: 8) {
            self = .webp
        } else if has("ftyp", at: 4), PictureFormat.brands.contains(String(decoding: start[8..<min(12, start.count)], as: UTF8.self)) {
            self = .heif
        } else if start.starts(with: [0xFF, 0x0A]) || start.starts(with: [0, 0, 0, 12, 0x4A, 0x58, 0x4C, 0x20, 13, 10, 0x87, 10]) {
            self = .jxl
        } else if has("II*\0") || has("MM\0*") || has("II+\0") || has("MM\0+") {
            self = .tiff
        } else if has("GIF87a") || has("GIF89a") {
            self = .gif
        } else if has("BM"), start.count >= 18, BMPHeader.sizes.contains(Int(start[14]) | Int(start[15]) << 8), start[16] == 0, start[17] == 0 {
            self = .bmp
        } else {
            return nil
        }
    }

    /// The major brands of ISO media files that hold a picture.
    private static let brands: Set<String> = [
        "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1", "avif", "avis",
    ]

    /// A few words on what a file that is no such picture seems to be instead; empty where that is not known.
    static func guess(_ bytes: [UInt8]) -> String {
        let known: [(String, Int, String)] = [
            ("ftyp", 4, "a video"), ("<svg", 0, "SVG"), ("%PDF", 0, "PDF"), ("8BPS", 0, "Photoshop"),
            ("#?RADIANCE", 0, "Radiance HDR"), ("v/1\u{1}", 0, "OpenEXR"), ("<!DOCTYPE", 0, "a web page"),
            ("<html", 0, "a web page"),
        ]
        let found = known.first { mark, offset, _ in bytes.dropFirst(offset).starts(with: mark.utf8) }
        return found.map { " (it looks like \($0.2))" } ?? ""
    }
}
