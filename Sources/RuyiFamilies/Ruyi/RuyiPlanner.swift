import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiSampling

/// Turns a request into exact sizes, counts and settings (specification sections 2, 4 and 11).
struct RuyiPlanner {
    let request: Request
    let configuration: RuyiConfiguration
    let folder: ModelFolder

    func plan(image: PictureSize?) throws(Fault) -> Plan {
        guard let image else {
            throw Fault(
                .usage, "\(Ruyi.title) animates a picture and none was given", at: "IMAGE",
                hint: "name a PNG or JPEG file, as in: ruyi photo.jpg --model DIR")
        }
        var plan = Plan()
        plan.family = Ruyi.name
        plan.fps = request.fps ?? 24
        plan.hasEndImage = request.endImage != nil
        try size(&plan, image)
        try length(&plan)
        try sampling(&plan)
        try controls(&plan)
        try features(&plan)
        try plan.setTiles(request.vaeTile, where: configuration.vae.canTile)
        plan.weightBytes = try RuyiRenderer.weightBytes(folder)
        let weights = try folder.weights("transformer", stem: "diffusion_pytorch_model")
        try loras(&plan, weights)
        plan.tokens = configuration.tokens(plan)
        return plan
    }

    // MARK: Size

    private func size(_ plan: inout Plan, _ image: PictureSize) throws(Fault) {
        let asked: PictureSize
        if let width = request.width, let height = request.height {
            asked = PictureSize(width: width, height: height)
            (plan.width, plan.height) = (width / 16 * 16, height / 16 * 16)
            if request.exactSize == true {
                cut(&plan, to: asked, "\(width)x\(height)")
            } else if plan.width != width || plan.height != height {
                plan.notes.append(
                    "size \(width)x\(height) -> \(plan.width)x\(plan.height): sides are multiples of 16, cut down")
            }
        } else if let short = request.resolution {
            asked = RuyiSizes.named(short, for: image)
            (plan.width, plan.height) = (asked.width, asked.height)
            if request.exactSize ?? true {
                cut(&plan, to: RuyiSizes.exactly(short, for: image), "\(short)p")
            } else {
                plan.notes.append(
                    "size \(short)p -> \(plan.width)x\(plan.height): the picture's proportions, sides raised to multiples of 16"
                )
            }
        } else {
            let base = request.baseResolution ?? RuyiSizes.defaultBase
            let (size, ratio) = RuyiSizes.bucket(for: image, base: base)
            asked = size
            (plan.width, plan.height) = (size.width, size.height)
            plan.notes.append(
                "size \(size.width)x\(size.height): picture \(image.width)x\(image.height), bucket \(ratio) at base \(base)"
            )
        }
        guard (16...16384).contains(plan.width), (16...16384).contains(plan.height) else {
            throw Fault(
                .usage, "the size \(asked.width)x\(asked.height) is outside 16x16 to 16384x16384", at: "--size",
                hint: "Ruyi works best between 384 and 896 pixels a side")
        }
        let stretch = Double(plan.width * image.height) / Double(plan.height * image.width)
        if max(stretch, 1 / stretch) > 1.1, request.fit ?? PictureFit.family.rawValue == PictureFit.family.rawValue {
            let percent = Int(((max(stretch, 1 / stretch) - 1) * 100).rounded())
            plan.warnings.append(
                "the picture is stretched by \(percent) % to fill \(plan.width)x\(plan.height); --fit crop or --fit pad keeps its proportions"
            )
        }
    }

    /// Renders frames large enough for a size, of which their middle is delivered.
    private func cut(_ plan: inout Plan, to size: PictureSize, _ asked: String) {
        (plan.width, plan.height) = ((size.width + 15) / 16 * 16, (size.height + 15) / 16 * 16)
        let whole = PictureSize(width: plan.width, height: plan.height)
        plan.cut = size == whole ? nil : size
        guard plan.cut != nil || asked != "\(size.width)x\(size.height)" else { return }
        let cut = plan.cut == nil ? "" : ", cut out of \(whole.width)x\(whole.height)"
        plan.notes.append("size \(asked) -> \(size.width)x\(size.height)\(cut): sides are rendered in multiples of 16")
    }

    // MARK: Length

