import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Synchronization

/// Takes the frames of a clip and makes files of them, all or none.
protocol FrameSink: AnyObject, Sendable {
    /// Takes the next frame.
    func append(_ picture: Picture) throws(Fault)
    /// Brings the files to the disk, still under temporary names.
    func complete() throws(Fault)
    /// Gives the files their names and returns their paths.
    func commit() throws(Fault) -> [String]
    /// Removes what has been written; does nothing after `commit`.
    func discard()
}

/// A video under a temporary name, which takes its own when it is whole.
final class VideoSink: FrameSink {
    private struct State {
        let file: AtomicFile
        let writer: VideoWriter
    }

    private let state: Mutex<State>
    private let overwrite: Bool
    /// Whether the finished video goes to standard output.
    private let isStream: Bool

    /// Begins the file for a plan's frames; `provenance` goes into the video where that holds text.
    init(_ path: String, form: VideoForm, plan: Plan, provenance: Provenance?, overwrite: Bool) throws(Fault) {
        self.overwrite = overwrite
        isStream = path == StandardOutput.name
        // What is streamed is whole before its first byte goes out, and has an index that players want to begin with.
        let place = isStream ? StandardOutput.scratch(form.container.rawValue) : path
        let file = try AtomicFile(place, overwrite: overwrite, isPrivate: isStream)
        var options = form.options
        if let provenance, form.container.holdsTags { options.tags[Provenance.videoTag] = provenance.text }
        let writer = try VideoWriter(
            path: file.path, container: form.container, width: plan.delivered.width, height: plan.delivered.height,
            fps: plan.fps, options: options)
        state = Mutex(State(file: file, writer: writer))
    }

    func append(_ picture: Picture) throws(Fault) {
        try state.withLock { state throws(Fault) in try state.writer.append(picture) }
    }

    func complete() throws(Fault) {
        try state.withLock { state throws(Fault) in try state.writer.finish() }
    }

    func commit() throws(Fault) -> [String] {
        try state.withLock { state throws(Fault) in
            if isStream {
                try StandardOutput.copy(state.file.path)
                state.file.discard()
                return []
            }
            try state.file.commit(overwrite: overwrite)
            return [state.file.target]
        }
    }

    func discard() {
        state.withLock { $0.file.discard() }
    }
}

/// How frames are to be compressed, as far as a person said.
struct Encoding: Sendable, Equatable {
    let codec: String?
    let crf: Int?
    let pixelFormat: String?
    var container: String?
    var isLossless = false
    var proresProfile: String?
    var loop: Int?

    /// Whether everything is left to the container.
    var isStandard: Bool { self == Encoding(codec: nil, crf: nil, pixelFormat: nil) }
}

extension Order {
    /// What the order says about the compression of frames.
    var encoding: Encoding {
        Encoding(
            codec: self.codec, crf: self.crf, pixelFormat: self.pixelFormat, container: self.container,
            isLossless: self.lossless ?? false,
            proresProfile: self.proresProfile, loop: self.loop)
    }
}

/// The container and the encoder's settings for a video's path.
struct VideoForm {
    let container: VideoContainer
    let options: VideoOptions

    /// Throws for a suffix that stands for no container, and for settings that do not fit it.
    init(_ path: String, _ encoding: Encoding) throws(Fault) {
        guard let container = try VideoForm.container(path, encoding) else {
            let known = VideoContainer.allCases.map(\.rawValue).joined(separator: ", ")
            throw Fault(
                .usage,
                Path.suffix(path).isEmpty ? "the output has no suffix to tell its format" : "unknown output format",
                at: path, hint: "known are \(known), and png with a frame number such as out/%05d.png")
        }
        self.container = container
        let profiled = encoding.proresProfile == nil ? nil : container.codecs.first { $0 == .prores }
        let usual = (encoding.isLossless ? container.losslessCodec : profiled) ?? container.codecs[0]
        var options = VideoOptions(
            codec: encoding.codec.flatMap(VideoCodec.init) ?? usual, crf: encoding.crf,
            pixelFormat: encoding.pixelFormat.flatMap(PixelFormat.init))
        options.isLossless = encoding.isLossless
        options.proresProfile = encoding.proresProfile.flatMap(ProResProfile.init)
        options.loop = encoding.loop
        self.options = options
        do throws(Fault) {
            try options.check(in: container)
        } catch {
            throw Fault(error.kind, error.what, at: path, hint: error.hint)
        }
    }

