import Glibc
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture

/// How two clips of one size and length differ.
public struct Comparison: Sendable {
    /// How two frames differ.
    public struct Frame: Sendable, Equatable {
        /// The mean square of the differences of samples, of 0...255.
        public let squaredError: Double
        /// The structural similarity of the lumas, 1 for equal frames.
        public let similarity: Double
        /// The largest difference of two samples.
        public let largest: Int

        /// Peak signal-to-noise ratio in decibels; infinite for equal frames.
        public var psnr: Double { Comparison.psnr(squaredError) }
    }

    /// The frames in order.
    public let frames: [Frame]
    private let places: (String, String)
    /// The first and the second clip's frame that differ most.
    private let worst: (Picture, Picture)

    /// Reads two clips frame by frame: videos, pictures, folders of PNG frames.
    ///
    /// Throws `.cannotOpen` and `.badData` for what cannot be read, and `.usage` for clips of different size or length.
    public init(_ first: String, _ second: String, pictures: PictureOptions = PictureOptions()) throws(Faults) {
        do {
            let readers = (try FrameReader(first, pictures: pictures), try FrameReader(second, pictures: pictures))
            var frames: [Frame] = []
            var worst: (pictures: (Picture, Picture), error: Double)?
            while let a = try readers.0.next() {
                guard let b = try readers.1.next() else {
                    throw Comparison.lengths(first, second, "more than \(frames.count)", "\(frames.count)")
                }
                guard a.width == b.width, a.height == b.height else {
                    throw Fault(
                        .usage, "frames of \(a.width)x\(a.height) and \(b.width)x\(b.height) cannot be compared",
                        at: "\(first), \(second)")
                }
                let frame = Frame(a, b)
                frames.append(frame)
                if frame.squaredError > worst?.error ?? -1 { worst = ((a, b), frame.squaredError) }
            }
            if try readers.1.next() != nil {
                throw Comparison.lengths(first, second, "\(frames.count)", "more than \(frames.count)")
            }
            guard let worst else { throw Fault(.badData, "the clip has no frames", at: first) }
            self.frames = frames
            self.worst = worst.pictures
            places = (first, second)
        } catch {
            throw Faults(of: error)
        }
    }

    private static func lengths(_ first: String, _ second: String, _ a: String, _ b: String) -> Fault {
        Fault(.usage, "clips of \(a) and of \(b) frames cannot be compared", at: "\(first), \(second)")
    }

    /// The ratio of all frames' samples together.
    public var psnr: Double { Comparison.psnr(frames.map(\.squaredError).reduce(0, +) / Double(frames.count)) }
    /// The mean similarity.
    public var similarity: Double { frames.map(\.similarity).reduce(0, +) / Double(frames.count) }

    static func psnr(_ squaredError: Double) -> Double {
        squaredError == 0 ? .infinity : 10 * log10(255 * 255 / squaredError)
    }

    /// Says when the clips differ more than they may; nil otherwise.
    public func fault(below bound: Double?) -> Fault? {
        guard let bound, !(psnr >= bound) else { return nil }
        return Fault(
            .partial, "the clips have a PSNR of \(Comparison.number(psnr)) dB, and \(bound) was asked for",
            at: "\(places.0), \(places.1)")
    }

    /// Both frames where the clips differ most, and four times their difference around grey, side by side.
    ///
    /// Throws `.usage` for a name that is no PNG file's, `.cannotCreate` and `.io` as `AtomicFile` does.
    public func writeWorst(to path: String, overwrite: Bool) throws(Fault) {
        guard Path.suffix(path) == "png" else {
            throw Fault(.usage, "the picture is a PNG file", at: path, hint: "give it a name such as worst.png")
        }
        let (a, b) = worst
        let row = a.width * 3
        var pixels: [UInt8] = []
        pixels.reserveCapacity(3 * a.pixels.count)
        for start in stride(from: 0, to: a.pixels.count, by: row) {
            pixels += a.pixels[start..<start + row]
            pixels += b.pixels[start..<start + row]
            pixels += (start..<start + row).map {
                UInt8(clamping: 128 + 4 * (Int(b.pixels[$0]) - Int(a.pixels[$0])))
            }
        }
        let file = try AtomicFile(path, overwrite: overwrite)
        try file.write(try PictureWriter.png(Picture(width: 3 * a.width, height: a.height, pixels: pixels)))
        try file.commit(overwrite: overwrite)
    }

    /// The numbers of the whole and of each frame as a JSON object on one line; the PSNR of equal frames is null.
    public var json: String {
        func number(_ value: Double) -> JSON { .double((value * 1e6).rounded() / 1e6) }
        return JSON.object([
            .init("psnr", number(psnr)), .init("ssim", number(similarity)),
            .init("largest", .int(frames.map(\.largest).max() ?? 0)), .init("equal", .bool(psnr == .infinity)),
            .init(
                "frames",
                .array(
                    frames.map { frame in
                        .object([
                            .init("psnr", number(frame.psnr)), .init("ssim", number(frame.similarity)),
                            .init("largest", .int(frame.largest)),
                        ])
                    })),
        ]).text()
    }

