import RuyiFault
import RuyiModels
import RuyiTensor

/// One call of the model on a clip's way from noise.
package struct ModelCall {
    /// Its place among the calls.
    package let index: Int
    /// The calls of the clip.
    package let count: Int
    private let loop: SamplingLoop
    private let stage: StageRun

    fileprivate init(_ index: Int, _ loop: SamplingLoop, _ stage: StageRun) {
        self.index = index
        count = loop.calls
        self.loop = loop
        self.stage = stage
    }

    /// What the call's tensors are recorded under, without the point behind it.
    package var name: String { "step." + StageTrace.digits(index) }

    /// Records a number of the call.
    package func record(_ name: String, number: Float) {
        loop.job.trace?.record("\(self.name).\(name)", HostTensor([number], [1]))
    }

    /// Records a tensor of the call.
    package func record(_ name: String, _ x: @autoclosure () -> Tensor) {
        guard let trace = loop.job.trace else { return }
        trace.record("\(self.name).\(name)", x())
    }

    /// Called after each of the model's blocks on some of the sides of the guidance: looks whether to go on, gives the
    /// block's weights back while the next ones are on their way, and tells how far the clip is.
    package func blockDone(_ sides: Range<Int>) -> (Int) throws -> Void {
        { block in
            try loop.job.session.check()
            loop.job.stream(loop.weights, next: loop.unit(block + 2))
            let before = (index * loop.sides + sides.lowerBound) * loop.blocks
            stage.report(before + (block + 1) * sides.count)
        }
    }
}

/// The model's calls on a clip's way from noise, with everything around them that is the same for every model: progress,
/// recorded stages, previews, the model's weights in memory, cancellation, and a look at whether the numbers are finite.
package struct SamplingLoop {
    fileprivate let job: Job
    fileprivate let calls: Int
    fileprivate let blocks: Int
    fileprivate let sides: Int
    fileprivate let weights: StageWeights
    fileprivate let unit: (Int) -> ResidencyUnit
    private let preview: LatentPreview?
    private let finite: FiniteCheck

    /// - Parameters:
    ///   - calls: how often the model is called.
    ///   - blocks: the number of the model's blocks.
    ///   - sides: the sides of the guidance, which are computed together or one after the other.
    ///   - weights: the model's.
    ///   - unit: the weights of a block; behind the last block comes the first one.
    ///   - preview: the map from latents to colours, where somebody wants to see the clip.
    package init(
        job: Job, calls: Int, blocks: Int, sides: Int, weights: StageWeights,
        unit: @escaping (Int) -> ResidencyUnit, preview: LatentPreview?, finite: FiniteCheck
    ) {
        self.job = job
        self.calls = calls
        self.blocks = blocks
        self.sides = sides
        self.weights = weights
        self.unit = unit
        self.preview = preview
        self.finite = finite
    }

    /// The latents of the finished clip, from `initial` ones.
    ///
    /// - Parameters:
    ///   - predict: the guided output of the model for latents, of their shape.
    ///   - clean: the latents that such an output stands for.
    ///   - step: the latents of the next call.
    package func callAsFunction(
        _ initial: Tensor, predict: (ModelCall, Tensor) throws -> Tensor,
        clean: (ModelCall, Tensor, Tensor) -> Tensor, step: (ModelCall, Tensor, Tensor) throws -> Tensor
    ) throws -> HostTensor {
        let stage = job.begin(.denoising, steps: calls, parts: blocks * sides, weights: weights)
        let (idle, taken) = counted
        var latents = initial
        for index in 0..<idle + taken {
            let call = ModelCall(index, self, stage)
            let output = index < idle ? job.session.empty(latents.shape) : try predict(call, latents)
            try job.session.check()
            show(call) { clean(call, output, latents) }
            latents = try step(call, output, latents)
            call.record("latents", latents)
            try finite(latents, of: weights, job, "in step \(index + 1) of \(calls)")
        }
        let finished = job.session.read(latents).single
        try job.session.check()
        job.trace?.record("latents.final", finished)
        job.release(weights)
        return finished
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
        let frames = preview.pictures(job.session.read(latents()), limit: LatentPreview.frameLimit)
        request.show(Preview(step: call.index + 1, steps: calls, frames: frames))
    }
}
