import CJPEG
import CLibAV
import CPNG
import CPictures
import RuyiFault

/// A format's way from bytes to samples.
protocol PictureDecoder {
    /// What the header says; no sample is decoded.
    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader
    /// Fills `samples`, as many bytes as the header's size and samples come to.
    ///
    /// - Returns: what a person should know although the picture could be read.
    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String?
}

extension PictureFormat {
    /// The format's decoder.
    var decoder: any PictureDecoder.Type {
        switch self {
        case .png: PNGDecoder.self
        case .jpeg: JPEGDecoder.self
        case .webp: WebPDecoder.self
        case .avif: AVIFDecoder.self
        case .heif: HEIFDecoder.self
        case .jxl: JXLDecoder.self
        case .tiff: TIFFDecoder.self
        case .bmp: BMPDecoder.self
        case .gif: GIFDecoder.self
        }
    }
}

/// Why bytes are not decoded.
struct PictureProblem: Error {
    enum Kind { case damaged, short, memory, unavailable }

    let kind: Kind
    let text: String

    /// A problem with what a library says of it.
    init(_ kind: Kind, _ text: String) { (self.kind, self.text) = (kind, text) }

    /// The bytes end early.
    static let short = PictureProblem(.short, "the file ends early")

    /// The problem as a fault of a file.
    func fault(_ format: PictureFormat, at name: String) -> Fault {
        switch kind {
        case .short:
            Fault(
                .badData, "the picture ends early", at: name,
                hint: "rows are missing: copy or download the file again")
        case .memory: Fault(.resources, "not enough memory for the \(format.rawValue) picture: \(text)", at: name)
        case .unavailable:
            Fault(
                .unavailable, "the \(format.rawValue) picture cannot be read here: \(text)", at: name,
                hint: "convert it to PNG first, with heif-convert, avifdec or convert")
        case .damaged:
            Fault(
                .badData, "the \(format.rawValue) picture is damaged: \(text)", at: name,
                hint: "save it again from a program that opens it")
        }
    }
}

/// Calls a function of C that leaves a line of text when it fails, and throws by its status.
private func call(
    _ kinds: [Int32: PictureProblem.Kind], _ body: (UnsafeMutablePointer<CChar>?, Int) -> Int32
) throws(PictureProblem) {
    var message = MessageBuffer()
    let status = message.fill(body)
    if status != 0 { throw PictureProblem(kinds[status] ?? .damaged, message.text) }
}

/// PNG through libpng.
enum PNGDecoder: PictureDecoder {
    private static let kinds: [Int32: PictureProblem.Kind] = [
        Int32(RUYI_PNG_SHORT): .short, Int32(RUYI_PNG_MEMORY): .memory,
    ]

    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        var (width, height) = (UInt32(0), UInt32(0))
        try call(kinds) { text, room in ruyi_png_size(bytes, bytes.count, &width, &height, text, room) }
        let chunks = PNGChunks(bytes)
        var header = PictureHeader(format: .png, width: Int(width), height: Int(height))
        header.samples = chunks.hasAlpha ? .rgba : .rgb
        header.hasAlpha = chunks.hasAlpha
        header.orientation = chunks.orientation
        header.colors = chunks.colors
        return header
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        var lacksEnd: Int32 = 0
        try call(kinds) { text, room in
            ruyi_png_decode(
                bytes, bytes.count, Int32(header.samples.count), samples, UInt32(header.width), UInt32(header.height),
                &lacksEnd, text, room)
        }
        return lacksEnd == 0 ? nil : "the end of the PNG file is missing, behind a whole picture"
    }
}

/// JPEG through libjpeg.
enum JPEGDecoder: PictureDecoder {
    private static let kinds: [Int32: PictureProblem.Kind] = [
        Int32(RUYI_JPEG_SHORT): .short, Int32(RUYI_JPEG_MEMORY): .memory,
    ]

    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        var (width, height, components) = (UInt32(0), UInt32(0), Int32(0))
        try call(kinds) { text, room in
            ruyi_jpeg_size(bytes, bytes.count, &width, &height, &components, text, room)
        }
        let segments = JPEGSegments(bytes)
        var header = PictureHeader(format: .jpeg, width: Int(width), height: Int(height))
        header.samples = components == 4 ? .inks : .rgb
        header.orientation = segments.orientation
        header.colors = segments.colors
        return header
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        var lacksEnd: Int32 = 0
        try call(kinds) { text, room in
            ruyi_jpeg_decode(
                bytes, bytes.count, samples, UInt32(header.width), UInt32(header.height), &lacksEnd, text, room)
        }
        return lacksEnd == 0 ? nil : "the end marker of the JPEG file is missing, behind a whole picture"
    }
}

/// What the functions of CPictures share.
private enum Library {
    private static let kinds: [Int32: PictureProblem.Kind] = [
        Int32(RUYI_PICTURE_SHORT): .short, Int32(RUYI_PICTURE_MEMORY): .memory,
        Int32(RUYI_PICTURE_UNAVAILABLE): .unavailable,
    ]

    /// The header that a function's facts come to.
    static func header(
        _ format: PictureFormat,
        _ look: (UnsafeMutablePointer<ruyi_picture_facts>, UnsafeMutablePointer<CChar>?, Int) -> Int32
    ) throws(PictureProblem) -> PictureHeader {
        var facts = ruyi_picture_facts()
        defer { ruyi_picture_facts_clear(&facts) }
        try call(kinds) { text, room in look(&facts, text, room) }
        var header = PictureHeader(format: format, width: Int(facts.width), height: Int(facts.height))
        header.samples = facts.has_inks != 0 ? .inks : facts.channels == 4 ? .rgba : .rgb
        header.hasAlpha = header.samples == .rgba
        header.isPremultiplied = facts.is_premultiplied != 0
        header.orientation = Int(facts.orientation)
        header.pictures = Int(facts.pictures)
        header.colors = .points(primaries: Int(facts.primaries), transfer: Int(facts.transfer))
        if let profile = facts.profile {
            header.colors = .profile([UInt8](UnsafeBufferPointer(start: profile, count: facts.profile_length)))
        }
        return header
    }

