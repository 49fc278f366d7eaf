import RuyiFamilies
import RuyiFault
import RuyiMedia

/// What a clip will take in memory, in bytes.
public struct MemoryAccount: Sendable, Equatable {
    /// Weight files, which are mapped: the kernel drops and reads their pages as it needs to.
    public let weights: Int
    /// The largest set of tensors alive at once.
    public let activations: Int
    /// The video encoder's frames.
    public let encoder: Int
    /// The program itself.
    public let program = 48 << 20

    init(_ plan: Plan, _ output: Output, _ encoding: Encoding) {
        weights = plan.weightBytes
        activations = plan.activationBytes
        encoder = plan.width * plan.height * MemoryAccount.frameBytes(plan, output, encoding) / 2
    }

    /// Twice the bytes that all frames under way take for a pixel.
    private static func frameBytes(_ plan: Plan, _ output: Output, _ encoding: Encoding) -> Int {
        guard case .video(let path) = output, let form = try? VideoForm(path, encoding) else { return 2 * 3 }
        // The palette is found in the whole clip: every frame waits, as RGB and with a fourth byte.
        if form.options.codec == .gif { return 2 * 8 * max(plan.frames, 1) }
        let format = form.options.storedFormat
        let chroma = 4 / (format.steps.width * format.steps.height)
        // Encoders look up to 40 frames ahead, and keep references and frames under way beside them.
        return (2 + chroma) * (format.rawValue.hasSuffix("10") ? 2 : 1) * min(max(plan.frames, 1), 60)
    }

    /// Memory of the process's own.
    public var anonymous: Int { activations + encoder + program }
    /// The peak with every page of the weights resident.
    public var peak: Int { anonymous + weights }

    /// Whether the clip fits into the limits, and if not, which one it breaks.
    func broken(_ limits: MemoryLimits) -> (needed: Int, bound: MemoryLimits.Bound)? {
        if let bound = limits.anonymous, anonymous > bound.bytes { return (anonymous, bound) }
        if let bound = limits.addressSpace, peak > bound.bytes { return (peak, bound) }
        return nil
    }
}

/// Sizes for people.
enum Bytes {
    /// `512 MB`, `3.1 GB`: powers of 1000, as disks and models are labelled.
    static func text(_ count: Int) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(count)
        var unit = 0
        while value >= 999.5, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        let tenths = (value * 10).rounded() / 10
        return unit < 3 || value >= 99.5 ? "\(Int(value.rounded())) \(units[unit])" : "\(tenths) \(units[unit])"
    }
}
