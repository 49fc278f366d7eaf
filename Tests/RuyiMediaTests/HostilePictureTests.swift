import Foundation
import RuyiFault
import RuyiMedia
import RuyiPicture
import Testing

@Suite("Hostile pictures")
struct HostilePictureTests {
    @Test("the well-formed twins of the bad pictures are read")
    func twins() throws {
        let small = try PictureReader.read(bytes: PNGParts.good, name: "good")
        #expect(small.width == 4 && small.pixels == (0..<48).map { UInt8($0) })
        let noted =
            PNGParts.signature + PNGParts.header(4, 4) + PNGParts.chunk("tEXt", [1]) + PNGParts.chunk("iCCP", [7, 7])
        let after = PNGParts.data + PNGParts.chunk("zTXt", [9]) + PNGParts.end + [1, 2, 3]
        #expect(try PictureReader.read(bytes: noted + after, name: "noted") == small)
        let jpeg = try Fixtures.bytes("jpeg-420.jpg")
        #expect(try PictureReader.read(bytes: jpeg + [0, 0], name: "jpeg").width == 83)
    }

    @Test("every bad picture is refused as bad data, in one line that names the file")
    func refused() throws {
        let pictures = BadPicture.pngs() + (try BadPicture.jpegs()) + BadPicture.others()
        #expect(pictures.count >= 100 && Set(pictures.map(\.name)).count == pictures.count)
        for bad in pictures {
            let clock = ContinuousClock()
            let begun = clock.now
            let found = fault { try PictureReader.read(bytes: bad.bytes, name: "x.png") }
            #expect(found?.kind == .badData, "\(bad.name): \(String(describing: found))")
            #expect(found?.place == "x.png" && found?.what.isEmpty == false, "\(bad.name)")
            #expect(found?.what.contains("\n") == false && found.map { $0.what.count < 200 } == true, "\(bad.name)")
            #expect(clock.now - begun < .seconds(2), "\(bad.name)")
        }
    }

    @Test("bad pictures in files are refused alike, and their size with them or correctly")
    func refusedFromFiles() throws {
        let scratch = try Scratch()
        for bad in BadPicture.pngs() + (try BadPicture.jpegs()) + BadPicture.others() {
            let path = try scratch.file("bad", bad.bytes)
            let found = fault { try PictureReader.read(path) }
            #expect(found?.kind == .badData && found?.place == path, "\(bad.name): \(String(describing: found))")
            let size = fault { try PictureReader.facts(path) }
            #expect(size == nil || size?.kind == .badData, "\(bad.name)")
        }
    }

    private func budget(_ pixels: Int) -> PictureOptions {
        var options = PictureOptions()
        options.maxPixels = pixels
        return options
    }

    @Test("a pixel budget is checked against the header, before the data is looked at")
    func budgets() throws {
        let photo = Fixtures.path("photo.jpg")
        #expect(fault { try PictureReader.read(photo, budget(224 * 144 - 1)) }?.kind == .badData)
        #expect(try PictureReader.read(photo, budget(224 * 144)).width == 224)
        let claim = PNGParts.signature + PNGParts.header(3000, 3000)
        let found = fault { try PictureReader.read(bytes: claim, name: "claim", budget(8_999_999)) }
        #expect(found?.what.contains("3000x3000") == true)
        let allowed = fault { try PictureReader.read(bytes: claim, name: "claim", budget(9_000_000)) }
        #expect(allowed?.what == "the picture ends early")
    }

    @Test("twelve hundred damaged PNG files give a fault or pixels, never a crash")
    func mutatedPNG() throws {
        let names = ["form-3-04-1.png", "form-0-16-1.png", "form-6-16-0.png", "form-2-08-1.png"]
        // Stored data lets a changed sample through to the filters.
        let paletted = PNGParts.header(7, 7, 8, 3) + PNGParts.chunk("PLTE", [UInt8](0..<30))
        let paletteData = PNGParts.chunk("IDAT", PNGParts.stored([UInt8](repeating: 3, count: 56)))
        let made = [PNGParts.good, PNGParts.signature + paletted + paletteData + PNGParts.end]
        try mutate(try names.map(Fixtures.bytes) + made, rounds: 1200, sums: true)
    }

    @Test("a thousand damaged JPEG files give a fault or pixels, never a crash")
    func mutatedJPEG() throws {
        let names = [
            "jpeg-420.jpg", "jpeg-420-progressive.jpg", "jpeg-cmyk.jpg", "jpeg-made-arith-prog.jpg", "turned-6.jpg",
        ]
        try mutate(try names.map(Fixtures.bytes), rounds: 1000, sums: false)
    }

