import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture

/// Turns a request into exact sizes, counts and settings (specification sections 4, 6.1 and 13).
struct FramePackPlanner {
    let request: Request
    let configuration: FramePackConfiguration
    let checkpoint: FramePackCheckpoint
    let name: String

    func plan(image: PictureSize?) throws(Fault) -> Plan {
        var plan = try Plan(request, of: FramePack.self, model: name)
        guard image != nil else {
            throw Fault(
                .usage, "\(name) animates a picture and none was given", at: "IMAGE",
                hint: "name a picture, as in: ruyi photo.jpg --model DIR --prompt \"...\"")
        }
        let variant = try variant(&plan)
        try FramePackSizes.rule.settle(&plan, request, image)
        let settings = try length(&plan, variant)
        plan.settings = settings
        try sampling(&plan, settings)
        try text(&plan, settings)
        try weights(&plan)
        plan.tokens = tokens(plan, settings)
        return plan
    }

    /// The order of the sections: what the folder's name tells, unless the request says it.
    private func variant(_ plan: inout Plan) throws(Fault) -> FramePackVariant {
        guard let variant = request.variant ?? configuration.variant else {
            throw Fault(
                .usage, "nothing tells whether \(name) makes its sections from the end (i2v) or from the start (f1)",
                at: checkpoint.path(.transformer), hint: "say it with --variant i2v or --variant f1")
        }
        let order = variant == .inverted ? "the end is made first" : "from the start to the end"
        plan.notes.append("variant \(variant.rawValue): \(order)")
        if let own = configuration.variant, own != variant {
            plan.warnings.append(
                "the checkpoint's name tells the variant \(own.rawValue); with the wrong one motion falls apart")
        }
        if plan.hasEndImage, variant == .forward {
            throw Fault(
                .usage, "the variant f1 cannot end with a picture", at: "--end-image",
                hint: "leave it out, or use the checkpoint FramePackI2V_HY")
        }
        return variant
    }

    private func length(_ plan: inout Plan, _ variant: FramePackVariant) throws(Fault) -> FramePackSettings {
        let window = request.latentWindow ?? 9
        let unit = HunyuanVAEConfiguration.time * window
        var sections = request.sections ?? 1
        if request.sections == nil {
            let asked: Double
            if let seconds = request.seconds {
                asked = seconds * plan.fps.framesPerSecond
            } else {
                asked = Double((request.frames ?? FramePack.standardFrames) - 1)
            }
            // Half a section more or less, as the reference rounds.
            sections = max(1, Int((asked / Double(unit)).rounded(.toNearestOrEven)))
        }
        guard sections <= 4096 else {
            throw Fault(
                .usage, "\(sections) sections cannot be rendered", at: "--seconds", hint: "give 4096 sections at most")
        }
        let settings = FramePackSettings(request, variant: variant, sections: sections, window: window)
        plan.frames = settings.frameCount
        let frames = request.sections == nil ? request.frames : nil
        if let frames, frames != plan.frames {
            plan.notes.append("frames \(frames) -> \(plan.frames): \(sections) sections of \(unit), and one")
        }
        if request.latentWindow.map({ $0 != 9 }) == true {
            plan.warnings.append("\(plan.model) was trained with a latent window of 9")
        }
        return settings
    }

    private func sampling(_ plan: inout Plan, _ settings: FramePackSettings) throws(Fault) {
        guard FramePack.schedulers.contains(plan.scheduler) else {
            throw Fault(
                .usage, "\"\(plan.scheduler)\" is not a choice", at: "--scheduler",
                hint: "one of: " + FramePack.schedulers.joined(separator: ", "))
        }
        if settings.rescale != 0, !settings.isGuided {
            plan.warnings.append("--cfg-rescale has no effect without a --true-cfg-scale other than 1")
        }
        try plan.setTiles(request.vaeTile) { $0 % 32 == 0 }
    }

