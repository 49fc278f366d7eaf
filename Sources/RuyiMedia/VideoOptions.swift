import RuyiFault

/// Frames a second, as a fraction.
public struct FrameRate: Sendable, Equatable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// Frames in `denominator` seconds.
    public let numerator: Int
    /// Seconds in which `numerator` frames are shown.
    public let denominator: Int

    /// A rate such as 30000/1001.
    public init(_ numerator: Int, _ denominator: Int = 1) {
        self.numerator = numerator
        self.denominator = denominator
    }

    /// A whole number of frames a second.
    public init(integerLiteral value: Int) { self.init(value) }

    /// Frames a second as a number.
    public var framesPerSecond: Double { Double(numerator) / Double(denominator) }

    /// `24` or `30000/1001`.
    public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
}

/// The kinds of video file that can be written.
public enum VideoContainer: String, Sendable, CaseIterable {
    /// MPEG-4.
    case mp4
    /// QuickTime.
    case mov
    /// Matroska.
    case mkv
    /// WebM.
    case webm
    /// Animated GIF.
    case gif
    /// Animated WebP.
    case webp

    /// The container that a file name's extension stands for.
    public init?(path: String) {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return nil }
        self.init(rawValue: name[name.index(after: dot)...].lowercased())
    }

    /// What the container holds here, its usual codec first.
    ///
    /// Pairs that players or the formats' own documents do not provide for are left out although libav may write them.
    public var codecs: [VideoCodec] {
        switch self {
        case .mp4: [.h264, .hevc, .vp9, .av1]
        case .mov: [.h264, .hevc, .prores]
        case .mkv: [.h264, .hevc, .vp9, .av1, .prores, .ffv1]
        case .webm: [.vp9, .av1]
        case .gif: [.gif]
        case .webp: [.webp]
        }
    }

    /// What gives back every sample as it was rendered, if anything here does.
    public var losslessCodec: VideoCodec? { self == .mkv ? .ffv1 : codecs.first { $0.hasLosslessMode } }

    /// Whether text tags survive in the file.
    public var holdsTags: Bool { self != .gif && self != .webp }

    /// The container's name in libav.
    var muxer: String { self == .mkv ? "matroska" : rawValue }
}

/// How a frame's samples are stored.
public enum PixelFormat: String, Sendable, CaseIterable {
    /// Luma and chroma in 8 bits, chroma halved both ways.
    case yuv420p
    /// Luma and chroma in 8 bits, chroma halved in width.
    case yuv422p
    /// Luma and chroma in 8 bits.
    case yuv444p
    /// Luma and chroma in 10 bits, chroma halved both ways.
    case yuv420p10
    /// Luma and chroma in 10 bits, chroma halved in width.
    case yuv422p10
    /// Luma and chroma in 10 bits.
    case yuv444p10
    /// Red, green and blue in 8 bits, as the frames come.
    case rgb
    /// 256 colours of a palette.
    case palette

    /// The sides of a frame must be multiples of these.
    public var steps: (width: Int, height: Int) {
        switch self {
        case .yuv420p, .yuv420p10: (2, 2)
        case .yuv422p, .yuv422p10: (2, 1)
        case .yuv444p, .yuv444p10, .rgb, .palette: (1, 1)
        }
    }
}

/// The kinds of ProRes, each with the format of its samples.
public enum ProResProfile: String, Sendable, CaseIterable {
    /// 422 LT, for less space.
    case lt
    /// 422.
    case standard
    /// 422 HQ.
    case hq
    /// 4444, with whole chroma.
    case p4444 = "4444"

    /// How the profile's samples are stored.
    public var pixelFormat: PixelFormat { self == .p4444 ? .yuv444p10 : .yuv422p10 }
}

/// How frames are compressed.
public enum VideoCodec: String, Sendable, CaseIterable {
    /// H.264, which every player shows in its usual pixel format.
    case h264
    /// HEVC, which takes about two thirds of H.264's space.
    case hevc
    /// VP9.
    case vp9
    /// AV1, the smallest and the slowest to make.
    case av1
    /// ProRes with 10 bits, for editing: 422 HQ, or 4444 where chroma is not halved.
    case prores
    /// FFV1, which loses nothing of the stored samples.
    case ffv1
    /// GIF with one palette for the whole clip, dithered.
    case gif
    /// WebP, lossy.
    case webp

