import CJPEG
import CPNG
import RuyiFault
import RuyiPicture

/// Reads PNG and JPEG pictures as 8-bit RGB.
///
/// The first bytes decide what a file is, not its name. The conversion is that of Pillow's `convert("RGB")`: alpha is
/// dropped and not blended, palettes and grey are expanded, 16-bit grey saturates at 255, other 16-bit samples keep
/// their high byte, gamma and colour profiles are ignored. A picture that is damaged or cut short is a fault.
public enum PictureReader {
    /// The kinds of picture that can be read.
    public enum Format: String, Sendable {
        /// Portable Network Graphics.
        case png = "PNG"
        /// JPEG, baseline or progressive.
        case jpeg = "JPEG"
    }

    /// The number of pixels that a picture may have unless the caller says otherwise.
    public static let defaultMaxPixels = 100_000_000

    /// The number of pixels that a side of a picture may have.
    public static let sideLimit = 65_535

    /// Bytes that hold the header of nearly every picture.
    private static let headerBytes = 1 << 18

    /// The size in the picture's header; nothing is decoded.
    ///
    /// Throws for a picture that is too large to be read.
    public static func size(
        _ path: String, maxPixels: Int = defaultMaxPixels
    ) throws(Fault) -> (width: Int, height: Int) {
        try InputFile.with(path) { (file) throws(Fault) in
            let start = try file.prefix(headerBytes)
            if start.count < file.size, case .short = try header(start, at: path) {
                return try size(of: try file.bytes(), name: path, maxPixels: maxPixels)
            }
            return try size(of: start, name: path, maxPixels: maxPixels)
        }
    }

    /// The size in the header of a picture in memory; `name` is what a fault calls it.
    public static func size(
        of bytes: [UInt8], name: String, maxPixels: Int = defaultMaxPixels
    ) throws(Fault) -> (width: Int, height: Int) {
        switch try header(bytes, at: name) {
        case .size(_, let width, let height):
            try check(width, height, maxPixels, at: name)
            return (width, height)
        case .short: throw cutShort(at: name)
        }
    }

    /// Decodes a file.
    ///
    /// The pixel budget is checked against the header before memory is taken. With `upright`, a JPEG's or PNG's
    /// orientation tag is applied; without, pixels are as stored.
    public static func read(
        _ path: String, maxPixels: Int = defaultMaxPixels, upright: Bool = false
    ) throws(Fault) -> Picture {
        try InputFile.with(path) { (file) throws(Fault) in
            // A file that is no picture, or too large a one, is refused before all of it is read.
            let start = try file.prefix(headerBytes)
            if case .size(_, let width, let height) = try header(start, at: path) {
                try check(width, height, maxPixels, at: path)
            }
            let whole = start.count == file.size ? start : try file.bytes()
            return try read(bytes: whole, name: path, maxPixels: maxPixels, upright: upright)
        }
    }

    /// Decodes a picture in memory; `name` is what a fault calls it.
    public static func read(
        bytes: [UInt8], name: String, maxPixels: Int = defaultMaxPixels, upright: Bool = false
    ) throws(Fault) -> Picture {
        guard case .size(let format, let width, let height) = try header(bytes, at: name) else {
            throw cutShort(at: name)
        }
        try check(width, height, maxPixels, at: name)
        var message = MessageBuffer()
        var status: Int32 = 0
        let pixels = [UInt8](unsafeUninitializedCapacity: width * height * 3) { rgb, count in
            status = bytes.withUnsafeBufferPointer { data in
                message.fill { text, room in
                    let decode = format == .png ? ruyi_png_decode : ruyi_jpeg_decode
                    return decode(
                        data.baseAddress, data.count, rgb.baseAddress, UInt32(width), UInt32(height), text, room)
                }
            }
            // A decoder that succeeds has written every sample.
            count = status == 0 ? width * height * 3 : 0
        }
        guard status == 0 else { throw fault(status, format, message.text, at: name) }
        let picture = Picture(width: width, height: height, pixels: pixels)
        return upright ? picture.oriented(Orientation.find(in: bytes, format)) : picture
    }

