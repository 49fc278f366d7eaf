import RuyiFault
import RuyiTensor

/// The tables and conversions that both Euler rules share; `x = x₀ + σ·ε` here, so latents grow with `σ`.
struct EulerTables: Sendable {
    let timesteps: [Float]
    /// One `σ` a call, and 0 behind the last.
    let sigmas: [Float]
    let prediction: SchedulerConfiguration.Prediction

    init(_ schedule: NoiseSchedule, steps: Int) throws(Fault) {
        let levels = try schedule.leadingTimesteps(steps: steps)
        let table = schedule.sigmas
        timesteps = levels.map(Float.init)
        // The reference interpolates the table at the timesteps, which are whole numbers.
        sigmas = levels.map { table[$0] } + [0]
        prediction = schedule.prediction
    }

    var initNoiseSigma: Float { (sigmas[0] * sigmas[0] + 1).squareRoot() }

    func scale(_ latents: Tensor, call: Int) -> Tensor {
        combination((1 / (sigmas[call] * sigmas[call] + 1).squareRoot(), latents))
    }

    /// `dx/dσ = (x − x₀)/σ`.
    func derivative(_ output: Tensor, _ latents: Tensor, call: Int) -> Tensor {
        let sigma = sigmas[call]
        return switch prediction {
        case .velocity: combination((1 / sigma, latents), (-1 / sigma, clean(output, latents, call: call)))
        case .noise: output
        }
    }

    /// `x₀`.
    func clean(_ output: Tensor, _ latents: Tensor, call: Int) -> Tensor {
        let sigma = sigmas[call]
        let variance = sigma * sigma + 1
        return switch prediction {
        case .velocity: combination((-sigma / variance.squareRoot(), output), (1 / variance, latents))
        case .noise: combination((1, latents), (-sigma, output))
        }
    }
}

/// Euler's method on the probability-flow equation: arXiv 2206.00364, algorithm 1 without Heun's correction;
/// diffusers 0.31.0 `EulerDiscreteScheduler.step`.
struct EulerScheduler: Scheduler {
    private let tables: EulerTables

    /// A run of `steps` steps.
    init(_ schedule: NoiseSchedule, steps: Int) throws(Fault) {
        tables = try EulerTables(schedule, steps: steps)
    }

    var timesteps: [Float] { tables.timesteps }
    var sigmas: [Float]? { tables.sigmas }
    var initNoiseSigma: Float { tables.initNoiseSigma }
    func scaleModelInput(_ latents: Tensor, call: Int) -> Tensor { tables.scale(latents, call: call) }
    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor {
        tables.clean(modelOutput, latents, call: call)
    }

    func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        let change = tables.sigmas[call + 1] - tables.sigmas[call]
        return combination((1, latents), (change, tables.derivative(modelOutput, latents, call: call)))
    }
}

/// Euler's method with fresh noise after every step (ancestral sampling); diffusers 0.31.0
/// `EulerAncestralDiscreteScheduler.step`.
///
/// Noise is taken on the last step too, where its factor is 0, so that the order of draws is the reference's.
struct EulerAncestralScheduler: Scheduler {
    private let tables: EulerTables

    /// A run of `steps` steps.
    init(_ schedule: NoiseSchedule, steps: Int) throws(Fault) {
        tables = try EulerTables(schedule, steps: steps)
    }

    var timesteps: [Float] { tables.timesteps }
    var sigmas: [Float]? { tables.sigmas }
    var initNoiseSigma: Float { tables.initNoiseSigma }
    var needsNoise: Bool { true }
    func scaleModelInput(_ latents: Tensor, call: Int) -> Tensor { tables.scale(latents, call: call) }
    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor {
        tables.clean(modelOutput, latents, call: call)
    }

    func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        guard let noise else { preconditionFailure("Euler A needs noise at every step") }
        let (from, to) = (tables.sigmas[call], tables.sigmas[call + 1])
        // σ² of the next level is split into what the step keeps (down) and what the noise adds (up).
        let up = (to * to * (from * from - to * to) / (from * from)).squareRoot()
        let down = (to * to - up * up).squareRoot()
        let derivative = tables.derivative(modelOutput, latents, call: call)
        return combination((1, latents), (down - from, derivative), (up, noise))
    }
}
