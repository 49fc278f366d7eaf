import Synchronization

/// Receives named stage tensors of one run, to be compared with a reference's.
///
/// Absent by default, and free then.
public final class Trace: Sendable {
    private let recorded = Mutex<[(name: String, tensor: HostTensor)]>([])

    /// An empty trace.
    public init() {}

    /// Keeps a tensor under the name that the golden cases use.
    ///
    /// A name recorded twice keeps its last tensor.
    public func record(_ name: String, _ tensor: HostTensor) {
        recorded.withLock { list in
            list.removeAll { $0.name == name }
            list.append((name, tensor))
        }
    }

    /// Reads a tensor and keeps it.
    public func record(_ name: String, _ tensor: Tensor) { record(name, tensor.session.read(tensor)) }

    /// The tensors in the order recorded.
    public var tensors: [(name: String, tensor: HostTensor)] { recorded.withLock { $0 } }
}
