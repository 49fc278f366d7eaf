import RuyiKernelTable
import RuyiTensor

/// The greatest depth of the panels that are packed at a time, in words.
private let greatestDepth = 1024
/// Slivers of columns of a panel, which then takes half of a second cache of 1 MiB.
private let sliversPerPanel = 4
/// Rows of x whose product is bound by reading the weight, so that its operands are not rounded to make it faster.
private let fewRows = 4
/// Rows of x that are packed at a time; a weight panel is unpacked once for all of them.
private let rowLimit = 4032

extension CPUSession {
    func linear(_ x: Tensor, _ projection: Projection, _ activation: Activation) -> Tensor {
        linear(x, projection, activation, multiplier)
    }

    private func linear(
        _ x: Tensor, _ projection: Projection, _ activation: Activation, _ multiplier: Multiplier
    ) -> Tensor {
        let product = PendingProduct(
            x: x, projection: projection, kind: .linear(activation), multiplier: multiplier, gate: nil)
        let depth = x.shape.last ?? 0
        let shape = projection.matrix.shape
        precondition(
            shape.count >= 2 && shape.reduce(1, *) == projection.outputs * depth,
            "weight \(shape) does not take x \(x.shape)")
        return Tensor(dtype: .f32, layout: Layout(product.shape), storage: CPUStorage(self, product))
    }

    func feedForward(
        _ x: Tensor, inner: Projection, _ activation: Activation, outer: Projection, beside: Tensor?
    ) -> Tensor {
        let product = PendingProduct(
            x: x, projection: outer, kind: .feedForward(inner: inner, activation, beside: beside),
            multiplier: multiplier, gate: nil)
        return Tensor(dtype: .f32, layout: Layout(product.shape), storage: CPUStorage(self, product))
    }

    /// Computes a product that was put off, and adds it to a residual.
    func compute(_ product: PendingProduct, residual: Tensor?) -> Tensor {
        switch product.kind {
        case .linear(let activation):
            let finish = ProductFinish(
                self, shape: product.shape, product.projection, activation, gate: product.gate, residual: residual)
            let result = empty(product.shape)
            multiply(product.x, product, finish, rows: 0, into: result)
            return result
        case .feedForward(let inner, let activation, let beside):
            let finish = ProductFinish(
                self, shape: product.shape, product.projection, .none, gate: product.gate, residual: residual)
            let result = empty(product.shape)
            func flat(_ x: Tensor) -> Tensor {
                let width = x.shape.last ?? 0
                return dense(x).reshaped([x.count / max(width, 1), width])
            }
            let (x, beside) = (flat(product.x), beside.map(flat))
            // A function of its own, so that the hidden values are gone when their copy is multiplied.
            func wide(_ rows: Range<Int>) -> Tensor {
                let hidden = linear(x.sliced(0, rows), inner, activation, product.multiplier)
                return beside.map { concatenate([$0.sliced(0, rows), hidden], axis: 1) } ?? hidden
            }
            for start in stride(from: 0, to: x.shape[0], by: rowLimit) {
                let rows = start..<min(start + rowLimit, x.shape[0])
                multiply(wide(rows), product, finish, rows: start, into: result)
            }
            return result
        }
    }

    /// Writes the product of all rows of x to those of the result from a row on.
    private func multiply(
        _ x: Tensor, _ product: PendingProduct, _ finish: ProductFinish, rows start: Int, into result: Tensor
    ) {
        let (projection, multiplier) = (product.projection, product.multiplier)
        let depth = x.shape.last ?? 0
        let rows = x.count / max(depth, 1)
        let source = dense(x)
        if case .stored(let weight) = projection.matrix, let quantized = weight.storage as? QuantizedWeight {
            return multiply(source, quantized, finish, rows: start..<start + rows, into: result)
        }
        note(.product(inputs: depth, outputs: finish.columns), 2 * Double(x.count) * Double(finish.columns))
        let work = ProductWork(
            multiplier: rows <= fewRows ? multiplier.exact : multiplier, x: source.floatPointer, depth: depth,
            weight: readable(projection.matrix),
            scales: projection.scale.blocks, finish: finish, result: result.floatPointer, start: start)
        withExtendedLifetime(source) {
            for row in stride(from: 0, to: rows, by: rowLimit) { work.run(row..<min(row + rowLimit, rows), on: self) }
        }
    }
}

/// The product of rows of floats and a weight that is unpacked panel by panel.
private struct ProductWork: @unchecked Sendable {
    let multiplier: Multiplier
    let x: UnsafePointer<Float>
    /// Numbers of a row.
    let depth: Int
    let weight: HostTensor
    let scales: ScaleBlocks?
    let finish: ProductFinish
    let result: UnsafeMutablePointer<Float>
    /// The row of the result that x's first one makes.
    let start: Int

    private var columns: Int { finish.columns }
    private var columnSlivers: Int { (columns + multiplier.nr - 1) / multiplier.nr }
    /// Words of a row.
    private var words: Int { multiplier.words(depth) }
    /// The depth in equal parts, of whole blocks and words, in numbers.
    private var panelDepth: Int {
        let panels = max(1, (words + greatestDepth - 1) / greatestDepth)
        let block = max(weight.dtype.blockLength, multiplier.isRounding ? 2 : 1)
        return ((depth + panels - 1) / panels + block - 1) / block * block
    }

