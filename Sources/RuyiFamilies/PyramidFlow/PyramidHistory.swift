import RuyiSampling
import RuyiTensor

/// The finished frames of a clip, each in three resolutions, from which later ones are made (specification section 6).
struct PyramidHistory {
    /// The latents `[1, C, h, w]` of each frame: a quarter, a half, the whole.
    private var frames: [[Tensor]] = []

    /// The number of frames.
    var count: Int { frames.count }

    /// Adds the latents of the next frame, `[1, C, h, w]`.
    mutating func add(_ latents: Tensor) {
        let half = latents.halved
        frames.append([half.halved, half, latents])
    }

    /// What a frame is made behind at a stage, `[T, C, h, w]` from the oldest on: the newest frame in the stage's resolution,
    /// each older one a level coarser, and all for which there is none in the coarsest.
    func clips(_ stage: Int) -> [Tensor] {
        let fine = frames.suffix(max(stage, 1))
        let coarse = frames.dropLast(fine.count).map { $0[0] }
        let oldest = coarse.first.map { [$0.session.concatenate(coarse, axis: 0)] } ?? []
        return oldest + fine.enumerated().map { $1[stage - (fine.count - 1 - $0)] }
    }

    /// All frames, `[T, C, h, w]`.
    var latents: Tensor {
        let whole = frames.map { $0[2] }
        return whole[0].session.concatenate(whole, axis: 0)
    }
}
