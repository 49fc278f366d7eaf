import RuyiTensor

/// What a layer of another naming is in a checkpoint: rows of its output, in their order there.
public struct LoRAPart: Sendable {
    /// The checkpoint's weight.
    public let key: String
    /// The rows of the layer's output that it makes.
    public let rows: [Range<Int>]

    /// Rows of a layer.
    public init(key: String, rows: [Range<Int>]) {
        self.key = key
        self.rows = rows
    }
}

/// Where a checkpoint has the layers that LoRA files name.
struct LoRATargets {
    private let renamed: [String: [LoRAPart]]
    /// The checkpoint's own layers, by their paths with `_` in place of dots.
    private let own: [String: LoRAPart]

    init(_ weights: any WeightFile, _ renamed: [String: [LoRAPart]]) {
        self.renamed = renamed
        var own: [String: LoRAPart] = [:]
        for key in weights.keys where key.hasSuffix(".weight") {
            guard let shape = weights.shape(of: key), shape.allSatisfy({ $0 > 0 }), let outputs = shape.first else {
                continue
            }
            let path = String(key.dropLast(".weight".count).map { $0 == "." ? "_" : $0 })
            own[path] = LoRAPart(key: key, rows: [0..<outputs])
        }
        self.own = own
    }

    /// The parts of a layer; none where the checkpoint does not have it.
    func parts(of layer: LoRALayer) -> [LoRAPart] {
        for path in layer.paths {
            if let parts = renamed[path], !parts.isEmpty { return parts }
            if let part = own[path] { return [part] }
        }
        return []
    }
}

extension WeightUpdate<HostTensor> {
    /// The update of some of the rows, which is that of a layer that has only these.
    func rows(_ ranges: [Range<Int>]) -> WeightUpdate {
        if ranges == [0..<change.outputs] { return self }
        return WeightUpdate(change.rows(ranges), factor: factor, lengths: lengths?.rows(ranges))
    }
}

extension MatrixFormula<HostTensor> {
    fileprivate func rows(_ ranges: [Range<Int>]) -> MatrixFormula {
        switch self {
        case .whole(let matrix): return .whole(matrix.rows(ranges))
        case .product(let up, let down): return .product(up: up.rows(ranges), down: down)
        case .hadamard(let left, let right): return .hadamard(left.rows(ranges), right.rows(ranges))
        case .kronecker(let left, let right):
            // Only the rows of the first matrix that are needed are multiplied out.
            let height = right.outputs
            let first = (ranges.map(\.lowerBound).min() ?? 0) / height
            let end = ((ranges.map(\.upperBound).max() ?? 0) + height - 1) / height
            let needed = MatrixFormula.kronecker(left.rows([first..<end]), right)
            return .rows(needed, ranges.map { $0.lowerBound - first * height..<$0.upperBound - first * height })
        case .rows: return .rows(self, ranges)
        }
    }
}

extension LearnedLengths<HostTensor> {
    fileprivate func rows(_ ranges: [Range<Int>]) -> LearnedLengths {
        if areOfColumns { return self }
        return LearnedLengths(values.rows(ranges), ones: ones, areOfColumns: false, strength: strength)
    }
}

extension VectorTerm {
    /// The term of some of the elements.
    func rows(_ ranges: [Range<Int>]) -> VectorTerm {
        VectorTerm(values: ranges.flatMap { values[$0] }, factor: factor)
    }
}

extension HostTensor {
    /// Rows of a matrix: a view of it where they lie together, otherwise a copy.
    fileprivate func rows(_ ranges: [Range<Int>]) -> HostTensor {
        if ranges.count == 1 { return sliced(0, ranges[0]) }
        let values = ranges.flatMap { sliced(0, $0).floats() }
        return HostTensor(values, [values.count / shape[1], shape[1]])
    }
}
