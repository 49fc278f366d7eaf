import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A loaded FramePack checkpoint (specification sections 4 to 11).
final class FramePackRenderer: Renderer {
    let warnings: [String]
    private let configuration: FramePackConfiguration
    private let reader: FramePackReader
    /// What sees the start picture; nil where conditions are given.
    private let vision: (model: SigLIPVision, processor: SigLIPImageProcessor, weights: StageWeights)?
    private let transformer: FramePackTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<FramePackTransformer>()
    private let vae: HunyuanVAE
    private let weights: (transformer: StageWeights, vae: StageWeights)
    private let finite: FiniteCheck

    init(_ checkpoint: FramePackCheckpoint, backend: any Backend) throws(Fault) {
        let configuration = try FramePackConfiguration(checkpoint)
        let texts = try configuration.encoders.map { (sizes) throws(Fault) in
            let prompts = try checkpoint.prompts()
            let models = try HunyuanTextEncoders(
                text: checkpoint.weights(.text), clip: checkpoint.weights(.clip), prompts: prompts, sizes.text,
                on: backend)
            return (models: models, prompts: prompts)
        }
        reader = FramePackReader(texts, configuration.transformer)
        var loader = ModelLoader(on: backend)
        vision = try configuration.encoders.map { (sizes) throws(Fault) in
            let (model, weights) = try loader.part(
                checkpoint.weights(.vision), isSpare: { $0.hasPrefix("vision_model.head.") }
            ) { SigLIPVision($0 / "vision_model", sizes.vision) }
            return (model, sizes.processor, weights)
        }
        let (vae, vaeWeights) = try loader.part(checkpoint.weights(.vae)) { HunyuanVAE($0, configuration.vae) }
        let (transformer, transformerWeights) = try loader.part(
            checkpoint.weights(.transformer), blocks: ["transformer_blocks", "single_transformer_blocks"]
        ) { FramePackTransformer($0, configuration.transformer) }
        self.configuration = configuration
        (self.vae, self.transformer) = (vae, transformer)
        weights = (transformerWeights, vaeWeights)
        (warnings, finite) = ((texts?.models.warnings ?? []) + loader.warnings, loader.finite)
    }

    // MARK: Latents

    func latents(_ job: Job) throws -> HostTensor {
        let (plan, settings) = (job.plan, FramePackSettings(job.plan))
        let conditions = try conditions(job)
        let texts = conditions.texts
        let draws = Draws(job) { "noise." + StageTrace.digits($0) }
        let known = try latents(of: conditions.start, job, draws, named: "cond.latents", noise: "vae")
        let end = try conditions.end.map {
            try latents(of: $0, job, draws, named: "cond.end_latents", noise: "vae_end")
        }
        let transformer = try transformer(job)
        let picture = transformer.picture(conditions.seen)
        job.trace?.record("image_projection.out", picture)
        let schedule = schedule(plan)
        if let trace = job.trace { record(schedule, plan, trace) }

        let loop = SamplingLoop(
            job: job, calls: plan.steps, blocks: transformer.blockCount, sides: texts.count,
            weights: weights.transformer, unit: transformer.unit(ofBlock:),
            preview: job.preview.map { _ in FramePackPreview.map }, finite: finite)
        let run = loop.begin(sections: settings.sections)
        var history = FramePackHistory(start: known, end: end, settings, job.sections)
        var growth = FramePackGrowth(job, self)
        let (resumed, shape) = (job.sections.count, configuration.sectionShape(plan))
        var decisions: [[Float]] = []
        for section in run.places {
            let noise = try draws(shape)
            if let latents = try run.finished(section, shape: shape) {
                history.add(latents)
                try growth?.add(section, history, isShown: section == resumed - 1)
                continue
            }
            let prefix = "section.\(StageTrace.digits(section))."
            let context = history.context(section)
            if let trace = job.trace { record(context, StageTrace(trace, prefix: prefix)) }
            let grid = (plan.height / 16, plan.width / 16)
            var denoiser = FramePackDenoiser(
                transformer, texts, picture: picture, context, grid: grid, job, section: section, prefix: prefix)
            var sampler = schedule
            let latents = try run(noise, section: section, prefix: prefix) { call, latents in
                try denoiser(latents, time: sampler.timesteps[call.index], call)
            } clean: { call, velocity, latents in
                sampler.clean(latents, velocity: velocity, call: call.index)
            } step: { call, velocity, latents in
                let clean = sampler.clean(rounded(latents, settings), velocity: velocity, call: call.index)
                call.record("denoised", clean)
                if let trace = job.trace { trace.record("\(call.name).preview", FramePackPreview.colours(of: clean)) }
                let corrected = sampler.corrected(latents, clean: clean, call: call.index)
                call.record("latents", corrected)
                return call.index + 1 < call.count ? sampler.predicted(before: call.index + 1) : clean
            }
            decisions += denoiser.decisions(section: section)
            let frames = settings.frameCount(after: section + 1)
            job.trace?.record("\(prefix)latents", latents)
            job.trace?.record("\(prefix)frames", HostTensor(integers: [Int64(frames)], [1]))
            try run.keep(latents)
            history.add(latents)
            try growth?.add(section, history, isShown: true)
            job.sectionDone(
                SectionProgress(
                    made: section + 1, of: settings.sections, frames: frames, isEnd: settings.variant == .inverted))
        }
        try job.countGrowth { try decode(.zeros([1, shape[1], settings.latentCount, shape[3], shape[4]]), job) }
        if let columns = decisions.first?.count {
            job.trace?.record("teacache.trace", HostTensor(decisions.flatMap { $0 }, [decisions.count, columns]))
        }
        return run.finish(try history.latents(0..<settings.latentCount))
    }

