import RuyiKernelTable

#if !LEVEL_BF16
    /// This level's kernels of products of few rows.
    public let dotKernels = DotKernels(multiply: multiplyFewRows)
#endif

private func multiplyFewRows(
    _ element: Element, _ w: UnsafeRawPointer, _ wStride: Int, _ outputs: Int, _ x: UnsafePointer<Float>,
    _ xStride: Int, _ rows: Int, _ depth: Int, _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ accumulate: Bool
) {
    @inline(__always)
    func multiply<Number: StoredNumber>(_ type: Number.Type) {
        if rows == 1 {
            dots(type, OneRow.self, w, wStride, outputs, x, xStride, rows, depth, y, yStride, accumulate)
        } else {
            dots(type, TwoRows.self, w, wStride, outputs, x, xStride, rows, depth, y, yStride, accumulate)
        }
    }
    switch element {
    case .f32: multiply(StoredF32.self)
    case .bf16: multiply(StoredBF16.self)
    case .f16: multiply(StoredF16.self)
    case .f8e4m3: multiply(StoredE4M3.self)
    case .f8e5m2: multiply(StoredE5M2.self)
    case .i8: multiply(StoredI8.self)
    }
}

/// The sums of one output for some rows of x, a vector for each.
private protocol RowSums {
    init()
    /// Adds the products of a vector of the weight with one of each row.
    mutating func add(_ w: Vector, _ x: UnsafePointer<Float>, _ stride: Int)
    func store(_ y: UnsafeMutablePointer<Float>, _ stride: Int, _ accumulate: Bool)
}

private struct OneRow: RowSums {
    private var first = Vector.zero

    @inline(__always) init() {}

    @inline(__always)
    mutating func add(_ w: Vector, _ x: UnsafePointer<Float>, _ stride: Int) {
        first = first.adding(x.vector(0), times: w)
    }

    @inline(__always)
    func store(_ y: UnsafeMutablePointer<Float>, _ stride: Int, _ accumulate: Bool) {
        y[0] = accumulate ? y[0] + total(first) : total(first)
    }
}

private struct TwoRows: RowSums {
    private var first = OneRow()
    private var second = OneRow()

    @inline(__always) init() {}

    @inline(__always)
    mutating func add(_ w: Vector, _ x: UnsafePointer<Float>, _ stride: Int) {
        first.add(w, x, stride)
        second.add(w, x + stride, stride)
    }

    @inline(__always)
    func store(_ y: UnsafeMutablePointer<Float>, _ stride: Int, _ accumulate: Bool) {
        first.store(y, stride, accumulate)
        second.store(y + stride, stride, accumulate)
    }
}

/// Four outputs side by side, so that each vector of x serves four of the weight; what is missing is a row twice.
@inline(__always)
private func dots<Number: StoredNumber, Sums: RowSums>(
    _ type: Number.Type, _ sums: Sums.Type, _ w: UnsafeRawPointer, _ wStride: Int, _ outputs: Int,
    _ x: UnsafePointer<Float>, _ xStride: Int, _ rows: Int, _ depth: Int, _ y: UnsafeMutablePointer<Float>,
    _ yStride: Int, _ accumulate: Bool
) {
    let w0 = w
    let w1 = outputs > 1 ? w0 + wStride : w0
    let w2 = outputs > 2 ? w1 + wStride : w1
    let w3 = outputs > 3 ? w2 + wStride : w2
    var (a, b, c, d) = (Sums(), Sums(), Sums(), Sums())
    let whole = depth / lanes * lanes
    var index = 0
    while index < whole {
        let place = index * Number.byteCount
        let left = x + index
        a.add(Number.vector(w0 + place), left, xStride)
        b.add(Number.vector(w1 + place), left, xStride)
        c.add(Number.vector(w2 + place), left, xStride)
        d.add(Number.vector(w3 + place), left, xStride)
        index += lanes
    }
    a.store(y, yStride, accumulate)
    if outputs > 1 { b.store(y + 1, yStride, accumulate) }
    if outputs > 2 { c.store(y + 2, yStride, accumulate) }
    if outputs > 3 { d.store(y + 3, yStride, accumulate) }
    if whole < depth {
        addRest(
            type, w + whole * Number.byteCount, wStride, outputs, x + whole, xStride, rows, depth - whole, y, yStride)
    }
}

/// Adds the products of the last numbers of rows, which do not fill a vector.
@inline(never)
private func addRest<Number: StoredNumber>(
    _ type: Number.Type, _ w: UnsafeRawPointer, _ wStride: Int, _ outputs: Int, _ x: UnsafePointer<Float>,
    _ xStride: Int, _ rows: Int, _ depth: Int, _ y: UnsafeMutablePointer<Float>, _ yStride: Int
) {
    for output in 0..<outputs {
        for row in 0..<rows {
            var sum: Float = 0
            for index in 0..<depth {
                sum += Number.float(w + output * wStride + index * Number.byteCount) * x[row * xStride + index]
            }
            y[row * yStride + output] += sum
        }
    }
}
