import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization

/// A loaded HunyuanVideo checkpoint (specification sections 3 to 8).
final class HunyuanRenderer: Renderer {
    let warnings: [String]
    private let backend: any Backend
    private let configuration: HunyuanConfiguration
    private let encoders: HunyuanTextEncoders
    private let transformer: HunyuanTransformer
    /// The transformer with other weights than the stored ones, made when a clip first needs it and kept for the next.
    private let changedTransformer = ChangedModel<HunyuanTransformer>()
    /// What was read of the last clips' prompts, the latest last: clips that share them read them once.
    private let knownTexts = Mutex<[(key: HunyuanTextKey, text: HunyuanText)]>([])
    private static let knownTextLimit = 8
    private let vae: HunyuanVAE
    private let files: (transformer: any WeightFile, vae: any WeightFile)

    init(_ folder: ModelFolder, backend: any Backend) throws(Fault) {
        self.backend = backend
        configuration = try HunyuanConfiguration(folder)
        let checkpoint = try HunyuanCheckpoint(folder)
        encoders = try HunyuanTextEncoders(
            text: checkpoint.weights(.text), clip: checkpoint.weights(.clip),
            prompts: HunyuanPrompts.shared(folder, takesPicture: configuration.takesPicture), configuration.text)
        files = (try checkpoint.weights(.transformer), try checkpoint.weights(.vae))
        let transformerLedger = WeightLedger()
        transformer = HunyuanTransformer(
            WeightScope(files.transformer, ledger: transformerLedger), configuration.transformer)
        let vaeLedger = WeightLedger()
        vae = HunyuanVAE(WeightScope(files.vae, ledger: vaeLedger), configuration.vae)
        warnings =
            encoders.warnings + (try transformerLedger.finish(unknown: .warn))
            + (try vaeLedger.finish(unknown: .warn))
    }

    // MARK: Latents

    /// Bytes of weights that a stage has in memory: the text encoders' are given back before the denoising.
    func weightBytes(_ stage: HunyuanStage, _ plan: Plan) -> Int {
        let isStreamed = plan.memoryMode != .resident
        switch stage {
        case .reading: return isStreamed ? encoders.streamedByteCount : encoders.byteCount
        case .encoding, .decoding: return files.vae.byteCount
        case .quantising, .rounding, .denoising:
            guard isStreamed else {
                let text = encoders.files.reduce(0) { $0 + $1.byteCount }
                return plan.weightBytes - text
            }
            let blocks = files.transformer.blockByteCounts(["transformer_blocks", "single_transformer_blocks"])
            return (blocks[""] ?? 0) + (blocks.filter { $0.key != "" }.values.max() ?? 0)
        }
    }

    func latents(_ job: Job) throws -> Tensor { try latents(try pictures(job), job) }

    /// Denoises one clip of pictures that are ready for the model.
    func latents(_ pictures: HunyuanPictures?, _ job: Job) throws -> Tensor {
        let texts = try texts(pictures, job)
        encoders.files.forEach { $0.release() }
        backend.memory.trim()
        let clean = try pictures.map { try encode($0.start, job) }
        let preview = try job.preview.map { _ in try fittedPreview(job) }
        let noise = try job.noise.next(latentShape(job.plan))
        job.trace?.record("noise", noise)
        let initial = clean.map { blend(backend.copy(noise), $0) } ?? backend.copy(noise)
        if clean != nil { job.trace?.record("latents.init", initial) }
        let latents = try denoise(initial, clean: clean, texts, preview, job)
        job.trace?.record("latents.final", latents)
        files.transformer.release()
        backend.memory.trim()
        return latents
    }

