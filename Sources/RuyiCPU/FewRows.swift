import RuyiKernelTable
import RuyiTensor

/// Outputs of one task.
private let outputsPerTask = 32
/// Numbers of a row that are worked on at a time: those of two rows of x and of four of the weight stay in the first cache.
private let pieceLength = 2048

/// The product of so few rows of floats with a weight that its time is that of reading the weight.
///
/// The order of a sum depends on nothing but its length.
struct FewRowsWork: @unchecked Sendable {
    let kernels: KernelTable
    let dots: DotKernels
    let x: UnsafePointer<Float>
    let rows: Int
    /// Numbers of a row.
    let depth: Int
    let weight: HostTensor
    let scales: ScaleBlocks?
    let finish: ProductFinish
    let result: UnsafeMutablePointer<Float>
    /// The row of the result that x's first one makes.
    let start: Int

    /// Whether rows are unpacked before they are multiplied, because they are blocks or have scales of blocks.
    private var unpacks: Bool { weight.dtype.element == nil || scales != nil }

    /// Computes the product.
    func run(on session: CPUSession) {
        let tasks = (finish.columns + outputsPerTask - 1) / outputsPerTask
        let scratch = unpacks ? DotKernels.mostOutputs * min(depth, pieceLength) : 0
        session.parallel(tasks, scratch: scratch) { task, scratch in
            let first = task * outputsPerTask
            let columns = first..<min(first + outputsPerTask, finish.columns)
            multiply(columns, scratch)
            finish.apply(start..<start + rows, columns, of: result)
        }
    }

    /// Computes some columns.
    private func multiply(_ columns: Range<Int>, _ scratch: UnsafeMutablePointer<Float>) {
        var first = 0
        repeat {
            let count = min(pieceLength, depth - first)
            for column in stride(from: columns.lowerBound, to: columns.upperBound, by: DotKernels.mostOutputs) {
                let outputs = min(DotKernels.mostOutputs, columns.upperBound - column)
                multiply(column..<column + outputs, first..<first + count, scratch)
            }
            first += count
        } while first < depth
    }

    /// Adds the products of a part of all rows with that of some of the weight's.
    private func multiply(_ outputs: Range<Int>, _ part: Range<Int>, _ scratch: UnsafeMutablePointer<Float>) {
        var (element, source, stride) = (Element.f32, UnsafeRawPointer(scratch), 4 * part.count)
        if !unpacks, let stored = weight.dtype.element {
            element = stored
            source = weight.pointer(to: outputs.lowerBound * depth + part.lowerBound)
            stride = weight.dtype.byteCount(of: depth)
        } else {
            for (index, output) in outputs.enumerated() {
                let row = scratch + index * part.count
                kernels.convert(
                    weight, output * depth + part.lowerBound..<output * depth + part.upperBound, into: row)
                scales?.multiply(row, row: output, columns: part)
            }
        }
        // Groups of rows as equal as can be.
        let groups = (rows + DotKernels.mostRows - 1) / DotKernels.mostRows
        for group in 0..<groups {
            let range = group * rows / groups..<(group + 1) * rows / groups
            dots.multiply(
                element, source, stride, outputs.count, x + range.lowerBound * depth + part.lowerBound, depth,
                range.count, part.count,
                result + (start + range.lowerBound) * finish.columns + outputs.lowerBound, finish.columns,
                part.lowerBound > 0)
        }
    }
}

extension ScaleBlocks {
    /// Multiplies a part of a row of a matrix of weights.
    fileprivate func multiply(_ values: UnsafeMutablePointer<Float>, row: Int, columns: Range<Int>) {
        var column = columns.lowerBound
        while column < columns.upperBound {
            let end = min(columns.upperBound, (column / width + 1) * width)
            let factor = self[row, column]
            for place in column..<end { values[place - columns.lowerBound] *= factor }
            column = end
        }
    }
}
