import RuyiKernelTable

/// What happens to the rows of a product once their sums are complete: `residual + gate · activation(scale · x +
/// bias)`.
struct ProductFinish: @unchecked Sendable {
    private let kernels: KernelTable
    /// Columns of the product.
    let columns: Int
    private let scale: Float
    private let bias: [Float]?
    private let activation: Activation
    /// One row of factors for every `rowsPerGate` rows.
    private let gate: [Float]?
    private let rowsPerGate: Int
    private let residual: Tensor?

    /// Takes the operands of `Backend.linear` for a product `[B, ..., N]` of this shape.
    init(
        _ backend: CPUBackend, shape: [Int], scale: Float = 1, bias: Tensor?, activation: Activation, gate: Tensor?,
        residual: Tensor?
    ) {
        kernels = backend.kernels
        columns = shape.last ?? 0
        self.scale = scale
        self.bias = backend.vector(bias, count: columns, "bias")
        self.activation = activation
        let batch = shape.count > 1 ? shape[0] : 1
        if let gate {
            precondition(gate.shape == [batch, columns], "gate \(gate.shape) is not [\(batch), \(columns)]")
        }
        self.gate = backend.vector(gate, count: batch * columns, "gate")
        rowsPerGate = max(1, shape.dropLast().reduce(1, *) / max(1, batch))
        if let residual { precondition(residual.shape == shape, "residual \(residual.shape) is not \(shape)") }
        self.residual = residual.map(backend.dense)
    }

    /// Finishes some rows and columns of the whole product, whose first element is at `result`.
    func apply(_ rows: Range<Int>, _ columns: Range<Int>, of result: UnsafeMutablePointer<Float>) {
        if scale != 1 {
            for row in rows {
                let part = result + row * self.columns + columns.lowerBound
                kernels.combine(part, scale, nil, 0, columns.count, part, false)
            }
        }
        guard bias != nil || activation != .none || gate != nil || residual != nil else { return }
        let addend = residual.map { UnsafePointer($0.floatPointer) }
        withOptionalPointer(bias) { bias in
            withOptionalPointer(gate) { gate in
                for row in rows {
                    let position = row * self.columns + columns.lowerBound
                    kernels.finishRow(
                        result + position, columns.count, bias.map { $0 + columns.lowerBound }, activation,
                        gate.map { $0 + row / rowsPerGate * self.columns + columns.lowerBound },
                        addend.map { $0 + position })
                }
            }
        }
    }
}
