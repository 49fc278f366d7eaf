import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A loaded HunyuanVideo checkpoint (specification sections 3 to 8).
final class HunyuanRenderer: Renderer {
    let warnings: [String]
    private let configuration: HunyuanConfiguration
    private let reader: HunyuanReader
    private let transformer: HunyuanTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<HunyuanTransformer>()
    private let vae: HunyuanVAE
    private let weights: (transformer: StageWeights, vae: StageWeights)
    private let finite: FiniteCheck

    init(_ folder: ModelFolder, backend: any Backend) throws(Fault) {
        configuration = try HunyuanConfiguration(folder)
        let checkpoint = try HunyuanCheckpoint(folder)
        let configuration = configuration
        let encoders = try configuration.text.map { (text) throws(Fault) in
            try HunyuanTextEncoders(
                text: checkpoint.weights(.text), clip: checkpoint.weights(.clip),
                prompts: HunyuanPrompts.shared(folder, takesPicture: configuration.takesPicture), text, on: backend)
        }
        reader = HunyuanReader(encoders, configuration)
        var loader = ModelLoader(on: backend)
        let (vae, vaeWeights) = try loader.part(checkpoint.weights(.vae)) { HunyuanVAE($0, configuration.vae) }
        let (transformer, transformerWeights) = try loader.part(
            checkpoint.weights(.transformer), blocks: ["transformer_blocks", "single_transformer_blocks"]
        ) { HunyuanTransformer($0, configuration.transformer) }
        (self.vae, self.transformer) = (vae, transformer)
        weights = (transformerWeights, vaeWeights)
        (warnings, finite) = ((encoders?.warnings ?? []) + loader.warnings, loader.finite)
    }

    // MARK: Latents

    func latents(_ job: Job) throws -> HostTensor {
        let plan = job.plan
        let settings = HunyuanSettings(plan)
        let (texts, clean) = try conditions(job)
        let preview = try job.preview.map { _ in try fittedPreview(job) }
        let noise = try Draws(job) { _ in "noise" }(configuration.latentShape(plan))
        let initial = clean.map { blend(noise, $0) } ?? noise
        if clean != nil { job.trace?.record("latents.init", initial) }

        let transformer = try transformer(job)
        let scheduler = FlowMatchEuler(steps: plan.steps, shift: settings.shift)
        if let trace = job.trace {
            trace.record("sigmas", HostTensor(scheduler.sigmas, [scheduler.sigmas.count]))
            trace.record("timesteps", HostTensor(scheduler.timesteps, [scheduler.timesteps.count]))
        }
        let start = HunyuanStart(clean, configuration.transformer.conditioning, like: initial, job.trace)
        let grid = Array(initial.shape.suffix(3))
        var denoiser = HunyuanDenoiser(transformer, texts, start, grid: grid, job)
        let loop = SamplingLoop(
            job: job, calls: plan.steps, blocks: transformer.blockCount, sides: texts.count,
            weights: weights.transformer, unit: transformer.unit(ofBlock:), preview: preview, finite: finite)
        return try loop(initial) { call, latents in
            try denoiser(latents, time: scheduler.timesteps[call.index], call)
        } clean: { call, velocity, latents in
            start.shown(scheduler.clean(latents, velocity: velocity, call: call.index))
        } step: { call, velocity, latents in
            start.keeping(latents, velocity) { scheduler.step($0, velocity: $1, call: call.index) }
        }
    }

    func encode(_ job: Job) throws { _ = try conditions(job) }

    /// The texts of the guidance's sides, and the start picture's latents where there is one.
    private func conditions(_ job: Job) throws -> (texts: [HunyuanText], clean: Tensor?) {
        let picture = configuration.takesPicture ? try job.startPicture() : nil
        let texts = try reader(job, picture)
        if let weights = reader.weights {
            for x in texts.flatMap({ [$0.states, $0.pooled] }) {
                try finite(x, of: weights, job, "while the prompt was read")
            }
        }
        guard let picture else { return (texts, nil) }
        let shape = configuration.latentShape(job.plan)
        let keys = job.pictureKeys + [job.tilingKey("\(HunyuanSettings(job.plan).tiling)")]
        let form = [1, shape[1], 1, shape[3], shape[4]]
        let clean = try job.encoded("picture", of: keys, as: ["latents": form]) {
            [try encode(picture, job)]
        }
        return (texts, clean[0])
    }

