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
        var plan = try Plan(request, of: Ruyi.self, model: folder.name)
        guard let image else {
            throw Fault(
                .usage, "\(plan.model) animates a picture and none was given", at: "IMAGE",
                hint: "name a picture, as in: ruyi photo.jpg --model DIR")
        }
        plan.scheduler = try Sampler(named: plan.scheduler).title
        try RuyiSizes.rule.settle(&plan, request, image)
        try length(&plan)
        let settings = RuyiSettings(request)
        plan.settings = settings
        try controls(&plan, settings)
        try features(&plan, settings)
        try plan.setTiles(request.vaeTile, where: configuration.vae.canTile)
        plan.weightBytes = try RuyiRenderer.weightBytes(folder)
        let weights = try folder.weights("transformer", stem: "diffusion_pytorch_model")
        try plan.checkLoRAs(of: weights, isStrict: request.strictLoRA ?? false)
        plan.tokens = configuration.tokens(plan)
        return plan
    }

    // MARK: Length

    private func length(_ plan: inout Plan) throws(Fault) {
        let vae = configuration.vae
        let chunk = vae.encoderChunk
        let limit = RuyiLimits.latentFrames / vae.decoderChunk * chunk
        let rule = LengthRule(
            limit: limit, trained: 120, reason: "whole chunks of \(chunk)",
            lengths: "1, or \(chunk) to \(limit) in steps of \(chunk)"
        ) { $0 == 1 ? 1 : $0 / chunk * chunk }
        try rule.settle(&plan, request, standard: Ruyi.defaults[CommonSettings.table.frames] ?? chunk)
        let latents = vae.latentFrames(plan.frames)
        guard vae.latentLength(of: plan.frames) == latents, vae.frameLength(of: latents) == plan.frames else {
            throw Fault(
                .badData, "this VAE's chunks of \(chunk) frames do not make \(plan.frames) frames",
                at: folder.path + "/vae/config.json", hint: "give --frames \(chunk) or another multiple of \(chunk)")
        }
    }

    // MARK: Sampling and controls

    private func controls(_ plan: inout Plan, _ settings: RuyiSettings) throws(Fault) {
        let (camera, motion) = (settings.camera, settings.motion)
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

    private func features(_ plan: inout Plan, _ settings: RuyiSettings) throws(Fault) {
        if settings.enhancement != nil, configuration.vae.latentFrames(plan.frames) < 2 {
            throw Fault(
                .usage, "there is nothing to enhance between the frames of a clip of \(plan.frames)",
                at: "--enhance-a-video", hint: "leave it out, or give --frames \(configuration.vae.encoderChunk)")
        }
        if plan.fp8QuantMode == .extreme, plan.fp8DataType == .e5m2 {
            plan.warnings.append("the model's authors advise against fp8_e5m2 with the mode extreme")
        }
    }
}
