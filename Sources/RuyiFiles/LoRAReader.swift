import RuyiFault
import RuyiTensor

/// What one layer of a LoRA file changes.
struct LoRAChange {
    /// Of a matrix `[outputs, inputs]`.
    var matrices: [WeightUpdate<HostTensor>] = []
    /// Of the weight, where that is a vector.
    var weight: [VectorTerm] = []
    /// Of the bias.
    var bias: [VectorTerm] = []
}

/// Reads the tensors of a LoRA file's layers, and checks that they fit the weights which they are for.
struct LoRAReader: Sendable {
    let file: any WeightFile
    let scale: LoRAScale

    /// The change of a layer whose weight has this shape; axes behind the first flatten to the inputs.
    ///
    /// Throws `.badData` with the layer's name for parts that are missing, misshapen or not numbers.
    func change(
        _ layer: LoRALayer, of shape: [Int], strength: Double
    ) throws(Fault) -> LoRAChange {
        let (outputs, inputs) = (shape[0], shape.dropFirst().reduce(1, *))
        var found = LoRAChange()
        let own = try alpha(layer)
        let isMatrix = shape.count > 1
        if !isMatrix, layer.isLowRank || layer.isHadamard || layer.isKronecker {
            throw fault(layer, "the model's weight there is not that of a linear layer, but \(shape)")
        }
        func add(_ formula: MatrixFormula<HostTensor>, _ factor: Double) throws(Fault) {
            let lengths = try lengths(layer, outputs: outputs, inputs: inputs, strength)
            // Lengths are reached by the strength themselves.
            let factor = Float(lengths == nil ? strength * factor : factor)
            found.matrices.append(WeightUpdate(formula, factor: factor, lengths: lengths))
        }
        if layer.isLowRank {
            let (formula, rank) = try lowRank(layer, outputs, inputs)
            let factor = scale.factor(layer, own: own, rank: rank)
            try add(formula, factor)
            if layer.has(.upBias) { found.bias.append(try term(layer, .upBias, outputs, strength * factor)) }
        }
        if layer.isHadamard {
            let (formula, rank) = try hadamard(layer, outputs, inputs)
            try add(formula, scale.factor(layer, own: own, rank: rank))
        }
        if layer.isKronecker {
            let (formula, rank) = try kronecker(layer, outputs, inputs)
            try add(formula, scale.factor(layer, own: own, rank: rank))
        }
        if layer.has(.difference) {
            if isMatrix {
                let whole = try matrix(layer, .difference)
                try check(layer, .whole(whole), outputs, inputs)
                found.matrices.append(WeightUpdate(.whole(whole), factor: Float(strength)))
            } else {
                found.weight.append(try term(layer, .difference, outputs, strength))
            }
        }
        if layer.has(.biasDifference) { found.bias.append(try term(layer, .biasDifference, outputs, strength)) }
        return found
    }

    // MARK: Formulas

    private typealias Formula = MatrixFormula<HostTensor>

    private func lowRank(
        _ layer: LoRALayer, _ outputs: Int, _ inputs: Int
    ) throws(Fault) -> (Formula, rank: Int) {
        let (up, down) = (try matrix(layer, .up), try matrix(layer, .down))
        var inner = down
        if layer.has(.middle) { inner = try contracted(layer, core: .middle, down, outputs, inputs) }
        let formula = Formula.product(up: up, down: inner)
        try check(layer, formula, outputs, inputs)
        return (formula, down.shape[0])
    }

    private func hadamard(
        _ layer: LoRALayer, _ outputs: Int, _ inputs: Int
    ) throws(Fault) -> (Formula, rank: Int) {
        let first = try factor(layer, .hada1a, .hada1b, core: .hadaCore1, outputs, inputs)
        let second = try factor(layer, .hada2a, .hada2b, core: .hadaCore2, outputs, inputs)
        for formula in [first, second] { try check(layer, formula, outputs, inputs) }
        return (.hadamard(first, second), try matrix(layer, .hada1b).shape[0])
    }

