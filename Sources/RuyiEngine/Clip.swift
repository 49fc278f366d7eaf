import RuyiFamilies
import RuyiFiles

/// One clip of a run: everything that is settled about it before any weight is read.
public struct Clip: Sendable {
    /// The sizes, counts and settings that will be used.
    public let plan: Plan
    /// The request that they came from.
    public let request: Request
    /// Where the frames go.
    public let output: Output
    /// Where the recorded stages go.
    public let trace: String?
    /// The files beside it.
    let companions: CompanionNames
    /// What the clip takes in memory.
    public let memory: MemoryAccount
    /// Why memory is saved in another way than in the cheapest one.
    public let memoryReason: String?
    /// About how many seconds the clip takes, beside reading the weights; nil where it cannot be told.
    public let estimate: Double?
    /// The size of the start picture.
    public let picture: PictureSize?
    /// The clip's place in the run, from 0.
    public internal(set) var index: Int
    /// The number of clips in the run.
    public internal(set) var count: Int

    /// The length of the clip in seconds.
    public var seconds: Double { Double(plan.frames) / plan.fps.framesPerSecond }

    /// The plan in one line.
    public var summary: String {
        let length = Double(Int((seconds * 100).rounded())) / 100
        let size = plan.delivered
        var parts = ["\(size.width)x\(size.height)", "\(plan.frames) frame\(plan.frames == 1 ? "" : "s")"]
        if plan.cut != nil { parts[0] += " cut out of \(plan.width)x\(plan.height)" }
        if let picture, picture != size {
            parts[0] = "picture \(picture.width)x\(picture.height), video " + parts[0]
        }
        parts[1] += " (\(length) s at \(plan.fps) fps)"
        parts.append("\(plan.steps) step\(plan.steps == 1 ? "" : "s") \(plan.scheduler)")
        parts.append("guidance \(plan.guidance)")
        parts += plan.shownSettings.map { "\($0.key.rawValue) \($0.value)" }
        parts += features.map { "\($0.name) \($0.value)" }
        parts.append("seed \(plan.seed)")
        parts.append("\(plan.tokens) tokens")
        let mode = plan.memoryMode == .resident ? "" : " (\(plan.memoryMode.rawValue))"
        parts.append("memory \(Bytes.text(memory.anonymous)) + \(Bytes.text(memory.weights)) of weights\(mode)")
        if let estimate { parts.append("about \(EstimatedTime.text(estimate))") }
        return (count > 1 ? "clip \(index + 1) of \(count): " : "") + parts.joined(separator: ", ")
    }

    /// The LoRA files and features that are on, in words.
    var features: [(name: String, value: String)] {
        plan.loras.map { ("LoRA", "\(Path.name($0.path)) at \($0.weight)") }
            + [("TeaCache", plan.teacache), ("Enhance-A-Video", plan.enhanceAVideo)].compactMap { name, feature in
                feature.map {
                    (name, "\($0.amount) but for the first \($0.skipStartSteps) and last \($0.skipEndSteps) steps")
                }
            }
    }

    /// The plan as a JSON object on one line, keys in alphabetical order.
    public var json: String { description.text() }

    var description: JSON {
        var fields: [String: JSON] = [
            "family": .string(plan.family), "model": .text(request.model), "image": .text(request.image),
            "end_image": .text(request.endImage), "noise": .text(request.noise), "trace": .text(trace),
            "output": .string(output.text), "width": .int(plan.width), "height": .int(plan.height),
            "output_width": .int(plan.delivered.width), "output_height": .int(plan.delivered.height),
            "frames": .int(plan.frames), "fps": .frameRate(plan.fps), "seconds": .double(seconds),
            "steps": .int(plan.steps),
            "scheduler": .string(plan.scheduler), "guidance": .double(plan.guidance), "seed": .exact(plan.seed),
            "tokens": .int(plan.tokens), "peak_memory_bytes": .int(memory.anonymous),
            "weight_bytes": .int(plan.weightBytes),
            "activation_bytes": .int(memory.activations), "notes": .array(plan.notes.map(JSON.string)),
            "warnings": .array(plan.warnings.map(JSON.string)),
            "loras": .array(plan.loras.map { ["path": .string($0.path), "weight": .double($0.weight)] }),
            "memory_mode": .string(plan.memoryMode.rawValue), "memory_mode_reason": .text(memoryReason),
            "resident_weight_bytes": .int(memory.weights),
            "estimated_seconds": estimate.map { .double(EstimatedTime.rounded($0)) } ?? .null,
            "teacache": Clip.description(of: plan.teacache, amount: "threshold"),
            "enhance_a_video": Clip.description(of: plan.enhanceAVideo, amount: "weight"),
        ]
        for (key, value) in plan.settings where fields[key.rawValue] == nil {
            fields[key.rawValue] = OwnSetting.value(key, value)
        }
        return .sorted(fields)
    }

    /// A feature in the form in which a request gives it; null when it is off.
    private static func description(of feature: StepFeature?, amount: String) -> JSON {
        guard let feature else { return .null }
        return .sorted([
            amount: .double(feature.amount), "skip_start_steps": .int(feature.skipStartSteps),
            "skip_end_steps": .int(feature.skipEndSteps),
        ])
    }
}

/// Estimated times for people.
enum EstimatedTime {
    /// Two digits of it: more are not known.
    static func rounded(_ seconds: Double) -> Double {
        guard seconds > 0, seconds.isFinite else { return 0 }
        if seconds < 10 {
            let parts: Double = seconds < 1 ? 100 : 10
            return (seconds * parts).rounded() / parts
        }
        var unit = 1.0
        while seconds / unit >= 100 { unit *= 10 }
        return (seconds / unit).rounded() * unit
    }

    /// `8 s`, `25 min`, `3.5 h`.
    static func text(_ seconds: Double) -> String {
        func number(_ value: Double) -> String {
            let value = rounded(value)
            return value >= 10 ? "\(Int(value))" : "\(max((value * 10).rounded() / 10, 0.1))"
        }
        return seconds < 99.5
            ? number(seconds) + " s"
            : seconds < 99.5 * 60 ? number(seconds / 60) + " min" : number(seconds / 3600) + " h"
    }
}

extension Plan {
    /// The family's own settings that say anything, by name.
    var shownSettings: [(key: RequestKey, value: String)] {
        settings.filter { $0.value != "none" }.sorted { $0.key.rawValue < $1.key.rawValue }
            .map { (key: $0.key, value: $0.value) }
    }
}
