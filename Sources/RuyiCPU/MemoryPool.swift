import Glibc
import Synchronization

/// Memory for activations and scratch: blocks are mapped from the system, kept for reuse when freed, and counted.
///
/// The system clears every page that it hands out, so that memory is worth keeping. Small blocks are kept by their size;
/// large ones are joined with free neighbours and cut to what is asked for. What is kept never raises the footprint
/// above the peak of what was in use at one time since `trim`: before the pool maps memory beyond that peak it gives
/// unused memory back.
package final class MemoryPool: Sendable {
    /// Unused memory of large blocks.
    private struct Span {
        var base: UnsafeMutableRawPointer
        var size: Int
        /// When the last part of it was freed.
        var time: Int
    }

    private struct State: @unchecked Sendable {
        /// Small blocks for reuse by size, each with the time at which it was freed.
        var blocks: [Int: [(block: UnsafeMutableRawPointer, time: Int)]] = [:]
        /// Large ones by address, no two of them neighbours.
        var spans: [Span] = []
        var time = 0
        var freeBytes = 0
        var usedBytes = 0
        var peakBytes = 0
        /// The peak since the last `trim`.
        var ceiling = 0
    }

    private let state: Mutex<State>
    /// Whether memory is counted and never mapped.
    let isMeasuring: Bool

    /// Makes an empty pool.
    package init() {
        state = Mutex(State())
        isMeasuring = false
    }

    /// Makes a pool that counts what it is asked for and maps nothing: its blocks must not be touched.
    package init(measuring: Void) {
        state = Mutex(State())
        isMeasuring = true
    }

    deinit { trim() }

    /// Bytes in use.
    package var usedBytes: Int { state.withLock { $0.usedBytes } }
    /// Bytes that are mapped, in use or not; never more than `peakBytes`.
    package var mappedBytes: Int { state.withLock { $0.usedBytes + $0.freeBytes } }
    /// The largest number of bytes that were in use at one time.
    package var peakBytes: Int { state.withLock { $0.peakBytes } }

    /// The largest number of bytes that were in use at one time since the last call, in a pool that only counts.
    func takePeak() -> Int {
        state.withLock { state in
            defer { state.ceiling = state.usedBytes }
            return state.ceiling
        }
    }

    /// Gives every unused block back to the system, and begins a new peak for what is kept from here on.
    package func trim() {
        if isMeasuring { return }
        state.withLock { state in
            release(&state, downTo: 0)
            state.ceiling = state.usedBytes
        }
    }

    /// A block of at least `byteCount` bytes, aligned to a page, with undefined contents; nil if the system refuses it.
    package func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer? {
        let size = MemoryPool.roundedSize(byteCount)
        return state.withLock { state in
            state.usedBytes += size
            let before = (state.ceiling, state.peakBytes)
            state.ceiling = max(state.ceiling, state.usedBytes)
            state.peakBytes = max(state.peakBytes, state.ceiling)
            if isMeasuring { return MemoryPool.nowhere }
            let kept = size < MemoryPool.largeSize ? state.blocks[size]?.popLast()?.block : cut(&state, size)
            if let reused = kept {
                state.freeBytes -= size
                return reused
            }
            release(&state, downTo: state.ceiling - state.usedBytes)
            if let block = MemoryPool.map(size) { return block }
            state.usedBytes -= size
            (state.ceiling, state.peakBytes) = before
            return nil
        }
    }

    /// Takes back a block that was allocated for `byteCount` bytes.
    package func free(_ block: UnsafeMutableRawPointer, _ byteCount: Int) {
        let size = MemoryPool.roundedSize(byteCount)
        state.withLock { state in
            state.usedBytes -= size
            if isMeasuring { return }
            state.freeBytes += size
            state.time += 1
            if size < MemoryPool.largeSize {
                state.blocks[size, default: []].append((block, state.time))
            } else {
                join(&state, Span(base: block, size: size, time: state.time))
            }
        }
    }

    /// Takes `size` bytes from the smallest span that has them.
    private func cut(_ state: inout State, _ size: Int) -> UnsafeMutableRawPointer? {
        let fitting = state.spans.indices.filter { state.spans[$0].size >= size }
        guard let index = fitting.min(by: { state.spans[$0].size < state.spans[$1].size }) else { return nil }
        let base = state.spans[index].base
        state.spans[index].base += size
        state.spans[index].size -= size
        if state.spans[index].size == 0 { state.spans.remove(at: index) }
        return base
    }

    /// Adds a span and unites it with those that it touches.
    private func join(_ state: inout State, _ span: Span) {
        var span = span
        var index = state.spans.firstIndex { $0.base > span.base } ?? state.spans.count
        if index < state.spans.count && span.base + span.size == state.spans[index].base {
            span.size += state.spans.remove(at: index).size
        }
        if index > 0 && state.spans[index - 1].base + state.spans[index - 1].size == span.base {
            index -= 1
            let before = state.spans.remove(at: index)
            span.base = before.base
            span.size += before.size
        }
        state.spans.insert(span, at: index)
    }

    /// Gives unused memory back, that unused for longest first, until at most `limit` bytes of it are kept.
    private func release(_ state: inout State, downTo limit: Int) {
        while state.freeBytes > limit {
            let oldest = state.blocks.min { ($0.value.first?.time ?? .max) < ($1.value.first?.time ?? .max) }
            let index = state.spans.indices.min { state.spans[$0].time < state.spans[$1].time }
            let blockTime = oldest?.value.first?.time ?? .max
            if let index, state.spans[index].time < blockTime {
                let span = state.spans[index]
                let pages = (state.freeBytes - limit + MemoryPool.hugePage - 1) / MemoryPool.hugePage
                let size = min(span.size, pages * MemoryPool.hugePage)
                munmap(span.base + (span.size - size), size)
                state.spans[index].size -= size
                if state.spans[index].size == 0 { state.spans.remove(at: index) }
                state.freeBytes -= size
            } else {
                guard let size = oldest?.key, let block = state.blocks[size]?.first?.block else { return }
                state.blocks[size]?.removeFirst()
                if state.blocks[size]?.isEmpty == true { state.blocks[size] = nil }
                munmap(block, size)
                state.freeBytes -= size
            }
        }
    }

    /// The address of blocks that are only counted.
    nonisolated(unsafe) static let nowhere =
        UnsafeMutableRawPointer(bitPattern: hugePage) ?? .allocate(byteCount: 1, alignment: 1)
    private static let hugePage = 2 << 20
    /// From this size on blocks are made of huge pages, and are cut and joined.
    private static let largeSize = 8 * hugePage

    /// Sizes grow in steps of an eighth, so that blocks of similar tensors can take each other's place, and from
    /// `largeSize` on in huge pages.
    static func roundedSize(_ byteCount: Int) -> Int {
        let page = 4096
        let pages = max(1, (byteCount + page - 1) / page)
        guard pages > 16 else { return pages * page }
        if byteCount >= largeSize { return (byteCount + hugePage - 1) / hugePage * hugePage }
        let step = 1 << (Int.bitWidth - 1 - pages.leadingZeroBitCount - 3)
        return (pages + step - 1) / step * step * page
    }

    private static func map(_ size: Int) -> UnsafeMutableRawPointer? {
        let block = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let block, block != MAP_FAILED else { return nil }
        if size >= 2 * hugePage { madvise(block, size, MADV_HUGEPAGE) }
        return block
    }
}
