import Glibc
import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiTensor

/// Turns a request into exact sizes, counts and settings (specification sections 3, 13 and 18).
struct StepPlanner {
    let request: Request
    let checkpoint: StepCheckpoint
    private let given: Given<StepOptions>
    private let configuration: StepConfiguration

    private var kind: StepKind { configuration.transformer.kind }

    init(request: Request, checkpoint: StepCheckpoint) throws(Fault) {
        (self.request, self.checkpoint, given) = (request, checkpoint, request.step)
        configuration = try StepConfiguration(checkpoint)
    }

    func plan(image: PictureSize?) throws(Fault) -> Plan {
        var plan = try Plan(request, of: StepVideo.self, model: checkpoint.folder.name)
        try mode(plan.model, image)
        try StepSizes.rule.settle(&plan, request, image)
        try crop(&plan)
        try length(&plan)
        try sampling(&plan)
        let settings = StepSettings(request, kind: kind, guidance: plan.guidance)
        plan.settings = settings
        try text(&plan, settings)
        try weights(&plan)
        let shape = configuration.latentShape(plan)
        plan.tokens = shape[2] * shape[3] * shape[4]
        return plan
    }

    /// Text alone, or a picture with it, as the checkpoint has it.
    private func mode(_ model: String, _ image: PictureSize?) throws(Fault) {
        if let mode = given.mode, mode != kind {
            throw Fault(
                .usage, "\(model) is for \(kind.rawValue), not for \(mode.rawValue)", at: checkpoint.folder.path)
        }
        switch kind {
        case .i2v where image == nil:
            throw Fault(
                .usage, "\(model) animates a picture and none was given", at: "IMAGE",
                hint:
                    "name a picture, as in: ruyi photo.jpg --model DIR --prompt \"...\"; texts alone need stepvideo-t2v"
            )
        // Latents that are decoded come with a size and no picture.
        case .t2v where request.image != nil:
            throw Fault(
                .usage, "\(model) makes videos of text and takes no picture", at: "IMAGE",
                hint: "leave the picture out, or use the checkpoint stepvideo-ti2v")
        case .t2v where given.motionScore != nil:
            throw Fault(
                .usage, "\(model) is told no motion score", at: "--motion-score",
                hint: "leave it out: only the checkpoint stepvideo-ti2v has one")
        case .i2v, .t2v: break
        }
    }

    /// The middle of the frames, where that is what is delivered.
    private func crop(_ plan: inout Plan) throws(Fault) {
        guard given.crop540p == true else { return }
        if plan.width == plan.height {
            plan.notes.append("--crop-540p leaves square frames as they are")
            return
        }
        let size =
            plan.width > plan.height
            ? PictureSize(width: 960, height: 540) : PictureSize(width: 540, height: 960)
        guard plan.width >= size.width, plan.height >= size.height else {
            throw Fault(
                .usage, "frames of \(plan.width)x\(plan.height) have no middle of \(size.width)x\(size.height)",
                at: "--crop-540p", hint: "give --size 992x544 or 544x992, or leave it out")
        }
        plan.cut = size
    }

    private func length(_ plan: inout Plan) throws(Fault) {
        let chunk = StepVAEConfiguration.chunkFrames
        var asked = request
        if let seconds = asked.seconds {
            // Half a chunk more or less: four seconds are six of them.
            let frames = (seconds * plan.fps.framesPerSecond / Double(chunk)).rounded() * Double(chunk)
            if frames >= 1, frames <= Double(StepLength.limit) { (asked.frames, asked.seconds) = (Int(frames), nil) }
        }
        let rule = LengthRule(
            limit: StepLength.limit, trained: StepLength.trained, reason: "a multiple of \(chunk), or a still",
            lengths: "1, or a multiple of \(chunk) up to \(StepLength.limit)", computed: StepLength.made)
        try rule.settle(&plan, asked, standard: StepVideo.standardFrames(kind))
        if plan.frames == 1 { plan.notes.append("fewer than \(chunk) frames are a still picture") }
    }

