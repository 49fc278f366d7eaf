import RuyiFault
import RuyiTensor

/// Pseudo linear multi-step sampling (PLMS): arXiv 2202.09778, equations 9, 11 and 12; diffusers 0.31.0
/// `PNDMScheduler.step_plms` with `skip_prk_steps`.
///
/// The model is called `steps + 1` times: the second highest level twice, because the first two calls make one step of
/// second order. With one step there is one call.
struct PNDMScheduler: Scheduler {
    let timesteps: [Float]
    private let levels: [Int]
    private let stride: Int
    private let schedule: NoiseSchedule
    /// The last model outputs, oldest first; at most four.
    private var outputs: [Tensor] = []
    /// The latents of call 0, from which call 1 starts again.
    private var start: Tensor?

    /// A run of `steps` steps.
    init(_ schedule: NoiseSchedule, steps: Int) throws(Fault) {
        let leading = try schedule.leadingTimesteps(steps: steps)
        levels = leading.count > 1 ? [leading[0], leading[1]] + leading[1...] : leading
        timesteps = levels.map(Float.init)
        stride = schedule.stride(steps: steps)
        self.schedule = schedule
    }

    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor {
        schedule.clean(modelOutput, latents, level: levels[call])
    }

    mutating func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        var from = levels[call]
        var to = from - stride
        var sample = latents
        if call == 0 {
            outputs = []
            start = latents
        }
        if call == 1 {
            guard let start else { preconditionFailure("call 1 follows call 0") }
            sample = start
            (from, to) = (from + stride, from)
        } else {
            outputs = outputs.suffix(3) + [modelOutput]
        }
        let output: Tensor
        let last = outputs.count - 1
        switch outputs.count {
        case 1 where call == 1: output = combination((0.5, modelOutput), (0.5, outputs[0]))
        case 1: output = modelOutput
        case 2: output = combination((3 / 2, outputs[last]), (-1 / 2, outputs[last - 1]))
        case 3:
            output = combination(
                (23 / 12, outputs[last]), (-16 / 12, outputs[last - 1]), (5 / 12, outputs[last - 2]))
        default:
            output = combination(
                (55 / 24, outputs[last]), (-59 / 24, outputs[last - 1]), (37 / 24, outputs[last - 2]),
                (-9 / 24, outputs[last - 3]))
        }
        return transfer(output, sample, from: from, to: to)
    }

    /// Equation 9: from level `from` to level `to`, with `output` the combined model output.
    private func transfer(_ output: Tensor, _ sample: Tensor, from: Int, to: Int) -> Tensor {
        let alpha = schedule.alphasCumprod[from]
        let alphaTo = to >= 0 ? schedule.alphasCumprod[to] : schedule.finalAlphaCumprod
        let direction: Tensor  // ε
        switch schedule.prediction {
        case .velocity: direction = combination((alpha.squareRoot(), output), ((1 - alpha).squareRoot(), sample))
        case .noise: direction = output
        }
        let denominator = alpha * (1 - alphaTo).squareRoot() + (alpha * (1 - alpha) * alphaTo).squareRoot()
        return combination(((alphaTo / alpha).squareRoot(), sample), (-(alphaTo - alpha) / denominator, direction))
    }
}
