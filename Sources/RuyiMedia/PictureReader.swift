import RuyiFault
import RuyiPicture

/// Reads pictures as 8-bit RGB.
///
/// The first bytes decide what a file is, not its name. Palettes and grey are expanded, samples of more than 8 bits keep
/// their upper ones. What the file says beside its samples is applied as `PictureOptions` say: first colours are converted
/// to sRGB, then a transparent picture is laid on the background, then it is turned upright. A picture that is damaged, or
/// that lacks rows, is a fault.
public enum PictureReader {
    /// The number of pixels that a picture may have unless the caller says otherwise.
    public static let defaultMaxPixels = 100_000_000

    /// The number of pixels that a side of a picture may have.
    public static let sideLimit = 65_535

    /// Bytes that hold everything in front of nearly every JPEG's data.
    private static let headerBytes = 1 << 18

    /// What a file is, from its header; nothing is decoded.
    ///
    /// Throws for a picture that is too large to be read.
    public static func facts(
        _ path: String, _ options: PictureOptions = PictureOptions()
    ) throws(Fault) -> PictureFacts {
        try InputFile.with(path) { (file) throws(Fault) in
            let start = try file.prefix(headerBytes)
            let format = try format(start, at: path)
            // In other formats what changes a picture may stand at the end of the file.
            if format == .jpeg, start.count < file.size, let header = try? format.decoder.header(start, options) {
                return try facts(header, options, at: path)
            }
            return try facts(of: start.count == file.size ? start : try file.bytes(), name: path, options)
        }
    }

    /// What a picture in memory is; `name` is what a fault calls it.
    public static func facts(
        of bytes: [UInt8], name: String, _ options: PictureOptions = PictureOptions()
    ) throws(Fault) -> PictureFacts {
        try facts(try header(bytes, options, at: name), options, at: name)
    }

    /// Decodes a file; `warn` gets what a person should know although the picture could be read.
    ///
    /// The pixel budget is checked against the header before memory is taken.
    public static func read(
        _ path: String, _ options: PictureOptions = PictureOptions(), warn: (String) -> Void = { _ in }
    ) throws(Fault) -> Picture {
        let bytes = try InputFile.with(path) { (file) throws(Fault) in
            // A file that is no picture is refused before all of it is read.
            let start = try file.prefix(headerBytes)
            _ = try format(start, at: path)
            return start.count == file.size ? start : try file.bytes()
        }
        return try read(bytes: bytes, name: path, options, warn: warn)
    }

    /// Decodes a picture in memory; `name` is what a fault calls it.
    public static func read(
        bytes: [UInt8], name: String, _ options: PictureOptions = PictureOptions(), warn: (String) -> Void = { _ in }
    ) throws(Fault) -> Picture {
        let header = try header(bytes, options, at: name)
        try check(header.width, header.height, options.maxPixels, at: name)
        var problem: PictureProblem?
        let size = header.width * header.height * header.samples.count
        let samples = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            guard let place = buffer.baseAddress else { return }
            do throws(PictureProblem) {
                if let warning = try header.format.decoder.decode(bytes, header, options, into: place) { warn(warning) }
                // A decoder that succeeds has written every sample.
                count = size
            } catch {
                problem = error
            }
        }
        if let problem { throw problem.fault(header.format, at: name) }
        let picture = header.picture(of: samples, options)
        return options.orientation == .apply ? picture.oriented(header.orientation) : picture
    }

    /// What the bytes are.
    private static func format(_ bytes: [UInt8], at name: String) throws(Fault) -> PictureFormat {
        guard !bytes.isEmpty else { throw Fault(.badData, "the picture is empty", at: name) }
        guard let format = PictureFormat(bytes) else {
            throw Fault(
                .badData, "the file is no picture that can be read\(PictureFormat.guess(bytes))", at: name,
                hint: "known are " + PictureFormat.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return format
    }

    private static func header(
        _ bytes: [UInt8], _ options: PictureOptions, at name: String
    ) throws(Fault) -> PictureHeader {
        let format = try format(bytes, at: name)
        let header: PictureHeader
        do throws(PictureProblem) {
            header = try format.decoder.header(bytes, options)
        } catch {
            throw error.fault(format, at: name)
        }
        guard header.width > 0, header.height > 0 else {
            throw Fault(.badData, "the \(format.rawValue) picture has no pixels", at: name)
        }
        return header
    }

    private static func facts(
        _ header: PictureHeader, _ options: PictureOptions, at name: String
    ) throws(Fault) -> PictureFacts {
        try check(header.width, header.height, options.maxPixels, at: name)
        let isTurned = options.orientation == .apply && header.orientation >= 5
        let conversion = options.color == .convert ? header.colors.conversion(of: header.samples) : nil
        return PictureFacts(
            format: header.format, width: isTurned ? header.height : header.width,
            height: isTurned ? header.width : header.height, pictures: header.pictures,
            notes: header.notes(options, conversion: conversion))
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
}

extension PictureHeader {
    /// The picture that decoded samples show: in sRGB, and without alpha.
    fileprivate func picture(of samples: [UInt8], _ options: PictureOptions) -> Picture {
        let described = options.color == .convert ? colors.conversion(of: self.samples) : nil
        let conversion = described.flatMap { $0.isNeeded ? $0 : nil }
        var samples = samples
        if isPremultiplied { Samples8.unmultiply(&samples) }
        switch self.samples {
        case .rgb, .rgba: conversion?.convert(&samples, pixels: width * height)
        case .inks:
            samples = conversion?.colors(ofInks: samples, pixels: width * height) ?? Samples8.plain(inks: samples)
        }
        if self.samples == .rgba {
            samples =
                hasAlpha && options.alpha == .blend
                ? Samples8.blended(samples, on: options.background) : Samples8.withoutAlpha(samples)
        }
        return Picture(width: width, height: height, pixels: samples)
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
