/// The 8-bit kernels of one instruction-set level; every level gives the same sums, bit for bit.
///
/// A quad is four neighbouring values of a row. The left operand, unsigned with 128 standing for zero, is packed in slivers
/// `[quads][mr]` of words, the right one, signed, in panels `[quads][nr]` of words, both padded with zeros. Where
/// `leftWords` is 2, it is pairs of neighbours that are packed so, in slivers `[2 · quads][mr]` of words, 16 bits a value,
/// and panels `[2 · quads][nr]` of half words.
public struct IntegerKernels: Sendable {
    /// Rows of a tile.
    public let mr: Int
    /// Columns of a tile.
    public let nr: Int
    /// Words of a quad of the left operand.
    public let leftWords: Int

    /// Writes a row of the right operand to a column of a panel, and gives the row's sum.
    public let packRow:
        @Sendable (
            _ source: UnsafePointer<Int8>, _ count: Int, _ panel: UnsafeMutablePointer<UInt32>, _ column: Int
        ) -> Int32
    /// Quantises a row of the right operand to −127...127 by its largest magnitude and writes it to a column of a panel.
    ///
    /// Gives the factor that leads back, NaN if a value is not finite, and the sum of the row.
    public let quantizeRow:
        @Sendable (
            _ source: UnsafePointer<Float>, _ count: Int, _ panel: UnsafeMutablePointer<UInt32>, _ column: Int
        ) -> (scale: Float, sum: Int32)
    /// Quantises a row of the left operand in the same way, adds `offset` to its values, writes it to a row of a sliver, and
    /// gives the factor.
    public let quantizeLeft:
        @Sendable (
            _ source: UnsafePointer<Float>, _ count: Int, _ offset: Int32, _ sliver: UnsafeMutablePointer<UInt32>,
            _ row: Int
        ) -> Float
    /// `sums[mr][lds] = start[nr] + Σ_k a[k][mr] · b[k][nr]` over so many quads; a sum that is too large wraps around.
    ///
    /// Meanwhile the second cache is asked for what will be needed soon, from `ahead` on in `leftWords` steps of
    /// `step` bytes a quad.
    public let tile:
        @Sendable (
            _ quads: Int, _ a: UnsafePointer<UInt32>, _ b: UnsafePointer<UInt32>, _ start: UnsafePointer<Int32>,
            _ sums: UnsafeMutablePointer<Int32>, _ lds: Int, _ ahead: UnsafeRawPointer, _ step: Int
        ) -> Void
    /// A row of a product: `y = residual + gate · activation(sum · columnScale · rowScale + bias)`; absent parts are
    /// skipped.
    public let finishRow:
        @Sendable (
            _ sums: UnsafePointer<Int32>, _ count: Int, _ columnScales: UnsafePointer<Float>, _ rowScale: Float,
            _ bias: UnsafePointer<Float>?, _ activation: Function, _ gate: UnsafePointer<Float>?,
            _ residual: UnsafePointer<Float>?, _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void

    /// Assembles the kernels of one level.
    public init(
        mr: Int, nr: Int, leftWords: Int,
        packRow:
            @escaping @Sendable (UnsafePointer<Int8>, Int, UnsafeMutablePointer<UInt32>, Int) -> Int32,
        quantizeRow:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, UnsafeMutablePointer<UInt32>, Int
            ) -> (scale: Float, sum: Int32),
        quantizeLeft:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, Int32, UnsafeMutablePointer<UInt32>, Int
            ) -> Float,
        tile:
            @escaping @Sendable (
                Int, UnsafePointer<UInt32>, UnsafePointer<UInt32>, UnsafePointer<Int32>, UnsafeMutablePointer<Int32>,
                Int, UnsafeRawPointer, Int
            ) -> Void,
        finishRow:
            @escaping @Sendable (
                UnsafePointer<Int32>, Int, UnsafePointer<Float>, Float, UnsafePointer<Float>?, Function,
                UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>, Bool
            ) -> Void
    ) {
        self.mr = mr
        self.nr = nr
        self.leftWords = leftWords
        self.packRow = packRow
        self.quantizeRow = quantizeRow
        self.quantizeLeft = quantizeLeft
        self.tile = tile
        self.finishRow = finishRow
    }
}
