import Foundation
import RuyiFault
import RuyiTensor
import Synchronization

/// A backend that shares nothing with the processor's but the protocol: its tensors are bfloat16 in a heap of its own,
/// which only its queue touches; operations return before they are computed; and of the weights it keeps no more than
/// a budget, unit by unit.
///
/// It computes by the plain references.
final class OddBackend: Backend {
    let threadCount = 1
    let kernelName = "odd"
    let isMeasuring: Bool
    fileprivate let heap = OddHeap()
    fileprivate let weights: OddWeights

    /// `weightBudget` is the most bytes of weights that are kept, but for a unit that is larger alone.
    init(weightBudget: Int, isMeasuring: Bool = false) {
        weights = OddWeights(budget: weightBudget)
        self.isMeasuring = isMeasuring
    }

    /// How often units were brought in, and how often let go to make room.
    var traffic: (brought: Int, evicted: Int) { heap.queue.sync { (weights.brought, weights.evicted) } }
    /// Buffers that are alive.
    var bufferCount: Int { heap.queue.sync { heap.buffers.count } }

    func weight(_ host: HostTensor, in unit: ResidencyUnit) -> Weight {
        let storage = OddWeight(host)
        unit.add(storage)
        return Weight(dtype: host.dtype, layout: host.layout, unit: unit, storage: storage)
    }

    func quantizedByteCount(outputs: Int, inputs: Int) -> Int { 2 * outputs * inputs }
    func allocatedByteCount(_ byteCount: Int) -> Int { byteCount }

    func session(_ cancellation: Cancellation, memoryLimit: Int?) -> any Session {
        OddSession(self, cancellation, limit: memoryLimit)
    }

    func meter() -> any Meter { OddMeter(OddBackend(weightBudget: weights.budget, isMeasuring: true)) }
}

/// Buffers by number; only the queue touches them.
private final class OddHeap: @unchecked Sendable {
    let queue = DispatchQueue(label: "odd")
    var buffers: [Int: [UInt16]] = [:]
    private let next = Atomic<Int>(1)

    func handle() -> Int { next.add(1, ordering: .relaxed).oldValue }
}

/// A weight that lies with the host until its unit is brought in.
private final class OddWeight: WeightStorage, @unchecked Sendable {
    let host: HostTensor

    init(_ host: HostTensor) {
        self.host = host
        super.init(byteCount: host.byteCount)
    }
}

/// The weights that are brought in; only the queue touches them.
private final class OddWeights: @unchecked Sendable {
    let budget: Int
    private(set) var brought = 0
    private(set) var evicted = 0
    /// Units with copies of their weights, the one used last at the end.
    private var resident: [(unit: ResidencyUnit, copies: [ObjectIdentifier: HostTensor])] = []

    init(budget: Int) { self.budget = budget }

    /// What a weight holds, from the copy.
    func elements(of weight: Weight) -> HostTensor {
        guard let storage = weight.storage as? OddWeight else { fatalError("a weight of another backend") }
        if let index = resident.firstIndex(where: { $0.unit === weight.unit }) {
            resident.append(resident.remove(at: index))
        } else {
            bring(weight.unit)
        }
        guard let copy = resident.last?.copies[ObjectIdentifier(storage)] else { fatalError("a weight without a unit") }
        return copy.view(weight.layout)
    }

    private func bring(_ unit: ResidencyUnit) {
        var size = resident.reduce(unit.ownByteCount) { $0 + $1.unit.ownByteCount }
        while size > budget, !resident.isEmpty {
            size -= resident.removeFirst().unit.ownByteCount
            evicted += 1
        }
        var copies: [ObjectIdentifier: HostTensor] = [:]
        for case let storage as OddWeight in unit.own {
            let host = storage.host
            let whole = HostTensor(
                dtype: host.dtype, shape: [host.storage.byteCount / host.dtype.byteCount], storage: host.storage)
            copies[ObjectIdentifier(storage)] = HostTensor(
                whole.bytes(0..<whole.count, as: host.dtype), whole.shape, as: host.dtype)
        }
        resident.append((unit, copies))
        brought += 1
    }

    func release(_ unit: ResidencyUnit) { resident.removeAll { $0.unit === unit } }
}

extension ResidencyUnit {
    fileprivate var ownByteCount: Int { own.reduce(0) { $0 + $1.byteCount } }
}

