import Glibc
import Synchronization

/// Memory for activations and scratch: blocks are mapped from the system, kept for reuse when freed, and counted.
///
/// Blocks kept for reuse never raise the footprint above the peak of what was in use at one time: before the pool
/// maps memory beyond that peak it gives unused blocks back.
public final class MemoryPool: Sendable {
    private struct State: @unchecked Sendable {
        /// Blocks for reuse by size, each with the time at which it was freed.
        var free: [Int: [(block: UnsafeMutableRawPointer, time: Int)]] = [:]
        var time = 0
        var freeBytes = 0
        var usedBytes = 0
        var peakBytes = 0
    }

    private let state: Mutex<State>
    private let exhausted: @Sendable (Int) -> Never

    /// Makes an empty pool.
    ///
    /// `exhausted` ends the process when the system refuses that number of bytes.
    public init(exhausted: @escaping @Sendable (Int) -> Never) {
        state = Mutex(State())
        self.exhausted = exhausted
    }

    /// Bytes in use.
    public var usedBytes: Int { state.withLock { $0.usedBytes } }
    /// The largest number of bytes that were in use at one time.
    public var peakBytes: Int { state.withLock { $0.peakBytes } }

    /// Gives every unused block back to the system.
    public func trim() {
        state.withLock { release(&$0, downTo: 0) }
    }

    /// A block of at least `byteCount` bytes, aligned to a page; the contents are undefined.
    public func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = MemoryPool.roundedSize(byteCount)
        let block: UnsafeMutableRawPointer? = state.withLock { state in
            state.usedBytes += size
            state.peakBytes = max(state.peakBytes, state.usedBytes)
            if let reused = state.free[size]?.popLast() {
                state.freeBytes -= size
                return reused.block
            }
            release(&state, downTo: state.peakBytes - state.usedBytes)
            return MemoryPool.map(size)
        }
        guard let block else { exhausted(size) }
        return block
    }

    /// Takes back a block that was allocated for `byteCount` bytes.
    public func free(_ block: UnsafeMutableRawPointer, _ byteCount: Int) {
        let size = MemoryPool.roundedSize(byteCount)
        state.withLock { state in
            state.usedBytes -= size
            state.freeBytes += size
            state.time += 1
            state.free[size, default: []].append((block, state.time))
        }
    }

    /// Gives unused blocks back, those unused for longest first, until at most `limit` bytes of them are kept.
    private func release(_ state: inout State, downTo limit: Int) {
        while state.freeBytes > limit {
            let oldest = state.free.min { ($0.value.first?.time ?? .max) < ($1.value.first?.time ?? .max) }
            guard let size = oldest?.key, let block = state.free[size]?.first?.block else { return }
            state.free[size]?.removeFirst()
            if state.free[size]?.isEmpty == true { state.free[size] = nil }
            munmap(block, size)
            state.freeBytes -= size
        }
    }

    /// Sizes grow in steps of an eighth, so that blocks of similar tensors can take each other's place.
    static func roundedSize(_ byteCount: Int) -> Int {
        let page = 4096
        let pages = max(1, (byteCount + page - 1) / page)
        guard pages > 16 else { return pages * page }
        let step = 1 << (Int.bitWidth - 1 - pages.leadingZeroBitCount - 3)
        return (pages + step - 1) / step * step * page
    }

    private static func map(_ size: Int) -> UnsafeMutableRawPointer? {
        let block = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let block, block != MAP_FAILED else { return nil }
        if size >= 4 << 20 { madvise(block, size, MADV_HUGEPAGE) }
        return block
    }
}
