import Glibc
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiSampling

/// Turns a request into exact sizes, counts and settings (specification sections 4, 10 and 11).
struct PyramidPlanner {
    let request: Request
    let checkpoint: PyramidCheckpoint
    private let given: Given<PyramidOptions>
    private let configuration: PyramidConfiguration

    init(request: Request, checkpoint: PyramidCheckpoint) throws(Fault) {
        (self.request, self.checkpoint, given) = (request, checkpoint, request.pyramid)
        configuration = try PyramidConfiguration(checkpoint)
    }

    func plan(image: PictureSize?) throws(Fault) -> Plan {
        var plan = try Plan(request, of: PyramidFlow.self, model: checkpoint.folder.name)
        try checkVariant()
        let isPicture = makesPicture(image)
        try length(&plan, isPicture: isPicture)
        let wanted = try wantedKind(isPicture: isPicture && image == nil)
        try PyramidSizes.rule(wanted).settle(&plan, request, image)
        let kind = try kind(&plan, wanted, image)
        if kind == .image, request.guidance == nil { plan.guidance = PyramidPlanner.pictureGuidance }
        let settings = PyramidSettings(
            request, kind: kind, hasPicture: image != nil,
            count: PyramidVAEConfiguration.latentLength(of: plan.frames), guidance: plan.guidance)
        plan.settings = settings
        plan.steps = settings.units.reduce(0) { $0 + settings.steps(of: $1).reduce(0, +) }
        try sampling(&plan, settings)
        try text(&plan, settings)
        try weights(&plan, kind)
        plan.tokens = tokens(plan, settings)
        return plan
    }

    /// The scale of guidance that the authors use for pictures.
    private static let pictureGuidance = 9.0

    private func checkVariant() throws(Fault) {
        guard let variant = given.variant, variant != checkpoint.variant else { return }
        throw Fault(
            .badData, "the checkpoint is of the form \(checkpoint.variant.rawValue), not \(variant.rawValue)",
            at: checkpoint.folder.path, hint: "give the checkpoint with --model")
    }

    /// Whether a picture is made, not a video.
    private func makesPicture(_ image: PictureSize?) -> Bool {
        if let frames = request.frames ?? given.temp { return frames == 1 }
        return given.transformer == .image || given.mode == .t2i
    }

    // MARK: Length

    private func length(_ plan: inout Plan, isPicture: Bool) throws(Fault) {
        let time = PyramidVAEConfiguration.time
        var asked = request
        if let temp = given.temp {
            (asked.frames, asked.seconds) = (PyramidVAEConfiguration.frameLength(of: temp), nil)
        }
        if let temp = given.temp, let frames = request.frames, frames != asked.frames {
            throw Fault(
                .usage,
                "\(temp) latent frames are \(PyramidVAEConfiguration.frameLength(of: temp)) frames, not \(frames)",
                at: "--temp", hint: "give either of them")
        }
        let limit = PyramidVAEConfiguration.frameLength(of: PyramidFlow.limit)
        if let seconds = asked.seconds {
            // Half a latent frame more or less: five seconds are sixteen of them.
            let frames = (seconds * plan.fps.framesPerSecond / Double(time)).rounded() * Double(time) + 1
            if frames <= Double(limit) { (asked.frames, asked.seconds) = (Int(frames), nil) }
        }
        let rule = LengthRule(
            limit: limit, trained: limit, reason: "one frame more than a multiple of \(time)",
            lengths: "1 to \(limit) frames, such as \(PyramidFlow.standardFrames)"
        ) { ($0 - 1) / time * time + 1 }
        try rule.settle(&plan, asked, standard: isPicture ? 1 : PyramidFlow.standardFrames)
    }

    // MARK: Transformer

    /// The transformer that is asked for, or the one whose sizes are taken where none is asked for.
    private func wantedKind(isPicture: Bool) throws(Fault) -> PyramidTransformerKind {
        if let kind = given.transformer {
            guard checkpoint.kinds.contains(kind) else { throw missing(kind) }
            return kind
        }
        if isPicture, checkpoint.kinds.contains(.image) { return .image }
        guard let kind = checkpoint.kinds.first(where: { $0 != .image }) else {
            throw Fault(
                .usage, "the checkpoint makes pictures from texts alone",
                at: checkpoint.folder.shown(checkpoint.kinds[0].rawValue),
                hint: "give --frames 1 and no picture, or download a transformer for videos")
        }
        return kind
    }

