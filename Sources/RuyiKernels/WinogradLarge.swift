// Winograd's F(4×4, 3×3): sixteen outputs from thirty-six products instead of 144. The points are 0, ±5/8, ±3/2 and
// infinity. The usual ones (0, ±1, ±2) round twice as much; for these see Barabasz et al., "Error Analysis and Improving
// the Accuracy of Winograd Convolution for Deep Neural Networks", 2020. All constants of the input's and the output's
// transforms are exact.

import CKernelIntrinsics

private let near: Float = 0.625
private let far: Float = 1.5
/// The squares of the two, their product and their sum.
private let near2: Float = 0.390625
private let far2: Float = 2.25
private let product2: Float = 0.87890625
private let sum2: Float = 2.640625

/// Six values or vectors.
private typealias Six<Value> = (Value, Value, Value, Value, Value, Value)
private typealias Four<Value> = (Value, Value, Value, Value)

/// `u = G g Gᵀ` for one pair of channels and `tileRows` outputs side by side.
///
/// The nine weights are rows of `tileRows` values, one after the other; the 36 rows of results are `stride` apart.
func transformWeightsLarge(_ g: UnsafePointer<Float>, _ u: UnsafeMutablePointer<Float>, _ stride: Int) {
    forEachWeightPart { part in
        let (g, u) = (g + part, u + part)
        let columns = (
            spread(g.tap(0, 0), g.tap(1, 0), g.tap(2, 0)), spread(g.tap(0, 1), g.tap(1, 1), g.tap(2, 1)),
            spread(g.tap(0, 2), g.tap(1, 2), g.tap(2, 2))
        )
        @inline(__always) func store(_ row: Int, _ a: WeightPart, _ b: WeightPart, _ c: WeightPart) {
            let values = spread(a, b, c)
            let line = u + 6 * row * stride
            line.store(part: values.0, 0)
            line.store(part: values.1, stride)
            line.store(part: values.2, 2 * stride)
            line.store(part: values.3, 3 * stride)
            line.store(part: values.4, 4 * stride)
            line.store(part: values.5, 5 * stride)
        }
        store(0, columns.0.0, columns.1.0, columns.2.0)
        store(1, columns.0.1, columns.1.1, columns.2.1)
        store(2, columns.0.2, columns.1.2, columns.2.2)
        store(3, columns.0.3, columns.1.3, columns.2.3)
        store(4, columns.0.4, columns.1.4, columns.2.4)
        store(5, columns.0.5, columns.1.5, columns.2.5)
    }
}

/// Three taps at the six points, over the products of the points' distances.
@inline(__always)
private func spread(_ a: WeightPart, _ b: WeightPart, _ c: WeightPart) -> Six<WeightPart> {
    let nearScale = 1 / (2 * near2 * (near2 - far2))
    let farScale = 1 / (2 * far2 * (far2 - near2))
    let (nearEven, nearOdd) = (nearScale * (a + near2 * c), nearScale * near * b)
    let (farEven, farOdd) = (farScale * (a + far2 * c), farScale * far * b)
    return (1 / product2 * a, nearEven + nearOdd, nearEven - nearOdd, farEven + farOdd, farEven - farOdd, c)
}

/// The transform of the input, `v = Bᵀ d B`, for `count` neighbouring tiles, rounded up to whole vectors.
///
/// The tiles begin four values apart in the six rows of `d`, which are `rowStride` apart and have four readable values
/// for each tile and four more; value i of tile t goes to `v[i · stride + t]`.
func transformInputLarge(
    _ d: UnsafePointer<Float>, _ rowStride: Int, _ count: Int, _ v: UnsafeMutablePointer<Float>, _ stride: Int
) {
    for first in Swift.stride(from: 0, to: count, by: lanes) {
        let source = d + 4 * first
        // Along every row, then along the columns of what came of it.
        let r0 = combined(inputRow(source)), r1 = combined(inputRow(source + rowStride))
        let r2 = combined(inputRow(source + 2 * rowStride)), r3 = combined(inputRow(source + 3 * rowStride))
        let r4 = combined(inputRow(source + 4 * rowStride)), r5 = combined(inputRow(source + 5 * rowStride))
        @inline(__always) func store(_ column: Int, _ rows: Six<Vector>) {
            let values = combined(rows)
            let target = v + first + column * stride
            target.store(values.0, 0)
            target.store(values.1, 6 * stride)
            target.store(values.2, 12 * stride)
            target.store(values.3, 18 * stride)
            target.store(values.4, 24 * stride)
            target.store(values.5, 30 * stride)
        }
        store(0, (r0.0, r1.0, r2.0, r3.0, r4.0, r5.0))
        store(1, (r0.1, r1.1, r2.1, r3.1, r4.1, r5.1))
        store(2, (r0.2, r1.2, r2.2, r3.2, r4.2, r5.2))
        store(3, (r0.3, r1.3, r2.3, r3.3, r4.3, r5.3))
        store(4, (r0.4, r1.4, r2.4, r3.4, r4.4, r5.4))
        store(5, (r0.5, r1.5, r2.5, r3.5, r4.5, r5.5))
    }
}

