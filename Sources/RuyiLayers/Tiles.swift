import RuyiTensor

/// Overlapping tiles of a video or of latents, `[T, C, H, W]`, faded into one another (diffusers `tiled_decode`).
public enum Tiles {
    /// Fades every tile into the one above and the one to its left over so many rows and columns, keeps so many of
    /// each tile, and sets them side by side.
    public static func join(
        _ tiles: [[Tensor]], blend: (rows: Int, columns: Int), keep: (rows: Int, columns: Int)
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
            rows.append(tiles[y][0].backend.concatenate(kept, axis: 3))
        }
        return tiles[0][0].backend.concatenate(rows, axis: 2)
    }

    /// `current` with its first frames, rows or columns faded in over the last ones of `before`.
    public static func fade(_ before: Tensor, into current: Tensor, axis: Int, over extent: Int) -> Tensor {
        let count = min(extent, before.shape[axis], current.shape[axis])
        guard count > 0 else { return current }
        let backend = current.backend
        let faded = (0..<count).map { index -> Tensor in
            let weight = Float(index) / Float(count)
            let position = before.shape[axis] - count + index
            return backend.combine(
                before.sliced(axis, position..<position + 1), 1 - weight, current.sliced(axis, index..<index + 1),
                weight)
        }
        return backend.concatenate(faded + [current.sliced(axis, count..<current.shape[axis])], axis: axis)
    }
}