    private func pictures(_ job: Job) throws(Fault) -> HunyuanPictures? {
        guard configuration.takesPicture else { return nil }
        let plan = job.plan
        guard let picture = job.image, let seen = encoders.pixels(of: picture) else {
            throw Fault(.usage, "no start picture was given", at: "IMAGE")
        }
        // The other side of the guidance sees black.
        let black = Picture(
            width: plan.width, height: plan.height, pixels: [UInt8](repeating: 0, count: 3 * plan.width * plan.height))
        return HunyuanPictures(
            seen: seen, black: HunyuanSettings(plan).isGuided ? encoders.pixels(of: black) : nil,
            start: picture.resized(width: plan.width, height: plan.height, filter: .lanczos).signedPixels,
            digest: SHA256.hex(picture.pixels) + " \(picture.width)x\(picture.height)")
    }

    private func latentShape(_ plan: Plan) -> [Int] {
        let space = HunyuanVAEConfiguration.space
        let frames = configuration.vae.latentLength(of: configuration.computedFrames(plan.frames))
        return [1, configuration.vae.latentChannels, frames, plan.height / space, plan.width / space]
    }

    /// What the clip shows, and what is to be kept out of it where true guidance is on.
    private func texts(_ pictures: HunyuanPictures?, _ job: Job) throws -> [HunyuanText] {
        let stage = HunyuanStage.reading.index(in: job.plan)
        var done = 0
        job.progress(stage, 0)
        let settings = HunyuanSettings(job.plan)
        func read(
            _ prompt: String, _ pixels: Tensor?, _ picture: String?, _ interleave: Int, _ suffix: String
        ) throws -> HunyuanText {
            let key = HunyuanTextKey(
                prompt: prompt, picture: picture, interleave: interleave, length: settings.promptLength)
            // Stages are recorded of what is read anew, padding included.
            if job.trace == nil, let known = known(key) {
                done += encoders.depth
                job.progress(stage, done)
                return known
            }
            let text = try encoders(
                prompt, pixels: pixels, interleave: interleave, length: settings.promptLength, on: backend,
                trace: job.trace, suffix: suffix
            ) {
                try job.cancellation.check()
                encoders.files.forEach(job.releaseWeights)
                done += 1
                job.progress(stage, done)
            }
            if job.trace == nil { keep(text, key) }
            return text
        }
        let positive = try read(job.plan.prompt, pictures?.seen, pictures?.digest, settings.interleave, "")
        guard settings.isGuided, let negative = job.plan.negativePrompt else { return [positive] }
        // The other side has every second of the picture's tokens, whatever the checkpoint.
        let black = pictures.map { _ in "black \(job.plan.width)x\(job.plan.height)" }
        return [positive, try read(negative, pictures?.black, black, 2, ".neg")]
    }

    /// What was read before, which is the latest then.
    private func known(_ key: HunyuanTextKey) -> HunyuanText? {
        knownTexts.withLock { known in
            guard let index = known.firstIndex(where: { $0.key == key }) else { return nil }
            known.append(known.remove(at: index))
            return known.last?.text
        }
    }

    private func keep(_ text: HunyuanText, _ key: HunyuanTextKey) {
        knownTexts.withLock { known in
            known.append((key, text))
            if known.count > HunyuanRenderer.knownTextLimit { known.removeFirst() }
        }
    }