/// The six columns of a row of neighbouring tiles.
@inline(__always)
private func inputRow(_ d: UnsafePointer<Float>) -> Six<Vector> {
    let (low, high) = (apart(d.vector(0), d.vector(lanes)), apart(d.vector(2 * lanes), d.vector(3 * lanes)))
    let (even, odd) = (apart(low.even, high.even), apart(low.odd, high.odd))
    let beside = d + 4
    let nextLow = apart(beside.vector(0), beside.vector(lanes))
    let nextHigh = apart(beside.vector(2 * lanes), beside.vector(3 * lanes))
    return (
        even.even, odd.even, even.odd, odd.odd, apart(nextLow.even, nextHigh.even).even,
        apart(nextLow.odd, nextHigh.odd).even
    )
}

/// `Bᵀ d` along one axis.
@inline(__always)
private func combined(_ d: Six<Vector>) -> Six<Vector> {
    let (nearEven, nearOdd) = (kernel_add_scaled(d.4, d.2, -far2), kernel_add_scaled(d.3, d.1, -far2))
    let (farEven, farOdd) = (kernel_add_scaled(d.4, d.2, -near2), kernel_add_scaled(d.3, d.1, -near2))
    return (
        kernel_add_scaled(kernel_add_scaled(d.4, d.2, -sum2), d.0, product2),
        kernel_add_scaled(nearEven, nearOdd, near), kernel_add_scaled(nearEven, nearOdd, -near),
        kernel_add_scaled(farEven, farOdd, far), kernel_add_scaled(farEven, farOdd, -far),
        kernel_add_scaled(kernel_add_scaled(d.5, d.3, -sum2), d.1, product2)
    )
}

/// `y = Aᵀ m A + bias` for `tileColumns` neighbouring tiles whose 36 sums are `stride` apart: four rows of
/// `4 · tileColumns` values, one after the other.
func transformOutputLarge(
    _ m: UnsafePointer<Float>, _ stride: Int, _ bias: Float, _ rows: UnsafeMutablePointer<Float>
) {
    for first in Swift.stride(from: 0, to: tileColumns, by: lanes) {
        let source = m + first
        @inline(__always) func column(_ index: Int) -> Four<Vector> {
            @inline(__always) func value(_ row: Int) -> Vector { source.vector((6 * row + index) * stride) }
            return gathered((value(0), value(1), value(2), value(3), value(4), value(5)))
        }
        let c0 = column(0), c1 = column(1), c2 = column(2), c3 = column(3), c4 = column(4), c5 = column(5)
        @inline(__always) func store(_ row: Int, _ sums: Six<Vector>) {
            let y = gathered(sums)
            let target = rows + 4 * (row * tileColumns + first)
            let (even, odd) = (inTurns(y.0 + bias, y.2 + bias), inTurns(y.1 + bias, y.3 + bias))
            storeNeighbours(even.0, odd.0, target)
            storeNeighbours(even.1, odd.1, target + 2 * lanes)
        }
        store(0, (c0.0, c1.0, c2.0, c3.0, c4.0, c5.0))
        store(1, (c0.1, c1.1, c2.1, c3.1, c4.1, c5.1))
        store(2, (c0.2, c1.2, c2.2, c3.2, c4.2, c5.2))
        store(3, (c0.3, c1.3, c2.3, c3.3, c4.3, c5.3))
    }
}

/// `Aᵀ m` along one axis.
@inline(__always)
private func gathered(_ m: Six<Vector>) -> Four<Vector> {
    let (nearSum, farSum) = (m.1 + m.2, m.3 + m.4)
    let (nearOdd, farOdd) = (near * (m.1 - m.2), far * (m.3 - m.4))
    return (
        m.0 + nearSum + farSum, nearOdd + farOdd, kernel_add_scaled(near2 * nearSum, farSum, far2),
        kernel_add_scaled(kernel_add_scaled(m.5, nearOdd, near2), farOdd, far2)
    )
}
