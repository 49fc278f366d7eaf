import RuyiFault
import RuyiTensor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// DPM-Solver++(2M), midpoint form: arXiv 2211.01095, algorithm 2; diffusers 0.31.0 `DPMSolverMultistepScheduler`.
///
/// The first and the last step are of first order, the others use the previous call's prediction as well.
struct DPMSolverScheduler: Scheduler {
    let timesteps: [Float]
    private let sigmaTable: [Float]
    private let prediction: SchedulerConfiguration.Prediction
    /// The picture predicted by the previous call.
    private var previous: Tensor?

    /// A run of `steps` steps.
    init(_ schedule: NoiseSchedule, steps: Int) throws(Fault) {
        let levels = try schedule.dpmTimesteps(steps: steps)
        let table = schedule.sigmas
        timesteps = levels.map(Float.init)
        sigmaTable = levels.map { table[$0] } + [0]
        prediction = schedule.prediction
    }

    var sigmas: [Float]? { sigmaTable }

    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor {
        let here = Level(sigmaTable[call])
        return switch prediction {
        case .velocity: combination((here.alpha, latents), (-here.sigma, modelOutput))
        case .noise: combination((1 / here.alpha, latents), (-here.sigma / here.alpha, modelOutput))
        }
    }

    mutating func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        let (here, next) = (Level(sigmaTable[call]), Level(sigmaTable[call + 1]))
        let clean = clean(modelOutput: modelOutput, call: call, latents: latents)
        let before = call == 0 ? nil : previous
        previous = clean
        // lambda is infinite behind the last step, where exp(-h) is 0.
        let h = next.lambda - here.lambda
        let decay = next.alpha * (exp(-h) - 1)
        let first = combination((next.sigma / here.sigma, latents), (-decay, clean))
        guard let before, call + 1 < timesteps.count else { return first }
        let ratio = (here.lambda - Level(sigmaTable[call - 1]).lambda) / h
        return combination((1, first), (-0.5 * decay / ratio, clean), (0.5 * decay / ratio, before))
    }

    /// A noise level `σ` in the variance-preserving form `x = α·x₀ + σ'·ε`, and `λ = ln α − ln σ'`.
    private struct Level {
        let alpha: Float
        let sigma: Float

        init(_ sigma: Float) {
            alpha = 1 / (sigma * sigma + 1).squareRoot()
            self.sigma = sigma * alpha
        }

        var lambda: Float { log(alpha) - log(sigma) }
    }
}
