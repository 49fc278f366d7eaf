import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A loaded Pyramid Flow checkpoint (specification sections 4 to 11).
final class PyramidRenderer: Renderer {
    /// A transformer of several.
    private struct Transformer {
        let model: PyramidTransformer
        let weights: StageWeights
        /// With other weights than the stored ones, made when a clip first needs it and kept for the next.
        let changed = ChangedModel<PyramidTransformer>()
    }

    let warnings: [String]
    private let configuration: PyramidConfiguration
    private let scaling: PyramidScaling
    private let reader: PyramidReader
    private let transformers: [PyramidTransformerKind: Transformer]
    private let vae: PyramidVAE
    private let vaeWeights: StageWeights
    private let finite: FiniteCheck

    init(_ checkpoint: PyramidCheckpoint, backend: any Backend) throws(Fault) {
        let configuration = try PyramidConfiguration(checkpoint)
        var loader = ModelLoader(on: backend)
        let encoders = try configuration.text.map { (sizes) throws(Fault) in
            try PyramidTextEncoders(checkpoint, sizes, loader: &loader)
        }
        reader = PyramidReader(encoders)
        (vae, vaeWeights) = try loader.part(checkpoint.weights(.vae)) { PyramidVAE($0, configuration.vae) }
        var transformers: [PyramidTransformerKind: Transformer] = [:]
        for (kind, sizes) in configuration.transformers {
            let (model, weights) = try loader.part(
                checkpoint.weights(kind), blocks: ["transformer_blocks", "single_transformer_blocks"]
            ) { PyramidTransformer($0, sizes) }
            transformers[kind] = Transformer(model: model, weights: weights)
        }
        self.configuration = configuration
        self.transformers = transformers
        scaling = PyramidScaling(checkpoint.variant)
        (warnings, finite) = (loader.warnings, loader.finite)
    }

    // MARK: Latents

    func latents(_ job: Job) throws -> HostTensor {
        let (plan, settings) = (job.plan, PyramidSettings(job.plan))
        let stored = try transformer(of: settings)
        let (texts, picture) = try conditions(job)
        let draws = Draws(job) { _ in "noise" }
        let shape = configuration.latentShape(plan)
        let noise = PyramidNoise.halved(PyramidNoise.halved(try draws(shape).framesFirst))
        job.trace?.record("noise.pyramid", noise.channelsFirst)
        var history = PyramidHistory()
        if let picture { history.add(try latents(of: picture, job, draws)) }
        let preview = try job.preview.map { _ in try fittedPreview(job) }
        let transformer = try transformer(job, stored)
        if let trace = job.trace { record(settings, trace) }

        let loop = SamplingLoop(
            job: job, calls: plan.steps, blocks: transformer.blockCount, sides: texts.count, weights: stored.weights,
            unit: transformer.unit(ofBlock:), preview: preview, finite: finite)
        let run = loop.begin(settings.units.map { settings.steps(of: $0).reduce(0, +) })
        let denoiser = PyramidDenoiser(transformer, texts, job)
        for (section, unit) in settings.units.enumerated() {
            let jumps = try (1..<PyramidSchedule.stageCount).map { try blockNoise(unit, $0, shape, draws) }
            if let latents = try run.finished(section, shape: [1, shape[1]] + shape[3...]) {
                history.add(latents)
                continue
            }
            let latents = try make(
                unit, section, from: noise.sliced(0, section..<section + 1), jumps, history, denoiser, run, job)
            try run.keep(latents)
            history.add(latents)
            if let clip = job.growth, section + 1 < settings.units.count { try show(history, in: clip, job) }
            job.sectionDone(
                SectionProgress(
                    made: section + 1, of: settings.units.count,
                    frames: PyramidVAEConfiguration.frameLength(of: history.count), isEnd: false))
        }
        try job.countGrowth { try decode(.zeros(shape), job) }
        return try run.finish(history.latents.channelsFirst)
    }

