import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Why a clip cannot be rendered within the limits of memory, and what would change that.
struct Shortfall {
    /// A setting with which the clip fits.
    struct Change {
        let setting: any AnySetting
        let value: JSON
        /// The share of the clip that is left.
        let kept: Double
        /// The bytes that it then takes.
        let bytes: Int

        var text: String { "\(setting.option) \(value.string ?? value.text()) needs \(Bytes.text(bytes))" }
    }

    let fault: Fault
    /// Those that keep most of the clip first.
    let changes: [Change]
}

/// How many times the bound a clip may need for smaller ones to be looked for.
private let hopelessness = 64

extension Run {
    /// Why a clip cannot be rendered within the limits.
    func refusal(_ clip: Clip, _ limits: MemoryLimits) -> Fault? { shortfall(clip, limits)?.fault }

    /// Why a clip cannot be rendered within the limits, and the smallest changes with which it can.
    func shortfall(_ clip: Clip, _ limits: MemoryLimits) -> Shortfall? {
        guard let (needed, bound) = clip.memory.broken(limits) else { return nil }
        // Far beyond the bound each try takes long, and nobody wants the little that would be left.
        let isNear = needed / hopelessness <= bound.bytes
        let changes = isNear ? changes(clip, limits) : []
        let fault = Fault(
            .resources,
            "the clip needs \(Bytes.text(needed)) of memory, and \(bound.phrase)",
            hint: changes.isEmpty
                ? isNear ? "no smaller clip of this model fits" : "ask for a far smaller or shorter clip"
                : "these would fit: " + changes.map(\.text).joined(separator: "; "))
        return Shortfall(fault: fault, changes: changes)
    }

    /// Settings that make the clip fit, each with what it needs: those that keep most of it first.
    private func changes(_ clip: Clip, _ given: MemoryLimits) -> [Shortfall.Change] {
        // The next run may find a little less than this one.
        let limits = given.lowered
        let fitting = Fitting(
            checkpoint: checkpoint, order: order, kernels: kernels, output: clip.output, pictures: pictures,
            limits: limits, costs: engine.costs, given: self.given)
        let all = clip.plan.frames * clip.plan.width * clip.plan.height
        let common = CommonSettings.table
        var found: [Shortfall.Change] = []
        // What is needed is told of the memory that is too small.
        let isOfDevice = clip.memory.device.map { $0.activations > $0.room } ?? false
        func note(_ choice: Fitting.Choice?, _ setting: any AnySetting, _ value: (Plan) -> JSON) {
            guard let choice else { return }
            let plan = choice.plan
            let kept = Double(plan.frames * plan.width * plan.height) / Double(max(all, 1))
            let bytes = isOfDevice ? choice.memory.device?.activations : nil
            found.append(
                Shortfall.Change(
                    setting: setting, value: value(plan), kept: kept, bytes: bytes ?? choice.memory.resident))
        }
        if clip.plan.precision != .float32 {
            var exact = clip.request
            exact.precision = .float32
            if fitting.fits(exact) { note(try? fitting.choice(exact), common.precision) { _ in "float32" } }
        }
        if order.memoryMode != nil, order.memoryMode != "auto" {
            var free = order
            free.memoryMode = nil
            let other = Fitting(
                checkpoint: checkpoint, order: free, kernels: kernels, output: clip.output, pictures: pictures,
                limits: limits, costs: engine.costs, given: self.given)
            if other.fits(clip.request) {
                note(try? other.choice(clip.request), RunSettings.table.memoryMode) { .string($0.memoryMode.rawValue) }
            }
        }
        func shorter(_ frames: Int) -> Request {
            var request = clip.request
            request.seconds = nil
            request.frames = frames
            return request
        }
        // Memory grows about as the length does and as the area does.
        let share = clip.memory.broken(limits).map { Double($0.bound.bytes) / Double(max($0.needed, 1)) } ?? 1
        let frames = largest(below: clip.plan.frames, near: share) { fitting.fits(shorter($0)) }
        note(frames.flatMap { try? fitting.choice(shorter($0)) }, common.frames) { .int($0.frames) }
        // Sides in whole steps of 16, in the clip's proportions.
        func smaller(_ steps: Int) -> Request {
            var request = clip.request
            request.resolution = nil
            request.baseResolution = nil
            let long = max(clip.plan.width, clip.plan.height)
            request.width = max(1, (clip.plan.width * steps * 16 + long / 2) / long / 16) * 16
            request.height = max(1, (clip.plan.height * steps * 16 + long / 2) / long / 16) * 16
            return request
        }
        let long = max(clip.plan.width, clip.plan.height) / 16
        let steps = largest(below: long, near: share.squareRoot()) { fitting.fits(smaller($0)) }
        note(steps.flatMap { try? fitting.choice(smaller($0)) }, common.size) { .string("\($0.width)x\($0.height)") }
        return found.sorted { $0.kept > $1.kept }
    }

    /// The largest number below `limit` that fits, looked for around a share of `limit` first; nil when none does.
    private func largest(below limit: Int, near share: Double, _ fits: (Int) -> Bool) -> Int? {
        var (low, high) = (0, limit - 1)
        let guess = Int(Double(limit) * min(max(share, 0), 1))
        for middle in [guess, guess + 1 + limit / 16, guess - limit / 16] where low < middle && middle <= high {
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        while low < high {
            let middle = (low + high + 1) / 2
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        return low > 0 ? low : nil
    }
}
