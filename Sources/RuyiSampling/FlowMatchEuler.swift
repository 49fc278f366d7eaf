import RuyiTensor

/// Euler's method on the straight paths of flow matching: `x = (1 − σ)·x₀ + σ·ε`, and the model returns `ε − x₀`.
///
/// Lipman et al. 2022, "Flow Matching for Generative Modeling"; diffusers `FlowMatchEulerDiscreteScheduler`.
public struct FlowMatchEuler: Sendable {
    /// The noise levels of the calls, falling from 1, and 0 behind them.
    public let sigmas: [Float]
    /// What the model is told at each call: `1000 σ`.
    public let timesteps: [Float]

    /// Levels `s·u / (1 + (s − 1)·u)` for `u` that falls evenly from 1 towards 0 in so many steps; a larger shift `s`
    /// keeps the levels high for longer.
    public init(steps: Int, shift: Double) {
        self.init(levels: (0..<steps).map { Float(1 - Double($0) / Double(steps)) }, shift: shift)
    }

    /// Given levels, shifted.
    public init(levels: [Float], shift: Double) {
        let shift = Float(shift)
        let shifted = levels.map { shift * $0 / (1 + (shift - 1) * $0) }
        timesteps = shifted.map { $0 * 1000 }
        sigmas = shifted + [0]
    }

    /// What the model takes for the end at a call, `x − σ·v`.
    public func clean(_ latents: Tensor, velocity: Tensor, call: Int) -> Tensor {
        combination((1, latents), (-sigmas[call], velocity))
    }

    /// The latents after a call.
    public func step(_ latents: Tensor, velocity: Tensor, call: Int) -> Tensor {
        combination((1, latents), (sigmas[call + 1] - sigmas[call], velocity))
    }
}
