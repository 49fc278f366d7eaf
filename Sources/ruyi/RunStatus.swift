import RuyiEngine
import Synchronization

/// How far a run is, for whoever asks in the middle of it.
final class RunStatus: Sendable {
    private struct State {
        var clip: (index: Int, count: Int)?
        var progress: Progress?
        var received = ContinuousClock.now
        var finished = 0
        /// Seconds of video that are there, in words.
        var made: String?
    }

    private let state = Mutex(State())

    /// Takes note of an event.
    func receive(_ event: Event) {
        state.withLock { state in
            switch event {
            case .planned(let clip):
                state.clip = (clip.index, clip.count)
                (state.progress, state.made) = (nil, nil)
            case .section(let section, let clip): state.made = section.text(of: clip)
            case .step(let progress):
                state.progress = progress
                state.received = .now
            case .finished:
                state.finished += 1
                state.progress = nil
            case .note, .warning, .stage, .preview, .transfer: break
            }
        }
    }

    /// One line: clip, stage, share, times and memory.
    var text: String {
        state.withLock { state in
            var parts: [String] = []
            if let clip = state.clip { parts.append("clip \(clip.index + 1) of \(clip.count)") }
            if let progress = state.progress {
                let waited = (ContinuousClock.now - state.received) / .seconds(1)
                parts.append("\(progress.stage) \(progress.done)/\(progress.total)")
                parts.append("\(Int(progress.fraction * 100))% done")
                parts.append("\(TimeText.short(progress.elapsed + waited)) gone")
                if let made = state.made { parts.append(made) }
                if let left = progress.remaining { parts.append("\(TimeText.short(max(0, left - waited))) left") }
            } else {
                parts.append(state.clip == nil ? "nothing is being rendered yet" : "between two stages")
            }
            if state.finished > 0 { parts.append("\(state.finished) finished") }
            if let memory = ProcessMemory.resident { parts.append("\(memory >> 20) MiB in memory") }
            return parts.joined(separator: ", ")
        }
    }

    /// The same as an event.
    var json: String {
        state.withLock { state in
            let waited = (ContinuousClock.now - state.received) / .seconds(1)
            let progress = state.progress
            return JSON.object([
                .init("clip", state.clip.map { .int($0.index + 1) } ?? .null),
                .init("clips", state.clip.map { .int($0.count) } ?? .null), .init("event", "status"),
                .init("elapsed", progress.map { .double($0.elapsed + waited) } ?? .null),
                .init("finished", .int(state.finished)),
                .init("fraction", progress.map { .double($0.fraction) } ?? .null),
                .init("memory_bytes", ProcessMemory.resident.map { .int($0) } ?? .null),
                .init("made", state.made.map { .string($0) } ?? .null),
                .init("remaining", progress?.remaining.map { .double(max(0, $0 - waited)) } ?? .null),
                .init("schema", 1), .init("stage", progress.map { .string($0.stage) } ?? .null),
            ]).text()
        }
    }
}
