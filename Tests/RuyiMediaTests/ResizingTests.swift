import Foundation
import RuyiMedia
import RuyiPicture
import Testing

@Suite("Resizing")
struct ResizingTests {
    private let filters: [String: Resampling] = ["bilinear": .bilinear, "bicubic": .bicubic, "lanczos": .lanczos]

    @Test(
        "450 random crops resize to the same bytes as in Pillow",
        arguments: [
            ("resize.tsv", 300, Resampling.PassOrder.automatic),
            ("resize-old.tsv", 150, Resampling.PassOrder.horizontalFirst),
        ])
    func equalsPillow(table: String, rows: Int, order: Resampling.PassOrder) throws {
        let photo = try PictureReader.read(Fixtures.path("photo.rgb.png"))
        var seen = 0
        for row in try Fixtures.table(table) {
            let numbers = try row.prefix(6).map { try #require(Int($0)) }
            let crop = photo.cropped(
                x: numbers[0], y: numbers[1], width: numbers[2] - numbers[0], height: numbers[3] - numbers[1])
            let filter = try #require(filters[row[6]])
            let result = crop.resized(width: numbers[4], height: numbers[5], filter: filter, order: order)
            #expect(digest(result.pixels) == row[7], "\(row)")
            seen += 1
        }
        #expect(seen == rows)
    }

    @Test("the pass order matters for some pictures, so both tables are needed")
    func orderMatters() throws {
        let photo = try PictureReader.read(Fixtures.path("photo.rgb.png"))
        let automatic = photo.resized(width: 200, height: 16, filter: .lanczos)
        let horizontal = photo.resized(width: 200, height: 16, filter: .lanczos, order: .horizontalFirst)
        #expect(automatic != horizontal)
        #expect(try #require(difference(automatic, horizontal)) < 16)
    }

    @Test("the pictures of four families are prepared as their references prepare them")
    func familyPreparations() throws {
        let cases = try Fixtures.table("reference/cases.tsv")
        #expect(cases.count == 36)
        for row in cases {
            let upright = row[2] == "upright"
            var options = PictureOptions.asStored
            options.orientation = upright ? .apply : .ignore
            let picture = try PictureReader.read(Fixtures.path("reference/" + row[0]), options)
            let expected = try PictureReader.read(Fixtures.path("reference/" + row[1]))
            let filter = try #require(filters[row[3]])
            let order: Resampling.PassOrder = row[4] == "automatic" ? .automatic : .horizontalFirst
            let width = try #require(Int(row[5]))
            let height = try #require(Int(row[6]))
            let result =
                row[2] == "cover"
                ? picture.covering(width: width, height: height, filter: filter, order: order)
                : picture.resized(width: width, height: height, filter: filter, order: order)
            let allowed = row[0].hasSuffix(".jpg") ? 2 : 0
            #expect(try #require(difference(result, expected)) <= allowed, "\(row)")
        }
    }

    @Test("the same size is the same picture, and a flat picture stays flat", arguments: Resampling.allCases)
    func fixedPoints(filter: Resampling) {
        let flat = Picture(width: 7, height: 5, pixels: [UInt8](repeating: 201, count: 105))
        #expect(flat.resized(width: 7, height: 5, filter: filter) == flat)
        for size in [(1, 1), (3, 2), (64, 3), (2, 90)] {
            let result = flat.resized(width: size.0, height: size.1, filter: filter)
            #expect(result.pixels.allSatisfy { $0 == 201 } && result.pixels.count == size.0 * size.1 * 3)
        }
    }

    @Test("a part of a resized picture is that part of the whole", arguments: Resampling.allCases)
    func parts(filter: Resampling) {
        var state: UInt32 = 7
        let pixels = (0..<3 * 61 * 47).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
        let picture = Picture(width: 61, height: 47, pixels: pixels)
        for (width, height) in [
            (61, 47), (61, 20), (30, 47), (20, 19), (50, 7), (7, 40), (130, 99), (100, 12), (12, 100),
        ] {
            for order in [Resampling.PassOrder.automatic, .horizontalFirst] {
                let whole = picture.resized(width: width, height: height, filter: filter, order: order)
                let (columns, rows) = (width / 3..<width - width / 5, height / 4..<height - height / 3)
                let part = picture.resized(
                    width: width, height: height, columns: columns, rows: rows, filter: filter, order: order)
                #expect(
                    part
                        == whole.cropped(
                            x: columns.lowerBound, y: rows.lowerBound, width: columns.count, height: rows.count))
            }
        }
    }

    @Test("a picture of one column covers a frame without a column of its length being made")
    func longPicture() {
        let picture = Picture(width: 1, height: 60_000, pixels: [UInt8](repeating: 9, count: 180_000))
        #expect(picture.covering(width: 512, height: 512, filter: .bicubic).pixels.allSatisfy { $0 == 9 })
    }

    @Test("24 megapixels shrink to a video's size in seconds")
    func largePicture() {
        let picture = Picture(width: 6000, height: 4000, pixels: [UInt8](repeating: 99, count: 72_000_000))
        let clock = ContinuousClock()
        let seconds = clock.measure {
            let small = picture.resized(width: 1024, height: 688, filter: .lanczos)
            #expect(small.pixels.allSatisfy { $0 == 99 })
        }
        #expect(seconds < .seconds(8))
    }

    @Test("a crop takes the rectangle it names")
    func crop() {
        let picture = Picture(width: 4, height: 3, pixels: (0..<36).map { UInt8($0) })
        let part = picture.cropped(x: 1, y: 1, width: 2, height: 2)
        #expect(part.pixels == [15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32])
        #expect(picture.cropped(x: 0, y: 0, width: 4, height: 3) == picture)
    }

    @Test("a crop outside the picture stops the program")
    func cropOutside() async {
        await #expect(processExitsWith: .failure) {
            _ = Picture(width: 1, height: 1, pixels: [0, 0, 0]).cropped(x: 0, y: 0, width: 2, height: 1)
        }
    }
}
