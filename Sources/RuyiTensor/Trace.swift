import Synchronization

/// Receives named stage tensors of one run, to be compared with a reference's.
///
/// Absent by default, and free then.
public final class Trace: Sendable {
    private let recorded = Mutex<[(name: String, tensor: Tensor)]>([])

    /// An empty trace.
    public init() {}

    /// Keeps a tensor under the name that the golden cases use.
    ///
    /// A name recorded twice keeps its last tensor.
    public func record(_ name: String, _ tensor: Tensor) {
        recorded.withLock { list in
            list.removeAll { $0.name == name }
            list.append((name, tensor))
        }
    }

    /// The tensors in the order recorded.
    public var tensors: [(name: String, tensor: Tensor)] { recorded.withLock { $0 } }
}
