import RuyiFault
import RuyiTensor

/// A piece of work that is measured: what it is called, how much it is, and how to get ready for it.
public struct Workload: Sendable {
    /// What bounds the work, and how much of that there is in one run.
    public enum Work: Sendable {
        /// Multiplications and additions.
        case operations(Double)
        /// Bytes read and written if each is touched once.
        case bytes(Double)
    }

    /// What it is called.
    public let name: String
    /// How much it is.
    public let work: Work
    /// Whether it takes so long that it only runs when it is named.
    public let isLong: Bool
    /// Makes inputs and weights; what it returns is timed.
    public let prepare: @Sendable (any Session) throws(Fault) -> () -> Tensor

    /// A piece of work.
    public init(
        _ name: String, _ work: Work, isLong: Bool = false,
        prepare: @escaping @Sendable (any Session) throws(Fault) -> () -> Tensor
    ) {
        self.name = name
        self.work = work
        self.isLong = isLong
        self.prepare = prepare
    }
}