    /// Changes, cuts, repeats and inserts bytes.
    ///
    /// With `sums`, chunk sums are made right again half of the time, so
    /// that damage gets past them.
    private func mutate(_ seeds: [[UInt8]], rounds: Int, sums: Bool, least: Int = 10) throws {
        var draws = SeededDraws(state: 41)
        var read = 0
        var refused = 0
        for round in 0..<rounds {
            var bytes = seeds[round % seeds.count]
            for _ in 0...Int.random(in: 0...4, using: &draws) {
                let at = Int.random(in: 0..<bytes.count, using: &draws)
                switch Int.random(in: 0..<8, using: &draws) {
                case 0: bytes.removeLast(min(bytes.count - 1, Int.random(in: 0..<60, using: &draws)))
                case 1: bytes.insert(contentsOf: bytes[at...].prefix(16), at: at)
                case 2:
                    bytes.removeSubrange(at..<min(bytes.count - 1, at + 3).advanced(by: at + 3 < bytes.count ? 0 : 1))
                case 3: bytes[at] = [0, 255, 127, 128].randomElement(using: &draws) ?? 0
                default: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &draws)
                }
                if bytes.isEmpty { bytes = [0] }
            }
            if sums && round % 2 == 0 { repairSums(&bytes) }
            let found = fault { try PictureReader.read(bytes: bytes, name: "m", budget(4_000_000)) }
            if let found {
                let kinds: [Fault.Kind] = [.badData, .resources, .unavailable]
                #expect(kinds.contains(found.kind), "round \(round): \(found)")
                refused += 1
            } else {
                read += 1
            }
        }
        // Bitmaps show most damage as other pixels.
        #expect(least == 0 || refused > rounds / 8)
        #expect(read >= least && read + refused == rounds)
    }

    private func repairSums(_ bytes: inout [UInt8]) {
        var at = 8
        while at + 12 <= bytes.count {
            let length = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - at - 12 else { return }
            let end = at + 8 + length
            bytes.replaceSubrange(
                end..<(end + 4), with: PNGParts.big(PNGParts.checksum([UInt8](bytes[(at + 4)..<end]))))
            at = end + 4
        }
    }

    @Test("a HEIF grid that is its own tile is refused")
    func circularGrid() throws {
        var bytes = try Fixtures.bytes("formats/grid.heic")
        let place = try #require(bytes.firstRange(of: "dimg".utf8))
        // The number of the first tile, behind the grid's own and the count.
        bytes[place.upperBound + 5] = 1
        let found = fault { try PictureReader.read(bytes: bytes, name: "grid") }
        #expect(found?.kind == .badData && found?.what.contains("one another") == true, "\(String(describing: found))")
    }

    @Test("what cannot be opened is named, folders and FIFOs are refused at once")
    func unopenable() throws {
        let scratch = try Scratch()
        #expect(mkfifo(scratch.path("fifo"), 0o600) == 0)
        let cases = [
            "/no/such/picture.png", scratch.folder.path, scratch.path("fifo"), "/dev/null", "", "a\0b",
            "/dev/null/x", String(repeating: "n", count: 5000),
        ]
        for path in cases {
            #expect(fault { try PictureReader.read(path) }?.kind == .cannotOpen, "\(path)")
            #expect(fault { try PictureReader.facts(path) }?.kind == .cannotOpen, "\(path)")
        }
        #expect(fault { try PictureReader.read(try scratch.file("empty", [])) }?.what == "the picture is empty")
        #expect(
            fault { try PictureReader.read(try scratch.file("e\u{1B}[31m", [1])) }?.place?.contains("\u{1B}") == false)
    }

    @Test("a file that is no picture is called what it looks like")
    func guesses() {
        let found = fault { try PictureReader.read(bytes: [UInt8]("%PDF-1.7".utf8), name: "x.png") }
        #expect(found?.what == "the file is no picture that can be read (it looks like PDF)")
        #expect(found?.hint?.contains("WebP, AVIF, HEIF") == true)
    }

    @Test("a picture of which only the end of its file is missing is read with a warning, one without rows refused")
    func endings() throws {
        let jpegs = ["jpeg-420.jpg", "jpeg-grey.jpg", "jpeg-420-progressive.jpg", "jpeg-restarts.jpg", "photo.jpg"]
        for name in jpegs + ["form-2-08-1.png", "form-3-04-0.png"] {
            let whole = try Fixtures.bytes(name)
            let picture = try PictureReader.read(bytes: whole, name: name)
            let end = name.hasSuffix("png") ? 12 : 2
            var warnings: [String] = []
            let cut = try PictureReader.read(bytes: [UInt8](whole.dropLast(end)), name: name) { warnings.append($0) }
            #expect(cut == picture && warnings.count == 1 && warnings[0].contains("missing"), "\(name): \(warnings)")
            let less = fault {
                try PictureReader.read(bytes: [UInt8](whole.dropLast(end + whole.count / 8)), name: name)
            }
            #expect(less?.what == "the picture ends early" && less?.hint != nil, "\(name)")
        }
        // Zeros at the end of arithmetic coding are not stored, so that nobody can tell.
        let arithmetic = try Fixtures.bytes("jpeg-made-arith-prog.jpg")
        #expect(fault { try PictureReader.read(bytes: [UInt8](arithmetic.dropLast(2)), name: "a") }?.kind == .badData)
    }

    @Test(
        "damaged files of every other format give a fault or pixels, never a crash",
        arguments: [
            "alpha.avif", "grid.heic", "alpha.heic", "p3.jxl", "cjxl.jxl", "lossy.webp", "animated.webp", "inks.tif",
            "tiles.tif",
            "ffmpeg.tiff", "alpha.bmp", "palette.bmp", "palette.gif",
        ])
    func mutatedOthers(_ name: String) throws {
        try mutate([try Fixtures.bytes("formats/" + name)], rounds: 150, sums: false, least: 0)
    }
}
