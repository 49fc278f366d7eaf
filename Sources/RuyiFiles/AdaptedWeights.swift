import RuyiFault
import RuyiTensor

/// What LoRA files change about the weights of a checkpoint, by its keys.
public struct WeightChanges: Sendable {
    /// What layers make of matrices of weights when they compute, in order.
    public internal(set) var matrices: [(key: String, update: WeightUpdate<HostTensor>)] = []
    /// What is added to vectors, such as biases and the weights of norms.
    public internal(set) var vectors: [(key: String, term: VectorTerm)] = []

    /// No changes.
    public init() {}

    /// Adds those of another file, which come behind these.
    public static func += (changes: inout WeightChanges, more: WeightChanges) {
        changes.matrices += more.matrices
        changes.vectors += more.vectors
    }
}

/// What is added to a vector: `factor · values`.
public struct VectorTerm: Sendable {
    /// As many as the vector has.
    public let values: [Float]
    /// What they are multiplied by.
    public let factor: Float
}

/// Weights with the changes of LoRA files: matrices are stored ones that layers update when they compute, vectors are
/// changed already.
public struct AdaptedWeights: WeightFile {
    private let base: any WeightFile
    private let updates: [String: [WeightUpdate<HostTensor>]]
    private let terms: [String: [VectorTerm]]

    /// Takes the changes of a checkpoint; those of one weight are made in order.
    public init(_ base: any WeightFile, _ changes: WeightChanges) {
        self.base = base
        updates = Dictionary(grouping: changes.matrices, by: \.key).mapValues { $0.map(\.update) }
        terms = Dictionary(grouping: changes.vectors, by: \.key).mapValues { $0.map(\.term) }
    }

    /// What a layer makes of a matrix of weights when it computes, one after the other.
    public func updates(of key: String) -> [WeightUpdate<HostTensor>] { updates[key] ?? [] }

    /// The path of the weights.
    public var path: String { base.path }
    /// The names of the tensors in the order of the file.
    public var keys: [String] { base.keys }
    /// The bytes of all tensors as stored.
    public var byteCount: Int { base.byteCount }
    /// What a person should know, one line each.
    public var warnings: [String] { base.warnings }
    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { base.shape(of: key) }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { terms[key] == nil ? base.dtype(of: key) : .f32 }
    /// The file that holds a tensor.
    public func path(of key: String) -> String { base.path(of: key) }
    /// What the numbers of a tensor are multiplied by to give the weight.
    public func scale(of key: String) -> WeightScale { base.scale(of: key) }
    /// The name that a tensor has in its file.
    public func storedName(of key: String) -> String { base.storedName(of: key) }

    /// A matrix without its updates, a vector with what is added to it.
    public func tensor(_ key: String) throws(Fault) -> HostTensor {
        let stored = try base.tensor(key)
        guard let terms = terms[key] else { return stored }
        var values = stored.floats()
        for term in terms where term.values.count == values.count {
            for index in values.indices { values[index] += term.factor * term.values[index] }
        }
        return HostTensor(values, stored.shape)
    }

    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try base.checkUnchanged() }
}
