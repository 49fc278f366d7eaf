import RuyiTensor

extension GPUSession {
    func copy(_ x: Tensor) -> Tensor {
        let result = empty(x.shape)
        write(x, to: result, at: 0, blockStride: x.count, blocks: 1)
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
            write(part, to: result, at: start * inner, blockStride: shape[axis] * inner, blocks: outer)
            start += part.shape[axis]
        }
        return result
    }

    /// Writes x's elements in row-major order, in `blocks` equal parts that are `blockStride` apart.
    private func write(_ x: Tensor, to result: Tensor, at start: Int, blockStride: Int, blocks: Int) {
        x.realize(self)
        guard let block = x.gpu.memory, let target = result.gpu.memory else { return }
        withExtendedLifetime((x, result)) {
            write(
                block.address, type: 0, x.layout, to: target.address + UInt64(4 * result.offset), at: start,
                blockStride: blockStride, blocks: blocks)
        }
    }

    /// The same of stored numbers; the layout counts from `place`.
    private func write(
        _ place: UInt64, type: UInt32, _ layout: Layout, to target: UInt64, at start: Int, blockStride: Int, blocks: Int
    ) {
        guard layout.count > 0, blocks > 0 else { return }
        let axes = layout.joinedAxes
        precondition(axes.count <= 10, "\(layout.shape) with strides \(layout.strides) has too many axes to copy")
        let rest = [Argument](repeating: .integer(1), count: 10 - axes.count)
        run(
            Kernel("copy", type),
            [
                .place(place), .place(target), .integer(layout.offset), .integer(layout.count), .integer(axes.count),
                .integer(start), .integer(layout.count / blocks), .integer(blockStride),
            ] + axes.map { .integer($0.length) } + rest + axes.map { .integer($0.stride) } + rest,
            invocations: layout.count)
    }

    func tensor(_ weight: Weight) -> Tensor {
        let result = empty(weight.shape)
        guard let copy = copy(of: weight), let target = result.gpu.memory else { return result }
        let layout = Layout(shape: weight.shape, strides: weight.strides, offset: weight.offset - copy.first)
        withExtendedLifetime((copy, result)) {
            if let type = copy.type.stored {
                write(
                    copy.block.address, type: type, layout, to: target.address, at: 0, blockStride: layout.count,
                    blocks: 1)
            } else {
                unpack(copy, layout, into: result)
            }
        }
        return result
    }

    /// The elements of blocks.
    private func unpack(_ copy: GPUWeight.Copy, _ layout: Layout, into result: Tensor) {
        guard let kind = copy.type.blocked else { return }
        let length = copy.type.blockLength
        let isWhole = layout.isContiguous && layout.offset % length == 0
        // Other views are copied from the blocks that they reach into.
        let last = zip(layout.shape, layout.strides).reduce(layout.offset) { $0 + max($1.0 - 1, 0) * $1.1 }
        let first = layout.offset / length
        let count = isWhole ? layout.count : (last / length - first + 1) * length
        let unpacked = isWhole ? result : empty([count])
        run(
            Kernel("unpack", kind),
            [
                .place(copy.block.address), place(unpacked), .integer(first), .integer(count), .integer(length),
                .integer(copy.type.blockByteCount),
            ], invocations: count, operations: Double(16 * count))
        guard !isWhole else { return }
        let view = Layout(shape: layout.shape, strides: layout.strides, offset: layout.offset - first * length)
        write(unpacked.view(view), to: result, at: 0, blockStride: layout.count, blocks: 1)
    }

    func gather(_ table: Weight, _ places: [Int]) -> Tensor {
        guard let copy = copy(of: table) else { return empty([places.count, table.shape[1]]) }
        guard let type = copy.type.stored else { return gather(tensor(table), places) }
        return gather(
            copy.block.address, type: type, places,
            Layout(shape: table.shape, strides: table.strides, offset: table.offset - copy.first), keeper: copy.block)
    }

    func gather(_ table: Tensor, _ places: [Int]) -> Tensor {
        table.realize(self)
        return gather(
            table.gpu.memory?.address ?? 0, type: 0, places, table.layout, keeper: table.storage)
    }

    private func gather(
        _ table: UInt64, type: UInt32, _ places: [Int], _ layout: Layout, keeper: AnyObject
    ) -> Tensor {
        precondition(
            layout.shape.count == 2 && places.allSatisfy { (0..<layout.shape[0]).contains($0) },
            "rows up to \(places.max() ?? 0) of a table \(layout.shape)")
        let (result, rows) = (empty([places.count, layout.shape[1]]), words(places.map(UInt32.init)))
        withExtendedLifetime((keeper, rows)) {
            run(
                Kernel("gather", type),
                [
                    .place(table), .place(rows.memory?.address ?? 0), place(result), .integer(layout.offset),
                    .integer(result.count), .integer(layout.shape[1]), .integer(layout.strides[0]),
                    .integer(layout.strides[1]),
                ], invocations: result.count)
        }
        return result
    }

    func upsampleNearest(_ x: Tensor) -> Tensor {
        precondition(x.rank == 4, "\(x.shape) is not [T, C, H, W]")
        let source = dense(x)
        let result = empty([x.shape[0], x.shape[1], 2 * x.shape[2], 2 * x.shape[3]])
        withExtendedLifetime(source) {
            run(
                Kernel("upsample"), [place(source), place(result), .integer(result.count), .integer(x.shape[3])],
                invocations: result.count)
        }
        return result
    }
}

extension Layout {
    /// The axes, those of one element left out and those that follow one another joined; one where there is none.
    fileprivate var joinedAxes: [(length: Int, stride: Int)] {
        var axes: [(length: Int, stride: Int)] = []
        for (length, stride) in zip(shape, strides) where length != 1 {
            if let last = axes.last, last.stride == length * stride {
                axes[axes.count - 1] = (last.length * length, stride)
            } else {
                axes.append((length, stride))
            }
        }
        return axes.isEmpty ? [(1, 1)] : axes
    }
}