    /// The rank is that of the factor that is a product; nil where both are whole.
    private func kronecker(
        _ layer: LoRALayer, _ outputs: Int, _ inputs: Int
    ) throws(Fault) -> (Formula, rank: Int?) {
        func part(
            _ whole: LoRAKey.Role, _ a: LoRAKey.Role, _ b: LoRAKey.Role, core: LoRAKey.Role?
        ) throws(Fault) -> (Formula, rank: Int?) {
            if layer.has(whole) { return (.whole(try matrix(layer, whole)), nil) }
            return (try factor(layer, a, b, core: core, outputs, inputs), try matrix(layer, b).shape[0])
        }
        let (first, rank1) = try part(.lokr1, .lokr1a, .lokr1b, core: nil)
        let (second, rank2) = try part(.lokr2, .lokr2a, .lokr2b, core: .lokrCore2)
        let formula = Formula.kronecker(first, second)
        try check(layer, formula, outputs, inputs)
        return (formula, rank2 ?? rank1)
    }

    /// `a · b`, or with a core `t` of a convolution `Σ a[i, o] t[i, j, k] b[j, n]` (Tucker 1966).
    private func factor(
        _ layer: LoRALayer, _ a: LoRAKey.Role, _ b: LoRAKey.Role, core: LoRAKey.Role?, _ outputs: Int, _ inputs: Int
    ) throws(Fault) -> Formula {
        let (left, right) = (try matrix(layer, a), try matrix(layer, b))
        guard let core, layer.has(core) else { return .product(up: left, down: right) }
        let down = try contracted(layer, core: core, right, outputs, inputs)
        return .product(up: left.permuted([1, 0]).single, down: down)
    }

    /// `Σ core[i, j, k] right[j, n]`, `[i, n · k]`.
    ///
    /// Neither rank is larger than the outputs, nor n · k than the inputs, so that the result is no larger than the
    /// weight.
    private func contracted(
        _ layer: LoRALayer, core role: LoRAKey.Role, _ right: HostTensor, _ outputs: Int, _ inputs: Int
    ) throws(Fault) -> HostTensor {
        let shape = file.shape(of: layer.key(role)) ?? []
        let core = try matrix(layer, role)
        let (rows, ranks) = (core.shape[0], right.shape[0])
        guard shape.count > 2, shape[1] == ranks, max(rows, ranks) <= outputs,
            right.shape[1] <= inputs / (core.shape[1] / ranks)
        else {
            throw fault(
                layer, "the core \(shape) does not go with \(right.shape) and the weight [\(outputs), \(inputs)]")
        }
        let (kernel, width) = (core.shape[1] / ranks, right.shape[1])
        let (cores, values) = (core.floats(), right.floats())
        var result = [Float](repeating: 0, count: rows * width * kernel)
        for row in 0..<rows {
            for rank in 0..<ranks {
                for column in 0..<width {
                    let value = values[rank * width + column]
                    let (source, target) = ((row * ranks + rank) * kernel, (row * width + column) * kernel)
                    for place in 0..<kernel { result[target + place] += cores[source + place] * value }
                }
            }
        }
        return HostTensor(result, [rows, width * kernel])
    }

    /// Throws unless a formula's matrices go together and make `[outputs, inputs]`.
    private func check(
        _ layer: LoRALayer, _ formula: Formula, _ outputs: Int, _ inputs: Int
    ) throws(Fault) {
        guard let shape = formula.checkedShape, shape == [outputs, inputs] else {
            throw fault(layer, "\(formula.shapes) do not make the weight [\(outputs), \(inputs)]")
        }
    }

    // MARK: Lengths and vectors

    private func lengths(
        _ layer: LoRALayer, outputs: Int, inputs: Int, _ strength: Double
    ) throws(Fault) -> LearnedLengths<HostTensor>? {
        guard layer.has(.lengths) || layer.isLowRank && scale.hasLengths else { return nil }
        let values = try tensor(layer, .lengths)
        // `[outputs]`, `[outputs, 1]`, and of PEFT's convolutions `[1, outputs, 1, 1]`, are of rows; `[1, inputs]` of columns.
        let areOfRows = values.count == outputs && (values.shape[0] == outputs || values.rank > 2)
        let areOfColumns = !areOfRows && values.shape == [1, inputs]
        let (count, length) = areOfColumns ? (inputs, outputs) : (outputs, inputs)
        guard areOfRows || areOfColumns else {
            throw fault(
                layer, "the magnitudes \(values.shape) are those of neither rows nor columns of [\(outputs), \(inputs)]"
            )
        }
        return LearnedLengths(
            HostTensor(values.floats(), [count, 1]), ones: HostTensor([Float](repeating: 1, count: length), [length]),
            areOfColumns: areOfColumns, strength: Float(strength))
    }

