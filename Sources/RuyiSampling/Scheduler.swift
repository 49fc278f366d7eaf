import RuyiFault
import RuyiTensor

/// One run of a sampler: the noise levels at which the model is called, and the rule that turns its output into the
/// next latents.
///
/// Latents are tensors of any shape, such as `[batch, channels, frames, height, width]`. Steps are
/// taken in the order of the calls, beginning with call 0; call 0 again begins a new run.
public protocol Scheduler: Sendable {
    /// The level that the model is told, one a call, highest first. PNDM repeats one value.
    var timesteps: [Float] { get }
    /// The noise levels `σ` of the calls and the final one, for the samplers that are defined by them.
    var sigmas: [Float]? { get }
    /// What unit noise is multiplied by to become the first latents.
    var initNoiseSigma: Float { get }
    /// Whether every step takes a fresh draw of unit noise in the shape of the latents.
    var needsNoise: Bool { get }
    /// What the model sees at a call: the latents, scaled to the variance it was trained on.
    func scaleModelInput(_ latents: Tensor, call: Int) -> Tensor
    /// The latents after a call.
    ///
    /// `modelOutput` is the guided output for `scaleModelInput(latents, call)`, and `noise`
    /// is given if and only if `needsNoise`.
    mutating func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor
    /// The latents `x₀` without noise that the guided output of a call stands for.
    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor
}

extension Scheduler {
    var sigmas: [Float]? { nil }
    var initNoiseSigma: Float { 1 }
    var needsNoise: Bool { false }
    func scaleModelInput(_ latents: Tensor, call: Int) -> Tensor { latents }
}

/// The samplers by name.
public enum Sampler: String, Sendable, CaseIterable {
    case ddim
    case euler
    case eulerAncestral = "euler-a"
    case dpmpp
    case pndm

    /// The sampler's name in the reference's interface.
    public var title: String {
        switch self {
        case .ddim: "DDIM"
        case .euler: "Euler"
        case .eulerAncestral: "Euler A"
        case .dpmpp: "DPM++"
        case .pndm: "PNDM"
        }
    }

    /// Finds a sampler by its command-line name or the reference's, in any case; a usage fault lists the names.
    public init(named name: String) throws(Fault) {
        let wanted = name.lowercased()
        let found = Sampler.allCases.first { wanted == $0.rawValue || wanted == $0.title.lowercased() }
        guard let found else {
            throw Fault(
                .usage, "unknown scheduler \"\(name)\"", at: "--scheduler",
                hint: "one of: " + Sampler.allCases.map(\.rawValue).joined(separator: ", "))
        }
        self = found
    }

    /// A fresh run of this sampler with `steps` steps; PNDM calls the model once more.
    ///
    /// Throws when the configuration
    /// has an unsupported value or the steps do not fit into the training levels.
    public func scheduler(steps: Int, configuration: SchedulerConfiguration) throws(Fault) -> any Scheduler {
        let schedule = try NoiseSchedule(configuration)
        switch self {
        case .ddim: return try DDIMScheduler(schedule, steps: steps)
        case .euler: return try EulerScheduler(schedule, steps: steps)
        case .eulerAncestral: return try EulerAncestralScheduler(schedule, steps: steps)
        case .dpmpp: return try DPMSolverScheduler(schedule, steps: steps)
        case .pndm: return try PNDMScheduler(schedule, steps: steps)
        }
    }
}
