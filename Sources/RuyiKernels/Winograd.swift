import CKernelIntrinsics

// Winograd's F(2×2, 3×3): four outputs from sixteen products instead of thirty-six (Lavin and Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2015). The transforms work on tiles that lie side by side, a vector at a time.

/// `u = G g Gᵀ` for one pair of channels and `tileRows` outputs side by side.
///
/// The nine weights are rows of `tileRows` values, one after the other; the sixteen rows of results are `stride` apart.
func transformWeights(_ g: UnsafePointer<Float>, _ u: UnsafeMutablePointer<Float>, _ stride: Int) {
    forEachWeightPart { transformWeightPart(g + $0, u + $0, stride) }
}

// A tile has fewer rows than two vectors have lanes: two parts that overlap cover its rows and nothing else.
#if LEVEL_AVX512
    typealias WeightPart = SIMD8<Float>
#else
    typealias WeightPart = SIMD4<Float>
#endif

/// Calls `body` with the first row of each part of the `tileRows` outputs that lie side by side.
@inline(__always)
func forEachWeightPart(_ body: (Int) -> Void) {
    body(0)
    body(tileRows - WeightPart.scalarCount)
}

extension UnsafePointer<Float> {
    /// The weights under a tap of 3 x 3, of a part of the outputs.
    @inline(__always) func tap(_ row: Int, _ column: Int) -> WeightPart {
        UnsafeRawPointer(self + (3 * row + column) * tileRows).loadUnaligned(as: WeightPart.self)
    }
}

extension UnsafeMutablePointer<Float> {
    @inline(__always) func store(part: WeightPart, _ index: Int) {
        UnsafeMutableRawPointer(self + index).storeBytes(of: part, as: WeightPart.self)
    }
}

@inline(__always)
private func transformWeightPart(_ g: UnsafePointer<Float>, _ u: UnsafeMutablePointer<Float>, _ stride: Int) {
    @inline(__always) func store(_ row: Int, _ a: WeightPart, _ b: WeightPart, _ c: WeightPart) {
        let line = u + 4 * row * stride
        line.store(part: a, 0)
        line.store(part: 0.5 * (a + c + b), stride)
        line.store(part: 0.5 * (a + c - b), 2 * stride)
        line.store(part: c, 3 * stride)
    }
    let (a0, a1, a2) = (g.tap(0, 0), g.tap(0, 1), g.tap(0, 2))
    let (b0, b1, b2) = (g.tap(1, 0), g.tap(1, 1), g.tap(1, 2))
    let (c0, c1, c2) = (g.tap(2, 0), g.tap(2, 1), g.tap(2, 2))
    store(0, a0, a1, a2)
    store(1, 0.5 * (a0 + c0 + b0), 0.5 * (a1 + c1 + b1), 0.5 * (a2 + c2 + b2))
    store(2, 0.5 * (a0 + c0 - b0), 0.5 * (a1 + c1 - b1), 0.5 * (a2 + c2 - b2))
    store(3, c0, c1, c2)
}

/// The transform of the input, `v = Bᵀ d B`, for `count` neighbouring tiles, rounded up to whole vectors.
///
/// The tiles begin two values apart in the four rows of `d`, which are `rowStride` apart and have two readable values
/// for each tile and two more; value i of tile t goes to `v[i · stride + t]`.
func transformInput(
    _ d: UnsafePointer<Float>, _ rowStride: Int, _ count: Int, _ v: UnsafeMutablePointer<Float>, _ stride: Int
) {
    for first in Swift.stride(from: 0, to: count, by: lanes) {
        let (r0, r1) = (inputRow(d + 2 * first), inputRow(d + 2 * first + rowStride))
        let (r2, r3) = (inputRow(d + 2 * first + 2 * rowStride), inputRow(d + 2 * first + 3 * rowStride))
        let target = v + first
        storeInput(
            (r0.0 - r2.0, r0.1 - r2.1, r0.2 - r2.2, r0.3 - r2.3), target, stride)
        storeInput(
            (r1.0 + r2.0, r1.1 + r2.1, r1.2 + r2.2, r1.3 + r2.3), target + 4 * stride, stride)
        storeInput(
            (r2.0 - r1.0, r2.1 - r1.1, r2.2 - r1.2, r2.3 - r1.3), target + 8 * stride, stride)
        storeInput(
            (r1.0 - r3.0, r1.1 - r3.1, r1.2 - r3.2, r1.3 - r3.3), target + 12 * stride, stride)
    }
}

/// The four columns of a row of neighbouring tiles.
@inline(__always)
private func inputRow(_ d: UnsafePointer<Float>) -> (Vector, Vector, Vector, Vector) {
    let near = apart(d.vector(0), d.vector(lanes))
    let far = apart(d.vector(2), d.vector(lanes + 2))
    return (near.even, near.odd, far.even, far.odd)
}

@inline(__always)
private func storeInput(_ t: (Vector, Vector, Vector, Vector), _ v: UnsafeMutablePointer<Float>, _ stride: Int) {
    v.store(t.0 - t.2, 0)
    v.store(t.1 + t.2, stride)
    v.store(t.2 - t.1, 2 * stride)
    v.store(t.1 - t.3, 3 * stride)
}

/// `y = Aᵀ m A + bias` for `tileColumns` neighbouring tiles whose sixteen sums are `stride` apart: two rows of
/// `2 · tileColumns` values, one after the other.
func transformOutput(
    _ m: UnsafePointer<Float>, _ stride: Int, _ bias: Float, _ rows: UnsafeMutablePointer<Float>
) {
    for first in Swift.stride(from: 0, to: tileColumns, by: lanes) {
        let source = m + first
        @inline(__always) func value(_ row: Int, _ column: Int) -> Vector {
            source.vector((4 * row + column) * stride)
        }
        @inline(__always) func upper(_ column: Int) -> Vector { value(0, column) + value(1, column) + value(2, column) }
        @inline(__always) func lower(_ column: Int) -> Vector { value(1, column) - value(2, column) - value(3, column) }
        let (u0, u1, u2, u3) = (upper(0), upper(1), upper(2), upper(3))
        let (l0, l1, l2, l3) = (lower(0), lower(1), lower(2), lower(3))
        storeNeighbours(u0 + u1 + u2 + bias, u1 - u2 - u3 + bias, rows + 2 * first)
        storeNeighbours(l0 + l1 + l2 + bias, l1 - l2 - l3 + bias, rows + 2 * (tileColumns + first))
    }
}

/// Stores the values of two vectors in turns.
@inline(__always)
func storeNeighbours(_ even: Vector, _ odd: Vector, _ target: UnsafeMutablePointer<Float>) {
    let pair = inTurns(even, odd)
    target.store(pair.0, 0)
    target.store(pair.1, lanes)
}

/// The values of two vectors in turns, the first half and the second.
@inline(__always)
func inTurns(_ even: Vector, _ odd: Vector) -> (Vector, Vector) {
    (kernel_low_turns(even, odd), kernel_high_turns(even, odd))
}

/// The even and the odd places of two vectors that follow one another.
@inline(__always)
func apart(_ a: Vector, _ b: Vector) -> (even: Vector, odd: Vector) { (kernel_even(a, b), kernel_odd(a, b)) }
