import RuyiKernelTable

/// Queries of one task; the keys and values that it streams are used for all of them.
private let queriesPerTask = 128
/// Keys of one block of scores, which stays in the second cache.
private let keysPerBlock = 252
/// Packed keys and values of the heads that are worked on together, in floats.
private let packedLimit = 1 << 25

extension CPUBackend {
    public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float) -> Tensor {
        precondition(
            q.rank == 3 && k.rank == 3 && k.shape == v.shape && q.shape[0] == k.shape[0] && q.shape[2] == k.shape[2]
                && q.shape[2] % heads == 0, "attention of q \(q.shape), k \(k.shape), v \(v.shape) with \(heads) heads")
        let result = empty(q.shape)
        // Copies live until the last task has read them.
        let (q, k, v) = (dense(q), dense(k), dense(v))
        let work = AttentionWork(
            kernels: kernels, q: q.floatPointer, k: k.floatPointer, v: v.floatPointer,
            result: result.floatPointer, queries: q.shape[1], keys: k.shape[1], heads: heads, size: q.shape[2] / heads,
            scale: scale)
        let pairs = q.shape[0] * heads
        let group = max(1, min(pairs, packedLimit / (2 * work.packedCount)))
        let blocks = (work.queries + queriesPerTask - 1) / queriesPerTask
        withExtendedLifetime((q, k, v, result)) {
            withScratch(2 * group * work.packedCount) { packed in
                let shared = Shared(packed)
                for first in stride(from: 0, to: pairs, by: group) {
                    let count = min(group, pairs - first)
                    pool.parallel(count) { index in
                        work.pack(pair: first + index, into: shared.pointer + 2 * index * work.packedCount)
                    }
                    pool.parallel(count * blocks) { task in
                        let start = task % blocks * queriesPerTask
                        let index = task / blocks
                        withScratch(work.scratchCount) { scratch in
                            work.attend(
                                pair: first + index, start..<min(start + queriesPerTask, work.queries),
                                packed: shared.pointer + 2 * index * work.packedCount, scratch: scratch)
                        }
                    }
                }
            }
        }
        return result
    }
}

/// Attention with everything transposed: scores are computed as `K Qᵀ`, so that maxima, sums and the exponential run
/// along the vector of queries, and their result is at once the right operand of `Vᵀ Pᵀ`.
private struct AttentionWork: @unchecked Sendable {
    let kernels: KernelTable
    let q: UnsafePointer<Float>
    let k: UnsafePointer<Float>
    let v: UnsafePointer<Float>
    let result: UnsafeMutablePointer<Float>
    let queries: Int
    let keys: Int
    let heads: Int
    let size: Int
    let scale: Float

    private var width: Int { heads * size }
    private var keySlivers: Int { (keys + kernels.mr - 1) / kernels.mr }
    private var sizeSlivers: Int { (size + kernels.mr - 1) / kernels.mr }
    private var paddedSize: Int { sizeSlivers * kernels.mr }
    private var keyBlock: Int { keysPerBlock / kernels.mr * kernels.mr }
    private var querySlivers: Int { (queriesPerTask + kernels.nr - 1) / kernels.nr }
    /// Floats of the packed keys, and of the packed values, of one head.
    var packedCount: Int { max(keySlivers * kernels.mr * size, paddedSize * keys) }
    /// Per sliver of queries: the queries, the sums of the result, maxima, sums, factors; and one block of scores.
    var scratchCount: Int { querySlivers * (size + paddedSize + 3) * kernels.nr + keyBlock * kernels.nr }

    /// Packs one head's keys as `[sliver][d][mr]` and its values as `[sliver of d][key][mr]`.
    func pack(pair: Int, into packed: UnsafeMutablePointer<Float>) {
        let mr = kernels.mr
        let origin = pair / heads * keys * width + pair % heads * size
        for sliver in 0..<keySlivers {
            let row = sliver * mr
            kernels.packLeft(k + origin + row * width, width, min(mr, keys - row), size, packed + row * size)
        }
        let values = packed + packedCount
        for sliver in 0..<sizeSlivers {
            let column = sliver * mr
            let count = min(mr, size - column)
            for key in 0..<keys {
                let source = v + origin + key * width + column
                let target = values + (sliver * keys + key) * mr
                for index in 0..<count { target[index] = source[index] }
                for index in count..<mr { target[index] = 0 }
            }
        }
    }

    func attend(
        pair: Int, _ range: Range<Int>, packed: UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        let (mr, nr) = (kernels.mr, kernels.nr)
        let slivers = (range.count + nr - 1) / nr
        let origin = pair / heads * queries * width + pair % heads * size
        let packedQueries = scratch
        let sums = packedQueries + slivers * size * nr
        let states = sums + slivers * paddedSize * nr
        let scores = states + slivers * 3 * nr
        for sliver in 0..<slivers {
            let first = range.lowerBound + sliver * nr
            let target = packedQueries + sliver * size * nr
            kernels.packRight(
                .f32, q + origin + first * width, width, min(nr, range.upperBound - first), size, target)
            kernels.combine(target, scale, nil, 0, size * nr, target, false)
            (sums + sliver * paddedSize * nr).update(repeating: 0, count: paddedSize * nr)
            (states + sliver * 3 * nr).update(repeating: -.greatestFiniteMagnitude, count: nr)
            (states + (sliver * 3 + 1) * nr).update(repeating: 0, count: nr)
        }
        let values = packed + packedCount
        for start in stride(from: 0, to: keys, by: keyBlock) {
            let count = min(keyBlock, keys - start)
            for sliver in 0..<slivers {
                for row in stride(from: 0, to: count, by: mr) {
                    kernels.tile(
                        size, packed + (start + row) * size, packedQueries + sliver * size * nr, scores + row * nr, nr,
                        false, packedQueries, 0)
                }
                let maxima = states + sliver * 3 * nr
                kernels.softmaxTile(scores, count, maxima, maxima + nr, maxima + 2 * nr)
                let sum = sums + sliver * paddedSize * nr
                if start > 0 { kernels.scaleColumns(sum, paddedSize, maxima + 2 * nr) }
                for part in 0..<sizeSlivers {
                    kernels.tile(
                        count, values + (part * keys + start) * mr, scores, sum + part * mr * nr, nr, true, scores, 0)
                }
            }
        }
        for (index, query) in range.enumerated() {
            let (sliver, lane) = (index / nr, index % nr)
            let factor = 1 / states[(sliver * 3 + 1) * nr + lane]
            let sum = sums + sliver * paddedSize * nr + lane
            let target = result + origin + query * width
            for column in 0..<size { target[column] = sum[column * nr] * factor }
        }
    }
}
