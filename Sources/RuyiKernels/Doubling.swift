// A 3×3 convolution over a picture whose rows and columns are doubled by nearest neighbours, from the small picture: four
// outputs from nine products instead of thirty-six. Along one axis, with e₋ = x[i − 1] − x[i] and e₊ = x[i + 1] − x[i],
//
//     y[2i] = (w₀ + w₁ + w₂) x[i] + w₀ e₋,   y[2i + 1] = (w₀ + w₁ + w₂) x[i] + w₂ e₊.

/// The nine weights of the products for one pair of channels and `tileRows` outputs side by side.
///
/// The weights are rows of `tileRows` values, one after the other; the nine rows of results are `stride` apart.
func doublingWeights(_ g: UnsafePointer<Float>, _ u: UnsafeMutablePointer<Float>, _ stride: Int) {
    forEachWeightPart { part in
        let (g, u) = (g + part, u + part)
        @inline(__always) func store(_ row: Int, _ a: WeightPart, _ b: WeightPart, _ c: WeightPart) {
            u.store(part: a + b + c, 3 * row * stride)
            u.store(part: a, (3 * row + 1) * stride)
            u.store(part: c, (3 * row + 2) * stride)
        }
        let (a0, a1, a2) = (g.tap(0, 0), g.tap(0, 1), g.tap(0, 2))
        let (c0, c1, c2) = (g.tap(2, 0), g.tap(2, 1), g.tap(2, 2))
        store(0, a0 + g.tap(1, 0) + c0, a1 + g.tap(1, 1) + c1, a2 + g.tap(1, 2) + c2)
        store(1, a0, a1, a2)
        store(2, c0, c1, c2)
    }
}

/// Each of `count` neighbouring values, rounded up to whole vectors, and its differences to those around it.
///
/// The value lies in the middle of the three rows and columns that begin at `d`; rows are `rowStride` apart and have a
/// readable value for each place and two more. Value i of place t goes to `v[i · stride + t]`.
func doublingInput(
    _ d: UnsafePointer<Float>, _ rowStride: Int, _ count: Int, _ v: UnsafeMutablePointer<Float>, _ stride: Int
) {
    for first in Swift.stride(from: 0, to: count, by: lanes) {
        let (above, here, below) = (d + first, d + first + rowStride, d + first + 2 * rowStride)
        @inline(__always) func store(_ row: Int, _ value: (Int) -> Vector) {
            let (target, middle) = (v + first + 3 * row * stride, value(1))
            target.store(middle, 0)
            target.store(value(0) - middle, stride)
            target.store(value(2) - middle, 2 * stride)
        }
        store(0) { here.vector($0) }
        store(1) { above.vector($0) - here.vector($0) }
        store(2) { below.vector($0) - here.vector($0) }
    }
}

/// The four outputs of each of `tileColumns` neighbouring places whose nine sums are `stride` apart: two rows of
/// `2 · tileColumns` values, one after the other.
func doublingOutput(
    _ m: UnsafePointer<Float>, _ stride: Int, _ bias: Float, _ rows: UnsafeMutablePointer<Float>
) {
    for first in Swift.stride(from: 0, to: tileColumns, by: lanes) {
        let source = m + first
        for row in 0..<2 {
            @inline(__always) func column(_ index: Int) -> Vector {
                source.vector(index * stride) + source.vector((3 * (row + 1) + index) * stride)
            }
            let middle = column(0) + bias
            storeNeighbours(middle + column(1), middle + column(2), rows + 2 * (row * tileColumns + first))
        }
    }
}
