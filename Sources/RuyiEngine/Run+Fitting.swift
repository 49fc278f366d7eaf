import RuyiFamilies
import RuyiFault

extension Run {
    /// Why a clip cannot be rendered within the limits, and the smallest changes with which it can.
    func refusal(_ clip: Clip, _ limits: MemoryLimits) -> Fault? {
        guard let (needed, bound) = clip.memory.broken(limits) else { return nil }
        let options = changes(clip, limits)
        return Fault(
            .resources,
            "the clip needs \(Bytes.text(needed)) of memory, and \(bound.phrase)",
            hint: options.isEmpty
                ? "no smaller clip of this model fits" : "these would fit: " + options.joined(separator: "; "))
    }

    /// Options that make the clip fit, each with what it needs: those that keep most of it first.
    private func changes(_ clip: Clip, _ given: MemoryLimits) -> [String] {
        // The next run may find a little less than this one.
        let limits = given.lowered
        let fitting = Fitting(
            checkpoint: checkpoint, order: order, kernels: kernels, output: clip.output, pictures: pictures,
            limits: limits, costs: engine.costs)
        let all = clip.plan.frames * clip.plan.width * clip.plan.height
        var found: [(kept: Double, text: String)] = []
        func note(_ choice: Fitting.Choice?, _ option: (Plan) -> String) {
            guard let choice else { return }
            let plan = choice.plan
            let text = "\(option(plan)) needs \(Bytes.text(choice.memory.resident))"
            found.append((Double(plan.frames * plan.width * plan.height) / Double(max(all, 1)), text))
        }
        if clip.plan.precision != .float32 {
            var exact = clip.request
            exact.precision = .float32
            if fitting.fits(exact) { note(try? fitting.choice(exact)) { _ in "--precision float32" } }
        }
        if order.memoryMode != nil, order.memoryMode != "auto" {
            var free = order
            free.memoryMode = nil
            let other = Fitting(
                checkpoint: checkpoint, order: free, kernels: kernels, output: clip.output, pictures: pictures,
                limits: limits, costs: engine.costs)
            if other.fits(clip.request) {
                note(try? other.choice(clip.request)) { "--memory-mode \($0.memoryMode.rawValue)" }
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
        note(frames.flatMap { try? fitting.choice(shorter($0)) }) { "--frames \($0.frames)" }
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
        note(steps.flatMap { try? fitting.choice(smaller($0)) }) { "--size \($0.width)x\($0.height)" }
        return found.sorted { $0.kept > $1.kept }.map(\.text)
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
