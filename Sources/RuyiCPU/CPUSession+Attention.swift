import RuyiKernelTable
import RuyiTensor

/// Queries of one task; the keys and values that it streams are used for all of them.
private let queriesPerTask = 128
/// Keys of one block of scores, which stays in the second cache.
private let keysPerBlock = 252
/// Packed keys and values of the heads that are worked on together, in floats.
private let packedLimit = 1 << 25
/// Scores are kept to base 2, in which the softmax is cheaper.
private let logarithmOfE: Float = 1.44269504

extension CPUSession {
    func attention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float, options: AttentionOptions
    ) -> Tensor {
        precondition(
            q.rank == 3 && k.rank == 3 && k.shape == v.shape && q.shape[0] == k.shape[0] && q.shape[2] % heads == 0,
            "attention of q \(q.shape), k \(k.shape), v \(v.shape) with \(heads) heads")
        let size = q.shape[2] / heads
        let keyHeads = k.shape[2] / size
        precondition(
            k.shape[2] > 0 && keyHeads * size == k.shape[2] && heads % keyHeads == 0,
            "k \(k.shape) has no heads of \(size) that \(heads) heads of queries can share")
        check(options, batch: q.shape[0], queries: q.shape[1], keys: k.shape[1], size: size)
        let result = empty(q.shape)
        note(.attention(size: size), 4 * Double(q.count) * Double(k.shape[1]))
        // Copies live until the last task has read them.
        let (q, k, v) = (dense(q), dense(k), dense(v))
        let tables = (queries: options.queryRotary.map(dense), keys: options.keyRotary.map(dense))
        let work = AttentionWork(
            multiplier: multiplier, q: q.floatPointer, k: k.floatPointer, v: v.floatPointer,
            result: result.floatPointer, queries: q.shape[1], keys: k.shape[1], heads: heads, keyHeads: keyHeads,
            size: size, scale: scale,
            mask: options.mask, queryRotation: tables.queries.map(Rotation.init),
            keyRotation: tables.keys.map(Rotation.init),
            bias: options.bias.map { scoreBias($0, heads: heads, queries: q.shape[1], keys: k.shape[1]) })
        withExtendedLifetime((q, k, v, tables, result)) { run(work, pairs: q.shape[0] * keyHeads) }
        return result
    }

    private func check(_ options: AttentionOptions, batch: Int, queries: Int, keys: Int, size: Int) {
        if let rows = options.mask?.visibleKeys {
            precondition(
                [1, batch].contains(rows.count) && rows.allSatisfy { [1, queries].contains($0.count) },
                "a mask of \(rows.count) x \(rows.map(\.count).max() ?? 0) does not fit \(batch) x \(queries) queries")
            precondition(
                rows.allSatisfy { $0.allSatisfy { (0...keys).contains($0) } },
                "a mask shows \(rows.joined().max() ?? 0) of \(keys) keys")
        }
        for rotary in [options.queryRotary, options.keyRotary] {
            guard let table = rotary?.cosines else { continue }
            precondition(table.shape[1] == size && size % 2 == 0, "rotary \(table.shape) does not fit heads of \(size)")
        }
    }

    private func scoreBias(_ bias: AttentionBias, heads: Int, queries: Int, keys: Int) -> ScoreBias {
        switch bias {
        case .alibi(let slopes): return distances(slopes, heads: heads, queries: queries, keys: keys) { $0 }
        case .alibiSquareRoot(let slopes):
            return distances(slopes, heads: heads, queries: queries, keys: keys) { $0.squareRoot() }
        case .tensor(let tensor):
            precondition(
                [[heads, queries, keys], [1, queries, keys]].contains(tensor.shape),
                "a bias \(tensor.shape) for \(heads) heads, \(queries) queries and \(keys) keys")
            return .tensor(dense(tensor))
        }
    }

    /// The distances from one key to all queries are a run of one table.
    private func distances(
        _ slopes: [Float], heads: Int, queries: Int, keys: Int, _ distance: (Float) -> Float
    ) -> ScoreBias {
        precondition(slopes.count == heads, "\(slopes.count) slopes for \(heads) heads")
        // The last sliver of queries reads up to its width.
        let table = empty([keys + queries + kernels.nr])
        for index in 0..<(halt.isHollow ? 0 : table.count) {
            table.floatPointer[index] = distance(Float(abs(index + 1 - keys)))
        }
        return .distances(table, slopes: slopes)
    }

    /// Packs and attends to as many pairs of a batch item and a head of keys at a time as the limit allows.
    private func run(_ work: AttentionWork, pairs: Int) {
        let group = max(1, min(pairs, packedLimit / max(1, 2 * work.packedCount)))
        let packings = (work.keys + work.keyBlock - 1) / work.keyBlock
        let blocks = (work.queries + queriesPerTask - 1) / queriesPerTask
        let sharing = work.heads / work.keyHeads
        withScratch(2 * group * work.packedCount) { packed in
            let shared = Shared(packed)
            for first in stride(from: 0, to: pairs, by: group) {
                let count = min(group, pairs - first)
                parallel(count * packings, scratch: work.stagingCount) { task, staging in
                    let (index, block) = task.quotientAndRemainder(dividingBy: packings)
                    let start = block * work.keyBlock
                    work.pack(
                        pair: first + index, start..<min(start + work.keyBlock, work.keys),
                        into: shared.pointer + 2 * index * work.packedCount, staging: staging)
                }
                parallel(count * sharing * blocks, scratch: work.scratchCount) { task, scratch in
                    let (pair, block) = task.quotientAndRemainder(dividingBy: blocks)
                    let start = block * queriesPerTask
                    work.attend(
                        pair: first * sharing + pair, start..<min(start + queriesPerTask, work.queries),
                        packed: shared.pointer + 2 * (pair / sharing) * work.packedCount, scratch: scratch)
                }
            }
        }
    }
}