    /// Whether the codec can keep every sample.
    public var hasLosslessMode: Bool { self != .prores && self != .gif }

    /// What the encoder can store when it loses nothing: RGB, and the formats that stand for rounded RGB.
    ///
    /// x264 and x265 keep RGB as it is, and so do VP9, AV1, FFV1 and WebP.
    public var losslessPixelFormats: [PixelFormat] {
        switch self {
        case .h264, .hevc, .vp9, .av1: [.rgb] + pixelFormats
        case .ffv1, .webp: pixelFormats
        case .prores, .gif: []
        }
    }

    /// What the encoder can store, its usual format first.
    public var pixelFormats: [PixelFormat] {
        let chroma: [PixelFormat] = [.yuv420p, .yuv422p, .yuv444p, .yuv420p10, .yuv422p10, .yuv444p10]
        return switch self {
        case .h264, .hevc, .vp9, .av1: chroma
        case .prores: [.yuv422p10, .yuv444p10]
        case .ffv1: [.rgb] + chroma
        case .gif: [.palette]
        case .webp: [.rgb]
        }
    }

    /// The constant rate factors that the encoder takes, best first; nil where there is no such choice.
    public var crfRange: ClosedRange<Int>? {
        switch self {
        case .h264, .hevc: 1...51
        case .vp9, .av1: 1...63
        case .prores, .ffv1, .gif, .webp: nil
        }
    }

    /// The constant rate factor where none is asked for: hardly any loss can be seen.
    public var defaultCRF: Int {
        switch self {
        case .hevc: 19
        case .vp9, .av1: 22
        case .h264, .prores, .ffv1, .gif, .webp: 17
        }
    }

    /// The encoder's name in libav.
    var encoder: String {
        switch self {
        case .h264: "libx264"
        case .hevc: "libx265"
        case .vp9: "libvpx-vp9"
        case .av1: "libaom-av1"
        case .prores: "prores_ks"
        case .ffv1: "ffv1"
        case .gif: "gif"
        case .webp: "libwebp_anim"
        }
    }

    /// A pixel format's name in libav, as this encoder calls it.
    func name(of format: PixelFormat) -> String {
        switch format {
        case .yuv420p, .yuv422p, .yuv444p: format.rawValue
        case .yuv420p10, .yuv422p10, .yuv444p10: format.rawValue + "le"
        case .rgb:
            switch self {
            case .webp: "bgra"
            case .hevc, .vp9, .av1: "gbrp"
            case .h264, .prores, .ffv1, .gif: "bgr0"
            }
        case .palette: "pal8"
        }
    }

    /// The libavfilter graph that the frames go through before they are encoded, if any.
    ///
    /// It finds 256 colours for all frames together, and spreads what they miss over neighbouring pixels.
    var filter: String? {
        guard self == .gif else { return nil }
        return "split[frames][sample];[sample]palettegen=stats_mode=full[palette];"
            + "[frames][palette]paletteuse=dither=sierra2_4a:diff_mode=rectangle"
    }
}

/// Settings of a video file that do not come from the frames.
public struct VideoOptions: Sendable {
    /// How frames are compressed.
    public var codec: VideoCodec
    /// The quality, smaller is better; nil takes the codec's usual one.
    public var crf: Int?
    /// How samples are stored; nil takes the codec's usual format.
    public var pixelFormat: PixelFormat?
    /// Whether every sample comes back as it was stored, and in RGB as it was rendered.
    public var isLossless = false
    /// The kind of ProRes; nil takes the one of the pixel format, 422 HQ or 4444.
    public var proresProfile: ProResProfile?
    /// How often a GIF or WebP plays, 0 for ever; nil is for ever.
    public var loop: Int?
    /// H.264's and HEVC's trade of time for size, by x264's name.
    public var preset: String
    /// Encoder threads, on which the file's bytes depend, so they do not follow the machine.
    public var threads: Int
    /// Text kept in the file, such as `title` and `comment`.
    public var tags: [String: String]

    /// The default settings, unless given otherwise.
    public init(
        codec: VideoCodec = .h264, crf: Int? = nil, pixelFormat: PixelFormat? = nil, preset: String = "medium",
        threads: Int = 4, tags: [String: String] = [:]
    ) {
        self.codec = codec
        self.crf = crf
        self.pixelFormat = pixelFormat
        self.preset = preset
        self.threads = threads
        self.tags = tags
    }

