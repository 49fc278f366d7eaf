import RuyiFault
import RuyiModels
import RuyiTensor

/// One call of the model on a clip's way from noise.
package struct ModelCall {
    /// Its place among the calls of its section.
    package let index: Int
    /// The calls of a section.
    package let count: Int
    /// Its place among the calls of all sections.
    fileprivate let place: Int
    /// The calls of all sections.
    fileprivate let total: Int
    private let prefix: String
    private let loop: SamplingLoop
    private let stage: StageRun

    fileprivate init(_ index: Int, section: Int, prefix: String, _ run: SamplingRun) {
        self.index = index
        count = run.calls[section]
        (place, total) = (run.calls[..<section].reduce(0, +) + index, run.total)
        self.prefix = prefix
        (loop, stage) = (run.loop, run.stage)
    }

    /// What the call's tensors are recorded under, without the point behind it: its number among those of its section
    /// where that has a prefix, and among all without.
    package var name: String { prefix + "step." + StageTrace.digits(prefix.isEmpty ? place : index) }

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
            loop.job.stream(loop.weights, behind: block, of: loop.blocks, unit: loop.unit)
            let before = (place * loop.sides + sides.lowerBound) * loop.blocks
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
    fileprivate let finite: FiniteCheck

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
    ///   - step: the latents of the next call; what it makes is recorded as `latents`.
    package func callAsFunction(
        _ initial: Tensor, predict: (ModelCall, Tensor) throws -> Tensor,
        clean: (ModelCall, Tensor, Tensor) -> Tensor, step: (ModelCall, Tensor, Tensor) throws -> Tensor
    ) throws -> HostTensor {
        let run = begin()
        let latents = try run(initial, predict: predict, clean: clean) { call, output, latents in
            let next = try step(call, output, latents)
            call.record("latents", next)
            return next
        }
        return try run.finish(latents)
    }

    /// Begins the denoising of a clip that is made in so many sections, each by all the loop's calls.
    package func begin(sections: Int = 1) -> SamplingRun { begin(Array(repeating: calls, count: sections)) }

    /// Begins the denoising of a clip that is made in sections of so many calls each.
    package func begin(_ calls: [Int]) -> SamplingRun {
        SamplingRun(
            loop: self, calls: calls,
            stage: job.begin(
                .denoising, steps: calls.reduce(0, +), parts: blocks * sides, weights: weights, comesBack: true))
    }

    /// Calls in which the model computes nothing, and calls in which it does.
    ///
    /// Where work is only counted, as many are taken as it takes until later ones take what earlier ones do: one, or two
    /// where something is kept from one to the next, after some that fill what samplers remember, which are four outputs
    /// at most.
    fileprivate var counted: (idle: Int, taken: Int) {
        guard job.meter != nil else { return (0, calls) }
        let taken = job.plan.teacache == nil ? 1 : min(calls, 2)
        return (min(4, calls - taken), taken)
    }

    fileprivate func show(_ call: ModelCall, _ latents: () -> Tensor) {
        guard let request = job.preview, let preview, request.isDue(after: call.place + 1, of: call.total)
        else { return }
        let frames = preview.pictures(job.session.read(latents()), limit: LatentPreview.frameLimit)
        request.show(Preview(step: call.place + 1, steps: call.total, frames: frames))
    }
}

/// The denoising of a clip under way.
package struct SamplingRun {
    fileprivate let loop: SamplingLoop
    /// The calls of each section.
    fileprivate let calls: [Int]
    fileprivate let stage: StageRun

    /// The calls of all sections.
    fileprivate var total: Int { calls.reduce(0, +) }

    /// The sections of the clip: all of them, or the first where work is only counted, because every one takes as much.
    package var places: Range<Int> { loop.job.meter == nil ? calls.indices : 0..<1 }

    /// The latents of a section that an earlier run has finished; nil for one that is still to be made.
    ///
    /// Throws `.badData` where they are not of the shape.
    package func finished(_ section: Int, shape: [Int]) throws -> Tensor? {
        let job = loop.job
        guard section < job.sections.count else { return nil }
        let latents = try job.sections.latents(section)
        guard latents.dtype == .f32, latents.shape == shape else {
            throw Fault(.badData, "section \(section + 1) is \(latents.dtype) \(latents.shape), expected f32 \(shape)")
        }
        stage.report(calls[...section].reduce(0, +) * loop.blocks * loop.sides)
        return job.session.upload(latents)
    }

    /// Keeps a section that has just been finished.
    package func keep(_ latents: Tensor) throws {
        try loop.job.session.check()
        try loop.job.sections.add(loop.job.session.read(latents).single)
    }

    /// The latents of a section, from `initial` ones.
    ///
    /// - Parameters:
    ///   - section: its place in the order in which sections are made.
    ///   - prefix: what stands before the names that its calls are recorded under.
    ///   - predict: the guided output of the model for latents, of their shape.
    ///   - clean: the latents that such an output stands for.
    ///   - step: the latents of the next call.
    package func callAsFunction(
        _ initial: Tensor, section: Int = 0, prefix: String = "", predict: (ModelCall, Tensor) throws -> Tensor,
        clean: (ModelCall, Tensor, Tensor) -> Tensor, step: (ModelCall, Tensor, Tensor) throws -> Tensor
    ) throws -> Tensor {
        let (idle, taken) = loop.counted
        loop.job.meter?.repeatStage(Double(total) / Double(taken))
        var latents = initial
        for index in 0..<idle + taken {
            let call = ModelCall(index, section: section, prefix: prefix, self)
            let output = index < idle ? loop.job.session.empty(latents.shape) : try predict(call, latents)
            latents = try finished(call, output, latents, clean, step)
        }
        return latents
    }

    /// The latents of a part of a section, made by some of its calls, from `initial` ones.
    ///
    /// Where work is only counted, the first call stands for the others of the part, which take as much; parts and sections
    /// may differ. Calls are numbered over all sections.
    package func callAsFunction(
        _ initial: Tensor, section: Int, calls: Range<Int>, predict: (ModelCall, Tensor) throws -> Tensor,
        clean: (ModelCall, Tensor, Tensor) -> Tensor, step: (ModelCall, Tensor, Tensor) throws -> Tensor
    ) throws -> Tensor {
        var latents = initial
        let taken = loop.job.meter == nil ? calls : calls.prefix(1)
        for index in taken {
            let call = ModelCall(index, section: section, prefix: "", self)
            latents = try loop.job.session.counting(Double(calls.count) / Double(taken.count)) {
                try finished(call, try predict(call, latents), latents, clean, step)
            }
        }
        return latents
    }

    /// The latents behind a call: everything that follows its output.
    private func finished(
        _ call: ModelCall, _ output: Tensor, _ latents: Tensor, _ clean: (ModelCall, Tensor, Tensor) -> Tensor,
        _ step: (ModelCall, Tensor, Tensor) throws -> Tensor
    ) throws -> Tensor {
        try loop.job.session.check()
        loop.show(call) { clean(call, output, latents) }
        let next = try step(call, output, latents)
        try loop.finite(next, of: loop.weights, loop.job, "in step \(call.place + 1) of \(call.total)")
        return next
    }

    /// Ends the denoising: the latents of the whole clip on the host; the model's weights are given back.
    package func finish(_ latents: Tensor) throws -> HostTensor {
        let finished = loop.job.session.read(latents).single
        try loop.job.session.check()
        return finish(finished)
    }

    /// Ends the denoising with latents that are on the host already.
    package func finish(_ latents: HostTensor) -> HostTensor {
        loop.job.trace?.record("latents.final", latents)
        loop.job.release(loop.weights)
        return latents
    }
}
