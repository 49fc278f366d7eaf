// Winograd's F(2×2, 3×3): four outputs from sixteen products instead of thirty-six (Lavin and Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2015). The transforms work on tiles that lie side by side, a vector at a time.

/// `u = G g Gᵀ` for the nine weights of one pair of channels; the sixteen values are `stride` apart.
func transformWeights(_ g: UnsafePointer<Float>, _ u: UnsafeMutablePointer<Float>, _ stride: Int) {
    for column in 0..<3 {
        let (a, b, c) = (g[column], g[3 + column], g[6 + column])
        // The rows of G g, kept in the first three values of each row of u.
        u[column * stride] = a
        u[(4 + column) * stride] = 0.5 * (a + b + c)
        u[(8 + column) * stride] = 0.5 * (a - b + c)
        u[(12 + column) * stride] = c
    }
    for row in 0..<4 {
        let line = u + 4 * row * stride
        let (a, b, c) = (line[0], line[stride], line[2 * stride])
        line[stride] = 0.5 * (a + b + c)
        line[2 * stride] = 0.5 * (a - b + c)
        line[3 * stride] = c
    }
}

/// The transform of the input, `v = Bᵀ d B`, for `tileColumns` neighbouring tiles.
///
/// The tiles begin two values apart in the four rows of `d`, which are `rowStride` apart and have `2 · tileColumns + 2`
/// readable values; value i of tile t goes to `v[i · stride + t]`.
func transformInput(_ d: UnsafePointer<Float>, _ rowStride: Int, _ v: UnsafeMutablePointer<Float>, _ stride: Int) {
    for first in Swift.stride(from: 0, to: tileColumns, by: lanes) {
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
    let (a, b) = (d.vector(0), d.vector(lanes))
    let (c, e) = (d.vector(2), d.vector(lanes + 2))
    return (
        Vector(lowHalf: a.evenHalf, highHalf: b.evenHalf), Vector(lowHalf: a.oddHalf, highHalf: b.oddHalf),
        Vector(lowHalf: c.evenHalf, highHalf: e.evenHalf), Vector(lowHalf: c.oddHalf, highHalf: e.oddHalf)
    )
}

@inline(__always)
private func storeInput(_ t: (Vector, Vector, Vector, Vector), _ v: UnsafeMutablePointer<Float>, _ stride: Int) {
    v.store(t.0 - t.2, 0)
    v.store(t.1 + t.2, stride)
    v.store(t.2 - t.1, 2 * stride)
    v.store(t.1 - t.3, 3 * stride)
}

/// `y = Aᵀ m A` for `tileColumns` neighbouring tiles whose sixteen sums are `stride` apart: two rows of
/// `2 · tileColumns` values.
func transformOutput(
    _ m: UnsafePointer<Float>, _ stride: Int, _ top: UnsafeMutablePointer<Float>, _ bottom: UnsafeMutablePointer<Float>
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
        storeOutput(u0 + u1 + u2, u1 - u2 - u3, top + 2 * first)
        storeOutput(l0 + l1 + l2, l1 - l2 - l3, bottom + 2 * first)
    }
}

@inline(__always)
private func storeOutput(_ even: Vector, _ odd: Vector, _ target: UnsafeMutablePointer<Float>) {
    var low = Vector(repeating: 0)
    var high = Vector(repeating: 0)
    low.evenHalf = even.lowHalf
    low.oddHalf = odd.lowHalf
    high.evenHalf = even.highHalf
    high.oddHalf = odd.highHalf
    target.store(low, 0)
    target.store(high, lanes)
}
