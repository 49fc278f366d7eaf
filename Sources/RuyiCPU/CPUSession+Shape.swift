import RuyiKernelTable
import RuyiTensor

extension CPUSession {
    func copy(_ x: Tensor) -> Tensor {
        let result = empty(x.shape)
        write(elements(of: x), to: result, at: 0, blockStride: x.count, blocks: 1)
        return result
    }

    func filled(_ shape: [Int], _ value: Float) -> Tensor {
        let result = empty(shape)
        forEachRange(result.count, grain: 1 << 16) { range in
            (result.floatPointer + range.lowerBound).update(repeating: value, count: range.count)
        }
        return result
    }

    func gather(_ table: Weight, _ places: [Int]) -> Tensor { gather(table.elements, places) }

    func gather(_ table: Tensor, _ places: [Int]) -> Tensor { gather(elements(of: table), places) }

    private func gather(_ table: HostTensor, _ places: [Int]) -> Tensor {
        precondition(
            table.rank == 2 && places.allSatisfy { (0..<table.shape[0]).contains($0) },
            "rows up to \(places.max() ?? 0) of a table \(table.shape)")
        let result = empty([places.count, table.shape[1]])
        forEachRange(places.count, grain: max(1, (1 << 16) / max(table.shape[1], 1))) { [kernels] range in
            for index in range {
                CPUSession.writeRow(
                    table, at: table.offset + places[index] * table.strides[0],
                    to: result.floatPointer + index * table.shape[1], kernels)
            }
        }
        return result
    }

    func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
        guard let first = parts.first else { preconditionFailure("nothing to concatenate") }
        var shape = first.shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        let result = empty(shape)
        let outer = shape[..<axis].reduce(1, *)
        let inner = shape[(axis + 1)...].reduce(1, *)
        var start = 0
        for part in parts {
            var expected = first.shape
            expected[axis] = part.shape[axis]
            precondition(part.shape == expected, "\(part.shape) cannot follow \(first.shape) on axis \(axis)")
            write(elements(of: part), to: result, at: start * inner, blockStride: shape[axis] * inner, blocks: outer)
            start += part.shape[axis]
        }
        return result
    }

    /// Writes x's elements in row-major order as floats, in `blocks` equal parts that are `blockStride` apart.
    func write(_ x: HostTensor, to result: Tensor, at start: Int, blockStride: Int, blocks: Int) {
        guard x.count > 0 else { return }
        let rowLength = x.shape.last ?? 1
        let rows = x.count / rowLength
        let blockRows = rows / blocks
        // Where rows begin.
        let origins = Layout(shape: x.shape.dropLast(), strides: x.strides.dropLast(), offset: x.offset)
        forEachRange(rows, grain: max(1, (1 << 16) / rowLength)) { [kernels] range in
            var row = range.lowerBound
            origins.forEachOffset(range) { origin in
                let place = start + row / blockRows * blockStride + row % blockRows * rowLength
                CPUSession.writeRow(x, at: origin, to: result.floatPointer + place, kernels)
                row += 1
            }
        }
    }

    /// Writes the elements of one row, the first of which lies at `origin`, as floats.
    private static func writeRow(
        _ x: HostTensor, at origin: Int, to target: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        let rowLength = x.shape.last ?? 1
        let step = x.strides.last ?? 1
        if step == 1 || rowLength == 1, let element = x.dtype.element {
            kernels.convert(element, x.storage.base + origin * x.dtype.byteCount, rowLength, target)
        } else if let blocks = x.dtype.blocks, step == 1, origin % x.dtype.blockLength == 0,
            rowLength % x.dtype.blockLength == 0
        {
            kernels.unpackBlocks(blocks, x.storage.base + x.dtype.byteCount(of: origin), rowLength, target)
        } else if x.dtype == .f32 {
            let source = x.storage.base.assumingMemoryBound(to: Float.self) + origin
            for index in 0..<rowLength { target[index] = source[index * step] }
        } else {
            for index in 0..<rowLength { target[index] = x.scalar(at: origin + index * step) }
        }
    }

    func upsampleNearest(_ x: Tensor) -> Tensor {
        precondition(x.rank == 4, "\(x.shape) is not [T, C, H, W]")
        let (height, width) = (x.shape[2], x.shape[3])
        let source = dense(x)
        let result = empty([x.shape[0], x.shape[1], 2 * height, 2 * width])
        forEachRange(x.shape[0] * x.shape[1] * height, grain: max(1, (1 << 15) / width)) { range in
            for row in range {
                let from = source.floatPointer + row * width
                let to = result.floatPointer + row * 4 * width
                for column in 0..<width {
                    to[2 * column] = from[column]
                    to[2 * column + 1] = from[column]
                }
                (to + 2 * width).update(from: to, count: 2 * width)
            }
        }
        return result
    }
}
