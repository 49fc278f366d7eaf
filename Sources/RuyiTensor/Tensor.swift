/// A tensor that belongs to a session: type, layout and storage on its backend.
///
/// Slicing, transposing and reshaping are views; operations take what they are given and return new storage. What the
/// elements are is known only to the backend; `Session.read` brings them to the host.
public struct Tensor: TensorView {
    public let dtype: DType
    public let layout: Layout
    /// The memory that the tensor views.
    package let storage: TensorStorage

    /// Views `storage`; the backend has checked that every element lies inside it.
    package init(dtype: DType, layout: Layout, storage: TensorStorage) {
        self.dtype = dtype
        self.layout = layout
        self.storage = storage
    }

    /// Whether both are the same elements of the same storage, or copies of them that stand for these.
    package func isSame(as other: Tensor) -> Bool {
        let (mine, theirs) = (content, other.content)
        return mine.identity === theirs.identity && mine.layout == theirs.layout
    }

    /// The tensor itself, a copy that stands for another.
    package func standing(for original: Tensor) -> Tensor {
        storage.origin = original.content
        return self
    }

    private var content: TensorStorage.Content {
        guard let origin = storage.origin, layout == Layout(shape), shape == origin.layout.shape else {
            return TensorStorage.Content(identity: storage.identity, layout: layout)
        }
        return origin
    }

    public func view(_ layout: Layout) -> Tensor { Tensor(dtype: dtype, layout: layout, storage: storage) }

    /// The session whose operations work on this tensor.
    public var session: any Session { storage.session }

    /// Bytes of the memory that the tensor views, which is kept as long as the tensor is.
    public var storedByteCount: Int { storage.byteCount }
}

/// The memory of tensors, which each backend makes of its own kind.
open class TensorStorage: @unchecked Sendable {
    /// The session whose account it is on.
    public let session: any Session
    /// Its size.
    public let byteCount: Int
    /// What tells it from others for as long as anything stands for it.
    fileprivate let identity = Identity()
    /// What it is a copy of, and stands for.
    fileprivate var origin: Content?

    fileprivate final class Identity: Sendable {}

    /// Elements of a storage.
    fileprivate struct Content {
        let identity: Identity
        let layout: Layout
    }

    /// Memory of a session.
    public init(_ session: any Session, byteCount: Int) {
        self.session = session
        self.byteCount = byteCount
    }
}

/// A row of values for each run of a sequence's tokens: one for each item of a batch, or, as where a clean first frame
/// is told another time than the rest, one for each of a few runs of different lengths.
public struct TokenRows: Sendable {
    /// `[runs, C]`.
    public let values: Tensor
    /// The tokens of each run; nil where all runs are of one length.
    public let lengths: [Int]?

    /// A row for each of the runs.
    public init(_ values: Tensor, lengths: [Int]? = nil) {
        precondition(values.rank == 2 && lengths.map { $0.count == values.shape[0] } ?? true, "rows \(values.shape)")
        self.values = values
        self.lengths = lengths
    }

    /// Some columns of every row.
    public func columns(_ range: Range<Int>) -> TokenRows { TokenRows(values.sliced(1, range), lengths: lengths) }
}

extension Tensor {
    /// `x + y`; y has x's shape or repeats over x's leading axes.
    public static func + (x: Tensor, y: Tensor) -> Tensor { x.session.combine(x, 1, y, 1) }

    /// `x − y`; y has x's shape or repeats over x's leading axes.
    public static func - (x: Tensor, y: Tensor) -> Tensor { x.session.combine(x, 1, y, -1) }

    /// `x · y` element by element; y has x's shape, repeats over x's leading axes, or is one number.
    public static func * (x: Tensor, y: Tensor) -> Tensor { x.session.multiply(x, y) }

    /// Every element times a number.
    public static func * (factor: Float, x: Tensor) -> Tensor {
        x.session.scale(x, by: factor, plus: 0, clampedTo: nil)
    }

    /// `x[b, i, :] · rows[run of token i, :]`.
    public static func * (rows: TokenRows, x: Tensor) -> Tensor { x.session.multiply(x, rows: rows) }
}
