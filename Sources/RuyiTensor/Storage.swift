/// A block of memory that tensors view: allocated from a `MemoryPool`, or mapped from a file.
///
/// The bytes are written only by the operation that made the block, before anybody else sees it.
public final class Storage: @unchecked Sendable {
    /// The first byte.
    public let base: UnsafeMutableRawPointer
    /// The number of bytes.
    public let byteCount: Int
    /// The backend whose operations work on this memory; nil for files and small tables.
    public let backend: (any Backend)?
    private let release: @Sendable (UnsafeMutableRawPointer, Int) -> Void

    /// Takes charge of `byteCount` bytes at `base`; `release` is called once, when no tensor views them any more.
    public init(
        base: UnsafeMutableRawPointer, byteCount: Int, backend: (any Backend)? = nil,
        release: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        self.base = base
        self.byteCount = byteCount
        self.backend = backend
        self.release = release
    }

    deinit { release(base, byteCount) }
}
