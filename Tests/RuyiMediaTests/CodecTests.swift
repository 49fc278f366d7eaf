import Foundation
import RuyiFault
import RuyiMedia
import RuyiPicture
import Testing

/// A container and a codec that it holds.
struct Pair: Sendable, CustomTestStringConvertible {
    let container: VideoContainer
    let codec: VideoCodec

    var testDescription: String { "\(codec.rawValue) in \(container.rawValue)" }

    static let all = VideoContainer.allCases.flatMap { container in
        container.codecs.map { Pair(container: container, codec: $0) }
    }
    /// The pairs that libav can read back.
    static let readable = all.filter { $0.container != .webp }
}

@Suite("Codecs", .serialized)
struct CodecTests {
    @Test("every codec reads back from every container that holds it, close to the frames", arguments: Pair.readable)
    func roundTrip(_ pair: Pair) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(6, width: 96, height: 64)
        try write(frames, to: scratch.path("v"), pair.container, fps: 25, options: VideoOptions(codec: pair.codec))
        let reader = try VideoReader(scratch.path("v"))
        #expect(reader.facts.width == 96 && reader.facts.height == 64 && reader.facts.frameCount == 6)
        #expect(reader.facts.codec == pair.codec.rawValue)
        #expect(reader.facts.fps == 25 || pair.codec == .gif, "\(reader.facts.fps)")
        let decoded = try allFrames(reader)
        #expect(decoded.count == 6)
        let worst = zip(frames, decoded).map { psnr($0, $1) }.min() ?? 0
        #expect(worst > (pair.codec == .gif ? 27 : 34), "\(worst) dB")
        if pair.codec == .ffv1 { #expect(decoded == frames) }
        guard ![.gif, .ffv1].contains(pair.codec) else { return }
        let facts = reader.facts
        #expect([facts.primaries, facts.transfer, facts.matrix] == ["bt709", "bt709", "bt709"], "\(facts)")
        #expect(facts.range == "tv" || pair.codec == .prores, "\(facts)")
    }

    @Test("every form that is offered is read back: frames, rate, size, colours and text", arguments: Pair.readable)
    func demuxed(_ pair: Pair) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(3, width: 64, height: 48)
        let text = "{\"prompt\": \"ein Löwe\"}" + String(repeating: " long", count: 200)
        var forms = pair.codec.pixelFormats.map { VideoOptions(codec: pair.codec, pixelFormat: $0) }
        forms += pair.codec.losslessPixelFormats.prefix(1).map { format in
            var options = VideoOptions(codec: pair.codec, pixelFormat: format)
            options.isLossless = true
            return options
        }
        for var options in forms {
            if pair.container.holdsTags { options.tags = ["comment": text] }
            try write(frames, to: scratch.path("v"), pair.container, fps: 25, options: options)
            let reader = try VideoReader(scratch.path("v"))
            let facts = reader.facts
            let what = "\(options.storedFormat) \(facts)"
            #expect(facts.frameCount == 3 && facts.width == 64 && facts.height == 48, "\(what)")
            #expect(facts.fps == 25 || pair.codec == .gif, "\(what)")
            #expect(facts.codec == pair.codec.rawValue, "\(what)")
            let tags = facts.tags.filter { $0.key.lowercased() == "comment" }.map(\.value)
            #expect(tags == (pair.container.holdsTags ? [text] : []), "\(what)")
            if ![.rgb, .palette].contains(options.storedFormat) {
                #expect([facts.primaries, facts.transfer, facts.matrix] == ["bt709", "bt709", "bt709"], "\(what)")
            }
            let decoded = try allFrames(reader)
            #expect(decoded.count == 3, "\(what)")
            if options.isLossless { #expect(decoded == frames, "\(what)") }
        }
    }

