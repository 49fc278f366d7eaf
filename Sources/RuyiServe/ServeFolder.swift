import Glibc
import RuyiEngine
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture

/// The folder that is served: clips as ordinary files, and beside them in `.ruyi-serve` the queue and its pictures.
struct ServeFolder: Sendable {
    let path: String
    private let inner: String
    /// Held for as long as the server runs.
    private let lock: ProcessLock

    /// The widest side of a preview's frames in pixels.
    private static let previewSide = 320

    /// Takes a folder for a server; a second one is refused.
    init(_ path: String) throws(Fault) {
        try ServeFolder.make(path, 0o777)
        // Clips say of their pictures only the names, for the paths begin at the root.
        let root = Path.real(path) ?? path
        self.path = root
        inner = Path.resolve(".ruyi-serve", in: root)
        for folder in [inner, inner + "/pictures", inner + "/previews", inner + "/thumbnails"] {
            try ServeFolder.make(folder, 0o700)
        }
        lock = try ProcessLock(inner + "/lock")
    }

    private static func make(_ folder: String, _ mode: mode_t) throws(Fault) {
        guard Path.kind(folder) != .folder, System.mkdir(folder, mode) != 0 else { return }
        throw Fault.system(.cannotCreate, "cannot create the folder", folder, errno)
    }

    var queue: String { inner + "/queue.sqlite" }
    var pictures: String { inner + "/pictures" }
    func clip(_ job: Job) -> String { Path.resolve(job.name, in: path) }
    func thumbnail(_ id: String) -> String { inner + "/thumbnails/\(id).png" }
    func preview(_ id: String) -> String { inner + "/previews/\(id).webp" }

    /// Removes a job's files.
    func remove(_ job: Job) {
        for path in [clip(job), thumbnail(job.id), preview(job.id)] { System.unlink(path) }
        removeRemains(of: job)
    }

    /// Removes what a job that came to nothing has left.
    func removeRemains(of job: Job) {
        if job.state != .done, Path.kind(clip(job)) == .file { System.unlink(clip(job)) }
        let sections = Path.resolve(Path.stem(job.name) + ".sections", in: path)
        for name in System.names(in: sections) ?? [] { System.unlink(sections + "/" + name) }
        System.rmdir(sections)
    }

    /// Writes a preview's frames as a small moving picture, which is always whole.
    func write(_ frames: [Picture], previewOf id: String) throws(Fault) {
        guard let first = frames.first else { return }
        let factor = max(1, min(8, ServeFolder.previewSide / max(first.width, first.height)))
        let (width, height) = (first.width * factor, first.height * factor)
        let file = try AtomicFile(preview(id), overwrite: true)
        let writer = try VideoWriter(
            path: file.path, container: .webp, width: width, height: height, fps: FrameRate(6),
            options: VideoOptions(codec: .webp, crf: nil, pixelFormat: nil))
        for frame in frames { try writer.append(frame.resized(width: width, height: height, filter: .bicubic)) }
        try writer.finish()
        try file.commit(overwrite: true)
    }
}
