import RuyiModels
import RuyiTensor

/// The parts in which a clip's latents are decoded, in the order of time, each with a section that its neighbour has too
/// (specification section 11).
///
/// The reference decodes after each section and fades what is new into what is there. The frames that it fades were
/// themselves faded into nothing, so that the same comes of going through time once, with one window in memory.
struct FramePackWindows {
    /// Latent frames of each window.
    let ranges: [Range<Int>]
    /// Frames that two neighbours share.
    let overlap: Int

    init(_ settings: FramePackSettings) {
        let (window, count) = (settings.window, settings.sections)
        overlap = HunyuanVAEConfiguration.time * window - 3
        func section(_ index: Int) -> Range<Int> { 1 + index * window..<1 + (index + 1) * window }
        ranges = (0..<count).map { index in
            switch settings.variant {
            case .inverted:
                // The section and the one behind it, the start picture with the first.
                (index == 0 ? 0 : section(index).lowerBound)..<section(min(index + 1, count - 1)).upperBound
            case .forward:
                // The section and the one before it, or the start picture.
                (index == 0 ? 0 : section(index - 1).lowerBound)..<section(index).upperBound
            }
        }
    }
}

/// Fades the frames of windows into one another.
package struct FramePackFade {
    private let overlap: Int
    /// The end of the window before, which fades into the next one.
    private var before: Tensor?

    /// Windows that share so many frames.
    init(_ overlap: Int) { self.overlap = overlap }

    /// Takes a window's frames `[T, 3, H, W]` and hands on those that are settled.
    mutating func add(_ frames: Tensor, isLast: Bool, _ emit: (Tensor) throws -> Void) throws {
        let count = frames.shape[0]
        var settled = 0
        if let before {
            try emit(FramePackFade.blend(before, frames.sliced(0, 0..<overlap)))
            settled = overlap
        }
        let end = isLast ? count : max(settled, count - overlap)
        if end > settled { try emit(frames.sliced(0, settled..<end)) }
        before = isLast ? nil : frames.session.copy(frames.sliced(0, end..<count))
    }

    /// `w · a + (1 − w) · b` with w falling evenly from 1 to 0; of one frame `a`.
    package static func blend(_ a: Tensor, _ b: Tensor) -> Tensor {
        let (session, count) = (a.session, a.shape[0])
        let frames = (0..<count).map { index -> Tensor in
            let weight = count == 1 ? 1 : 1 - Float(index) / Float(count - 1)
            return session.combine(a.sliced(0, index..<index + 1), weight, b.sliced(0, index..<index + 1), 1 - weight)
        }
        return session.concatenate(frames, axis: 0)
    }
}
