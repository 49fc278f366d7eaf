/// A place for tensors that are not needed for a while, and need not stay in memory meanwhile.
public protocol TensorShelf: Sendable {
    /// Room for so many bytes, which a backend of this machine reads and writes as memory, and one that only counts does not
    /// touch; nil where there is none.
    func room(_ byteCount: Int) -> HostStorage?
}
