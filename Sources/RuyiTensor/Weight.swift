import Synchronization

/// A weight of a model: a handle that a backend makes once a checkpoint, in the type that the file has.
///
/// Layers hold it and operations take it; where a model computes with one as an operand, `Session.tensor` makes a
/// tensor of it. Slicing and transposing give views of the same weight.
public struct Weight: TensorView {
    public let dtype: DType
    public let layout: Layout
    /// What is brought into fast memory, and let go, together with it.
    public let unit: ResidencyUnit
    /// Where the backend has it.
    package let storage: WeightStorage

    /// A view of a backend's storage.
    package init(dtype: DType, layout: Layout, unit: ResidencyUnit, storage: WeightStorage) {
        self.dtype = dtype
        self.layout = layout
        self.unit = unit
        self.storage = storage
    }

    public func view(_ layout: Layout) -> Weight {
        Weight(dtype: dtype, layout: layout, unit: unit, storage: storage)
    }
}

/// Where a backend has a weight, of its own kind.
open class WeightStorage: @unchecked Sendable {
    /// The bytes as stored.
    public let byteCount: Int

    /// A weight of so many bytes.
    public init(byteCount: Int) { self.byteCount = byteCount }
}

/// Weights that are used together, such as those of one block: what is read ahead, uploaded and evicted as a whole.
///
/// Units form a tree like the places of a checkpoint; a model's constructors make them.
public final class ResidencyUnit: Sendable {
    private let state = Mutex<(storages: [WeightStorage], parts: [ResidencyUnit])>(([], []))

    /// An empty unit.
    public init() {}

    /// A unit inside this one.
    public func part() -> ResidencyUnit {
        let part = ResidencyUnit()
        state.withLock { $0.parts.append(part) }
        return part
    }

    /// Notes that a weight belongs to the unit.
    package func add(_ storage: WeightStorage) { state.withLock { $0.storages.append(storage) } }

    /// The weights of the unit itself, without those of its parts.
    package var own: [WeightStorage] { state.withLock { $0.storages } }

    /// The weights of the unit and of its parts.
    package var storages: [WeightStorage] {
        let (own, parts) = state.withLock { ($0.storages, $0.parts) }
        return own + parts.flatMap(\.storages)
    }

    /// Bytes of all its weights as stored.
    public var byteCount: Int { storages.reduce(0) { $0 + $1.byteCount } }
}

/// What a linear layer multiplies by and adds: `y = scale · x Wᵀ + b`.
public struct Projection: Sendable {
    /// Where the matrix `[N, K]` comes from; more axes flatten to K.
    public enum Matrix: Sendable {
        case stored(Weight)
        /// One that was computed, such as a weight with its updates.
        case computed(Tensor)

        /// Its shape.
        public var shape: [Int] {
            switch self {
            case .stored(let weight): weight.shape
            case .computed(let tensor): tensor.shape
            }
        }
    }

    public let matrix: Matrix
    /// What the stored numbers of the matrix are multiplied by.
    public let scale: WeightScale
    /// `[N]`.
    public let bias: Weight?

    /// A matrix and a bias.
    public init(_ matrix: Matrix, scale: WeightScale = .none, bias: Weight? = nil) {
        self.matrix = matrix
        self.scale = scale
        self.bias = bias
    }

    /// A stored weight that is what it says, and a bias.
    public init(_ weight: Weight, bias: Weight? = nil) { self.init(.stored(weight), bias: bias) }

    /// The length of the last axis of the result.
    public var outputs: Int { matrix.shape.first ?? 0 }
}