/// What is added to the scores, as the kernels read it.
private enum ScoreBias {
    /// `−slopes[h] · table[i − j + keys − 1]`.
    case distances(Tensor, slopes: [Float])
    /// Contiguous `[heads or 1, queries, keys]`.
    case tensor(Tensor)
}

/// Attention with everything transposed: scores are computed as `K Qᵀ`, so that maxima, sums and the exponential run
/// along the vector of queries, and their result is at once the right operand of `Vᵀ Pᵀ`.
///
/// A pair is a batch item and a head.
private struct AttentionWork: @unchecked Sendable {
    let multiplier: Multiplier
    let q: UnsafePointer<Float>
    let k: UnsafePointer<Float>
    let v: UnsafePointer<Float>
    let result: UnsafeMutablePointer<Float>
    let queries: Int
    let keys: Int
    let heads: Int
    let keyHeads: Int
    let size: Int
    let scale: Float
    let mask: AttentionMask?
    let queryRotation: Rotation?
    let keyRotation: Rotation?
    let bias: ScoreBias?

    private var kernels: KernelTable { multiplier.kernels }
    private var width: Int { heads * size }
    private var keyWidth: Int { keyHeads * size }
    private var keySlivers: Int { (keys + kernels.mr - 1) / kernels.mr }
    private var sizeSlivers: Int { (size + kernels.mr - 1) / kernels.mr }
    private var paddedSize: Int { sizeSlivers * kernels.mr }
    private var querySlivers: Int { (queriesPerTask + kernels.nr - 1) / kernels.nr }
    var keyBlock: Int { keysPerBlock / kernels.mr * kernels.mr }
    /// Words of a head's vector.
    private var sizeWords: Int { multiplier.words(size) }
    /// Words of all keys, for their products with the values.
    private var keyWords: Int { multiplier.words(keys) }
    /// Words of the packed keys, and of the packed values, of one head.
    var packedCount: Int { max(keySlivers * kernels.mr * sizeWords, paddedSize * keyWords) }
    /// Rows that are rotated, a block of biases, or of results.
    var stagingCount: Int { max(max(kernels.mr, kernels.nr) * size, keyBlock * kernels.nr) }
    /// A block of scores, the staging, and per sliver of queries what `QuerySliver` points to.
    var scratchCount: Int {
        keyBlock * kernels.nr + stagingCount + querySlivers * (size + paddedSize + 4) * kernels.nr
    }

