import RuyiTensor
import Synchronization

/// A shelf that keeps nothing, for a backend that only counts: it counts the room on a disk that tensors would take.
package final class CountedShelf: TensorShelf {
    private let state = Mutex((used: 0, peak: 0))

    /// Files take whole pages.
    private static let page = 4096

    /// An empty shelf.
    package init() {}

    /// Room that nobody may touch.
    package func room(_ byteCount: Int) -> HostStorage? {
        let size = (byteCount + CountedShelf.page - 1) / CountedShelf.page * CountedShelf.page
        state.withLock { state in
            state.used += size
            state.peak = max(state.peak, state.used)
        }
        let nothing = HostStorage.zeros(byteCount: 0)
        return HostStorage(base: nothing.base, byteCount: byteCount) { [self] _, _ in
            withExtendedLifetime(nothing) { state.withLock { $0.used -= size } }
        }
    }

    /// The most bytes that were taken at one time since the last call.
    package func takePeak() -> Int {
        state.withLock { state in
            defer { state.peak = state.used }
            return state.peak
        }
    }
}
