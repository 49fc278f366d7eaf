import RuyiKernelTable

/// The greatest depth of the panels that are packed at a time.
private let greatestDepth = 1024
/// Slivers of columns of a panel, which then takes half of a second cache of 1 MiB.
private let sliversPerPanel = 4
/// Rows of x that are packed at a time; a weight panel is unpacked once for all of them.
private let rowLimit = 4032

extension CPUBackend {
    public func linear(
        _ x: Tensor, weight: Tensor, scale: Float, bias: Tensor?, activation: Activation, gate: Tensor?,
        residual: Tensor?
    ) -> Tensor {
        let depth = x.shape.last ?? 0
        let columns = weight.shape.first ?? 0
        precondition(
            weight.rank >= 2 && weight.count == columns * depth, "weight \(weight.shape) does not take x \(x.shape)")
        let shape = Array(x.shape.dropLast()) + [columns]
        let finish = ProductFinish(
            self, shape: shape, scale: scale, bias: bias, activation: activation, gate: gate, residual: residual)
        let result = empty(shape)
        let rows = x.count / max(depth, 1)
        note(.product(inputs: depth, outputs: columns), 2 * Double(x.count) * Double(columns))
        let source = dense(x)
        let work = ProductWork(
            kernels: kernels, x: source.floatPointer, depth: depth,
            weight: weight.isContiguous && weight.dtype.element != nil ? weight : copy(weight), finish: finish,
            result: result.floatPointer)
        withExtendedLifetime(source) {
            for row in stride(from: 0, to: rows, by: rowLimit) { work.run(row..<min(row + rowLimit, rows), on: self) }
        }
        return result
    }
}

/// The product of rows of floats and a weight that is unpacked panel by panel.
private struct ProductWork: @unchecked Sendable {
    let kernels: KernelTable
    let x: UnsafePointer<Float>
    let depth: Int
    let weight: Tensor
    let finish: ProductFinish
    let result: UnsafeMutablePointer<Float>

    private var columns: Int { finish.columns }
    private var columnSlivers: Int { (columns + kernels.nr - 1) / kernels.nr }
    /// The depth in equal parts.
    private var panelDepth: Int {
        let panels = max(1, (depth + greatestDepth - 1) / greatestDepth)
        return (depth + panels - 1) / panels
    }

    /// Computes some rows of the product.
    func run(_ rows: Range<Int>, on backend: CPUBackend) {
        let mr = kernels.mr
        let rowSlivers = (rows.count + mr - 1) / mr
        // Each task owns whole slivers of columns; the tasks are as large as cache and balance allow.
        let threads = backend.threadCount
        let rounds = (columnSlivers + sliversPerPanel * threads - 1) / (sliversPerPanel * threads)
        let tasks = min(columnSlivers, rounds * threads)
        let widest = (columnSlivers + max(tasks, 1) - 1) / max(tasks, 1)
        backend.withScratch(rowSlivers * mr * depth) { packed in
            let left = Shared(packed)
            backend.pool.parallel(rowSlivers) { sliver in
                let row = rows.lowerBound + sliver * mr
                kernels.packLeft(
                    x + row * depth, depth, min(mr, rows.upperBound - row), depth, left.pointer + sliver * mr * depth)
            }
            backend.parallel(tasks, scratch: (widest * panelDepth + mr) * kernels.nr) { task, scratch in
                let slivers = task * columnSlivers / tasks..<(task + 1) * columnSlivers / tasks
                multiply(left.pointer, rows, slivers, scratch)
            }
        }
    }

    /// Computes some slivers of columns.
    private func multiply(
        _ left: UnsafePointer<Float>, _ rows: Range<Int>, _ slivers: Range<Int>, _ scratch: UnsafeMutablePointer<Float>
    ) {
        guard let element = weight.dtype.element else { return }
        let (mr, nr) = (kernels.mr, kernels.nr)
        let range = slivers.lowerBound * nr..<min(slivers.upperBound * nr, columns)
        let edge = scratch + slivers.count * nr * panelDepth
        // While the slivers of columns are worked on, the next sliver of rows is fetched, a part with each of them.
        let step = (4 * mr + slivers.count - 1) / slivers.count
        var start = 0
        repeat {
            let count = min(panelDepth, depth - start)
            for (index, sliver) in slivers.enumerated() {
                kernels.packRight(
                    element, weight.rawPointer + (sliver * nr * depth + start) * weight.dtype.byteCount, depth,
                    min(nr, columns - sliver * nr), count, scratch + index * nr * count)
            }
            for row in stride(from: rows.lowerBound, to: rows.upperBound, by: mr) {
                let a = left + (row - rows.lowerBound) * depth + start * mr
                let rowCount = min(mr, rows.upperBound - row)
                let next = UnsafeRawPointer(row + mr < rows.upperBound ? a + mr * depth : a)
                for (index, sliver) in slivers.enumerated() {
                    let b = UnsafePointer(scratch + index * nr * count)
                    let c = result + row * columns + sliver * nr
                    let columnCount = min(nr, columns - sliver * nr)
                    let ahead = next + index * count * step
                    if rowCount == mr && columnCount == nr {
                        kernels.tile(count, a, b, c, columns, start > 0, ahead, step)
                    } else {
                        kernels.tile(count, a, b, edge, nr, false, ahead, step)
                        addEdge(edge, nr, to: c, columns, rowCount, columnCount, accumulate: start > 0)
                    }
                }
                if start + count == depth { finish.apply(row..<row + rowCount, range, of: result) }
            }
            start += count
        } while start < depth
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