    /// Packs a block of one head's keys as `[sliver][d][mr]` and of its values as `[sliver of d][key][mr]`, in words along
    /// d and along the keys.
    func pack(
        pair: Int, _ range: Range<Int>, into packed: UnsafeMutablePointer<Float>, staging: UnsafeMutablePointer<Float>
    ) {
        let mr = kernels.mr
        let origin = pair / keyHeads * keys * keyWidth + pair % keyHeads * size
        for row in stride(from: range.lowerBound, to: range.upperBound, by: mr) {
            let count = min(mr, range.upperBound - row)
            let (source, stride) = rotated(
                k + origin + row * keyWidth, keyWidth, row..<row + count, keyRotation, staging: staging)
            multiplier.packLeft(source, stride, count, size, packed + row * sizeWords)
        }
        let values = packed + packedCount
        for sliver in 0..<sizeSlivers {
            let column = sliver * mr
            let count = min(mr, size - column)
            let place = values + (sliver * keyWords + multiplier.words(range.lowerBound)) * mr
            let rows = multiplier.isRounding ? staging : place
            for (row, key) in range.enumerated() {
                let source = v + origin + key * keyWidth + column
                let target = rows + row * mr
                for index in 0..<count { target[index] = source[index] }
                for index in count..<mr { target[index] = 0 }
            }
            multiplier.pair(rows, range.count, mr, into: place)
        }
    }

    /// The rows of the tokens in `range`, themselves or rotated, and the distance between them.
    private func rotated(
        _ source: UnsafePointer<Float>, _ stride: Int, _ range: Range<Int>, _ rotation: Rotation?,
        staging: UnsafeMutablePointer<Float>
    ) -> (UnsafePointer<Float>, Int) {
        guard let rotation else { return (source, stride) }
        for (index, token) in range.enumerated() {
            rotation(source + index * stride, token: token, into: staging + index * size, with: kernels)
        }
        return (UnsafePointer(staging), size)
    }

    /// The result of the queries in `range`.
    func attend(
        pair: Int, _ range: Range<Int>, packed: UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        let scores = scratch
        let staging = scores + keyBlock * kernels.nr
        let slivers = stride(from: range.lowerBound, to: range.upperBound, by: kernels.nr).map { first in
            sliver(
                pair: pair, first..<min(first + kernels.nr, range.upperBound),
                memory: staging + stagingCount + (first - range.lowerBound) * (size + paddedSize + 4), staging: staging)
        }
        for start in stride(from: 0, to: slivers.map(\.most).max() ?? 0, by: keyBlock) {
            for sliver in slivers where sliver.most > start {
                add(start..<min(start + keyBlock, sliver.most), of: packed, to: sliver, scores, staging: staging)
            }
        }
        for sliver in slivers { finish(sliver, staging: staging) }
    }

    /// Packs the queries in `range`, with nothing seen yet.
    private func sliver(
        pair: Int, _ range: Range<Int>, memory: UnsafeMutablePointer<Float>, staging: UnsafeMutablePointer<Float>
    ) -> QuerySliver {
        let nr = kernels.nr
        let (item, head) = pair.quotientAndRemainder(dividingBy: heads)
        let row = (item * queries + range.lowerBound) * width + head * size
        let (source, stride) = rotated(q + row, width, range, queryRotation, staging: staging)
        kernels.packRight(.f32, source, stride, range.count, size, memory)
        kernels.combine(memory, scale * logarithmOfE, nil, 0, size * nr, memory, false)
        multiplier.pair(memory, size, nr, into: memory)
        let sums = memory + size * nr
        let maxima = sums + paddedSize * nr
        sums.update(repeating: 0, count: paddedSize * nr)
        maxima.update(repeating: -.greatestFiniteMagnitude, count: nr)
        (maxima + nr).update(repeating: 0, count: nr)
        let visible = maxima + 3 * nr
        var (least, most) = (keys, keys)
        if let rows = mask?.visibleKeys {
            let counts = rows.count == 1 ? rows[0] : rows[item]
            let seen = counts.count == 1 ? counts[...] : counts[range]
            (least, most) = (seen.min() ?? 0, seen.max() ?? 0)
            visible.update(repeating: 0, count: nr)
            for (lane, count) in seen.enumerated() { visible[lane] = Float(count) }
        }
        return QuerySliver(
            head: head, range: range, result: result + row, queries: memory, sums: sums, maxima: maxima,
            totals: maxima + nr, factors: maxima + 2 * nr, visible: visible, least: least, most: most)
    }

