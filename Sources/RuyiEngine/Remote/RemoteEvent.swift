import RuyiFamilies
import RuyiFault
import RuyiFiles

/// What a server tells of a clip that it makes.
public struct RemoteEvent: Sendable {
    /// What there is to know.
    public enum Content: Sendable {
        /// What a run here would tell too.
        case event(Event)
        /// What the clip will be, in a line.
        case planned(String)
        /// Some of it can be watched.
        case section(String)
        /// How it stands.
        case state(RemoteClip)
    }

    /// What there is to know.
    public let content: Content
    /// The same as an object on one line, as the server has it.
    public let json: String

    /// Reads an event of the clip at a place of a run that was begun so many seconds ago; nil for what is nobody's
    /// business here.
    public init?(_ name: String, _ json: JSON, clip: (index: Int, count: Int), elapsed: Double) {
        self.json = json.text()
        let message = json["message"]?.string
        switch name {
        case "note": content = .event(.note(message ?? ""))
        case "warning": content = .event(.warning(message ?? ""))
        case "plan": content = .planned(RemoteEvent.summary(json["plan"] ?? .null, clip))
        case "stage":
            let (index, count) = (json["index"]?.int ?? 1, json["stages"]?.int ?? 1)
            content = .event(.stage(name: RemoteEvent.stage(json), index: max(index, 1) - 1, count: count))
        case "step": content = .event(.step(RemoteEvent.progress(json, clip, elapsed)))
        case "section":
            let (made, whole) = (RemoteEvent.number(json["seconds"]), RemoteEvent.number(json["total_seconds"]))
            content = .section(
                "section \(json["done"]?.int ?? 0) of \(json["total"]?.int ?? 0): \(RemoteEvent.text(made)) s of "
                    + "\(RemoteEvent.text(whole)) s")
        case "queue":
            guard let clip = RemoteClip(json) else { return nil }
            content = .state(clip)
        default: return nil
        }
    }

    private static func progress(_ json: JSON, _ clip: (index: Int, count: Int), _ elapsed: Double) -> Progress {
        let (fraction, own) = (min(number(json["fraction"]), 1), number(json["elapsed"]))
        let remaining = json["remaining"]?.double.map { number(.double($0)) }
        var progress = Progress(
            stage: stage(json), done: json["done"]?.int ?? 0, total: json["total"]?.int ?? 0,
            fraction: fraction, elapsed: own, remaining: remaining)
        (progress.clip, progress.clips) = (clip.index, clip.count)
        progress.runFraction = (Double(clip.index) + fraction) / Double(max(clip.count, 1))
        progress.runElapsed = clip.count == 1 ? own : elapsed
        // The clips to come take as long as this one.
        progress.runRemaining = remaining.map { $0 + Double(clip.count - 1 - clip.index) * (own + $0) }
        return progress
    }

    /// The name of a stage, which goes to the terminal as it is.
    private static func stage(_ json: JSON) -> String {
        Fault.printable(String((json["stage"]?.string ?? "").prefix(80)))
    }

    /// A number that may come from anybody: one that is shown, not negative and not beyond all bounds.
    private static func number(_ json: JSON?) -> Double { min(max(json?.double ?? 0, 0), 1e9) }

    /// Seconds with two places at most.
    private static func text(_ seconds: Double) -> String { JSON.double((seconds * 100).rounded() / 100).text() }

    /// The line that a run here says of its plan, as far as the server tells.
    private static func summary(_ plan: JSON, _ clip: (index: Int, count: Int)) -> String {
        func text(_ key: String) -> String? { plan[key].flatMap { $0 == .null ? nil : $0.string ?? $0.text() } }
        let (frames, seconds) = (plan["frames"]?.int ?? 0, number(plan["seconds"]))
        var parts = ["\(text("output_width") ?? "?")x\(text("output_height") ?? "?")"]
        parts.append(
            "\(frames) frame\(frames == 1 ? "" : "s") (\(RemoteEvent.text(seconds)) s at \(text("fps") ?? "?") fps)")
        if let steps = plan["steps"]?.int { parts.append("\(steps) step\(steps == 1 ? "" : "s")") }
        for key in ["guidance", "seed"] { if let value = text(key) { parts.append("\(key) \(value)") } }
        if let memory = plan["peak_memory_bytes"]?.int { parts.append("memory \(Bytes.text(memory)) of the server") }
        let estimate = number(plan["estimated_seconds"])
        if estimate > 0 { parts.append("about \(EstimatedTime.text(estimate))") }
        return (clip.count > 1 ? "clip \(clip.index + 1) of \(clip.count): " : "") + parts.joined(separator: ", ")
    }
}
