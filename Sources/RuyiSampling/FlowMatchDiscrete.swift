import RuyiTensor

/// Euler's method on the straight paths of flow matching, on an axis that leads from noise to data: `x = (1 − t)·ε + t·x₀`,
/// and the model returns `x₀ − ε`.
///
/// Lipman et al. 2022, "Flow Matching for Generative Modeling"; Step-Video `FlowMatchDiscreteScheduler`.
public struct FlowMatchDiscrete: Sendable {
    /// The places on the axis, of each call and of the end.
    public let sigmas: [Float]
    /// Whether the axis leads from data to noise, and is gone backwards.
    private let isReversed: Bool

    /// Places that lie evenly on `1...0`, shifted by `s·u / (1 + (s − 1)·u)` and turned round: a larger shift `s` makes
    /// the steps near the noise smaller.
    public init(steps: Int, shift: Double, isReversed: Bool = false) {
        let (shift, step) = (Float(shift), 1 / Float(steps))
        let levels = (0...steps).map { index -> Float in
            // From either end, as the reference's table.
            let even = index < (steps + 1) / 2 ? 1 - step * Float(index) : step * Float(steps - index)
            return shift * even / (1 + (shift - 1) * even)
        }
        sigmas = isReversed ? levels : levels.map { 1 - $0 }
        self.isReversed = isReversed
    }

    /// What the model is told at each call, 0 to 1.
    public var timesteps: [Float] { sigmas.dropLast() }

    /// What the model takes for the end at a call.
    public func clean(_ latents: Tensor, velocity: Tensor, call: Int) -> Tensor {
        combination((1, latents), ((isReversed ? 0 : 1) - sigmas[call], velocity))
    }

    /// The latents after a call.
    public func step(_ latents: Tensor, velocity: Tensor, call: Int) -> Tensor {
        combination((1, latents), (sigmas[call + 1] - sigmas[call], velocity))
    }
}
