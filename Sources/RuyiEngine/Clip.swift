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
    /// The folder of its finished sections; nil for a clip that is not made section by section.
    let sections: String?
    /// Whether frames are made of it, not conditions alone.
    public let hasFrames: Bool
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

    /// Removes what a run that was killed has left of the clip and of the files beside it, however long ago that was.
    ///
    /// For callers who know that nobody else is making this clip.
    func removeLeftovers() {
        for path in output.files(1) + [output.latents] + companions.paths {
            Temporaries.removeLeftovers(of: path)
        }
    }

    /// The length of the clip in seconds.
    public var seconds: Double { Double(plan.frames) / plan.fps.framesPerSecond }

    /// Bytes beside the clip's files on the disk that are gone when it is finished: what a decoder remembers, and the frames
    /// of a clip that grows, which wait uncompressed.
    var passingBytes: Int {
        let size = plan.delivered
        return memory.shelf + (plan.grows ? 3 * size.width * size.height * plan.frames : 0)
    }

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
        parts += plan.shown.map { "\($0.name) \($0.value)" }
        parts += features.map { "\($0.name) \($0.value)" }
        parts.append("seed \(plan.seed)")
        parts.append("\(plan.tokens) tokens")
        let mode = plan.memoryMode == .resident ? "" : " (\(plan.memoryMode.rawValue))"
        if let device = memory.device {
            let streams = device.wanted > device.limit ? " (weights come and go)" : ""
            parts.append("memory \(Bytes.text(memory.anonymous)), GPU memory \(Bytes.text(device.bytes))\(streams)")
        } else {
            parts.append("memory \(Bytes.text(memory.anonymous)) + \(Bytes.text(memory.weights)) of weights\(mode)")
        }
        if let estimate { parts.append("about \(EstimatedTime.text(estimate))") }
        return (count > 1 ? "clip \(index + 1) of \(count): " : "") + parts.joined(separator: ", ")
    }

    /// The LoRA files, in words.
    var features: [(name: String, value: String)] {
        plan.loras.map { ("LoRA", "\(Path.name($0.path)) at \($0.weight)") }
    }

    /// Frames a second in the form of files.
    var frameRate: JSON {
        var request = Request()
        request.fps = plan.fps
        return request.values[CommonSettings.table.fps.key] ?? .null
    }

    /// The plan as a JSON object on one line, keys in alphabetical order.
    public var json: String { description.text() }

    var description: JSON {
        var fields: [String: JSON] = [
            "family": .string(plan.family), "model": .text(request.model), "image": .text(request.image),
            "end_image": .text(request.endImage), "noise": .text(request.noise), "trace": .text(trace),
            "output": .string(output.text), "width": .int(plan.width), "height": .int(plan.height),
            "output_width": .int(plan.delivered.width), "output_height": .int(plan.delivered.height),
            "frames": .int(plan.frames), "fps": frameRate, "seconds": .double(seconds),
            "steps": .int(plan.steps),
            "scheduler": .string(plan.scheduler), "guidance": .double(plan.guidance), "seed": .exact(plan.seed),
            "tokens": .int(plan.tokens), "peak_memory_bytes": .int(memory.anonymous),
            "weight_bytes": .int(plan.weightBytes),
            "activation_bytes": .int(memory.activations), "notes": .array(plan.notes.map(JSON.string)),
            "warnings": .array(plan.warnings.map(JSON.string)),
            "loras": .array(plan.loras.map { ["path": .string($0.path), "weight": .double($0.weight)] }),
            "memory_mode": .string(plan.memoryMode.rawValue), "memory_mode_reason": .text(memoryReason),
            "resident_weight_bytes": .int(memory.weights), "disk_passing_bytes": .int(passingBytes),
            "estimated_seconds": estimate.map { .double(EstimatedTime.rounded($0)) } ?? .null,
            "fit": .string(plan.fit.rawValue),
            "device_memory_bytes": memory.device.map { .int($0.bytes) } ?? .null,
        ]
        // A family's own form of a setting says more than the common one.
        let steps = CommonSettings.table.steps.key
        for member in plan.described where fields[member.key] == nil || member.key == steps {
            fields[member.key] = member.value
        }
        return .sorted(fields)
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
    /// The settled values by key; a feature with settings of its own as an object of them, or null when it is off.
    var described: [JSON.Member] {
        let family = Registry.families.first { $0.name == self.family }
        let features = (family?.settings ?? []).filter { !$0.traits.parts.isEmpty }
        let parts = Set(features.flatMap { $0.traits.parts.map(\.setting.key) })
        let values = values
        return values.members.filter { !parts.contains($0.key) }.map { member in
            guard let feature = features.first(where: { $0.key == member.key }) else { return member }
            let inner = feature.traits.parts.compactMap { part in
                values[part.setting.key].map { JSON.Member(part.name, $0) }
            }
            return JSON.Member(member.key, member.value == .bool(true) ? .object(inner) : .null)
        }
    }

    /// The settled values that say anything, by name, in words.
    var shown: [(name: String, value: String)] {
        described.compactMap { member in
            if member.value == .null || member.value.string == "none" { return nil }
            guard let inner = member.value.members else {
                return (member.key, member.value.string ?? member.value.text())
            }
            return (member.key, inner.map { "\($0.key) \($0.value.text())" }.joined(separator: " "))
        }
    }
}
