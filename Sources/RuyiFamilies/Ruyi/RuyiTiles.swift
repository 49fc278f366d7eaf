import RuyiTensor

/// Joins overlapping tiles of a video or of latents, `[T, C, H, W]` (specification section 6.3).
enum RuyiTiles {
    /// Blends every tile with the one above and the one to its left over `blend` rows and columns, keeps `keep` of
    /// each, and sets them side by side.
    static func join(_ tiles: [[Tensor]], blend: Int, keep: Int) -> Tensor {
        var blended = tiles
        var rows: [Tensor] = []
        for y in tiles.indices {
            for x in tiles[y].indices {
                if y > 0 { blended[y][x] = mix(blended[y - 1][x], blended[y][x], axis: 2, extent: blend) }
                if x > 0 { blended[y][x] = mix(blended[y][x - 1], blended[y][x], axis: 3, extent: blend) }
            }
            let kept = blended[y].map { tile in
                tile.sliced(2, 0..<min(keep, tile.shape[2])).sliced(3, 0..<min(keep, tile.shape[3]))
            }
            rows.append(tiles[y][0].backend.concatenate(kept, axis: 3))
        }
        return tiles[0][0].backend.concatenate(rows, axis: 2)
    }

    /// `current` with its first rows (or columns) faded in over the last ones of `before`.
    private static func mix(_ before: Tensor, _ current: Tensor, axis: Int, extent: Int) -> Tensor {
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

    /// Mixes a tile into the bottom right corner, its weight growing linearly from the top and from the left.
    static func mixCorner(_ corner: Tensor, into whole: Tensor) -> Tensor {
        let (height, width) = (corner.shape[2], corner.shape[3])
        let (top, left) = (whole.shape[2] - height, whole.shape[3] - width)
        let backend = whole.backend
        let inside = whole.sliced(2, top..<whole.shape[2]).sliced(3, left..<whole.shape[3])
        func ramp(_ index: Int, _ count: Int) -> Float { count > 1 ? Float(index) / Float(count - 1) : 0 }
        let weights = (0..<height * width).map { min(ramp($0 % width, width), ramp($0 / width, height)) }
        let grid = backend.copy(Tensor(weights, [height, width]))
        // old + weight · (new − old)
        let change = backend.combine(corner, 1, inside, -1)
        let mixed = backend.combine(inside, 1, backend.multiply(change, grid), 1)
        let bottom = backend.concatenate([whole.sliced(2, top..<whole.shape[2]).sliced(3, 0..<left), mixed], axis: 3)
        return backend.concatenate([whole.sliced(2, 0..<top), bottom], axis: 2)
    }
}

/// Does the same with one tile of a video or of latents after the other, `[T, C, H, W]`, the largest first.
///
/// Where memory and work are only counted, the first tile stands for all: the others give as much for each place.
final class RuyiTileWork {
    private let body: (Tensor) throws -> Tensor
    private var first: (tile: [Int], result: [Int])?

    init(_ body: @escaping (Tensor) throws -> Tensor) { self.body = body }

    /// The result for some rows and columns.
    func callAsFunction(_ whole: Tensor, _ rows: Range<Int>, _ columns: Range<Int>) throws -> Tensor {
        let tile = whole.sliced(2, rows).sliced(3, columns)
        if whole.backend.isMeasuring, let first {
            let sides = [2, 3].map { first.result[$0] * tile.shape[$0] / first.tile[$0] }
            return whole.backend.empty(first.result.prefix(2) + sides)
        }
        let result = try body(whole.backend.copy(tile))
        first = (tile.shape, result.shape)
        return result
    }
}
