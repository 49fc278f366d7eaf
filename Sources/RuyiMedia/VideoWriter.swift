import CLibAV
import RuyiFault
import RuyiPicture

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Writes a video file, one frame at a time.
///
/// The same frames and options give the same bytes. Colours are BT.709 in limited range and tagged so. After a fault
/// the writer accepts nothing more, and what is on the disk is worthless; removing it is the caller's affair. Writing
/// past a file size limit raises SIGXFSZ, which the process must ignore for it to arrive as a fault.
public final class VideoWriter {
    /// The presets that x264 knows, fastest first.
    public static let presets = [
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
    ]

    /// The file that is written.
    public let path: String
    /// The frames that were appended.
    public private(set) var frameCount = 0

    private let container: VideoContainer
    private let fps: FrameRate
    private let width: Int
    private let height: Int
    private let handle: OpaquePointer

    /// Throws `.unavailable` if this libav cannot write such files, and says what it can write.
    public static func availability(container: VideoContainer, options: VideoOptions = VideoOptions()) throws(Fault) {
        try availability(
            container: container, encoder: options.encoder,
            pixelFormat: options.codec.name(of: options.storedFormat))
    }

    /// As the other one, with the names that libav has for encoder and pixel format.
    package static func availability(
        container: VideoContainer, encoder: String, pixelFormat: String
    ) throws(Fault) {
        guard let missing = missing(container.muxer, encoder, pixelFormat) else { return }
        throw Fault(.unavailable, missing, hint: alternatives(container))
    }

    /// Whether this libav can write a codec's usual pixel format into a container.
    static func canEncode(_ codec: VideoCodec, in container: VideoContainer) -> Bool {
        missing(container.muxer, codec.encoder, codec.name(of: codec.pixelFormats[0])) == nil
    }

    /// What this libav lacks to write such files; nil when it has everything.
    private static func missing(_ muxer: String, _ encoder: String, _ pixelFormat: String) -> String? {
        var message = MessageBuffer()
        let status = message.fill { text, room in ruyi_av_check(muxer, encoder, pixelFormat, text, room) }
        return status == RUYI_AV_OK ? nil : message.text
    }

    /// What works here instead, for the hint of a fault.
    private static func alternatives(_ container: VideoContainer) -> String {
        let here = container.codecs.filter { canEncode($0, in: container) }
        let others = VideoContainer.allCases.filter { canEncode($0.codecs[0], in: $0) }
        let first =
            here.isEmpty
            ? "these containers work here: \(others.map(\.rawValue).joined(separator: ", "))"
            : "in \(container.rawValue) these work here: \(here.map(\.rawValue).joined(separator: ", "))"
        return first + "; numbered PNG frames such as out/%05d.png always do"
    }

    /// Throws if a video of this size, rate and settings cannot be written, without creating anything.
    ///
    /// - Throws: `.usage` for what is wrong with the settings, `.unavailable` for what this libav lacks.
    public static func check(
        width: Int, height: Int, fps: FrameRate, container: VideoContainer, options: VideoOptions = VideoOptions()
    ) throws(Fault) {
        let format = options.storedFormat
        let steps = format.steps
        guard (1...16_384).contains(width), (1...16_384).contains(height) else {
            throw Fault(.usage, "a video cannot have \(width)x\(height) pixels")
        }
        try options.check(in: container)
        guard width.isMultiple(of: steps.width), height.isMultiple(of: steps.height) else {
            throw Fault(
                .usage,
                "a video of \(width)x\(height) pixels cannot be written: \(format.rawValue) needs an even "
                    + (steps.height == 2 ? "width and height" : "width"),
                hint: "use \(width + width % steps.width)x\(height + height % steps.height)"
                    + (options.codec.pixelFormats.contains(.yuv444p) ? ", or the pixel format yuv444p" : ""))
        }
        // libav's FFV1 cuts frames into four slices, and those of a few pixels come back wrong.
        guard options.codec != .ffv1 || min(width, height) >= 8 else {
            throw Fault(.usage, "ffv1 does not take a video of \(width)x\(height) pixels, 8x8 at least")
        }
        guard fps.numerator > 0, fps.denominator > 0, fps.numerator <= 1_000_000, fps.denominator <= 1_000_000,
            (0.01...1000).contains(fps.framesPerSecond)
        else { throw Fault(.usage, "a video cannot have \(fps) frames a second") }
        // Browsers take a delay below two hundredths of a second for ten of them.
        guard container != .gif || fps.framesPerSecond <= 50 else {
            throw Fault(.usage, "a GIF cannot have \(fps) frames a second, 50 at most", hint: "give --fps 25 or 50")
        }
        guard presets.contains(options.preset) else {
            throw Fault(.usage, "no preset is called \(options.preset)", hint: presets.joined(separator: ", "))
        }
        guard (1...64).contains(options.threads) else {
            throw Fault(.usage, "\(options.threads) encoder threads are not in 1...64")
        }
        try availability(container: container, options: options)
        try accepts(width: width, height: height, fps: fps, container: container, options: options)
    }

    /// Opens and closes the encoder, which has limits of its own.
    private static func accepts(
        width: Int, height: Int, fps: FrameRate, container: VideoContainer, options: VideoOptions
    ) throws(Fault) {
        var message = MessageBuffer()
        let status = withPlan("", width, height, fps, container, options) { plan in
            message.fill { text, room in ruyi_av_try(plan, text, room) }
        }
        if status == RUYI_AV_OK { return }
        guard status != RUYI_AV_MEMORY else { throw Fault(.resources, message.text) }
        throw Fault(
            .usage, "\(options.codec.rawValue) does not take a video of \(width)x\(height) pixels: \(message.text)",
            hint: alternatives(container))
    }

