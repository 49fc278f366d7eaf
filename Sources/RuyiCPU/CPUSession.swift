import RuyiFault
import RuyiKernelTable
import RuyiTensor
import Synchronization

/// A job on the processor.
class CPUSession: Session, @unchecked Sendable {
    let cpu: CPUBackend
    let kernels: KernelTable
    let integerKernels: IntegerKernels
    /// How products multiply where nobody asks for float32.
    private let usual: Multiplier
    private let isExact = Atomic(false)
    let account: CPUMemory
    let cancellation: Cancellation
    /// Whether tasks are left undone: nothing is computed, the job was cancelled, or memory has been refused.
    let halt: Halt

    init(_ backend: CPUBackend, _ cancellation: Cancellation, _ memory: CPUMemory, _ arithmetic: Arithmetic) {
        cpu = backend
        kernels = backend.level.table
        usual = Multiplier(kernels, arithmetic == .bf16 ? backend.level.pairKernels : nil)
        integerKernels = backend.level.integerKernels
        account = memory
        self.cancellation = cancellation
        halt = Halt(cancellation, memory)
    }

    var backend: any Backend { cpu }
    var memory: any SessionMemory { account }
    var activationType: DType { .f32 }
    var isMeasuring: Bool { cpu.isMeasuring }
    /// Threads that operations run on.
    var threadCount: Int { cpu.threadCount }

    func check() throws {
        try cancellation.check()
        if let refused = account.refused { throw Fault.refused(refused) }
    }

    /// How products multiply now.
    var multiplier: Multiplier { isExact.load(ordering: .relaxed) ? usual.exact : usual }

    func inFloat32<Result>(_ body: () throws -> Result) rethrows -> Result {
        let before = isExact.exchange(true, ordering: .relaxed)
        defer { isExact.store(before, ordering: .relaxed) }
        return try body()
    }

    /// Notes work that is left undone, where that is counted.
    func note(_ work: Work, _ amount: Double) {}

    func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result { try body() }

    // MARK: Crossings

    func upload(_ host: HostTensor) -> Tensor {
        let result = empty(host.shape)
        write(host, to: result, at: 0, blockStride: host.count, blocks: 1)
        return result
    }

    func read(_ x: Tensor) -> HostTensor {
        if halt.isHollow { return .zeros(x.shape) }
        let elements = elements(of: x)
        // It may have been refused its memory just now.
        return halt.isHollow ? .zeros(x.shape) : elements
    }

    func shelved(_ x: Tensor, on shelf: (any TensorShelf)?) -> Tensor {
        guard let shelf else { return x }
        let byteCount = max(x.count * 4, 4)
        guard isMeasuring || !halt.isHollow, let room = shelf.room(byteCount) else { return x }
        let copy = Tensor(
            dtype: .f32, layout: Layout(x.shape),
            storage: CPUStorage(self, CPUMemory.Block(room, byteCount: byteCount)))
        note(.passing, Double(byteCount))
        if !isMeasuring { write(elements(of: x), to: copy, at: 0, blockStride: x.count, blocks: 1) }
        return copy
    }

    func tensor(_ weight: Weight) -> Tensor { upload(weight.elements) }

    func willNeed(_ unit: ResidencyUnit) {
        if isMeasuring { return }
        for (file, range) in unit.pages { file.willNeed(range) }
    }

    func release(_ unit: ResidencyUnit) {
        for (file, range) in unit.pages { file.release(range) }
    }

    // MARK: Memory

    func empty(_ shape: [Int]) -> Tensor {
        let bytes = max(shape.reduce(1, *) * 4, 4)
        note(.passing, Double(bytes))
        return Tensor(dtype: .f32, layout: Layout(shape), storage: CPUStorage(self, account.block(bytes)))
    }

    /// Scratch memory for the time of `body`, which is left out where it is refused.
    func withScratch(_ count: Int, _ body: (UnsafeMutablePointer<Float>) -> Void) {
        let block = account.block(max(count, 1) * 4)
        withExtendedLifetime(block) {
            if !block.isHollow { body(block.base.assumingMemoryBound(to: Float.self)) }
        }
    }

    /// Runs `body(0) ... body(count − 1)` on all threads.
    func parallel(_ count: Int, _ body: @Sendable (Int) -> Void) {
        if halt.isHalted { return }
        cpu.threadPool.parallel(count, halt, body)
    }

