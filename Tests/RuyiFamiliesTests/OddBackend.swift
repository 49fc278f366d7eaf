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

    func session(_ cancellation: Cancellation, memoryLimit: Int?, arithmetic: Arithmetic) -> any Session {
        OddSession(self, cancellation, limit: memoryLimit)
    }

    func meter(_ arithmetic: Arithmetic) -> any Meter {
        OddMeter(OddBackend(weightBudget: weights.budget, isMeasuring: true))
    }
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

    /// Lets go of a unit and of its parts.
    func release(_ unit: ResidencyUnit) {
        let gone = Set(unit.storages.map { ObjectIdentifier($0) })
        resident.removeAll { $0.copies.keys.contains(where: gone.contains) }
    }
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
    ///
    /// It is handed what the operands hold by then. They may be let go before: buffers are removed in their turn.
    private func put(
        _ shape: [Int], _ operands: [Tensor] = [],
        _ compute: @escaping @Sendable (OddSession, [HostTensor]) -> HostTensor
    ) -> Tensor {
        let count = shape.reduce(1, *)
        account.take(2 * count)
        note(.passing, Double(2 * count))
        let storage = OddStorage(self, count: count)
        let (handle, places) = (storage.handle, operands.map(place))
        if !isIdle {
            odd.heap.queue.async { [self] in
                let result = compute(self, places.map(host))
                precondition(result.shape == shape, "\(result.shape) is not \(shape)")
                odd.heap.buffers[handle] = result.floats().map(FloatBits.bfloat(rounding:))
            }
        }
        return Tensor(dtype: .bf16, layout: Layout(shape), storage: storage)
    }

    /// Where a tensor's elements lie: its buffer's number, and the layout in it.
    private typealias Place = (handle: Int, layout: Layout)

    private func place(_ x: Tensor) -> Place {
        guard let storage = x.storage as? OddStorage else { fatalError("a tensor of another backend") }
        return (storage.handle, x.layout)
    }

    fileprivate func note(_ work: Work, _ amount: Double) {}
    func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result { try body() }

    /// What lies at a place; in the queue only.
    private func host(_ place: Place) -> HostTensor {
        guard let buffer = odd.heap.buffers[place.handle] else { return HostTensor.zeros(place.layout.shape) }
        return HostTensor(buffer, [buffer.count], as: .bf16).view(place.layout)
    }

    private func host(_ weight: Weight) -> HostTensor { odd.weights.elements(of: weight) }

    // MARK: Crossings

    func upload(_ host: HostTensor) -> Tensor { put(host.shape) { _, _ in host.single } }

    func read(_ x: Tensor) -> HostTensor {
        if isIdle { return .zeros(x.shape) }
        let place = place(x)
        return odd.heap.queue.sync { host(place).single }
    }

    func tensor(_ weight: Weight) -> Tensor { put(weight.shape) { session, _ in session.host(weight).single } }
    func willNeed(_ unit: ResidencyUnit) {}

    func release(_ unit: ResidencyUnit) { odd.heap.queue.async { [odd] in odd.weights.release(unit) } }

    // MARK: Operations

    func empty(_ shape: [Int]) -> Tensor { put(shape) { _, _ in .zeros(shape) } }

    func filled(_ shape: [Int], _ value: Float) -> Tensor {
        put(shape) { _, _ in HostTensor([Float](repeating: value, count: shape.reduce(1, *)), shape) }
    }

    func copy(_ x: Tensor) -> Tensor { put(x.shape, [x]) { $1[0].single } }

    func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        var shape = parts[0].shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        return put(shape, parts) { Reference.concatenate($1, axis: axis) }
    }

    func gather(_ table: Weight, _ places: [Int]) -> Tensor {
        put([places.count, table.shape[1]]) { session, _ in Reference.gather(session.host(table), places) }
    }

    func gather(_ table: Tensor, _ places: [Int]) -> Tensor {
        put([places.count, table.shape[1]], [table]) { Reference.gather($1[0], places) }
    }

    func upsampleNearest(_ x: Tensor) -> Tensor {
        put([x.shape[0], x.shape[1], 2 * x.shape[2], 2 * x.shape[3]], [x]) { Reference.upsampleNearest($1[0]) }
    }

    /// It has no products in 8 bits.
    func quantized(_ projection: Projection, in unit: ResidencyUnit) -> Weight? { nil }

    func narrowed(_ weight: Weight, to dtype: DType) -> Weight {
        let values = odd.heap.queue.sync { host(weight).single }
        return odd.weight(
            HostTensor(values.bytes(0..<values.count, as: dtype), weight.shape, as: dtype), in: weight.unit)
    }

    func linear(_ x: Tensor, _ projection: Projection, _ activation: Activation) -> Tensor {
        note(.product(inputs: x.shape.last ?? 0, outputs: projection.outputs), 2 * Double(x.count * projection.outputs))
        let shape = Array(x.shape.dropLast()) + [projection.outputs]
        let (scale, bias) = (projection.scale, projection.bias)
        switch projection.matrix {
        case .stored(let weight):
            return put(shape, [x]) { session, hosts in
                Reference.linear(hosts[0], session.host(weight), scale: scale, bias: bias.map(session.host), activation)
            }
        case .computed(let matrix):
            return put(shape, [x, matrix]) { session, hosts in
                Reference.linear(hosts[0], hosts[1], scale: scale, bias: bias.map(session.host), activation)
            }
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
        precondition(options.bias == nil, "the odd backend has no biases")
        let keyHeads = heads * k.shape[2] / q.shape[2]
        let (q, k) = (rotated(q, heads: heads, options.queryRotary), rotated(k, heads: keyHeads, options.keyRotary))
        return put(q.shape, [q, k, v]) {
            Reference.attention($1[0], $1[1], $1[2], heads: heads, scale: scale, mask: options.mask)
        }
    }

    private func rotated(_ x: Tensor, heads: Int, _ rotary: RotaryTable?) -> Tensor {
        guard let rotary else { return x }
        let pairing = rotary.pairing
        return put(x.shape, [x, rotary.cosines, rotary.sines]) {
            Reference.rotate($1[0], heads: heads, cosines: $1[1], sines: $1[2], pairing)
        }
    }

    func convolution(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, stride: ConvolutionStride, padding: SpatialPadding,
        residual: Tensor?
    ) -> Tensor {
        let frames = timeline.compactMap { $0 }
        func length(_ size: Int, _ kernel: Int, _ step: Int) -> Int {
            (size + padding.before + padding.after - kernel) / step + 1
        }
        let shape = [
            (timeline.count - weight.shape[2]) / stride.time + 1, weight.shape[0],
            length(frames[0].shape[1], weight.shape[3], stride.height),
            length(frames[0].shape[2], weight.shape[4], stride.width),
        ]
        let isThere = timeline.map { $0 != nil }
        let sum = put(shape, frames) { session, hosts in
            var rest = hosts[...]
            return Reference.convolution(
                isThere.map { $0 ? rest.removeFirst() : nil }, session.host(weight), bias: bias.map(session.host),
                stride: stride, padding: padding)
        }
        return residual.map { $0 + sum } ?? sum
    }

    func layerNorm(
        _ x: Tensor, weight: Weight?, bias: Weight?, epsilon: Float, scale: TokenRows?, shift: TokenRows?
    ) -> Tensor {
        var result = put(x.shape, [x]) { session, hosts in
            Reference.layerNorm(
                hosts[0], weight: weight.map(session.host), bias: bias.map(session.host), epsilon: epsilon)
        }
        if let scale { result = rows(result, scale) { $0 * (1 + $1) } }
        if let shift { result = rows(result, shift, +) }
        return result
    }

    private func rows(
        _ x: Tensor, _ rows: TokenRows, _ body: @escaping @Sendable (Double, Double) -> Double
    ) -> Tensor {
        let lengths = rows.lengths
        return put(x.shape, [x, rows.values]) { Reference.zip($1[0], rows: $1[1], lengths: lengths, body) }
    }

    func headNorm(
        _ x: Tensor, heads: Int, weight: Weight, bias: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor {
        let normed = put(x.shape, [x]) { session, hosts in
            Reference.layerNorm(
                hosts[0], width: hosts[0].shape[2] / heads, weight: session.host(weight), bias: session.host(bias),
                epsilon: epsilon)
        }
        return rotated(normed, heads: heads, rotary)
    }

    func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float) -> Tensor {
        put(x.shape, [x]) { session, hosts in
            Reference.rmsNorm(hosts[0], weight: session.host(weight), epsilon: epsilon)
        }
    }

    func headRMSNorm(_ x: Tensor, heads: Int, weight: Weight, epsilon: Float, rotary: RotaryTable?) -> Tensor {
        rotated(rmsNorm(x, weight: weight, epsilon: epsilon), heads: heads, rotary)
    }

    func groupNorm(
        _ x: Tensor, groups: Int, weight: Weight, bias: Weight, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor {
        put(x.shape, [x]) { session, hosts in
            Reference.groupNorm(
                hosts[0], groups: groups, weight: session.host(weight), bias: session.host(bias), epsilon: epsilon,
                perFrame: perFrame, activation: activation)
        }
    }

    func groupStatistics(_ parts: [Tensor], groups: Int) -> Tensor {
        put([groups, 2], parts) { Reference.groupStatistics($1, groups: groups) }
    }

    func groupNorm(
        _ x: Tensor, statistics: Tensor, weight: Weight, bias: Weight, epsilon: Float, activation: Activation
    ) -> Tensor {
        put(x.shape, [x, statistics]) { session, hosts in
            Reference.groupNorm(
                hosts[0], statistics: hosts[1], weight: session.host(weight), bias: session.host(bias),
                epsilon: epsilon, activation: activation)
        }
    }

    func activate(_ x: Tensor, _ activation: Activation) -> Tensor {
        put(x.shape, [x]) { Reference.map($1[0]) { Reference.activate($0, activation) } }
    }

    func exponential(_ x: Tensor) -> Tensor { put(x.shape, [x]) { Reference.map($1[0]) { exp($0) } } }

    func gated(_ x: Tensor, _ activation: Activation) -> Tensor {
        put(x.shape.dropLast() + [(x.shape.last ?? 0) / 2], [x]) { Reference.gated($1[0], activation) }
    }

    func combine(_ x: Tensor, _ a: Float, _ y: Tensor, _ b: Float) -> Tensor {
        put(x.shape, [x, y]) { Reference.zip($1[0], $1[1]) { Double(a) * $0 + Double(b) * $1 } }
    }

    func multiply(_ x: Tensor, _ y: Tensor) -> Tensor { put(x.shape, [x, y]) { Reference.zip($1[0], $1[1], *) } }
    func multiply(_ x: Tensor, rows factors: TokenRows) -> Tensor { rows(x, factors, *) }

    func scale(_ x: Tensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?) -> Tensor {
        put(x.shape, [x]) {
            Reference.map($1[0]) { value in
                let scaled = value * Double(factor) + Double(term)
                return range.map { min(max(scaled, Double($0.lowerBound)), Double($0.upperBound)) } ?? scaled
            }
        }
    }

    func meanMagnitude(_ x: Tensor, minus y: Tensor?) -> Tensor {
        put([1], [x] + (y.map { [$0] } ?? [])) { _, hosts in
            let (left, right) = (hosts[0].floats(), hosts.count > 1 ? hosts[1].floats() : nil)
            let sum = left.indices.reduce(0.0) { $0 + abs(Double(left[$1]) - Double(right?[$1] ?? 0)) }
            return HostTensor([Float(sum / Double(left.count))], [1])
        }
    }

    func crossFrameAttention(_ q: Tensor, _ k: Tensor, frames: Int, heads: Int, scale: Float) -> Tensor {
        put([1], [q, k]) { _, hosts in
            let share = Reference.crossFrameAttention(hosts[0], hosts[1], frames: frames, heads: heads, scale: scale)
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
