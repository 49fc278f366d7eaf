import RuyiTensor
import Synchronization

/// Memory of tensors on the processor, or a product that waits for it.
///
/// A product is put off until somebody wants its numbers: a gate and a residual that follow it are then taken along as
/// its rows are finished.
final class CPUStorage: TensorStorage, @unchecked Sendable {
    /// Set once, before anybody reads the elements.
    private var block: CPUMemory.Block?
    private let waiting: Mutex<PendingProduct?>
    private let narrow = Mutex<QuantizedRows?>(nil)

    /// Memory that is there.
    init(_ session: CPUSession, _ block: CPUMemory.Block) {
        self.block = block
        waiting = Mutex(nil)
        super.init(session, byteCount: block.byteCount)
    }

    /// Memory that a product will take.
    init(_ session: CPUSession, _ product: PendingProduct) {
        waiting = Mutex(product)
        super.init(session, byteCount: max(product.shape.reduce(1, *) * 4, 4))
    }

    /// The product that waits, if one does.
    var product: PendingProduct? { waiting.withLock { $0 } }

    /// The first byte, of memory that is there.
    var base: UnsafeMutableRawPointer {
        guard let block else { preconditionFailure("a product was to be read before it was computed") }
        return block.base
    }

    /// The elements as rows of so many numbers in 8 bits, which `make` makes for the first product that wants them; they
    /// stay as long as the elements do, which nobody changes.
    func quantized(_ depth: Int, _ make: () -> QuantizedRows) -> QuantizedRows {
        narrow.withLock { kept in
            if let kept, kept.depth == depth { return kept }
            let made = make()
            kept = made
            return made
        }
    }

    /// Computes what waits.
    func realize(_ session: CPUSession) {
        waiting.withLock { product in
            guard let waiting = product else { return }
            let result = session.compute(waiting, residual: nil)
            block = result.cpu.block
            product = nil
        }
    }
}

/// A product that has not been computed: `gate · activation(x Wᵀ + b)`, or that of feed-forward layers.
struct PendingProduct: Sendable {
    enum Kind: Sendable {
        case linear(Activation)
        /// Layers before the product, and what stands beside their result.
        case feedForward(inner: Projection, Activation, beside: Tensor?)
    }

    let x: Tensor
    let projection: Projection
    let kind: Kind
    /// How it multiplies, whenever that is.
    let multiplier: Multiplier
    var gate: TokenRows?

    /// `[B, ..., N]`.
    var shape: [Int] { x.shape.dropLast() + [projection.outputs] }
}

extension Tensor {
    /// The memory, of a tensor that a session on the processor made.
    var cpu: CPUStorage { unsafeDowncast(storage, to: CPUStorage.self) }

    /// The memory, computed, for a session's own operations.
    func realized(_ session: CPUSession) -> CPUStorage {
        precondition(storage.session === session, "a tensor of another session was given to an operation")
        let storage = cpu
        storage.realize(session)
        return storage
    }

    /// The product that waits to become just this tensor.
    var product: PendingProduct? {
        guard let product = cpu.product, offset == 0, shape == product.shape, isContiguous else { return nil }
        return product
    }

    /// The first element of a contiguous tensor that is computed.
    var floatPointer: UnsafeMutablePointer<Float> {
        precondition(dtype == .f32 && isContiguous, "\(dtype) \(shape) with strides \(strides) is not dense f32")
        return cpu.base.assumingMemoryBound(to: Float.self) + offset
    }
}

/// A pointer that tasks share: each writes its own part.
struct Shared<Pointee>: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<Pointee>

    init(_ pointer: UnsafeMutablePointer<Pointee>) { self.pointer = pointer }
}