    /// Runs `body(0) ... body(count − 1)` on all threads, each with scratch memory for its time.
    func parallel(_ count: Int, scratch: Int, _ body: @Sendable (Int, UnsafeMutablePointer<Float>) -> Void) {
        guard isMeasuring else { return parallel(count) { task in withScratch(scratch) { body(task, $0) } } }
        // As many tasks as there are threads have theirs at one time.
        let blocks = (0..<min(count, threadCount)).map { _ in account.block(max(scratch, 1) * 4) }
        withExtendedLifetime(blocks) {}
    }

    /// Runs `body`, whose kernels may stream, on ranges of `0..<count` of about `grain` elements.
    func forEachRange(_ count: Int, grain: Int, _ body: @Sendable (Range<Int>) -> Void) {
        let tasks = (count + grain - 1) / grain
        let kernels = kernels
        parallel(tasks) {
            body($0 * grain..<min(($0 + 1) * grain, count))
            kernels.endStreams()
        }
    }

    // MARK: Operands

    /// The values of a small vector of weights, or nil.
    func vector(_ weight: Weight?, count: Int, _ name: String) -> [Float]? {
        guard let weight else { return nil }
        precondition(weight.count == count, "\(name) \(weight.shape) does not have \(count) values")
        return halt.isHollow ? [Float](repeating: 0, count: count) : weight.elements.floats()
    }

    /// The values of the rows of runs of tokens, or nil.
    func vector(_ rows: TokenRows?, width: Int, _ name: String) -> [Float]? {
        guard let values = rows?.values else { return nil }
        precondition(values.shape[1] == width, "\(name) \(values.shape) does not have rows of \(width)")
        return halt.isHollow ? [Float](repeating: 0, count: values.count) : read(values).floats()
    }

    /// The tensor itself, computed, if its elements are contiguous, else a copy.
    func dense(_ x: Tensor) -> Tensor {
        _ = x.realized(self)
        return x.isContiguous ? x : copy(x)
    }

    /// A weight's rows in an order and of a type that kernels read: where they lie, or a copy; the first axis counts rows.
    func readable(_ weight: Weight) -> HostTensor {
        let stored = weight.elements
        let isReadable = stored.isReadable(rowLength: weight.count / max(weight.shape.first ?? 1, 1))
        return isReadable ? stored : elements(of: tensor(weight))
    }

    /// A matrix's rows in an order and of a type that kernels read.
    func readable(_ matrix: Projection.Matrix) -> HostTensor {
        switch matrix {
        case .stored(let weight): readable(weight)
        case .computed(let tensor): elements(of: dense(tensor))
        }
    }

    /// A tensor's memory, computed: nothing is written to it once it is there, so that the host may look at it.
    func elements(of x: Tensor) -> HostTensor {
        let storage = x.realized(self)
        let host = HostStorage(base: storage.base, byteCount: storage.byteCount) { _, _ in
            withExtendedLifetime(storage) {}
        }
        return HostTensor(dtype: x.dtype, layout: x.layout, storage: host)
    }

    /// Whether a result is so large that caches will not hold it until it is read.
    func streams(_ result: Tensor) -> Bool { result.count >= 4 << 20 }
}

/// Why the tasks of a session are left undone.
package final class Halt: Sendable {
    private let cancellation: Cancellation
    private let memory: CPUMemory?

    /// Tasks are left undone once this is cancelled.
    package convenience init(_ cancellation: Cancellation) { self.init(cancellation, nil) }

    init(_ cancellation: Cancellation, _ memory: CPUMemory?) {
        self.cancellation = cancellation
        self.memory = memory
    }

    /// Whether tasks are left undone.
    var isHalted: Bool { cancellation.isCancelled || isHollow }
    /// Whether there may be tensors without memory, which must not be touched.
    var isHollow: Bool { memory?.isHollow ?? false }
}

/// A session that computes nothing: memory is counted and never mapped.
final class CPUMeter: CPUSession, Meter, @unchecked Sendable {
    private let uncomputed = Mutex<(work: [Work: Double], times: Double)>(([:], 1))

    init(_ backend: CPUBackend, _ arithmetic: Arithmetic) {
        super.init(backend, Cancellation(), CPUMemory(MemoryPool(measuring: ()), limit: nil), arithmetic)
    }

    func takePeak() -> Int { account.pool.takePeak() }

    func takeWork() -> [Work: Double] {
        uncomputed.withLock { state in
            defer { state.work = [:] }
            return state.work
        }
    }

    override func note(_ work: Work, _ amount: Double) {
        uncomputed.withLock { $0.work[work, default: 0] += amount * $0.times }
    }

    override func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result {
        let outer = uncomputed.withLock { state in
            defer { state.times *= times }
            return state.times
        }
        defer { uncomputed.withLock { $0.times = outer } }
        return try body()
    }
}
