import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture

/// Turns a request into exact sizes, counts and settings (specification sections 1, 5, 8 and 9).
struct HunyuanPlanner {
    let request: Request
    let configuration: HunyuanConfiguration
    let folder: ModelFolder

    func plan(image: PictureSize?) throws(Fault) -> Plan {
        var plan = Plan()
        plan.family = HunyuanVideo.name
        plan.fps = request.fps ?? 24
        try mode(image)
        try size(&plan, image)
        try length(&plan)
        try sampling(&plan)
        try text(&plan)
        plan.settings[.precision] = try choice(
            request.precision ?? Precision.float32.rawValue, Precision.allCases.map(\.rawValue), "--precision")
        plan.teacache = request.teacache.resolved(StepFeature(amount: 0.1, skipStartSteps: 1, skipEndSteps: 1))
        try plan.round(as: request)
        try weights(&plan)
        plan.tokens = configuration.tokens(plan)
        return plan
    }

    /// Text alone, or a picture with it, as the checkpoint has it.
    private func mode(_ image: PictureSize?) throws(Fault) {
        let own = configuration.takesPicture ? "i2v" : "t2v"
        if let mode = try request.own(.mode, "a string", \.string), mode != own {
            throw Fault(.usage, "this checkpoint is for \(own), not for \(mode)", at: folder.path)
        }
        if let kind = try request.own(.conditioning, "a string", \.string),
            kind != configuration.transformer.conditioning?.rawValue
        {
            let has = configuration.transformer.conditioning?.rawValue ?? "none"
            throw Fault(.usage, "this checkpoint's i2v_condition is \(has), not \(kind)", at: folder.path)
        }
        if configuration.takesPicture, image == nil {
            throw Fault(
                .usage, "this checkpoint of \(HunyuanVideo.title) animates a picture and none was given", at: "IMAGE",
                hint: "name a PNG or JPEG file, as in: ruyi photo.jpg --model DIR --prompt \"...\"")
        }
        // Latents that are decoded come with a size and no picture.
        if !configuration.takesPicture, request.image != nil {
            throw Fault(
                .usage, "this checkpoint of \(HunyuanVideo.title) makes videos of text and takes no picture",
                at: "IMAGE",
                hint: "leave the picture out, or use the checkpoint HunyuanVideo-I2V")
        }
    }

    // MARK: Size and length

    private func size(_ plan: inout Plan, _ image: PictureSize?) throws(Fault) {
        // With this short side 16 to 9 has the area of the square of the base resolution.
        let short = request.resolution ?? request.baseResolution.map { $0 * 3 / 4 } ?? 720
        if let width = request.width, let height = request.height {
            func raised(_ side: Int) -> Int { side > 1 << 14 ? side : (side + 15) / 16 * 16 }
            (plan.width, plan.height) = (raised(width), raised(height))
            if plan.width != width || plan.height != height {
                plan.notes.append(
                    "size \(width)x\(height) -> \(plan.width)x\(plan.height): sides are multiples of 16, raised")
            }
        } else if let image {
            let asked = request.baseResolution.map { "base resolution \($0)" } ?? "\(short)p"
            let size = HunyuanSizes.bucket(for: image, short: short)
            (plan.width, plan.height) = (size.width, size.height)
            plan.notes.append(
                "size \(size.width)x\(size.height): picture \(image.width)x\(image.height), bucket of \(asked)")
        } else {
            let size = HunyuanSizes.wide(short: short)
            (plan.width, plan.height) = (size.width, size.height)
            if request.resolution != nil {
                plan.notes.append(
                    "size \(short)p -> \(size.width)x\(size.height): 16:9, sides raised to multiples of 16")
            }
        }
        guard (16...8192).contains(plan.width), (16...8192).contains(plan.height) else {
            throw Fault(
                .usage, "the size \(plan.width)x\(plan.height) is outside 16x16 to 8192x8192", at: "--size",
                hint: "\(HunyuanVideo.title) was trained at 544x960 to 720x1280")
        }
        guard let image else { return }
        let stretch = Double(plan.width * image.height) / Double(plan.height * image.width)
        if max(stretch, 1 / stretch) > 1.1 {
            let percent = Int(((max(stretch, 1 / stretch) - 1) * 100).rounded())
            plan.warnings.append(
                "the picture is stretched by \(percent) % to fill \(plan.width)x\(plan.height); crop it to that shape to keep its proportions"
            )
        }
    }