    /// The map from latents to colours, fitted to the start picture, small, or to a chart of colours, and to their
    /// complements.
    private func fittedPreview(_ job: Job) throws -> LatentPreview {
        let factor = HunyuanVAEConfiguration.space
        let source = job.image ?? LatentPreview.chart
        let scale = min(1, LatentPreview.sampleSide / Double(max(source.width, source.height)))
        func small(_ side: Int) -> Int { max(16, Int(Double(side) * scale) / 16 * 16) }
        let still = source.resized(width: small(source.width), height: small(source.height), filter: .bicubic)
        let run = HunyuanVAERun(trace: nil) { try job.cancellation.check() }
        let samples = try [still, still.complement].map { picture in
            let mean = try vae.encode(backend.copy(picture.signedPixels), HunyuanTiling(), run).mean
            let latents = backend.scale(mean, by: configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
            let colours = picture.resized(
                width: picture.width / factor, height: picture.height / factor, filter: .bilinear)
            return (latents, colours)
        }
        backend.memory.trim()
        return LatentPreview(samples)
    }

    /// The start picture's latents, scaled: `[1, C, 1, h, w]`.
    private func encode(_ start: Tensor, _ job: Job) throws -> Tensor {
        let stage = HunyuanStage.encoding.index(in: job.plan)
        job.progress(stage, 0)
        let pixels = backend.copy(start)  // [1, 3, H, W]
        job.trace?.record("image.pixels", pixels)
        let run = HunyuanVAERun(trace: nil) { try job.cancellation.check() }
        let (mean, logVariance) = try vae.encode(pixels, HunyuanSettings(job.plan).tiling, run)
        try job.cancellation.check()
        job.trace?.record("vae.encode.mean", channelsFirst(mean))
        job.trace?.record("vae.encode.logvar", channelsFirst(logVariance))
        backend.memory.trim()
        job.releaseWeights(files.vae)
        job.progress(stage, 1)
        return backend.scale(channelsFirst(mean), by: configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
    }

    /// The noise with a thousandth of the picture in every frame (specification section 8.2).
    private func blend(_ noise: Tensor, _ clean: Tensor) -> Tensor {
        let share: Float = 0.999
        let frames = noise.shape[2]
        let repeated = backend.concatenate(Array(repeating: clean, count: frames), axis: 2)
        return backend.combine(noise, share, repeated, 1 - share)
    }

    /// `[T, C, H, W]` as `[1, C, T, H, W]`.
    private func channelsFirst(_ x: Tensor) -> Tensor { backend.copy(x.permuted([1, 0, 2, 3])).expanded(at: 0) }

    // MARK: Denoising

    private func denoise(
        _ initial: Tensor, clean: Tensor?, _ texts: [HunyuanText], _ preview: LatentPreview?, _ job: Job
    ) throws -> Tensor {
        let settings = HunyuanSettings(job.plan)
        let transformer = try transformer(job)
        let stage = HunyuanStage.denoising.index(in: job.plan)
        job.progress(stage, 0)
        let scheduler = FlowMatchEuler(steps: job.plan.steps, shift: settings.shift)
        let guidance = Float(job.plan.guidance) * 1000
        let grid = initial.shape.suffix(3).map { $0 }
        let rotaries = texts.map { text in
            VideoRotary(
                frames: grid[0], rows: grid[1] / 2, columns: grid[2] / 2, text: text.states.shape[1],
                axes: configuration.transformer.rotaryAxes, base: configuration.transformer.rotaryBase, on: backend)
        }
        if let trace = job.trace {
            trace.record("sigmas", Tensor(scheduler.sigmas, [scheduler.sigmas.count]))
            trace.record("timesteps", Tensor(scheduler.timesteps, [scheduler.timesteps.count]))
            trace.record("rope.cos", rotaries[0].video.cosines)
            trace.record("rope.sin", rotaries[0].video.sines)
            if configuration.transformer.embedsGuidance { trace.record("guidance", Tensor([guidance], [1])) }
        }
        let beside = try clean.map { try condition($0, like: initial, job) } ?? nil
        var caches = texts.map { _ in
            job.plan.teacache.map {
                TeaCache($0, steps: job.plan.steps, coefficients: HunyuanVideo.teacacheCoefficients)
            }
        }
        let parts = transformer.blockCount * texts.count
        var latents = initial
        for call in 0..<job.plan.steps {
            let input = modelInput(latents, clean: clean, beside: beside)
            if call == 0 { job.trace?.record("embed.in", input) }
            let outputs = try texts.indices.map { side in
                try transformer(
                    input, time: scheduler.timesteps[call], guidance: guidance, text: texts[side],
                    rotary: rotaries[side], cache: &caches[side],
                    trace: call == 0 && side == 0 ? job.trace.map { StageTrace($0) } : nil
                ) { block in
                    try job.cancellation.check()
                    // The next block is on its way already.
                    job.streamWeights(files.transformer, next: transformer.prefix(ofBlock: block + 2), on: backend)
                    job.progress(stage, call * parts + side * transformer.blockCount + block + 1)
                }
            }
            let step = "step." + StageTrace.digits(call)
            job.trace?.record(step + ".model_output", outputs[0])
            var velocity = outputs[0]
            if outputs.count == 2 {
                job.trace?.record(step + ".model_output.neg", outputs[1])
                let scale = Float(settings.trueScale)
                velocity = backend.combine(outputs[0], scale, outputs[1], 1 - scale)
                job.trace?.record(step + ".guided", moving(velocity))
            }
            if let request = job.preview, let preview, request.isDue(after: call + 1, of: job.plan.steps) {
                let frames = preview.pictures(
                    shown(scheduler.clean(latents, velocity: velocity, call: call), clean: clean),
                    limit: LatentPreview.frameLimit)
                request.show(Preview(step: call + 1, steps: job.plan.steps, frames: frames))
            }
            latents = advance(latents, velocity, clean: clean, scheduler, call: call)
            job.trace?.record(step + ".latents", latents)
        }
        if let cache = caches[0] { job.trace?.record("teacache.log", cache.log) }
        return backend.copy(latents)
    }

    /// What stands beside the noise: the picture's latents in the first frame, and a mask of it.
    private func condition(_ clean: Tensor, like latents: Tensor, _ job: Job) throws -> Tensor? {
        guard configuration.transformer.conditioning == .latentConcat else {
            job.trace?.record("cond.latents", clean)
            return nil
        }
        let rest = latents.sliced(2, 1..<latents.shape[2])
        let empty = backend.scale(rest, by: 0, plus: 0, clampedTo: nil)
        let known = backend.concatenate([clean, empty], axis: 2)
        let plane = latents.sliced(1, 0..<1)
        let mask = backend.concatenate(
            [
                backend.scale(plane.sliced(2, 0..<1), by: 0, plus: 1, clampedTo: nil),
                backend.scale(plane.sliced(2, 1..<latents.shape[2]), by: 0, plus: 0, clampedTo: nil),
            ], axis: 2)
        job.trace?.record("cond.latents", known)
        job.trace?.record("cond.mask", mask)
        return backend.concatenate([known, mask], axis: 1)
    }

    private func modelInput(_ latents: Tensor, clean: Tensor?, beside: Tensor?) -> Tensor {
        if let beside { return backend.concatenate([latents, beside], axis: 1) }
        guard let clean else { return latents }
        return backend.concatenate([clean, latents.sliced(2, 1..<latents.shape[2])], axis: 2)
    }

    /// The latents whose frames are delivered, the first of them known where it is clean.
    private func shown(_ latents: Tensor, clean: Tensor?) -> Tensor {
        switch configuration.transformer.conditioning {
        case .tokenReplace: modelInput(latents, clean: clean, beside: nil)
        case .latentConcat: backend.copy(latents.sliced(2, 1..<latents.shape[2]))
        case nil: latents
        }
    }

    /// What is computed anew of latents or velocities: all frames, or those behind a clean first one.
    private func moving(_ x: Tensor) -> Tensor {
        guard configuration.transformer.conditioning == .tokenReplace else { return x }
        return backend.copy(x.sliced(2, 1..<x.shape[2]))
    }

    /// The next latents; a clean first frame stays as it is.
    private func advance(
        _ latents: Tensor, _ velocity: Tensor, clean: Tensor?, _ scheduler: FlowMatchEuler, call: Int
    ) -> Tensor {
        guard let clean, configuration.transformer.conditioning == .tokenReplace else {
            return scheduler.step(latents, velocity: velocity, call: call)
        }
        let moved = scheduler.step(moving(latents), velocity: moving(velocity), call: call)
        return backend.concatenate([clean, moved], axis: 2)
    }

    /// The transformer with the weights that the plan asks for.
    private func transformer(_ job: Job) throws -> HunyuanTransformer {
        let configuration = configuration.transformer
        return try changedTransformer(
            job, transformer, stored: files.transformer, on: backend,
            rounding: { FP8Rounding(hunyuan: $0, $1, to: $2, width: configuration.hiddenSize) },
            renamed: job.plan.loras.isEmpty ? [:] : HunyuanOriginalNames.layers(of: files.transformer),
            stages: (HunyuanStage.rounding.index(in: job.plan), HunyuanStage.quantising.index(in: job.plan)),
            make: { HunyuanTransformer($0, configuration) },
            quantize: { try $0.quantized(on: backend, blockDone: $1) })
    }

    // MARK: Decoding

    func decode(_ latents: Tensor, _ job: Job) throws {
        try decode(latents, job) { try job.frames(Picture(unit: $0, rounding: .toNearestOrEven)) }
    }

    /// Decodes latents and hands each frame to `give`, `[3, H, W]` in 0...1.
    func decode(_ latents: Tensor, _ job: Job, _ give: (Tensor) throws -> Void) throws {
        let expected = latentShape(job.plan)
        guard latents.shape == expected, latents.dtype == .f32 else {
            throw Fault(
                .badData,
                "latents of the shape \(expected) in f32 were expected, not \(latents.shape) in \(latents.dtype)")
        }
        let stage = HunyuanStage.decoding.index(in: job.plan)
        job.progress(stage, 0)
        let scaled = backend.scale(latents, by: 1 / configuration.vae.scalingFactor, plus: 0, clampedTo: nil)
        job.trace?.record("vae.decode.in", scaled)
        let input = backend.copy(scaled.selected(0, 0).permuted([1, 0, 2, 3]))  // [f, C, h, w]
        let run = HunyuanVAERun(trace: nil) { try job.cancellation.check() }
        var dropped = configuration.droppedFrames
        var done = 0
        var kept: (raw: [Tensor], unit: [Tensor]) = ([], [])
        try vae.decode(input, HunyuanSettings(job.plan).tiling, run) { frames in  // [T, 3, H, W], in −1...1
            try job.cancellation.check()
            let skipped = min(dropped, frames.shape[0])
            dropped -= skipped
            if job.trace != nil { kept.raw.append(frames) }
            guard skipped < frames.shape[0] else { return }
            let unit = backend.scale(
                frames.sliced(0, skipped..<frames.shape[0]), by: 0.5, plus: 0.5, clampedTo: 0...1)
            if job.trace != nil { kept.unit.append(unit) }
            for index in 0..<unit.shape[0] {
                try job.cancellation.check()
                try give(unit.selected(0, index))
                done += 1
                job.progress(stage, done)
            }
        }
        guard let trace = job.trace else { return }
        trace.record("vae.decode.out", channelsFirst(backend.concatenate(kept.raw, axis: 0)))
        trace.record("video", backend.copy(backend.concatenate(kept.unit, axis: 0).permuted([0, 2, 3, 1])))
    }
}

/// The pictures of a clip as the model takes them.
struct HunyuanPictures {
    /// What the language model sees, `[1, 3, S, S]`.
    let seen: Tensor
    /// What it sees beside the negative prompt, where that is read.
    let black: Tensor?
    /// The first frame, `[1, 3, H, W]` in −1...1.
    let start: Tensor
    /// What tells the picture from others.
    let digest: String
}

/// What the reading of a prompt depends on.
struct HunyuanTextKey: Equatable {
    let prompt: String
    /// What tells the picture that is seen with it.
    let picture: String?
    let interleave: Int
    let length: Int
}

/// The parts of a run by their names for people; a plan has those that it needs.
enum HunyuanStage: String {
    case reading = "reading the prompt"
    case encoding, quantising, rounding, denoising, decoding

    /// The part's place among the plan's stages.
    func index(in plan: Plan) -> Int { plan.stages.firstIndex { $0.name == rawValue } ?? 0 }
}
