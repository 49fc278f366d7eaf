import RuyiFault
import RuyiTensor

/// Denoising diffusion implicit models, deterministic (η = 0): arXiv 2010.02502, equation 12; diffusers 0.31.0
/// `DDIMScheduler.step`.
struct DDIMScheduler: Scheduler {
    let timesteps: [Float]
    private let levels: [Int]
    private let stride: Int
    private let schedule: NoiseSchedule

    /// A run of `steps` steps.
    init(_ schedule: NoiseSchedule, steps: Int) throws(Fault) {
        levels = try schedule.leadingTimesteps(steps: steps)
        timesteps = levels.map(Float.init)
        stride = schedule.stride(steps: steps)
        self.schedule = schedule
    }

    func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        let alpha = schedule.alphasCumprod[levels[call]]
        let previous = levels[call] - stride
        let alphaPrevious = previous >= 0 ? schedule.alphasCumprod[previous] : schedule.finalAlphaCumprod
        let (signal, sigma) = (alpha.squareRoot(), (1 - alpha).squareRoot())
        let clean: Tensor  // x₀
        let direction: Tensor  // ε
        switch schedule.prediction {
        case .velocity:
            clean = combination((signal, latents), (-sigma, modelOutput))
            direction = combination((signal, modelOutput), (sigma, latents))
        case .noise:
            clean = combination((1 / signal, latents), (-sigma / signal, modelOutput))
            direction = modelOutput
        }
        return combination((alphaPrevious.squareRoot(), clean), ((1 - alphaPrevious).squareRoot(), direction))
    }
}
