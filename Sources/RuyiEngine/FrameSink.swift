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

    /// Begins the file for a plan's frames.
    init(_ path: String, form: VideoForm, plan: Plan, overwrite: Bool) throws(Fault) {
        self.overwrite = overwrite
        let file = try AtomicFile(path, overwrite: overwrite)
        let writer = try VideoWriter(
            path: file.path, container: form.container, width: plan.width, height: plan.height,
            fps: FrameRate(plan.fps),
            options: form.options)
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
            try state.file.commit(overwrite: overwrite)
            return [state.file.target]
        }
    }

    func discard() { state.withLock { $0.file.discard() } }
}

/// The container and the encoder's settings for a video's path.
struct VideoForm {
    let container: VideoContainer
    let options: VideoOptions

    /// Throws for a suffix that stands for no container.
    init(_ path: String, crf: Int?) throws(Fault) {
        guard let container = VideoContainer(path: path) else {
            let known = VideoContainer.allCases.map(\.rawValue).joined(separator: ", ")
            throw Fault(
                .usage,
                Path.suffix(path).isEmpty ? "the output has no suffix to tell its format" : "unknown output format",
                at: path, hint: "known are \(known), and png with a frame number such as out/%05d.png")
        }
        self.container = container
        var options = VideoOptions()
        if let crf { options.crf = crf }
        self.options = options
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
    private let overwrite: Bool
    private let state: Mutex<State>
    /// The folder that was made for the pictures.
    private let made: MadeFolder?

    /// Begins a sequence; its folder is made when it is missing.
    init(_ output: Output, overwrite: Bool) throws(Fault) {
        self.output = output
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
            try PictureWriter.write(picture, to: state.waiting.file(name, overwrite: overwrite))
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
        if mkdir(path, 0o777) == 0 { return }
        let code = errno
        keep()
        if code == EEXIST { return nil }
        throw Fault(.cannotCreate, "cannot create the output's folder: \(Path.reason(code))", at: path)
    }

    /// Leaves the folder for good.
    func keep() { MadeFolder.pending.withLock { $0.removeAll { $0 == path } } }

    /// Takes the folder away if it is empty.
    func remove() {
        rmdir(path)
        keep()
    }

    /// Takes away every folder that has not got its output yet, if it is empty.
    static func removeAll() { for path in pending.withLock({ $0 }) { rmdir(path) } }
}
