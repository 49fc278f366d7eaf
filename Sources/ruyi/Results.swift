import RuyiEngine
import Synchronization

/// Results as JSON, an object a line.
enum ResultLine {
    /// A clip that is finished.
    static func clip(_ clip: Clip, files: [String], seconds: Double, deviceMemory: Int?) -> String {
        self.clip(
            frames: clip.plan.frames, seed: clip.plan.seed, files: files, seconds: seconds, deviceMemory: deviceMemory)
    }

    /// A clip of so many frames that is finished.
    static func clip(
        frames: Int, seed: UInt64, files: [String], seconds: Double, deviceMemory: Int? = nil
    ) -> String {
        JSON.object(
            [
                .init("type", "clip"), .init("schema", 1), .init("files", .array(files.map(JSON.string))),
                .init("frames", .int(frames)), .init("seed", .exact(seed)),
                .init("seconds", .double((seconds * 1000).rounded() / 1000)),
            ] + (deviceMemory.map { [.init("device_memory_bytes", .int($0))] } ?? [])
        ).text()
    }

    /// A clip that a server is to make.
    static func job(_ clip: RemoteClip) -> String {
        JSON.object([
            .init("type", "job"), .init("schema", 1), .init("id", .string(clip.id)), .init("seed", .exact(clip.seed)),
        ]).text()
    }

    /// A clip of a batch that came to nothing.
    static func failure(_ faults: Faults) -> String {
        JSON.object([
            .init("type", "failure"), .init("schema", 1), .init("exit_code", .int(Int(faults.kind.rawValue))),
            .init("errors", .array(faults.list.map(error))),
        ]).text()
    }

    private static func error(_ fault: Fault) -> JSON {
        .object([
            .init("what", .string(fault.what)), .init("where", fault.place.map(JSON.string) ?? .null),
            .init("hint", fault.hint.map(JSON.string) ?? .null),
        ])
    }

    /// The end of a run: how many clips are finished, and what went wrong.
    static func summary(clips: Int, seconds: Double, faults: Faults?) -> String {
        let errors = (faults?.list ?? []).map(error)
        return JSON.object([
            .init("type", "summary"), .init("schema", 1), .init("clips", .int(clips)),
            .init("seconds", .double((seconds * 1000).rounded() / 1000)),
            .init("exit_code", .int(Int(faults?.kind.rawValue ?? 0))), .init("errors", .array(errors)),
        ]).text()
    }
}

/// The clip that was finished last, as a line of results, from the thread that renders to the one that prints.
final class LastClip: Sendable {
    private let text = Mutex("")

    var line: String {
        get { text.withLock { $0 } }
        set { text.withLock { $0 = newValue } }
    }
}
