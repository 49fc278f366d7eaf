import RuyiModels
import RuyiTensor

/// The transformer with everything that the calls of one section share: texts, picture, history, positions and caches
/// (specification sections 9, 10 and 12).
struct FramePackDenoiser {
    private let transformer: FramePackTransformer
    /// What the clip shows, and what is kept out of it where true guidance is on.
    private let texts: [HunyuanText]
    private let picture: Tensor
    private let history: Tensor?
    private let rotaries: [FramePackRotary]
    /// One for both sides, or one for each.
    private var caches: [TeaCache?]
    private let settings: FramePackSettings
    private let guidance: Float
    /// Where the stages of the first call are recorded.
    private let trace: StageTrace?

    /// A denoiser of one section; `prefix` stands before the names of what it records.
    init(
        _ transformer: FramePackTransformer, _ texts: [HunyuanText], picture: Tensor, _ context: FramePackContext,
        grid: (rows: Int, columns: Int), _ job: Job, section: Int, prefix: String
    ) {
        let (plan, configuration) = (job.plan, transformer.configuration)
        self.transformer = transformer
        self.texts = texts
        self.picture = picture
        settings = FramePackSettings(plan)
        history = transformer.history(context)
        rotaries = texts.map { text in
            FramePackRotary(
                context, grid: grid, behind: picture.shape[1] + text.states.shape[1], axes: configuration.rotaryAxes,
                base: configuration.rotaryBase, on: job.session)
        }
        let caches = settings.hasCachesApart ? texts.count : 1
        self.caches = (0..<caches).map { _ in
            plan.teacache.map {
                TeaCache(
                    threshold: $0.amount, skipStartSteps: $0.skipStartSteps, skipEndSteps: $0.skipEndSteps,
                    steps: plan.steps, coefficients: FramePack.teacacheCoefficients, comparesWithLast: true)
            }
        }
        guidance = FramePackDenoiser.told(Float(plan.guidance) * 1000, settings)
        trace = job.trace.map {
            StageTrace(
                $0, prefix: section == 0 ? "" : prefix,
                names: ["context.temb": "context_embedder.temb.out", "context.out": "context_embedder.out"])
        }
        if let trace {
            let packed = rotaries[0].packed
            trace.record(
                "embed.rope", job.session.concatenate([packed.cosines, packed.sines], axis: 1).expanded(at: 0))
        }
    }

    /// A number as the model is told it: as it is, or rounded to bfloat16.
    private static func told(_ value: Float, _ settings: FramePackSettings) -> Float {
        settings.isRounded ? HostTensor([value], [1]).roundedToBFloat16.floats()[0] : value
    }

    /// The guided velocity for latents `[1, C, T, h, w]` at a noise level, of their shape.
    mutating func callAsFunction(_ latents: Tensor, time: Float, _ call: ModelCall) throws -> Tensor {
        call.record("input", latents)
        let outputs = try texts.indices.map { side in
            let cache = side % caches.count
            return try transformer(
                latents, time: FramePackDenoiser.told(time, settings), guidance: guidance, text: texts[side],
                picture: picture, history: history, rotary: rotaries[side], cache: &caches[cache],
                trace: call.index == 0 && side == 0 ? trace : nil, blockDone: call.blockDone(side..<side + 1))
        }
        call.record("model_output", outputs[0])
        guard outputs.count == 2 else { return outputs[0] }
        call.record("model_output_negative", outputs[1])
        let (session, scale) = (latents.session, Float(settings.trueScale))
        var velocity = session.combine(outputs[0], scale, outputs[1], 1 - scale)
        if settings.rescale != 0 {
            let share = Float(settings.rescale)
            let ratio = FramePackDenoiser.deviation(outputs[0]) / FramePackDenoiser.deviation(velocity)
            velocity = session.scale(velocity, by: share * ratio + 1 - share, plus: 0, clampedTo: nil)
        }
        call.record("guided", velocity)
        return velocity
    }

    /// The standard deviation of all numbers, with one degree of freedom less.
    private static func deviation(_ x: Tensor) -> Float {
        let values = x.session.floats(x)
        let mean = values.reduce(0.0) { $0 + Double($1) } / Double(values.count)
        let sum = values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
        return Float((sum / Double(max(values.count - 1, 1))).squareRoot())
    }

    /// What TeaCache decided, as the golden cases record it: section, step, side, distance, predicted change, sum.
    func decisions(section: Int) -> [[Float]] {
        caches.enumerated().flatMap { index, cache in
            (cache?.comparisons ?? []).map { row in
                let sides = caches.count == 1 ? texts.count : 1
                let side = caches.count == 1 ? row.call % sides : index
                return [Float(section), Float(row.call / sides), Float(side)]
                    + [row.distance, row.change, row.sum].map { Float($0) }
            }
        }
    }
}
