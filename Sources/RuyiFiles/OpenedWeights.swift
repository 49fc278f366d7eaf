import Synchronization

/// The weight files of a folder that somebody has open, so that who needs them too does not read their headers again.
final class OpenedWeights: Sendable {
    private struct Entry: Sendable {
        weak var file: (any WeightFile & AnyObject)?
    }

    private let entries = Mutex<[String: Entry]>([:])

    /// The weights of a component if they are open and unchanged.
    func file(_ component: String, _ stem: String) -> (any WeightFile)? {
        guard let file = entries.withLock({ $0[component + "/" + stem]?.file }) else { return nil }
        return (try? file.checkUnchanged()) == nil ? nil : file
    }

    /// Notes weights that have been opened.
    func note(_ file: any WeightFile & AnyObject, _ component: String, _ stem: String) {
        entries.withLock { $0[component + "/" + stem] = Entry(file: file) }
    }
}
