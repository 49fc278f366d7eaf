import Synchronization

/// A flag that a signal handler or a caller sets to stop a run; loops look at it between tiles and frames.
public final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    /// A run that nobody has asked to stop.
    public init() {}

    /// Asks the run to stop.
    public func cancel() { flag.store(true, ordering: .relaxed) }

    /// Whether the run has been asked to stop.
    public var isCancelled: Bool { flag.load(ordering: .relaxed) }

    /// Throws when the run has been asked to stop.
    public func check() throws(Cancelled) {
        if isCancelled { throw Cancelled() }
    }
}

/// Thrown when a run has been asked to stop.
public struct Cancelled: Error {}
