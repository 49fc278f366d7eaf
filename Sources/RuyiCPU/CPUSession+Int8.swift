import RuyiKernelTable
import RuyiTensor

/// Rows of x that are quantised at a time.
private let rowLimit = 4032
/// Bytes of panels that stay in the second cache while all rows pass by.
private let cachedBytes = 512 << 10
/// What stands for zero in the left operand, whose bytes are unsigned.
private let zeroPoint: Int32 = 128

extension CPUSession {
    func quantized(_ projection: Projection, in unit: ResidencyUnit) -> Weight? {
        let shape = projection.matrix.shape
        let outputs = shape.first ?? 0
        let count = shape.reduce(1, *)
        guard shape.count >= 2, count > 0, count / outputs <= QuantizedWeight.mostInputs else { return nil }
        let inputs = count / outputs
        let (kernels, integerKernels) = (kernels, integerKernels)
        let nr = integerKernels.nr
        let layout = QuantizedLayout(outputs: outputs, inputs: inputs, panelColumns: nr)
        let result = QuantizedWeight(
            outputs: outputs, inputs: inputs, layout: layout, block: account.block(layout.byteCount))
        note(.passing, Double(4 * count))
        let source = readable(projection.matrix)
        let given = source.dtype == .i8 ? projection.scale.perRow(outputs) : nil
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
                let start = (first + column) * inputs
                let (scale, sum): (Float, Int32)
                if let given {
                    let integers = source.pointer(to: start).assumingMemoryBound(to: Int8.self)
                    (scale, sum) = (given[first + column], packIntegers(integers, inputs, target + column, nr))
                } else {
                    kernels.convert(source, start..<start + inputs, into: row)
                    (scale, sum) = integerKernels.quantizeRow(row, inputs, 0, target + column, nr)
                }
                result.scales[first + column] = scale
                result.starts[first + column] = 0 &- zeroPoint &* sum
            }
        }
        unit.add(result)
        return Weight(dtype: .i8, layout: Layout([outputs, inputs]), unit: unit, storage: result)
    }

    /// Writes the product of dense rows with a quantised weight to these rows of the result.
    func multiply(
        _ x: Tensor, _ weight: QuantizedWeight, _ finish: ProductFinish, rows: Range<Int>, into result: Tensor
    ) {
        precondition(
            x.shape.last == weight.inputs, "weight [\(weight.outputs), \(weight.inputs)] does not take x \(x.shape)")
        note(
            .integerProduct(inputs: weight.inputs, outputs: weight.outputs),
            2 * Double(x.count) * Double(weight.outputs))
        let work = IntegerProduct(
            kernels: integerKernels, weight: weight, x: x.floatPointer, finish: finish, result: result.floatPointer,
            start: rows.lowerBound)
        withExtendedLifetime(x) {
            for row in stride(from: 0, to: rows.count, by: rowLimit) {
                work.run(row..<min(row + rowLimit, rows.count), on: self)
            }
        }
    }
}

/// Packs a row of integers as the kernels pack what they quantise, and gives its sum.
private func packIntegers(
    _ source: UnsafePointer<Int8>, _ count: Int, _ target: UnsafeMutablePointer<UInt32>, _ step: Int
) -> Int32 {
    var sum: Int32 = 0
    for word in 0..<(count + 3) / 4 {
        var quad: UInt32 = 0
        for lane in 0..<min(4, count - 4 * word) {
            let value = source[4 * word + lane]
            sum += Int32(value)
            quad |= UInt32(UInt8(bitPattern: value)) << UInt32(8 * lane)
        }
        target[word * step] = quad
    }
    return sum
}

/// A product of quantised rows and a quantised weight.
private struct IntegerProduct: @unchecked Sendable {
    let kernels: IntegerKernels
    let weight: QuantizedWeight
    let x: UnsafePointer<Float>
    let finish: ProductFinish
    let result: UnsafeMutablePointer<Float>
    /// The row of the result that x's first one makes.
    let start: Int

    private var layout: QuantizedLayout { weight.layout }
    private var columns: Int { weight.outputs }

    /// Computes some rows of the product.
    func run(_ rows: Range<Int>, on session: CPUSession) {
        let (mr, quads) = (kernels.mr, layout.quads)
        let slivers = (rows.count + mr - 1) / mr
        // Each task owns whole panels; the tasks are as large as cache and balance allow.
        let cached = max(1, cachedBytes / (4 * layout.panelWords))
        let threads = session.threadCount
        let rounds = (layout.panels + cached * threads - 1) / (cached * threads)
        let tasks = min(layout.panels, rounds * threads)
        session.withScratch(slivers * mr * (quads + 1)) { scratch in
            let left = Shared(UnsafeMutableRawPointer(scratch).assumingMemoryBound(to: UInt32.self))
            let scales = Shared(scratch + slivers * mr * quads)
            @Sendable func part(_ sliver: Int) -> Range<Int> {
                let row = rows.lowerBound + sliver * mr
                return row..<min(row + mr, rows.upperBound)
            }
            session.parallel(slivers) { sliver in
                quantize(part(sliver), left.pointer + sliver * mr * quads, scales.pointer + sliver * mr)
            }
            session.parallel(tasks) { task in
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
                result + (start + row) * columns + range.lowerBound)
        }
        finish.apply(start + rows.lowerBound..<start + rows.upperBound, range, of: result)
    }
}
