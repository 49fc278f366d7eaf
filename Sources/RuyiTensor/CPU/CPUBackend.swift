import Glibc
import RuyiKernelTable
import Synchronization

/// The operations on the CPU: packed matrix products, tiled attention and implicit convolutions on one thread pool,
/// with kernels picked for the processor at start-up.
///
/// The result of an operation does not depend on the number of threads: every element is computed by one task, in an
/// order that follows from the shapes.
public final class CPUBackend: Backend {
    public let memory: MemoryPool
    public let cancellation: Cancellation
    /// The instruction-set level of the kernels in use.
    public let level: KernelLevel
    let kernels: KernelTable
    let integerKernels: IntegerKernels
    let pool: ThreadPool
    /// What a backend that computes nothing would have had to do.
    private let uncomputed = Mutex<(work: [Work: Double], times: Double)>(([:], 1))

    /// Starts `threads` threads.
    ///
    /// `level` nil takes the best that the processor has, any other must be among `KernelLevel.supported`; `exhausted` ends the process when the system has no more
    /// memory.
    public init(
        threads: Int, level: KernelLevel? = nil, cancellation: Cancellation = Cancellation(),
        exhausted: @escaping @Sendable (Int) -> Never = { fatalError("out of memory: \($0) bytes were refused") }
    ) {
        let supported = KernelLevel.supported
        self.level = level ?? supported.last ?? .baseline
        precondition(supported.contains(self.level), "this processor does not run \(self.level) kernels")
        kernels = self.level.table
        integerKernels = self.level.integerKernels
        self.cancellation = cancellation
        memory = MemoryPool(exhausted: exhausted)
        pool = ThreadPool(threadCount: threads, cancellation: cancellation)
    }

    /// A backend that computes nothing and counts the memory that its operations would take on `threads` threads: the
    /// memory of its tensors must not be touched, and numbers that it gives mean nothing.
    public init(measuring threads: Int, level: KernelLevel? = nil) {
        self.level = level ?? KernelLevel.supported.last ?? .baseline
        kernels = self.level.table
        integerKernels = self.level.integerKernels
        cancellation = Cancellation()
        memory = MemoryPool(measuring: ())
        pool = ThreadPool(threadCount: threads, cancellation: cancellation, isIdle: true)
    }

    public var isMeasuring: Bool { memory.isMeasuring }

    /// The work since the last call, of a backend that computes nothing.
    public func takeWork() -> [Work: Double] {
        uncomputed.withLock { state in
            defer { state.work = [:] }
            return state.work
        }
    }

    public func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result {
        let outer = uncomputed.withLock { state in
            defer { state.times *= times }
            return state.times
        }
        defer { uncomputed.withLock { $0.times = outer } }
        return try body()
    }

    /// Notes work that is left undone.
    func note(_ work: Work, _ amount: Double) {
        if isMeasuring { uncomputed.withLock { $0.work[work, default: 0] += amount * $0.times } }
    }

    /// Threads that operations run on.
    public var threadCount: Int { pool.threadCount }

    public func empty(_ shape: [Int]) -> Tensor {
        let bytes = max(shape.reduce(1, *) * 4, 4)
        note(.passing, Double(bytes))
        let memory = memory
        let storage = Storage(base: memory.allocate(bytes), byteCount: bytes, backend: self) { base, count in
            memory.free(base, count)
        }
        return Tensor(dtype: .f32, shape: shape, storage: storage)
    }

    /// Scratch memory for the time of `body`.
    func withScratch<Result>(_ count: Int, _ body: (UnsafeMutablePointer<Float>) -> Result) -> Result {
        let bytes = max(count, 1) * 4
        let block = memory.allocate(bytes)
        defer { memory.free(block, bytes) }
        return body(block.assumingMemoryBound(to: Float.self))
    }

    /// Runs `body(0) ... body(count − 1)` on all threads, each with scratch memory for its time.
    func parallel(_ count: Int, scratch: Int, _ body: @Sendable (Int, UnsafeMutablePointer<Float>) -> Void) {
        guard memory.isMeasuring else {
            return pool.parallel(count) { task in withScratch(scratch) { body(task, $0) } }
        }
        // As many tasks as there are threads have theirs at one time.
        let bytes = max(scratch, 1) * 4
        let blocks = (0..<min(count, threadCount)).map { _ in memory.allocate(bytes) }
        for block in blocks { memory.free(block, bytes) }
    }

    /// The values of a small vector of weights, or nil.
    func vector(_ weight: Tensor?, count: Int, _ name: String) -> [Float]? {
        guard let weight else { return nil }
        precondition(weight.count == count, "\(name) \(weight.shape) does not have \(count) values")
        return memory.isMeasuring ? [Float](repeating: 0, count: count) : weight.floats()
    }

    /// The tensor itself if its elements are contiguous floats, else a copy.
    func dense(_ x: Tensor) -> Tensor {
        x.dtype == .f32 && x.isContiguous ? x : copy(x)
    }

    /// Whether a result is so large that caches will not hold it until it is read.
    func streams(_ result: Tensor) -> Bool { result.count >= 4 << 20 }

    /// Runs `body`, whose kernels may stream, on ranges of `0..<count` of about `grain` elements.
    func forEachRange(_ count: Int, grain: Int, _ body: @Sendable (Range<Int>) -> Void) {
        let tasks = (count + grain - 1) / grain
        let kernels = kernels
        pool.parallel(tasks) {
            body($0 * grain..<min(($0 + 1) * grain, count))
            kernels.endStreams()
        }
    }
}

extension Tensor {
    /// The first element of a contiguous tensor of floats.
    var floatPointer: UnsafeMutablePointer<Float> {
        precondition(dtype == .f32 && isContiguous, "\(dtype) \(shape) with strides \(strides) is not dense f32")
        return storage.base.assumingMemoryBound(to: Float.self) + offset
    }

    /// The first element of a tensor of any type.
    var rawPointer: UnsafeRawPointer { UnsafeRawPointer(storage.base) + offset * dtype.byteCount }
}

/// A pointer that tasks share: each writes its own part.
struct Shared<Pointee>: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Pointee>

    init(_ pointer: UnsafeMutablePointer<Pointee>) { self.pointer = pointer }
}
