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
    /// Counts what the parts of the run take, where nothing is computed.
    let meter: StageMeter?

    /// A job.
    public init(
        plan: Plan, image: Picture?, endImage: Picture?, noise: any NoiseSource, trace: Trace?,
        session: any Session, preview: PreviewRequest? = nil,
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
        meter = nil
    }

    /// A job of which only is counted what it takes.
    init(counting plan: Plan, noise: any NoiseSource, meter: StageMeter) {
        self.plan = plan
        (image, endImage, trace, preview) = (nil, nil, nil, nil)
        self.noise = noise
        session = meter.session
        progress = { _, _ in }
        frames = { _ in }
        self.meter = meter
    }
}

// MARK: Parts of the run

extension Job {
    /// Begins a part of the run, which works with these weights beside those that are still in memory.
    package func begin(
        _ name: Stage.Name, steps: Int, parts: Int = 1, weights: StageWeights? = nil
    ) -> StageRun {
        if let weights { meter?.hold(weights.key, bytes(of: weights)) }
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

    private func bytes(of weights: StageWeights) -> Int {
        isStreamed ? weights.streamedByteCount : weights.byteCount
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

    /// The same, and has those that are needed next brought in meanwhile.
    package func stream(_ weights: StageWeights, next: ResidencyUnit) {
        releaseStreamed(weights)
        if isStreamed { session.willNeed(next) }
    }
}

// MARK: Inputs

/// A picture on its way into a model; where work is only counted, one without pixels.
package struct InputPicture {
    package let width: Int
    package let height: Int
    /// The pixels; nil where work is only counted.
    package let picture: Picture?

    private init(_ picture: Picture?, width: Int, height: Int) {
        self.picture = picture
        self.width = width
        self.height = height
    }

    /// A picture of a job.
    package init(_ picture: Picture) { self.init(picture, width: picture.width, height: picture.height) }

    /// One that is only counted.
    static let counted = InputPicture(nil, width: 0, height: 0)

    package func resized(width: Int, height: Int, filter: Resampling) -> InputPicture {
        InputPicture(
            picture?.resized(width: width, height: height, filter: filter), width: width, height: height)
    }

    /// The picture scaled to cover frames of this size, and its middle cut out; ties of rounding go to even numbers.
    package func covering(width: Int, height: Int) -> InputPicture {
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
            width: wide, height: high, columns: left..<left + width, rows: top..<top + height, filter: .lanczos)
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
    /// The start picture.
    ///
    /// Throws `.usage` where there is none.
    package func startPicture() throws(Fault) -> InputPicture {
        if meter != nil { return .counted }
        guard let image else { throw Fault(.usage, "no start picture was given", at: "IMAGE") }
        return InputPicture(image)
    }

    /// The end picture, where the clip ends with one.
    package var endPicture: InputPicture? {
        if meter != nil { return plan.hasEndImage ? .counted : nil }
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

    /// The next draw of unit noise.
    package func callAsFunction(_ shape: [Int]) throws(Fault) -> Tensor {
        let noise = try source.next(shape)
        let index = count.withLock { count in
            defer { count += 1 }
            return count
        }
        trace?.record(name(index), noise)
        return session.upload(noise)
    }

    /// A draw of unit noise that stands apart from the others, recorded as `noise.NAME`.
    package func callAsFunction(named name: String, _ shape: [Int]) throws(Fault) -> Tensor {
        let noise = try source.apart(name, shape)
        trace?.record("noise." + name, noise)
        return session.upload(noise)
    }
}
