import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A loaded Ruyi checkpoint (specification section 2).
final class RuyiRenderer: Renderer {
    let warnings: [String]
    private let configuration: RuyiConfiguration
    private let schedule: SchedulerConfiguration
    private let controls: RuyiControls
    private let transformer: RuyiTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<RuyiTransformer>()
    private let vae: RuyiVAE
    /// What sees the start picture; nil where conditions are given.
    private let vision: (model: CLIPVision, processor: CLIPImageProcessor, weights: StageWeights)?
    private let weights: (transformer: StageWeights, vae: StageWeights)
    private let finite: FiniteCheck

    init(_ folder: ModelFolder, backend: any Backend) throws(Fault) {
        configuration = try RuyiConfiguration(folder)
        schedule = try Ruyi.schedule(folder)
        controls = RuyiControls(try folder.weights("", stem: "embeddings"), configuration.transformer)
        let configuration = configuration
        var loader = ModelLoader(on: backend)
        vision = try configuration.vision.map { (clip, processor) throws(Fault) in
            let (model, weights) = try loader.part(
                RuyiRenderer.imageEncoder(folder), isSpare: RuyiRenderer.isSpare
            ) { CLIPVision($0 / "vision_model", clip) }
            return (model, processor, weights)
        }
        let (vae, vaeWeights) = try loader.part(folder.weights("vae", stem: "diffusion_pytorch_model")) {
            RuyiVAE($0, configuration.vae)
        }
        let (transformer, transformerWeights) = try loader.part(
            folder.weights("transformer", stem: "diffusion_pytorch_model"), blocks: ["blocks"]
        ) { RuyiTransformer($0, pictureWidth: configuration.pictureWidth, configuration.transformer) }
        (self.vae, self.transformer) = (vae, transformer)
        weights = (transformerWeights, vaeWeights)
        (warnings, finite) = (loader.warnings, loader.finite)
    }

    /// The published image encoder is the whole CLIP: its text tower and projections are not needed.
    private static func isSpare(_ key: String) -> Bool {
        ["text_model.", "text_projection.", "visual_projection.", "vision_model.post_layernorm."].contains {
            key.hasPrefix($0)
        } || key == "logit_scale" || key.hasSuffix("embeddings.position_ids")
    }

    /// The image encoder is published as `pytorch_model.bin` or as `model.safetensors`.
    private static func imageEncoder(_ folder: ModelFolder) throws(Fault) -> any WeightFile {
        try folder.weights("image_encoder", stems: ["model", "pytorch_model"])
    }

    /// The size on disk of everything that is mapped.
    static func weightBytes(_ folder: ModelFolder) throws(Fault) -> Int {
        try folder.weights("transformer", stem: "diffusion_pytorch_model").byteCount
            + folder.weights("vae", stem: "diffusion_pytorch_model").byteCount
            + (folder.needsEncoders ? imageEncoder(folder).byteCount : 0)
            + folder.weights("", stem: "embeddings").byteCount
    }

    func latents(_ job: Job) throws -> HostTensor {
        let session = job.session
        let plan = job.plan
        let conditions = try conditions(job)
        var scheduler = try Sampler(named: plan.scheduler).scheduler(steps: plan.steps, configuration: schedule)
        let draws = Draws(job) { "noise." + StageTrace.digits($0) }
        let noise = try draws(configuration.latentShape(plan))
        let condition = try inpaintingCondition(conditions, draws, job)
        let preview = try job.preview.map { _ in try fittedPreview(job) }
        let initial = session.scale(noise, by: scheduler.initNoiseSigma, plus: 0, clampedTo: nil)
        job.trace?.record("init_noise_sigma", HostTensor([scheduler.initNoiseSigma], [1]))
        job.trace?.record("latents.initial", initial)

        let transformer = try transformer(job)
        let settings = RuyiSettings(plan)
        let positive = try controls.positive(RuyiControls.key(camera: settings.camera, motion: settings.motion))
        recordControls(positive, scheduler, job)
        var denoiser = RuyiDenoiser(
            transformer, controls: plan.guidance > 1 ? [try controls.negative(), positive] : [positive],
            features: conditions.features, condition: condition, calls: scheduler.timesteps.count, job)
        let loop = SamplingLoop(
            job: job, calls: scheduler.timesteps.count, blocks: transformer.blockCount,
            sides: denoiser.sides, weights: weights.transformer, unit: transformer.unit(ofBlock:),
            preview: preview, finite: finite)
        return try loop(initial) { call, latents in
            try denoiser(
                scheduler.scaleModelInput(latents, call: call.index), time: scheduler.timesteps[call.index], call)
        } clean: { call, output, latents in
            scheduler.clean(modelOutput: output, call: call.index, latents: latents)
        } step: { call, output, latents in
            let noise = scheduler.needsNoise ? try draws(latents.shape) : nil
            return scheduler.step(modelOutput: output, call: call.index, latents: latents, noise: noise)
        }
    }