    /// The latents of a frame `[1, C, h, w]`, from noise at a quarter of the resolution.
    private func make(
        _ unit: Int, _ section: Int, from noise: Tensor, _ jumps: [Tensor], _ history: PyramidHistory,
        _ denoiser: PyramidDenoiser, _ run: SamplingRun, _ job: Job
    ) throws -> Tensor {
        let (settings, session) = (PyramidSettings(job.plan), job.session)
        let (schedule, place) = (
            PyramidSchedule(steps: settings.steps(of: unit)), "unit.\(StageTrace.digits(unit)).stage."
        )
        let guidance = settings.guidance(of: unit, first: job.plan.guidance)
        let isLast = unit == settings.count - 1
        var latents = session.copy(noise)
        var first = 0
        for (stage, calls) in schedule.stages.enumerated() {
            if stage > 0 { latents = PyramidSchedule.jump(latents, noise: jumps[stage - 1], to: stage) }
            job.trace?.record("\(place)\(stage).start", latents.expanded(at: 2))
            let clips = history.clips(stage)
            if isLast, let trace = job.trace { record(clips, unit, stage, trace) }
            let around = denoiser.surroundings(clips, of: latents)
            let range = first..<first + calls.timesteps.count
            latents = try run(latents, section: section, calls: range) { call, latents in
                let index = call.index - range.lowerBound
                let trace = recorder(job, section, stage, index, isLast: isLast)
                return try denoiser(
                    latents, time: calls.timesteps[index], around, guidance: guidance, call, trace: trace)
            } clean: { call, velocity, latents in
                let left = Float(calls.sigmas[call.index - range.lowerBound])
                return shown(history, session.combine(latents, 1, velocity, -left), stage)
            } step: { call, velocity, latents in
                let next = schedule.step(latents, velocity: velocity, stage: stage, call: call.index - range.lowerBound)
                call.record("latents", next.expanded(at: 2))
                return next
            }
            job.trace?.record("\(place)\(stage)", latents.expanded(at: 2))
            first = range.upperBound
            session.memory.trim()
        }
        return latents
    }

    /// The noise of the jump to a stage, `[1, C, h, w]`.
    private func blockNoise(_ unit: Int, _ stage: Int, _ shape: [Int], _ draws: Draws) throws(Fault) -> Tensor {
        let scale = 1 << (PyramidSchedule.stageCount - 1 - stage)
        let (channels, height, width) = (shape[1], shape[3] / scale, shape[4] / scale)
        return try draws(
            made: "block.\(StageTrace.digits(unit)).\(stage)", [1, channels, 1, height, width]
        ) { source throws(Fault) in
            try PyramidNoise.blocks(from: source, channels: channels, frames: 1, height: height, width: width)
        }.framesFirst
    }

    /// The finished frames and the one under way, which stands for what its stage leads to, as the VAE has them.
    private func shown(_ history: PyramidHistory, _ frame: Tensor, _ stage: Int) -> Tensor {
        let whole = (stage..<PyramidSchedule.stageCount - 1).reduce(frame) { x, _ in x.session.upsampleNearest(x) }
        let frames = history.count == 0 ? whole : frame.session.concatenate([history.latents, whole], axis: 0)
        return scaling.restored(frames).channelsFirst
    }

    private func transformer(of settings: PyramidSettings) throws(Fault) -> Transformer {
        guard let stored = transformers[settings.kind] else {
            throw Fault(.software, "the transformer \(settings.kind.title) is not loaded")
        }
        return stored
    }

    func encode(_ job: Job) throws { _ = try conditions(job) }

    /// The texts of the guidance's sides, and of the picture, where there is one, the VAE's mean and logarithm of the variance,
    /// `[1, C, h, w]` each.
    private func conditions(_ job: Job) throws -> (texts: [HunyuanText], picture: [Tensor]?) {
        let settings = PyramidSettings(job.plan)
        let texts = try reader(job, for: transformer(of: settings).model.configuration)
        if let weights = reader.weights {
            for x in texts.flatMap({ [$0.states, $0.pooled] }) {
                try finite(x, of: weights, job, "while the prompt was read")
            }
        }
        guard settings.hasPicture else { return (texts, nil) }
        let shape = configuration.latentShape(job.plan)
        let form = [1, shape[1], shape[3], shape[4]]
        let keys =
            [ConditionKey("resize", settings.resize.rawValue)] + job.pictureKeys
            + [job.tilingKey("\(settings.pictureTiling)")]
        let moments = try job.encoded("picture", of: keys, as: ["mean": form, "log_variance": form]) {
            try encode(job.startPicture(), job)
        }
        return (texts, moments)
    }

    /// The VAE's mean and logarithm of the variance of a picture.
    private func encode(_ picture: InputPicture, _ job: Job) throws -> [Tensor] {
        let (session, settings, plan) = (job.session, PyramidSettings(job.plan), job.plan)
        let stage = job.begin(.encoding, steps: 1, weights: vaeWeights)
        let isStretched = settings.resize == .stretch && plan.fit == .family
        let sized =
            isStretched
            ? picture.resized(width: plan.width, height: plan.height, filter: .bicubic, order: .horizontalFirst)
            : picture.covering(width: plan.width, height: plan.height, order: .horizontalFirst)
        let pixels = session.upload(sized.signedPixels)  // [1, 3, H, W]
        job.trace?.record("image.pixels", pixels.channelsFirst)
        let run = PyramidVAERun { try job.session.check() }
        let (mean, logVariance) = try vae.encode(pixels, settings.pictureTiling, run)
        job.trace?.record("vae.encode.mean", mean.channelsFirst)
        job.trace?.record("vae.encode.logvar", logVariance.channelsFirst)
        try finite(mean, of: vaeWeights, job, "while the picture was encoded")
        session.memory.trim()
        job.releaseStreamed(vaeWeights)
        stage.advance()
        return [mean, logVariance]
    }

