import RuyiFault
import RuyiTensor

/// How much noise each training level has, and the levels that a run of few steps visits.
///
/// Tables are float32 and rounded as PyTorch on the CPU rounds them, so that every sampler starts from the numbers of
/// the reference (diffusers 0.31.0, `DDIMScheduler.__init__` and its siblings).
public struct NoiseSchedule: Sendable {
    /// `βₜ`, the variance that level `t` adds; one value a training level.
    public let betas: [Float]
    /// `ᾱₜ = Π(1 − βᵢ)`, the part of the picture's variance that is left at level `t`.
    public let alphasCumprod: [Float]
    /// `ᾱ` behind the last step of the samplers that end at a level and not at `σ = 0`.
    public let finalAlphaCumprod: Float
    /// The settings that the tables follow.
    public let configuration: SchedulerConfiguration
    let prediction: SchedulerConfiguration.Prediction

    /// Builds the tables; throws a fault that names the first unsupported key.
    public init(_ configuration: SchedulerConfiguration) throws(Fault) {
        prediction = try configuration.validated()
        self.configuration = configuration
        let count = configuration.trainingTimestepCount
        if configuration.betaSchedule == "scaled_linear" {
            let roots = NoiseSchedule.linspace(
                configuration.betaStart.squareRoot(), configuration.betaEnd.squareRoot(), count)
            betas = roots.map { $0 * $0 }
        } else {
            betas = NoiseSchedule.linspace(configuration.betaStart, configuration.betaEnd, count)
        }
        // `torch.cumprod` of float32 on the CPU multiplies in float64 and rounds each result.
        var product = 1.0
        alphasCumprod = betas.map { beta in
            product *= Double(1 - beta)
            return Float(product)
        }
        finalAlphaCumprod = configuration.endsAtOne ? 1 : alphasCumprod[0]
    }

    /// `σₜ = √((1 − ᾱₜ)/ᾱₜ)`, the noise level in units of the picture; one value a training level.
    public var sigmas: [Float] { alphasCumprod.map { ((1 - $0) / $0).squareRoot() } }

    /// The latents without noise that a model output at a training level stands for: `√ᾱ·x − √(1 − ᾱ)·v`, or
    /// `(x − √(1 − ᾱ)·ε)/√ᾱ`.
    func clean(_ output: Tensor, _ latents: Tensor, level: Int) -> Tensor {
        let alpha = alphasCumprod[level]
        let (signal, sigma) = (alpha.squareRoot(), (1 - alpha).squareRoot())
        return switch prediction {
        case .velocity: combination((signal, latents), (-sigma, output))
        case .noise: combination((1 / signal, latents), (-sigma / signal, output))
        }
    }

    /// The distance between two calls' levels in a run of `steps` steps.
    func stride(steps: Int) -> Int { configuration.trainingTimestepCount / steps }

    /// The levels of a run with `leading` spacing, highest first: `i·stride + steps_offset` for `i` below `steps`.
    func leadingTimesteps(steps: Int) throws(Fault) -> [Int] {
        try checked(steps: steps, room: 0)
    }

    /// The levels as DPM++ spreads them: `i·stride + steps_offset` for `i` in `1...steps`, highest first, where the
    /// stride leaves room for one step more.
    func dpmTimesteps(steps: Int) throws(Fault) -> [Int] {
        try checked(steps: steps, room: 1)
    }

    /// The highest of `steps` levels stands at `steps - 1 + room` strides above the offset.
    private func checked(steps: Int, room: Int) throws(Fault) -> [Int] {
        let levels = configuration.trainingTimestepCount
        let stride = (1..<levels).contains(steps) ? levels / (steps + room) : 0
        guard stride > 0, (steps - 1 + room) * stride + configuration.stepsOffset < levels else {
            throw Fault(
                .usage, "\(steps) steps do not fit into the model's \(levels) noise levels", at: "--steps",
                hint: "give a number from 1 to 200")
        }
        return (0..<steps).map { (steps - 1 + room - $0) * stride + configuration.stepsOffset }
    }

    /// `torch.linspace` in float32: the lower half is built from the start, the upper half from the end, and each
    /// value is rounded once (PyTorch's build contracts the product and the sum).
    static func linspace(_ start: Double, _ end: Double, _ count: Int) -> [Float] {
        let (first, last) = (Float(start), Float(end))
        let step = (last - first) / Float(count - 1)
        return (0..<count).map { index in
            index < count / 2
                ? first.addingProduct(step, Float(index)) : last.addingProduct(-step, Float(count - index - 1))
        }
    }
}
