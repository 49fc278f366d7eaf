import RuyiTensor
import Synchronization

/// Memory of tensors on a GPU, or a product that waits for it.
///
/// A product is put off until somebody wants its numbers: a gate and a residual that follow it are then taken along as
/// it is made.
final class GPUStorage: TensorStorage, @unchecked Sendable {
    private let state: Mutex<(block: GPUMemory.Block?, waiting: PendingProduct?)>

    /// Memory that is there.
    init(_ session: GPUSession, _ block: GPUMemory.Block) {
        state = Mutex((block, nil))
        super.init(session, byteCount: block.byteCount)
    }

    /// Memory that a product will take.
    init(_ session: GPUSession, _ product: PendingProduct) {
        state = Mutex((nil, product))
        super.init(session, byteCount: max(product.shape.reduce(1, *) * 4, 4))
    }

    /// The product that waits, if one does.
    var product: PendingProduct? { state.withLock { $0.waiting } }

    /// The device's memory; nil where there is none.
    var memory: GPUDevice.Block? { state.withLock { $0.block?.memory } }

    /// Computes what waits.
    func realize(_ session: GPUSession) {
        state.withLock { state in
            guard let product = state.waiting else { return }
            let result = session.compute(product, residual: nil)
            state = (result.gpu.state.withLock { $0.block }, nil)
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
    /// The halves that it multiplies, whenever it is computed, and how; nil for float32.
    let style: MatrixStyle?
    var gate: TokenRows?

    /// `[B, ..., N]`.
    var shape: [Int] { x.shape.dropLast() + [projection.outputs] }
}

extension Tensor {
    /// The memory, of a tensor that a session on a GPU made.
    var gpu: GPUStorage { unsafeDowncast(storage, to: GPUStorage.self) }

    /// Computes what waits, for a session's own operations.
    func realize(_ session: GPUSession) {
        precondition(storage.session === session, "a tensor of another session was given to an operation")
        gpu.realize(session)
    }

    /// The product that waits to become just this tensor.
    var product: PendingProduct? {
        guard let product = gpu.product, offset == 0, shape == product.shape, isContiguous else { return nil }
        return product
    }
}

extension Activation {
    /// The number by which kernels know it.
    var function: UInt32 {
        switch self {
        case .none: 0
        case .silu: 1
        case .geluTanh: 2
        case .gelu: 3
        case .quickGelu: 4
        }
    }
}