    /// Adds a block of keys and values to what a sliver has seen.
    private func add(
        _ block: Range<Int>, of packed: UnsafePointer<Float>, to sliver: QuerySliver,
        _ scores: UnsafeMutablePointer<Float>, staging: UnsafeMutablePointer<Float>
    ) {
        let (mr, nr) = (kernels.mr, kernels.nr)
        let start = block.lowerBound
        for row in stride(from: 0, to: block.count, by: mr) {
            let a = packed + (start + row) * sizeWords
            multiplier.partialTile(
                min(mr, block.count - row), sizeWords, a, sliver.queries, scores + row * nr, nr, false,
                a + mr * sizeWords)
        }
        if let bias { add(bias, block, to: sliver, scores, staging: staging) }
        if sliver.least < block.upperBound {
            let first = max(sliver.least, start)
            kernels.maskTile(scores + (first - start) * nr, first, block.upperBound - first, sliver.visible)
        }
        kernels.softmaxTile(scores, block.count, sliver.maxima, sliver.totals, sliver.factors)
        multiplier.pair(scores, block.count, nr, into: scores)
        if start > 0 { kernels.scaleColumns(sliver.sums, size, sliver.factors) }
        let values = packed + packedCount
        for part in 0..<sizeSlivers {
            let a = values + (part * keyWords + multiplier.words(start)) * mr
            multiplier.partialTile(
                min(mr, size - part * mr), multiplier.words(block.count), a, scores, sliver.sums + part * mr * nr, nr,
                true, a + keyWords * mr)
        }
    }

    private func add(
        _ bias: ScoreBias, _ block: Range<Int>, to sliver: QuerySliver, _ scores: UnsafeMutablePointer<Float>,
        staging: UnsafeMutablePointer<Float>
    ) {
        let first = sliver.range.lowerBound
        switch bias {
        case .distances(let table, let slopes):
            let source = table.floatPointer + (keys - 1 + first - block.lowerBound)
            kernels.addRows(scores, block.count, source, -1, -slopes[sliver.head] * logarithmOfE)
        case .tensor(let tensor):
            let head = tensor.shape[0] == 1 ? 0 : sliver.head
            let source = tensor.floatPointer + (head * queries + first) * keys + block.lowerBound
            kernels.packRight(.f32, source, keys, sliver.range.count, block.count, staging)
            kernels.addRows(scores, block.count, staging, kernels.nr, logarithmOfE)
        }
    }

    /// Divides by the sums of weights and writes the rows of the result.
    private func finish(_ sliver: QuerySliver, staging: UnsafeMutablePointer<Float>) {
        let nr = kernels.nr
        for column in stride(from: 0, to: size, by: nr) {
            let count = min(nr, size - column)
            kernels.packRight(.f32, sliver.sums + column * nr, nr, count, nr, staging)
            for lane in 0..<sliver.range.count {
                let total = sliver.totals[lane]
                kernels.combine(
                    staging + lane * nr, total == 0 ? 0 : 1 / total, nil, 0, count,
                    sliver.result + lane * width + column, false)
            }
        }
    }
}

/// Queries that are worked on side by side, and what they have gathered so far, a column for each.
private struct QuerySliver {
    let head: Int
    let range: Range<Int>
    /// The row of the first query in the result.
    let result: UnsafeMutablePointer<Float>
    /// `[d][nr]`, rotated and scaled.
    let queries: UnsafePointer<Float>
    /// Weighted sums of values, `[d][nr]`.
    let sums: UnsafeMutablePointer<Float>
    let maxima: UnsafeMutablePointer<Float>
    /// Sums of weights.
    let totals: UnsafeMutablePointer<Float>
    let factors: UnsafeMutablePointer<Float>
    /// How many keys each query sees, if there is a mask; floats count them exactly as far as memory goes.
    let visible: UnsafePointer<Float>
    /// The smallest and the largest of these numbers.
    let least: Int
    let most: Int
}
