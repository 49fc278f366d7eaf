import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiSampling
import RuyiTensor
import Synchronization

/// What a clip takes: the model's own code is run on a backend that computes nothing and counts memory and work, so that
/// the figures follow every change of it.
struct RuyiDryRun: DryRun {
    private let folder: ModelFolder
    private let threads: Int
    private let level: KernelLevel?
    private let configuration: RuyiConfiguration
    /// Keeps the files open between plans.
    private let opened: RuyiRenderer
    private let sizes: RuyiWeightSizes

    /// Opens the checkpoint; throws what loading it throws.
    init(_ folder: ModelFolder, threads: Int, level: KernelLevel?) throws(Fault) {
        self.folder = folder
        self.threads = threads
        self.level = level
        configuration = try RuyiConfiguration(folder)
        opened = try RuyiRenderer(folder, backend: CPUBackend(measuring: threads, level: level))
        sizes = opened.weightSizes
    }

    /// The most memory and the work of one stage.
    private struct Count {
        var bytes = 0
        var work: [Work: Double] = [:]
    }

    func phases(of plan: Plan) throws(Fault) -> [Phase] {
        let short = RuyiDryRun.shortened(plan)
        let counts = try count(short, calls: plan.stages[plan.stages.count - 2].steps)
        let last = plan.stages.count - 1
        let calls = Double(plan.stages[last - 1].steps) / Double(short.steps)
        let (encoded, decoded) = tiles(plan)
        return plan.stages.indices.map { index in
            let factor = index == last ? decoded : index == last - 1 ? calls : index == 1 ? encoded : 1
            return Phase(
                name: plan.stages[index].name, bytes: counts[index].bytes, weightBytes: weights(index, plan),
                givesFrames: index == last, work: counts[index].work.mapValues { $0 * factor })
        }
    }

    /// The plan with as many calls of the model as it takes until later ones take what earlier ones do: one, or two where
    /// something is kept from one to the next.
    private static func shortened(_ plan: Plan) -> Plan {
        var short = plan
        short.steps = plan.teacache == nil ? 1 : min(plan.steps, 2)
        // What is on in some of the calls is on in these.
        func shortened(_ feature: StepFeature, from first: Int) -> StepFeature {
            let isOn = first < plan.steps - feature.skipEndSteps
            return StepFeature(amount: feature.amount, skipStartSteps: 0, skipEndSteps: isOn ? 0 : plan.steps)
        }
        short.teacache = plan.teacache.map { shortened($0, from: max(0, $0.skipStartSteps - 1)) }
        short.enhanceAVideo = plan.enhanceAVideo.map { shortened($0, from: $0.skipStartSteps) }
        return short
    }

    /// Runs through a shortened plan, whose scheduler is asked so often in the whole one.
    private func count(_ plan: Plan, calls: Int) throws(Fault) -> [Count] {
        let backend = CPUBackend(measuring: threads, level: level)
        let renderer = try RuyiRenderer(folder, backend: backend)
        let state = Mutex((stage: 0, counts: [Count](repeating: Count(), count: plan.stages.count)))
        // What has come up since the last report belongs to the stage that was under way.
        @Sendable func note(_ next: Int) {
            let (peak, work) = (backend.memory.takePeak(), backend.takeWork())
            state.withLock { state in
                state.counts[state.stage].bytes = max(state.counts[state.stage].bytes, peak)
                state.counts[state.stage].work.merge(work, uniquingKeysWith: +)
                state.stage = next
            }
        }
        let job = Job(
            plan: plan, image: nil, endImage: nil, noise: NoDraws(backend), trace: nil, cancellation: Cancellation(),
            progress: { stage, _ in note(stage) }, frames: { _ in })
        do {
            let size = configuration.processor.cropSize
            let frame = [1, 3, plan.height, plan.width]
            let pictures = RuyiPictures(
                clip: backend.empty([1, 3, size, size]), start: backend.empty(frame),
                end: plan.hasEndImage ? backend.empty(frame) : nil)
            // Schedulers remember four outputs at most.
            let scheduler = IdleScheduler(calls: plan.steps, outputs: min(4, calls - 1))
            let latents = try renderer.latents(pictures, scheduler, job)
            try renderer.decode(latents, job) { _ in note(plan.stages.count - 1) }
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(.software, "what a clip takes could not be counted: \(error)")
        }
        note(plan.stages.count - 1)
        return state.withLock { $0.counts }
    }