    private func length(_ plan: inout Plan) throws(Fault) {
        let asked: Int
        if let seconds = request.seconds {
            let count = seconds * plan.fps.framesPerSecond
            guard count >= 0.5, count < 1e6 else {
                throw Fault(.usage, "\(seconds) seconds is no usable length", at: "--seconds")
            }
            // The length is that of what is delivered.
            asked = Int(count.rounded()) + configuration.droppedFrames
        } else {
            asked = request.frames ?? 129
        }
        let option = request.seconds == nil ? "--frames" : "--seconds"
        let (time, dropped) = (HunyuanVAEConfiguration.time, configuration.droppedFrames)
        guard asked > dropped, asked <= 4096 else {
            throw Fault(
                .usage, "\(asked) frames cannot be rendered", at: option,
                hint: "give \(dropped + 1) to 4096, one more than a multiple of \(time)")
        }
        let computed = (asked - 1) / time * time + 1
        plan.frames = computed - dropped
        plan.askedFrames = dropped > 0 ? computed : nil
        if computed != asked {
            plan.notes.append("frames \(asked) -> \(computed): one more than a multiple of \(time), cut down")
        }
        if dropped > 0 {
            plan.notes.append("frames \(computed) -> \(plan.frames): this checkpoint's first \(dropped) are dropped")
        }
        if computed > 129 { plan.warnings.append("\(HunyuanVideo.title) was trained on clips of up to 129 frames") }
    }

    // MARK: Sampling

    private func sampling(_ plan: inout Plan) throws(Fault) {
        plan.steps = request.steps ?? 50
        plan.seed = request.seed ?? 42
        plan.scheduler = try choice(request.scheduler ?? "flow-euler", ["flow-euler"], "--scheduler")
        plan.guidance = request.guidance ?? (configuration.transformer.embedsGuidance ? 6 : 1)
        guard plan.guidance.isFinite, (0...1000).contains(plan.guidance) else {
            throw Fault(.usage, "guidance \(plan.guidance) is not between 0 and 1000", at: "--guidance")
        }
        guard (1...1000).contains(plan.steps) else {
            throw Fault(.usage, "\(plan.steps) steps are not between 1 and 1000", at: "--steps")
        }
        if !configuration.transformer.embedsGuidance, request.guidance.map({ $0 != 1 }) == true {
            plan.warnings.append("this checkpoint embeds no guidance, so --guidance has no effect")
        }
        let shift = try request.own(.shift, "a number", \.double) ?? configuration.shift
        guard shift.isFinite, (0.1...100).contains(shift) else {
            throw Fault(.usage, "the flow shift \(shift) is not between 0.1 and 100", at: "--flow-shift")
        }
        plan.settings[.shift] = "\(shift)"
        let scale = try request.own(.trueCFGScale, "a number", \.double) ?? 1
        guard scale.isFinite, (0...1000).contains(scale) else {
            throw Fault(.usage, "the guidance scale \(scale) is not between 0 and 1000", at: "--true-cfg-scale")
        }
        plan.settings[.trueCFGScale] = "\(scale)"
        if try request.own(.flowReverse, "true or false", \.bool) == false {
            throw Fault(
                .usage, "\(HunyuanVideo.title) was trained to go from noise to the clip, which is --flow-reverse",
                at: "--no-flow-reverse", hint: "leave it out: the released weights have no other direction")
        }
        if let tiling = try request.own(.tiledVAE, "a name or an object", { $0.string ?? $0.text() }) {
            _ = try HunyuanTiling(text: tiling)
            plan.settings[.tiledVAE] = tiling
        }
        try plan.setTiles(request.vaeTile) { $0 % 32 == 0 }
        guard let conditioning = configuration.transformer.conditioning else { return }
        let interleave =
            try request.own(.imageEmbedInterleave, "an integer", \.int) ?? (conditioning == .tokenReplace ? 4 : 2)
        // The reference keeps every token unless the number is between 1 and 5.
        plan.settings[.imageEmbedInterleave] = "\((1...5).contains(interleave) ? interleave : 1)"
    }

    private func text(_ plan: inout Plan) throws(Fault) {
        plan.prompt = request.prompt ?? ""
        let length = try request.own(.maxSequenceLength, "an integer", \.int) ?? HunyuanPrompts.promptLength
        guard (16...1024).contains(length) else {
            throw Fault(
                .usage, "a prompt of \(length) tokens is not between 16 and 1024", at: "--max-sequence-length",
                hint: "\(HunyuanVideo.title) was trained on \(HunyuanPrompts.promptLength)")
        }
        plan.settings[.maxSequenceLength] = "\(length)"
        let isGuided = (plan.settings[.trueCFGScale].flatMap(Double.init) ?? 1) > 1
        if isGuided { plan.negativePrompt = request.negativePrompt }
        if plan.prompt.isEmpty {
            plan.warnings.append("there is no prompt: \(HunyuanVideo.title) makes up what happens")
        }
        for (text, option) in [(plan.prompt, "--prompt"), (plan.negativePrompt ?? "", "--negative-prompt")] {
            if configuration.takesPicture, let sign = HunyuanPrompts.sign(in: text) {
                let meaning = sign == "<image>" ? "stands for the picture itself" : "is a sign of the model's own"
                throw Fault(
                    .usage, "the prompt holds '\(sign)', which \(meaning)", at: option, hint: "leave it out")
            }
            // No token is shorter than a byte, so that short texts need not be looked at; some stand behind the prompt.
            if text.utf8.count + 16 >= length,
                try HunyuanPrompts.shared(folder, takesPicture: configuration.takesPicture)
                    .tokens(text, length: length).isCut
            {
                plan.warnings.append("\(option) is longer than \(length) tokens, and is cut")
            }
        }
        if isGuided, request.negativePrompt == nil {
            plan.warnings.append("--true-cfg-scale has no effect without --negative-prompt, which may be empty")
        }
        if !isGuided, request.negativePrompt?.isEmpty == false {
            plan.warnings.append("--negative-prompt has no effect without a --true-cfg-scale above 1")
        }
    }