    // MARK: Conditioning

    /// What the encoders make of a clip's pictures: the picture's features `[1, patches, width]`, and of the mask and of the
    /// known frames the VAE's mean and logarithm of the variance, `[1, C, f, h, w]` each.
    private typealias Conditions = (features: Tensor, mask: [Tensor], frames: [Tensor])

    func encode(_ job: Job) throws { _ = try conditions(job) }

    private func conditions(_ job: Job) throws -> Conditions {
        let start = try fitted(job.startPicture(), job)
        let end = job.endPicture.map { fitted($0, job) }
        let features = try pictureFeatures(start, job)
        let (mask, frames) = try knownFrames(start, end, job)
        return (features, mask, frames)
    }

    private func fitted(_ picture: InputPicture, _ job: Job) -> InputPicture {
        picture.resized(width: job.plan.width, height: job.plan.height, filter: .bicubic)
    }

    private func pictureFeatures(_ start: InputPicture, _ job: Job) throws -> Tensor {
        let session = job.session
        let shape = [1, nil, configuration.pictureWidth]
        let features = try job.encoded("picture_features", of: job.pictureKeys, as: ["features": shape]) {
            let (model, processor, weights) = try job.needed(vision)
            let stage = job.begin(.seeing, steps: 1, weights: weights)
            let size = processor.cropSize
            let pixels = start.tensor([1, 3, size, size]) { processor($0) }
            job.trace?.record("image.clip_pixels", pixels)
            let features = try model(session.upload(pixels))
            job.trace?.record("image.embeds", features)
            try finite(features, of: weights, job, "while the picture was read")
            job.release(weights)
            stage.advance()
            return [features]
        }[0]
        guard RuyiEmbedder.takes(patches: features.shape[1]) else {
            throw Fault(.badData, "the picture's features are of \(features.shape[1]) patches, which make no square")
        }
        return features
    }

    /// The VAE's moments of the mask and of the known frames.
    private func knownFrames(
        _ start: InputPicture, _ end: InputPicture?, _ job: Job
    ) throws -> (mask: [Tensor], frames: [Tensor]) {
        let (session, frames) = (job.session, job.plan.frames)
        let (known, pixels) = (Set([0] + (end == nil ? [] : [frames - 1])), [1, 3, job.plan.height, job.plan.width])
        let vae = vae.tiled(job.plan.vaeTile)
        let steps = vae.configuration.encoderSteps(frames: frames, width: job.plan.width, height: job.plan.height)
        let stage = job.hasConditions ? nil : job.begin(.encoding, steps: 2 * steps, weights: weights.vae)
        let tiling = job.tilingKey(vae.configuration.tiling)
        let ends = ConditionKey("end picture", end == nil ? "none" : "given")
        let shape = configuration.latentShape(job.plan)
        func moments(
            _ name: String, of keys: [ConditionKey], after done: Int, _ video: () -> [Tensor]
        ) throws -> [Tensor] {
            defer { stage?.report(done + steps) }
            return try job.encoded(name, of: keys, as: ["mean": shape, "log_variance": shape]) {
                try encode(video(), name, vae, job) { stage?.report(done + $0) }
            }
        }
        let mask = try moments("mask", of: [job.sizeKey, job.lengthKey, ends, tiling], after: 0) {
            job.trace?.record(
                "cond.frame_mask", HostTensor((0..<frames).map { known.contains($0) ? 0 : 1 }, [frames]))
            return (0..<frames).map { session.filled(pixels, known.contains($0) ? 0 : 1) }
        }
        let keys = job.pictureKeys + [job.lengthKey] + job.endPictureKeys + [tiling]
        let masked = try moments("video", of: keys, after: steps) {
            let startFrame = session.upload(start.signedPixels)  // [1, 3, H, W]
            let endFrame = end.map { session.upload($0.signedPixels) }
            job.trace?.record("image.pixels", startFrame)
            if let endFrame { job.trace?.record("end_image.pixels", endFrame) }
            let blank = session.filled(pixels, -1)
            // Where only one frame is rendered and an end picture is given, the last frame is also the first.
            return (0..<frames).map { frame -> Tensor in
                if let endFrame, frame == frames - 1 { return endFrame }
                return known.contains(frame) ? startFrame : blank
            }
        }
        if !job.hasConditions { job.releaseStreamed(weights.vae) }
        return (mask, masked)
    }