    /// The picture's latents `[1, C, h, w]`: the VAE's mean and deviation, and the next draw.
    private func latents(of moments: [Tensor], _ job: Job, _ draws: Draws) throws -> Tensor {
        let (session, mean, logVariance) = (job.session, moments[0], moments[1])
        let draw = try draws(made: "vae", mean.channelsFirst.shape) { source throws(Fault) in
            try source.next([1, mean.shape[1], 1, mean.shape[2], mean.shape[3]])
        }
        let deviation = session.exponential(session.scale(logVariance, by: 0.5, plus: 0, clampedTo: nil))
        let latents = scaling.normalised(mean + deviation * draw.framesFirst)
        job.trace?.record("cond.latents", latents.channelsFirst)
        return latents
    }

    /// The map from the VAE's latents to colours, fitted to the start picture, or to a chart of colours.
    private func fittedPreview(_ job: Job) throws -> LatentPreview {
        let run = PyramidVAERun { try job.session.check() }
        let source = job.image ?? LatentPreview.chart
        return try LatentPreview.fitted(to: source, factor: PyramidVAEConfiguration.space, on: job.session) { pixels in
            try vae.encode(pixels, PyramidTiling(side: nil), run).mean.channelsFirst
        }
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job, _ stored: Transformer) throws -> PyramidTransformer {
        let (session, sizes) = (job.session, stored.model.configuration)
        return try stored.changed(
            job, stored.model, stored: stored.weights,
            rounding: { FP8Rounding($0, $1, to: $2, width: sizes.width) }, blocks: stored.model.blockCount,
            make: { PyramidTransformer($0, sizes) }, quantize: { try $0.quantized(on: session, blockDone: $1) })
    }

    // MARK: Recording

    private func record(_ settings: PyramidSettings, _ trace: Trace) {
        var (index, times, levels): ([Int64], [Float], [Float]) = ([], [], [])
        for unit in settings.units {
            for (stage, calls) in PyramidSchedule(steps: settings.steps(of: unit)).stages.enumerated() {
                for call in calls.timesteps.indices { index += [unit, stage, call].map { Int64($0) } }
                times += calls.timesteps
                levels += calls.sigmas.map { Float($0) }
            }
        }
        trace.record("steps.index", HostTensor(integers: index, [index.count / 3, 3]))
        trace.record("timesteps", HostTensor(times, [times.count]))
        trace.record("sigmas", HostTensor(levels, [levels.count]))
    }

    private func record(_ clips: [Tensor], _ unit: Int, _ stage: Int, _ trace: Trace) {
        for (index, clip) in clips.enumerated() {
            trace.record("cond.\(StageTrace.digits(unit)).\(stage).\(index)", clip.channelsFirst)
        }
    }

    /// What records the stages of a call: of the clip's first, and of the first of the last frame's last stage.
    private func recorder(_ job: Job, _ section: Int, _ stage: Int, _ call: Int, isLast: Bool) -> StageTrace? {
        guard let trace = job.trace, call == 0 else { return nil }
        if section == 0, stage == 0 { return StageTrace(trace) }
        return isLast && stage == PyramidSchedule.stageCount - 1 ? StageTrace(trace, prefix: "late.") : nil
    }

    // MARK: Decoding

    func decode(_ latents: HostTensor, _ job: Job) throws {
        if job.isGrowthCounted { return }
        let session = job.session
        try job.check(latents, shape: configuration.latentShape(job.plan))
        let stage = job.begin(.decoding, steps: job.plan.frames, weights: vaeWeights)
        let restored = scaling.restored(session.upload(latents).framesFirst)
        job.trace?.record("vae.decode.in", restored.channelsFirst)
        let run = PyramidVAERun { try job.session.check() }
        let deliver = FrameDelivery(job, stage, rounding: .towardZero, of: vaeWeights, finite)
        try vae.decode(restored, PyramidSettings(job.plan).tiling, run) { try deliver($0) }
        deliver.finish()
        // A clip that grows is decoded anew after each frame of latents.
        if job.plan.grows { job.meter?.repeatStage(Double(restored.shape[0] + 1) / 2) }
    }

    /// Shows the frames of the latents that are there, which later ones do not change.
    ///
    /// They are decoded from the first one on: what the VAE remembers of all tiles takes more room than doing it again.
    private func show(_ history: PyramidHistory, in clip: any GrowingClip, _ job: Job) throws {
        let run = PyramidVAERun { try job.session.check() }
        let deliver = FrameDelivery(job, nil, rounding: .towardZero, of: vaeWeights, finite)
        try clip.begin(at: .end, isLoose: true)
        try vae.decode(scaling.restored(history.latents), PyramidSettings(job.plan).tiling, run) {
            try deliver.add($0, to: clip)
        }
        job.releaseStreamed(vaeWeights)
        job.session.memory.trim()
        try clip.show()
    }
}
