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
    private let backend: any Backend
    private let configuration: RuyiConfiguration
    /// Keeps the files open between plans.
    private let opened: RuyiRenderer

    /// Opens the checkpoint; throws what loading it throws.
    init(_ folder: ModelFolder, on backend: any Backend) throws(Fault) {
        self.folder = folder
        self.backend = backend
        configuration = try RuyiConfiguration(folder)
        opened = try RuyiRenderer(folder, backend: backend)
    }

    func phases(of plan: Plan) throws(Fault) -> [Phase] {
        let short = plan.shortened
        let last = plan.stages.count - 1
        let counts = try count(short, calls: plan.stages[last - 1].steps)
        let calls = Double(plan.stages[last - 1].steps) / Double(short.steps)
        return plan.stages.indices.map { index in
            let factor = index == last - 1 ? calls : 1
            return Phase(
                name: plan.stages[index].name, bytes: counts[index].bytes, weightBytes: opened.weightBytes(index, plan),
                givesFrames: index == last, work: counts[index].work.mapValues { $0 * factor })
        }
    }

    /// Runs through a shortened plan, whose scheduler is asked so often in the whole one.
    private func count(_ plan: Plan, calls: Int) throws(Fault) -> [StageMeter.Count] {
        let renderer = try RuyiRenderer(folder, backend: backend)
        return try StageMeter.counts(of: plan, on: backend.meter()) { job, meter in
            let size = configuration.processor.cropSize
            let frame = [1, 3, plan.height, plan.width]
            let pictures = RuyiPictures(
                clip: HostTensor.zeros([1, 3, size, size]), start: HostTensor.zeros(frame),
                end: plan.hasEndImage ? HostTensor.zeros(frame) : nil)
            // Schedulers remember four outputs at most.
            let scheduler = IdleScheduler(calls: plan.steps, outputs: min(4, calls - 1))
            let latents = try renderer.latents(pictures, scheduler, job)
            try renderer.decode(latents, job) { _ in meter.enter(plan.stages.count - 1) }
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
        let outputs = (0..<outputs).map { _ in latents.session.empty(latents.shape) }
        kept.withLock { $0 = outputs }
        return latents
    }

    func step(modelOutput: Tensor, call: Int, latents: Tensor, noise: Tensor?) -> Tensor {
        latents.session.empty(latents.shape)
    }

    func clean(modelOutput: Tensor, call: Int, latents: Tensor) -> Tensor { latents }
}