    /// Decodes with a function that is given the header's facts.
    static func decode(
        _ header: PictureHeader,
        _ run: (UnsafePointer<ruyi_picture_facts>, UnsafeMutablePointer<CChar>?, Int) -> Int32
    ) throws(PictureProblem) {
        var facts = ruyi_picture_facts()
        (facts.width, facts.height) = (UInt32(header.width), UInt32(header.height))
        (facts.channels, facts.has_inks) = (Int32(header.samples.count), header.samples == .inks ? 1 : 0)
        try call(kinds) { text, room in run(&facts, text, room) }
    }
}

/// A decoder of which nothing but two functions of CPictures is its own.
protocol LibraryDecoder: PictureDecoder {
    typealias Functions = (
        facts: (
            UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<ruyi_picture_facts>?, UnsafeMutablePointer<CChar>?, Int
        ) -> Int32,
        decode: (
            UnsafePointer<UInt8>?, Int, UnsafePointer<ruyi_picture_facts>?, UnsafeMutablePointer<UInt8>?,
            UnsafeMutablePointer<CChar>?, Int
        ) -> Int32
    )

    static var format: PictureFormat { get }
    /// Those that look at a picture and decode it.
    static var functions: Functions { get }
}

extension LibraryDecoder {
    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        try Library.header(format) { functions.facts(bytes, bytes.count, $0, $1, $2) }
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        try Library.decode(header) { functions.decode(bytes, bytes.count, $0, samples, $1, $2) }
        return nil
    }
}

/// WebP through libwebp.
enum WebPDecoder: PictureDecoder {
    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        var header = try Library.header(.webp) { ruyi_webp_facts(bytes, bytes.count, $0, $1, $2) }
        header.orientation =
            WebPFile.chunk("EXIF", of: bytes).flatMap(Orientation.exif)
            ?? WebPFile.chunk("XMP ", of: bytes).flatMap(Orientation.xmp) ?? 1
        return header
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        try Library.decode(header) { ruyi_webp_decode(bytes, bytes.count, $0, samples, $1, $2) }
        return nil
    }
}

/// AVIF through libavif.
enum AVIFDecoder: LibraryDecoder {
    static let format = PictureFormat.avif
    static var functions: Functions { (ruyi_avif_facts, ruyi_avif_decode) }
}

/// HEIF through libheif, which turns pictures itself.
enum HEIFDecoder: PictureDecoder {
    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        guard ISOBoxes.areReferencesBounded(bytes) else {
            throw PictureProblem(.damaged, "its pictures are made of one another without end")
        }
        let isAsStored: Int32 = options.orientation == .ignore ? 1 : 0
        var header = try Library.header(.heif) { ruyi_heif_facts(bytes, bytes.count, isAsStored, $0, $1, $2) }
        header.isTurnedByDecoder = isAsStored == 0 && ISOBoxes.turns(bytes)
        return header
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        let isAsStored: Int32 = options.orientation == .ignore ? 1 : 0
        try Library.decode(header) { ruyi_heif_decode(bytes, bytes.count, isAsStored, $0, samples, $1, $2) }
        return nil
    }
}

/// JPEG XL through libjxl.
enum JXLDecoder: LibraryDecoder {
    static let format = PictureFormat.jxl
    static var functions: Functions { (ruyi_jxl_facts, ruyi_jxl_decode) }
}

/// TIFF through libtiff.
enum TIFFDecoder: LibraryDecoder {
    static let format = PictureFormat.tiff
    static var functions: Functions { (ruyi_tiff_facts, ruyi_tiff_decode) }
}

/// Decodes what libav gives with alpha.
private func decodeStill(
    _ bytes: [UInt8], _ header: PictureHeader, isGIF: Bool, into samples: UnsafeMutablePointer<UInt8>
) throws(PictureProblem) {
    try call([Int32(RUYI_AV_MEMORY): .memory]) { text, room in
        ruyi_av_still(
            bytes, bytes.count, isGIF ? 1 : 0, Int32(header.width), Int32(header.height), samples, text, room)
    }
}

/// Windows bitmaps through libav.
enum BMPDecoder: PictureDecoder {
    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        guard let found = BMPHeader(bytes) else { throw .short }
        var header = PictureHeader(format: .bmp, width: found.width, height: found.height)
        header.samples = .rgba
        header.hasAlpha = found.hasAlpha
        header.colors = found.profile.map(PictureColors.profile) ?? .standard
        return header
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        try decodeStill(bytes, header, isGIF: false, into: samples)
        return nil
    }
}

/// The first frame of a GIF through libav.
enum GIFDecoder: PictureDecoder {
    static func header(_ bytes: [UInt8], _ options: PictureOptions) throws(PictureProblem) -> PictureHeader {
        guard let found = GIFHeader(bytes) else { throw .short }
        var header = PictureHeader(format: .gif, width: found.width, height: found.height)
        header.samples = .rgba
        header.hasAlpha = found.hasAlpha
        header.pictures = found.frames
        return header
    }

    static func decode(
        _ bytes: [UInt8], _ header: PictureHeader, _ options: PictureOptions, into samples: UnsafeMutablePointer<UInt8>
    ) throws(PictureProblem) -> String? {
        try decodeStill(bytes, header, isGIF: true, into: samples)
        return nil
    }
}
