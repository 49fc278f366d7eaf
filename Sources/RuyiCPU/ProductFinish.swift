import RuyiKernelTable
import RuyiTensor

/// What happens to the rows of a product once their sums are complete: `residual + gate · activation(scale · x +
/// bias)`.
///
/// Scales of blocks are no business of the sums: weights are multiplied by them as they are unpacked.
struct ProductFinish: @unchecked Sendable {
    private let kernels: KernelTable
    /// Columns of the product.
    let columns: Int
    private let scale: Float
    private let bias: [Float]?
    private let activation: Activation
    /// The factors of each run of rows.
    private let gate: [Float]?
    private let runs: RowRuns
    private let residual: Tensor?

    /// For a product `[B, ..., N]` of this shape.
    init(
        _ session: CPUSession, shape: [Int], _ projection: Projection, _ activation: Activation, gate: TokenRows?,
        residual: Tensor?
    ) {
        kernels = session.kernels
        columns = shape.last ?? 0
        scale = if case .number(let factor) = projection.scale { factor } else { 1 }
        bias = session.vector(projection.bias, count: columns, "bias")
        self.activation = activation
        self.gate = session.vector(gate, width: columns, "gate")
        runs = RowRuns(gate, of: shape)
        if let residual { precondition(residual.shape == shape, "residual \(residual.shape) is not \(shape)") }
        self.residual = residual.map(session.dense)
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
        withOperands(rows, columns) { row, position, bias, gate, residual in
            kernels.finishRow(result + position, columns.count, bias, activation.function, gate, residual)
        }
    }

    /// Writes rows and columns of the whole product, finished, from sums of integers that are `stride` apart.
    ///
    /// They count times the scales of their row and their column.
    func apply(
        _ sums: UnsafePointer<Int32>, _ stride: Int, rowScales: UnsafePointer<Float>,
        columnScales: UnsafePointer<Float>, _ rows: Range<Int>, _ columns: Range<Int>,
        of result: UnsafeMutablePointer<Float>, streams: Bool, _ integerKernels: IntegerKernels
    ) {
        withOperands(rows, columns) { row, position, bias, gate, residual in
            let index = row - rows.lowerBound
            integerKernels.finishRow(
                sums + index * stride, columns.count, columnScales, rowScales[index] * scale, bias,
                activation.function, gate, residual, result + position, streams)
        }
    }

    /// Calls `body` for each row with the place of its first column in the product, and what is there of the operands.
    @inline(__always)
    private func withOperands(
        _ rows: Range<Int>, _ columns: Range<Int>,
        _ body: (
            _ row: Int, _ position: Int, _ bias: UnsafePointer<Float>?, _ gate: UnsafePointer<Float>?,
            _ residual: UnsafePointer<Float>?
        ) -> Void
    ) {
        let addend = residual.map { UnsafePointer($0.floatPointer) }
        withOptionalPointer(bias) { bias in
            withOptionalPointer(gate) { gate in
                for row in rows {
                    let position = row * self.columns + columns.lowerBound
                    body(
                        row, position, bias.map { $0 + columns.lowerBound },
                        gate.map { $0 + runs.index(of: row) * self.columns + columns.lowerBound },
                        addend.map { $0 + position })
                }
            }
        }
    }
}

/// Which run of tokens a row of `[B, ..., C]` belongs to.
struct RowRuns: Sendable {
    private let ends: [Int]
    private let length: Int

    /// The runs of these rows of values; one run where there are none.
    init(_ rows: TokenRows?, of shape: [Int]) {
        let count = shape.dropLast().reduce(1, *)
        let runs = rows?.values.shape[0] ?? 1
        if let lengths = rows?.lengths {
            ends = lengths.indices.map { lengths[...$0].reduce(0, +) }
            precondition(ends.last == count, "runs of \(lengths) tokens are not the rows of \(shape)")
        } else {
            precondition(runs > 0 && count % runs == 0, "\(runs) runs do not divide the rows of \(shape)")
            ends = []
        }
        length = max(1, count / max(runs, 1))
    }

    func index(of row: Int) -> Int {
        if ends.isEmpty { return row / length }
        var index = 0
        while row >= ends[index] { index += 1 }
        return index
    }
}

extension Activation {
    /// The kernels' name of the function.
    var function: Function {
        switch self {
        case .none: .none
        case .silu: .silu
        case .geluTanh: .geluTanh
        case .gelu: .gelu
        case .quickGelu: .quickGelu
        }
    }
}
