import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization

/// A loaded Ruyi checkpoint (specification section 2).
final class RuyiRenderer: Renderer {
    let warnings: [String]
    private let backend: any Backend
    private let configuration: RuyiConfiguration
    private let schedule: SchedulerConfiguration
    private let controls: RuyiControls
    private let transformer: RuyiTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<RuyiTransformer>()
    private let vae: RuyiVAE
    private let vision: CLIPVision
    private let files: (transformer: any WeightFile, vae: any WeightFile, vision: any WeightFile)

    init(_ folder: ModelFolder, backend: any Backend) throws(Fault) {
        self.backend = backend
        configuration = try RuyiConfiguration(folder)
        schedule = try Ruyi.schedule(folder)
        controls = RuyiControls(try folder.weights("", stem: "embeddings"), configuration.transformer)
        files = (
            try folder.weights("transformer", stem: "diffusion_pytorch_model"),
            try folder.weights("vae", stem: "diffusion_pytorch_model"), try RuyiRenderer.imageEncoder(folder)
        )
        var warnings: [String] = []
        let transformerLedger = WeightLedger()
        transformer = RuyiTransformer(
            WeightScope(files.transformer, ledger: transformerLedger), pictureWidth: configuration.clip.hiddenSize,
            configuration.transformer)
        warnings += try transformerLedger.finish(unknown: .warn)
        let vaeLedger = WeightLedger()
        vae = RuyiVAE(WeightScope(files.vae, ledger: vaeLedger), configuration.vae)
        warnings += try vaeLedger.finish(unknown: .warn)
        let visionLedger = WeightLedger()
        vision = CLIPVision(WeightScope(files.vision, ledger: visionLedger) / "vision_model", configuration.clip)
        // The published file is the whole CLIP: its text tower and projections are not needed.
        warnings += try visionLedger.finish(unknown: .warn) { key in
            ["text_model.", "text_projection.", "visual_projection.", "vision_model.post_layernorm."].contains {
                key.hasPrefix($0)
            } || key == "logit_scale" || key.hasSuffix("embeddings.position_ids")
        }
        self.warnings = warnings
    }

    /// The image encoder is published as `pytorch_model.bin` or as `model.safetensors`.
    private static func imageEncoder(_ folder: ModelFolder) throws(Fault) -> any WeightFile {
        let names = folder.names(in: "image_encoder")
        let isTorch = !names.contains("model.safetensors") && names.contains("pytorch_model.bin")
        return try folder.weights("image_encoder", stem: isTorch ? "pytorch_model" : "model")
    }

    /// The size on disk of everything that is mapped.
    static func weightBytes(_ folder: ModelFolder) throws(Fault) -> Int {
        try folder.weights("transformer", stem: "diffusion_pytorch_model").byteCount
            + folder.weights("vae", stem: "diffusion_pytorch_model").byteCount + imageEncoder(folder).byteCount
            + folder.weights("", stem: "embeddings").byteCount
    }

    /// Bytes of weights that a stage has in memory.
    func weightBytes(_ stage: Int, _ plan: Plan) -> Int {
        if plan.memoryMode == .resident { return plan.weightBytes }
        switch stage {
        case 0: return files.vision.byteCount { $0.hasPrefix("vision_model.") }
        case 1, plan.stages.count - 1: return files.vae.byteCount
        default:
            let blocks = files.transformer.blockByteCounts(["blocks"])
            return (blocks[""] ?? 0) + (blocks.filter { $0.key != "" }.values.max() ?? 0)
        }
    }

    func latents(_ job: Job) throws -> Tensor {
        guard let image = job.image else { throw Fault(.usage, "no start picture was given", at: "IMAGE") }
        let start = image.resized(width: job.plan.width, height: job.plan.height, filter: .bicubic)
        let end = job.endImage?.resized(width: job.plan.width, height: job.plan.height, filter: .bicubic)
        return try latents(
            RuyiPictures(
                clip: configuration.processor(start), start: start.signedPixels,
                end: end?.signedPixels),
            try Sampler(named: job.plan.scheduler).scheduler(steps: job.plan.steps, configuration: schedule), job)
    }

