/// The kinds of picture file that can be read.
public enum PictureFormat: String, Sendable, CaseIterable {
    /// Portable Network Graphics.
    case png = "PNG"
    /// JPEG, baseline or progressive.
    case jpeg = "JPEG"
    /// WebP, lossy or lossless; of an animation the first frame.
    case webp = "WebP"
    /// AVIF; of a sequence the first picture.
    case avif = "AVIF"
    /// HEIF, such as the HEIC files of telephones.
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
        } else if has("ftyp", at: 4), let brands = PictureFormat.brands(start) {
            self = brands.isDisjoint(with: ["avif", "avis"]) ? .heif : .avif
        } else if start.starts(with: [0xFF, 0x0A]) || start.starts(with: [0, 0, 0, 12] + "JXL \r\n".utf8 + [0x87, 10]) {
            self = .jxl
        } else if has("II*\0") || has("MM\0*") || has("II+\0") || has("MM\0+") {
            self = .tiff
        } else if has("GIF87a") || has("GIF89a") {
            self = .gif
        } else if has("BM"), start.count >= 18, BMPHeader.sizes.contains(Int(start[14])), start[15...17] == [0, 0, 0] {
            self = .bmp
        } else {
            return nil
        }
    }

    /// The brands of an ISO media file, the major one and those that it is compatible with as far as `start` goes; nil
    /// where the major one is not a picture's.
    private static func brands(_ start: [UInt8]) -> Set<String>? {
        let length = start.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        let names = stride(from: 8, to: min(start.count, length) - 3, by: 4).map {
            String(decoding: start[$0..<($0 + 4)], as: UTF8.self)
        }
        let pictures: Set = ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1", "avif", "avis"]
        return names.first.map(pictures.contains) == true ? Set(names) : nil
    }

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