    /// The picture as the reference cuts it: scaled to cover the frames, and its middle.
    private func cover(_ picture: InputPicture, _ plan: Plan) -> InputPicture {
        picture.covering(width: plan.width, height: plan.height)
    }

    /// What the encoders make of a clip's texts and pictures.
    private struct Conditions {
        /// Of each side of the guidance.
        let texts: [HunyuanText]
        /// The VAE's mean and logarithm of the variance of the pictures, `[1, C, 1, h, w]` each.
        let start: [Tensor], end: [Tensor]?
        /// What the image encoder sees, `[1, tokens, width]`.
        let seen: Tensor
    }

    func encode(_ job: Job) throws { _ = try conditions(job) }

    private func conditions(_ job: Job) throws -> Conditions {
        let texts = try reader(job)
        if let weights = reader.weights {
            for x in texts.flatMap({ [$0.states, $0.pooled] }) {
                try finite(x, of: weights, job, "while the prompt was read")
            }
        }
        let start = try cover(job.startPicture(), job.plan)
        let moments = try moments("picture", of: job.pictureKeys, start, job, "image")
        let end = try job.endPicture.map {
            try self.moments("end_picture", of: job.endPictureKeys, cover($0, job.plan), job, "end_image")
        }
        return Conditions(texts: texts, start: moments, end: end, seen: try look(at: start, job))
    }

    /// The VAE's mean and logarithm of the variance of a picture, `[1, C, 1, h, w]` each.
    private func moments(
        _ part: String, of keys: [ConditionKey], _ picture: InputPicture, _ job: Job, _ name: String
    ) throws -> [Tensor] {
        let tiling = FramePackSettings(job.plan).tiling
        let shape = configuration.sectionShape(job.plan)
        let form = [shape[0], shape[1], 1, shape[3], shape[4]]
        return try job.encoded(
            part, of: keys + [job.tilingKey("\(tiling)")], as: ["mean": form, "log_variance": form]
        ) {
            let stage = job.begin(.encoding, steps: 1, weights: weights.vae)
            let pixels = job.session.upload(picture.signedPixels)  // [1, 3, H, W]
            job.trace?.record("\(name).pixels", pixels.channelsFirst)
            let run = HunyuanVAERun(trace: nil) { try job.session.check() }
            let (mean, logVariance) = try vae.encode(pixels, tiling, run)
            if name == "image" {
                job.trace?.record("vae.encode.mean", mean.channelsFirst)
                job.trace?.record("vae.encode.logvar", logVariance.channelsFirst)
            }
            try finite(mean, of: weights.vae, job, "while the picture was encoded")
            job.session.memory.trim()
            job.releaseStreamed(weights.vae)
            stage.advance()
            return [mean.channelsFirst, logVariance.channelsFirst]
        }
    }

