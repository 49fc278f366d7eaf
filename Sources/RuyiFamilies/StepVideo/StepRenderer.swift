import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A loaded Step-Video checkpoint (specification sections 3 to 11).
final class StepRenderer: Renderer {
    let warnings: [String]
    private let configuration: StepConfiguration
    private let reader: StepReader
    private let transformer: StepTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<StepTransformer>()
    private let vae: StepVAE
    private let weights: (transformer: StageWeights, vae: StageWeights)
    private let finite: FiniteCheck

    init(_ checkpoint: StepCheckpoint, backend: any Backend) throws(Fault) {
        let configuration = try StepConfiguration(checkpoint)
        self.configuration = configuration
        var loader = ModelLoader(on: backend)
        let encoders = try configuration.text.map { (sizes) throws(Fault) in
            try StepTextEncoders(checkpoint, sizes, loader: &loader)
        }
        reader = StepReader(encoders)
        let (vae, vaeWeights) = try loader.part(
            checkpoint.weights(.vae), isSpare: { StepVAE.isSpare($0, configuration.vae) }
        ) { StepVAE($0, configuration.vae) }
        let (transformer, transformerWeights) = try loader.part(
            checkpoint.weights(.transformer), blocks: ["transformer_blocks"]
        ) { StepTransformer($0, configuration.transformer) }
        (self.vae, self.transformer) = (vae, transformer)
        weights = (transformerWeights, vaeWeights)
        (warnings, finite) = (loader.warnings, loader.finite)
    }

    // MARK: Latents

    func latents(_ job: Job) throws -> HostTensor {
        let (plan, session) = (job.plan, job.session)
        let settings = StepSettings(plan)
        let (texts, moments) = try conditions(job)
        let shape = configuration.latentShape(plan)
        let draws = Draws(job) { _ in "noise" }
        // The reference draws frame by frame.
        let noise = try draws(shape, order: [0, 2, 1, 3, 4])
        let beside = try moments.map { try self.latents(of: $0, job, draws, shape) }
        let preview = try job.preview.map { _ in try fittedPreview(job) }

        let transformer = try transformer(job)
        let scheduler = FlowMatchDiscrete(
            steps: plan.steps, shift: settings.timeShift, isReversed: configuration.isReversed)
        if let trace = job.trace {
            trace.record("sigmas", HostTensor(scheduler.sigmas, [scheduler.sigmas.count]))
            trace.record("timesteps", HostTensor(scheduler.timesteps, [scheduler.timesteps.count]))
        }
        let loop = SamplingLoop(
            job: job, calls: plan.steps, blocks: transformer.blockCount, sides: texts.count,
            weights: weights.transformer, unit: transformer.unit(ofBlock:), preview: preview, finite: finite)
        let run = loop.begin()
        // What all calls share is made once.
        let denoiser = try session.counting(1 / Double(plan.steps)) {
            try StepDenoiser(
                transformer, texts, scheduler.timesteps, beside: beside, grid: Array(shape.suffix(3)), job)
        }
        let latents = try run(noise) { call, latents in
            try denoiser(latents, call)
        } clean: { call, velocity, latents in
            scheduler.clean(latents, velocity: velocity, call: call.index)
        } step: { call, velocity, latents in
            let next = scheduler.step(latents, velocity: velocity, call: call.index)
            call.record("latents", next)
            return next
        }
        session.memory.trim()
        return try run.finish(latents)
    }

    func encode(_ job: Job) throws { _ = try conditions(job) }

    /// The texts of the guidance's sides, and of the picture, where there is one, the VAE's mean and logarithm of the variance,
    /// `[1, C, 1, h, w]` each.
    private func conditions(_ job: Job) throws -> (texts: [StepText], picture: [Tensor]?) {
        let texts = try reader(job, for: configuration.transformer)
        if let weights = reader.weights {
            for x in texts.flatMap({ [$0.language, $0.bert] }) {
                try finite(x, of: weights, job, "while the prompt was read")
            }
        }
        guard configuration.transformer.kind == .i2v else { return (texts, nil) }
        let shape = configuration.latentShape(job.plan)
        let form = [1, shape[1], 1, shape[3], shape[4]]
        let moments = try job.encoded("picture", of: job.pictureKeys, as: ["mean": form, "log_variance": form]) {
            try encode(job.startPicture(), job)
        }
        return (texts, moments)
    }

