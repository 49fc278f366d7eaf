import Foundation
import RuyiCPU
import RuyiTensor
import Synchronization
import Testing

@Suite("memory pool")
struct MemoryPoolTests {
    /// A block in use.
    private struct Block {
        let base: UnsafeMutableRawPointer
        let byteCount: Int
        let stamp: UInt8

        /// Marks the ends and the middle, or looks whether they are still marked.
        private var places: [Int] { [0, byteCount / 2, byteCount - 1] }
        func mark() { for place in places { base.storeBytes(of: stamp, toByteOffset: place, as: UInt8.self) } }
        var isIntact: Bool { places.allSatisfy { base.load(fromByteOffset: $0, as: UInt8.self) == stamp } }
    }

    private static func pool() -> MemoryPool { MemoryPool() }

    @Test("figures and blocks are right through any sequence", arguments: [UInt64(701), 702, 703])
    func sequence(_ seed: UInt64) {
        var random = TestRandom(seed)
        let pool = Self.pool()
        var (live, used, peak) = ([Block](), 0, 0)
        var sizes: [Int: Int] = [:]
        for step in 0..<4000 {
            if live.isEmpty || random.chance(2) && live.count < 60 {
                let byteCount = random.below(1 << random.pick([4, 12, 13, 17, 20, 25, 27])) + 1
                let block = Block(
                    base: pool.taken(byteCount), byteCount: byteCount, stamp: UInt8(truncatingIfNeeded: step))
                let size = pool.usedBytes - used
                // At least what was asked for, at most an eighth and a page more, the same every time.
                #expect(size >= byteCount && size <= byteCount + byteCount / 8 + 4096)
                #expect(sizes.updateValue(size, forKey: byteCount) ?? size == size)
                #expect(Int(bitPattern: block.base) % 4096 == 0)
                #expect(!live.contains { $0.base < block.base + byteCount && block.base < $0.base + $0.byteCount })
                block.mark()
                live.append(block)
                used += size
                peak = max(peak, used)
            } else {
                let block = live.remove(at: random.below(live.count))
                #expect(block.isIntact)
                pool.free(block.base, block.byteCount)
                used -= sizes[block.byteCount] ?? 0
            }
            if random.chance(500) { pool.trim() }
            #expect(pool.usedBytes == used && pool.peakBytes == peak)
            #expect(pool.mappedBytes >= used && pool.mappedBytes <= peak)
        }
        for block in live {
            #expect(block.isIntact)
            pool.free(block.base, block.byteCount)
        }
        pool.trim()
        #expect(pool.usedBytes == 0 && pool.mappedBytes == 0 && pool.peakBytes == peak)
    }

    @Test("what large blocks leave behind serves blocks of other sizes")
    func joining() {
        let pool = Self.pool()
        let size = 32 << 20
        let blocks = (0..<4).map { _ in pool.taken(size) }
        for block in [blocks[2], blocks[0], blocks[3], blocks[1]] { pool.free(block, size) }
        let range = (blocks.min() ?? blocks[0])..<((blocks.max() ?? blocks[0]) + size)
        // The system may have put the four anywhere; where they are neighbours they are one piece now.
        guard range.upperBound - range.lowerBound == 4 * size else { return }
        for part in [1, 2, 3, 4].map({ 16 * $0 << 20 }) {
            let whole = pool.taken(4 * size - part)
            let rest = pool.taken(part)
            #expect(range.contains(whole) && range.contains(rest) && pool.mappedBytes == 4 * size)
            pool.free(whole, 4 * size - part)
            pool.free(rest, part)
        }
    }

    @Test("a pool that ends gives back what it kept")
    func ending() throws {
        func mapped() throws -> Int {
            let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            return try #require(text.split(separator: " ").first.flatMap { Int($0) }) * 4096
        }
        let before = try mapped()
        for _ in 0..<256 {
            let pool = Self.pool()
            for size in [64 << 20, 1 << 20] { pool.free(pool.taken(size), size) }
        }
        // Kept, it would be 16 GiB more; other tests map some of their own meanwhile.
        #expect(try mapped() - before < 8 << 30)
    }

