import RuyiFault
import RuyiPicture
import RuyiTensor

/// Takes the frames that a VAE decodes, in order, and hands them on as pictures.
package final class FrameDelivery {
    private let job: Job
    private let stage: StageRun?
    private let rounding: FloatingPointRoundingRule
    private let finite: FiniteCheck
    private let weights: StageWeights
    private var dropped: Int
    private var done = 0
    private var video: RecordedVideo

    /// Delivers frames that the VAE with these `weights` decodes.
    ///
    /// The first `dropped` ones are no part of the clip. Without a stage nobody is told how many are done.
    package init(
        _ job: Job, _ stage: StageRun?, rounding: FloatingPointRoundingRule, dropping dropped: Int = 0,
        of weights: StageWeights, _ finite: FiniteCheck
    ) {
        self.job = job
        self.stage = stage
        self.rounding = rounding
        self.dropped = dropped
        self.finite = finite
        self.weights = weights
        video = RecordedVideo(job)
    }

    /// Takes frames `[T, 3, H, W]` in −1...1.
    package func callAsFunction(_ frames: Tensor) throws {
        try job.session.check()
        let skipped = min(dropped, frames.shape[0])
        dropped -= skipped
        guard skipped < frames.shape[0] else { return }
        let kept = frames.sliced(0, skipped..<frames.shape[0])
        let unit = try unit(kept)
        video.keep(unit)
        for index in 0..<unit.shape[0] {
            try job.session.check()
            if job.meter == nil { try job.frames(picture(unit, index)) }
            done += 1
            stage?.report(done)
        }
    }

    /// Adds frames `[T, 3, H, W]` in −1...1 to a clip that grows.
    package func add(_ frames: Tensor, to clip: any GrowingClip) throws {
        let unit = try unit(frames)
        for index in 0..<unit.shape[0] {
            try job.session.check()
            try clip.add(picture(unit, index))
        }
    }

    /// Frames in 0...1, which are finite.
    private func unit(_ frames: Tensor) throws -> Tensor {
        try finite(frames, of: weights, job, "in the decoded frames")
        return frames.session.scale(frames, by: 0.5, plus: 0.5, clampedTo: 0...1)
    }

    private func picture(_ unit: Tensor, _ index: Int) -> Picture {
        Picture(unit: job.session.read(unit.selected(0, index)), rounding: rounding)
    }

    /// Records all frames, `[T, H, W, 3]` in 0...1.
    package func finish() { video.record("video") { $0.session.copy($0.permuted([0, 2, 3, 1])) } }
}

/// The frames of a video one after the other, kept where stages are recorded.
package struct RecordedVideo {
    private let trace: Trace?
    private var kept: [Tensor] = []

    package init(_ job: Job) { trace = job.trace }

    /// Keeps frames `[T, C, H, W]`.
    package mutating func keep(_ frames: Tensor) {
        if trace != nil { kept.append(frames) }
    }

    /// Records all of them, in the layout that `arranged` gives them.
    package func record(_ name: String, _ arranged: (Tensor) -> Tensor = \.channelsFirst) {
        guard let trace, let first = kept.first else { return }
        trace.record(name, arranged(first.session.concatenate(kept, axis: 0)))
    }
}

extension Tensor {
    /// Frames `[T, C, H, W]` as `[1, C, T, H, W]`.
    package var channelsFirst: Tensor { session.copy(permuted([1, 0, 2, 3])).expanded(at: 0) }

    /// `[1, C, T, H, W]` as frames `[T, C, H, W]`.
    package var framesFirst: Tensor { session.copy(selected(0, 0).permuted([1, 0, 2, 3])) }
}
