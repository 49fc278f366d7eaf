import RuyiTensor

/// Overlapping tiles of a video or of latents, `[T, C, H, W]`, faded into one another (diffusers `tiled_decode`).
public enum Tiles {
    /// Rows and columns.
    public typealias Extent = (rows: Int, columns: Int)

    /// What `body` makes of every tile of at most `size`, one at each multiple of `step`.
    ///
    /// Where memory and work are only counted, the first and the last whole tile stand for all: the others give as much
    /// for each place.
    public static func map(
        _ whole: Tensor, size: Extent, step: Extent, _ body: (Tensor) throws -> Tensor
    ) rethrows -> [[Tensor]] {
        let session = whole.session
        func ranges(_ length: Int, _ size: Int, _ step: Int) -> [Range<Int>] {
            stride(from: 0, to: length, by: step).map { $0..<min($0 + size, length) }
        }
        let rows = ranges(whole.shape[2], size.rows, step.rows)
        let columns = ranges(whole.shape[3], size.columns, step.columns)
        func result(_ y: Range<Int>, _ x: Range<Int>) throws -> Tensor {
            try body(session.copy(whole.sliced(2, y).sliced(3, x)))
        }
        guard session.isMeasuring else { return try rows.map { y in try columns.map { try result(y, $0) } } }
        let (height, width) = (rows[0].count, columns[0].count)
        let places = rows.reduce(0) { $0 + $1.count } * columns.reduce(0) { $0 + $1.count }
        let first = try session.counting(Double(places) / Double(height * width)) { try result(rows[0], columns[0]) }
        let last = (rows.lastIndex { $0.count == height }, columns.lastIndex { $0.count == width })
        return try rows.indices.map { y in
            try columns.indices.map { x in
                if (y, x) == (0, 0) { return first }
                // By then most other results are there.
                if (y, x) == (last.0, last.1) { return try session.counting(0) { try result(rows[y], columns[x]) } }
                let sides = [first.shape[2] * rows[y].count / height, first.shape[3] * columns[x].count / width]
                return session.empty(first.shape.prefix(2) + sides)
            }
        }
    }

    /// Fades every tile into the one above and the one to its left over so many rows and columns, keeps so many of
    /// each tile, and sets them side by side.
    public static func join(
        _ tiles: [[Tensor]], blend: Extent, keep: Extent
    ) -> Tensor {
        var blended = tiles
        var rows: [Tensor] = []
        for y in tiles.indices {
            for x in tiles[y].indices {
                if y > 0 { blended[y][x] = fade(blended[y - 1][x], into: blended[y][x], axis: 2, over: blend.rows) }
                if x > 0 { blended[y][x] = fade(blended[y][x - 1], into: blended[y][x], axis: 3, over: blend.columns) }
            }
            let kept = blended[y].map { tile in
                tile.sliced(2, 0..<min(keep.rows, tile.shape[2])).sliced(3, 0..<min(keep.columns, tile.shape[3]))
            }
            rows.append(tiles[y][0].session.concatenate(kept, axis: 3))
        }
        return tiles[0][0].session.concatenate(rows, axis: 2)
    }

    /// `current` with its first frames, rows or columns faded in over the last ones of `before`.
    public static func fade(_ before: Tensor, into current: Tensor, axis: Int, over extent: Int) -> Tensor {
        let count = min(extent, before.shape[axis], current.shape[axis])
        guard count > 0 else { return current }
        let session = current.session
        let faded = (0..<count).map { index -> Tensor in
            let weight = Float(index) / Float(count)
            let position = before.shape[axis] - count + index
            return session.combine(
                before.sliced(axis, position..<position + 1), 1 - weight, current.sliced(axis, index..<index + 1),
                weight)
        }
        return session.concatenate(faded + [current.sliced(axis, count..<current.shape[axis])], axis: axis)
    }
}
