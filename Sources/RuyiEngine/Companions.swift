import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Synchronization

/// The files that a clip has beside it: how it was made, a picture of it, a sheet of its frames.
struct CompanionNames: Sendable, Equatable {
    var sidecar: String?
    var thumbnail: String?
    var sheet: String?

    /// All of them.
    var paths: [String] { [sidecar, thumbnail, sheet].compactMap { $0 } }
}

/// Makes a clip's companions from its frames; they appear with the clip or not at all.
final class Companions: Sendable {
    /// Frames of a sheet.
    private static let sheetFrames = 8
    /// The width of a sheet's frame in pixels.
    private static let sheetWidth = 256

    private struct State {
        var count = 0
        var thumbnail: Picture?
        var shown: [Picture] = []
        var files: [AtomicFile] = []
        var committed: [String] = []
    }

    private let names: CompanionNames
    private let clip: Clip
    private let provenance: Provenance
    private let overwrite: Bool
    private let state = Mutex(State())

    init(_ clip: Clip, provenance: Provenance, overwrite: Bool) {
        names = clip.companions
        self.clip = clip
        self.provenance = provenance
        self.overwrite = overwrite
    }

    /// Looks at the next frame.
    func append(_ picture: Picture) {
        guard names.thumbnail != nil || names.sheet != nil else { return }
        let (frames, limit) = (clip.plan.frames, Companions.sheetFrames)
        state.withLock { state in
            let shown = frames <= limit ? Array(0..<frames) : (0..<limit).map { $0 * (frames - 1) / (limit - 1) }
            if names.sheet != nil, shown.contains(state.count) {
                state.shown.append(Sheet.reduced(picture, width: Companions.sheetWidth))
            }
            if names.thumbnail != nil, state.count == frames / 2 { state.thumbnail = picture }
            state.count += 1
        }
    }

    /// Writes the files under temporary names.
    func complete() throws(Fault) {
        try state.withLock { state throws(Fault) in
            if let path = names.sidecar {
                try write(Array((provenance.json.text(pretty: true) + "\n").utf8), path, &state)
            }
            if let path = names.thumbnail, let picture = state.thumbnail {
                try write(try PictureWriter.png(picture), path, &state)
            }
            if let path = names.sheet {
                let caption = Sheet.caption(Path.name(clip.output.text), provenance)
                let sheet = try Sheet(rows: [(state.shown, caption)], width: Companions.sheetWidth)
                try write(try PictureWriter.png(sheet.picture), path, &state)
            }
        }
    }

    private func write(_ bytes: [UInt8], _ path: String, _ state: inout State) throws(Fault) {
        let file = try AtomicFile(path, overwrite: overwrite)
        state.files.append(file)
        try file.write(bytes)
    }

    /// Gives the files their names.
    func commit() throws(Fault) {
        try state.withLock { state throws(Fault) in
            for file in state.files {
                try file.commit(overwrite: overwrite)
                state.committed.append(file.target)
            }
            state.files = []
        }
    }

    /// Removes what has been written, for a clip that came to nothing.
    func discard() {
        state.withLock { state in
            state.files.forEach { $0.discard() }
            for path in state.committed { System.unlink(path) }
            (state.files, state.committed) = ([], [])
        }
    }
}