    /// The VAE's moments of frames, `[1, C, f, h, w]` each; `report` is told how many chunks are done.
    private func encode(
        _ frames: [Tensor], _ name: String, _ vae: RuyiVAE, _ job: Job, _ report: @escaping (Int) -> Void
    ) throws -> [Tensor] {
        let session = job.session
        let video = session.concatenate(frames, axis: 0)
        if name == "video" { job.trace?.record("cond.masked_video", video.channelsFirst) }
        var done = 0
        let run = RuyiVAERun(trace: nil) {
            try job.session.check()
            report(done)
            done += 1
        }
        let (mean, logVariance) = try vae.encode(video, run)
        try job.session.check()
        let (means, logVariances) = (mean.channelsFirst, logVariance.channelsFirst)
        job.trace?.record("cond.\(name)_vae.mean", means)
        job.trace?.record("cond.\(name)_vae.logvar", logVariances)
        session.memory.trim()
        return [means, logVariances]
    }

    /// The latents of the mask and of the known frames, `[1, 2 C, f, h, w]`, each a draw of its own (specification section
    /// 4.2).
    private func inpaintingCondition(_ conditions: Conditions, _ draws: Draws, _ job: Job) throws -> Tensor {
        let session = job.session
        func latents(_ moments: [Tensor]) throws -> Tensor {
            let noise = try draws(configuration.latentShape(job.plan))
            let sample = RuyiPosterior.sample(mean: moments[0], logVariance: moments[1], noise: noise)
            return session.scale(sample, by: configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        }
        let mask = try latents(conditions.mask)
        let video = try latents(conditions.frames)
        job.trace?.record("cond.mask", mask)
        job.trace?.record("cond.latents", video)
        let condition = session.concatenate([mask, video], axis: 1)
        try finite(condition, of: weights.vae, job, "while the picture was encoded")
        return condition
    }

    /// The map from latents to colours, fitted to still clips of the start picture and of its complement, or of a chart of
    /// colours where the picture is not here.
    private func fittedPreview(_ job: Job) throws -> LatentPreview {
        let session = job.session
        let picture = try fitted(job.startPicture(), job).picture ?? LatentPreview.chart
        let configuration = configuration.vae
        let run = RuyiVAERun(trace: nil) { try job.session.check() }
        return try LatentPreview.fitted(to: picture, factor: configuration.spatialFactor, on: session) { frame in
            let clip = (0..<min(job.plan.frames, configuration.encoderChunk)).map { _ in frame }
            let mean = try vae.encode(session.concatenate(clip, axis: 0), run).mean
            return session.scale(mean, by: configuration.scalingFactor, plus: 0, clampedTo: nil)
        }
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job) throws -> RuyiTransformer {
        let session = job.session
        let (pictureWidth, configuration) = (configuration.pictureWidth, configuration.transformer)
        return try changedTransformer(
            job, transformer, stored: weights.transformer,
            rounding: { FP8Rounding(ruyi: $0, $1, to: $2, width: configuration.hiddenSize) },
            blocks: transformer.blockCount,
            make: { RuyiTransformer($0, pictureWidth: pictureWidth, configuration) },
            quantize: { try $0.quantized(on: session, blockDone: $1) })
    }

    private func recordControls(_ control: RuyiControl, _ scheduler: any Scheduler, _ job: Job) {
        guard let trace = job.trace else { return }
        trace.record("text.embeds", control.first)
        trace.record("text.embeds.2", control.second)
        trace.record(
            "text.mask", HostTensor(integers: control.firstMask.map { $0 ? 1 : 0 }, [1, control.firstMask.count]))
        trace.record(
            "text.mask.2", HostTensor(integers: control.secondMask.map { $0 ? 1 : 0 }, [1, control.secondMask.count]))
        let times = scheduler.timesteps
        trace.record("timesteps", HostTensor(integers: times.map { Int64($0) }, [times.count]))
        if let sigmas = scheduler.sigmas { trace.record("sigmas", HostTensor(sigmas, [sigmas.count])) }
    }

    // MARK: Decoding

    func decode(_ latents: HostTensor, _ job: Job) throws {
        let session = job.session
        try job.check(latents, shape: configuration.latentShape(job.plan))
        let count = job.plan.frames
        let stage = job.begin(.decoding, steps: count, weights: weights.vae)
        let scaled = session.scale(
            session.upload(latents), by: 1 / configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        job.trace?.record("vae.decode.in", scaled)
        let isSmoothed = configuration.vae.chunking != .cache && count > configuration.vae.encoderChunk
        // Until frames come out, passes and their tiles are what is counted; the second pass follows an encoding.
        func pass(_ range: ClosedRange<Double>) -> RuyiVAERun {
            RuyiVAERun(trace: nil) { share in
                stage.report(share: range.lowerBound + (range.upperBound - range.lowerBound) * share)
            } step: {
                try job.session.check()
            }
        }
        let deliver = FrameDelivery(job, stage, rounding: .towardZero, of: weights.vae, finite)
        var raw = RecordedVideo(job)
        var decoded: [Tensor] = []
        let first = pass(0...(isSmoothed ? 0.4 : 1))
        var done = 0
        let vae = vae.tiled(job.plan.vaeTile)
        try vae.decode(scaled.framesFirst, first) { frames in
            try job.session.check()
            raw.keep(frames)
            guard isSmoothed else { return try deliver(frames) }
            decoded.append(frames)
            done += frames.shape[0]
            first.advance(Double(done) / Double(count))
        }
        raw.record("vae.decode.out")
        if isSmoothed {
            try deliver(try smoothed(session.concatenate(decoded, axis: 0), vae, pass(0.6...1), job))
        }
        deliver.finish()
    }

    /// The video averaged with a second pass through the VAE whose chunks lie half a chunk later (specification 6.6).
    private func smoothed(_ decoded: Tensor, _ vae: RuyiVAE, _ run: RuyiVAERun, _ job: Job) throws -> Tensor {
        let session = job.session
        // What is not finite would be hidden by the limits.
        try finite(decoded, of: weights.vae, job, "in the decoded frames")
        let chunk = configuration.vae.encoderChunk
        let (before, after) = (chunk / 2, chunk - chunk / 2)
        let video = session.scale(decoded, by: 1, plus: 0, clampedTo: -1...1)
        let count = video.shape[0]
        let middle = video.sliced(0, before..<count - after)
        let (mean, logVariance) = try vae.encode(middle, run)
        job.trace?.record("smooth.vae.mean", mean.channelsFirst)
        job.trace?.record("smooth.vae.logvar", logVariance.channelsFirst)
        var frames: [Tensor] = []
        run.advance(0)
        var done = 0
        try vae.decode(mean, run) { part in
            frames.append(part)
            done += part.shape[0]
            run.advance(Double(done) / Double(middle.shape[0]))
        }
        let again = session.concatenate(frames, axis: 0)
        try finite(again, of: weights.vae, job, "in the decoded frames")
        job.trace?.record("smooth.decode.out", again.channelsFirst)
        let average = session.combine(middle, 0.5, again, 0.5)
        let joined = session.concatenate(
            [video.sliced(0, 0..<before), average, video.sliced(0, count - after..<count)], axis: 0)
        return session.scale(joined, by: 1, plus: 0, clampedTo: -1...1)
    }
}

extension Stage.Name {
    /// The image encoder looks at the start picture.
    static let seeing = Stage.Name("reading the picture")
}

/// Draws from the VAE's diagonal Gaussian (specification section 6.4).
enum RuyiPosterior {
    /// `mean + e^(½ logVariance) · noise`, all of one shape.
    static func sample(mean: Tensor, logVariance: Tensor, noise: Tensor) -> Tensor {
        let session = mean.session
        let deviation = session.exponential(session.scale(logVariance, by: 0.5, plus: 0, clampedTo: nil))
        return mean + noise * deviation
    }
}
