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
                    (scale, sum) = (given[first + column], integerKernels.packRow(integers, inputs, target, column))
                } else {
                    kernels.convert(source, start..<start + inputs, into: row)
                    (scale, sum) = integerKernels.quantizeRow(row, inputs, target, column)
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
        let left = quantizedRows(x, rows.count)
        let work = IntegerProduct(
            kernels: integerKernels, left: left, weight: weight, finish: finish, result: result.floatPointer,
            start: rows.lowerBound, streams: streams(result))
        withExtendedLifetime(left) {
            for row in stride(from: 0, to: rows.count, by: rowLimit) {
                work.run(row..<min(row + rowLimit, rows.count), on: self)
            }
        }
    }

    /// So many dense rows in 8 bits, as they were when another product wanted them.
    private func quantizedRows(_ x: Tensor, _ rows: Int) -> QuantizedRows {
        let depth = x.shape.last ?? 0
        // What is a part of a tensor has no copy of its own.
        guard x.offset == 0, 4 * x.count == x.cpu.byteCount else { return quantize(x, rows, depth) }
        return x.cpu.quantized(depth) { quantize(x, rows, depth) }
    }

    private func quantize(_ x: Tensor, _ rows: Int, _ depth: Int) -> QuantizedRows {
        let kernels = integerKernels
        let result = QuantizedRows(rows: rows, depth: depth, kernels, in: account)
        let source = Shared(x.floatPointer)
        parallel(result.slivers) { sliver in
            let first = sliver * kernels.mr
            let count = min(kernels.mr, rows - first)
            let target = result.words + sliver * result.sliverWords
            if count < kernels.mr { target.update(repeating: 0, count: result.sliverWords) }
            for index in 0..<count {
                result.scales[first + index] = kernels.quantizeLeft(
                    source.pointer + (first + index) * depth, depth, zeroPoint, target, index)
            }
        }
        return result
    }
}

/// Rows of activations in 8 bits with one scale for each, packed for the kernels of one level.
final class QuantizedRows: @unchecked Sendable {
    /// Numbers of a row.
    let depth: Int
    /// Slivers of as many rows as a tile has.
    let slivers: Int
    let sliverWords: Int
    private let block: CPUMemory.Block

    fileprivate init(rows: Int, depth: Int, _ kernels: IntegerKernels, in account: CPUMemory) {
        self.depth = depth
        slivers = (rows + kernels.mr - 1) / kernels.mr
        sliverWords = (depth + 3) / 4 * kernels.mr * kernels.leftWords
        block = account.block(4 * max(1, slivers * (sliverWords + kernels.mr)))
    }

    /// The slivers, one after the other.
    fileprivate var words: UnsafeMutablePointer<UInt32> { block.base.assumingMemoryBound(to: UInt32.self) }

    /// The factor of each row.
    fileprivate var scales: UnsafeMutablePointer<Float> {
        (block.base + 4 * slivers * sliverWords).assumingMemoryBound(to: Float.self)
    }
}

/// A product of quantised rows and a quantised weight.
private struct IntegerProduct: @unchecked Sendable {
    let kernels: IntegerKernels
    let left: QuantizedRows
    let weight: QuantizedWeight
    let finish: ProductFinish
    let result: UnsafeMutablePointer<Float>
    /// The row of the result that the first one makes.
    let start: Int
    let streams: Bool

    private var layout: QuantizedLayout { weight.layout }
    private var columns: Int { weight.outputs }

    /// Computes some rows of the product, from a sliver's first one on.
    func run(_ rows: Range<Int>, on session: CPUSession) {
        let mr = kernels.mr
        // Each task owns whole panels; the tasks are as large as cache and balance allow.
        let cached = max(1, cachedBytes / (4 * layout.panelWords))
        let threads = session.threadCount
        let rounds = (layout.panels + cached * threads - 1) / (cached * threads)
        let tasks = min(layout.panels, rounds * threads)
        session.parallel(tasks) { task in
            let panels = task * layout.panels / tasks..<(task + 1) * layout.panels / tasks
            withUnsafeTemporaryAllocation(of: Int32.self, capacity: mr * panels.count * kernels.nr) { sums in
                guard let sums = sums.baseAddress else { return }
                for row in stride(from: rows.lowerBound, to: rows.upperBound, by: mr) {
                    multiply(row..<min(row + mr, rows.upperBound), panels, sums)
                }
            }
            if streams { session.kernels.endStreams() }
        }
    }

    /// Computes a sliver's rows of some panels' columns.
    private func multiply(_ rows: Range<Int>, _ panels: Range<Int>, _ sums: UnsafeMutablePointer<Int32>) {
        let nr = kernels.nr
        let range = panels.lowerBound * nr..<min(columns, panels.upperBound * nr)
        let width = panels.count * nr
        let a = UnsafePointer(left.words + rows.lowerBound / kernels.mr * left.sliverWords)
        // While the panels are worked on, the next sliver of rows is fetched, a part with each of them.
        let step = (4 * kernels.mr + panels.count - 1) / panels.count
        let next = UnsafeRawPointer(a + left.sliverWords)
        for (index, panel) in panels.enumerated() {
            kernels.tile(
                layout.quads, a, weight.panels + panel * layout.panelWords, weight.starts + panel * nr,
                sums + index * nr, width, next + index * layout.quads * kernels.leftWords * step, step)
        }
        finish.apply(
            sums, width, rowScales: left.scales + rows.lowerBound, columnScales: weight.scales + range.lowerBound,
            start + rows.lowerBound..<start + rows.upperBound, range, of: result, streams: streams, kernels)
    }
}
