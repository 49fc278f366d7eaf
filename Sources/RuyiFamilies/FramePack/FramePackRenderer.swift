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
    private let vision: SigLIPVision
    private let transformer: FramePackTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<FramePackTransformer>()
    private let vae: HunyuanVAE
    private let weights: (vision: StageWeights, transformer: StageWeights, vae: StageWeights)
    private let finite: FiniteCheck

    init(_ checkpoint: FramePackCheckpoint, backend: any Backend) throws(Fault) {
        let configuration = try FramePackConfiguration(checkpoint)
        let prompts = try checkpoint.prompts()
        let encoders = try HunyuanTextEncoders(
            text: checkpoint.weights(.text), clip: checkpoint.weights(.clip), prompts: prompts, configuration.text,
            on: backend)
        reader = FramePackReader(encoders, prompts)
        var loader = ModelLoader(on: backend)
        let (vision, visionWeights) = try loader.part(
            checkpoint.weights(.vision), isSpare: { $0.hasPrefix("vision_model.head.") }
        ) { SigLIPVision($0 / "vision_model", configuration.vision) }
        let (vae, vaeWeights) = try loader.part(checkpoint.weights(.vae)) { HunyuanVAE($0, configuration.vae) }
        let (transformer, transformerWeights) = try loader.part(
            checkpoint.weights(.transformer), blocks: ["transformer_blocks", "single_transformer_blocks"]
        ) { FramePackTransformer($0, configuration.transformer) }
        self.configuration = configuration
        (self.vision, self.vae, self.transformer) = (vision, vae, transformer)
        weights = (visionWeights, transformerWeights, vaeWeights)
        (warnings, finite) = (encoders.warnings + loader.warnings, loader.finite)
    }

    // MARK: Latents

    func latents(_ job: Job) throws -> HostTensor {
        let (plan, settings) = (job.plan, FramePackSettings(job.plan))
        let texts = try reader(job)
        for x in texts.flatMap({ [$0.states, $0.pooled] }) {
            try finite(x, of: reader.weights, job, "while the prompt was read")
        }
        let start = try cover(job.startPicture(), plan)
        let draws = Draws(job) { "noise." + StageTrace.digits($0) }
        let known = try encode(start, job, draws, "image", latents: "cond.latents", noise: "vae")
        let end = try job.endPicture.map {
            try encode(cover($0, plan), job, draws, "end_image", latents: "cond.end_latents", noise: "vae_end")
        }
        let seen = try look(at: start, job)
        let transformer = try transformer(job)
        let picture = transformer.picture(seen)
        job.trace?.record("image_projection.out", picture)
        let schedule = schedule(plan)
        if let trace = job.trace { record(schedule, plan, trace) }

        let loop = SamplingLoop(
            job: job, calls: plan.steps, blocks: transformer.blockCount, sides: texts.count,
            weights: weights.transformer, unit: transformer.unit(ofBlock:),
            preview: job.preview.map { _ in FramePackPreview.map }, finite: finite)
        let run = loop.begin(sections: settings.sections)
        var history = FramePackHistory(start: known, end: end, settings)
        var decisions: [[Float]] = []
        for section in run.places {
            let prefix = "section.\(StageTrace.digits(section))."
            let context = history.context(section)
            if let trace = job.trace { record(context, StageTrace(trace, prefix: prefix)) }
            let grid = (plan.height / 16, plan.width / 16)
            var denoiser = FramePackDenoiser(
                transformer, texts, picture: picture, context, grid: grid, job, section: section, prefix: prefix)
            var sampler = schedule
            let noise = try draws(configuration.sectionShape(plan))
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
            history.add(latents, section)
            job.trace?.record("\(prefix)latents", latents)
            job.trace?.record(
                "\(prefix)frames", HostTensor(integers: [Int64(settings.frameCount(after: section + 1))], [1]))
            try job.session.check()
        }
        if let columns = decisions.first?.count {
            job.trace?.record("teacache.trace", HostTensor(decisions.flatMap { $0 }, [decisions.count, columns]))
        }
        return run.finish(history.latents(job.session))
    }

    /// The picture as the reference cuts it: scaled to cover the frames, and its middle.
    private func cover(_ picture: InputPicture, _ plan: Plan) -> InputPicture {
        picture.covering(width: plan.width, height: plan.height)
    }

    /// A picture's latents, `[1, C, 1, h, w]`: the VAE's mean and deviation, and a draw of its own.
    private func encode(
        _ picture: InputPicture, _ job: Job, _ draws: Draws, _ name: String, latents: String, noise: String
    ) throws -> Tensor {
        let session = job.session
        let stage = job.begin(.encoding, steps: 1, weights: weights.vae)
        let pixels = session.upload(picture.signedPixels)  // [1, 3, H, W]
        job.trace?.record("\(name).pixels", pixels.channelsFirst)
        let run = HunyuanVAERun(trace: nil) { try job.session.check() }
        let (mean, logVariance) = try vae.encode(pixels, FramePackSettings(job.plan).tiling, run)
        if name == "image" {
            job.trace?.record("vae.encode.mean", mean.channelsFirst)
            job.trace?.record("vae.encode.logvar", logVariance.channelsFirst)
        }
        try finite(mean, of: weights.vae, job, "while the picture was encoded")
        let draw = try draws(named: noise, mean.channelsFirst.shape)
        let deviation = session.exponential(session.scale(logVariance.channelsFirst, by: 0.5, plus: 0, clampedTo: nil))
        let factor = configuration.vae.scalingFactor
        let result = session.scale(mean.channelsFirst + deviation * draw, by: factor, plus: 0, clampedTo: nil)
        job.trace?.record(latents, result)
        session.memory.trim()
        job.releaseStreamed(weights.vae)
        stage.advance()
        return result
    }

    /// What the image encoder sees of the start picture, `[1, tokens, width]`.
    private func look(at picture: InputPicture, _ job: Job) throws -> Tensor {
        let stage = job.begin(.looking, steps: vision.depth, weights: weights.vision)
        let side = configuration.processor.side
        let pixels = job.session.upload(picture.tensor([1, 3, side, side]) { configuration.processor($0) })
        job.trace?.record("image.clip_pixels", pixels)
        var isLayer = false
        let states = try vision(pixels) { _ in
            if isLayer { stage.advance() }
            isLayer = true
        }
        job.trace?.record("image.embeds", states)
        try finite(states, of: weights.vision, job, "while the picture was looked at")
        try job.session.check()
        job.release(weights.vision)
        return states
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
            rounding: { FP8Rounding(hunyuan: $0, $1, to: $2, width: configuration.hiddenSize) },
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
        let settings = FramePackSettings(job.plan)
        let shape = configuration.sectionShape(job.plan)
        let expected = [1, shape[1], settings.latentCount, shape[3], shape[4]]
        guard latents.shape == expected else {
            throw Fault(.badData, "the latents are \(latents.shape), expected \(expected)")
        }
        let stage = job.begin(.decoding, steps: job.plan.frames, weights: weights.vae)
        let deliver = FrameDelivery(job, stage, rounding: .towardZero, of: weights.vae, finite)
        let windows = FramePackWindows(settings)
        var fade = FramePackFade(windows.overlap)
        // Where work is only counted, the first windows stand for the others, which take as much.
        let taken = job.meter == nil ? windows.ranges[...] : windows.ranges.prefix(2)
        job.meter?.repeatStage(Double(windows.ranges.count) / Double(taken.count))
        for (index, window) in taken.enumerated() {
            let session = job.session
            let part = session.upload(latents.sliced(2, window))
            let scaled = session.scale(part, by: 1 / configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
            let run = HunyuanVAERun(trace: nil) { try job.session.check() }
            var frames: [Tensor] = []
            try vae.decode(scaled.framesFirst, settings.tiling, run) { frames.append($0) }
            let decoded = session.concatenate(frames, axis: 0)
            // What the reference decodes first.
            if index == (settings.variant == .inverted ? windows.ranges.count - 1 : 0) {
                job.trace?.record("vae.decode.in", scaled)
                job.trace?.record("vae.decode.out", decoded.channelsFirst)
            }
            try fade.add(decoded, isLast: index == windows.ranges.count - 1, deliver.callAsFunction)
            session.memory.trim()
        }
        deliver.finish()
    }
}

extension Stage.Name {
    /// The image encoder sees the start picture.
    static let looking = Stage.Name("looking at the picture")
}