    /// A picture's latents, `[1, C, 1, h, w]`: the VAE's mean and deviation, and a draw of its own.
    private func latents(
        of moments: [Tensor], _ job: Job, _ draws: Draws, named name: String, noise: String
    ) throws -> Tensor {
        let session = job.session
        let (mean, logVariance) = (moments[0], moments[1])
        let draw = try draws(named: noise, mean.shape)
        let deviation = session.exponential(session.scale(logVariance, by: 0.5, plus: 0, clampedTo: nil))
        let factor = configuration.vae.scalingFactor
        let result = session.scale(mean + deviation * draw, by: factor, plus: 0, clampedTo: nil)
        job.trace?.record(name, result)
        return result
    }

    /// What the image encoder sees of the start picture, `[1, tokens, width]`.
    private func look(at picture: InputPicture, _ job: Job) throws -> Tensor {
        let shape = [1, nil, configuration.transformer.pictureWidth]
        return try job.encoded("picture_features", of: job.pictureKeys, as: ["features": shape]) {
            let (model, processor, weights) = try job.needed(vision)
            let stage = job.begin(.looking, steps: model.depth, weights: weights)
            let side = processor.side
            let pixels = job.session.upload(picture.tensor([1, 3, side, side]) { processor($0) })
            job.trace?.record("image.clip_pixels", pixels)
            var isLayer = false
            let states = try model(pixels) { _ in
                if isLayer { stage.advance() }
                isLayer = true
            }
            job.trace?.record("image.embeds", states)
            try finite(states, of: weights, job, "while the picture was looked at")
            try job.session.check()
            job.release(weights)
            return [states]
        }[0]
    }

    /// The noise levels: the more tokens a section has, the longer they stay high, up to a shift of 7.
    private func schedule(_ plan: Plan) -> FlowUniPC { FlowUniPC(steps: plan.steps, mu: mu(plan)) }

    /// The logarithm of the shift, by the tokens of a section alone.
    private func mu(_ plan: Plan) -> Double {
        let shape = configuration.sectionShape(plan)
        return FramePackSchedule.mu(tokens: shape[2] * shape[3] * shape[4] / 4)
    }

    /// The latents as a model in bfloat16 is given them, where the plan asks for that.
    private func rounded(_ latents: Tensor, _ settings: FramePackSettings) -> Tensor {
        guard settings.isRounded else { return latents }
        let session = latents.session
        return session.upload(session.read(latents).roundedToBFloat16)
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job) throws -> FramePackTransformer {
        let session = job.session
        let configuration = configuration.transformer
        return try changedTransformer(
            job, transformer, stored: weights.transformer,
            rounding: { FP8Rounding($0, $1, to: $2, width: configuration.hiddenSize) },
            renamed: job.plan.loras.isEmpty ? [:] : HunyuanOriginalNames.layers(of: weights.transformer.files[0]),
            blocks: transformer.blockCount, make: { FramePackTransformer($0, configuration) },
            quantize: { try $0.quantized(on: session, blockDone: $1) })
    }

    // MARK: Recording

    private func record(_ schedule: FlowUniPC, _ plan: Plan, _ trace: Trace) {
        trace.record("mu", HostTensor([Float(mu(plan))], [1]))
        trace.record("sigmas", HostTensor(schedule.sigmas, [schedule.sigmas.count]))
        trace.record("timesteps", HostTensor(schedule.timesteps, [schedule.timesteps.count]))
    }

    private func record(_ context: FramePackContext, _ trace: StageTrace) {
        let groups = [
            ("clean_latent", context.clean), ("clean_latent_2x", context.clean2x), ("clean_latent_4x", context.clean4x),
        ]
        trace.recordIntegers("latent_indices", context.section)
        for case (let name, let frames?) in groups {
            trace.recordIntegers(name + "_indices", frames.places)
            let latents = name.replacing("clean_latent", with: "clean_latents")
            trace.record(latents, frames.latents)
        }
    }

    // MARK: Decoding

