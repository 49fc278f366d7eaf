/// Kernels of products of bf16 numbers with sums in float32.
///
/// Two numbers that are neighbours along the depth make a word, in the place of a float: slivers, panels and tiles are those
/// of the level's other kernels, with half as many words as there are numbers. Numbers are rounded to the nearest, ties to
/// even; subnormal ones count as zero. A sum takes both products of a word with one rounding after each.
public struct PairKernels: Sendable {
    /// `c[mr][ldc] = (accumulate ? c : 0) + Σ_k a[k][mr] · b[k][nr]` over k words.
    ///
    /// Meanwhile the second cache is asked for what will be needed soon, from `ahead` on in `k` steps of `step` bytes.
    public let tile:
        @Sendable (
            _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
            _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafeRawPointer, _ step: Int
        ) -> Void
    /// The first `rows ≤ mr` rows of a tile; what the others hold afterwards is undefined.
    ///
    /// Meanwhile the second cache is asked for the sliver of the left operand at `ahead`.
    public let partialTile:
        @Sendable (
            _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
            _ c: UnsafeMutablePointer<Float>, _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafePointer<Float>
        ) -> Void
    /// Rounds a row of `count` floats; an odd one is followed by a zero.
    public let roundRow:
        @Sendable (_ source: UnsafePointer<Float>, _ count: Int, _ words: UnsafeMutablePointer<Float>) -> Void
    /// Rounds `rows` rows of `mr` or `nr` floats, and makes words of each two that follow one another.
    ///
    /// An odd row has zeros beside it. The words may take the place of the floats.
    public let pairRows:
        @Sendable (
            _ source: UnsafePointer<Float>, _ rows: Int, _ width: Int, _ words: UnsafeMutablePointer<Float>
        ) -> Void

    /// Assembles the kernels.
    public init(
        tile:
            @escaping @Sendable (
                Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int, Bool,
                UnsafeRawPointer, Int
            ) -> Void,
        partialTile:
            @escaping @Sendable (
                Int, Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int, Bool,
                UnsafePointer<Float>
            ) -> Void,
        roundRow: @escaping @Sendable (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void,
        pairRows: @escaping @Sendable (UnsafePointer<Float>, Int, Int, UnsafeMutablePointer<Float>) -> Void
    ) {
        self.tile = tile
        self.partialTile = partialTile
        self.roundRow = roundRow
        self.pairRows = pairRows
    }
}
