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
    private func changes(_ clip: Clip, _ limits: MemoryLimits) -> [String] {
        let fitting = Fitting(
            checkpoint: checkpoint, order: order, level: level, output: clip.output, pictures: pictures,
            limits: limits, costs: engine.costs)
        let all = clip.plan.frames * clip.plan.width * clip.plan.height
        var found: [(kept: Double, text: String)] = []
        func note(_ choice: Fitting.Choice?, _ option: (Plan) -> String) {
            guard let choice else { return }
            let plan = choice.plan
            let text = "\(option(plan)) needs \(Bytes.text(choice.memory.resident))"
            found.append((Double(plan.frames * plan.width * plan.height) / Double(max(all, 1)), text))
        }
        if clip.plan.settings[.precision].map({ $0 != Precision.float32.rawValue }) == true {
            var exact = clip.request
            exact.precision = Precision.float32.rawValue
            note(fitting.fitting(exact)) { _ in "--precision float32" }
        }
        if order.memoryMode != nil, order.memoryMode != "auto" {
            var free = order
            free.memoryMode = nil
            let other = Fitting(
                checkpoint: checkpoint, order: free, level: level, output: clip.output, pictures: pictures,
                limits: limits, costs: engine.costs)
            if let choice = try? other.choice(clip.request), choice.memory.broken(limits) == nil {
                note(choice) { "--memory-mode \($0.memoryMode.rawValue)" }
            }
        }
        let shorter = largest(below: clip.plan.frames) { frames in
            var request = clip.request
            request.seconds = nil
            request.frames = frames
            return fitting.fitting(request)
        }
        note(shorter) { "--frames \($0.frames)" }
        // Sides in whole steps of 16, in the clip's proportions.
        let smaller = largest(below: max(clip.plan.width, clip.plan.height) / 16) { steps in
            var request = clip.request
            request.resolution = nil
            request.baseResolution = nil
            let long = max(clip.plan.width, clip.plan.height)
            request.width = max(1, (clip.plan.width * steps * 16 + long / 2) / long / 16) * 16
            request.height = max(1, (clip.plan.height * steps * 16 + long / 2) / long / 16) * 16
            return fitting.fitting(request)
        }
        note(smaller) { "--size \($0.width)x\($0.height)" }
        return found.sorted { $0.kept > $1.kept }.map(\.text)
    }

    /// The choice for the largest number below `limit` that has one, found by halving.
    private func largest(below limit: Int, _ choice: (Int) -> Fitting.Choice?) -> Fitting.Choice? {
        var best: Fitting.Choice?
        var (low, high) = (1, limit - 1)
        while low <= high {
            let middle = (low + high + 1) / 2
            if let found = choice(middle) {
                best = found
                low = middle + 1
            } else {
                high = middle - 1
            }
        }
        return best
    }
}