    /// Opens the weights and the LoRA files, and looks whether these fit the transformer.
    private func weights(_ plan: inout Plan) throws(Fault) {
        let checkpoint = try HunyuanCheckpoint(folder)
        let transformer = try checkpoint.weights(.transformer)
        plan.weightBytes =
            try transformer.byteCount + checkpoint.weights(.vae).byteCount + checkpoint.weights(.text).byteCount
            + checkpoint.weights(.clip).byteCount
        plan.loras = request.loras
        for lora in plan.loras {
            let file = try LoRAFile(path: lora.path)
            _ = try file.updates(
                of: transformer, strength: lora.weight, renamed: HunyuanOriginalNames.layers(of: transformer))
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

/// The settings that only this family has, as a plan holds them.
struct HunyuanSettings {
    let shift: Double
    /// The scale of guidance by a negative prompt.
    let trueScale: Double
    /// Whether the negative prompt is read too.
    let isGuided: Bool
    /// Every how many of the picture's tokens the transformer sees.
    let interleave: Int
    let tiling: HunyuanTiling
    /// The most tokens of a prompt and of what is added behind it.
    let promptLength: Int

    init(_ plan: Plan) {
        promptLength = plan.settings[.maxSequenceLength].flatMap { Int($0) } ?? HunyuanPrompts.promptLength
        shift = plan.settings[.shift].flatMap(Double.init) ?? 7
        trueScale = plan.settings[.trueCFGScale].flatMap(Double.init) ?? 1
        isGuided = trueScale > 1 && plan.negativePrompt != nil
        interleave = plan.settings[.imageEmbedInterleave].flatMap(Int.init) ?? 1
        let given = plan.settings[.tiledVAE].flatMap { try? HunyuanTiling(text: $0) }
        tiling = (given ?? HunyuanTiling()).tiled(plan.settings[.vaeTile].flatMap { Int($0) })
    }
}

extension HunyuanConfiguration {
    /// Frames at the beginning that are computed and left out.
    var droppedFrames: Int { transformer.conditioning == .latentConcat ? HunyuanVAEConfiguration.time : 0 }

    /// The shape of a clip's latents, those of the dropped frames among them.
    func latentShape(_ plan: Plan) -> [Int] {
        let space = HunyuanVAEConfiguration.space
        let frames = vae.latentLength(of: plan.frames + droppedFrames)
        return [1, vae.latentChannels, frames, plan.height / space, plan.width / space]
    }

    /// The transformer's tokens of a clip, without the text's.
    func tokens(_ plan: Plan) -> Int {
        let (shape, patch) = (latentShape(plan), HunyuanTransformerConfiguration.patch)
        return shape[2] * (shape[3] / patch) * (shape[4] / patch)
    }
}

/// The sizes of clips (specification sections 5.1 and 9).
enum HunyuanSizes {
    /// The size whose proportions are nearest to the picture's, of those with about the area of a wide picture with
    /// this short side; sides are multiples of 32.
    static func bucket(for image: PictureSize, short: Int) -> PictureSize {
        let side = 32
        let base = Double(short) * 4 / 3
        let limit = Int(((base / Double(side)) * (base / Double(side))).rounded(.toNearestOrEven))
        var (wide, high) = (limit, 1)
        var best: (distance: Double, size: PictureSize)?
        let asked = Double(image.height) / Double(image.width)
        while wide > 0 {
            if Double(max(wide, high)) / Double(min(wide, high)) <= 4 {
                // Height and width as the reference lists them.
                let ratio = (Double(wide) / Double(high) * 1e5).rounded(.toNearestOrEven) / 1e5
                let distance = abs(ratio - asked)
                if best.map({ distance < $0.distance }) ?? true {
                    best = (distance, PictureSize(width: high * side, height: wide * side))
                }
            }
            if (high + 1) * wide <= limit { high += 1 } else { wide -= 1 }
        }
        return best?.size ?? PictureSize(width: side, height: side)
    }

    /// A wide picture, 16:9, with this short side.
    static func wide(short: Int) -> PictureSize {
        PictureSize(width: (short * 16 / 9 + 15) / 16 * 16, height: (short + 15) / 16 * 16)
    }
}
