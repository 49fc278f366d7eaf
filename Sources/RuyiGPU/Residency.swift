import RuyiTensor
import Synchronization

/// A weight of a file, of which the device has a copy while there is room for it.
class GPUWeight: MappedWeight, @unchecked Sendable {
    /// What the device has of it.
    struct Copy: Sendable {
        let block: GPUDevice.Block
        /// The element of the storage that comes first.
        let first: Int
        /// The type of its numbers.
        let type: DType
    }

    fileprivate let copy = Mutex<(copy: Copy?, vectors: [Layout: GPUDevice.Block])>((nil, [:]))

    override init(_ tensor: HostTensor) { super.init(tensor) }

    /// The first and the last element that it has in its storage, with all between them.
    private var span: Range<Int> {
        let last = zip(tensor.shape, tensor.strides).reduce(tensor.offset) { $0 + max($1.0 - 1, 0) * $1.1 }
        let length = tensor.dtype.blockLength
        return tensor.offset / length * length..<(last + length) / length * length
    }

    /// The bytes that the device gets: as they are stored, where kernels read the type, else as float32.
    fileprivate func bring(_ room: (Int) -> GPUDevice.Block?, _ device: GPUDevice) -> Copy? {
        let (span, dtype) = (span, tensor.dtype)
        if dtype.isBlocked || dtype.stored != nil {
            let size = dtype.byteCount(of: span.count)
            guard let block = room((size + 3) / 4 * 4) else { return nil }
            let start = UnsafeRawPointer(tensor.storage.base) + dtype.byteCount(of: span.lowerBound)
            let whole = size / 4 * 4
            device.upload(UnsafeRawBufferPointer(start: start, count: whole), to: block)
            if whole < size {
                var rest: UInt32 = 0
                withUnsafeMutableBytes(of: &rest) {
                    $0.copyMemory(from: UnsafeRawBufferPointer(start: start + whole, count: size - whole))
                }
                withUnsafeBytes(of: rest) { device.upload($0, to: block, at: whole) }
            }
            tensor.releasePages()
            return Copy(block: block, first: span.lowerBound, type: dtype)
        }
        guard let block = room(4 * span.count) else { return nil }
        let values = HostTensor(
            dtype: dtype, layout: Layout([span.count], offset: span.lowerBound), storage: tensor.storage)
        values.floats().withUnsafeBytes { device.upload($0, to: block) }
        tensor.releasePages()
        return Copy(block: block, first: span.lowerBound, type: .f32)
    }
}

/// A matrix in 8 bits with a factor for each row: the factors, and then the rows, each from a whole word on.
final class GPUQuantizedWeight: GPUWeight, @unchecked Sendable {
    let outputs: Int
    let inputs: Int

    init(outputs: Int, inputs: Int, bytes: HostTensor) {
        (self.outputs, self.inputs) = (outputs, inputs)
        super.init(bytes)
    }

    /// Words of a row.
    var words: Int { (inputs + 3) / 4 }
    /// The most inputs whose products add up within 32 bits.
    static let mostInputs = 1 << 17
}

/// Which weights the device has.
final class Residency: Sendable {
    private struct Entry {
        weak var weight: GPUWeight?
        /// When it was used last.
        var time: Int
        /// The list in which that was, more or less.
        var list: UInt64
        /// Whether nobody needs it for a while.
        var isReleased: Bool
    }

    /// The most weights that one operation has.
    private static let operands = 4

    private let state = Mutex<(entries: [ObjectIdentifier: Entry], time: Int, brought: Int, evicted: Int)>(
        ([:], 0, 0, 0))

    /// How often weights were brought in, and how often let go to make room.
    var traffic: (brought: Int, evicted: Int) { state.withLock { ($0.brought, $0.evicted) } }

    /// The device's copy of a weight, brought in if it is not there; nil where there is no room.
    func copy(_ weight: GPUWeight, _ device: GPUDevice) -> GPUWeight.Copy? {
        note(weight, device)
        if let copy = weight.copy.withLock({ $0.copy }) { return copy }
        let copy = weight.bring({ size in self.room(size, device) }, device)
        if let copy {
            device.await(copy.block)
            weight.copy.withLock { $0.copy = copy }
            state.withLock { $0.brought += 1 }
        }
        return copy
    }

    /// A vector of floats made of a weight, which stays as long as it does.
    func vector(
        _ weight: GPUWeight, _ layout: Layout, _ device: GPUDevice, _ make: () -> GPUDevice.Block?
    ) -> GPUDevice.Block? {
        note(weight, device)
        if let vector = weight.copy.withLock({ $0.vectors[layout] }) { return vector }
        guard let vector = make() else { return nil }
        weight.copy.withLock { $0.vectors[layout] = vector }
        return vector
    }

    /// Memory, for which weights are let go where there is none.
    func room(_ byteCount: Int, _ device: GPUDevice) -> GPUDevice.Block? {
        while true {
            if let block = device.block(byteCount) { return block }
            if device.trouble != nil || !evict(device) { return nil }
        }
    }

    /// Lets a weight go to make room; no where there is none.
    ///
    /// Weights are used in the same order again and again. So those go that were used last: the others are there when
    /// their turn comes. Of these the device must be done with one, if there is one, so that what takes its memory comes while
    /// the device computes. What nobody has said is released goes when nothing else is left.
    func evict(_ device: GPUDevice) -> Bool {
        let done = device.progress.done
        let weight = state.withLock { state -> GPUWeight? in
            state.entries = state.entries.filter { $0.value.weight != nil }
            // What was used just now may be an operand of the operation that asks for room.
            let idle = state.entries.filter { $0.value.time + Residency.operands < state.time }
            let finished = idle.filter { $0.value.list <= done }
            let choices = [
                finished.filter(\.value.isReleased), idle.filter(\.value.isReleased), finished, idle,
            ]
            let last = choices.lazy.compactMap { $0.max { $0.value.time < $1.value.time } }.first
            guard let chosen = last ?? state.entries.min(by: { $0.value.time < $1.value.time }) else { return nil }
            state.entries[chosen.key] = nil
            state.evicted += 1
            return chosen.value.weight
        }
        weight?.copy.withLock { $0 = (nil, [:]) }
        return weight != nil
    }

    /// Says that the weights of a unit are not used for a while.
    func release(_ unit: ResidencyUnit) {
        let weights = unit.storages
        state.withLock { state in
            for storage in weights { state.entries[ObjectIdentifier(storage)]?.isReleased = true }
        }
    }

    private func note(_ weight: GPUWeight, _ device: GPUDevice) {
        let list = device.progress.current
        state.withLock { state in
            state.time += 1
            state.entries[ObjectIdentifier(weight)] = Entry(
                weight: weight, time: state.time, list: list, isReleased: false)
        }
    }
}

extension DType {
    /// The number by which kernels know it, of types that they read.
    var stored: UInt32? {
        switch self {
        case .f32: 0
        case .f16: 1
        case .bf16: 2
        case .f8e4m3: 3
        case .f8e5m2: 4
        case .i8: 5
        default: nil
        }
    }

    /// The number by which the kernel that unpacks blocks knows it.
    var blocked: UInt32? {
        switch self {
        case .q40: 0
        case .q41: 1
        case .q50: 2
        case .q51: 3
        case .q80: 4
        case .q2k: 5
        case .q3k: 6
        case .q4k: 7
        case .q5k: 8
        case .q6k: 9
        default: nil
        }
    }
}
