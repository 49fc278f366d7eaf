import RuyiKernelTable

/// Rows of x that are quantised at a time.
private let rowLimit = 4032
/// Bytes of panels that stay in the second cache while all rows pass by.
private let cachedBytes = 512 << 10
/// What stands for zero in the left operand, whose bytes are unsigned.
private let zeroPoint: Int32 = 128

extension CPUBackend {
    public func quantize(_ weight: Tensor) -> QuantizedWeight? {
        let outputs = weight.shape.first ?? 0
        guard weight.rank >= 2, weight.count > 0, weight.count / outputs <= QuantizedWeight.mostInputs else {
            return nil
        }
        let inputs = weight.count / outputs
        let (kernels, integerKernels) = (kernels, integerKernels)
        let nr = integerKernels.nr
        let layout = QuantizedWeight.Layout(outputs: outputs, inputs: inputs, panelColumns: nr)
        let memory = memory
        let storage = Storage(base: memory.allocate(layout.byteCount), byteCount: layout.byteCount, backend: self) {
            base, count in memory.free(base, count)
        }
        let result = QuantizedWeight(outputs: outputs, inputs: inputs, storage: storage, layout: layout)
        let source = weight.isContiguous && weight.dtype.element != nil ? weight : copy(weight)
        guard let element = source.dtype.element else { return nil }
        pool.parallel(layout.panels) { panel in
            let target = result.panels + panel * layout.panelWords
            let first = panel * nr
            let count = min(nr, outputs - first)
            if count < nr {
                target.update(repeating: 0, count: layout.panelWords)
                (result.scales + first).update(repeating: 0, count: nr)
                (result.starts + first).update(repeating: 0, count: nr)
            }
            withScratch(inputs) { row in
                for column in 0..<count {
                    let start = (first + column) * inputs * source.dtype.byteCount
                    kernels.convert(element, source.rawPointer + start, inputs, row)
                    let (scale, sum) = integerKernels.quantizeRow(row, inputs, 0, target + column, nr)
                    result.scales[first + column] = scale
                    result.starts[first + column] = 0 &- zeroPoint &* sum
                }
            }
        }
        return result
    }

    public func linear(
        _ x: Tensor, weight: QuantizedWeight, bias: Tensor?, activation: Activation, residual: Tensor?
    ) -> Tensor {
        precondition(weight.storage.backend === self, "a quantised weight belongs to the backend that made it")
        precondition(
            x.shape.last == weight.inputs, "weight [\(weight.outputs), \(weight.inputs)] does not take x \(x.shape)")
        let (depth, columns) = (weight.inputs, weight.outputs)
        let shape = Array(x.shape.dropLast()) + [columns]
        if let residual {
            precondition(residual.shape == shape, "residual \(residual.shape) is not \(shape)")
        }
        let result = empty(shape)
        let rows = x.count / depth
        let source = dense(x)
        let addend = residual.map(dense)
        let biases = vector(bias, count: columns, "bias")
        for first in stride(from: 0, to: rows, by: rowLimit) {
            IntegerProduct(
                kernels: kernels, integerKernels: integerKernels, weight: weight, rows: min(rowLimit, rows - first),
                x: source.floatPointer + first * depth, bias: biases, activation: activation,
                residual: addend.map { $0.floatPointer + first * columns },
                result: result.floatPointer + first * columns
            ).run(on: self)
        }
        return result
    }
}

/// A product of quantised rows and a quantised weight.
private struct IntegerProduct: @unchecked Sendable {
    let kernels: KernelTable
    let integerKernels: IntegerKernels
    let weight: QuantizedWeight
    let rows: Int
    let x: UnsafePointer<Float>
    let bias: [Float]?
    let activation: Activation
    let residual: UnsafeMutablePointer<Float>?
    let result: UnsafeMutablePointer<Float>

    private var layout: QuantizedWeight.Layout { weight.layout }
    private var columns: Int { weight.outputs }

    func run(on backend: CPUBackend) {
        let (mr, quads) = (integerKernels.mr, layout.quads)
        let slivers = (rows + mr - 1) / mr
        // Each task owns whole panels; the tasks are as large as cache and balance allow.
        let cached = max(1, cachedBytes / (4 * layout.panelWords))
        let threads = backend.threadCount
        let rounds = (layout.panels + cached * threads - 1) / (cached * threads)
        let tasks = min(layout.panels, rounds * threads)
        backend.withScratch(slivers * mr * (quads + 1)) { scratch in
            let left = Shared(UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt32.self))
            let scales = Shared(scratch + slivers * mr * quads)
            backend.pool.parallel(slivers) { quantize($0, left.pointer, scales.pointer) }
            backend.pool.parallel(tasks) { task in
                let panels = task * layout.panels / tasks..<(task + 1) * layout.panels / tasks
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: mr * integerKernels.nr) { sums in
                    guard let sums = sums.baseAddress else { return }
                    for sliver in 0..<slivers {
                        multiply(
                            sliver, left.pointer + sliver * mr * quads, scales.pointer + sliver * mr, panels, sums)
                    }
                }
            }
        }
    }

    /// Quantises the rows of a sliver.
    private func quantize(
        _ sliver: Int, _ left: UnsafeMutablePointer<UInt32>, _ scales: UnsafeMutablePointer<Float>
    ) {
        let (mr, quads, depth) = (integerKernels.mr, layout.quads, weight.inputs)
        let count = min(mr, rows - sliver * mr)
        let target = left + sliver * mr * quads
        if count < mr { target.update(repeating: 0, count: mr * quads) }
        for row in 0..<count {
            scales[sliver * mr + row] =
                integerKernels.quantizeRow(x + (sliver * mr + row) * depth, depth, zeroPoint, target + row, mr).scale
        }
    }

    /// Computes a sliver's rows of some panels' columns.
    private func multiply(
        _ sliver: Int, _ left: UnsafePointer<UInt32>, _ scales: UnsafePointer<Float>, _ panels: Range<Int>,
        _ sums: UnsafeMutablePointer<Int32>
    ) {
        let (mr, nr) = (integerKernels.mr, integerKernels.nr)
        let firstRow = sliver * mr
        let count = min(mr, rows - firstRow)
        for panel in panels {
            let column = panel * nr
            integerKernels.tile(
                layout.quads, left, weight.panels + panel * layout.panelWords, weight.starts + column, sums)
            for row in 0..<count {
                integerKernels.scaleRow(
                    sums + row * nr, min(nr, columns - column), weight.scales + column, scales[row],
                    result + (firstRow + row) * columns + column)
            }
        }
        guard bias != nil || activation != .none || residual != nil else { return }
        let first = panels.lowerBound * nr
        let width = min(columns, panels.upperBound * nr) - first
        withOptionalPointer(bias) { bias in
            for row in firstRow..<firstRow + count {
                let position = row * columns + first
                kernels.finishRow(
                    result + position, width, bias.map { $0 + first }, activation, nil,
                    residual.map { UnsafePointer($0 + position) })
            }
        }
    }
}
