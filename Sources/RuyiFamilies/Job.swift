import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization

/// One clip to render: the plan, the pictures, the random draws, and where everything goes.
public struct Job: Sendable {
    /// What is rendered.
    public let plan: Plan
    /// The start picture as it is in its file.
    public let image: Picture?
    /// The end picture as it is in its file.
    public let endImage: Picture?
    /// The random draws.
    public let noise: any NoiseSource
    /// Receives the stages' tensors, if anybody wants them.
    public let trace: Trace?
    /// What it is computed on; its checks say when to stop.
    public let session: any Session
    /// Called after each part of a step with the stage's index in `plan.stages` and the number of parts done.
    public let progress: @Sendable (_ stage: Int, _ done: Int) -> Void
    /// Who wants to see the clip while it is denoised, if anybody does; the clip is the same.
    public let preview: PreviewRequest?
    /// Takes the finished frames in order.
    public let frames: @Sendable (Picture) throws -> Void
    /// Where finished sections are kept, and those that are there already.
    public let sections: any SectionStore
    /// The clip to watch meanwhile, where somebody wants to.
    public let growth: (any GrowingClip)?
    /// Told of each section that is finished.
    public let sectionDone: @Sendable (SectionProgress) -> Void
    /// Where conditions are kept, and those that are there already; nil where they are made and forgotten.
    public let conditions: (any ConditionStore)?
    /// Where tensors lie that are not needed for a while, where memory is to be saved.
    package let shelf: (any TensorShelf)?
    /// Counts what the parts of the run take, where nothing is computed.
    let meter: StageMeter?
    let digests = PictureDigests()

    /// A job.
    public init(
        plan: Plan, image: Picture?, endImage: Picture?, noise: any NoiseSource, trace: Trace?,
        session: any Session, preview: PreviewRequest? = nil, conditions: (any ConditionStore)? = nil,
        sections: (any SectionStore)? = nil, growth: (any GrowingClip)? = nil, shelf: (any TensorShelf)? = nil,
        sectionDone: @escaping @Sendable (SectionProgress) -> Void = { _ in },
        progress: @escaping @Sendable (_ stage: Int, _ done: Int) -> Void,
        frames: @escaping @Sendable (Picture) throws -> Void
    ) {
        self.plan = plan
        self.image = image
        self.endImage = endImage
        self.noise = noise
        self.trace = trace
        self.session = session
        self.preview = preview
        self.progress = progress
        self.frames = frames
        self.conditions = conditions
        self.sections = sections ?? SectionsInMemory()
        (self.growth, self.sectionDone) = (growth, sectionDone)
        self.shelf = plan.memoryMode == .resident ? nil : shelf
        meter = nil
    }

    /// A job of which only is counted what it takes.
    init(counting plan: Plan, noise: any NoiseSource, conditions: (any ConditionStore)?, meter: StageMeter) {
        self.plan = plan
        self.conditions = conditions
        (image, endImage, trace, preview) = (nil, nil, nil, nil)
        self.noise = noise
        session = meter.session
        progress = { _, _ in }
        frames = { _ in }
        (sections, growth, sectionDone) = (SectionsInMemory(), nil, { _ in })
        shelf = plan.memoryMode == .resident ? nil : meter.shelf
        self.meter = meter
    }
}

// MARK: Parts of the run

extension Job {
    /// Begins a part of the run, which works with these weights beside those that are still in memory.
    ///
    /// One that `comesBack` to them keeps as many blocks of streamed ones as there is room for.
    package func begin(
        _ name: Stage.Name, steps: Int, parts: Int = 1, weights: StageWeights? = nil, comesBack: Bool = false
    ) -> StageRun {
        if let weights { meter?.hold(weights.key, bytes(of: weights, keeping: comesBack ? plan.keptWeightBytes : 0)) }
        return begin(name, steps: steps, parts: parts)
    }

    /// Begins a part of the run.
    public func begin(_ name: Stage.Name, steps: Int, parts: Int = 1) -> StageRun {
        meter?.begin(name, steps: steps, parts: parts)
        let index = plan.stages.firstIndex { $0.name == name.text }
        return StageRun(total: max(1, steps * parts)) { [progress] done in
            if let index { progress(index, done) }
        }
    }

    /// Whether weights are given back after each block.
    package var isStreamed: Bool { plan.memoryMode != .resident }

    /// Counts the decoding of a clip that grows, which takes place beside the model's weights.
    package func countGrowth(_ decode: () throws -> Void) rethrows {
        if meter != nil, plan.grows { try decode() }
    }

    /// Whether the decoding has been counted so.
    package var isGrowthCounted: Bool { plan.grows && meter?.has(.decoding) == true }

    private func bytes(of weights: StageWeights, keeping kept: Int) -> Int {
        isStreamed ? weights.streamedByteCount(keeping: kept) : weights.byteCount
    }

    /// Gives weights back that the clip does not need any more, and memory that was kept for reuse with them.
    package func release(_ weights: StageWeights) {
        weights.units.forEach(session.release)
        meter?.drop(weights.key)
        session.memory.trim()
    }

    /// Gives weights back that are not needed for a while, where the plan says so.
    package func releaseStreamed(_ weights: StageWeights) {
        guard isStreamed else { return }
        weights.units.forEach(session.release)
        meter?.drop(weights.key)
    }

