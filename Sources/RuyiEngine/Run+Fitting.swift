import RuyiFamilies
import RuyiFault

extension Run {
    /// Why a clip cannot be rendered within the limits, and the smallest changes with which it can.
    func refusal(_ clip: Clip, _ limits: MemoryLimits) -> Fault? {
        guard let (needed, bound) = clip.memory.broken(limits) else { return nil }
        let options = changes(clip, limits)
        return Fault(
            .resources,
            "the clip needs \(Bytes.text(needed)) of memory, and the \(bound.name) leaves \(Bytes.text(max(0, bound.bytes)))",
            hint: options.isEmpty
                ? "no smaller clip of this model fits" : "these would fit: " + options.joined(separator: "; "))
    }

    /// Options that make the clip fit, each with what it needs: those that keep most of it first.
    private func changes(_ clip: Clip, _ limits: MemoryLimits) -> [String] {
        let all = clip.plan.frames * clip.plan.width * clip.plan.height
        var found: [(kept: Double, text: String)] = []
        func note(_ plan: Plan?, _ option: (Plan) -> String) {
            guard let plan else { return }
            let text = "\(option(plan)) needs \(Bytes.text(MemoryAccount(plan, clip.output, order.encoding).anonymous))"
            found.append((Double(plan.frames * plan.width * plan.height) / Double(max(all, 1)), text))
        }
        if clip.plan.settings[.precision].map({ $0 != Precision.float32.rawValue }) == true {
            var exact = clip.request
            exact.precision = Precision.float32.rawValue
            note(fitting(exact, limits)) { _ in "--precision float32" }
        }
        let shorter = largest(below: clip.plan.frames) { frames in
            var request = clip.request
            request.seconds = nil
            request.frames = frames
            return fitting(request, limits)
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
            return fitting(request, limits)
        }
        note(smaller) { "--size \($0.width)x\($0.height)" }
        return found.sorted { $0.kept > $1.kept }.map(\.text)
    }

    /// The plan for the largest number below `limit` that has one, found by halving.
    private func largest(below limit: Int, _ plan: (Int) -> Plan?) -> Plan? {
        var best: Plan?
        var (low, high) = (1, limit - 1)
        while low <= high {
            let middle = (low + high + 1) / 2
            if let found = plan(middle) {
                best = found
                low = middle + 1
            } else {
                high = middle - 1
            }
        }
        return best
    }

    /// What becomes of a request that fits; nil when it does not fit or the family refuses it.
    private func fitting(_ request: Request, _ limits: MemoryLimits) -> Plan? {
        guard let plan = try? checkpoint.family.plan(request, folder: checkpoint.folder, image: clips.first?.picture),
            MemoryAccount(plan, clips[0].output, order.encoding).broken(limits) == nil
        else { return nil }
        return plan
    }
}
