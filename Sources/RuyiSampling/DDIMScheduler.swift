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

    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor {
        schedule.clean(modelOutput, latents, level: levels[call])
    }

    func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        let alpha = schedule.alphasCumprod[levels[call]]
        let previous = levels[call] - stride
        let alphaPrevious = previous >= 0 ? schedule.alphasCumprod[previous] : schedule.finalAlphaCumprod
        let (signal, sigma) = (alpha.squareRoot(), (1 - alpha).squareRoot())
        let clean = clean(modelOutput: modelOutput, call: call, latents: latents)
        let direction =  // ε
            switch schedule.prediction {
            case .velocity: combination((signal, modelOutput), (sigma, latents))
            case .noise: modelOutput
            }
        return combination((alphaPrevious.squareRoot(), clean), ((1 - alphaPrevious).squareRoot(), direction))
    }
}
