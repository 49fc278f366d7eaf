import RuyiTensor
import Synchronization

/// One session's part of the backend's memory.
final class CPUMemory: SessionMemory {
    /// A block, which is given back when nobody holds it any more.
    final class Block: @unchecked Sendable {
        let base: UnsafeMutableRawPointer
        let byteCount: Int
        /// Nil where no memory of the session's stands behind the block.
        private let memory: CPUMemory?
        /// What stands behind it instead.
        private let shelf: HostStorage?

        fileprivate init(_ base: UnsafeMutableRawPointer, _ byteCount: Int, _ memory: CPUMemory?) {
            self.base = base
            self.byteCount = byteCount
            self.memory = memory
            shelf = nil
        }

        /// Memory on a shelf, which is on no account of this kind.
        init(_ shelf: HostStorage, byteCount: Int) {
            base = shelf.base
            self.byteCount = byteCount
            self.shelf = shelf
            memory = nil
        }

        /// Whether there is no memory, so that it must not be touched.
        var isHollow: Bool { memory == nil && shelf == nil }

        deinit { memory?.free(base, byteCount) }
    }

    let pool: MemoryPool
    let limit: Int?
    private let state = Mutex((used: 0, peak: 0))
    /// The size that was refused first; 0 while nothing was.
    private let refusedBytes = Atomic<Int>(0)

    /// An account on a pool.
    init(_ pool: MemoryPool, limit: Int?) {
        self.pool = pool
        self.limit = limit
    }

    var usedBytes: Int { state.withLock { $0.used } }
    var peakBytes: Int { state.withLock { $0.peak } }
    var isMeasuring: Bool { pool.isMeasuring }
    func trim() { pool.trim() }

    /// The number of bytes that were refused, if any were.
    var refused: Int? {
        let bytes = refusedBytes.load(ordering: .relaxed)
        return bytes == 0 ? nil : bytes
    }

    /// Whether there may be blocks without memory.
    var isHollow: Bool { pool.isMeasuring || refusedBytes.load(ordering: .relaxed) != 0 }

    /// A block of so many bytes, hollow where the system or the limit refuses it.
    func block(_ byteCount: Int) -> Block {
        let size = MemoryPool.roundedSize(byteCount)
        let fits = state.withLock { state in
            if let limit, state.used + size > limit { return false }
            state.used += size
            state.peak = max(state.peak, state.used)
            return true
        }
        if fits, refused == nil, let base = pool.allocate(byteCount) { return Block(base, byteCount, self) }
        if fits { state.withLock { $0.used -= size } }
        _ = refusedBytes.compareExchange(expected: 0, desired: size, ordering: .relaxed)
        return Block(MemoryPool.nowhere, byteCount, nil)
    }

    private func free(_ base: UnsafeMutableRawPointer, _ byteCount: Int) {
        pool.free(base, byteCount)
        state.withLock { $0.used -= MemoryPool.roundedSize(byteCount) }
    }
}
