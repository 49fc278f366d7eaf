import RuyiKernelTable

extension CPUBackend {
    public func copy(_ x: Tensor) -> Tensor {
        let result = empty(x.shape)
        write(x, to: result, at: 0, blockStride: x.count, blocks: 1)
        return result
    }

    public func concatenate(_ parts: [Tensor], axis: Int) -> Tensor {
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
            write(part, to: result, at: start * inner, blockStride: shape[axis] * inner, blocks: outer)
            start += part.shape[axis]
        }
        return result
    }

    /// Writes x's elements in row-major order as floats, in `blocks` equal parts that are `blockStride` apart.
    private func write(_ x: Tensor, to result: Tensor, at start: Int, blockStride: Int, blocks: Int) {
        guard x.count > 0 else { return }
        let rowLength = x.shape.last ?? 1
        let rows = x.count / rowLength
        let blockRows = rows / blocks
        let kernels = kernels
        let isDense = (x.strides.last ?? 1) == 1 || rowLength == 1
        forEachRange(rows, grain: max(1, (1 << 16) / rowLength)) { range in
            for row in range {
                let target =
                    result.floatPointer + start + row / blockRows * blockStride + row % blockRows * rowLength
                let origin = x.offset(ofRow: row)
                if isDense, let element = x.dtype.element {
                    let source = UnsafeRawPointer(x.storage.base) + origin * x.dtype.byteCount
                    kernels.convert(element, source, rowLength, target)
                } else if x.dtype == .f32 {
                    let source = x.storage.base.assumingMemoryBound(to: Float.self) + origin
                    let step = x.strides[x.rank - 1]
                    for index in 0..<rowLength { target[index] = source[index * step] }
                } else {
                    for index in 0..<rowLength { target[index] = x.scalar(at: origin + index * x.strides[x.rank - 1]) }
                }
            }
        }
    }

    public func upsampleNearest(_ x: Tensor) -> Tensor {
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

extension Tensor {
    /// The position in storage of the first element of a row, rows being counted over all axes but the last.
    func offset(ofRow row: Int) -> Int {
        var rest = row
        var position = offset
        for axis in stride(from: rank - 2, through: 0, by: -1) {
            position += rest % shape[axis] * strides[axis]
            rest /= shape[axis]
        }
        return position
    }
}