    /// Calls `body` with the plan in C's form.
    private static func withPlan<Result>(
        _ path: UnsafePointer<CChar>, _ width: Int, _ height: Int, _ fps: FrameRate, _ container: VideoContainer,
        _ options: VideoOptions, _ body: (UnsafePointer<ruyi_av_plan>) -> Result
    ) -> Result {
        let tags = options.tags.sorted { $0.key < $1.key }
        let codec = options.codec
        let fixed = [
            container.muxer, options.encoder, codec.name(of: options.storedFormat), options.settings,
            codec.filter ?? "",
        ]
        return withCStrings(fixed + tags.map(\.key) + tags.map(\.value)) { strings in
            let keys = Array(strings.dropFirst(fixed.count).prefix(tags.count))
            let values = Array(strings.dropFirst(fixed.count + tags.count))
            return keys.withUnsafeBufferPointer { keys in
                values.withUnsafeBufferPointer { values in
                    var plan = ruyi_av_plan(
                        path: path, container: strings[0], encoder: strings[1], pixel_format: strings[2],
                        settings: strings[3], filter: codec.filter == nil ? nil : strings[4], width: Int32(width),
                        height: Int32(height), rate_num: Int32(fps.numerator), rate_den: Int32(fps.denominator),
                        threads: Int32(options.threads), lossless: options.isLossless ? 1 : 0,
                        loop: Int32(options.loop ?? 0), tags: Int32(tags.count), keys: keys.baseAddress,
                        values: values.baseAddress)
                    return body(&plan)
                }
            }
        }
    }

    /// Creates the file at `path`, whose name says nothing; the container is that of the final name.
    public init(
        path: String, container: VideoContainer, width: Int, height: Int, fps: FrameRate,
        options: VideoOptions = VideoOptions()
    ) throws(Fault) {
        try VideoWriter.check(width: width, height: height, fps: fps, container: container, options: options)
        guard !path.utf8.contains(0) else { throw Fault(.cannotCreate, "not a file name", at: path) }
        var message = MessageBuffer()
        var handle: OpaquePointer?
        let status = System.withPath(path, failure: Int32(RUYI_AV_CREATE)) { place in
            VideoWriter.withPlan(place, width, height, fps, container, options) { plan in
                message.fill { text, room in ruyi_av_writer_open(&handle, plan, text, room) }
            }
        }
        guard status == RUYI_AV_OK, let handle else {
            ruyi_av_writer_free(handle)
            throw Fault(videoKind(status), "cannot write the video: \(message.text)", at: path)
        }
        self.path = path
        self.container = container
        self.width = width
        self.height = height
        self.fps = fps
        self.handle = handle
    }

    deinit { ruyi_av_writer_free(handle) }

    /// Encodes the next frame.
    public func append(_ picture: Picture) throws(Fault) {
        precondition(
            picture.width == width && picture.height == height,
            "a frame of \(picture.width)x\(picture.height) in a video of \(width)x\(height)")
        var message = MessageBuffer()
        let status = picture.pixels.withUnsafeBufferPointer { rgb in
            message.fill { text, room in ruyi_av_writer_append(handle, rgb.baseAddress, text, room) }
        }
        guard status == RUYI_AV_OK else {
            throw Fault(videoKind(status), "cannot write the video: \(message.text)", at: path)
        }
        frameCount += 1
    }

    /// Completes the file, brings it to the disk, and reads it back to see that every frame is there.
    public func finish() throws(Fault) {
        guard frameCount > 0 else { throw Fault(.software, "a video needs at least one frame", at: path) }
        var message = MessageBuffer()
        let status = message.fill { text, room in ruyi_av_writer_finish(handle, text, room) }
        guard status == RUYI_AV_OK else {
            throw Fault(videoKind(status), "cannot write the video: \(message.text)", at: path)
        }
        let descriptor = System.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Fault.system(.io, "cannot write the video", path, errno) }
        defer { close(descriptor) }
        let failure = flushed(descriptor)
        guard failure == 0 else { throw Fault.system(.io, "cannot write the video", path, failure) }
        if container == .webp { try checkWebP() }
    }
}

extension VideoWriter {
    /// Reads a WebP file back: libav writes animations, and cannot read them.
    ///
    /// Frames that are equal to the one before are joined to it, so that the duration counts and not their number.
    private func checkWebP() throws(Fault) {
        let facts = try WebPFile.facts(path)
        let expected = Double(frameCount) / fps.framesPerSecond * 1000
        let isComplete =
            facts.width == width && facts.height == height && facts.frameCount <= frameCount
            && (facts.frameCount == 1 || abs(Double(facts.milliseconds) - expected) <= 2000 / fps.framesPerSecond)
        guard isComplete else {
            throw Fault(
                .io,
                "cannot write the video: the file holds \(facts.frameCount) frames of \(facts.width)x\(facts.height) "
                    + "and \(facts.milliseconds) ms", at: path)
        }
    }
}

/// The kind of fault that a status of the C functions stands for.
func videoKind(_ status: Int32) -> Fault.Kind {
    switch Int(status) {
    case RUYI_AV_BAD: .badData
    case RUYI_AV_IO: .io
    case RUYI_AV_CREATE: .cannotCreate
    case RUYI_AV_OPEN: .cannotOpen
    case RUYI_AV_UNAVAILABLE: .unavailable
    case RUYI_AV_MEMORY: .resources
    default: .software
    }
}