    /// Denoises one clip of pictures that are ready for the model.
    func latents(_ pictures: RuyiPictures, _ scheduler: any Scheduler, _ job: Job) throws -> Tensor {
        let features = try pictureFeatures(pictures, job)
        let shape = latentShape(job.plan)
        var scheduler = scheduler
        let noise = try draw(job, shape, 0)
        let condition = try inpaintingCondition(pictures, job)
        let preview = try job.preview.map { _ in try fittedPreview(job) }
        let initial = backend.scale(noise, by: scheduler.initNoiseSigma, plus: 0, clampedTo: nil)
        job.trace?.record("init_noise_sigma", Tensor([scheduler.initNoiseSigma], [1]))
        job.trace?.record("latents.initial", initial)
        let latents = try denoise(initial, condition: condition, features: features, &scheduler, preview, job)
        job.trace?.record("latents.final", latents)
        files.transformer.release()
        backend.memory.trim()
        return latents
    }

    private func latentShape(_ plan: Plan) -> [Int] {
        let factor = configuration.vae.spatialFactor
        let frames = RuyiCost.latentFrames(plan.frames, configuration.vae)
        return [1, configuration.vae.latentChannels, frames, plan.height / factor, plan.width / factor]
    }

    private func draw(_ job: Job, _ shape: [Int], _ index: Int) throws -> Tensor {
        let noise = try job.noise.next(shape)
        job.trace?.record("noise." + StageTrace.digits(index), noise)
        return backend.copy(noise)
    }

    // MARK: Conditioning

    private func pictureFeatures(_ pictures: RuyiPictures, _ job: Job) throws -> Tensor {
        job.progress(0, 0)
        job.trace?.record("image.clip_pixels", pictures.clip)
        let features = try vision(backend.copy(pictures.clip), cancellation: job.cancellation)
        job.trace?.record("image.embeds", features)
        files.vision.release()
        backend.memory.trim()
        job.progress(0, 1)
        return features
    }

    /// The latents of the mask and of the known frames, `[1, 2 C, f, h, w]` (specification section 4.2).
    private func inpaintingCondition(_ pictures: RuyiPictures, _ job: Job) throws -> Tensor {
        let frames = job.plan.frames
        let known = Set([0] + (pictures.end == nil ? [] : [frames - 1]))
        let startFrame = backend.copy(pictures.start)  // [1, 3, H, W]
        let endFrame = pictures.end.map(backend.copy)
        let blank = backend.scale(startFrame, by: 0, plus: -1, clampedTo: nil)
        // Where only one frame is rendered and an end picture is given, the last frame is also the first.
        let masked = (0..<frames).map { frame -> Tensor in
            if let endFrame, frame == frames - 1 { return endFrame }
            return known.contains(frame) ? startFrame : blank
        }
        let mask = (0..<frames).map {
            backend.scale(startFrame, by: 0, plus: known.contains($0) ? 0 : 1, clampedTo: nil)
        }
        job.trace?.record("image.pixels", startFrame)
        if let endFrame { job.trace?.record("end_image.pixels", endFrame) }
        job.trace?.record("cond.frame_mask", Tensor((0..<frames).map { known.contains($0) ? 0 : 1 }, [frames]))
        let maskLatents = try encode(mask, "mask", 1, job)
        let videoLatents = try encode(masked, "video", 2, job)
        job.trace?.record("cond.mask", maskLatents)
        job.trace?.record("cond.latents", videoLatents)
        return backend.concatenate([maskLatents, videoLatents], axis: 1)
    }

