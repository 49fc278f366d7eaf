/// The element types that matrix products read directly from a weight.
public enum Element: Sendable {
    case f32, f16, bf16, f8e4m3, f8e5m2, i8
}

/// The types of blocks of elements that matrix products unpack, as ggml has them.
public enum BlockFormat: Sendable {
    case q40, q41, q50, q51, q80, q2k, q3k, q4k, q5k, q6k
}

/// The pointwise functions that can follow a product or a normalisation.
public enum Function: Sendable, CaseIterable {
    /// The identity.
    case none
    /// `x · sigmoid(x)`.
    case silu
    /// `x · Φ(x)` with the tanh approximation of GELU.
    case geluTanh
    /// `x · Φ(x)` with the error function.
    case gelu
    /// `x · sigmoid(1.702 x)`.
    case quickGelu
}

/// Kernels of one instruction-set level.
///
/// Every function works on one thread and on memory that the caller has sized. One that `streams` writes its result
/// past the caches, if the address is a multiple of a vector; `endStreams` then has to follow on the same thread.
///
/// Matrix products are made of tiles of `mr × nr`. The left operand is packed in slivers `[k][mr]`, the right one in
/// slivers `[k][nr]`, both padded with zeros; a tile is the sum over k of outer products of their rows.
public struct KernelTable: Sendable {
    /// The level's name: `baseline`, `avx2`, `avx512` or `avx512vnni`.
    public let name: String
    /// Rows of a tile.
    public let mr: Int
    /// Columns of a tile.
    public let nr: Int

