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
        var plan = try Plan(request, of: HunyuanVideo.self, model: folder.name)
        try mode(plan.model, image)
        try HunyuanSizes.rule.settle(&plan, request, image)
        try length(&plan)
        try sampling(&plan)
        let settings = HunyuanSettings(request, configuration)
        plan.settings = settings
        try text(&plan, settings)
        try weights(&plan)
        plan.tokens = configuration.tokens(plan)
        return plan
    }

    /// Text alone, or a picture with it, as the checkpoint has it.
    private func mode(_ model: String, _ image: PictureSize?) throws(Fault) {
        let own = configuration.takesPicture ? "i2v" : "t2v"
        if let mode = request.mode, mode != own {
            throw Fault(.usage, "\(model) is for \(own), not for \(mode)", at: folder.path)
        }
        if let kind = request.conditioning, kind != configuration.transformer.conditioning?.rawValue {
            let has = configuration.transformer.conditioning?.rawValue ?? "none"
            throw Fault(.usage, "the i2v_condition of \(model) is \(has), not \(kind)", at: folder.path)
        }
        if configuration.takesPicture, image == nil {
            throw Fault(
                .usage, "\(model) animates a picture and none was given", at: "IMAGE",
                hint: "name a picture, as in: ruyi photo.jpg --model DIR --prompt \"...\"")
        }
        // Latents that are decoded come with a size and no picture.
        if !configuration.takesPicture, request.image != nil {
            throw Fault(
                .usage, "\(model) makes videos of text and takes no picture", at: "IMAGE",
                hint: "leave the picture out, or use the checkpoint HunyuanVideo-I2V")
        }
    }

    // MARK: Length and sampling

    private func length(_ plan: inout Plan) throws(Fault) {
        let (time, dropped) = (HunyuanVAEConfiguration.time, configuration.droppedFrames)
        let rule = LengthRule(
            limit: 4096, trained: 129, dropped: dropped, reason: "one more than a multiple of \(time)",
            lengths: "\(dropped + 1) to 4096, one more than a multiple of \(time)"
        ) { $0 < 1 ? 0 : ($0 - 1) / time * time + 1 }
        try rule.settle(&plan, request, standard: HunyuanVideo.defaults[CommonSettings.table.frames] ?? 1)
    }

    private func sampling(_ plan: inout Plan) throws(Fault) {
        guard HunyuanVideo.schedulers.contains(plan.scheduler) else {
            throw Fault(
                .usage, "\"\(plan.scheduler)\" is not a choice", at: "--scheduler",
                hint: "one of: " + HunyuanVideo.schedulers.joined(separator: ", "))
        }
        if !configuration.transformer.embedsGuidance {
            if request.guidance.map({ $0 != 1 }) == true {
                plan.warnings.append("\(plan.model) embeds no guidance, so --guidance has no effect")
            }
            plan.guidance = request.guidance ?? 1
        }
        if request.flowReverse == false {
            throw Fault(
                .usage, "\(plan.model) was trained to go from noise to the clip, which is --flow-reverse",
                at: "--no-flow-reverse", hint: "leave it out: the released weights have no other direction")
        }
        try plan.setTiles(request.vaeTile) { $0 % 32 == 0 }
    }

    private func text(_ plan: inout Plan, _ settings: HunyuanSettings) throws(Fault) {
        plan.prompt = request.prompt ?? ""
        let (length, isGuided) = (settings.promptLength, settings.trueScale > 1)
        if isGuided { plan.negativePrompt = request.negativePrompt }
        if plan.prompt.isEmpty {
            plan.warnings.append("there is no prompt: \(plan.model) makes up what happens")
        }
        for (text, option) in [(plan.prompt, "--prompt"), (plan.negativePrompt ?? "", "--negative-prompt")] {
            if configuration.takesPicture, let sign = HunyuanPrompts.sign(in: text) {
                let meaning = sign == "<image>" ? "stands for the picture itself" : "is a sign of the model's own"
                throw Fault(
                    .usage, "the prompt holds '\(sign)', which \(meaning)", at: option, hint: "leave it out")
            }
            // No token is shorter than a byte, so that short texts need not be looked at; some stand behind the prompt.
            if text.utf8.count + 16 >= length, folder.needsEncoders,
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
            try transformer.byteCount + checkpoint.weights(.vae).byteCount
            + (folder.needsEncoders ? checkpoint.weights(.text).byteCount + checkpoint.weights(.clip).byteCount : 0)
        try plan.checkLoRAs(
            of: transformer, renamed: plan.loras.isEmpty ? [:] : HunyuanOriginalNames.layers(of: transformer),
            isStrict: request.strictLoRA ?? false)
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
        let (shape, patch) = (latentShape(plan), StreamConfiguration.patch)
        return shape[2] * (shape[3] / patch) * (shape[4] / patch)
    }
}

/// The sizes of clips (specification sections 5.1 and 9).
enum HunyuanSizes {
    /// The rule for all ways of asking for a size.
    static let rule = SizeRule(
        sides: 16...8192, isRaised: true, advice: "HunyuanVideo was trained at 544x960 to 720x1280"
    ) { request, image in
        // With this short side 16 to 9 has the area of the square of the base resolution.
        let short = request.resolution ?? request.baseResolution.map { $0 * 3 / 4 } ?? 720
        if let image {
            let asked = request.baseResolution.map { "base resolution \($0)" } ?? "\(short)p"
            let size = bucket(for: image, short: short)
            return (size, SizeRule.nearest(size, to: image) + ", at \(asked)")
        }
        let size = wide(short: short)
        let note = "size \(short)p -> \(size.width)x\(size.height): 16:9, sides raised to multiples of 16"
        return (size, request.resolution == nil ? nil : note)
    }

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
