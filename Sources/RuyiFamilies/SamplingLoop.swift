import RuyiFault
import RuyiModels
import RuyiTensor

/// One call of the model on a clip's way from noise.
struct ModelCall {
    /// Its place among the calls.
    let index: Int
    /// The calls of the clip.
    let count: Int
    private let loop: SamplingLoop
    private let stage: StageRun

    fileprivate init(_ index: Int, _ loop: SamplingLoop, _ stage: StageRun) {
        self.index = index
        count = loop.calls
        self.loop = loop
        self.stage = stage
    }

    /// What the call's tensors are recorded under, without the point behind it.
    var name: String { "step." + StageTrace.digits(index) }

    /// Records a tensor of the call.
    func record(_ name: String, _ x: @autoclosure () -> Tensor) {
        guard let trace = loop.job.trace else { return }
        trace.record("\(self.name).\(name)", x())
    }

    /// Called after each of the model's blocks on some of the sides of the guidance: looks whether to go on, gives the
    /// block's weights back while the next ones are on their way, and tells how far the clip is.
    func blockDone(_ sides: Range<Int>) -> (Int) throws -> Void {
        { block in
            try loop.job.cancellation.check()
            loop.job.stream(loop.weights, next: loop.blockPrefix(block + 2))
            let before = (index * loop.sides + sides.lowerBound) * loop.blocks
            stage.report(before + (block + 1) * sides.count)
        }
    }
}

/// The model's calls on a clip's way from noise, with everything around them that is the same for every model: progress,
/// recorded stages, previews, the model's weights in memory, cancellation, and a look at whether the numbers are finite.
struct SamplingLoop {
    let job: Job
    let backend: any Backend
    /// How often the model is called.
    let calls: Int
    /// The model's blocks.
    let blocks: Int
    /// The sides of the guidance, which are computed together or one after the other.
    let sides: Int
    /// The model's weights.
    let weights: StageWeights
    /// What the names of a block's weights begin with; behind the last block comes the first one.
    let blockPrefix: (Int) -> String
    /// The map from latents to colours, where somebody wants to see the clip.
    let preview: LatentPreview?
    let finite: FiniteCheck

    /// The latents of the finished clip, from `initial` ones.
    ///
    /// - Parameters:
    ///   - predict: the guided output of the model for latents, of their shape.
    ///   - clean: the latents that such an output stands for.
    ///   - step: the latents of the next call.
    func callAsFunction(
        _ initial: Tensor, predict: (ModelCall, Tensor) throws -> Tensor,
        clean: (ModelCall, Tensor, Tensor) -> Tensor, step: (ModelCall, Tensor, Tensor) throws -> Tensor
    ) throws -> Tensor {
        let stage = job.begin(.denoising, steps: calls, parts: blocks * sides, weights: weights)
        let (idle, taken) = counted
        var latents = initial
        for index in 0..<idle + taken {
            let call = ModelCall(index, self, stage)
            let output = index < idle ? backend.empty(latents.shape) : try predict(call, latents)
            try job.cancellation.check()
            show(call) { clean(call, output, latents) }
            latents = try step(call, output, latents)
            call.record("latents", latents)
            try finite(latents, of: weights, job, "in step \(index + 1) of \(calls)")
        }
        latents = backend.copy(latents)
        job.trace?.record("latents.final", latents)
        job.release(weights, on: backend)
        return latents
    }

    /// Calls in which the model computes nothing, and calls in which it does.
    ///
    /// Where work is only counted, as many are taken as it takes until later ones take what earlier ones do: one, or two
    /// where something is kept from one to the next, after some that fill what samplers remember, which are four outputs
    /// at most.
    private var counted: (idle: Int, taken: Int) {
        guard let meter = job.meter else { return (0, calls) }
        let taken = job.plan.teacache == nil ? 1 : min(calls, 2)
        meter.repeatStage(Double(calls) / Double(taken))
        return (min(4, calls - taken), taken)
    }

    private func show(_ call: ModelCall, _ latents: () -> Tensor) {
        guard let request = job.preview, let preview, request.isDue(after: call.index + 1, of: calls) else { return }
        let frames = preview.pictures(latents(), limit: LatentPreview.frameLimit)
        request.show(Preview(step: call.index + 1, steps: calls, frames: frames))
    }
}
