import CLibAV
import RuyiFault
import RuyiPicture

/// What a video file says about itself.
public struct VideoFacts: Sendable, Equatable {
    /// Width in pixels.
    public let width: Int
    /// Height in pixels.
    public let height: Int
    /// Frames in the file, counted.
    public let frameCount: Int
    /// Frames a second.
    public let fps: FrameRate
    /// Length in seconds, as the container states it.
    public let seconds: Double
    /// libav's name of the codec, such as `h264`.
    public let codec: String
    /// libav's name of the pixel format, such as `yuv420p`.
    public let pixelFormat: String
    /// libav's name of the container.
    public let container: String
    /// Colour primaries, such as `bt709`; `unknown` where the file does not say.
    public let primaries: String
    /// Transfer characteristics.
    public let transfer: String
    /// Matrix from RGB to luma and chroma.
    public let matrix: String
    /// `tv` for limited range, `pc` for full range.
    public let range: String
    /// Text in the file.
    public let tags: [String: String]
}

/// Reads a video's frames as RGB pictures, one at a time.
///
/// Colours are converted by the frame's own matrix, and by BT.709 where it names none.
public final class VideoReader {
    /// What the file says about itself.
    public let facts: VideoFacts

    private let path: String
    private let handle: OpaquePointer

    /// Opens a mp4, mov, mkv, webm or gif file of a codec that the program writes; `maxPixels` limits a single frame.
    public init(_ path: String, maxPixels: Int = PictureReader.defaultMaxPixels) throws(Fault) {
        try InputFile.with(path) { _ throws(Fault) in }
        var message = MessageBuffer()
        var handle: OpaquePointer?
        var found = ruyi_av_facts()
        var packets: Int64 = 0
        var duration: Int64 = 0
        var status = message.fill { text, room in
            System.withPath(path, failure: Int32(RUYI_AV_OPEN)) {
                ruyi_av_reader_open(&handle, $0, Int64(maxPixels), &found, text, room)
            }
        }
        if status == RUYI_AV_OK {
            status = message.fill { text, room in
                System.withPath(path, failure: Int32(RUYI_AV_OPEN)) {
                    ruyi_av_count($0, max(1, found.rate_num), max(1, found.rate_den), &packets, &duration, text, room)
                }
            }
        }
        guard status == RUYI_AV_OK, let handle else {
            ruyi_av_reader_free(handle)
            throw Fault(videoKind(status), "cannot read the video: \(message.text)", at: path)
        }
        self.path = path
        self.handle = handle
        facts = VideoFacts(
            width: Int(found.width), height: Int(found.height), frameCount: Int(packets),
            fps: FrameRate(Int(found.rate_num), Int(found.rate_den)), seconds: Double(found.duration_us) / 1_000_000,
            codec: text(found.codec), pixelFormat: text(found.pixel_format), container: text(found.container),
            primaries: text(found.primaries), transfer: text(found.transfer), matrix: text(found.matrix),
            range: text(found.range), tags: tags(handle))
    }

    deinit { ruyi_av_reader_free(handle) }

    /// The next frame, or nil after the last.
    public func next() throws(Fault) -> Picture? {
        var message = MessageBuffer()
        var status: Int32 = 0
        let pixels = [UInt8](unsafeUninitializedCapacity: facts.width * facts.height * 3) { rgb, count in
            status = message.fill { text, room in ruyi_av_reader_next(handle, rgb.baseAddress, text, room) }
            count = status == RUYI_AV_OK ? facts.width * facts.height * 3 : 0
        }
        if status == RUYI_AV_END { return nil }
        guard status == RUYI_AV_OK else {
            throw Fault(videoKind(status), "cannot read the video: \(message.text)", at: path)
        }
        return Picture(width: facts.width, height: facts.height, pixels: pixels)
    }
}

/// The text in a C array of characters.
private func text<Characters>(_ characters: Characters) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

/// The file's tags.
private func tags(_ handle: OpaquePointer) -> [String: String] {
    var result: [String: String] = [:]
    var key: UnsafePointer<CChar>?
    var value: UnsafePointer<CChar>?
    while ruyi_av_reader_tag(handle, Int32(result.count), &key, &value) != 0, let name = key, let content = value {
        let old = result.updateValue(String(cString: content), forKey: String(cString: name))
        if old != nil { break }
    }
    return result
}
