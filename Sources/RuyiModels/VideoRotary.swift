import Glibc
import RuyiTensor

/// The rotation of the video's tokens by frame, row and column; the text's stay as they are.
///
/// Each axis has a part of every head, in which neighbours turn by `position · base^(−2j / width)` (diffusers:
/// HunyuanVideoRotaryPosEmbed).
package struct VideoRotary: Sendable {
    /// For the video's tokens, `[f · h · w, head]`.
    package let video: RotaryTable
    /// For the video's tokens and those of the text behind them.
    package let all: RotaryTable

    /// Tables for a grid of tokens and a number of tokens of text.
    ///
    /// `axes` are the widths of a head's parts that turn by frame, row and column.
    package init(
        frames: Int, rows: Int, columns: Int, text: Int, axes: [Int], base: Float, on session: any Session
    ) {
        let (size, grid) = (axes.reduce(0, +), [frames, rows, columns])
        /// One value of each position's angles, along one axis and the same along the others; those of the text are `rest`.
        func table(_ function: (Float) -> Float, text rest: Float) -> Tensor {
            let parts = grid.indices.map { axis -> Tensor in
                let angles = VideoRotary.angles(grid[axis], axes[axis], base: base)
                let values = HostTensor(angles.flatMap { [function($0), function($0)] }, [grid[axis], axes[axis]])
                let shape = grid.indices.map { $0 == axis ? grid[axis] : 1 } + [axes[axis]]
                return grid.indices.filter { $0 != axis }.reduce(session.upload(values.reshaped(shape))) {
                    $0.repeated($1, grid[$1])
                }
            }
            let video = session.concatenate(parts, axis: 3).reshaped([frames * rows * columns, size])
            return session.concatenate([video, session.filled([text, size], rest)], axis: 0)
        }
        all = RotaryTable(cosines: table(cosf, text: 1), sines: table(sinf, text: 0))
        let count = frames * rows * columns
        video = RotaryTable(cosines: all.cosines.sliced(0, 0..<count), sines: all.sines.sliced(0, 0..<count))
    }

    private static func angles(_ count: Int, _ width: Int, base: Float) -> [Float] {
        let frequencies = (0..<width / 2).map { 1 / powf(base, Float(2 * $0) / Float(width)) }
        return (0..<count).flatMap { position in frequencies.map { Float(position) * $0 } }
    }
}
