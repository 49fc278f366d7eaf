/// A way to filter with 3 x 3 weights by fewer multiplications: tiles of the input and the weights are transformed to the
/// same number of values, each of which is a matrix product over channels, and the sums are transformed back.
public struct FilterKernels: Sendable {
    /// Values of a transformed tile.
    public let values: Int
    /// Rows and columns of the input that a tile sees.
    public let inputSide: Int
    /// Rows and columns of the output that come of a tile.
    public let outputSide: Int
    /// Rows and columns of the input from one tile to the next.
    public let step: Int
    /// Values of a row that are read beyond `step` for each tile.
    public let reach: Int
    /// Transforms nine rows of `mr` weights, one after the other, to `values` rows, `stride` apart.
    public let transformWeights:
        @Sendable (_ weights: UnsafePointer<Float>, _ values: UnsafeMutablePointer<Float>, _ stride: Int) -> Void
    /// Transforms `count` neighbouring tiles to `values` rows, `stride` apart.
    ///
    /// The count is rounded up to `nr` or `nr / 2`: so many values are written to each row.
    public let transformInput:
        @Sendable (
            _ rows: UnsafePointer<Float>, _ rowStride: Int, _ count: Int, _ values: UnsafeMutablePointer<Float>,
            _ stride: Int
        ) -> Void
    /// Transforms `values` rows of sums of `nr` tiles, `stride` apart, to `outputSide` rows of `outputSide · nr` outputs,
    /// one after the other, plus a bias.
    public let transformOutput:
        @Sendable (
            _ sums: UnsafePointer<Float>, _ stride: Int, _ bias: Float, _ rows: UnsafeMutablePointer<Float>
        ) -> Void

    public init(
        values: Int, inputSide: Int, outputSide: Int, step: Int, reach: Int,
        transformWeights: @escaping @Sendable (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void,
        transformInput:
            @escaping @Sendable (UnsafePointer<Float>, Int, Int, UnsafeMutablePointer<Float>, Int) -> Void,
        transformOutput: @escaping @Sendable (UnsafePointer<Float>, Int, Float, UnsafeMutablePointer<Float>) -> Void
    ) {
        self.values = values
        self.inputSide = inputSide
        self.outputSide = outputSide
        self.step = step
        self.reach = reach
        self.transformWeights = transformWeights
        self.transformInput = transformInput
        self.transformOutput = transformOutput
    }
}