    /// The container that a name and an encoding stand for together; nil for a name of no known form alone.
    private static func container(_ path: String, _ encoding: Encoding) throws(Fault) -> VideoContainer? {
        let named = VideoContainer(path: path)
        guard let asked = encoding.container.flatMap({ VideoContainer(rawValue: $0) }) else {
            return path == StandardOutput.name ? .mp4 : named
        }
        if let named, named != asked {
            throw Fault(
                .usage, "the name says \(named.rawValue) and the container is \(asked.rawValue)", at: path,
                hint: "leave out --container, or give the name another suffix")
        }
        return asked
    }

    /// What is wrong with an encoding that no container takes.
    static func faultAnywhere(_ encoding: Encoding) -> Fault? {
        let containers = VideoContainer.allCases
        let faults = containers.map { fault("clip.\($0.rawValue)", encoding) }
        if faults.contains(where: { $0 == nil }) { return nil }
        // The container that would hold the codec says what is wrong beside it.
        let codec = encoding.codec.flatMap(VideoCodec.init) ?? .h264
        return zip(containers, faults).first { $0.0.codecs.contains(codec) }?.1
    }

    /// What is wrong with an encoding that is asked for with an output of this name; nil for a name of no known form.
    static func fault(_ path: String, _ encoding: Encoding) -> Fault? {
        if Path.suffix(path) == "png" {
            return Fault(
                .usage, "PNG pictures have no container, codec, crf, pixel_format, lossless, prores_profile or loop",
                at: path, hint: "they hold every sample as it was rendered in any case")
        }
        guard VideoContainer(path: path) != nil || encoding.container != nil || path == StandardOutput.name
        else { return nil }
        do throws(Fault) {
            _ = try VideoForm(path, encoding)
            return nil
        } catch {
            return error
        }
    }
}

/// One exact PNG picture a frame; all take their names when the last one is written.
final class PictureSink: FrameSink {
    private struct State {
        let waiting: AtomicFolder
        var count = 0
        var isCommitted = false
    }

    private let output: Output
    private let tags: [(key: String, text: String)]
    private let overwrite: Bool
    private let state: Mutex<State>
    /// The folder that was made for the pictures.
    private let made: MadeFolder?

    /// Begins a sequence; its folder is made when it is missing, and `provenance` goes into every picture.
    init(_ output: Output, provenance: Provenance?, overwrite: Bool) throws(Fault) {
        self.output = output
        tags = provenance.map { [(Provenance.pictureTag, $0.text)] } ?? []
        self.overwrite = overwrite
        let first = output.path(0)
        made = try MadeFolder(Path.folder(first))
        do {
            state = Mutex(State(waiting: try AtomicFolder(beside: first)))
        } catch {
            made?.remove()
            throw error
        }
    }

    func append(_ picture: Picture) throws(Fault) {
        try state.withLock { state throws(Fault) in
            let name = Path.name(output.path(state.count))
            try PictureWriter.write(picture, to: state.waiting.file(name, overwrite: overwrite), tags: tags)
            state.count += 1
        }
    }

    func complete() throws(Fault) {}

    func commit() throws(Fault) -> [String] {
        try state.withLock { state throws(Fault) in
            let paths = try state.waiting.commit(overwrite: overwrite)
            state.isCommitted = true
            made?.keep()
            return paths
        }
    }

    func discard() {
        state.withLock { state in
            if state.isCommitted { return }
            state.waiting.discard()
            made?.remove()
        }
    }
}

/// A folder that was made for an output and goes again when the output does not come about.
final class MadeFolder: Sendable {
    private static let pending = Mutex<[String]>([])
    private let path: String

    /// Makes the folder; nil when there is one already.
    init?(_ path: String) throws(Fault) {
        self.path = path
        MadeFolder.pending.withLock { $0.append(path) }
        if System.mkdir(path, 0o777) == 0 { return }
        let code = errno
        keep()
        if code == EEXIST { return nil }
        throw Fault.system(.cannotCreate, "cannot create the output's folder", path, code)
    }

    /// Leaves the folder for good.
    func keep() { MadeFolder.pending.withLock { $0.removeAll { $0 == path } } }

    /// Takes the folder away if it is empty.
    func remove() {
        System.rmdir(path)
        keep()
    }

    /// Takes away every folder that has not got its output yet, if it is empty.
    static func removeAll() { for path in pending.withLock({ $0 }) { System.rmdir(path) } }
}
