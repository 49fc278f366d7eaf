import RuyiKernelTable
import RuyiTensor

/// Elements whose sum one task takes.
private let grain = 1 << 16
/// The softmax is computed to base 2.
private let logarithmOfE: Float = 1.44269504

extension CPUSession {
    func meanMagnitude(_ x: Tensor, minus y: Tensor?) -> Tensor {
        if let y { precondition(y.shape == x.shape, "\(y.shape) cannot be taken from \(x.shape)") }
        let (left, right) = (dense(x), y.map(dense))
        let count = x.count
        let sum = sumOfTasks((count + grain - 1) / grain, scratch: 0) { task, _ in
            let range = task * grain..<min((task + 1) * grain, count)
            let values = left.floatPointer
            guard let others = right?.floatPointer else {
                return range.reduce(0) { $0 + Double(values[$1].magnitude) }
            }
            return range.reduce(0) { $0 + Double((values[$1] - others[$1]).magnitude) }
        }
        return single(sum / Double(count))
    }

    func crossFrameAttention(_ q: Tensor, _ k: Tensor, frames: Int, heads: Int, scale: Float) -> Tensor {
        precondition(
            q.rank == 3 && k.shape == q.shape && frames > 1 && q.shape[1] % frames == 0 && q.shape[2] % heads == 0,
            "attention over \(frames) frames of q \(q.shape), k \(k.shape) with \(heads) heads")
        let (batch, places) = (q.shape[0], q.shape[1] / frames)
        let (q, k) = (dense(q), dense(k))
        let work = CrossFrameWork(
            kernels: kernels, q: q.floatPointer, k: k.floatPointer, frames: frames, places: places, heads: heads,
            size: q.shape[2] / heads, scale: scale)
        let sum = withExtendedLifetime((q, k)) {
            sumOfTasks(batch * places, scratch: work.scratchCount) { task, scratch in
                work.sum(item: task / places, place: task % places, scratch: scratch)
            }
        }
        return single(sum / Double(batch * places * heads * frames * (frames - 1)))
    }

    /// A tensor of one number.
    private func single(_ value: Double) -> Tensor { filled([1], Float(value)) }

    /// The sum of what tasks give, in their order, so that it does not depend on the threads.
    private func sumOfTasks(
        _ count: Int, scratch: Int, _ body: @Sendable (Int, UnsafeMutablePointer<Float>) -> Double
    ) -> Double {
        var parts = [Double](repeating: 0, count: count)
        parts.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            let shared = Shared(base)
            parallel(count, scratch: scratch) { shared.pointer[$0] = body($0, $1) }
        }
        return parts.reduce(0, +)
    }
}

/// Attention of a place to itself in other frames, transposed as in attention proper: scores are `K Qᵀ`, a column for
/// each query.
private struct CrossFrameWork: @unchecked Sendable {
    let kernels: KernelTable
    let q: UnsafePointer<Float>
    let k: UnsafePointer<Float>
    let frames: Int
    let places: Int
    let heads: Int
    let size: Int
    let scale: Float

    private var keyRows: Int { (frames + kernels.mr - 1) / kernels.mr * kernels.mr }
    /// The packed keys, a sliver of queries, its scores, and three rows of the softmax.
    var scratchCount: Int { keyRows * size + (size + keyRows + 3) * kernels.nr }

    /// The weights off the diagonal, summed over the heads of one place.
    func sum(item: Int, place: Int, scratch: UnsafeMutablePointer<Float>) -> Double {
        let (mr, nr) = (kernels.mr, kernels.nr)
        let queries = scratch + keyRows * size
        let scores = queries + size * nr
        let maxima = scores + keyRows * nr
        let (totals, factors) = (maxima + nr, maxima + 2 * nr)
        // Neighbouring frames of a place and head lie a frame of tokens apart.
        let step = places * heads * size
        var sum = 0.0
        for head in 0..<heads {
            let origin = item * frames * step + (place * heads + head) * size
            for frame in stride(from: 0, to: frames, by: mr) {
                kernels.packLeft(
                    k + origin + frame * step, step, min(mr, frames - frame), size, scratch + frame * size)
            }
            for first in stride(from: 0, to: frames, by: nr) {
                let count = min(nr, frames - first)
                kernels.packRight(.f32, q + origin + first * step, step, count, size, queries)
                kernels.combine(queries, scale * logarithmOfE, nil, 0, size * nr, queries, false)
                for frame in stride(from: 0, to: frames, by: mr) {
                    let keys = UnsafePointer(scratch + frame * size)
                    kernels.partialTile(
                        min(mr, frames - frame), size, keys, queries, scores + frame * nr, nr, false, keys)
                }
                maxima.update(repeating: -.greatestFiniteMagnitude, count: nr)
                totals.update(repeating: 0, count: nr)
                kernels.softmaxTile(scores, frames, maxima, totals, factors)
                for lane in 0..<count {
                    sum += 1 - Double(scores[(first + lane) * nr + lane]) / Double(totals[lane])
                }
            }
        }
        return sum
    }
}
