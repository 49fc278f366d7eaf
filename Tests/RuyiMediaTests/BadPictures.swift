import Foundation
import RuyiFault
import RuyiMedia

/// Assembles PNG files piece by piece, so that every piece can be wrong.
struct PNGParts {
    static let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    static let end = chunk("IEND", [])

    static func big(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0 as UInt32) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
    }

    static func chunk(_ name: String, _ data: [UInt8], length: UInt32? = nil) -> [UInt8] {
        let body = [UInt8](name.utf8) + data
        return big(length ?? UInt32(data.count)) + body + big(checksum(body))
    }

    static func header(
        _ width: UInt32, _ height: UInt32, _ depth: UInt8 = 8, _ colour: UInt8 = 2, _ rest: [UInt8] = [0, 0, 0]
    )
        -> [UInt8]
    {
        chunk("IHDR", big(width) + big(height) + [depth, colour] + rest)
    }

    /// A zlib stream that stores its bytes as they are; at most 65,535 of them.
    static func stored(_ bytes: [UInt8]) -> [UInt8] {
        let count = UInt16(bytes.count)
        let sums = bytes.reduce((1 as UInt32, 0 as UInt32)) { sums, byte in
            let first = (sums.0 + UInt32(byte)) % 65_521
            return (first, (sums.1 + first) % 65_521)
        }
        return [0x78, 0x01, 0x01, UInt8(count & 255), UInt8(count >> 8), UInt8(~count & 255), UInt8(~count >> 8)]
            + bytes
            + big(sums.1 << 16 | sums.0)
    }

    /// The image data of a small RGB picture: 4 rows of 4 pixels.
    static let lines: [UInt8] = (0..<4).flatMap { row in [0] + (0..<12).map { UInt8(row * 12 + $0) } }
    static let data = chunk("IDAT", stored(lines))
    static let good = signature + header(4, 4) + data + end
}

/// Pictures that must be refused, each with a name.
struct BadPicture: Sendable {
    let name: String
    let bytes: [UInt8]