    /// How much more all tiles are than the first one, which is the one that is counted: encoded, and decoded.
    private func tiles(_ plan: Plan) -> (Double, Double) {
        let vae = configuration.tiled(plan).vae
        let size = vae.tileSize
        guard max(plan.width, plan.height) > size else { return (1, 1) }
        let step = max(1, Int(Double(size) * (1 - vae.tileOverlap)))
        func all(_ side: Int) -> Double {
            let lengths = stride(from: 0, to: side, by: step).map { min(size, side - $0) }
            return Double(lengths.reduce(0, +)) / Double(min(size, side))
        }
        let factor = all(plan.width) * all(plan.height)
        // The last corner is decoded once more.
        return (vae.tilesEncoder ? factor : 1, vae.tilesDecoder ? factor + 1 : 1)
    }

    /// Bytes of weight files in memory in a stage.
    private func weights(_ stage: Int, _ plan: Plan) -> Int {
        if plan.memoryMode == .resident { return plan.weightBytes }
        switch stage {
        case 0: return sizes.vision
        case 1, plan.stages.count - 1: return sizes.vae
        default: return sizes.block
        }
    }
}

/// A step rule that computes nothing and has `outputs` of the model's outputs from the first call on.
private final class IdleScheduler: Scheduler {
    let timesteps: [Float]
    let sigmas: [Float]? = nil
    let initNoiseSigma: Float = 1
    let needsNoise = true
    private let outputs: Int
    private let kept = Mutex<[Tensor]>([])

    init(calls: Int, outputs: Int) {
        timesteps = [Float](repeating: 0, count: calls)
        self.outputs = outputs
    }

    func scaleModelInput(_ latents: Tensor, call: Int) -> Tensor {
        let outputs = (0..<outputs).map { _ in latents.backend.empty(latents.shape) }
        kept.withLock { $0 = outputs }
        return latents
    }

    func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        latents.backend.empty(latents.shape)
    }

    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor { latents }
}

/// Random draws that nobody looks at.
private final class NoDraws: NoiseSource {
    private let backend: CPUBackend

    init(_ backend: CPUBackend) { self.backend = backend }

    func next(_ shape: [Int]) throws(Fault) -> Tensor { backend.empty(shape) }
}

/// Bytes of weights that parts of a run have in memory when they give them back.
struct RuyiWeightSizes: Sendable {
    /// The image encoder.
    let vision: Int
    /// The VAE.
    let vae: Int
    /// The largest block of the transformer, and what stands outside its blocks.
    let block: Int

    init(transformer: any WeightFile, vae: any WeightFile, vision: any WeightFile) {
        func bytes(_ file: any WeightFile, _ key: String) -> Int {
            (file.shape(of: key) ?? []).reduce(file.dtype(of: key)?.byteCount ?? 0, *)
        }
        self.vae = vae.byteCount
        self.vision = vision.keys.filter { $0.hasPrefix("vision_model.") }.reduce(0) { $0 + bytes(vision, $1) }
        var blocks: [Substring: Int] = [:]
        for key in transformer.keys {
            let parts = key.split(separator: ".", maxSplits: 2)
            blocks[parts.first == "blocks" && parts.count > 1 ? parts[1] : "", default: 0] += bytes(transformer, key)
        }
        block = (blocks[""] ?? 0) + (blocks.filter { $0.key != "" }.values.max() ?? 0)
    }
}