    /// The start picture's latents, scaled: `[1, C, 1, h, w]`.
    private func encode(_ picture: InputPicture, _ job: Job) throws -> Tensor {
        let session = job.session
        let stage = job.begin(.encoding, steps: 1, weights: weights.vae)
        let start = picture.resized(width: job.plan.width, height: job.plan.height, filter: .lanczos)
        let pixels = session.upload(start.signedPixels)  // [1, 3, H, W]
        job.trace?.record("image.pixels", pixels)
        let run = HunyuanVAERun(trace: nil) { try job.session.check() }
        let (mean, logVariance) = try vae.encode(pixels, HunyuanSettings(job.plan).tiling, run)
        job.trace?.record("vae.encode.mean", mean.channelsFirst)
        job.trace?.record("vae.encode.logvar", logVariance.channelsFirst)
        try finite(mean, of: weights.vae, job, "while the picture was encoded")
        session.memory.trim()
        job.releaseStreamed(weights.vae)
        stage.advance()
        return session.scale(mean.channelsFirst, by: configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
    }

    /// The map from latents to colours, fitted to the start picture, or to a chart of colours.
    private func fittedPreview(_ job: Job) throws -> LatentPreview {
        let session = job.session
        let run = HunyuanVAERun(trace: nil) { try job.session.check() }
        let source = job.image ?? LatentPreview.chart
        return try LatentPreview.fitted(to: source, factor: HunyuanVAEConfiguration.space, on: session) { pixels in
            let mean = try vae.encode(pixels, HunyuanTiling(), run).mean
            return session.scale(mean, by: configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        }
    }

    /// The noise with a thousandth of the picture in every frame (specification section 8.2).
    private func blend(_ noise: Tensor, _ clean: Tensor) -> Tensor {
        let (session, share) = (noise.session, Float(0.999))
        let repeated = session.concatenate(Array(repeating: clean, count: noise.shape[2]), axis: 2)
        return session.combine(noise, share, repeated, 1 - share)
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job) throws -> HunyuanTransformer {
        let session = job.session
        let configuration = configuration.transformer
        return try changedTransformer(
            job, transformer, stored: weights.transformer,
            rounding: { FP8Rounding($0, $1, to: $2, width: configuration.hiddenSize) },
            renamed: job.plan.loras.isEmpty ? [:] : HunyuanOriginalNames.layers(of: weights.transformer.files[0]),
            blocks: transformer.blockCount, make: { HunyuanTransformer($0, configuration) },
            quantize: { try $0.quantized(on: session, blockDone: $1) })
    }

    // MARK: Decoding

    func decode(_ latents: HostTensor, _ job: Job) throws {
        let session = job.session
        try job.check(latents, shape: configuration.latentShape(job.plan))
        let stage = job.begin(.decoding, steps: job.plan.frames, weights: weights.vae)
        let scaled = session.scale(
            session.upload(latents), by: 1 / configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        job.trace?.record("vae.decode.in", scaled)
        let run = HunyuanVAERun(trace: nil) { try job.session.check() }
        let deliver = FrameDelivery(
            job, stage, rounding: .toNearestOrEven, dropping: configuration.droppedFrames, of: weights.vae, finite)
        var raw = RecordedVideo(job)
        try vae.decode(scaled.framesFirst, HunyuanSettings(job.plan).tiling, run) { frames in
            raw.keep(frames)
            try deliver(frames)
        }
        raw.record("vae.decode.out")
        deliver.finish()
    }
}

extension Stage.Name {
    /// The language models read what is to be seen.
    static let reading = Stage.Name("reading the prompt")
}