    /// Encodes frames, draws from the posterior and scales: `[1, C, f, h, w]`.
    private func encode(_ frames: [Tensor], _ name: String, _ index: Int, _ job: Job) throws -> Tensor {
        let video = backend.concatenate(frames, axis: 0)
        if name == "video" { job.trace?.record("cond.masked_video", channelsFirst(video)) }
        let steps = RuyiCost(configuration, job.plan).encoderSteps
        var done = (index - 1) * steps
        let run = RuyiVAERun(trace: nil) {
            try job.cancellation.check()
            job.progress(1, done)
            done += 1
        }
        let (mean, logVariance) = try vae.tiled(job.plan.vaeTile).encode(video, run)
        if index == 2 { job.releaseWeights(files.vae) }
        try job.cancellation.check()
        job.progress(1, index * steps)
        let noise = try draw(job, latentShape(job.plan), index)
        let means = channelsFirst(mean)
        let logVariances = channelsFirst(logVariance)
        job.trace?.record("cond.\(name)_vae.mean", means)
        job.trace?.record("cond.\(name)_vae.logvar", logVariances)
        backend.memory.trim()
        let sample = RuyiPosterior.sample(mean: means, logVariance: logVariances, noise: noise)
        return backend.scale(sample, by: configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
    }

    /// The map from latents to colours, fitted to still clips of the start picture, small, and of its complement.
    private func fittedPreview(_ job: Job) throws -> LatentPreview {
        guard let image = job.image else { throw Fault(.usage, "no start picture was given", at: "IMAGE") }
        let start = image.resized(width: job.plan.width, height: job.plan.height, filter: .bicubic)
        let (factor, vae) = (configuration.vae.spatialFactor, configuration.vae)
        let scale = min(1, LatentPreview.sampleSide / Double(max(start.width, start.height)))
        func small(_ side: Int) -> Int { max(16, Int(Double(side) * scale) / 16 * 16) }
        let still = start.resized(width: small(start.width), height: small(start.height), filter: .bicubic)
        let run = RuyiVAERun(trace: nil) { try job.cancellation.check() }
        let samples = try [still, still.complement].map { picture in
            let frame = backend.copy(picture.signedPixels)
            let clip = (0..<min(job.plan.frames, vae.encoderChunk)).map { _ in frame }
            let mean = try self.vae.encode(backend.concatenate(clip, axis: 0), run).mean
            let latents = backend.scale(mean, by: vae.scalingFactor, plus: 0, clampedTo: nil)
            let colours = picture.resized(
                width: picture.width / factor, height: picture.height / factor, filter: .bilinear)
            return (latents, colours)
        }
        backend.memory.trim()
        return LatentPreview(samples)
    }

    /// `[T, C, H, W]` as `[1, C, T, H, W]`.
    private func channelsFirst(_ x: Tensor) -> Tensor { backend.copy(x.permuted([1, 0, 2, 3])).expanded(at: 0) }

    // MARK: Denoising

    private func denoise(
        _ initial: Tensor, condition: Tensor, features: Tensor, _ scheduler: inout any Scheduler,
        _ preview: LatentPreview?, _ job: Job
    ) throws -> Tensor {
        let transformer = try transformer(job)
        let stage = RuyiRenderer.denoising(job.plan)
        job.progress(stage, 0)
        let isGuided = job.plan.guidance > 1
        let set = RuyiControls.key(
            camera: job.plan.settings[.camera] ?? "auto", motion: job.plan.settings[.motion] ?? "auto")
        let positive = try controls.positive(set)
        let halves = isGuided ? [try controls.negative(), positive] : [positive]
        recordControls(positive, scheduler, job)
        let firstTrace = job.trace.map { StageTrace($0, prefix: "") }
        let embedder = transformer.embedder
        let text = embedder.text(halves, backend: backend, firstTrace)
        let extra = embedder.extra(
            halves, width: job.plan.width, height: job.plan.height, backend: backend, firstTrace)
        let blind = embedder.picture(nil, sees: halves.map { _ in false }, backend: backend)
        let seeing = embedder.picture(features, sees: isGuided ? [false, true] : [true], backend: backend)
        let patch = configuration.transformer.patchSize
        let rotary = RuyiRotary.table(
            rows: initial.shape[3] / patch, columns: initial.shape[4] / patch,
            headSize: configuration.transformer.headSize)
        job.trace?.record("rope.cos", rotary.cosines)
        job.trace?.record("rope.sin", rotary.sines)

        var latents = initial
        let calls = scheduler.timesteps.count
        // Stages are recorded and TeaCache decides for all items together.
        let isSequential =
            job.plan.memoryMode != .resident && job.trace == nil && job.plan.teacache == nil
            && job.plan.enhanceAVideo == nil
        var caches = halves.map { _ in
            job.plan.teacache.map {
                TeaCache($0, steps: job.plan.steps, coefficients: RuyiLimits.teacacheCoefficients)
            }
        }
        // The picture's features are off for the first 60 % of the calls.
        let firstSeeing = Int((Double(calls) * (1 - 0.40)).rounded(.up))
        for call in 0..<calls {
            let input = backend.copy(scheduler.scaleModelInput(latents, call: call))
            let whole = backend.concatenate([input, condition], axis: 1)
            let conditioning = RuyiConditioning(text: text, picture: call < firstSeeing ? blind : seeing, extra: extra)
            let trace = stepTrace(call, firstSeeing: firstSeeing, job)
            let step = "step." + StageTrace.digits(call)
            if call == 0 { job.trace?.record("\(step).input", backend.concatenate(halves.map { _ in input }, axis: 0)) }
            trace?.record("text.context", text)
            trace?.record("clip.context", conditioning.picture)
            // The items of the guidance together, or one after the other, which halves what is kept of them.
            let groups = isSequential ? halves.indices.map { $0..<$0 + 1 } : [halves.indices]
            let outputs = try groups.map { items in
                try transformer(
                    backend.concatenate(items.map { _ in whole }, axis: 0), time: scheduler.timesteps[call],
                    conditioning: conditioning.items(items), rotary: rotary, enhancement: enhancement(job.plan, call),
                    cache: &caches[items.lowerBound], cancellation: job.cancellation, trace: trace
                ) { block in
                    let done = items.lowerBound * transformer.blockCount + (block + 1) * items.count
                    job.releaseWeights(files.transformer)
                    job.progress(stage, call * transformer.blockCount + done / halves.count)
                }
            }
            let output = outputs.count == 1 ? outputs[0] : backend.concatenate(outputs, axis: 0)
            try job.cancellation.check()
            job.trace?.record("\(step).t", Tensor([scheduler.timesteps[call]], [1]))
            job.trace?.record("\(step).model_output", output)
            let guided = guide(output, isGuided ? Float(job.plan.guidance) : nil)
            job.trace?.record("\(step).guided", guided)
            if let request = job.preview, let preview, request.isDue(after: call + 1, of: calls) {
                let clean = scheduler.clean(modelOutput: guided, call: call, latents: latents)
                let frames = preview.pictures(clean, limit: LatentPreview.frameLimit)
                request.show(Preview(step: call + 1, steps: calls, frames: frames))
            }
            let noise = scheduler.needsNoise ? try draw(job, latents.shape, 3 + call) : nil
            latents = scheduler.step(modelOutput: guided, call: call, latents: latents, noise: noise)
            job.trace?.record("\(step).latents", latents)
        }
        if let cache = caches[0] { job.trace?.record("teacache.log", cache.log) }
        return backend.copy(latents)
    }

    /// The place of the denoising among the plan's stages: after the changing of the weights, if it takes a while.
    private static func denoising(_ plan: Plan) -> Int { plan.isQuantized || plan.fp8QuantMode != .none ? 3 : 2 }

    /// The weight of Enhance-A-Video in a model call, which counts as TeaCache counts; nil where it is off.
    private func enhancement(_ plan: Plan, _ call: Int) -> Double? {
        let step = call % plan.steps
        guard let feature = plan.enhanceAVideo, step >= feature.skipStartSteps, step < plan.steps - feature.skipEndSteps
        else { return nil }
        return feature.amount
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job) throws -> RuyiTransformer {
        let (clip, configuration) = (configuration.clip, configuration.transformer)
        return try changedTransformer(
            job, transformer, stored: files.transformer, on: backend,
            rounding: { FP8Rounding(ruyi: $0, $1, to: $2, width: configuration.hiddenSize) }, stages: (2, 2),
            make: { RuyiTransformer($0, pictureWidth: clip.hiddenSize, configuration) },
            quantize: { try $0.quantized(on: backend, blockDone: $1) })
    }

    /// The first half of the channels, `negative + scale · (positive − negative)`; nil takes the only item.
    private func guide(_ output: Tensor, _ scale: Float?) -> Tensor {
        let prediction = output.sliced(1, 0..<configuration.vae.latentChannels)
        guard let scale else { return backend.copy(prediction) }
        return backend.combine(prediction.sliced(0, 1..<2), scale, prediction.sliced(0, 0..<1), 1 - scale)
    }

    /// Block stages are recorded for the first call and for the first one that sees the picture.
    private func stepTrace(_ call: Int, firstSeeing: Int, _ job: Job) -> StageTrace? {
        guard let trace = job.trace, call == 0 || call == firstSeeing else { return nil }
        return StageTrace(trace, prefix: call == 0 ? "" : "step.\(StageTrace.digits(call)).")
    }

    private func recordControls(_ control: RuyiControl, _ scheduler: any Scheduler, _ job: Job) {
        guard let trace = job.trace else { return }
        trace.record("text.embeds", control.first)
        trace.record("text.embeds.2", control.second)
        trace.record("text.mask", Tensor(integers: control.firstMask.map { $0 ? 1 : 0 }, [1, control.firstMask.count]))
        trace.record(
            "text.mask.2", Tensor(integers: control.secondMask.map { $0 ? 1 : 0 }, [1, control.secondMask.count]))
        let times = scheduler.timesteps
        trace.record("timesteps", Tensor(integers: times.map { Int64($0) }, [times.count]))
        if let sigmas = scheduler.sigmas { trace.record("sigmas", Tensor(sigmas, [sigmas.count])) }
    }

    // MARK: Decoding

    func decode(_ latents: Tensor, _ job: Job) throws {
        try decode(latents, job) { try job.frames(Picture(unit: $0, rounding: .towardZero)) }
    }

    /// Decodes latents and hands each frame to `give`, `[3, H, W]` in 0...1.
    func decode(_ latents: Tensor, _ job: Job, _ give: (Tensor) throws -> Void) throws {
        let expected = latentShape(job.plan)
        guard latents.shape == expected, latents.dtype == .f32 else {
            throw Fault(
                .badData,
                "latents of the shape \(expected) in f32 were expected, not \(latents.shape) in \(latents.dtype)")
        }
        let stage = RuyiRenderer.denoising(job.plan) + 1
        job.progress(stage, 0)
        let scaled = backend.scale(latents, by: 1 / configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        job.trace?.record("vae.decode.in", scaled)
        let input = backend.copy(scaled.selected(0, 0).permuted([1, 0, 2, 3]))  // [f, C, h, w]
        let isSmoothed = configuration.vae.chunking != .cache && job.plan.frames > configuration.vae.encoderChunk
        // Until frames come out, passes and their tiles are what is counted; the second pass follows an encoding.
        func pass(_ range: ClosedRange<Double>) -> RuyiVAERun {
            RuyiVAERun(trace: nil) { share in
                let whole = range.lowerBound + (range.upperBound - range.lowerBound) * share
                job.progress(stage, min(job.plan.frames - 1, Int(Double(job.plan.frames) * whole)))
            } step: {
                try job.cancellation.check()
            }
        }
        var kept: [Tensor] = []
        var done = 0
        func deliver(_ frames: Tensor) throws {  // [T, 3, H, W], in −1...1
            let unit = backend.scale(frames, by: 0.5, plus: 0.5, clampedTo: 0...1)
            if job.trace != nil { kept.append(unit) }
            for index in 0..<unit.shape[0] {
                try job.cancellation.check()
                try give(unit.selected(0, index))
                done += 1
                job.progress(stage, done)
            }
        }
        var raw: [Tensor] = []
        let first = pass(0...(isSmoothed ? 0.4 : 1))
        var decoded = 0
        let vae = vae.tiled(job.plan.vaeTile)
        try vae.decode(input, first) { frames in
            try job.cancellation.check()
            decoded += frames.shape[0]
            if isSmoothed { first.advance(Double(decoded) / Double(job.plan.frames)) }
            if isSmoothed || job.trace != nil { raw.append(frames) }
            if !isSmoothed { try deliver(frames) }
        }
        if let trace = job.trace { trace.record("vae.decode.out", channelsFirst(backend.concatenate(raw, axis: 0))) }
        if isSmoothed { try deliver(try smoothed(backend.concatenate(raw, axis: 0), vae, pass(0.6...1), job)) }
        if let trace = job.trace {
            trace.record("video", backend.copy(backend.concatenate(kept, axis: 0).permuted([0, 2, 3, 1])))
        }
    }

    /// The video averaged with a second pass through the VAE whose chunks lie half a chunk later (specification 6.6).
    private func smoothed(_ decoded: Tensor, _ vae: RuyiVAE, _ run: RuyiVAERun, _ job: Job) throws -> Tensor {
        let chunk = configuration.vae.encoderChunk
        let (before, after) = (chunk / 2, chunk - chunk / 2)
        let video = backend.scale(decoded, by: 1, plus: 0, clampedTo: -1...1)
        let count = video.shape[0]
        let middle = video.sliced(0, before..<count - after)
        let (mean, logVariance) = try vae.encode(middle, run)
        job.trace?.record("smooth.vae.mean", channelsFirst(mean))
        job.trace?.record("smooth.vae.logvar", channelsFirst(logVariance))
        var frames: [Tensor] = []
        run.advance(0)
        var done = 0
        try vae.decode(mean, run) { part in
            frames.append(part)
            done += part.shape[0]
            run.advance(Double(done) / Double(middle.shape[0]))
        }
        let again = backend.concatenate(frames, axis: 0)
        job.trace?.record("smooth.decode.out", channelsFirst(again))
        let average = backend.combine(middle, 0.5, again, 0.5)
        let joined = backend.concatenate(
            [video.sliced(0, 0..<before), average, video.sliced(0, count - after..<count)], axis: 0)
        return backend.scale(joined, by: 1, plus: 0, clampedTo: -1...1)
    }
}

/// The pictures of a clip as the model takes them.
struct RuyiPictures {
    /// For the image encoder, `[1, 3, S, S]`.
    let clip: Tensor
    /// The first frame, `[1, 3, H, W]` in −1...1.
    let start: Tensor
    /// The last one.
    let end: Tensor?
}

/// Draws from the VAE's diagonal Gaussian (specification section 6.4).
enum RuyiPosterior {
    /// `mean + e^(½ logVariance) · noise`, all of one shape.
    static func sample(mean: Tensor, logVariance: Tensor, noise: Tensor) -> Tensor {
        let backend = mean.backend
        let deviation = backend.exponential(backend.scale(logVariance, by: 0.5, plus: 0, clampedTo: nil))
        return backend.combine(mean, 1, backend.multiply(noise, deviation), 1)
    }
}
