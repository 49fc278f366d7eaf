import RuyiTensor
import Synchronization

/// Remembers what the last prompts were read as, so that clips that share them read them once.
package final class PromptMemory<Key: Equatable & Sendable>: Sendable {
    /// The latest last.
    private let known = Mutex<[(key: Key, text: HunyuanText)]>([])
    private let limit = 8

    /// An empty memory.
    package init() {}

    /// What was read for a key, which is the latest then.
    package subscript(_ key: Key) -> HunyuanText? {
        get {
            known.withLock { known in
                guard let index = known.firstIndex(where: { $0.key == key }) else { return nil }
                known.append(known.remove(at: index))
                return known.last?.text
            }
        }
        set {
            guard let newValue else { return }
            known.withLock { known in
                known.append((key, newValue))
                if known.count > limit { known.removeFirst() }
            }
        }
    }
}