    private func sampling(_ plan: inout Plan) throws(Fault) {
        guard StepVideo.schedulers.contains(plan.scheduler) else {
            throw Fault(
                .usage, "\"\(plan.scheduler)\" is not a choice", at: "--scheduler",
                hint: "one of: " + StepVideo.schedulers.joined(separator: ", "))
        }
        let isFast = plan.model.lowercased().contains("turbo")
        let asks = [request.steps == nil, request.guidance == nil, given.timeShift == nil]
        if isFast, asks.contains(true) {
            plan.warnings.append(
                "\(plan.model) is called turbo: such weights were made for --steps 10 --guidance 5 --time-shift 17")
        }
    }

    private func text(_ plan: inout Plan, _ settings: StepSettings) throws(Fault) {
        plan.prompt = request.prompt ?? ""
        if settings.isGuided {
            plan.negativePrompt = request.negativePrompt ?? (given.magic == false ? "" : StepMagic.negative(kind))
        } else if request.negativePrompt?.isEmpty == false {
            plan.warnings.append("--negative-prompt has no effect with a --guidance of 1 or less")
        }
        if plan.prompt.isEmpty { plan.warnings.append("there is no prompt: \(plan.model) makes up what happens") }
        if let camera = settings.camera { plan.notes.append("the prompt begins with \(camera.words) for the camera") }
        // BERT's end of a long prompt holds words for quality first.
        let texts = [
            (settings.text(plan.prompt), settings.camera?.leading(plan.prompt) ?? plan.prompt, "--prompt"),
            (plan.negativePrompt ?? "", plan.negativePrompt ?? "", "--negative-prompt"),
        ]
        for (whole, own, option) in texts
        where own.utf8.count + 2 >= BERTTokenizer.length && checkpoint.folder.needsEncoders {
            let (prompts, all) = (try checkpoint.prompts(), own == whole)
            let cut = prompts.isCut(own)
            if cut.bert {
                plan.warnings.append(
                    "\(option) is longer than \(BERTTokenizer.length) tokens, of which BERT reads no more")
            }
            if cut.language || !all && prompts.isCut(whole).language {
                plan.warnings.append("\(option) is too long for step_llm, and is cut")
            }
        }
    }

    /// Opens the weights and the LoRA files, and looks whether these fit the transformer.
    private func weights(_ plan: inout Plan) throws(Fault) {
        let transformer = try checkpoint.weights(.transformer)
        plan.weightBytes = try transformer.byteCount + checkpoint.weights(.vae).byteCount
        if checkpoint.folder.needsEncoders {
            plan.weightBytes += try checkpoint.weights(.language).byteCount + checkpoint.weights(.bert).byteCount
        }
        try plan.checkLoRAs(of: transformer, isStrict: request.strictLoRA ?? false)
    }
}

/// The lengths of clips in frames (specification section 3).
enum StepLength {
    /// The most that are made.
    static let limit = 4080
    /// The longest clips that the model was trained on.
    static let trained = 204

    /// The frames that are made where so many are asked for: whole chunks, or a still.
    static func made(for asked: Int) -> Int {
        let chunk = StepVAEConfiguration.chunkFrames
        return asked < 1 ? 0 : max(asked / chunk * chunk, 1)
    }
}

/// The sizes of clips (specification sections 3 and 13).
package enum StepSizes {
    /// Sizes that the model was trained at.
    private static let trained = [(992, 544), (544, 992), (768, 768)].map { PictureSize(width: $0.0, height: $0.1) }

    /// The rule for all ways of asking for a size.
    static let rule = SizeRule(
        sides: 16...4096, advice: "Step-Video was trained at 992x544, 544x992 and 768x768 pixels"
    ) { request, image in
        if let short = request.resolution {
            let size = PictureSize.named(short, for: image ?? trained[0])
            func raised(_ side: Int) -> Int { (side + 15) / 16 * 16 }
            let whole = PictureSize(width: raised(size.width), height: raised(size.height))
            return (whole, "size \(short)p -> \(whole.width)x\(whole.height): sides are multiples of 16, raised")
        }
        guard let image else { return (trained[0], nil) }
        let shape = ratio(image)
        let size = trained.min { abs(ratio($0) - shape) < abs(ratio($1) - shape) } ?? trained[0]
        return (size, SizeRule.nearest(size, to: image))
    }

    /// How wide a size is for its height, as a logarithm.
    private static func ratio(_ size: PictureSize) -> Double { log(Double(size.width) / Double(size.height)) }
}
