import RuyiLayers
import RuyiModels
import RuyiTensor

/// The transformer with everything that the calls of one clip share: both sides of the guidance, the picture's streams,
/// positions and caches (specification section 2).
struct RuyiDenoiser {
    /// The sides of the guidance.
    let sides: Int
    private let transformer: RuyiTransformer
    /// Latents of the mask and of the known frames, `[1, 2 C, f, h, w]`.
    private let condition: Tensor
    private let text, extra, blind, seeing: Tensor
    private let rotary: RotaryTable
    /// The call from which on the picture's features are seen.
    private let firstSeeing: Int
    /// The sides that are computed together.
    private let groups: [Range<Int>]
    private var caches: [TeaCache?]
    private let job: Job

    /// `controls` are those of the sides, the positive one last.
    init(
        _ transformer: RuyiTransformer, controls: [RuyiControl], features: Tensor, condition: Tensor, calls: Int,
        _ job: Job
    ) {
        let plan = job.plan
        self.transformer = transformer
        self.condition = condition
        self.job = job
        sides = controls.count
        let (embedder, trace) = (transformer.embedder, job.trace.map { StageTrace($0) })
        text = embedder.text(controls, on: job.session, trace)
        extra = embedder.extra(controls, width: plan.width, height: plan.height, on: job.session, trace)
        blind = embedder.picture(nil, sees: controls.map { _ in false }, on: job.session)
        seeing = embedder.picture(
            features, sees: controls.indices.map { $0 == controls.count - 1 }, on: job.session)
        let patch = transformer.configuration.patchSize
        rotary = RuyiRotary.table(
            rows: condition.shape[3] / patch, columns: condition.shape[4] / patch,
            headSize: transformer.configuration.headSize, on: job.session)
        trace?.record("rope.cos", rotary.cosines)
        trace?.record("rope.sin", rotary.sines)
        // The picture's features are off for the first 60 % of the calls.
        firstSeeing = Int((Double(calls) * (1 - 0.40)).rounded(.up))
        // One after the other halves what is kept of them. Stages are recorded and TeaCache decides for all together.
        let isSequential =
            job.isStreamed && job.trace == nil && plan.teacache == nil && RuyiSettings(plan).enhancement == nil
        groups = isSequential ? controls.indices.map { $0..<$0 + 1 } : [controls.indices]
        caches = controls.map { _ in
            plan.teacache.map { TeaCache($0, steps: plan.steps, coefficients: RuyiLimits.teacacheCoefficients) }
        }
    }

    /// The guided output for latents `[1, C, f, h, w]` at a noise level, of their shape.
    mutating func callAsFunction(_ latents: Tensor, time: Float, _ call: ModelCall) throws -> Tensor {
        let session = condition.session
        let input = session.copy(latents)
        let whole = session.concatenate([input, condition], axis: 1)
        let picture = call.index < firstSeeing ? blind : seeing
        let conditioning = RuyiConditioning(text: text, picture: picture, extra: extra)
        let trace = blockTrace(call)
        if call.index == 0 {
            call.record("input", session.concatenate((0..<sides).map { _ in input }, axis: 0))
        }
        trace?.record("text.context", text)
        trace?.record("clip.context", picture)
        let outputs = try groups.map { group in
            try transformer(
                session.concatenate(group.map { _ in whole }, axis: 0), time: time,
                conditioning: conditioning.items(group), rotary: rotary, enhancement: enhancement(call),
                cache: &caches[group.lowerBound], trace: trace, blockDone: call.blockDone(group))
        }
        let output = outputs.count == 1 ? outputs[0] : session.concatenate(outputs, axis: 0)
        call.record("t", number: time)
        call.record("model_output", output)
        let guided = guide(output, channels: latents.shape[1])
        call.record("guided", guided)
        if call.index == call.count - 1, let cache = caches[0] { job.trace?.record("teacache.log", cache.log) }
        return guided
    }

    /// The first half of the channels, `negative + scale · (positive − negative)`.
    private func guide(_ output: Tensor, channels: Int) -> Tensor {
        let session = output.session
        let prediction = output.sliced(1, 0..<channels)
        guard sides == 2 else { return session.copy(prediction) }
        let scale = Float(job.plan.guidance)
        return session.combine(prediction.sliced(0, 1..<2), scale, prediction.sliced(0, 0..<1), 1 - scale)
    }

    /// The weight of Enhance-A-Video in a model call, which counts as TeaCache counts; nil where it is off.
    private func enhancement(_ call: ModelCall) -> Double? {
        let (plan, step) = (job.plan, call.index % job.plan.steps)
        guard let feature = RuyiSettings(plan).enhancement, step >= feature.skipStartSteps,
            step < plan.steps - feature.skipEndSteps
        else { return nil }
        return feature.amount
    }

    /// Block stages are recorded for the first call, and with its name in front for the first one that sees the picture.
    private func blockTrace(_ call: ModelCall) -> StageTrace? {
        guard let trace = job.trace, call.index == 0 || call.index == firstSeeing else { return nil }
        return StageTrace(trace, prefix: call.index == 0 ? "" : call.name + ".")
    }
}