    private func missing(_ kind: PyramidTransformerKind) -> Fault {
        Fault(
            .cannotOpen, "the checkpoint has no transformer \(kind.title)", at: checkpoint.folder.shown(kind.rawValue),
            hint: "it has " + checkpoint.kinds.map(\.title).joined(separator: ", "))
    }

    /// The transformer for a size that is settled: the one that is asked for, or the one that was trained nearest to it.
    private func kind(
        _ plan: inout Plan, _ wanted: PyramidTransformerKind, _ image: PictureSize?
    ) throws(Fault) -> PyramidTransformerKind {
        var kind = wanted
        if given.transformer == nil, kind != .image {
            let nearest = PyramidSizes.nearest(PictureSize(width: plan.width, height: plan.height))
            if checkpoint.kinds.contains(nearest) { kind = nearest }
            if kind != nearest {
                plan.warnings.append(
                    "the transformer \(kind.title) is used for \(plan.width)x\(plan.height): the checkpoint has no \(nearest.title)"
                )
            }
        }
        plan.notes.append("transformer \(kind.title)")
        func refuse(_ what: String, _ option: String, _ hint: String) throws(Fault) {
            throw Fault(.usage, what, at: option, hint: hint)
        }
        let mode = given.mode
        if kind == .image, plan.frames > 1 {
            try refuse("the transformer image makes one frame, not \(plan.frames)", "--frames", "give --frames 1")
        }
        if kind == .image || mode == .t2i || mode == .t2v, image != nil {
            try refuse("a picture is given, and only the text is asked for", "IMAGE", "leave out the picture")
        }
        if mode == .i2v, image == nil {
            try refuse(
                "no picture is given", "IMAGE", "name a picture, as in: ruyi photo.jpg --model DIR --prompt \"...\"")
        }
        if mode == .t2i, plan.frames > 1 {
            try refuse("a picture is one frame, not \(plan.frames)", "--frames", "give --frames 1")
        }
        if kind == .small, plan.frames > PyramidFlow.standardFrames {
            plan.warnings.append(
                "the transformer 384p was trained on clips of up to \(PyramidFlow.standardFrames) frames")
        }
        if let side = configuration.transformers[kind]?.tableSide {
            let most = side * PyramidSizes.patch
            guard max(plan.width, plan.height) <= most else {
                throw Fault(
                    .usage, "the model knows no places beyond \(most) pixels", at: "--size",
                    hint: "give a size of at most \(most)x\(most)")
            }
        }
        return kind
    }

    // MARK: Everything else

    private func sampling(_ plan: inout Plan, _ settings: PyramidSettings) throws(Fault) {
        guard PyramidFlow.schedulers.contains(plan.scheduler) else {
            throw Fault(
                .usage, "\"\(plan.scheduler)\" is not a choice", at: "--scheduler",
                hint: "one of: " + PyramidFlow.schedulers.joined(separator: ", "))
        }
        if settings.hasPicture, settings.count == 1 {
            plan.warnings.append("one frame of a picture is that picture, as the VAE has it")
        }
        if !settings.isGuided, settings.count > 1, given.videoGuidance.map({ $0 > 0 }) == true {
            plan.warnings.append("--video-guidance has no effect with --guidance 0")
        }
        let asksForFall = given.guidanceAlpha != nil || given.minGuidance != nil
        if settings.fall == nil, asksForFall, given.linearGuidance == nil {
            plan.warnings.append("--guidance-alpha and --min-guidance have no effect without --linear-guidance")
        }
        try plan.setTiles(request.vaeTile) { $0 % 32 == 0 }
    }

