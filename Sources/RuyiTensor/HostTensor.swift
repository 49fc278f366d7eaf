#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A tensor of the host's: what files, tables, noise, pictures and traces hold.
///
/// Operations do not take it; a session's `upload` makes a `Tensor` of it, and its `read` one of these of a `Tensor`.
public struct HostTensor: TensorView {
    public let dtype: DType
    public let layout: Layout
    /// The memory that the tensor views.
    public let storage: HostStorage

    /// Views `storage`; the caller has checked that every element lies inside it.
    public init(dtype: DType, layout: Layout, storage: HostStorage) {
        self.dtype = dtype
        self.layout = layout
        self.storage = storage
    }

    /// Views `storage` in row-major order from an element on.
    public init(dtype: DType, shape: [Int], storage: HostStorage, offset: Int = 0) {
        let layout = Layout(shape, offset: offset)
        precondition(
            dtype.byteCount(of: offset + layout.count) <= storage.byteCount,
            "\(shape) of \(dtype) exceeds its storage")
        self.init(dtype: dtype, layout: layout, storage: storage)
    }

    public func view(_ layout: Layout) -> HostTensor { HostTensor(dtype: dtype, layout: layout, storage: storage) }

    /// Tells the system that the pages of a mapped file behind the tensor are not needed soon.
    package func releasePages() {
        if let (file, range) = storage.pages { file.release(range) }
    }
}

/// Memory of the host, or a part of a mapped file.
///
/// The bytes are written only by who makes the block, before anybody else sees it.
public final class HostStorage: @unchecked Sendable {
    /// The first byte.
    package let base: UnsafeMutableRawPointer
    /// The number of bytes.
    public let byteCount: Int
    /// The file that the bytes are mapped from, and which of its bytes they are; nil for memory of their own.
    package let pages: (file: any PagedFile, range: Range<Int>)?
    private let release: @Sendable (UnsafeMutableRawPointer, Int) -> Void

    /// Takes charge of `byteCount` bytes at `base`; `release` is called once, when no tensor views them any more.
    package init(
        base: UnsafeMutableRawPointer, byteCount: Int, pages: (file: any PagedFile, range: Range<Int>)? = nil,
        release: @escaping @Sendable (UnsafeMutableRawPointer, Int) -> Void
    ) {
        self.base = base
        self.byteCount = byteCount
        self.pages = pages
        self.release = release
    }

    /// New memory, all zero, which takes no room until it is written.
    package static func zeros(byteCount: Int) -> HostStorage {
        if byteCount >= reservedSize, let storage = reserved(byteCount) { return storage }
        guard let base = calloc(max(byteCount, 1), 1) else {
            preconditionFailure("\(byteCount) bytes of the host's memory were refused")
        }
        return HostStorage(base: base, byteCount: byteCount) { base, _ in free(base) }
    }

    /// From this size on, memory is only promised: plans make tensors that no machine has room for, and write none.
    private static let reservedSize = 1 << 30

    /// Addresses that take memory when they are written; nil where the system has not so many.
    private static func reserved(_ byteCount: Int) -> HostStorage? {
        let (access, kind) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
        guard let base = mmap(nil, byteCount, access, kind, -1, 0), base != MAP_FAILED else { return nil }
        return HostStorage(base: base, byteCount: byteCount) { base, byteCount in munmap(base, byteCount) }
    }

    deinit { release(base, byteCount) }
}

/// A mapped file whose pages come and go.
package protocol PagedFile: AnyObject, Sendable {
    /// Tells the system that the pages inside a range are not needed soon; they are read again when touched.
    func release(_ range: Range<Int>)
    /// Tells the system to read a range ahead, which takes place while others compute.
    func willNeed(_ range: Range<Int>)
}