    func decode(_ latents: HostTensor, _ job: Job) throws {
        if job.isGrowthCounted { return }
        let settings = FramePackSettings(job.plan)
        let shape = configuration.sectionShape(job.plan)
        let expected = [1, shape[1], settings.latentCount, shape[3], shape[4]]
        guard latents.shape == expected else {
            throw Fault(.badData, "the latents are \(latents.shape), expected \(expected)")
        }
        let stage = job.begin(.decoding, steps: job.plan.frames, weights: weights.vae)
        let deliver = delivery(job, stage)
        let windows = FramePackWindows(settings)
        var fade = FramePackFade(windows.overlap)
        // Where work is only counted, the first windows stand for the others, which take as much.
        let taken = job.meter == nil ? windows.ranges[...] : windows.ranges.prefix(2)
        job.meter?.repeatStage(Double(windows.ranges.count) / Double(taken.count))
        for (index, window) in taken.enumerated() {
            // What the reference decodes first.
            let isFirst = index == (settings.variant == .inverted ? windows.ranges.count - 1 : 0)
            fade.begin(windows.frameCount(index), isLast: index == windows.ranges.count - 1)
            try frames(of: latents.sliced(2, window), job, isRecorded: isFirst) {
                try fade.add($0, deliver.callAsFunction)
            }
            job.session.memory.trim()
        }
        deliver.finish()
    }

    /// Hands on the frames `[T, 3, H, W]` of a window of the clip's latents `[1, C, T, h, w]`, some at a time.
    fileprivate func frames(
        of latents: HostTensor, _ job: Job, isRecorded: Bool = false, _ emit: (Tensor) throws -> Void
    ) throws {
        let session = job.session
        let scaled = session.scale(
            session.upload(latents), by: 1 / configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        let run = HunyuanVAERun(trace: nil) { try job.session.check() }
        var decoded = isRecorded ? RecordedVideo(job) : nil
        if isRecorded { job.trace?.record("vae.decode.in", scaled) }
        try vae.decode(scaled.framesFirst, FramePackSettings(job.plan).tiling, run) { frames in
            decoded?.keep(frames)
            try emit(frames)
        }
        decoded?.record("vae.decode.out")
    }

    fileprivate func delivery(_ job: Job, _ stage: StageRun?) -> FrameDelivery {
        FrameDelivery(job, stage, rounding: .towardZero, of: weights.vae, finite)
    }
}

/// Decodes each section of a clip that is watched while it is made, beside the model that makes the next one.
private struct FramePackGrowth {
    private let job: Job
    private let renderer: FramePackRenderer
    private let clip: any GrowingClip
    private let settings: FramePackSettings
    private let windows: FramePackWindows
    private let deliver: FrameDelivery
    private var fade: FramePackFade

    /// Nil where nobody watches.
    init?(_ job: Job, _ renderer: FramePackRenderer) {
        guard let clip = job.growth else { return nil }
        (self.job, self.renderer, self.clip, settings) = (job, renderer, clip, FramePackSettings(job.plan))
        windows = FramePackWindows(settings)
        deliver = renderer.delivery(job, nil)
        fade = FramePackFade(windows.overlap, at: settings.variant.edge)
    }

    /// Adds a section that is finished, and makes a clip of all that are.
    mutating func add(_ section: Int, _ history: FramePackHistory, isShown: Bool) throws {
        let edge = settings.variant.edge
        let place = edge == .start ? settings.sections - 1 - section : section
        let (deliver, clip, isLast) = (deliver, clip, section == settings.sections - 1)
        fade.begin(windows.frameCount(place), isLast: isLast)
        try clip.begin(at: edge, isLoose: false)
        try renderer.frames(of: history.latents(windows.ranges[place]), job) {
            try fade.add($0) { try deliver.add($0, to: clip) }
        }
        if isShown, !isLast {
            try clip.begin(at: edge, isLoose: true)
            for frame in fade.pending { try deliver.add(frame, to: clip) }
        }
        job.session.memory.trim()
        // What is whole becomes the finished file.
        if isShown, !isLast { try clip.show() }
    }
}

extension Stage.Name {
    /// The image encoder sees the start picture.
    static let looking = Stage.Name("looking at the picture")
}