    private func text(_ plan: inout Plan, _ settings: PyramidSettings) throws(Fault) {
        plan.prompt = request.prompt ?? ""
        if settings.isGuided { plan.negativePrompt = request.negativePrompt ?? PyramidPrompts.negative }
        if plan.prompt.isEmpty { plan.warnings.append("there is no prompt: \(plan.model) makes up what happens") }
        let texts = [
            (plan.prompt + PyramidPrompts.suffix, "--prompt"), (plan.negativePrompt ?? "", "--negative-prompt"),
        ]
        for (text, option) in texts
        where text.utf8.count >= PyramidPrompts.length && checkpoint.folder.needsEncoders {
            if try checkpoint.prompts().tokens(text).isCut {
                plan.warnings.append("\(option) is longer than \(PyramidPrompts.length) tokens, and is cut")
            }
        }
        if !settings.isGuided, request.negativePrompt?.isEmpty == false {
            plan.warnings.append("--negative-prompt has no effect with --guidance 0")
        }
    }

    /// Opens the weights and the LoRA files, and looks whether these fit the transformer.
    private func weights(_ plan: inout Plan, _ kind: PyramidTransformerKind) throws(Fault) {
        let transformer = try checkpoint.weights(kind)
        plan.weightBytes = transformer.byteCount
        let encoders = [checkpoint.variant.language] + checkpoint.variant.towers
        for part in [.vae] + (checkpoint.folder.needsEncoders ? encoders : []) {
            plan.weightBytes += try checkpoint.weights(part).byteCount
        }
        try plan.checkLoRAs(of: transformer, isStrict: request.strictLoRA ?? false)
    }

    /// The tokens of the last frame's last stage with all of its history, without those of the text.
    private func tokens(_ plan: Plan, _ settings: PyramidSettings) -> Int {
        let area = plan.width / PyramidSizes.patch * (plan.height / PyramidSizes.patch)
        let history = settings.count - 1
        let coarse = max(0, history - 2)
        return area + (history > 0 ? area : 0) + (history > 1 ? area / 4 : 0) + coarse * area / 16
    }
}

/// The sizes of clips (specification section 11).
package enum PyramidSizes {
    /// Pixels of a token along each side.
    static let patch = PyramidVAEConfiguration.space * StreamConfiguration.patch
    /// Sides are multiples of this: the coarsest resolution has whole patches.
    static let multiple = patch << (PyramidSchedule.stageCount - 1)

    /// Widths and heights that a transformer was trained at.
    private static func trained(_ kind: PyramidTransformerKind) -> [PictureSize] {
        let sizes =
            switch kind {
            case .small: [(640, 384), (384, 640)]
            case .large: [(1280, 768), (768, 1280)]
            case .image: [(1024, 1024), (1280, 768), (768, 1280)]
            }
        return sizes.map { PictureSize(width: $0, height: $1) }
    }

    /// The rule for all ways of asking for a size.
    static func rule(_ kind: PyramidTransformerKind) -> SizeRule {
        var rule = SizeRule(
            sides: multiple...4096, advice: "Pyramid Flow was trained at 640x384 and 1280x768 pixels, upright too"
        ) { request, image in
            let sizes = trained(kind)
            if let short = request.resolution {
                let size = PictureSize.named(short, for: image ?? sizes[0])
                func raised(_ side: Int) -> Int { (side + multiple - 1) / multiple * multiple }
                let whole = PictureSize(width: raised(size.width), height: raised(size.height))
                return (
                    whole,
                    "size \(short)p -> \(whole.width)x\(whole.height): sides are multiples of \(multiple), raised"
                )
            }
            guard let image else { return (sizes[0], nil) }
            let shape = ratio(image)
            let size = sizes.min { abs(ratio($0) - shape) < abs(ratio($1) - shape) } ?? sizes[0]
            return (size, SizeRule.nearest(size, to: image))
        }
        rule.multiple = multiple
        return rule
    }

    /// How wide a size is for its height, as a logarithm.
    private static func ratio(_ size: PictureSize) -> Double {
        log(Double(size.width) / Double(size.height))
    }

    /// The transformer for videos that was trained nearest to a size: twice the area of the smaller is half that of the
    /// larger.
    static func nearest(_ size: PictureSize) -> PyramidTransformerKind {
        let small = trained(.small)[0]
        return size.width * size.height > 2 * small.width * small.height ? .large : .small
    }
}