    /// What the bytes are, if they begin like a picture that can be read.
    public static func format(of bytes: [UInt8]) -> Format? {
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) { return .jpeg }
        return nil
    }

    private enum Header {
        case size(Format, Int, Int)
        case short
    }

    private static func header(_ bytes: [UInt8], at name: String) throws(Fault) -> Header {
        guard !bytes.isEmpty else { throw Fault(.badData, "the picture is empty", at: name) }
        guard let format = format(of: bytes) else {
            throw Fault(
                .badData, "the file is not a PNG or JPEG picture\(guess(bytes))", at: name,
                hint: "convert it to PNG or JPEG first")
        }
        var message = MessageBuffer()
        var width: UInt32 = 0
        var height: UInt32 = 0
        let status = bytes.withUnsafeBufferPointer { data in
            message.fill { text, room in
                switch format {
                case .png: ruyi_png_size(data.baseAddress, data.count, &width, &height, text, room)
                case .jpeg: ruyi_jpeg_size(data.baseAddress, data.count, &width, &height, text, room)
                }
            }
        }
        if status == Int32(RUYI_PNG_SHORT) { return .short }
        guard status == 0 else { throw fault(status, format, message.text, at: name) }
        guard width > 0, height > 0 else {
            throw Fault(.badData, "the \(format.rawValue) picture has no pixels", at: name)
        }
        return .size(format, Int(width), Int(height))
    }

    private static func check(_ width: Int, _ height: Int, _ maxPixels: Int, at name: String) throws(Fault) {
        guard max(width, height) <= sideLimit else {
            throw Fault(
                .badData, "the picture claims \(width)x\(height) pixels; a side may have \(sideLimit) at most",
                at: name,
                hint: "scale it down first")
        }
        guard width * height <= maxPixels else {
            throw Fault(
                .badData, "the picture claims \(width)x\(height) pixels, more than the limit of \(maxPixels)", at: name,
                hint: "scale it down first, or raise --max-pixels")
        }
    }

    private static func cutShort(at name: String) -> Fault { Fault(.badData, "the picture ends early", at: name) }

    private static func fault(_ status: Int32, _ format: Format, _ text: String, at name: String) -> Fault {
        switch status {
        case Int32(RUYI_PNG_SHORT): cutShort(at: name)
        case Int32(RUYI_PNG_MEMORY):
            Fault(.resources, "not enough memory for the \(format.rawValue) picture: \(text)", at: name)
        default:
            Fault(
                .badData, "the \(format.rawValue) picture is damaged: \(text)", at: name,
                hint: "save it again from a program that opens it")
        }
    }

    /// A few words on what a file seems to be instead.
    private static func guess(_ bytes: [UInt8]) -> String {
        let known: [(String, Int, String)] = [
            ("GIF8", 0, "GIF"), ("WEBP", 8, "WebP"), ("BM", 0, "BMP"), ("II*\0", 0, "TIFF"), ("MM\0*", 0, "TIFF"),
            ("ftyp", 4, "HEIF, AVIF or video"), ("<svg", 0, "SVG"), ("%PDF", 0, "PDF"), ("8BPS", 0, "Photoshop"),
        ]
        let found = known.first { mark, offset, _ in bytes.dropFirst(offset).starts(with: mark.utf8) }
        return found.map { " (it looks like \($0.2))" } ?? ""
    }
}

/// Room for the line of text that a C function leaves.
struct MessageBuffer {
    private var storage = [CChar](repeating: 0, count: 256)

    /// Calls `body` with the room.
    mutating func fill<Result>(_ body: (UnsafeMutablePointer<CChar>?, Int) -> Result) -> Result {
        storage.withUnsafeMutableBufferPointer { body($0.baseAddress, $0.count) }
    }

    /// The text up to its end.
    var text: String { String(decoding: storage.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) }
}