    @Test("threads never get a block at the same time")
    func threads() {
        let pool = Self.pool()
        let broken = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 6) { thread in
            var random = TestRandom(UInt64(710 + thread))
            var live: [Block] = []
            for _ in 0..<1500 {
                if live.count < 8, random.chance(2) || live.isEmpty {
                    let byteCount = random.pick([100, 5000, 70_000, 200_000])
                    let block = Block(
                        base: pool.taken(byteCount), byteCount: byteCount,
                        stamp: UInt8(truncatingIfNeeded: random.bits()))
                    block.mark()
                    live.append(block)
                } else {
                    let block = live.remove(at: random.below(live.count))
                    if !block.isIntact { broken.add(1, ordering: .relaxed) }
                    pool.free(block.base, block.byteCount)
                }
            }
            for block in live { pool.free(block.base, block.byteCount) }
        }
        #expect(broken.load(ordering: .relaxed) == 0 && pool.usedBytes == 0)
        #expect(pool.peakBytes <= 6 * 8 * (200_000 + 25_000 + 4096))
    }

    @Test("every operation gives its scratch memory back, and a chain its intermediate results")
    func operations() {
        let backend = HostOperations(threads: 3)
        var random = TestRandom(720)
        let (x, w) = (random.tensor([2, 70, 48]), random.tensor([48, 48, 1, 1, 1]))
        for _ in 0..<3 {
            _ = backend.linear(x, weight: w, bias: nil, activation: .silu, residual: x.permuted([0, 1, 2]))
            _ = backend.attention(x, x, x, heads: 4, scale: 1)
            _ = backend.convolution(
                [random.tensor([48, 6, 6]), nil], weight: w, bias: nil, stride: .one, padding: .none, residual: nil)
            _ = backend.layerNorm(
                x.permuted([1, 0, 2]), weight: nil, bias: nil, epsilon: 1, scale: nil, shift: nil)
            #expect(backend.session.memory.usedBytes == 0)
        }
    }
}

@Suite("thread pool")
struct ThreadPoolTests {
    @Test("small calls from several threads run every task once", arguments: [1, 2, 3, 8])
    func sharedPool(_ threadCount: Int) {
        let pool = ThreadPool(threadCount: threadCount)
        let wrong = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 5) { caller in
            for call in 0..<400 {
                let count = (call * 7 + caller) % 23
                let runs = Mutex([Int](repeating: 0, count: count))
                pool.parallel(count, Halt(Cancellation())) { index in runs.withLock { $0[index] += 1 } }
                if runs.withLock({ $0.contains { $0 != 1 } }) { wrong.add(1, ordering: .relaxed) }
            }
        }
        #expect(wrong.load(ordering: .relaxed) == 0)
    }

    @Test("what tasks write is seen by the caller, and by the tasks of its next call")
    func order() {
        let pool = ThreadPool(threadCount: 4)
        let values = UnsafeMutableBufferPointer<Int>.allocate(capacity: 64)
        defer { values.deallocate() }
        values.initialize(repeating: 0)
        nonisolated(unsafe) let shared = values
        for round in 0..<2000 { pool.parallel(64, Halt(Cancellation())) { shared[($0 + round) % 64] += 1 } }
        #expect(values.allSatisfy { $0 == 2000 })
    }

    @Test("a stop in the middle skips what has not begun, and later calls do nothing", arguments: [1, 2, 5])
    func cancellation(_ threadCount: Int) {
        let cancellation = Cancellation()
        let (pool, halt) = (ThreadPool(threadCount: threadCount), Halt(cancellation))
        let runs = Mutex([Int](repeating: 0, count: 10_000))
        pool.parallel(10_000, halt) { index in
            runs.withLock { $0[index] += 1 }
            if index == 50 { cancellation.cancel() }
        }
        let counts = runs.withLock { $0 }
        // A task that a thread has taken is done, and tasks are taken in order.
        #expect(counts[...50].allSatisfy { $0 == 1 } && counts.allSatisfy { $0 <= 1 })
        #expect(threadCount > 1 || counts.reduce(0, +) == 51)
        pool.parallel(100, halt) { _ in Issue.record("a stopped pool ran a task") }
    }

    @Test("operations that are stopped on the way return, from several threads, and leave no memory in use")
    func stoppedOperations() {
        for round in 0..<20 {
            let cancellation = Cancellation()
            let backend = HostOperations(threads: 3, cancellation: cancellation)
            var random = TestRandom(UInt64(730 + round))
            let x = random.tensor([1, 300, 64])
            DispatchQueue.concurrentPerform(iterations: 3) { caller in
                if caller == 0 {
                    usleep(UInt32(round * 100))
                    cancellation.cancel()
                } else {
                    for _ in 0..<8 {
                        _ = backend.attention(x, x, x, heads: 4, scale: 1)
                        _ = backend.linear(
                            x, weight: x.sliced(1, 0..<64).reshaped([64, 64]), bias: nil, activation: .silu,
                            residual: nil)
                    }
                }
            }
            #expect(backend.session.memory.usedBytes == 0)
        }
    }

    @Test("pools come and go", arguments: [1, 2, 16])
    func lifetime(_ threadCount: Int) {
        let total = Atomic<Int>(0)
        for _ in 0..<50 {
            let pool = ThreadPool(threadCount: threadCount)
            pool.parallel(20, Halt(Cancellation())) { total.add($0, ordering: .relaxed) }
        }
        #expect(total.load(ordering: .relaxed) == 50 * 190)
    }
}

extension MemoryPool {
    /// A block; the system has enough for these tests.
    fileprivate func taken(_ byteCount: Int) -> UnsafeMutableRawPointer {
        guard let block = allocate(byteCount) else { fatalError("\(byteCount) bytes were refused") }
        return block
    }
}
