import RuyiKernelTable
import RuyiTensor
import Synchronization

/// The processor: packed matrix products, tiled attention and implicit convolutions on one thread pool, with kernels
/// picked at start-up.
///
/// The result of an operation does not depend on the number of threads: every element is computed by one task, in an
/// order that follows from the shapes. Weights stay in the files that they are mapped from.
public final class CPUBackend: Backend {
    /// The instruction-set level of the kernels in use.
    public let level: KernelLevel
    public let threadCount: Int
    public let isMeasuring: Bool
    let pool: MemoryPool
    /// Started with the first operation: a backend that only plans needs none.
    private let threads = Mutex<ThreadPool?>(nil)

    /// A backend of so many threads.
    ///
    /// `level` nil takes the best that the processor has; any other must be among `KernelLevel.supported`.
    public init(threads: Int, level: KernelLevel? = nil) {
        let supported = KernelLevel.supported
        self.level = level ?? supported.last ?? .baseline
        precondition(supported.contains(self.level), "this processor does not run \(self.level) kernels")
        precondition(threads > 0, "a backend needs at least one thread")
        threadCount = threads
        isMeasuring = false
        pool = MemoryPool()
    }

    /// One that computes nothing, and counts for another.
    private init(measuring other: CPUBackend) {
        (level, threadCount, isMeasuring) = (other.level, other.threadCount, true)
        pool = MemoryPool(measuring: ())
    }

    public var kernelName: String { level.rawValue }

    var threadPool: ThreadPool {
        threads.withLock { threads in
            if let threads { return threads }
            let made = ThreadPool(threadCount: threadCount)
            threads = made
            return made
        }
    }

    public func weight(_ host: HostTensor, in unit: ResidencyUnit) -> Weight {
        let storage = MappedWeight(host)
        unit.add(storage)
        return Weight(dtype: host.dtype, layout: host.layout, unit: unit, storage: storage)
    }

    public func quantizedByteCount(outputs: Int, inputs: Int) -> Int {
        allocatedByteCount(QuantizedLayout(outputs: outputs, inputs: inputs, panelColumns: 32).byteCount)
    }

    public func allocatedByteCount(_ byteCount: Int) -> Int { MemoryPool.roundedSize(byteCount) }

    public var arithmetics: [Arithmetic] { level.pairKernels == nil ? [.float32] : [.float32, .bf16] }

    public func session(_ cancellation: Cancellation, memoryLimit: Int?, arithmetic: Arithmetic) -> any Session {
        isMeasuring
            ? meter(arithmetic) : CPUSession(self, cancellation, CPUMemory(pool, limit: memoryLimit), arithmetic)
    }

    public func meter(_ arithmetic: Arithmetic) -> any Meter {
        CPUMeter(isMeasuring ? self : CPUBackend(measuring: self), arithmetic)
    }
}
