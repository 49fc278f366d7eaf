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

    /// Frames of a window.
    func frameCount(_ index: Int) -> Int { HunyuanVAEConfiguration.time * (ranges[index].count - 1) + 1 }

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

/// Fades the frames of windows into one another as they are decoded, going forwards or back in time.
package struct FramePackFade {
    /// Frames that two windows share.
    private let overlap: Int
    private let edge: ClipEdge
    /// The frames of the window before that the next one fades into, `[1, 3, H, W]` each.
    private(set) var pending: [Tensor] = []
    /// Those of the window under way.
    private var kept: [Tensor] = []
    /// Frames of the window under way that fade with those before, and that are kept for the next one.
    private var (faded, left) = (0..<0, 0..<0)
    private var (place, count) = (0, 0)

    /// Windows that share so many frames, and come one after the other at an edge of the clip.
    package init(_ overlap: Int, at edge: ClipEdge = .end) { (self.overlap, self.edge) = (overlap, edge) }

    /// Begins a window of so many frames.
    package mutating func begin(_ count: Int, isLast: Bool) {
        (place, self.count, kept) = (0, count, [])
        switch edge {
        case .end:
            faded = 0..<(pending.isEmpty ? 0 : overlap)
            left = isLast ? count..<count : max(faded.upperBound, count - overlap)..<count
        case .start:
            faded = (pending.isEmpty ? count : count - overlap)..<count
            left = 0..<(isLast ? 0 : min(faded.lowerBound, overlap))
        }
    }

    /// Takes the window's next frames `[T, 3, H, W]` and hands on those that are settled.
    package mutating func add(_ frames: Tensor, _ emit: (Tensor) throws -> Void) throws {
        for index in 0..<frames.shape[0] {
            let frame = frames.sliced(0, index..<index + 1)
            if left.contains(place) {
                kept.append(frame.session.copy(frame))
            } else if faded.contains(place) {
                let number = place - faded.lowerBound
                let (first, second) = edge == .end ? (pending[number], frame) : (frame, pending[number])
                try emit(FramePackFade.blend(first, second, weight(number)))
            } else {
                try emit(frame)
            }
            place += 1
            // Nothing needs the window before any more.
            if place == faded.upperBound { pending = [] }
        }
        if place == count { (pending, kept) = (kept, []) }
    }

    /// The share of the earlier frame, which falls evenly from 1 to 0; all of a single one.
    private func weight(_ index: Int) -> Float { overlap == 1 ? 1 : 1 - Float(index) / Float(overlap - 1) }

    /// `w · a + (1 − w) · b`.
    private static func blend(_ a: Tensor, _ b: Tensor, _ weight: Float) -> Tensor {
        a.session.combine(a, weight, b, 1 - weight)
    }
}

extension FramePackVariant {
    /// The side of the clip at which it grows.
    var edge: ClipEdge { self == .inverted ? .start : .end }
}
