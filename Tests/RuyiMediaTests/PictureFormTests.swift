import Foundation
import RuyiFault
import RuyiMedia
import RuyiPicture
import Testing

@Suite("Picture forms")
struct PictureFormTests {
    @Test("every PNG colour type and depth, interlaced or not, equals Pillow")
    func pngForms() throws {
        let pairs = try Fixtures.pairs("form-")
        #expect(pairs.count == 33)
        for pair in pairs {
            let picture = try PictureReader.read(Fixtures.path(pair.input), .asStored)
            let expected = try PictureReader.read(Fixtures.path(pair.expected))
            #expect(picture == expected, "\(pair.input) differs by \(difference(picture, expected) ?? -1)")
        }
    }

    @Test("every JPEG form is within two levels of Pillow")
    func jpegForms() throws {
        let pairs = try Fixtures.pairs("jpeg-")
        #expect(pairs.count == 27)
        for pair in pairs {
            let picture = try PictureReader.read(Fixtures.path(pair.input), .asStored)
            let expected = try PictureReader.read(Fixtures.path(pair.expected))
            let worst = try #require(difference(picture, expected), "\(pair.input)")
            #expect(worst <= 2, "\(pair.input) differs by \(worst)")
        }
    }

    @Test("the eight orientations turn as Pillow turns them, unless they are ignored", arguments: 1...8)
    func orientations(value: Int) throws {
        let path = Fixtures.path("turned-\(value).jpg")
        let upright = try PictureReader.read(path)
        let expected = try PictureReader.read(Fixtures.path("turned-\(value).rgb.png"))
        #expect(try #require(difference(upright, expected)) <= 2)
        let stored = try PictureReader.read(path, .asStored)
        #expect(stored.width == 24 && stored.height == 16)
    }

    @Test("pictures by several encoders are within one level of Pillow's, read as they are meant")
    func formats() throws {
        let rows = try Fixtures.table("formats.tsv")
        #expect(rows.count > 60)
        for row in rows {
            let picture = try PictureReader.read(Fixtures.path("formats/" + row[0]), try Fixtures.options(row))
            let expected = try PictureReader.read(Fixtures.path("formats/" + row[1]))
            let worst = try #require(difference(picture, expected), "\(row)")
            #expect(worst <= 1, "\(row) differs by \(worst)")
            let facts = try PictureReader.facts(Fixtures.path("formats/" + row[0]), try Fixtures.options(row))
            #expect(facts.width == picture.width && facts.height == picture.height, "\(row)")
        }
    }

    @Test("the header alone gives the size", arguments: ["form-2-08-1.png", "jpeg-420-progressive.jpg", "photo.jpg"])
    func sizes(name: String) throws {
        let facts = try PictureReader.facts(Fixtures.path(name))
        let picture = try PictureReader.read(Fixtures.path(name))
        #expect(facts.width == picture.width && facts.height == picture.height)
        let cut = [UInt8](try Fixtures.bytes(name).prefix(700))
        if name != "photo.jpg" { #expect(try PictureReader.facts(of: cut, name: name).width == facts.width) }
    }

    @Test("the signature decides what a file is, whatever its name")
    func wrongSuffix() throws {
        let scratch = try Scratch()
        let jpeg = try scratch.file("picture.png", try Fixtures.bytes("photo.jpg"))
        #expect(try PictureReader.read(jpeg) == PictureReader.read(Fixtures.path("photo.jpg")))
        let png = try scratch.file("picture.jpg", try Fixtures.bytes("photo.rgb.png"))
        #expect(try PictureReader.read(png) == PictureReader.read(Fixtures.path("photo.rgb.png")))
    }

    @Test("a JPEG whose header stands behind megabytes of notes still gives its size")
    func lateHeader() throws {
        let photo = try Fixtures.bytes("photo.jpg")
        let note: [UInt8] = [0xFF, 0xFE, 0xFF, 0xFF] + [UInt8](repeating: 0x41, count: 0xFFFD)
        let bytes = photo.prefix(2) + (0..<20).flatMap { _ in note } + photo.dropFirst(2)
        let scratch = try Scratch()
        let path = try scratch.file("late.jpg", [UInt8](bytes))
        let facts = try PictureReader.facts(path)
        #expect(facts.width == 224 && facts.height == 144)
        #expect(try PictureReader.read(path) == PictureReader.read(Fixtures.path("photo.jpg")))
    }

    @Test("a written picture reads back exactly, and twice gives the same bytes")
    func writing() throws {
        let photo = try PictureReader.read(Fixtures.path("photo.jpg"))
        let first = try PictureWriter.png(photo, tags: [("Title", "Ein Löwe"), ("Comment", "two")])
        #expect(try PictureWriter.png(photo, tags: [("Title", "Ein Löwe"), ("Comment", "two")]) == first)
        #expect(first.count < photo.pixels.count)
        #expect(try PictureReader.read(bytes: first, name: "memory") == photo)
        let scratch = try Scratch()
        try PictureWriter.write(photo, to: scratch.path("out.png"))
        #expect(try PictureReader.read(scratch.path("out.png")) == photo)
        let plain = [UInt8](try Data(contentsOf: URL(fileURLWithPath: scratch.path("out.png"))))
        #expect(try PictureWriter.png(photo) == plain)
        #expect(first.count > plain.count)
    }

    @Test("one pixel is a picture")
    func onePixel() throws {
        let dot = Picture(width: 1, height: 1, pixels: [3, 2, 1])
        #expect(try PictureReader.read(bytes: try PictureWriter.png(dot), name: "dot") == dot)
    }

    @Test("a picture that cannot be created or written says which")
    func writingFails() throws {
        let dot = Picture(width: 1, height: 1, pixels: [3, 2, 1])
        let missing = fault { try PictureWriter.write(dot, to: "/no/such/folder/x.png") }
        #expect(missing?.kind == .cannotCreate)
        let full = fault { try PictureWriter.write(dot, to: "/dev/full") }
        #expect(full?.kind == .io && full?.place == "/dev/full")
        for key in ["", "ü", "a\nb", String(repeating: "k", count: 80)] {
            #expect(fault { try PictureWriter.png(dot, tags: [(key, "text")]) }?.kind == .software)
        }
    }
}
