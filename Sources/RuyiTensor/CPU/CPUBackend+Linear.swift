import RuyiKernelTable

/// Depth of the panels that are packed at a time: a sliver of each operand then fits the first cache together.
private let panelDepth = 512
/// Rows of x that are packed at a time; a weight panel is unpacked once for all of them.
private let rowLimit = 4032

extension CPUBackend {
    public func linear(
        _ x: Tensor, weight: Tensor, bias: Tensor?, activation: Activation, residual: Tensor?
    ) -> Tensor {
        let depth = x.shape.last ?? 0
        let columns = weight.shape.first ?? 0
        precondition(
            weight.rank >= 2 && weight.count == columns * depth, "weight \(weight.shape) does not take x \(x.shape)")
        let shape = Array(x.shape.dropLast()) + [columns]
        if let residual {
            precondition(residual.shape == shape, "residual \(residual.shape) is not \(shape)")
        }
        let result = empty(shape)
        let rows = x.count / max(depth, 1)
        let source = dense(x)
        let usable = weight.isContiguous && weight.dtype.element != nil ? weight : copy(weight)
        let addend = residual.map(dense)
        let biases = vector(bias, count: columns, "bias")
        var row = 0
        while row < rows {
            let count = min(rowLimit, rows - row)
            product(
                Operand(x: source.floatPointer + row * depth, rows: count, depth: depth), usable, columns: columns,
                finish: Finish(
                    bias: biases, activation: activation, residual: addend.map { $0.floatPointer + row * columns }),
                into: result.floatPointer + row * columns)
            row += count
        }
        return result
    }

    /// The left side of a product: dense rows.
    private struct Operand: @unchecked Sendable {
        let x: UnsafePointer<Float>
        let rows: Int
        let depth: Int
    }

    /// What happens to a row once its sums are complete.
    private struct Finish: @unchecked Sendable {
        let bias: [Float]?
        let activation: Activation
        let residual: UnsafeMutablePointer<Float>?

        var isNeeded: Bool { bias != nil || activation != .none || residual != nil }
    }

    private func product(
        _ operand: Operand, _ weight: Tensor, columns: Int, finish: Finish, into result: UnsafeMutablePointer<Float>
    ) {
        let (rows, depth) = (operand.rows, operand.depth)
        let (mr, nr) = (kernels.mr, kernels.nr)
        let rowSlivers = (rows + mr - 1) / mr
        let columnSlivers = (columns + nr - 1) / nr
        let kernels = kernels
        // Each task owns whole slivers of columns; the tasks are as large as cache and balance allow.
        let rounds = (columnSlivers + 8 * pool.threadCount - 1) / (8 * pool.threadCount)
        let tasks = min(columnSlivers, rounds * pool.threadCount)
        let widest = (columnSlivers + tasks - 1) / tasks
        let target = Shared(result)
        withScratch(rowSlivers * mr * depth) { packed in
            let left = Shared(packed)
            pool.parallel(rowSlivers) { sliver in
                kernels.packLeft(
                    operand.x + sliver * mr * depth, depth, min(mr, rows - sliver * mr), depth,
                    left.pointer + sliver * mr * depth)
            }
            pool.parallel(tasks) { task in
                let slivers = task * columnSlivers / tasks..<(task + 1) * columnSlivers / tasks
                withScratch(widest * nr * min(panelDepth, depth) + mr * nr) { panel in
                    Panel(kernels: kernels, rows: rows, columns: columns, depth: depth, slivers: slivers).multiply(
                        left.pointer, weight, scratch: panel, finish: finish, into: target.pointer)
                }
            }
        }
    }

    /// The columns of a product that one task computes.
    private struct Panel {
        let kernels: KernelTable
        let rows: Int
        let columns: Int
        let depth: Int
        let slivers: Range<Int>

        func multiply(
            _ left: UnsafePointer<Float>, _ weight: Tensor, scratch: UnsafeMutablePointer<Float>, finish: Finish,
            into result: UnsafeMutablePointer<Float>
        ) {
            guard let element = weight.dtype.element else { return }
            let (mr, nr) = (kernels.mr, kernels.nr)
            let elementBytes = weight.dtype.byteCount
            let edge = scratch + slivers.count * nr * min(panelDepth, depth)
            var start = 0
            repeat {
                let count = min(panelDepth, depth - start)
                let isLast = start + count == depth
                for (index, sliver) in slivers.enumerated() {
                    kernels.packRight(
                        element, weight.rawPointer + (sliver * nr * depth + start) * elementBytes, depth,
                        min(nr, columns - sliver * nr), count, scratch + index * nr * count)
                }
                for rowStart in stride(from: 0, to: rows, by: mr) {
                    let a = left + rowStart * depth + start * mr
                    let rowCount = min(mr, rows - rowStart)
                    for (index, sliver) in slivers.enumerated() {
                        let b = UnsafePointer(scratch + index * nr * count)
                        let c = result + rowStart * columns + sliver * nr
                        let columnCount = min(nr, columns - sliver * nr)
                        if rowCount == mr && columnCount == nr {
                            kernels.tile(count, a, b, c, columns, start > 0)
                        } else {
                            kernels.tile(count, a, b, edge, nr, false)
                            addEdge(edge, nr, to: c, columns, rowCount, columnCount, accumulate: start > 0)
                        }
                    }
                    if isLast && finish.isNeeded { finishRows(rowStart..<rowStart + rowCount, finish, result) }
                }
                start += count
            } while start < depth
        }

        private func finishRows(_ range: Range<Int>, _ finish: Finish, _ result: UnsafeMutablePointer<Float>) {
            let first = slivers.lowerBound * kernels.nr
            let count = min(columns, slivers.upperBound * kernels.nr) - first
            withOptionalPointer(finish.bias) { bias in
                for row in range {
                    let position = row * columns + first
                    kernels.finishRow(
                        result + position, count, bias.map { $0 + first }, finish.activation, nil,
                        finish.residual.map { UnsafePointer($0 + position) })
                }
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