    private func length(_ plan: inout Plan) throws(Fault) {
        let chunk = configuration.vae.encoderChunk
        let asked: Int
        if let seconds = request.seconds {
            let count = seconds * plan.fps.framesPerSecond
            guard count >= 0.5, count < 1e6 else {
                throw Fault(.usage, "\(seconds) seconds is no usable length", at: "--seconds")
            }
            asked = Int(count.rounded())
        } else {
            asked = request.frames ?? 72
        }
        plan.frames = asked == 1 ? 1 : asked / chunk * chunk
        let limit = RuyiLimits.latentFrames / configuration.vae.decoderChunk * chunk
        guard plan.frames > 0, plan.frames <= limit else {
            throw Fault(
                .usage, "\(asked) frames cannot be rendered", at: request.seconds == nil ? "--frames" : "--seconds",
                hint: "give 1, or \(chunk) to \(limit) in steps of \(chunk)")
        }
        let latents = configuration.vae.latentFrames(plan.frames)
        guard configuration.vae.latentLength(of: plan.frames) == latents,
            configuration.vae.frameLength(of: latents) == plan.frames
        else {
            throw Fault(
                .badData, "this VAE's chunks of \(chunk) frames do not make \(plan.frames) frames",
                at: folder.path + "/vae/config.json", hint: "give --frames \(chunk) or another multiple of \(chunk)")
        }
        if plan.frames != asked {
            plan.notes.append("frames \(asked) -> \(plan.frames): whole chunks of \(chunk), cut down")
        }
        if plan.frames > 120 { plan.warnings.append("\(Ruyi.title) was trained on clips of up to 120 frames") }
    }

    // MARK: Sampling and controls

    private func sampling(_ plan: inout Plan) throws(Fault) {
        plan.steps = request.steps ?? 25
        plan.guidance = request.guidance ?? 7
        plan.seed = request.seed ?? 42
        plan.scheduler = try Sampler(named: request.scheduler ?? Sampler.ddim.rawValue).title
        guard plan.guidance.isFinite, (0...1000).contains(plan.guidance) else {
            throw Fault(.usage, "guidance \(plan.guidance) is not between 0 and 1000", at: "--guidance")
        }
        if request.prompt?.isEmpty == false || request.negativePrompt?.isEmpty == false {
            plan.warnings.append("\(Ruyi.title) reads no text: the prompt is ignored; steer with --camera and --motion")
        }
    }

    private func controls(_ plan: inout Plan) throws(Fault) {
        let camera = try choice(request.camera ?? "auto", Ruyi.cameras, "--camera")
        let motion = try choice(request.motion ?? "auto", Ruyi.motions, "--motion")
        plan.settings = [.camera: camera, .motion: motion]
        plan.settings[.precision] = try choice(
            request.precision ?? Precision.float32.rawValue, Precision.allCases.map(\.rawValue), "--precision")
        let controls = RuyiControls(try folder.weights("", stem: "embeddings"), configuration.transformer)
        let key = RuyiControls.key(camera: camera, motion: motion)
        let missing = controls.missing(key)
        if missing.count == 4 {
            let line = "the checkpoint has no control set \(key); its default set is used"
            if camera == "auto" && motion == "auto" { plan.notes.append(line) } else { plan.warnings.append(line) }
        } else if !missing.isEmpty {
            plan.warnings.append(
                "control set \(key) lacks \(missing.joined(separator: ", ")); taken from the default set")
        }
    }

    // MARK: Features and weights

    private func features(_ plan: inout Plan) throws(Fault) {
        plan.teacache = request.teacache.resolved(StepFeature(amount: 0.1, skipStartSteps: 3, skipEndSteps: 1))
        plan.enhanceAVideo = request.enhanceAVideo.resolved(StepFeature(amount: 1, skipStartSteps: 0, skipEndSteps: 0))
        if plan.enhanceAVideo != nil, configuration.vae.latentFrames(plan.frames) < 2 {
            throw Fault(
                .usage, "there is nothing to enhance between the frames of a clip of \(plan.frames)",
                at: "--enhance-a-video", hint: "leave it out, or give --frames \(configuration.vae.encoderChunk)")
        }
        try plan.round(as: request)
        if plan.fp8QuantMode == .extreme, plan.fp8DataType == .e5m2 {
            plan.warnings.append("the model's authors advise against fp8_e5m2 with the mode extreme")
        }
    }

    /// Opens the LoRA files and looks whether they fit the transformer.
    private func loras(_ plan: inout Plan, _ weights: any WeightFile) throws(Fault) {
        plan.loras = request.loras
        for lora in plan.loras {
            let file = try LoRAFile(path: lora.path)
            _ = try file.updates(of: weights, strength: lora.weight)
            plan.warnings += file.warnings
            plan.weightBytes += file.byteCount
        }
    }

    private func choice(_ value: String, _ allowed: [String], _ option: String) throws(Fault) -> String {
        guard allowed.contains(value) else {
            throw Fault(
                .usage, "\"\(value)\" is not a choice", at: option, hint: "one of: " + allowed.joined(separator: ", "))
        }
        return value
    }
}
