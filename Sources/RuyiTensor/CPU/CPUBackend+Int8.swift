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
        note(.passing, Double(4 * weight.count))
        let source = weight.isContiguous && weight.dtype.element != nil ? weight : copy(weight)
        guard let element = source.dtype.element else { return nil }
        parallel(layout.panels, scratch: inputs) { panel, row in
            let target = result.panels + panel * layout.panelWords
            let first = panel * nr
            let count = min(nr, outputs - first)
            if count < nr {
                target.update(repeating: 0, count: layout.panelWords)
                (result.scales + first).update(repeating: 0, count: nr)
                (result.starts + first).update(repeating: 0, count: nr)
            }
            for column in 0..<count {
                let start = (first + column) * inputs * source.dtype.byteCount
                kernels.convert(element, source.rawPointer + start, inputs, row)
                let (scale, sum) = integerKernels.quantizeRow(row, inputs, 0, target + column, nr)
                result.scales[first + column] = scale
                result.starts[first + column] = 0 &- zeroPoint &* sum
            }
        }
        return result
    }

    public func linear(
        _ x: Tensor, weight: QuantizedWeight, bias: Tensor?, activation: Activation, gate: Tensor?, residual: Tensor?
    ) -> Tensor {
        precondition(weight.storage.backend === self, "a quantised weight belongs to the backend that made it")
        precondition(
            x.shape.last == weight.inputs, "weight [\(weight.outputs), \(weight.inputs)] does not take x \(x.shape)")
        let shape = Array(x.shape.dropLast()) + [weight.outputs]
        let finish = ProductFinish(
            self, shape: shape, bias: bias, activation: activation, gate: gate, residual: residual)
        let result = empty(shape)
        let rows = x.count / weight.inputs
        note(
            .integerProduct(inputs: weight.inputs, outputs: weight.outputs),
            2 * Double(x.count) * Double(weight.outputs))
        let source = dense(x)
        let work = IntegerProduct(
            kernels: integerKernels, weight: weight, x: source.floatPointer, finish: finish, result: result.floatPointer
        )
        withExtendedLifetime(source) {
            for row in stride(from: 0, to: rows, by: rowLimit) { work.run(row..<min(row + rowLimit, rows), on: self) }
        }
        return result
    }
}

/// A product of quantised rows and a quantised weight.
private struct IntegerProduct: @unchecked Sendable {
    let kernels: IntegerKernels
    let weight: QuantizedWeight
    let x: UnsafePointer<Float>
    let finish: ProductFinish
    let result: UnsafeMutablePointer<Float>

    private var layout: QuantizedWeight.Layout { weight.layout }
    private var columns: Int { weight.outputs }

    /// Computes some rows of the product.
    func run(_ rows: Range<Int>, on backend: CPUBackend) {
        let (mr, quads) = (kernels.mr, layout.quads)
        let slivers = (rows.count + mr - 1) / mr
        // Each task owns whole panels; the tasks are as large as cache and balance allow.
        let cached = max(1, cachedBytes / (4 * layout.panelWords))
        let threads = backend.threadCount
        let rounds = (layout.panels + cached * threads - 1) / (cached * threads)
        let tasks = min(layout.panels, rounds * threads)
        backend.withScratch(slivers * mr * (quads + 1)) { scratch in
            let left = Shared(UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt32.self))
            let scales = Shared(scratch + slivers * mr * quads)
            @Sendable func part(_ sliver: Int) -> Range<Int> {
                let row = rows.lowerBound + sliver * mr
                return row..<min(row + mr, rows.upperBound)
            }
            backend.pool.parallel(slivers) { sliver in
                quantize(part(sliver), left.pointer + sliver * mr * quads, scales.pointer + sliver * mr)
            }
            backend.pool.parallel(tasks) { task in
                let panels = task * layout.panels / tasks..<(task + 1) * layout.panels / tasks
                let width = panels.count * kernels.nr
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: mr * width) { sums in
                    guard let sums = sums.baseAddress else { return }
                    for sliver in 0..<slivers {
                        multiply(
                            part(sliver), left.pointer + sliver * mr * quads, scales.pointer + sliver * mr, panels,
                            sums)
                    }
                }
            }
        }
    }

    /// Quantises the rows of a sliver.
    private func quantize(
        _ rows: Range<Int>, _ target: UnsafeMutablePointer<UInt32>, _ scales: UnsafeMutablePointer<Float>
    ) {
        let (mr, depth) = (kernels.mr, weight.inputs)
        if rows.count < mr { target.update(repeating: 0, count: mr * layout.quads) }
        for (index, row) in rows.enumerated() {
            scales[index] = kernels.quantizeRow(x + row * depth, depth, zeroPoint, target + index, mr).scale
        }
    }

    /// Computes a sliver's rows of some panels' columns.
    private func multiply(
        _ rows: Range<Int>, _ left: UnsafePointer<UInt32>, _ scales: UnsafePointer<Float>, _ panels: Range<Int>,
        _ sums: UnsafeMutablePointer<Int32>
    ) {
        let nr = kernels.nr
        let range = panels.lowerBound * nr..<min(columns, panels.upperBound * nr)
        let width = panels.count * nr
        // While the panels are worked on, the next sliver of rows is fetched, a part with each of them.
        let step = (4 * kernels.mr + panels.count - 1) / panels.count
        let next = UnsafeRawPointer(left + kernels.mr * layout.quads)
        for (index, panel) in panels.enumerated() {
            kernels.tile(
                layout.quads, left, weight.panels + panel * layout.panelWords, weight.starts + panel * nr,
                sums + index * nr, width, next + index * layout.quads * step, step)
        }
        for (index, row) in rows.enumerated() {
            kernels.scaleRow(
                sums + index * width, range.count, weight.scales + range.lowerBound, scales[index],
                result + row * columns + range.lowerBound)
        }
        finish.apply(rows, range, of: result)
    }
}