    private func text(_ plan: inout Plan, _ settings: FramePackSettings) throws(Fault) {
        plan.prompt = request.prompt ?? ""
        if settings.isGuided { plan.negativePrompt = request.negativePrompt ?? "" }
        if plan.prompt.isEmpty { plan.warnings.append("there is no prompt: \(plan.model) makes up what happens") }
        for (text, option) in [(plan.prompt, "--prompt"), (plan.negativePrompt ?? "", "--negative-prompt")]
        where text.utf8.count + 16 >= HunyuanPrompts.promptLength && checkpoint.needsEncoders {
            if try checkpoint.prompts().tokens(text).isCut {
                plan.warnings.append("\(option) is longer than \(HunyuanPrompts.promptLength) tokens, and is cut")
            }
        }
        if !settings.isGuided, request.negativePrompt?.isEmpty == false {
            plan.warnings.append("--negative-prompt has no effect without a --true-cfg-scale other than 1")
        }
    }

    /// Opens the weights and the LoRA files, and looks whether these fit the transformer.
    private func weights(_ plan: inout Plan) throws(Fault) {
        let transformer = try checkpoint.weights(.transformer)
        plan.weightBytes = transformer.byteCount
        for part in [.vae] + (checkpoint.needsEncoders ? [.text, .clip, .vision] : [FramePackCheckpoint.Part]()) {
            plan.weightBytes += try checkpoint.weights(part).byteCount
        }
        try plan.checkLoRAs(
            of: transformer, renamed: plan.loras.isEmpty ? [:] : HunyuanOriginalNames.layers(of: transformer),
            isStrict: request.strictLoRA ?? false)
    }

    /// The tokens of a packed sequence, without those of picture and text.
    private func tokens(_ plan: Plan, _ settings: FramePackSettings) -> Int {
        let space = 2 * HunyuanVAEConfiguration.space
        let (rows, columns) = (plan.height / space, plan.width / space)
        func cubes(_ frames: Int, _ side: Int) -> Int {
            ((frames + side - 1) / side) * ((rows + side - 1) / side) * ((columns + side - 1) / side)
        }
        let kept = FramePackContext.kept
        return cubes(settings.window, 1) + cubes(1 + kept.one, 1) + cubes(kept.two, 2) + cubes(kept.four, 4)
    }
}

/// The sizes of clips (specification section 6.1).
package enum FramePackSizes {
    /// The rule for all ways of asking for a size.
    static let rule = SizeRule(
        sides: 16...4096, advice: "FramePack was trained at about 640x640 pixels, 416x960 to 960x416"
    ) { request, image in
        let image = image ?? PictureSize(width: 1, height: 1)
        if let short = request.resolution {
            let size = PictureSize.named(short, for: image)
            let whole = PictureSize(width: (size.width + 15) / 16 * 16, height: (size.height + 15) / 16 * 16)
            return (
                whole,
                "size \(short)p -> \(whole.width)x\(whole.height): the picture's proportions, in multiples of 16"
            )
        }
        let size = bucket(for: image)
        return (size, SizeRule.nearest(size, to: image))
    }

    /// Heights and widths.
    private static let buckets = [
        (416, 960), (448, 864), (480, 832), (512, 768), (544, 704), (576, 672), (608, 640), (640, 608), (672, 576),
        (704, 544), (768, 512), (832, 480), (864, 448), (960, 416),
    ]

    /// The size whose shape is nearest to a picture's; of two that are as near, the later one, as the reference has it.
    package static func bucket(for image: PictureSize) -> PictureSize {
        var best = (distance: Int.max, height: 0, width: 0)
        for (height, width) in buckets {
            let distance = abs(image.height * width - image.width * height)
            if distance <= best.distance { best = (distance, height, width) }
        }
        return PictureSize(width: best.width, height: best.height)
    }
}

/// How long the noise stays high.
package enum FramePackSchedule {
    /// The logarithm of the shift for a section of so many tokens: a line through those of two sizes, and at most that of
    /// the shift 7 (specification section 10.1).
    package static func mu(tokens: Int) -> Double {
        let (slope, base) = ((1.15 - 0.5) / (4096 - 256), 0.5)
        return min(slope * Double(tokens - 256) + base, 1.9459101490553132)
    }
}

/// The places of the sections on the time axis (specification section 8).
package enum FramePackSections {
    /// How many sections of nothing lie between the start picture and each section, in the order in which the inverted
    /// variant makes them: never more than three.
    package static func paddings(_ count: Int) -> [Int] {
        count > 4 ? [3] + Array(repeating: 2, count: count - 3) + [1, 0] : Array((0..<count).reversed())
    }
}