    /// Computes some rows of the product.
    func run(_ rows: Range<Int>, on session: CPUSession) {
        let mr = multiplier.mr
        let rowSlivers = (rows.count + mr - 1) / mr
        // Each task owns whole slivers of columns; the tasks are as large as cache and balance allow.
        let threads = session.threadCount
        let rounds = (columnSlivers + sliversPerPanel * threads - 1) / (sliversPerPanel * threads)
        let tasks = min(columnSlivers, rounds * threads)
        let widest = (columnSlivers + max(tasks, 1) - 1) / max(tasks, 1)
        session.withScratch(rowSlivers * mr * words) { packed in
            let left = Shared(packed)
            session.parallel(rowSlivers) { sliver in
                let row = rows.lowerBound + sliver * mr
                multiplier.packLeft(
                    x + row * depth, depth, min(mr, rows.upperBound - row), depth, left.pointer + sliver * mr * words)
            }
            let panelWords = multiplier.words(panelDepth)
            session.parallel(tasks, scratch: (widest * panelWords + mr) * multiplier.nr) { task, scratch in
                let slivers = task * columnSlivers / tasks..<(task + 1) * columnSlivers / tasks
                multiply(left.pointer, rows, slivers, scratch)
            }
        }
    }

    /// Computes some slivers of columns.
    private func multiply(
        _ left: UnsafePointer<Float>, _ rows: Range<Int>, _ slivers: Range<Int>, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let (mr, nr) = (multiplier.mr, multiplier.nr)
        let range = slivers.lowerBound * nr..<min(slivers.upperBound * nr, columns)
        let edge = scratch + slivers.count * nr * multiplier.words(panelDepth)
        // While the slivers of columns are worked on, the next sliver of rows is fetched, a part with each of them.
        let step = (4 * mr + slivers.count - 1) / slivers.count
        var first = 0
        repeat {
            let numbers = min(panelDepth, depth - first)
            let count = multiplier.words(numbers)
            for (index, sliver) in slivers.enumerated() {
                let rows = sliver * nr..<min((sliver + 1) * nr, columns)
                let scales = scales?.from(sliver * nr)
                multiplier.packRight(
                    weight, depth: depth, rows: rows, first: first, count: numbers, into: scratch + index * nr * count,
                    change: scales.map { scales in
                        { scales.multiply($0, rows: rows.count, stride: nr, columns: $1) }
                    })
            }
            for row in stride(from: rows.lowerBound, to: rows.upperBound, by: mr) {
                let a = left + (row - rows.lowerBound) * words + multiplier.words(first) * mr
                let rowCount = min(mr, rows.upperBound - row)
                let next = UnsafeRawPointer(row + mr < rows.upperBound ? a + mr * words : a)
                for (index, sliver) in slivers.enumerated() {
                    let b = UnsafePointer(scratch + index * nr * count)
                    let c = result + (start + row) * columns + sliver * nr
                    let columnCount = min(nr, columns - sliver * nr)
                    let ahead = next + index * count * step
                    if rowCount == mr && columnCount == nr {
                        multiplier.tile(count, a, b, c, columns, first > 0, ahead, step)
                    } else {
                        multiplier.tile(count, a, b, edge, nr, false, ahead, step)
                        addEdge(edge, nr, to: c, columns, rowCount, columnCount, accumulate: first > 0)
                    }
                }
                if first + numbers == depth {
                    finish.apply(start + row..<start + row + rowCount, range, of: result)
                }
            }
            first += numbers
        } while first < depth
    }
}

extension WeightScale {
    /// The scales of blocks, if there are more than one number.
    fileprivate var blocks: ScaleBlocks? { if case .blocks(let blocks) = self { blocks } else { nil } }
}

extension ScaleBlocks {
    /// Multiplies rows of a matrix of weights that lie unpacked with their columns one after the other, `stride` apart.
    fileprivate func multiply(
        _ panel: UnsafeMutablePointer<Float>, rows: Int, stride: Int, columns: Range<Int>
    ) {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: rows) { factors in
            var column = columns.lowerBound
            while column < columns.upperBound {
                let end = min(columns.upperBound, (column / width + 1) * width)
                for row in 0..<rows { factors[row] = self[row, column] }
                for place in column..<end {
                    let target = panel + (place - columns.lowerBound) * stride
                    for row in 0..<rows { target[row] *= factors[row] }
                }
                column = end
            }
        }
    }
}

/// Copies or adds the valid part of a tile at the edge of a matrix.
func addEdge(
    _ tile: UnsafePointer<Float>, _ tileStride: Int, to target: UnsafeMutablePointer<Float>, _ stride: Int, _ rows: Int,
    _ columns: Int, accumulate: Bool
) {
    for row in 0..<rows {
        for column in 0..<columns {
            let value = tile[row * tileStride + column]
            target[row * stride + column] = accumulate ? target[row * stride + column] + value : value
        }
    }
}