    /// The VAE's mean and logarithm of the variance of a picture.
    private func encode(_ picture: InputPicture, _ job: Job) throws -> [Tensor] {
        let session = job.session
        let stage = job.begin(.encoding, steps: 1, weights: weights.vae)
        let pixels = session.upload(StepPicture.pixels(picture, width: job.plan.width, height: job.plan.height))
        job.trace?.record("image.pixels", pixels)
        let run = StepVAERun(trace: job.trace.map { StageTrace($0, prefix: "vae.encode.") }) { try session.check() }
        let (mean, logVariance) = try vae.encode(pixels, run)
        job.trace?.record("vae.encode.mean", mean)
        job.trace?.record("vae.encode.logvar", logVariance)
        try finite(mean, of: weights.vae, job, "while the picture was encoded")
        session.memory.trim()
        job.releaseStreamed(weights.vae)
        stage.advance()
        return [mean, logVariance]
    }

    /// The picture's latents in the first frame, and nothing in the others, `[1, C, f, h, w]`: the VAE's mean and deviation,
    /// and a draw of its own.
    private func latents(of moments: [Tensor], _ job: Job, _ draws: Draws, _ shape: [Int]) throws -> Tensor {
        let (session, mean, logVariance) = (job.session, moments[0], moments[1])
        let deviation = session.exponential(session.scale(logVariance, by: 0.5, plus: 0, clampedTo: nil))
        let first = mean + deviation * (try draws(named: "cond", mean.shape))
        var rest = shape
        rest[2] -= 1
        let latents = rest[2] == 0 ? first : session.concatenate([first, session.filled(rest, 0)], axis: 2)
        job.trace?.record("cond.latents", latents)
        return latents
    }

    /// The map from latents to colours, fitted to the start picture, or to a chart of colours.
    private func fittedPreview(_ job: Job) throws -> LatentPreview {
        guard configuration.vae.encoder != nil else {
            throw Fault(
                .badData, "the VAE has no encoder, by which previews are made", at: weights.vae.files[0].path,
                hint: "leave out --preview, or download vae/vae_v2.safetensors again")
        }
        return try LatentPreview.fitted(
            to: job.image ?? LatentPreview.chart, factor: StepVAEConfiguration.space, on: job.session
        ) { pixels in
            try vae.encode(pixels.expanded(at: 2), StepVAERun { try job.session.check() }).mean.framesFirst
        }
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job) throws -> StepTransformer {
        let (session, sizes) = (job.session, configuration.transformer)
        return try changedTransformer(
            job, transformer, stored: weights.transformer,
            rounding: { FP8Rounding($0, $1, to: $2, width: sizes.width) }, blocks: transformer.blockCount,
            make: { StepTransformer($0, sizes) }, quantize: { try $0.quantized(on: session, blockDone: $1) })
    }

    // MARK: Decoding

    func decode(_ latents: HostTensor, _ job: Job) throws {
        let session = job.session
        try job.check(latents, shape: configuration.latentShape(job.plan))
        let stage = job.begin(.decoding, steps: job.plan.frames, weights: weights.vae)
        let deliver = FrameDelivery(job, stage, rounding: .towardZero, of: weights.vae, finite)
        let scaled = session.upload(latents)
        job.trace?.record("vae.decode.in", scaled)
        let run = StepVAERun(
            trace: job.trace.map { StageTrace($0, prefix: "vae.decode.") }, shelf: job.shelf
        ) { try session.check() }
        try vae.decode(scaled, run) { try deliver($0) }
        deliver.finish()
    }
}
