/// A view of shared storage: element type, shape, strides in elements, and the index of the first element.
///
/// Slicing, transposing and reshaping are views; operations take what they are given and return new storage.
/// A shape that does not fit is a programming error and stops the process with both shapes in the message; everything
/// that a file or a person can cause is checked before and thrown.
public struct Tensor: Sendable {
    /// The element type.
    public let dtype: DType
    /// The lengths of the axes, outermost first.
    public let shape: [Int]
    /// The distance between neighbours along each axis, in elements.
    public let strides: [Int]
    /// The index of the first element in the storage.
    public let offset: Int
    /// The memory that the tensor views.
    public let storage: Storage

    /// Views `storage`; the caller has checked that every element lies inside it.
    public init(dtype: DType, shape: [Int], strides: [Int], offset: Int, storage: Storage) {
        precondition(shape.count == strides.count, "shape \(shape) and strides \(strides) differ in rank")
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.storage = storage
    }

    /// Views the start of `storage` in row-major order.
    public init(dtype: DType, shape: [Int], storage: Storage, offset: Int = 0) {
        let count = shape.reduce(1, *)
        precondition(
            (offset + count) * dtype.byteCount <= storage.byteCount, "\(shape) of \(dtype) exceeds its storage")
        self.init(dtype: dtype, shape: shape, strides: Tensor.rowMajor(shape), offset: offset, storage: storage)
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }
    /// The number of axes.
    public var rank: Int { shape.count }
    /// The number of bytes that the elements take.
    public var byteCount: Int { count * dtype.byteCount }

    /// The strides of a contiguous tensor of this shape.
    public static func rowMajor(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in stride(from: shape.count - 2, through: 0, by: -1) {
            strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
        }
        return strides
    }

    /// Whether the elements follow one another in row-major order.
    public var isContiguous: Bool {
        var expected = 1
        for axis in shape.indices.reversed() where shape[axis] != 1 {
            if strides[axis] != expected { return false }
            expected *= max(shape[axis], 1)
        }
        return true
    }

    /// The same elements under another shape of equal count.
    public func reshaped(_ newShape: [Int]) -> Tensor {
        precondition(newShape.reduce(1, *) == count, "cannot reshape \(shape) to \(newShape)")
        precondition(isContiguous, "reshaping needs contiguous elements")
        return Tensor(
            dtype: dtype, shape: newShape, strides: Tensor.rowMajor(newShape), offset: offset, storage: storage)
    }

    /// The axes in another order; `order[i]` is the old axis that becomes axis `i`.
    public func permuted(_ order: [Int]) -> Tensor {
        precondition(order.sorted() == Array(shape.indices), "\(order) does not permute the axes of \(shape)")
        return Tensor(
            dtype: dtype, shape: order.map { shape[$0] }, strides: order.map { strides[$0] }, offset: offset,
            storage: storage)
    }

    /// The part of `axis` in `range`.
    public func sliced(_ axis: Int, _ range: Range<Int>) -> Tensor {
        precondition(
            shape.indices.contains(axis) && range.lowerBound >= 0 && range.upperBound <= shape[axis],
            "slice \(range) of axis \(axis) is outside \(shape)")
        var newShape = shape
        newShape[axis] = range.count
        return Tensor(
            dtype: dtype, shape: newShape, strides: strides, offset: offset + range.lowerBound * strides[axis],
            storage: storage)
    }

    /// One index of `axis`, which disappears.
    public func selected(_ axis: Int, _ index: Int) -> Tensor {
        let part = sliced(axis, index..<index + 1)
        var newShape = part.shape
        var newStrides = part.strides
        newShape.remove(at: axis)
        newStrides.remove(at: axis)
        return Tensor(dtype: dtype, shape: newShape, strides: newStrides, offset: part.offset, storage: storage)
    }

    /// The same elements with a new axis of length one.
    public func expanded(at axis: Int) -> Tensor {
        var newShape = shape
        var newStrides = strides
        newShape.insert(1, at: axis)
        newStrides.insert(axis < strides.count ? strides[axis] * shape[axis] : 1, at: axis)
        return Tensor(dtype: dtype, shape: newShape, strides: newStrides, offset: offset, storage: storage)
    }
}