    /// The pixel format that is used.
    public var storedFormat: PixelFormat {
        let usual = isLossless ? codec.losslessPixelFormats.first : proresProfile?.pixelFormat
        return pixelFormat ?? usual ?? codec.pixelFormats[0]
    }

    /// The constant rate factor that is used; nil where the codec has none.
    public var usedCRF: Int? { codec.crfRange == nil || isLossless ? nil : crf ?? codec.defaultCRF }

    /// The encoder's name in libav.
    var encoder: String { codec == .h264 && storedFormat == .rgb ? "libx264rgb" : codec.encoder }

    /// The encoder's own options in libav's notation.
    var settings: String {
        let quality = "crf=\(crf ?? codec.defaultCRF)"
        let profile = proresProfile ?? (storedFormat == .yuv444p10 ? .p4444 : .hq)
        if isLossless {
            return switch codec {
            case .h264: "preset=\(preset):qp=0"
            case .hevc: "preset=\(preset)"
            case .vp9: "lossless=1:crf=0:b=0:deadline=good:cpu-used=2:row-mt=1"
            case .av1: "crf=0:b=0:cpu-used=6:row-mt=1:aom-params=lossless=1"
            case .webp: "lossless=1:compression_level=4"
            case .ffv1: "level=3:slices=4:slicecrc=1"
            case .prores, .gif: ""
            }
        }
        return switch codec {
        case .h264, .hevc: "preset=\(preset):\(quality)"
        case .vp9: "\(quality):b=0:deadline=good:cpu-used=2:row-mt=1"
        case .av1: "\(quality):b=0:cpu-used=6:row-mt=1"
        case .prores: "profile=\(profile.rawValue):vendor=apl0"
        case .ffv1: "level=3:slices=4:slicecrc=1"
        case .gif: ""
        case .webp: "quality=90:compression_level=4"
        }
    }

    /// Throws `.usage` where the container does not hold the codec, or the codec has no such pixel format or quality.
    ///
    /// Says what would fit. Whether this libav has the encoder is another question, see `VideoWriter.check`.
    public func check(in container: VideoContainer) throws(Fault) {
        func list<Value: RawRepresentable>(_ values: [Value]) -> String where Value.RawValue == String {
            values.map(\.rawValue).joined(separator: ", ")
        }
        guard container.codecs.contains(codec) else {
            let others = VideoContainer.allCases.filter { $0.codecs.contains(codec) }
            throw Fault(
                .usage, "\(container.rawValue) files do not hold \(codec.rawValue)",
                hint:
                    "\(container.rawValue) holds \(list(container.codecs)); \(codec.rawValue) goes into \(list(others))"
            )
        }
        if isLossless, !codec.hasLosslessMode {
            throw Fault(
                .usage, "\(codec.rawValue) always loses something",
                hint: "lossless are \(list(VideoCodec.allCases.filter(\.hasLosslessMode)))")
        }
        let formats = isLossless ? codec.losslessPixelFormats : codec.pixelFormats
        guard formats.contains(storedFormat) else {
            throw Fault(
                .usage, "\(codec.rawValue) has no pixel format \(storedFormat.rawValue)",
                hint: "it has \(list(formats))")
        }
        if let proresProfile {
            guard codec == .prores else {
                throw Fault(.usage, "\(codec.rawValue) has no ProRes profile", hint: "give --codec prores too")
            }
            guard storedFormat == proresProfile.pixelFormat else {
                throw Fault(
                    .usage, "ProRes \(proresProfile.rawValue) stores \(proresProfile.pixelFormat.rawValue)",
                    hint: "leave out the pixel format \(storedFormat.rawValue)")
            }
        }
        if loop != nil, container != .gif, container != .webp {
            throw Fault(
                .usage, "\(container.rawValue) files do not say how often they play", hint: "gif and webp files do")
        }
        if crf != nil, isLossless {
            throw Fault(.usage, "without loss there is no crf", hint: "leave out one of the two")
        }
        guard let crf else { return }
        guard let range = codec.crfRange else {
            throw Fault(.usage, "\(codec.rawValue) has no crf", hint: "h264, hevc, vp9 and av1 have one")
        }
        guard range.contains(crf) else {
            let bounds = "\(range.lowerBound) to \(range.upperBound)"
            throw Fault(.usage, "crf is \(crf), and must be \(bounds) for \(codec.rawValue)")
        }
    }
}