/// A tensor's buffer by its number.
private final class OddStorage: TensorStorage, @unchecked Sendable {
    let handle: Int
    private let owner: OddSession

    init(_ owner: OddSession, count: Int) {
        self.owner = owner
        handle = owner.odd.heap.handle()
        super.init(owner, byteCount: 2 * count)
    }

    deinit {
        let (heap, handle) = (owner.odd.heap, handle)
        owner.account.free(byteCount)
        heap.queue.async { heap.buffers[handle] = nil }
    }
}

private final class OddMemory: SessionMemory {
    let limit: Int?
    private let state = Mutex((used: 0, peak: 0, ceiling: 0, refused: 0))

    init(limit: Int?) { self.limit = limit }

    var usedBytes: Int { state.withLock { $0.used } }
    var peakBytes: Int { state.withLock { $0.peak } }
    var refused: Int { state.withLock { $0.refused } }
    func trim() {}

    func take(_ bytes: Int) {
        state.withLock { state in
            state.used += bytes
            if let limit, state.used > limit, state.refused == 0 { state.refused = bytes }
            state.peak = max(state.peak, state.used)
            state.ceiling = max(state.ceiling, state.used)
        }
    }

    func free(_ bytes: Int) { state.withLock { $0.used -= bytes } }

    func takePeak() -> Int {
        state.withLock { state in
            defer { state.ceiling = state.used }
            return state.ceiling
        }
    }
}

class OddSession: Session, @unchecked Sendable {
    fileprivate let odd: OddBackend
    fileprivate let account: OddMemory
    let cancellation: Cancellation

    fileprivate init(_ backend: OddBackend, _ cancellation: Cancellation, limit: Int?) {
        odd = backend
        self.cancellation = cancellation
        account = OddMemory(limit: limit)
    }

    var backend: any Backend { odd }
    var memory: any SessionMemory { account }
    let activationType = DType.bf16

    func check() throws {
        try cancellation.check()
        if account.refused > 0 { throw Fault(.resources, "the odd backend refused \(account.refused) bytes") }
    }

    private var isIdle: Bool { isMeasuring || cancellation.isCancelled || account.refused > 0 }

    /// Puts an operation in the queue; its result has this shape.
    private func put(_ shape: [Int], _ compute: @escaping @Sendable (OddSession) -> HostTensor) -> Tensor {
        let count = shape.reduce(1, *)
        account.take(2 * count)
        note(.passing, Double(2 * count))
        let storage = OddStorage(self, count: count)
        let handle = storage.handle
        if !isIdle {
            odd.heap.queue.async { [self] in
                let result = compute(self)
                precondition(result.shape == shape, "\(result.shape) is not \(shape)")
                odd.heap.buffers[handle] = result.floats().map(FloatBits.bfloat(rounding:))
            }
        }
        return Tensor(dtype: .bf16, layout: Layout(shape), storage: storage)
    }

    fileprivate func note(_ work: Work, _ amount: Double) {}
    func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result { try body() }

    /// What a tensor holds; in the queue only.
    private func host(_ x: Tensor) -> HostTensor {
        guard let storage = x.storage as? OddStorage else { fatalError("a tensor of another backend") }
        guard let buffer = odd.heap.buffers[storage.handle] else { return HostTensor.zeros(x.shape) }
        return HostTensor(buffer, [buffer.count], as: .bf16).view(x.layout)
    }

    private func host(_ weight: Weight) -> HostTensor { odd.weights.elements(of: weight) }

    private func host(_ matrix: Projection.Matrix) -> HostTensor {
        switch matrix {
        case .stored(let weight): host(weight)
        case .computed(let tensor): host(tensor)
        }
    }

    // MARK: Crossings

    func upload(_ host: HostTensor) -> Tensor { put(host.shape) { _ in host.single } }

    func read(_ x: Tensor) -> HostTensor {
        if isIdle { return .zeros(x.shape) }
        return odd.heap.queue.sync { host(x).single }
    }

    func tensor(_ weight: Weight) -> Tensor { put(weight.shape) { $0.host(weight).single } }
    func willNeed(_ unit: ResidencyUnit) {}

    func release(_ unit: ResidencyUnit) { odd.heap.queue.async { [odd] in odd.weights.release(unit) } }

    // MARK: Operations

    func empty(_ shape: [Int]) -> Tensor { put(shape) { _ in .zeros(shape) } }

    func filled(_ shape: [Int], _ value: Float) -> Tensor {
        put(shape) { _ in HostTensor([Float](repeating: value, count: shape.reduce(1, *)), shape) }
    }

