import RuyiEngine
import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A family that exists in the tests only: everything that a family has to say, and nothing that is said elsewhere.
///
/// Its model pulls every latent towards a linear mix of the start picture's colours.
enum ToyFamily: Family {
    static let name = "toy"
    static let title = "Toy"
    static let layout = "toy.json and mix.safetensors"
    static let settings: [any AnySetting] =
        CommonSettings.all(except: [
            CommonSettings.table.endImage, CommonSettings.table.prompt, CommonSettings.table.negativePrompt,
        ]) + ToyOptions.all
    static let defaults = {
        var values = SettingValues()
        let common = CommonSettings.table
        (values[common.steps], values[common.frames], values[common.guidance]) = (4, 8, 1)
        values[common.scheduler] = "flow-euler"
        return values
    }()

    static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool { try folder.has("toy.json") }

    static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        var plan = try Plan(request, of: ToyFamily.self, model: folder.name)
        guard let image else { throw Fault(.usage, "\(plan.model) needs a picture", at: "IMAGE") }
        let sizes = SizeRule(sides: 16...512, advice: "sides from 16 to 512") { _, _ in
            (PictureSize(width: 64, height: 48), "size 64x48: the model's only one")
        }
        try sizes.settle(&plan, request, image)
        let lengths = LengthRule(limit: 64, trained: 16, reason: "any", lengths: "1 to 64") { $0 }
        try lengths.settle(&plan, request, standard: 8)
        plan.settings = ToySettings(tint: request[ToyOptions.table.tint] ?? 0.5)
        plan.tokens = plan.frames * plan.width / 4 * plan.height / 4
        plan.weightBytes = try folder.weights("", stem: "mix").byteCount
        return plan
    }

    static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try ToyRenderer(folder, backend)
    }
}

/// The setting that only this family has.
struct ToyOptions: SettingTable {
    static let table = ToyOptions()

    let tint = Setting("tint", .number(0...1), .motion, "How strongly the picture tints the clip.", value: "x") {
        $0.isKept = true
        $0.isRecommendable = true
        $0.standardText = "0.5"
    }
}

struct ToySettings: FamilySettings {
    let tint: Double

    var values: SettingValues {
        var values = SettingValues()
        values[ToyOptions.table.tint] = tint
        return values
    }
}

final class ToyRenderer: Renderer {
    let warnings: [String]
    private let mix: Linear
    private let weights: StageWeights
    private let finite: FiniteCheck

    init(_ folder: ModelFolder, _ backend: any Backend) throws(Fault) {
        let file = try folder.weights("", stem: "mix")
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger, on: backend)
        mix = Linear(scope / "mix", 3, 3)
        warnings = try ledger.finish(unknown: .refuse)
        weights = StageWeights(file, scope.unit)
        finite = FiniteCheck(files: [file])
    }

    /// One latent for 4 x 4 pixels.
    private func shape(_ plan: Plan) -> [Int] { [1, 3, plan.frames, plan.height / 4, plan.width / 4] }

    func latents(_ job: Job) throws -> HostTensor {
        let (plan, session, shape) = (job.plan, job.session, shape(job.plan))
        let small = try job.startPicture().resized(width: shape[4], height: shape[3], filter: .bilinear)
        let pixels = session.upload(small.signedPixels)  // [1, 3, h, w]
        let places = session.copy(pixels.reshaped([3, shape[3] * shape[4]]).permuted([1, 0])).expanded(at: 0)
        let mixed = session.copy(mix(places).permuted([0, 2, 1])).reshaped([1, 3, 1, shape[3], shape[4]])
        let still = session.concatenate(Array(repeating: mixed, count: plan.frames), axis: 2)
        let tint = Float((plan.settings as? ToySettings)?.tint ?? 0)
        let scheduler = FlowMatchEuler(steps: plan.steps, shift: 1)
        let preview = try job.preview.map { _ in
            try LatentPreview.fitted(to: small.picture ?? LatentPreview.chart, factor: 1, on: session) { $0 }
        }
        let loop = SamplingLoop(
            job: job, calls: plan.steps, blocks: 1, sides: 1, weights: weights,
            unit: { [weights] _ in weights.units[0] }, preview: preview, finite: finite)
        return try loop(Draws(job) { _ in "noise" }(shape)) { call, latents in
            // The velocity that leads to the picture as far as the tint says.
            let share = tint / scheduler.sigmas[call.index]
            let velocity = session.combine(latents, share, still, -share)
            try call.blockDone(0..<1)(0)
            call.record("model_output", velocity)
            return velocity
        } clean: { call, velocity, latents in
            scheduler.clean(latents, velocity: velocity, call: call.index)
        } step: { call, velocity, latents in
            scheduler.step(latents, velocity: velocity, call: call.index)
        }
    }

    func decode(_ latents: HostTensor, _ job: Job) throws {
        let session = job.session
        try job.check(latents, shape: shape(job.plan))
        let stage = job.begin(.decoding, steps: job.plan.frames)
        let deliver = FrameDelivery(job, stage, rounding: .toNearestOrEven, of: weights, finite)
        let frames = session.upload(latents).framesFirst
        for index in 0..<job.plan.frames {
            let frame = frames.sliced(0, index..<index + 1)
            try deliver(session.upsampleNearest(session.upsampleNearest(frame)))
        }
        deliver.finish()
    }
}
