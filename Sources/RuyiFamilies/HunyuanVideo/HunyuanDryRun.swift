import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// What a clip takes: the model's own code is run on a backend that computes nothing and counts memory and work, so that
/// the figures follow every change of it.
struct HunyuanDryRun: DryRun {
    private let folder: ModelFolder
    private let threads: Int
    private let level: KernelLevel?
    private let configuration: HunyuanConfiguration
    /// Keeps the files open between plans.
    private let opened: HunyuanRenderer

    /// Opens the checkpoint; throws what loading it throws.
    init(_ folder: ModelFolder, threads: Int, level: KernelLevel?) throws(Fault) {
        self.folder = folder
        self.threads = threads
        self.level = level
        configuration = try HunyuanConfiguration(folder)
        opened = try HunyuanRenderer(folder, backend: CPUBackend(measuring: threads, level: level))
    }

    func phases(of plan: Plan) throws(Fault) -> [Phase] {
        let short = plan.shortened
        let counts = try count(short)
        return plan.stages.indices.compactMap { index in
            let name = plan.stages[index].name
            guard let stage = HunyuanStage(rawValue: name) else { return nil }
            let factor = stage == .denoising ? Double(plan.steps) / Double(short.steps) : 1
            return Phase(
                name: name, bytes: counts[index].bytes, weightBytes: opened.weightBytes(stage, plan),
                givesFrames: stage == .decoding, work: counts[index].work.mapValues { $0 * factor })
        }
    }

    /// Runs through a shortened plan.
    private func count(_ plan: Plan) throws(Fault) -> [StageMeter.Count] {
        let backend = CPUBackend(measuring: threads, level: level)
        let renderer = try HunyuanRenderer(folder, backend: backend)
        return try StageMeter.counts(of: plan, on: backend) { job, meter in
            let pictures = configuration.text.picture.map { picture in
                let seen = [1, 3, picture.processor.cropSize, picture.processor.cropSize]
                return HunyuanPictures(
                    seen: backend.empty(seen), black: HunyuanSettings(plan).isGuided ? backend.empty(seen) : nil,
                    start: backend.empty([1, 3, plan.height, plan.width]), digest: "")
            }
            let latents = try renderer.latents(pictures, job)
            try renderer.decode(latents, job) { _ in meter.enter(plan.stages.count - 1) }
        }
    }
}