    private func term(
        _ layer: LoRALayer, _ role: LoRAKey.Role, _ outputs: Int, _ factor: Double
    ) throws(Fault) -> VectorTerm {
        let values = try tensor(layer, role)
        guard values.count == outputs else {
            throw fault(layer, "\"\(layer.key(role).prefix(120))\" is \(values.shape), expected [\(outputs)]")
        }
        return VectorTerm(values: values.floats(), factor: Float(factor))
    }

    /// What stands beside the matrices; nil for a layer that has been scaled.
    private func alpha(_ layer: LoRALayer) throws(Fault) -> Double? {
        guard layer.usesAlpha, layer.has(.alpha) else { return nil }
        let key = layer.key(.alpha)
        guard Extent.product(file.shape(of: key) ?? [], times: 1) == 1, file.dtype(of: key) != nil,
            let alpha = try file.tensor(key).floats().first, alpha.isFinite
        else { throw fault(layer, "alpha is not one finite number") }
        return Double(alpha)
    }

    // MARK: Tensors

    /// A tensor of two axes and more, those behind the first flattened.
    private func matrix(_ layer: LoRALayer, _ role: LoRAKey.Role) throws(Fault) -> HostTensor {
        let tensor = try tensor(layer, role)
        guard tensor.rank > 1 else {
            throw Fault(.badData, "\"\(layer.key(role))\" is \(tensor.shape), expected two axes", at: file.path)
        }
        return tensor.reshaped([tensor.shape[0], tensor.count / tensor.shape[0]])
    }

    /// A tensor of floating-point numbers, which is not empty.
    private func tensor(_ layer: LoRALayer, _ role: LoRAKey.Role) throws(Fault) -> HostTensor {
        let key = layer.key(role)
        guard file.shape(of: key) != nil else {
            throw Fault(
                .badData, "\"\(key.prefix(160))\" is missing", at: file.path,
                hint: "the file is incomplete; download it again")
        }
        let tensor = try file.tensor(key)
        guard tensor.dtype.isFloat, tensor.count > 0 else {
            let what = tensor.dtype.isFloat ? "\(tensor.shape)" : tensor.dtype.rawValue
            throw Fault(
                .badData, "\"\(key.prefix(160))\" is \(what), expected floating-point numbers", at: file.path)
        }
        return tensor.isContiguous ? tensor : tensor.single
    }

    func fault(_ layer: LoRALayer, _ what: String, hint: String? = nil) -> Fault {
        Fault(.badData, "\"\(layer.name.prefix(120))\": \(what)", at: file.path, hint: hint)
    }
}

extension MatrixFormula<HostTensor> {
    /// Its shape; nil where its matrices do not go together, or where it would be too large for a number.
    fileprivate var checkedShape: [Int]? {
        switch self {
        case .whole(let matrix): return matrix.shape
        case .product(let up, let down):
            return up.shape[1] == down.shape[0] ? [up.shape[0], down.shape[1]] : nil
        case .hadamard(let left, let right):
            return left.checkedShape == right.checkedShape ? left.checkedShape : nil
        case .kronecker(let left, let right):
            guard let a = left.checkedShape, let b = right.checkedShape,
                Extent.product([a[0], b[0], a[1], b[1]], times: 1) != nil
            else { return nil }
            return [a[0] * b[0], a[1] * b[1]]
        case .rows: return nil
        }
    }

    /// The shapes of its matrices, for messages.
    fileprivate var shapes: String {
        switch self {
        case .whole(let matrix): "\(matrix.shape)"
        case .product(let up, let down): "\(up.shape) and \(down.shape)"
        case .hadamard(let left, let right), .kronecker(let left, let right): "\(left.shapes) and \(right.shapes)"
        case .rows(let matrix, _): matrix.shapes
        }
    }
}
