/// The 8-bit kernels of one instruction-set level; every level gives the same sums, bit for bit.
///
/// A quad is four neighbouring values of a row, in one word. The left operand, unsigned with 128 standing for zero, is
/// packed in slivers `[quads][mr]`, the right one, signed, in panels `[quads][nr]`, both padded with zeros.
public struct IntegerKernels: Sendable {
    /// Rows of a tile.
    public let mr: Int
    /// Columns of a tile.
    public let nr: Int

    /// Quantises a row to −127...127 by its largest magnitude and writes it, with `offset` added, as quads that are
    /// `step` words apart.
    ///
    /// Gives the factor that leads back, NaN if a value is not finite, and the sum of the row without the offsets.
    public let quantizeRow:
        @Sendable (
            _ source: UnsafePointer<Float>, _ count: Int, _ offset: Int32, _ target: UnsafeMutablePointer<UInt32>,
            _ step: Int
        ) -> (scale: Float, sum: Int32)
    /// `sums[mr][lds] = start[nr] + Σ_k a[k][mr] · b[k][nr]`; a sum that is too large wraps around.
    ///
    /// Meanwhile the second cache is asked for what will be needed soon, from `ahead` on in `quads` steps of `step`
    /// bytes.
    public let tile:
        @Sendable (
            _ quads: Int, _ a: UnsafePointer<UInt32>, _ b: UnsafePointer<UInt32>, _ start: UnsafePointer<Int32>,
            _ sums: UnsafeMutablePointer<Int32>, _ lds: Int, _ ahead: UnsafeRawPointer, _ step: Int
        ) -> Void
    /// `y = sum · columnScale · rowScale` over one row.
    public let scaleRow:
        @Sendable (
            _ sums: UnsafePointer<Int32>, _ count: Int, _ columnScales: UnsafePointer<Float>, _ rowScale: Float,
            _ y: UnsafeMutablePointer<Float>
        ) -> Void

    /// Assembles the kernels of one level.
    public init(
        mr: Int, nr: Int,
        quantizeRow:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, Int32, UnsafeMutablePointer<UInt32>, Int
            ) -> (scale: Float, sum: Int32),
        tile:
            @escaping @Sendable (
                Int, UnsafePointer<UInt32>, UnsafePointer<UInt32>, UnsafePointer<Int32>, UnsafeMutablePointer<Int32>,
                Int, UnsafeRawPointer, Int
            ) -> Void,
        scaleRow:
            @escaping @Sendable (
                UnsafePointer<Int32>, Int, UnsafePointer<Float>, Float, UnsafeMutablePointer<Float>
            ) -> Void
    ) {
        self.mr = mr
        self.nr = nr
        self.quantizeRow = quantizeRow
        self.tile = tile
        self.scaleRow = scaleRow
    }
}
