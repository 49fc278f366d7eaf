import Foundation
import RuyiFault
import RuyiMedia
import RuyiPicture
import Testing

/// Frames with real content: the photo, moving one pixel to the left each time.
func movingPhoto(_ count: Int, width: Int = 192, height: Int = 144) throws -> [Picture] {
    let photo = try PictureReader.read(Fixtures.path("video.jpg"))
    return (0..<count).map { photo.cropped(x: 40 + $0, y: 10, width: width, height: height) }
}

/// The containers whose usual codec is H.264.
let h264Containers: [VideoContainer] = [.mp4, .mov, .mkv]

/// Writes frames and returns the file's bytes.
@discardableResult
func write(
    _ frames: [Picture], to path: String, _ container: VideoContainer, fps: FrameRate = 24,
    options: VideoOptions = VideoOptions()
) throws -> [UInt8] {
    let first = try #require(frames.first)
    let writer = try VideoWriter(
        path: path, container: container, width: first.width, height: first.height, fps: fps, options: options)
    for frame in frames { try writer.append(frame) }
    try writer.finish()
    #expect(writer.frameCount == frames.count)
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

func allFrames(_ reader: VideoReader) throws -> [Picture] {
    var frames: [Picture] = []
    while let frame = try reader.next() { frames.append(frame) }
    return frames
}

/// Peak signal-to-noise ratio in decibels.
func psnr(_ a: Picture, _ b: Picture) -> Double {
    let sum = zip(a.pixels, b.pixels).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
    return sum == 0 ? .infinity : 10 * log10(255 * 255 * Double(a.pixels.count) / sum)
}

func position(_ text: String, _ bytes: [UInt8]) -> Int? {
    Data(bytes).range(of: Data(text.utf8))?.lowerBound
}

@Suite("Video", .serialized)
struct VideoTests {
    @Test("H.264 reads back with the same frames, size, rate and colour tags", arguments: h264Containers)
    func roundTrip(container: VideoContainer) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(25)
        try write(frames, to: scratch.path("v.part"), container)
        let reader = try VideoReader(scratch.path("v.part"))
        let facts = reader.facts
        #expect(facts.width == 192 && facts.height == 144 && facts.frameCount == 25)
        #expect(facts.fps == 24 && facts.codec == "h264" && facts.pixelFormat == "yuv420p")
        #expect([facts.primaries, facts.transfer, facts.matrix, facts.range] == ["bt709", "bt709", "bt709", "tv"])
        #expect(abs(facts.seconds - 25.0 / 24) < (container == .mkv ? 0.002 : 0.000_002))
        let decoded = try allFrames(reader)
        #expect(decoded.count == 25)
        let worst = zip(frames, decoded).map { psnr($0, $1) }.min() ?? 0
        #expect(worst > 35, "\(worst) dB")
    }

    @Test("a flat colour survives within two levels, so the matrix and range of both ways agree")
    func flatColours() throws {
        let scratch = try Scratch()
        for colour in [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [20, 130, 200]] as [[UInt8]] {
            let frame = Picture(width: 32, height: 32, pixels: (0..<1024).flatMap { _ in colour })
            try write([frame, frame], to: scratch.path("flat.mp4"), .mp4, options: VideoOptions(crf: 1))
            let decoded = try allFrames(try VideoReader(scratch.path("flat.mp4")))
            let first = try #require(decoded.first)
            #expect(try #require(difference(first, frame)) <= 2, "\(colour)")
        }
    }

    @Test("two writes give identical bytes", arguments: h264Containers)
    func reproducible(container: VideoContainer) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(12)
        let options = VideoOptions(tags: ["title": "A", "comment": "{\"seed\": 1}"])
        let first = try write(frames, to: scratch.path("a"), container, options: options)
        let second = try write(frames, to: scratch.path("b"), container, options: options)
        #expect(first == second && !first.isEmpty)
        let other = try write(frames.reversed(), to: scratch.path("b"), container, options: options)
        #expect(other != first)
    }

    @Test(
        "the bytes do not depend on what memory held before", arguments: [(64, 64), (192, 144), (112, 80), (208, 96)])
    func freshMemory(width: Int, height: Int) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(16, width: width, height: height)
        // M_PERTURB: what malloc gives out is filled with a byte first.
        let symbol = try #require(dlsym(nil, "mallopt"))
        let mallopt = unsafeBitCast(symbol, to: (@convention(c) (Int32, Int32) -> Int32).self)
        defer { _ = mallopt(-6, 0) }
        let results = try [0, 17, 99, 140, 255].map { filling in
            _ = mallopt(-6, Int32(filling))
            return digest(try write(frames, to: scratch.path("v"), .mp4))
        }
        #expect(Set(results).count == 1)
    }

    @Test("an mp4 begins with its index and names its colours in a colr box", arguments: [VideoContainer.mp4, .mov])
    func boxes(container: VideoContainer) throws {
        let scratch = try Scratch()
        let bytes = try write(try movingPhoto(3), to: scratch.path("v"), container)
        let index = try #require(position("moov", bytes))
        let data = try #require(position("mdat", bytes))
        #expect(index < data)
        let kind = container == .mp4 ? "colrnclx" : "colrnclc"
        let colour = try #require(position(kind, bytes))
        #expect(Array(bytes[(colour + 8)..<(colour + 14)]) == [0, 1, 0, 1, 0, 1])
        if container == .mp4 { #expect(bytes[colour + 14] == 0) }
    }

    @Test(
        "rates are exact", arguments: [FrameRate(24), 8, 15, 16, 25, 30, 60, FrameRate(24000, 1001), FrameRate(25, 2)])
    func rates(fps: FrameRate) throws {
        let scratch = try Scratch()
        try write(try movingPhoto(10), to: scratch.path("v"), .mp4, fps: fps)
        let facts = try VideoReader(scratch.path("v")).facts
        #expect(facts.fps == fps && facts.frameCount == 10)
        #expect(abs(facts.seconds - 10 / fps.framesPerSecond) < 0.000_002)
    }

    @Test("one frame is a video", arguments: h264Containers)
    func oneFrame(container: VideoContainer) throws {
        let scratch = try Scratch()
        try write(try movingPhoto(1), to: scratch.path("v"), container)
        let reader = try VideoReader(scratch.path("v"))
        #expect(try allFrames(reader).count == 1 && reader.facts.frameCount == 1)
        #expect(try reader.next() == nil)
    }

    @Test("FFV1 keeps every sample, odd sizes included")
    func lossless() throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(4).map { $0.cropped(x: 0, y: 0, width: 91, height: 63) }
        try write(frames, to: scratch.path("v"), .mkv, options: VideoOptions(codec: .ffv1))
        #expect(try allFrames(try VideoReader(scratch.path("v"))) == frames)
    }

    @Test("ProRes goes into QuickTime and stays close")
    func prores() throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(3)
        try write(frames, to: scratch.path("v"), .mov, options: VideoOptions(codec: .prores))
        let reader = try VideoReader(scratch.path("v"))
        #expect(reader.facts.codec == "prores" && reader.facts.matrix == "bt709")
        let decoded = try allFrames(reader)
        #expect(decoded.count == 3)
        for (a, b) in zip(frames, decoded) { #expect(psnr(a, b) > 36) }
    }

    @Test("tags come back from every container", arguments: h264Containers + [.webm])
    func tags(container: VideoContainer) throws {
        let scratch = try Scratch()
        let text = "{\"prompt\": \"ein Löwe; a=b:c\", \"seed\": 7}" + String(repeating: " long", count: 2000)
        let tags = ["title": "Löwe", "comment": text]
        try write(
            try movingPhoto(2), to: scratch.path("v"), container,
            options: VideoOptions(codec: container.codecs[0], tags: tags))
        let found = Dictionary(
            try VideoReader(scratch.path("v")).facts.tags.map { ($0.key.lowercased(), $0.value) },
            uniquingKeysWith: { first, _ in first })
        #expect(found["title"] == "Löwe" && found["comment"] == text)
    }

    @Test("a free tag name survives too", arguments: h264Containers)
    func freeTags(container: VideoContainer) throws {
        let scratch = try Scratch()
        try write(try movingPhoto(2), to: scratch.path("v"), container, options: VideoOptions(tags: ["ruyi": "{}"]))
        let found = try VideoReader(scratch.path("v")).facts.tags
        #expect(found.contains { $0.key.lowercased() == "ruyi" && $0.value == "{}" })
    }

    @Test("a higher CRF gives a smaller file")
    func quality() throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(8)
        let fine = try write(frames, to: scratch.path("a"), .mp4, options: VideoOptions(crf: 10)).count
        let coarse = try write(frames, to: scratch.path("b"), .mp4, options: VideoOptions(crf: 35)).count
        #expect(coarse * 2 < fine)
    }

    @Test("a path with a colon, a percent sign and spaces is only a path")
    func oddPath() throws {
        let scratch = try Scratch()
        for name in ["http:x.mp4", "%05d %s.mp4", "pipe:1", "a b\u{e9}.mp4"] {
            try write(try movingPhoto(2), to: scratch.path(name), .mp4)
            #expect(try VideoReader(scratch.path(name)).facts.frameCount == 2)
        }
    }

    @Test("the container follows the extension of the final name")
    func containers() {
        #expect(VideoContainer(path: "a/b.mp4") == .mp4 && VideoContainer(path: "x.y.MOV") == .mov)
        #expect(VideoContainer(path: "v.mkv") == .mkv && VideoContainer(path: "a.mp4/b") == nil)
        #expect(VideoContainer(path: "v.webm") == .webm && VideoContainer(path: "v.GIF") == .gif)
        #expect(VideoContainer(path: ".mp4") == nil && VideoContainer(path: "mp4") == nil)
    }
}
