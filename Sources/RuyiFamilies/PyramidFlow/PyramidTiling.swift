/// How the VAE's work is cut (specification sections 8.2 and 8.3): chunks of time, which change nothing but rounding, and
/// overlapping tiles of space, on which the numbers depend.
package struct PyramidTiling: Sendable, Equatable {
    /// The side of a tile in pixels, of which a quarter overlaps; nil for whole frames.
    package let side: Int?
    /// Latent frames that are decoded at a time; the first chunk has one more.
    package let window: Int

    /// Tiles of a side in pixels, a multiple of 32.
    package init(side: Int?, window: Int = 1) {
        precondition(side.map { $0 > 0 && $0 % 32 == 0 } ?? true && window > 0, "tiles of \(side ?? 0) in \(window)")
        (self.side, self.window) = (side, window)
    }

    /// The reference's with `save_memory`, and the one that it encodes pictures with.
    package static let small = PyramidTiling(side: 256)
    /// The reference's without `save_memory`.
    package static let large = PyramidTiling(side: 512, window: 2)

    /// The chunks of so many frames or latents: the first has one more than the window, the last what is left.
    static func chunks(_ count: Int, window: Int) -> [Range<Int>] {
        let first = min(count, window + 1)
        return [0..<first] + stride(from: first, to: count, by: window).map { $0..<min(count, $0 + window) }
    }
}
