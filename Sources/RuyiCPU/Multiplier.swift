import RuyiKernelTable
import RuyiTensor

/// Bytes of rows that are rounded at a time.
private let stagingBytes = 16 << 10
/// Numbers of a weight's rows that are unpacked at a time before they are rounded; whole blocks of every type.
private let pieceLength = 256

/// Matrix products tile by tile: of floats, or of words of two bf16 numbers that are neighbours along the depth.
///
/// Slivers and panels hold either; whoever lays them out counts in words, of which `words` says how many there are.
struct Multiplier: Sendable {
    let kernels: KernelTable
    private let pairs: PairKernels?

    /// Products with the kernels of a level, and with its bf16 units if these are given.
    init(_ kernels: KernelTable, _ pairs: PairKernels?) {
        self.kernels = kernels
        self.pairs = pairs
    }

    /// The same in float32.
    var exact: Multiplier { Multiplier(kernels, nil) }
    /// Whether operands are rounded.
    var isRounding: Bool { pairs != nil }
    var mr: Int { kernels.mr }
    var nr: Int { kernels.nr }

    /// Words of so many numbers.
    func words(_ count: Int) -> Int { pairs == nil ? count : (count + 1) / 2 }

    /// `c[mr][ldc] = (accumulate ? c : 0) + a · b` over so many words.
    @inline(__always)
    func tile(
        _ words: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>,
        _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafeRawPointer, _ step: Int
    ) {
        if let pairs {
            pairs.tile(words, a, b, c, ldc, accumulate, ahead, step)
        } else {
            kernels.tile(words, a, b, c, ldc, accumulate, ahead, step)
        }
    }

    /// The first `rows` rows of a tile.
    @inline(__always)
    func partialTile(
        _ rows: Int, _ words: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
        _ c: UnsafeMutablePointer<Float>, _ ldc: Int, _ accumulate: Bool, _ ahead: UnsafePointer<Float>
    ) {
        if let pairs {
            pairs.partialTile(rows, words, a, b, c, ldc, accumulate, ahead)
        } else {
            kernels.partialTile(rows, words, a, b, c, ldc, accumulate, ahead)
        }
    }

    /// Packs `rows ≤ mr` rows of `depth` floats, `stride` apart, into a sliver `[words][mr]`.
    func packLeft(
        _ source: UnsafePointer<Float>, _ stride: Int, _ rows: Int, _ depth: Int,
        _ sliver: UnsafeMutablePointer<Float>
    ) {
        guard let pairs else { return kernels.packLeft(source, stride, rows, depth, sliver) }
        let total = words(depth)
        let most = min(total, stagingBytes / 4 / max(rows, 1))
        withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, rows * most)) { buffer in
            guard let staging = buffer.baseAddress else { return }
            for first in Swift.stride(from: 0, to: total, by: max(most, 1)) {
                let count = min(most, total - first)
                for row in 0..<rows {
                    pairs.roundRow(
                        source + row * stride + 2 * first, min(2 * count, depth - 2 * first), staging + row * most)
                }
                kernels.packLeft(staging, most, rows, count, sliver + first * mr)
            }
        }
    }

    /// Packs some rows of a readable matrix `[..., depth]` and `count` numbers of each, from `first` on, into a sliver
    /// `[words][nr]`; `change` is given pieces of it as floats, `[numbers][nr]`, before they are rounded.
    func packRight(
        _ matrix: HostTensor, depth: Int, rows: Range<Int>, first: Int, count: Int,
        into sliver: UnsafeMutablePointer<Float>,
        change: ((_ piece: UnsafeMutablePointer<Float>, _ numbers: Range<Int>) -> Void)?
    ) {
        guard let pairs else {
            kernels.packRight(matrix, depth: depth, rows: rows, first: first, count: count, into: sliver)
            change?(sliver, first..<first + count)
            return
        }
        // Two neighbours of a row of bf16 numbers are a word already.
        if matrix.dtype == .bf16, change == nil, depth % 2 == 0, first % 2 == 0, count % 2 == 0 {
            let source = matrix.pointer(to: rows.lowerBound * depth + first)
            return kernels.packRight(.f32, source, depth / 2, rows.count, count / 2, sliver)
        }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: pieceLength * nr) { buffer in
            guard let piece = buffer.baseAddress else { return }
            for start in stride(from: 0, to: count, by: pieceLength) {
                let numbers = first + start..<first + min(start + pieceLength, count)
                kernels.packRight(
                    matrix, depth: depth, rows: rows, first: numbers.lowerBound, count: numbers.count, into: piece)
                change?(piece, numbers)
                pairs.pairRows(piece, numbers.count, nr, sliver + start / 2 * nr)
            }
        }
    }

    /// Makes words of rows of `mr` or `nr` floats that follow one another along the depth.
    ///
    /// They may take their place. Floats that are not rounded are words, and lie where these are to be.
    func pair(
        _ source: UnsafePointer<Float>, _ rows: Int, _ width: Int, into words: UnsafeMutablePointer<Float>
    ) {
        pairs?.pairRows(source, rows, width, words)
    }
}