    func copy(_ x: Tensor) -> Tensor { put(x.shape) { $0.host(x).single } }

    func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        var shape = parts[0].shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        return put(shape) { session in Reference.concatenate(parts.map(session.host), axis: axis) }
    }

    func gather(_ table: Weight, _ places: [Int]) -> Tensor {
        put([places.count, table.shape[1]]) { Reference.gather($0.host(table), places) }
    }

    func gather(_ table: Tensor, _ places: [Int]) -> Tensor {
        put([places.count, table.shape[1]]) { Reference.gather($0.host(table), places) }
    }

    func upsampleNearest(_ x: Tensor) -> Tensor {
        put([x.shape[0], x.shape[1], 2 * x.shape[2], 2 * x.shape[3]]) { Reference.upsampleNearest($0.host(x)) }
    }

    /// It has no products in 8 bits.
    func quantized(_ matrix: Projection.Matrix, in unit: ResidencyUnit) -> Weight? { nil }

    func narrowed(_ weight: Weight, to dtype: DType) -> Weight {
        let values = odd.heap.queue.sync { host(weight).single }
        return odd.weight(
            HostTensor(values.bytes(0..<values.count, as: dtype), weight.shape, as: dtype), in: weight.unit)
    }

    func linear(_ x: Tensor, _ projection: Projection, _ activation: Activation) -> Tensor {
        note(.product(inputs: x.shape.last ?? 0, outputs: projection.outputs), 2 * Double(x.count * projection.outputs))
        return put(x.shape.dropLast() + [projection.outputs]) { session in
            Reference.linear(
                session.host(x), session.host(projection.matrix), scale: projection.scale,
                bias: projection.bias.map(session.host), activation)
        }
    }

    func feedForward(
        _ x: Tensor, inner: Projection, _ activation: Activation, outer: Projection, beside: Tensor?
    ) -> Tensor {
        let hidden = linear(x, inner, activation)
        return linear(beside.map { concatenate([$0, hidden], axis: x.rank - 1) } ?? hidden, outer, .none)
    }

    func attention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float, options: AttentionOptions
    ) -> Tensor {
        note(.attention(size: q.shape[2] / heads), 4 * Double(q.count * k.shape[1]))
        return put(q.shape) { session in
            func turned(_ x: Tensor, _ rotary: RotaryTable?) -> HostTensor {
                session.rotated(session.host(x), heads: heads * x.shape[2] / q.shape[2], rotary)
            }
            precondition(options.bias == nil, "the odd backend has no biases")
            return Reference.attention(
                turned(q, options.queryRotary), turned(k, options.keyRotary), session.host(v), heads: heads,
                scale: scale, mask: options.mask)
        }
    }

    private func rotated(_ x: HostTensor, heads: Int, _ rotary: RotaryTable?) -> HostTensor {
        guard let rotary else { return x }
        return Reference.rotate(
            x, heads: heads, cosines: host(rotary.cosines), sines: host(rotary.sines), rotary.pairing)
    }

    func convolution(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, stride: ConvolutionStride, padding: SpatialPadding,
        residual: Tensor?
    ) -> Tensor {
        let frame = timeline.compactMap { $0 }[0]
        func length(_ size: Int, _ kernel: Int, _ step: Int) -> Int {
            (size + padding.before + padding.after - kernel) / step + 1
        }
        let shape = [
            (timeline.count - weight.shape[2]) / stride.time + 1, weight.shape[0],
            length(frame.shape[1], weight.shape[3], stride.height),
            length(frame.shape[2], weight.shape[4], stride.width),
        ]
        let sum = put(shape) { session in
            Reference.convolution(
                timeline.map { $0.map(session.host) }, session.host(weight), bias: bias.map(session.host),
                stride: stride, padding: padding)
        }
        return residual.map { $0 + sum } ?? sum
    }

    func layerNorm(
        _ x: Tensor, weight: Weight?, bias: Weight?, epsilon: Float, scale: TokenRows?, shift: TokenRows?
    ) -> Tensor {
        put(x.shape) { session in
            var result = Reference.layerNorm(
                session.host(x), weight: weight.map(session.host), bias: bias.map(session.host), epsilon: epsilon)
            if let scale {
                result = Reference.zip(result, rows: session.host(scale.values), lengths: scale.lengths) {
                    $0 * (1 + $1)
                }
            }
            if let shift {
                result = Reference.zip(result, rows: session.host(shift.values), lengths: shift.lengths, +)
            }
            return result
        }
    }

    func headNorm(
        _ x: Tensor, heads: Int, weight: Weight, bias: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        put(x.shape) { session in
            let normed = Reference.layerNorm(
                session.host(x), width: x.shape[2] / heads, weight: session.host(weight), bias: session.host(bias),
                epsilon: epsilon)
            return session.rotated(normed, heads: heads, rotary)
        }
    }

    func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float) -> Tensor {
        put(x.shape) { Reference.rmsNorm($0.host(x), weight: $0.host(weight), epsilon: epsilon) }
    }

    func headRMSNorm(_ x: Tensor, heads: Int, weight: Weight, epsilon: Float, rotary: RotaryTable?) -> Tensor {
        put(x.shape) { session in
            session.rotated(
                Reference.rmsNorm(session.host(x), weight: session.host(weight), epsilon: epsilon), heads: heads, rotary
            )
        }
    }

    func groupNorm(
        _ x: Tensor, groups: Int, weight: Weight, bias: Weight, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor {
        put(x.shape) { session in
            Reference.groupNorm(
                session.host(x), groups: groups, weight: session.host(weight), bias: session.host(bias),
                epsilon: epsilon, perFrame: perFrame, activation: activation)
        }
    }

    func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        put(x.shape) { session in Reference.map(session.host(x)) { Reference.activate($0, activation) } }
    }

    func exponential(_ x: Tensor) -> Tensor { put(x.shape) { session in Reference.map(session.host(x)) { exp($0) } } }

    func gated(_ x: Tensor, _ activation: Activation) -> Tensor {
        put(x.shape.dropLast() + [(x.shape.last ?? 0) / 2]) { Reference.gated($0.host(x), activation) }
    }

    func combine(_ x: Tensor, _ a: Float, _ y: Tensor, _ b: Float) -> Tensor {
        put(x.shape) { session in
            Reference.zip(session.host(x), session.host(y)) { Double(a) * $0 + Double(b) * $1 }
        }
    }

    func multiply(_ x: Tensor, _ y: Tensor) -> Tensor {
        put(x.shape) { session in Reference.zip(session.host(x), session.host(y), *) }
    }

    func multiply(_ x: Tensor, rows: TokenRows) -> Tensor {
        put(x.shape) { session in
            Reference.zip(session.host(x), rows: session.host(rows.values), lengths: rows.lengths, *)
        }
    }

    func scale(_ x: Tensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?) -> Tensor {
        put(x.shape) { session in
            Reference.map(session.host(x)) { value in
                let scaled = value * Double(factor) + Double(term)
                return range.map { min(max(scaled, Double($0.lowerBound)), Double($0.upperBound)) } ?? scaled
            }
        }
    }

    func meanMagnitude(_ x: Tensor, minus y: Tensor?) -> Tensor {
        put([1]) { session in
            let (left, right) = (session.host(x).floats(), y.map { session.host($0).floats() })
            let sum = left.indices.reduce(0.0) { $0 + abs(Double(left[$1]) - Double(right?[$1] ?? 0)) }
            return HostTensor([Float(sum / Double(left.count))], [1])
        }
    }

    func crossFrameAttention(_ q: Tensor, _ k: Tensor, frames: Int, heads: Int, scale: Float) -> Tensor {
        put([1]) { session in
            let share = Reference.crossFrameAttention(
                session.host(q), session.host(k), frames: frames, heads: heads, scale: scale)
            return HostTensor([Float(share)], [1])
        }
    }
}

/// Counts what an odd session takes.
private final class OddMeter: OddSession, Meter, @unchecked Sendable {
    private let state = Mutex<(work: [Work: Double], times: Double)>(([:], 1))

    init(_ backend: OddBackend) { super.init(backend, Cancellation(), limit: nil) }

    func takePeak() -> Int { account.takePeak() }

    func takeWork() -> [Work: Double] {
        state.withLock { state in
            defer { state.work = [:] }
            return state.work
        }
    }

    override func note(_ work: Work, _ amount: Double) {
        state.withLock { $0.work[work, default: 0] += amount * $0.times }
    }

    override func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result {
        let outer = state.withLock { state in
            defer { state.times *= times }
            return state.times
        }
        defer { state.withLock { $0.times = outer } }
        return try body()
    }
}