    /// Where weights are streamed, gives those of a model's block back that has just been computed, unless there is room for
    /// them until the next call, and has those of the block after next brought in meanwhile.
    package func stream(_ weights: StageWeights, behind block: Int, of count: Int, unit: (Int) -> ResidencyUnit) {
        guard isStreamed else { return }
        let kept = weights.blocks(within: plan.keptWeightBytes)
        if kept == 0 {
            releaseStreamed(weights)
        } else if block >= kept {
            session.release(unit(block))
        }
        session.willNeed(unit((block + 2) % count))
    }
}

// MARK: Inputs

/// A picture on its way into a model; where work is only counted, or was done elsewhere, one without pixels.
package struct InputPicture {
    package let width: Int
    package let height: Int
    /// The pixels; nil where nobody sees them.
    package let picture: Picture?

    private init(_ picture: Picture?, width: Int, height: Int) {
        self.picture = picture
        self.width = width
        self.height = height
    }

    /// A picture of a job.
    package init(_ picture: Picture) { self.init(picture, width: picture.width, height: picture.height) }

    /// One that nobody sees.
    static let counted = InputPicture(nil, width: 0, height: 0)

    package func resized(
        width: Int, height: Int, filter: Resampling, order: Resampling.PassOrder = .automatic
    ) -> InputPicture {
        InputPicture(
            picture?.resized(width: width, height: height, filter: filter, order: order), width: width, height: height)
    }

    /// The picture scaled to cover frames of this size, and its middle cut out; ties of rounding go to even numbers.
    package func covering(
        width: Int, height: Int, order: Resampling.PassOrder = .automatic
    ) -> InputPicture {
        guard let picture, picture.width != width || picture.height != height else {
            return InputPicture(picture, width: width, height: height)
        }
        let factor = max(Double(width) / Double(picture.width), Double(height) / Double(picture.height))
        func scaled(_ side: Int, _ least: Int) -> Int {
            max(least, Int((Double(side) * factor).rounded(.toNearestOrEven)))
        }
        let (wide, high) = (scaled(picture.width, width), scaled(picture.height, height))
        let left = Int((Double(wide - width) / 2).rounded(.toNearestOrEven))
        let top = Int((Double(high - height) / 2).rounded(.toNearestOrEven))
        let cut = picture.resized(
            width: wide, height: high, columns: left..<left + width, rows: top..<top + height, filter: .lanczos,
            order: order)
        return InputPicture(cut, width: width, height: height)
    }

    /// What `convert` makes of the pixels, of this shape.
    package func tensor(_ shape: [Int], _ convert: (Picture) -> HostTensor) -> HostTensor {
        picture.map(convert) ?? .zeros(shape)
    }

    /// The pixels as `[1, 3, H, W]` in −1...1.
    package var signedPixels: HostTensor { tensor([1, 3, height, width], \.signedPixels) }
}

extension Job {
    /// The start picture; one without pixels where nobody is to see any.
    ///
    /// Throws `.usage` where there is none.
    package func startPicture() throws(Fault) -> InputPicture {
        if meter != nil || image == nil && hasConditions { return .counted }
        guard let image else { throw Fault(.usage, "no start picture was given", at: "IMAGE") }
        return InputPicture(image)
    }

    /// The end picture, where the clip ends with one.
    package var endPicture: InputPicture? {
        if meter != nil || endImage == nil && hasConditions { return plan.hasEndImage ? .counted : nil }
        return endImage.map(InputPicture.init)
    }

    /// A picture without content, of the size of the clip.
    package var blackPicture: InputPicture {
        if meter != nil { return .counted }
        return InputPicture(
            Picture(
                width: plan.width, height: plan.height,
                pixels: [UInt8](repeating: 0, count: 3 * plan.width * plan.height)))
    }
}

/// The random draws of a clip in their order, recorded as the references record them.
package final class Draws: Sendable {
    private let source: any NoiseSource
    private let trace: Trace?
    private let session: any Session
    private let name: @Sendable (Int) -> String
    private let count = Mutex(0)

    /// `name` says what a draw is recorded as.
    package init(_ job: Job, name: @escaping @Sendable (Int) -> String) {
        source = job.noise
        trace = job.trace
        session = job.session
        self.name = name
    }

    /// The next draw of unit noise; `order[i]` is the axis that is drawn as axis i, where that is not the shape's order.
    package func callAsFunction(_ shape: [Int], order: [Int]? = nil) throws(Fault) -> Tensor {
        let noise = try source.next(shape, order: order ?? Array(shape.indices))
        let index = count.withLock { count in
            defer { count += 1 }
            return count
        }
        trace?.record(name(index), noise)
        return session.upload(noise)
    }

    /// What `make` makes of the draws that come next, recorded as `noise.NAME`.
    package func callAsFunction(
        made name: String, _ shape: [Int], _ make: (any NoiseSource) throws(Fault) -> HostTensor
    ) throws(Fault) -> Tensor {
        let noise = try source.made(name, shape) { () throws(Fault) in try make(source) }
        trace?.record("noise." + name, noise)
        return session.upload(noise)
    }

    /// A draw of unit noise that stands apart from the others, recorded as `noise.NAME`.
    package func callAsFunction(named name: String, _ shape: [Int]) throws(Fault) -> Tensor {
        let noise = try source.apart(name, shape)
        trace?.record("noise." + name, noise)
        return session.upload(noise)
    }
}
