import RuyiFault
import RuyiTensor
import Synchronization

/// A job on a GPU.
class GPUSession: Session, @unchecked Sendable {
    let gpu: GPUBackend
    let account: GPUMemory
    let cancellation: Cancellation
    /// The halves that products, attention and convolutions multiply where nobody asks for float32, and how; nil for float32.
    private let usualStyle: MatrixStyle?
    private let isExact = Atomic(false)

    init(_ backend: GPUBackend, _ cancellation: Cancellation, _ memory: GPUMemory, _ style: MatrixStyle?) {
        gpu = backend
        usualStyle = style
        account = memory
        self.cancellation = cancellation
    }

    var backend: any Backend { gpu }
    var memory: any SessionMemory { account }
    var activationType: DType { .f32 }

    func check() throws {
        try cancellation.check()
        if let refused = account.refused {
            throw Fault(
                .resources, "the GPU has no \(refused) bytes of memory left",
                hint: "close other programs that use it, make the clip smaller or shorter, or use --device cpu")
        }
        switch gpu.device?.trouble {
        case .lost:
            throw Fault(
                .resources, "the GPU '\(gpu.facts.name)' no longer answers: its driver has given it up",
                hint: "look at the system's log; --device cpu computes without it")
        case .failed(let why):
            throw Fault(.unavailable, "the GPU '\(gpu.facts.name)' cannot be used: \(why)", hint: "use --device cpu")
        case nil: break
        }
    }

    /// The halves that are multiplied now, and how; nil for float32.
    var style: MatrixStyle? { isExact.load(ordering: .relaxed) ? nil : usualStyle }

    func inFloat32<Result>(_ body: () throws -> Result) rethrows -> Result {
        let before = isExact.exchange(true, ordering: .relaxed)
        defer { isExact.store(before, ordering: .relaxed) }
        return try body()
    }

    /// Whether nothing is computed any more.
    var isHalted: Bool {
        gpu.isMeasuring || cancellation.isCancelled || account.refused != nil || gpu.device?.trouble != nil
    }

    /// Notes work that is left undone, where that is counted.
    func note(_ work: Work, _ amount: Double) {}

    func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result { try body() }

    // MARK: Crossings

    func upload(_ host: HostTensor) -> Tensor {
        let result = empty(host.shape)
        guard !isHalted, host.count > 0 else { return result }
        host.single.floats().withUnsafeBytes { write($0, to: result) }
        return result
    }

    private func write(_ bytes: UnsafeRawBufferPointer, to result: Tensor) {
        if let block = result.gpu.memory { gpu.device?.write(bytes, to: block) }
    }

    func read(_ x: Tensor) -> HostTensor {
        let source = dense(x)
        let storage = HostStorage.zeros(byteCount: max(4 * x.count, 4))
        let result = HostTensor(dtype: .f32, shape: x.shape, storage: storage)
        guard !isHalted, x.count > 0, let block = source.gpu.memory else { return result }
        gpu.device?.read(
            block, from: 4 * source.offset, into: UnsafeMutableRawBufferPointer(start: storage.base, count: 4 * x.count)
        )
        return result
    }

    func willNeed(_ unit: ResidencyUnit) {
        if gpu.isMeasuring { return }
        for (file, range) in unit.pages { file.willNeed(range) }
    }

    func release(_ unit: ResidencyUnit) {
        if !gpu.isMeasuring { gpu.residency.release(unit) }
    }

    // MARK: Memory

    func empty(_ shape: [Int]) -> Tensor {
        let bytes = max(shape.reduce(1, *) * 4, 4)
        note(.passing, Double(bytes))
        return Tensor(dtype: .f32, layout: Layout(shape), storage: GPUStorage(self, block(bytes)))
    }

    /// Memory on the session's account.
    func block(_ byteCount: Int) -> GPUMemory.Block {
        account.block(byteCount) { [gpu] in gpu.device.map(gpu.residency.evict) ?? false }
    }

    // MARK: Operands

    /// The tensor itself, computed, if its elements are contiguous, else a copy.
    func dense(_ x: Tensor) -> Tensor {
        x.realize(self)
        return x.isContiguous ? x : copy(x)
    }

    /// Where the elements of a contiguous tensor begin.
    func place(_ x: Tensor?) -> Argument {
        guard let x, let block = x.gpu.memory else { return .place(0) }
        precondition(x.isContiguous, "\(x.shape) with strides \(x.strides) is not dense")
        return .place(block.address + UInt64(4 * x.offset))
    }

    /// Rows of values, each contiguous, and how far they are apart.
    func rows(_ rows: TokenRows?, width: Int, _ name: String) -> (tensor: Tensor, stride: Int)? {
        guard let values = rows?.values else { return nil }
        precondition(values.shape[1] == width, "\(name) \(values.shape) does not have rows of \(width)")
        return (dense(values), width)
    }