    /// The same as a table.
    public var text: String {
        func line(_ name: String, _ psnr: Double, _ similarity: Double, _ largest: Int) -> String {
            [name, Comparison.number(psnr), Comparison.number(similarity), String(largest)].map {
                String(repeating: " ", count: max(0, 9 - $0.count)) + $0
            }.joined()
        }
        let rows = frames.enumerated().map { line(String($0), $1.psnr, $1.similarity, $1.largest) }
        let whole = line("all", psnr, similarity, frames.map(\.largest).max() ?? 0)
        return (["    frame  PSNR/dB     SSIM  largest"] + rows + [whole]).joined(separator: "\n")
    }

    /// Four places after the point, or `inf`.
    private static func number(_ value: Double) -> String {
        guard value.isFinite else { return "inf" }
        let scaled = Int((abs(value) * 1e4).rounded())
        let digits = String(scaled % 10_000)
        let places = String(repeating: "0", count: 4 - digits.count) + digits
        return (value < 0 && scaled > 0 ? "-" : "") + "\(scaled / 10_000)." + places
    }
}

extension Comparison.Frame {
    /// Compares two frames of one size.
    init(_ a: Picture, _ b: Picture) {
        var sum = 0
        var largest = 0
        for (first, second) in zip(a.pixels, b.pixels) {
            let difference = abs(Int(first) - Int(second))
            sum += difference * difference
            largest = max(largest, difference)
        }
        squaredError = Double(sum) / Double(a.pixels.count)
        self.largest = largest
        similarity = Comparison.similarity(Comparison.luma(a), Comparison.luma(b), width: a.width, height: a.height)
    }
}

extension Comparison {
    /// BT.709 luma, 0...255.
    static func luma(_ picture: Picture) -> [Double] {
        (0..<picture.width * picture.height).map { pixel in
            let (red, green) = (Double(picture.pixels[3 * pixel]), Double(picture.pixels[3 * pixel + 1]))
            return 0.2126 * red + 0.7152 * green + 0.0722 * Double(picture.pixels[3 * pixel + 2])
        }
    }

    /// The mean structural similarity of two lumas.
    ///
    /// As Wang, Bovik, Sheikh and Simoncelli (2004) define it, with even windows of 8x8 values, 4 apart, in place of
    /// Gaussian ones; pictures smaller than a window are one window.
    static func similarity(_ a: [Double], _ b: [Double], width: Int, height: Int) -> Double {
        let (side, step) = (8, 4)
        let (sizeX, sizeY) = (min(side, width), min(side, height))
        let count = Double(sizeX * sizeY)
        let (c1, c2) = (0.01 * 255 * 0.01 * 255, 0.03 * 255 * 0.03 * 255)
        var total = 0.0
        var windows = 0.0
        for top in stride(from: 0, through: height - sizeY, by: step) {
            for left in stride(from: 0, through: width - sizeX, by: step) {
                var (sumA, sumB, squaresA, squaresB, products) = (0.0, 0.0, 0.0, 0.0, 0.0)
                for y in top..<top + sizeY {
                    for index in y * width + left..<y * width + left + sizeX {
                        sumA += a[index]
                        sumB += b[index]
                        squaresA += a[index] * a[index]
                        squaresB += b[index] * b[index]
                        products += a[index] * b[index]
                    }
                }
                let (meanA, meanB) = (sumA / count, sumB / count)
                let varianceA = squaresA / count - meanA * meanA
                let varianceB = squaresB / count - meanB * meanB
                let covariance = products / count - meanA * meanB
                total +=
                    (2 * meanA * meanB + c1) * (2 * covariance + c2)
                    / ((meanA * meanA + meanB * meanB + c1) * (varianceA + varianceB + c2))
                windows += 1
            }
        }
        return total / windows
    }
}

/// The frames of a video, of a folder of PNG pictures, or of one picture, one at a time.
final class FrameReader {
    private enum Source {
        case video(VideoReader)
        case pictures(ArraySlice<String>)
    }

    private var source: Source
    private let options: PictureOptions

    /// The number of frames, to be asked before the first is taken.
    var count: Int {
        switch source {
        case .video(let reader): reader.facts.frameCount
        case .pictures(let rest): rest.count
        }
    }

    /// Opens what is at a path.
    ///
    /// Throws `.cannotOpen` for what is not there, `.badData` for what holds no frames that can be read.
    init(_ path: String, pictures options: PictureOptions) throws(Fault) {
        self.options = options
        if Path.kind(path) == .folder {
            let pictures = try FrameFolder.pictures(path)
            if pictures.isEmpty { throw Fault(.badData, "the folder holds no PNG pictures", at: path) }
            source = .pictures(pictures[...])
            return
        }
        try Engine.requireFile(path, "clip")
        switch FileKind(path) {
        case .animation(.webp):
            throw Fault(
                .unavailable, "libav writes animated WebP and cannot read it", at: path,
                hint: "compare the clip in another format")
        case .picture: source = .pictures([path])
        default: source = .video(try VideoReader(path))
        }
    }

    /// The next frame; nil after the last.
    func next() throws(Fault) -> Picture? {
        switch source {
        case .video(let reader): return try reader.next()
        case .pictures(let rest):
            guard let first = rest.first else { return nil }
            source = .pictures(rest.dropFirst())
            return try PictureReader.read(first, options)
        }
    }
}
