import RuyiFault
import RuyiFiles

extension Event {
    /// The event as a JSON object on one line.
    public var json: String {
        switch self {
        case .note(let text): line("note", ["message": .string(text)])
        case .warning(let text): line("warning", ["message": .string(text)])
        case .planned(let clip):
            line("plan", ["clip": .int(clip.index + 1), "clips": .int(clip.count), "plan": clip.description])
        case .stage(let name, let index, let count):
            line("stage", ["stage": .string(name), "index": .int(index + 1), "stages": .int(count)])
        case .step(let progress):
            line(
                "step",
                [
                    "stage": .string(progress.stage), "done": .int(progress.done), "total": .int(progress.total),
                    "fraction": rounded(progress.fraction), "elapsed": rounded(progress.elapsed),
                    "remaining": progress.remaining.map(rounded) ?? .null, "clip": .int(progress.clip + 1),
                    "clips": .int(progress.clips), "run_fraction": rounded(progress.runFraction),
                    "run_elapsed": rounded(progress.runElapsed),
                    "run_remaining": progress.runRemaining.map(rounded) ?? .null,
                ])
        case .section(let section, let clip):
            line(
                "section",
                [
                    "done": .int(section.made), "total": .int(section.total), "frames": .int(section.frames),
                    "seconds": rounded(Double(section.frames) / clip.plan.fps.framesPerSecond),
                    "total_seconds": rounded(clip.seconds), "part": .string(section.isEnd ? "end" : "start"),
                    "file": .text(clip.plan.grows ? clip.output.text : nil),
                ])
        case .preview(let preview):
            line(
                "preview",
                ["step": .int(preview.step), "steps": .int(preview.steps), "file": .text(preview.file)])
        case .transfer(let transfer):
            line(
                "transfer",
                [
                    "files": .int(transfer.files.done), "total_files": .int(transfer.files.total),
                    "bytes": .int(transfer.bytes.done), "total_bytes": .int(transfer.bytes.total),
                    "bytes_per_second": .int(Int(transfer.rate)), "elapsed": rounded(transfer.elapsed),
                    "remaining": transfer.remaining.map(rounded) ?? .null,
                ])
        case .finished(let clip, let files, let seconds, let deviceMemory):
            line(
                "done",
                [
                    "files": .array(files.map(JSON.string)), "frames": .int(clip.plan.frames),
                    "seed": .exact(clip.plan.seed), "seconds": rounded(seconds),
                    "device_memory_bytes": deviceMemory.map(JSON.int) ?? .null,
                ])
        }
    }

    private func line(_ event: String, _ fields: [String: JSON]) -> String {
        JSON.sorted(fields.merging(["schema": 1, "event": .string(event)]) { first, _ in first }).text()
    }

    private func rounded(_ value: Double) -> JSON { .double((value * 10_000).rounded() / 10_000) }
}

extension Fault {
    /// The fault as a JSON object on one line, in the form of the events.
    public var json: String {
        JSON.sorted([
            "schema": 1, "event": "error", "message": .string(description), "what": .string(what),
            "where": .text(place), "hint": .text(hint), "exit_code": .int(Int(kind.rawValue)),
        ]).text()
    }
}

extension JSON {
    /// An object whose members are in alphabetical order.
    static func sorted(_ fields: [String: JSON]) -> JSON {
        .object(fields.sorted { $0.key < $1.key }.map { Member($0.key, $0.value) })
    }

    /// A string, or null.
    static func text(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }

    /// A number that may be too large for `Int`.
    package static func exact(_ value: UInt64) -> JSON {
        (try? JSON.parse(Array(String(value).utf8), file: "")) ?? .null
    }
}
