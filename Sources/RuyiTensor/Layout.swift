/// Where the elements of a view lie: shape, strides in elements, and the index of the first element.
public struct Layout: Sendable, Hashable {
    /// The lengths of the axes, outermost first.
    public let shape: [Int]
    /// The distance between neighbours along each axis, in elements.
    public let strides: [Int]
    /// The index of the first element in the storage.
    public let offset: Int

    /// Any places; the caller has checked that every element lies inside the storage.
    public init(shape: [Int], strides: [Int], offset: Int) {
        precondition(shape.count == strides.count, "shape \(shape) and strides \(strides) differ in rank")
        self.shape = shape
        self.strides = strides
        self.offset = offset
    }

    /// Row-major order from an element on.
    public init(_ shape: [Int], offset: Int = 0) {
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in stride(from: shape.count - 2, through: 0, by: -1) {
            strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
        }
        self.init(shape: shape, strides: strides, offset: offset)
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }

    /// Whether the elements follow one another in row-major order.
    public var isContiguous: Bool {
        var expected = 1
        for axis in shape.indices.reversed() where shape[axis] != 1 {
            if strides[axis] != expected { return false }
            expected *= max(shape[axis], 1)
        }
        return true
    }

    /// The place of the first element of a row, rows being counted over all axes but the last.
    package func offset(ofRow row: Int) -> Int {
        var rest = row
        var position = offset
        for axis in stride(from: shape.count - 2, through: 0, by: -1) {
            position += rest % shape[axis] * strides[axis]
            rest /= shape[axis]
        }
        return position
    }

    /// Visits a range of the elements in row-major order: their places in the storage, counted in elements.
    package func forEachOffset(_ range: Range<Int>, _ body: (Int) -> Void) {
        var index = [Int](repeating: 0, count: shape.count)
        var rest = range.lowerBound
        for axis in shape.indices.reversed() {
            index[axis] = rest % max(shape[axis], 1)
            rest /= max(shape[axis], 1)
        }
        var position = zip(index, strides).reduce(offset) { $0 + $1.0 * $1.1 }
        for _ in range {
            body(position)
            var axis = shape.count - 1
            while axis >= 0 {
                index[axis] += 1
                position += strides[axis]
                if index[axis] < shape[axis] { break }
                position -= strides[axis] * shape[axis]
                index[axis] = 0
                axis -= 1
            }
        }
    }
}

/// Elements of one type under a layout, whoever owns them: slicing, transposing and reshaping give views of the same.
///
/// A shape that does not fit is a programming error and stops the process with both shapes in the message; everything
/// that a file or a person can cause is checked before and thrown.
public protocol TensorView: Sendable {
    /// The element type.
    var dtype: DType { get }
    /// Where the elements lie.
    var layout: Layout { get }
    /// The same storage under another layout, whose elements the caller has checked to lie inside it.
    func view(_ layout: Layout) -> Self
}

extension TensorView {
    /// The lengths of the axes, outermost first.
    public var shape: [Int] { layout.shape }
    /// The distance between neighbours along each axis, in elements.
    public var strides: [Int] { layout.strides }
    /// The index of the first element in the storage.
    public var offset: Int { layout.offset }
    /// The number of elements.
    public var count: Int { layout.count }
    /// The number of axes.
    public var rank: Int { layout.shape.count }
    /// The number of bytes that the elements take.
    public var byteCount: Int { dtype.byteCount(of: count) }
    /// Whether the elements follow one another in row-major order.
    public var isContiguous: Bool { layout.isContiguous }

    /// The same elements under another shape of equal count.
    public func reshaped(_ newShape: [Int]) -> Self {
        precondition(newShape.reduce(1, *) == count, "cannot reshape \(shape) to \(newShape)")
        precondition(isContiguous, "reshaping needs contiguous elements")
        return view(Layout(newShape, offset: offset))
    }

    /// The axes in another order; `order[i]` is the old axis that becomes axis `i`.
    public func permuted(_ order: [Int]) -> Self {
        precondition(order.sorted() == Array(shape.indices), "\(order) does not permute the axes of \(shape)")
        return view(Layout(shape: order.map { shape[$0] }, strides: order.map { strides[$0] }, offset: offset))
    }

    /// The part of `axis` in `range`.
    public func sliced(_ axis: Int, _ range: Range<Int>) -> Self {
        precondition(
            shape.indices.contains(axis) && range.lowerBound >= 0 && range.upperBound <= shape[axis],
            "slice \(range) of axis \(axis) is outside \(shape)")
        var newShape = shape
        newShape[axis] = range.count
        return view(Layout(shape: newShape, strides: strides, offset: offset + range.lowerBound * strides[axis]))
    }

    /// One index of `axis`, which disappears.
    public func selected(_ axis: Int, _ index: Int) -> Self {
        let part = sliced(axis, index..<index + 1)
        var newShape = part.shape
        var newStrides = part.strides
        newShape.remove(at: axis)
        newStrides.remove(at: axis)
        return view(Layout(shape: newShape, strides: newStrides, offset: part.offset))
    }

    /// The same elements with a new axis of length one.
    public func expanded(at axis: Int) -> Self {
        var newShape = shape
        var newStrides = strides
        newShape.insert(1, at: axis)
        newStrides.insert(axis < strides.count ? strides[axis] * shape[axis] : 1, at: axis)
        return view(Layout(shape: newShape, strides: newStrides, offset: offset))
    }

    /// The one index of `axis`, seen `count` times.
    public func repeated(_ axis: Int, _ count: Int) -> Self {
        precondition(shape[axis] == 1, "axis \(axis) of \(shape) has more than one index to repeat")
        var newShape = shape
        var newStrides = strides
        newShape[axis] = count
        newStrides[axis] = 0
        return view(Layout(shape: newShape, strides: newStrides, offset: offset))
    }
}
