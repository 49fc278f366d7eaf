import Glibc
import Synchronization

/// Memory for activations and scratch: blocks are mapped from the system, kept for reuse when freed, and counted.
///
/// Blocks kept for reuse never raise the footprint above the peak of what was in use at one time: before the pool
/// maps memory beyond that peak it gives unused blocks back.
public final class MemoryPool: Sendable {
    private struct State: @unchecked Sendable {
        var free: [Int: [UnsafeMutableRawPointer]] = [:]
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
        state.withLock { release(&$0) }
    }

    /// A block of at least `byteCount` bytes, aligned to a page; the contents are undefined.
    public func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = MemoryPool.roundedSize(byteCount)
        let block: UnsafeMutableRawPointer? = state.withLock { state in
            state.usedBytes += size
            state.peakBytes = max(state.peakBytes, state.usedBytes)
            if let block = state.free[size]?.popLast() {
                state.freeBytes -= size
                return block
            }
            if state.usedBytes + state.freeBytes > state.peakBytes { release(&state) }
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
            state.free[size, default: []].append(block)
        }
    }

    private func release(_ state: inout State) {
        for (size, blocks) in state.free {
            for block in blocks { munmap(block, size) }
        }
        state.free = [:]
        state.freeBytes = 0
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