    init(_ name: String, _ bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    static func pngs() -> [BadPicture] {
        typealias P = PNGParts
        let start = P.signature + P.header(4, 4)
        let palette = P.chunk("PLTE", [1, 2, 3, 4, 5, 6])
        func changed(_ at: Int, _ value: UInt8) -> [UInt8] {
            var bytes = P.good
            bytes[at < 0 ? bytes.count + at : at] ^= value
            return bytes
        }
        func sized(_ width: UInt32, _ height: UInt32) -> [UInt8] {
            P.signature + P.header(width, height) + P.data + P.end
        }
        func form(_ depth: UInt8, _ colour: UInt8, _ rest: [UInt8] = [0, 0, 0]) -> [UInt8] {
            P.signature + P.header(4, 4, depth, colour, rest) + P.data + P.end
        }
        var list: [BadPicture] = []
        for at in [
            1, 4, 7, 8, 12, 16, 20, 24, 28, 29, 33, 37, 41, 45, 60, 80, 100,
        ] {
            list.append(BadPicture("PNG cut after \(at) bytes", [UInt8](P.good.prefix(at))))
        }
        list += [
            BadPicture("PNG claiming 100000x100000", sized(100_000, 100_000)),
            BadPicture("PNG claiming 2147483647x2147483647", sized(0x7FFF_FFFF, 0x7FFF_FFFF)),
            BadPicture("PNG claiming 4294967295x4294967295", sized(.max, .max)),
            BadPicture("PNG claiming 40000x40000", sized(40_000, 40_000)),
            BadPicture("PNG claiming 70000x1", sized(70_000, 1)),
            BadPicture("PNG claiming more pixels than its data", sized(4, 5)),
            BadPicture("PNG of zero width", sized(0, 4)),
            BadPicture("PNG of zero height", sized(4, 0)),
            BadPicture("PNG with depth 3", form(3, 2)),
            BadPicture("PNG with depth 0", form(0, 2)),
            BadPicture("PNG with colour type 1", form(8, 1)),
            BadPicture("PNG with colour type 5", form(8, 5)),
            BadPicture("PNG with depth 4 in RGB", form(4, 2)),
            BadPicture("PNG with depth 16 in a palette", form(16, 3)),
            BadPicture("PNG with compression 1", form(8, 2, [1, 0, 0])),
            BadPicture("PNG with filter method 1", form(8, 2, [0, 1, 0])),
            BadPicture("PNG with interlace 2", form(8, 2, [0, 0, 2])),
            BadPicture("PNG palette picture without a palette", form(8, 3)),
            BadPicture("PNG with a wrong sum of its header", changed(29, 1)),
            BadPicture("PNG with a wrong sum of its data", changed(-13, 1)),
            BadPicture("PNG with a wrong sum of its end", changed(-1, 1)),
            BadPicture("PNG with a changed sample", changed(60, 1)),
            BadPicture("PNG with the header chunk misnamed", changed(12, 0x20)),
            BadPicture(
                "PNG with a header of 12 bytes", P.signature + P.chunk("IHDR", [UInt8](repeating: 1, count: 12))),
            BadPicture("PNG with two headers", start + P.header(4, 4) + P.data + P.end),
            BadPicture("PNG without data", start + P.end),
            BadPicture("PNG with empty data", start + P.chunk("IDAT", []) + P.end),
            BadPicture(
                "PNG with data that is not zlib", start + P.chunk("IDAT", [UInt8](repeating: 7, count: 60)) + P.end),
            BadPicture(
                "PNG with half of its data", start + P.chunk("IDAT", [UInt8](P.stored(P.lines).prefix(30))) + P.end),
            BadPicture("PNG with a filter of 9", start + P.chunk("IDAT", P.stored([9] + P.lines.dropFirst())) + P.end),
            BadPicture(
                "PNG with a chunk of 2147483647 bytes", start + P.chunk("IDAT", [1], length: 0x7FFF_FFFF) + P.end),
            BadPicture("PNG with a chunk of 4294967295 bytes", start + P.chunk("IDAT", [1], length: .max) + P.end),
            BadPicture("PNG with an unknown critical chunk", start + P.chunk("ABCD", [1]) + P.data + P.end),
            BadPicture("PNG with digits in a chunk's name", start + P.chunk("12 4", [1]) + P.data + P.end),
            BadPicture(
                "PNG with a note of a wrong sum", start + P.chunk("tEXt", [1]).dropLast() + [0] + P.data + P.end),
            BadPicture("PNG palette after the data", P.signature + P.header(4, 4, 8, 3) + P.data + palette + P.end),
            BadPicture(
                "PNG palette of 4 bytes",
                P.signature + P.header(4, 4, 8, 3) + P.chunk("PLTE", [1, 2, 3, 4]) + P.data + P.end),
            BadPicture("PNG signature alone twice", P.signature + P.signature),
            BadPicture(
                "PNG that text transfer damaged", [0x89, 0x50, 0x4E, 0x47, 0x0A, 0x1A, 0x0A] + P.good.dropFirst(8)),
        ]
        return list
    }

    static func jpegs() throws -> [BadPicture] {
        let good = try Fixtures.bytes("jpeg-420.jpg")
        let progressive = try Fixtures.bytes("jpeg-420-progressive.jpg")
        let frame = try segment(0xC0, good)
        let scan = try segment(0xDA, good)
        func changed(_ at: Int, to value: UInt8, in bytes: [UInt8]) -> [UInt8] {
            var result = bytes
            result[at] = value
            return result
        }
        var list: [BadPicture] = []
        let cuts = [
            3, 4, 11, 20, 100, frame + 4, frame + 10, scan + 2, scan + 6, scan + 20, good.count / 2, good.count - 40,
        ]
        for at in cuts {
            list.append(BadPicture("JPEG cut after \(at) bytes", [UInt8](good.prefix(at))))
        }
        for part in 1...8 {
            let at = progressive.count * part / 9
            list.append(BadPicture("progressive JPEG cut after \(at) bytes", [UInt8](progressive.prefix(at))))
        }
        var huge = changed(frame + 5, to: 0xFF, in: good)
        huge.replaceSubrange((frame + 5)..<(frame + 9), with: [0xFF, 0xDC, 0xFF, 0xDC])
        list += [
            BadPicture("JPEG with 180 scans", try Fixtures.bytes("scans-180.jpg")),
            BadPicture("JPEG claiming 65500x65500", huge),
            BadPicture("JPEG of zero width", changed(frame + 8, to: 0, in: changed(frame + 7, to: 0, in: good))),
            BadPicture("JPEG of zero height", changed(frame + 6, to: 0, in: changed(frame + 5, to: 0, in: good))),
            BadPicture("JPEG claiming more rows than its data", changed(frame + 5, to: 1, in: good)),
            BadPicture("JPEG with 12 bits a sample", changed(frame + 4, to: 12, in: good)),
            BadPicture("JPEG with 2 components", changed(frame + 9, to: 2, in: good)),
            BadPicture("JPEG with 200 components", changed(frame + 9, to: 200, in: good)),
            BadPicture("JPEG with a sampling factor of 0", changed(frame + 11, to: 0, in: good)),
            BadPicture("JPEG with a sampling factor of 15", changed(frame + 11, to: 0xFF, in: good)),
            BadPicture("JPEG with a missing quantisation table", changed(frame + 12, to: 3, in: good)),
            BadPicture("JPEG with a missing Huffman table", changed(scan + 6, to: 0x33, in: good)),
            BadPicture("JPEG lossless frame", changed(frame + 1, to: 0xC3, in: good)),
            BadPicture("JPEG hierarchical frame", changed(frame + 1, to: 0xC5, in: good)),
            BadPicture("JPEG with two frames", [UInt8](good[..<scan]) + good[frame...]),
            BadPicture("JPEG scan before its frame", [UInt8](good[..<frame]) + good[scan...]),
            BadPicture("JPEG without a scan", [UInt8](good[..<scan]) + [0xFF, 0xD9]),
            BadPicture("JPEG whose scan is empty", [UInt8](good[..<(scan + 14)]) + [0xFF, 0xD9]),
            BadPicture(
                "JPEG whose scan is all ones",
                [UInt8](good[..<(scan + 14)]) + [UInt8](repeating: 0xFE, count: 900) + [0xFF, 0xD9]),
            BadPicture(
                "JPEG with a marker amid its scan",
                changed(scan + 101, to: 0xD5, in: changed(scan + 100, to: 0xFF, in: good))),
            BadPicture("JPEG with a table segment of 3 bytes", [0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 0] + good.dropFirst(2)),
            BadPicture(
                "JPEG with a segment longer than the file", [0xFF, 0xD8, 0xFF, 0xE0, 0xFF, 0xFF] + good.prefix(100)),
            BadPicture("JPEG of tables only", [UInt8](good[..<frame]) + [0xFF, 0xD9]),
            BadPicture("JPEG start alone thrice", [0xFF, 0xD8, 0xFF, 0xD8, 0xFF, 0xD8]),
        ]
        return list
    }

    static func others() -> [BadPicture] {
        func text(_ string: String) -> [UInt8] { [UInt8](string.utf8) }
        let rest = [UInt8](repeating: 0, count: 64)
        return [
            BadPicture("empty", []), BadPicture("one zero byte", [0]), BadPicture("zero bytes", rest),
            BadPicture("GIF", text("GIF89a") + rest), BadPicture("WebP", text("RIFF....WEBPVP8 ") + rest),
            BadPicture("BMP", text("BM") + rest), BadPicture("TIFF", [0x49, 0x49, 0x2A, 0] + rest),
            BadPicture("AVIF", [0, 0, 0, 32] + text("ftypavif") + rest), BadPicture("PDF", text("%PDF-1.7") + rest),
            BadPicture("SVG", text("<svg xmlns='x'/>")), BadPicture("plain text", text("not a picture\n")),
            BadPicture("a shell script", text("#!/bin/sh\n")), BadPicture("JPEG start of two bytes", [0xFF, 0xD8]),
            BadPicture("JPEG 2000", [0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20] + rest),
            BadPicture("MNG", [0x8A] + text("MNG") + rest),
        ]
    }

    /// Where a JPEG's marker stands.
    private static func segment(_ marker: UInt8, _ bytes: [UInt8]) throws -> Int {
        var at = 2
        while at + 4 < bytes.count {
            if bytes[at + 1] == marker { return at }
            at += 2 + Int(bytes[at + 2]) << 8 + Int(bytes[at + 3])
        }
        throw Fault(.software, "the JPEG has no marker \(marker)")
    }
}
