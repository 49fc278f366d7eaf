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

    private let width: Int
    private let height: Int
    private let handle: OpaquePointer

    /// Throws if this libav cannot write such files, so that a run is refused before its long part.
    public static func availability(container: VideoContainer, codec: VideoCodec = .h264) throws(Fault) {
        var message = MessageBuffer()
        let status = message.fill { text, room in
            ruyi_av_check(container.muxer, codec.encoder, codec.pixelFormat, text, room)
        }
        guard status == RUYI_AV_OK else { throw unavailable(message.text) }
    }

    /// Throws if a video of this size, rate and settings cannot be written, without creating anything.
    public static func check(
        width: Int, height: Int, fps: FrameRate, container: VideoContainer, options: VideoOptions = VideoOptions()
    ) throws(Fault) {
        let steps = options.codec.steps
        guard (1...16_384).contains(width), (1...16_384).contains(height) else {
            throw Fault(.usage, "a video cannot have \(width)x\(height) pixels")
        }
        guard width.isMultiple(of: steps.width), height.isMultiple(of: steps.height) else {
            throw Fault(
                .usage,
                "a video of \(width)x\(height) pixels cannot be written: \(options.codec.rawValue) needs an even "
                    + (steps.height == 2 ? "width and height" : "width"),
                hint: "use \(width + width % steps.width)x\(height + height % steps.height)")
        }
        guard fps.numerator > 0, fps.denominator > 0, fps.numerator <= 1_000_000, fps.denominator <= 1_000_000,
            (0.01...1000).contains(fps.framesPerSecond)
        else { throw Fault(.usage, "a video cannot have \(fps) frames a second") }
        guard (1...51).contains(options.crf) else { throw Fault(.usage, "the CRF \(options.crf) is not in 1...51") }
        guard presets.contains(options.preset) else {
            throw Fault(.usage, "no preset is called \(options.preset)", hint: presets.joined(separator: ", "))
        }
        guard (1...64).contains(options.threads) else {
            throw Fault(.usage, "\(options.threads) encoder threads are not in 1...64")
        }
        try availability(container: container, codec: options.codec)
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
        let tags = options.tags.sorted { $0.key < $1.key }
        let fixed = [path, container.muxer, options.codec.encoder, options.codec.pixelFormat, options.settings]
        let status = withCStrings(fixed + tags.map(\.key) + tags.map(\.value)) { strings in
            let keys = Array(strings.dropFirst(5).prefix(tags.count))
            let values = Array(strings.dropFirst(5 + tags.count))
            return keys.withUnsafeBufferPointer { keys in
                values.withUnsafeBufferPointer { values in
                    var plan = ruyi_av_plan(
                        path: strings[0], container: strings[1], encoder: strings[2], pixel_format: strings[3],
                        settings: strings[4], width: Int32(width), height: Int32(height),
                        rate_num: Int32(fps.numerator), rate_den: Int32(fps.denominator),
                        threads: Int32(options.threads), tags: Int32(tags.count), keys: keys.baseAddress,
                        values: values.baseAddress)
                    return message.fill { text, room in ruyi_av_writer_open(&handle, &plan, text, room) }
                }
            }
        }
        guard status == RUYI_AV_OK, let handle else {
            ruyi_av_writer_free(handle)
            throw VideoWriter.fault(status, message.text, at: path)
        }
        self.path = path
        self.width = width
        self.height = height
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
        guard status == RUYI_AV_OK else { throw VideoWriter.fault(status, message.text, at: path) }
        frameCount += 1
    }

    /// Completes the file, brings it to the disk, and reads it back to see that every frame is there.
    public func finish() throws(Fault) {
        guard frameCount > 0 else { throw Fault(.software, "a video needs at least one frame", at: path) }
        var message = MessageBuffer()
        let status = message.fill { text, room in ruyi_av_writer_finish(handle, text, room) }
        guard status == RUYI_AV_OK else { throw VideoWriter.fault(status, message.text, at: path) }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Fault(.io, "cannot write the video: \(systemError())", at: path) }
        defer { close(descriptor) }
        let failure = flushed(descriptor)
        guard failure == 0 else { throw Fault(.io, "cannot write the video: \(systemError(failure))", at: path) }
    }

    private static func unavailable(_ text: String) -> Fault {
        Fault(
            .unavailable, text,
            hint: "install a libav that has it, or write numbered PNG frames with an output such as out/%05d.png")
    }

    private static func fault(_ status: Int32, _ text: String, at path: String) -> Fault {
        if status == RUYI_AV_UNAVAILABLE { return unavailable(text) }
        return Fault(videoKind(status), "cannot write the video: \(text)", at: path)
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
