import RuyiModels
import RuyiTensor

/// The transformer with everything that the calls of one clip share: texts, positions and caches (specification
/// section 8).
struct HunyuanDenoiser {
    private let transformer: HunyuanTransformer
    /// What the clip shows, and what is kept out of it where true guidance is on.
    private let texts: [HunyuanText]
    private let start: HunyuanStart
    private let rotaries: [VideoRotary]
    private var caches: [TeaCache?]
    private let job: Job
    private let guidance: Float

    /// `grid` are the latents' frames, rows and columns.
    init(
        _ transformer: HunyuanTransformer, _ texts: [HunyuanText], _ start: HunyuanStart, grid: [Int], _ job: Job
    ) {
        self.transformer = transformer
        self.texts = texts
        self.start = start
        self.job = job
        let (configuration, patch) = (transformer.configuration, StreamConfiguration.patch)
        guidance = Float(job.plan.guidance) * 1000
        rotaries = texts.map { text in
            VideoRotary(
                frames: grid[0], rows: grid[1] / patch, columns: grid[2] / patch, text: text.states.shape[1],
                axes: configuration.rotaryAxes, base: configuration.rotaryBase, on: job.session)
        }
        caches = texts.map { _ in
            job.plan.teacache.map {
                TeaCache($0, steps: job.plan.steps, coefficients: HunyuanVideo.teacacheCoefficients)
            }
        }
        job.trace?.record("rope.cos", rotaries[0].video.cosines)
        job.trace?.record("rope.sin", rotaries[0].video.sines)
        if configuration.embedsGuidance { job.trace?.record("guidance", HostTensor([guidance], [1])) }
    }

    /// The guided velocity for latents `[1, C, f, h, w]` at a noise level, of their shape.
    mutating func callAsFunction(_ latents: Tensor, time: Float, _ call: ModelCall) throws -> Tensor {
        let input = start.input(latents)
        if call.index == 0 { job.trace?.record("embed.in", input) }
        let outputs = try texts.indices.map { side in
            try transformer(
                input, time: time, guidance: guidance, text: texts[side], rotary: rotaries[side],
                cache: &caches[side],
                trace: call.index == 0 && side == 0 ? job.trace.map { StageTrace($0) } : nil,
                blockDone: call.blockDone(side..<side + 1))
        }
        call.record("model_output", outputs[0])
        if call.index == call.count - 1, let cache = caches[0] { job.trace?.record("teacache.log", cache.log) }
        guard outputs.count == 2 else { return outputs[0] }
        call.record("model_output.neg", outputs[1])
        let scale = Float(HunyuanSettings(job.plan).trueScale)
        let velocity = latents.session.combine(outputs[0], scale, outputs[1], 1 - scale)
        call.record("guided", start.moving(velocity))
        return velocity
    }
}

/// How the start picture enters a clip: not at all, in the place of the first frame, or beside the noise.
struct HunyuanStart {
    private let kind: HunyuanConditioning?
    /// The picture's latents, `[1, C, 1, h, w]`.
    private let clean: Tensor?
    /// What stands beside the noise: the picture's latents in the first frame, and a mask of it, `[1, C + 1, f, h, w]`.
    private let beside: Tensor?

    init(_ clean: Tensor?, _ kind: HunyuanConditioning?, like latents: Tensor, _ trace: Trace?) {
        self.kind = kind
        self.clean = clean
        guard let clean, kind == .latentConcat else {
            beside = nil
            if let clean { trace?.record("cond.latents", clean) }
            return
        }
        let session = latents.session
        func filled(_ x: Tensor, _ value: Float) -> Tensor { session.filled(x.shape, value) }
        let rest = 1..<latents.shape[2]
        let known = session.concatenate([clean, filled(latents.sliced(2, rest), 0)], axis: 2)
        let plane = latents.sliced(1, 0..<1)
        let mask = session.concatenate(
            [filled(plane.sliced(2, 0..<1), 1), filled(plane.sliced(2, rest), 0)], axis: 2)
        trace?.record("cond.latents", known)
        trace?.record("cond.mask", mask)
        beside = session.concatenate([known, mask], axis: 1)
    }

    /// What the model sees of latents.
    func input(_ latents: Tensor) -> Tensor {
        if let beside { return latents.session.concatenate([latents, beside], axis: 1) }
        guard let clean else { return latents }
        return latents.session.concatenate([clean, latents.sliced(2, 1..<latents.shape[2])], axis: 2)
    }

    /// The latents whose frames are delivered, the first of them known where it is clean.
    func shown(_ latents: Tensor) -> Tensor {
        switch kind {
        case .tokenReplace: input(latents)
        case .latentConcat: latents.session.copy(latents.sliced(2, 1..<latents.shape[2]))
        case nil: latents
        }
    }

    /// What is computed anew of latents or velocities: all frames, or those behind a clean first one.
    func moving(_ x: Tensor) -> Tensor {
        kind == .tokenReplace ? x.session.copy(x.sliced(2, 1..<x.shape[2])) : x
    }

    /// The latents that `step` makes of latents and velocity; a clean first frame stays as it is.
    func keeping(_ latents: Tensor, _ velocity: Tensor, _ step: (Tensor, Tensor) -> Tensor) -> Tensor {
        let moved = step(moving(latents), moving(velocity))
        guard let clean, kind == .tokenReplace else { return moved }
        return latents.session.concatenate([clean, moved], axis: 2)
    }
}