    @Test("a lossless WebP is larger, and each kind of ProRes is what it says")
    func kinds() throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(3, width: 64, height: 48)
        var options = VideoOptions(codec: .webp)
        let lossy = try write(frames, to: scratch.path("a"), .webp, options: options)
        options.isLossless = true
        let exact = try write(frames, to: scratch.path("b"), .webp, options: options)
        #expect(position("VP8L", exact) != nil && position("VP8L", lossy) == nil)
        let marks = [ProResProfile.lt: "apcs", .standard: "apcn", .hq: "apch", .p4444: "ap4h"]
        for profile in ProResProfile.allCases {
            var options = VideoOptions(codec: .prores)
            options.proresProfile = profile
            let bytes = try write(frames, to: scratch.path("v"), .mov, options: options)
            #expect(position(try #require(marks[profile]), bytes) != nil, "\(profile)")
        }
    }

    @Test("a GIF and a WebP play as often as they are told to")
    func loops() throws {
        let scratch = try Scratch()
        let frames = noise(2, width: 16, height: 16)
        for (loop, gif, webp) in [(nil, 0, 0), (0, 0, 0), (1, nil, 1), (2, 1, 2), (65_535, 65_534, 65_535)]
            as [(Int?, Int?, Int)]
        {
            for (container, codec) in [(VideoContainer.gif, VideoCodec.gif), (.webp, .webp)] {
                var options = VideoOptions(codec: codec)
                options.loop = loop
                let bytes = try write(frames, to: scratch.path("v"), container, fps: 25, options: options)
                if codec == .gif {
                    let place = position("NETSCAPE2.0", bytes)
                    #expect(
                        place.map { Int(bytes[$0 + 13]) | Int(bytes[$0 + 14]) << 8 } == gif,
                        "\(String(describing: loop))")
                } else {
                    let place = try #require(position("ANIM", bytes))
                    #expect(Int(bytes[place + 12]) | Int(bytes[place + 13]) << 8 == webp)
                }
            }
        }
    }

    @Test("two writes give identical bytes", arguments: Pair.all)
    func reproducible(_ pair: Pair) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(8, width: 128, height: 96)
        let options = VideoOptions(codec: pair.codec)
        let first = try write(frames, to: scratch.path("a"), pair.container, options: options)
        let second = try write(frames, to: scratch.path("b"), pair.container, options: options)
        #expect(first == second)
    }

    @Test(
        "one frame is a video, and so are tiny ones that the codec takes; the others are refused", arguments: Pair.all)
    func small(_ pair: Pair) throws {
        let scratch = try Scratch()
        let options = VideoOptions(codec: pair.codec)
        for side in [1, 2, 8, 16, 18, 32] {
            let frame = Picture(width: side, height: side, pixels: [UInt8](repeating: 120, count: 3 * side * side))
            let refusal = fault {
                try VideoWriter.check(width: side, height: side, fps: 24, container: pair.container, options: options)
            }
            if let refusal {
                #expect(refusal.kind == .usage && side < 32, "\(side): \(refusal)")
                #expect(pair.codec == .hevc || pair.codec == .ffv1 || side == 1, "\(side): \(refusal)")
                continue
            }
            try write([frame], to: scratch.path("v"), pair.container, options: options)
            if pair.container == .webp {
                let facts = try WebPFile.facts(scratch.path("v"))
                #expect(facts.width == side && facts.height == side && facts.frameCount == 1)
                continue
            }
            let decoded = try allFrames(try VideoReader(scratch.path("v")))
            #expect(decoded.count == 1 && (decoded.first.flatMap { difference($0, frame) } ?? 255) <= 4, "\(side)")
        }
    }

    @Test(
        "odd sizes go where chroma is whole",
        arguments: [Pair(container: .gif, codec: .gif)]
            + [VideoCodec.h264, .hevc, .av1, .vp9].map { Pair(container: .mkv, codec: $0) })
    func oddSizes(_ pair: Pair) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(3, width: 65, height: 47)
        let format: PixelFormat = pair.codec == .gif ? .palette : .yuv444p
        try write(
            frames, to: scratch.path("v"), pair.container, options: VideoOptions(codec: pair.codec, pixelFormat: format)
        )
        let reader = try VideoReader(scratch.path("v"))
        #expect(reader.facts.width == 65 && reader.facts.height == 47)
        #expect(try allFrames(reader).count == 3)
    }

    @Test(
        "every pixel format is stored as asked",
        arguments: [VideoCodec.h264, .hevc, .vp9, .av1, .prores, .ffv1])
    func pixelFormats(_ codec: VideoCodec) throws {
        let scratch = try Scratch()
        let frames = try movingPhoto(2, width: 64, height: 48)
        for format in codec.pixelFormats where format != .rgb {
            try write(frames, to: scratch.path("v"), .mkv, options: VideoOptions(codec: codec, pixelFormat: format))
            let reader = try VideoReader(scratch.path("v"))
            let stored = reader.facts.pixelFormat
            // ProRes 4444 is decoded with 12 bits.
            let isRight =
                codec == .prores && format == .yuv444p10 ? stored == "yuv444p12le" : stored.hasPrefix(format.rawValue)
            #expect(isRight, "\(codec) \(format): \(stored)")
            let decoded = try allFrames(reader)
            #expect(zip(frames, decoded).allSatisfy { psnr($0, $1) > 33 }, "\(codec) \(format)")
        }
    }

    @Test("a pair that does not fit is a usage fault that lists what does")
    func pairs() {
        for container in VideoContainer.allCases {
            for codec in VideoCodec.allCases where !container.codecs.contains(codec) {
                let found = fault { try VideoOptions(codec: codec).check(in: container) }
                #expect(found?.kind == .usage)
                #expect(found?.hint?.contains(container.codecs[0].rawValue) == true, "\(String(describing: found))")
            }
        }
        #expect(
            fault { try VideoOptions(codec: .h264, pixelFormat: .rgb).check(in: .mp4) }?.hint?.contains("yuv420p")
                == true)
        #expect(fault { try VideoOptions(codec: .ffv1, crf: 20).check(in: .mkv) }?.kind == .usage)
    }

    @Test("the quality has each codec's own range", arguments: [VideoCodec.h264, .hevc, .vp9, .av1])
    func qualities(_ codec: VideoCodec) throws {
        let scratch = try Scratch()
        let range = try #require(codec.crfRange)
        for (crf, isRight) in [
            (range.lowerBound, true), (range.upperBound, true), (range.lowerBound - 1, false),
            (range.upperBound + 1, false),
        ] {
            let found = fault {
                try VideoWriter.check(
                    width: 64, height: 48, fps: 24, container: .mkv, options: VideoOptions(codec: codec, crf: crf))
            }
            #expect((found == nil) == isRight && (isRight || found?.kind == .usage), "\(crf)")
        }
        let frames = try movingPhoto(3)
        let fine = try write(frames, to: scratch.path("a"), .mkv, options: VideoOptions(codec: codec, crf: 10)).count
        let coarse = try write(frames, to: scratch.path("b"), .mkv, options: VideoOptions(codec: codec, crf: 45)).count
        #expect(coarse * 2 < fine)
    }

    @Test("HEVC is named as Apple's players want it", arguments: [VideoContainer.mp4, .mov])
    func names(_ container: VideoContainer) throws {
        let scratch = try Scratch()
        let bytes = try write(
            try movingPhoto(2, width: 64, height: 64), to: scratch.path("v"), container,
            options: VideoOptions(codec: .hevc))
        #expect(position("hvc1", bytes) != nil && position("hev1", bytes) == nil)
        #expect(position("x265", bytes) == nil)
    }

    @Test("a GIF has one palette for the whole clip, dithered, and keeps its pace")
    func gif() throws {
        let scratch = try Scratch()
        // A ramp of 512 tones: 256 colours without dithering would leave wide flat bands.
        let frames = (0..<5).map { shift in
            Picture(
                width: 128, height: 32,
                pixels: (0..<128 * 32).flatMap { index -> [UInt8] in
                    let tone = Double(index % 128) / 127 * 255
                    return [UInt8(tone), UInt8(255 - tone), UInt8(clamping: shift * 40 + index / 128)]
                })
        }
        try write(frames, to: scratch.path("v.gif"), .gif, options: VideoOptions(codec: .gif))
        let reader = try VideoReader(scratch.path("v.gif"))
        let decoded = try allFrames(reader)
        #expect(decoded.count == 5 && abs(reader.facts.seconds - 5.0 / 24) < 0.03)
        var colours: Set<[UInt8]> = []
        for frame in decoded {
            for start in stride(from: 0, to: frame.pixels.count, by: 3) {
                colours.insert(Array(frame.pixels[start..<start + 3]))
            }
        }
        #expect(colours.count > 100 && colours.count <= 256, "\(colours.count)")
        #expect(zip(frames, decoded).allSatisfy { psnr($0, $1) > 25 })
        #expect(
            fault {
                try VideoWriter.check(width: 8, height: 8, fps: 51, container: .gif, options: VideoOptions(codec: .gif))
            }?.kind == .usage)
    }

    /// Frames of which no two are alike: the encoder stores those that are nearly so as one.
    private func noise(_ count: Int, width: Int, height: Int) -> [Picture] {
        var draws = SeededDraws(state: 9)
        return (0..<count).map { _ in
            let pixels = (0..<width * height * 3).map { _ in UInt8.random(in: 0...255, using: &draws) }
            return Picture(width: width, height: height, pixels: pixels)
        }
    }

    @Test("a WebP holds every frame for its time")
    func webp() throws {
        let scratch = try Scratch()
        let bytes = try write(
            noise(7, width: 61, height: 33), to: scratch.path("v"), .webp, fps: 25,
            options: VideoOptions(codec: .webp))
        let facts = try WebPFile.facts(scratch.path("v"))
        #expect(facts == (try WebPFile.facts(bytes: bytes, name: "v")))
        #expect(facts.width == 61 && facts.height == 33 && facts.frameCount == 7 && facts.milliseconds == 280)
        let same = try movingPhoto(1, width: 64, height: 64)[0]
        try write([same, same, same], to: scratch.path("w"), .webp, options: VideoOptions(codec: .webp))
        #expect(try WebPFile.facts(scratch.path("w")).frameCount == 1)
    }

    @Test("a damaged WebP is a fault, never a crash")
    func badWebP() throws {
        let scratch = try Scratch()
        let bytes = try write(
            noise(3, width: 32, height: 32), to: scratch.path("v"), .webp, options: VideoOptions(codec: .webp))
        for count in 0..<min(bytes.count, 200) {
            #expect(fault { try WebPFile.facts(bytes: Array(bytes.prefix(count)), name: "v") }?.kind == .badData)
        }
        var draws = SeededDraws(state: 3)
        for _ in 0..<2000 {
            var changed = bytes
            for _ in 0..<3 { changed[Int.random(in: 0..<80, using: &draws)] = UInt8.random(in: 0...255, using: &draws) }
            let found = fault { try WebPFile.facts(bytes: changed, name: "v") }
            #expect(found == nil || found?.kind == .badData)
        }
    }

    @Test("text goes into a PNG picture and comes back; damage is a fault")
    func pictureText() throws {
        let text = "{\"prompt\": \"ein Löwe\"}" + String(repeating: " long", count: 500)
        let picture = Picture(width: 3, height: 2, pixels: [UInt8](repeating: 7, count: 18))
        let bytes = try PictureWriter.png(picture, tags: [("Comment", text), ("Title", "x")])
        #expect(try PictureText.texts(of: bytes, name: "p") == ["Comment": text, "Title": "x"])
        #expect(try PictureText.texts(of: Array("no picture".utf8), name: "p").isEmpty)
        for count in 8..<bytes.count - 12 {
            let found = fault { try PictureText.texts(of: Array(bytes.prefix(count)), name: "p") }
            #expect(found == nil || found?.kind == .badData)
        }
        var draws = SeededDraws(state: 4)
        for _ in 0..<2000 {
            var changed = bytes
            changed[Int.random(in: 0..<120, using: &draws)] = UInt8.random(in: 0...255, using: &draws)
            let found = fault { try PictureText.texts(of: changed, name: "p") }
            #expect(found == nil || found?.kind == .badData)
        }
    }
}
