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

    /// The container that a file name's extension stands for.
    public init?(path: String) {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return nil }
        self.init(rawValue: name[name.index(after: dot)...].lowercased())
    }

    /// The container's name in libav.
    var muxer: String {
        switch self {
        case .mp4: "mp4"
        case .mov: "mov"
        case .mkv: "matroska"
        }
    }
}

/// How frames are compressed.
public enum VideoCodec: String, Sendable, CaseIterable {
    /// H.264 with 4:2:0 colour, which every player shows.
    case h264
    /// ProRes 422 HQ with 10 bits, for editing.
    case prores
    /// FFV1, which keeps every sample of the RGB frames.
    case ffv1

    /// The encoder's name in libav.
    var encoder: String {
        switch self {
        case .h264: "libx264"
        case .prores: "prores_ks"
        case .ffv1: "ffv1"
        }
    }

    /// The stored pixel format's name in libav.
    var pixelFormat: String {
        switch self {
        case .h264: "yuv420p"
        case .prores: "yuv422p10le"
        case .ffv1: "bgr0"
        }
    }

    /// The sides of a frame must be multiples of these.
    var steps: (width: Int, height: Int) {
        switch self {
        case .h264: (2, 2)
        case .prores: (2, 1)
        case .ffv1: (1, 1)
        }
    }
}

/// Settings of a video file that do not come from the frames.
public struct VideoOptions: Sendable {
    /// How frames are compressed.
    public var codec: VideoCodec
    /// H.264's quality, from 1 (best) to 51.
    public var crf: Int
    /// H.264's trade of time for size, by x264's name.
    public var preset: String
    /// Encoder threads, on which the file's bytes depend, so they do not follow the machine.
    public var threads: Int
    /// Text kept in the file, such as `title` and `comment`.
    public var tags: [String: String]

    /// The default settings, unless given otherwise.
    public init(
        codec: VideoCodec = .h264, crf: Int = 17, preset: String = "medium", threads: Int = 4,
        tags: [String: String] = [:]
    ) {
        self.codec = codec
        self.crf = crf
        self.preset = preset
        self.threads = threads
        self.tags = tags
    }

    /// The encoder's own options in libav's notation.
    var settings: String {
        switch codec {
        case .h264: "preset=\(preset):crf=\(crf)"
        case .prores: "profile=hq:vendor=apl0"
        case .ffv1: "level=3:slices=4:slicecrc=1"
        }
    }
}