    /// The runs of rows of a shape `[B, ..., C]`: the length of all of them, or where each ends.
    func runs(_ rows: TokenRows?, of shape: [Int]) -> (length: Int, count: Int, ends: GPUMemory.Block?) {
        let count = shape.dropLast().reduce(1, *)
        let runs = rows?.values.shape[0] ?? 1
        guard let lengths = rows?.lengths else {
            precondition(runs > 0 && count % runs == 0, "\(runs) runs do not divide the rows of \(shape)")
            return (max(1, count / runs), runs, nil)
        }
        let ends = lengths.indices.map { UInt32(lengths[...$0].reduce(0, +)) }
        precondition(ends.last.map(Int.init) == count, "runs of \(lengths) tokens are not the rows of \(shape)")
        return (0, runs, words(ends))
    }

    /// Whole numbers that kernels read.
    func words(_ values: [UInt32]) -> GPUMemory.Block {
        let block = block(4 * values.count)
        if !isHalted, let memory = block.memory { values.withUnsafeBytes { gpu.device?.write($0, to: memory) } }
        return block
    }

    /// A small vector of weights as floats; nil where there is none.
    func vector(_ weight: Weight?, count: Int, _ name: String) -> GPUDevice.Block? {
        guard let weight else { return nil }
        precondition(weight.count == count, "\(name) \(weight.shape) does not have \(count) values")
        guard !isHalted, let device = gpu.device, let storage = weight.storage as? GPUWeight else { return nil }
        let vector = gpu.residency.vector(storage, weight.layout, device) {
            let block = gpu.residency.room(4 * count, device)
            if let block { weight.elements.floats().withUnsafeBytes { device.write($0, to: block) } }
            return block
        }
        if vector == nil { account.refuse(4 * count) }
        return vector
    }

    /// A weight's elements as kernels read them, row by row: where they are, their type, and what keeps them there.
    func operand(_ weight: Weight) -> (place: UInt64, first: Int, type: UInt32, keeper: AnyObject)? {
        guard weight.isContiguous, !weight.dtype.isBlocked else { return operand(tensor(weight)) }
        guard let copy = copy(of: weight), let type = copy.type.stored else { return nil }
        return (copy.block.address, weight.offset - copy.first, type, copy.block)
    }

    /// The same of a tensor.
    func operand(_ tensor: Tensor) -> (place: UInt64, first: Int, type: UInt32, keeper: AnyObject)? {
        let tensor = dense(tensor)
        guard let block = tensor.gpu.memory else { return nil }
        return (block.address, tensor.offset, 0, tensor.storage)
    }

    /// The device's copy of a weight, nil where nothing is computed any more.
    func copy(of weight: Weight) -> GPUWeight.Copy? {
        guard !isHalted, let device = gpu.device, let storage = weight.storage as? GPUWeight else { return nil }
        let copy = gpu.residency.copy(storage, device)
        if copy == nil { account.refuse(storage.byteCount) }
        return copy
    }

    // MARK: Kernels

    /// Runs a kernel on a grid of groups.
    func run(_ kernel: Kernel, _ arguments: [Argument], groups: (Int, Int, Int), operations: Double) {
        if !isHalted { gpu.device?.run(kernel, arguments, groups, operations: operations) }
    }

    /// Runs a kernel of which each invocation makes one of `count` results, in groups of 64.
    func run(_ kernel: Kernel, _ arguments: [Argument], invocations count: Int, operations: Double? = nil) {
        guard count > 0 else { return }
        run(kernel, arguments, groups: folded((count + 63) / 64), operations: operations ?? Double(4 * count))
    }

    /// So many groups in one dimension, folded where they are more than every device takes.
    func folded(_ groups: Int) -> (Int, Int, Int) {
        let most = 65_535
        return groups <= most ? (groups, 1, 1) : (most, (groups + most - 1) / most, 1)
    }

    /// The rows or places of one list, so that none takes long: of so many operations each, by whole `grain`.
    func slice(_ operationsEach: Double, grain: Int) -> Int {
        let most = gpu.facts.operationsPerSlice / max(operationsEach, 1)
        return max(1, Int(min(most, 1e9)) / grain) * grain
    }
}

/// A session that computes nothing: memory is counted and never there.
final class GPUMeter: GPUSession, Meter, @unchecked Sendable {
    private let uncomputed = Mutex<(work: [Work: Double], times: Double)>(([:], 1))

    init(_ backend: GPUBackend, _ style: MatrixStyle?) {
        super.init(backend, Cancellation(), GPUMemory(nil, limit: nil), style)
    }

    func takePeak() -> Int { account.takePeak() }

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