    /// `c[mr][ldc] = (accumulate ? c : 0) + Σ_k a[k][mr] · b[k][nr]`.
    ///
    /// Meanwhile the second cache is asked for what will be needed soon, from `ahead` on in `k` steps of `step` bytes.
    public let tile:
        @Sendable (
            _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
            _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafeRawPointer, _ step: Int
        ) -> Void
    /// Packs `rows ≤ mr` rows of `k` floats, `stride` apart, into a sliver `[k][mr]`.
    public let packLeft:
        @Sendable (
            _ source: UnsafePointer<Float>, _ stride: Int, _ rows: Int, _ k: Int, _ sliver: UnsafeMutablePointer<Float>
        ) -> Void
    /// Packs `rows ≤ nr` rows of `k` elements, `stride` elements apart, into a sliver `[k][nr]` of floats.
    public let packRight:
        @Sendable (
            _ element: Element, _ source: UnsafeRawPointer, _ stride: Int, _ rows: Int, _ k: Int,
            _ sliver: UnsafeMutablePointer<Float>
        ) -> Void
    /// Converts `count` contiguous elements to floats.
    public let convert:
        @Sendable (
            _ element: Element, _ source: UnsafeRawPointer, _ count: Int, _ target: UnsafeMutablePointer<Float>
        ) -> Void
    /// Packs `rows ≤ nr` rows of `k` elements in whole blocks, `stride` bytes apart, into a sliver `[k][nr]` of floats.
    public let packBlocks:
        @Sendable (
            _ format: BlockFormat, _ source: UnsafeRawPointer, _ stride: Int, _ rows: Int, _ k: Int,
            _ sliver: UnsafeMutablePointer<Float>
        ) -> Void
    /// Converts `count` elements in whole blocks, one after the other, to floats.
    public let unpackBlocks:
        @Sendable (
            _ format: BlockFormat, _ source: UnsafeRawPointer, _ count: Int, _ target: UnsafeMutablePointer<Float>
        ) -> Void
    /// Packs a run of `width ≤ nr` values, `step` apart, from each of `planes` planes, `stride` apart, into rows that
    /// are `nr` apart.
    ///
    /// What lies beside the run is left alone.
    public let packPlanes:
        @Sendable (
            _ source: UnsafePointer<Float>, _ stride: Int, _ planes: Int, _ width: Int, _ step: Int,
            _ target: UnsafeMutablePointer<Float>
        ) -> Void
    /// Finishes a row of a product in place: `x = residual + gate · activation(x + bias)`; absent parts are skipped.
    public let finishRow:
        @Sendable (
            _ x: UnsafeMutablePointer<Float>, _ count: Int, _ bias: UnsafePointer<Float>?, _ activation: Function,
            _ gate: UnsafePointer<Float>?, _ residual: UnsafePointer<Float>?
        ) -> Void
    /// `y = (x − mean) / sqrt(variance + epsilon) · gain + offset` over one row; absent gain is 1, absent offset 0.
    public let normalizeRow:
        @Sendable (
            _ x: UnsafePointer<Float>, _ count: Int, _ epsilon: Float, _ gain: UnsafePointer<Float>?,
            _ offset: UnsafePointer<Float>?, _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void
    /// `y = x / sqrt(mean(x²) + epsilon) · gain` over one row.
    public let rootMeanSquareRow:
        @Sendable (
            _ x: UnsafePointer<Float>, _ count: Int, _ epsilon: Float, _ gain: UnsafePointer<Float>,
            _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void
    /// Rotates pairs of the first and the second half: `y = x · cos + rotate(x) · sin` with `rotate(a, b) = (−b, a)`.
    public let rotateHalves:
        @Sendable (
            _ x: UnsafePointer<Float>, _ count: Int, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>,
            _ y: UnsafeMutablePointer<Float>
        ) -> Void
    /// Rotates neighbouring pairs: `y = x · cos + rotate(x) · sin` with `rotate(x0, x1) = (−x1, x0)`.
    public let rotateRow:
        @Sendable (
            _ x: UnsafePointer<Float>, _ count: Int, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>,
            _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void
    /// Lets other threads see what was written past the caches.
    public let endStreams: @Sendable () -> Void
    /// Mean and sum of squared deviations of `count` values.
    public let moments: @Sendable (_ x: UnsafePointer<Float>, _ count: Int) -> (mean: Float, deviation: Float)
    /// `y = activation(x · gain + offset)` with scalar gain and offset.
    public let affine:
        @Sendable (
            _ x: UnsafePointer<Float>, _ count: Int, _ gain: Float, _ offset: Float, _ activation: Function,
            _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void
    /// `y = left · a + right · b`; an absent right operand counts as `b`.
    public let combine:
        @Sendable (
            _ left: UnsafePointer<Float>, _ a: Float, _ right: UnsafePointer<Float>?, _ b: Float, _ count: Int,
            _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void
    /// `y = e^x`.
    public let exponentials:
        @Sendable (_ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) -> Void
    /// `y = left · activation(right)`.
    public let gated:
        @Sendable (
            _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, _ activation: Function, _ count: Int,
            _ y: UnsafeMutablePointer<Float>, _ streams: Bool
        ) -> Void
    /// One step of an online softmax to base 2 over a transposed tile of scores `[keys][nr]`.
    ///
    /// Raises the running maxima, turns scores into `2^(score − maximum)`, adds them to the running sums, and gives the
    /// factors by which earlier results must be multiplied. A score of −∞ gives exactly 0.
    public let softmaxTile:
        @Sendable (
            _ scores: UnsafeMutablePointer<Float>, _ keys: Int, _ maxima: UnsafeMutablePointer<Float>,
            _ sums: UnsafeMutablePointer<Float>, _ factors: UnsafeMutablePointer<Float>
        ) -> Void
    /// Sets the scores of unseen keys to −∞ in a transposed tile `[keys][nr]`.
    ///
    /// The tile starts at key `first`; the query of each column sees the keys below its `visible` number.
    public let maskTile:
        @Sendable (
            _ scores: UnsafeMutablePointer<Float>, _ first: Int, _ keys: Int, _ visible: UnsafePointer<Float>
        ) -> Void
    /// `x += factor · source` for rows of `nr` floats; the source's rows are `step` apart and may overlap.
    public let addRows:
        @Sendable (
            _ x: UnsafeMutablePointer<Float>, _ rows: Int, _ source: UnsafePointer<Float>, _ step: Int, _ factor: Float
        ) -> Void
    /// The first `rows ≤ mr` rows of a tile; what the others hold afterwards is undefined.
    ///
    /// Meanwhile the second cache is asked for the sliver of the left operand at `ahead`.
    public let partialTile:
        @Sendable (
            _ rows: Int, _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
            _ c: UnsafeMutablePointer<Float>, _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafePointer<Float>
        ) -> Void
    /// Winograd's F(2x2, 3x3).
    public let small: FilterKernels
    /// Winograd's F(4x4, 3x3).
    public let large: FilterKernels
    /// 3 x 3 over a picture that is doubled by nearest neighbours.
    public let doubling: FilterKernels
    /// Multiplies each of `rows` rows of `nr` floats by the same `nr` factors.
    public let scaleColumns:
        @Sendable (_ x: UnsafeMutablePointer<Float>, _ rows: Int, _ factors: UnsafePointer<Float>) -> Void

    /// Assembles the kernels of one level.
    public init(
        name: String, mr: Int, nr: Int,
        tile:
            @escaping @Sendable (
                Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int, Bool,
                UnsafeRawPointer, Int
            ) -> Void,
        packLeft: @escaping @Sendable (UnsafePointer<Float>, Int, Int, Int, UnsafeMutablePointer<Float>) -> Void,
        packRight:
            @escaping @Sendable (
                Element, UnsafeRawPointer, Int, Int, Int, UnsafeMutablePointer<Float>
            ) -> Void,
        convert: @escaping @Sendable (Element, UnsafeRawPointer, Int, UnsafeMutablePointer<Float>) -> Void,
        packBlocks:
            @escaping @Sendable (
                BlockFormat, UnsafeRawPointer, Int, Int, Int, UnsafeMutablePointer<Float>
            ) -> Void,
        unpackBlocks: @escaping @Sendable (BlockFormat, UnsafeRawPointer, Int, UnsafeMutablePointer<Float>) -> Void,
        packPlanes: @escaping @Sendable (UnsafePointer<Float>, Int, Int, Int, Int, UnsafeMutablePointer<Float>) -> Void,
        finishRow:
            @escaping @Sendable (
                UnsafeMutablePointer<Float>, Int, UnsafePointer<Float>?, Function, UnsafePointer<Float>?,
                UnsafePointer<Float>?
            ) -> Void,
        normalizeRow:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, Float, UnsafePointer<Float>?, UnsafePointer<Float>?,
                UnsafeMutablePointer<Float>, Bool
            ) -> Void,
        rootMeanSquareRow:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, Float, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Bool
            ) -> Void,
        rotateHalves:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>
            ) -> Void,
        rotateRow:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>,
                Bool
            ) -> Void,
        endStreams: @escaping @Sendable () -> Void,
        moments: @escaping @Sendable (UnsafePointer<Float>, Int) -> (mean: Float, deviation: Float),
        affine:
            @escaping @Sendable (
                UnsafePointer<Float>, Int, Float, Float, Function, UnsafeMutablePointer<Float>, Bool
            ) -> Void,
        combine:
            @escaping @Sendable (
                UnsafePointer<Float>, Float, UnsafePointer<Float>?, Float, Int, UnsafeMutablePointer<Float>, Bool
            ) -> Void,
        exponentials: @escaping @Sendable (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void,
        gated:
            @escaping @Sendable (
                UnsafePointer<Float>, UnsafePointer<Float>, Function, Int, UnsafeMutablePointer<Float>, Bool
            ) -> Void,
        softmaxTile:
            @escaping @Sendable (
                UnsafeMutablePointer<Float>, Int, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>,
                UnsafeMutablePointer<Float>
            ) -> Void,
        maskTile: @escaping @Sendable (UnsafeMutablePointer<Float>, Int, Int, UnsafePointer<Float>) -> Void,
        addRows:
            @escaping @Sendable (UnsafeMutablePointer<Float>, Int, UnsafePointer<Float>, Int, Float) -> Void,
        partialTile:
            @escaping @Sendable (
                Int, Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int, Bool,
                UnsafePointer<Float>
            ) -> Void,
        small: FilterKernels, large: FilterKernels, doubling: FilterKernels,
        scaleColumns: @escaping @Sendable (UnsafeMutablePointer<Float>, Int, UnsafePointer<Float>) -> Void
    ) {
        self.name = name
        self.mr = mr
        self.nr = nr
        self.tile = tile
        self.packLeft = packLeft
        self.packRight = packRight
        self.convert = convert
        self.packBlocks = packBlocks
        self.unpackBlocks = unpackBlocks
        self.packPlanes = packPlanes
        self.finishRow = finishRow
        self.normalizeRow = normalizeRow
        self.rootMeanSquareRow = rootMeanSquareRow
        self.rotateHalves = rotateHalves
        self.rotateRow = rotateRow
        self.endStreams = endStreams
        self.moments = moments
        self.affine = affine
        self.combine = combine
        self.exponentials = exponentials
        self.gated = gated
        self.softmaxTile = softmaxTile
        self.maskTile = maskTile
        self.addRows = addRows
        self.partialTile = partialTile
        self.small = small
        self.large = large
        self.doubling = doubling
        self.scaleColumns = scaleColumns
    }
}
