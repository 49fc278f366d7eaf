import Glibc
import RuyiTensor

/// The rotation of the video's tokens by frame, row and column (specification section 7); the text's stay as they are.
package struct HunyuanRotary: Sendable {
    /// For the video's tokens, `[f · h · w, head]`.
    package let video: RotaryTable
    /// For the video's tokens and those of the text behind them.
    package let all: RotaryTable

    /// Tables for a grid of tokens and a number of tokens of text.
    package init(
        frames: Int, rows: Int, columns: Int, text: Int, _ configuration: HunyuanTransformerConfiguration,
        on backend: any Backend
    ) {
        let (size, grid) = (configuration.headSize, [frames, rows, columns])
        /// One value of each position's angles, along one axis and the same along the others; those of the text are `rest`.
        func table(_ function: (Float) -> Float, text rest: Float) -> Tensor {
            let parts = grid.indices.map { axis -> Tensor in
                let width = configuration.rotaryAxes[axis]
                let angles = HunyuanRotary.angles(grid[axis], width, base: configuration.rotaryBase)
                // Neighbours turn by the same angle.
                let values = Tensor(angles.flatMap { [function($0), function($0)] }, [grid[axis], width])
                return Tensor(
                    dtype: .f32, shape: grid + [width],
                    strides: grid.indices.map { $0 == axis ? width : 0 } + [1], offset: 0, storage: values.storage)
            }
            let video = backend.concatenate(parts, axis: 3).reshaped([frames * rows * columns, size])
            let words = Tensor(
                dtype: .f32, shape: [text, size], strides: [0, 0], offset: 0, storage: Tensor([rest], [1]).storage)
            return backend.concatenate([video, words], axis: 0)
        }
        all = RotaryTable(cosines: table(cosf, text: 1), sines: table(sinf, text: 0))
        let count = frames * rows * columns
        video = RotaryTable(cosines: all.cosines.sliced(0, 0..<count), sines: all.sines.sliced(0, 0..<count))
    }

    /// `position · base^(−2j / width)` for every position and j below half the width.
    private static func angles(_ count: Int, _ width: Int, base: Float) -> [Float] {
        let frequencies = (0..<width / 2).map { 1 / powf(base, Float(2 * $0) / Float(width)) }
        return (0..<count).flatMap { position in frequencies.map { Float(position) * $0 } }
    }
}

/// Records the stages of one model call under the golden cases' names.
package struct HunyuanTrace {
    private let trace: Trace

    package init(_ trace: Trace) { self.trace = trace }

    func record(_ name: String, _ x: Tensor) { trace.record(name, x) }

    /// What a block made of both streams.
    func record(_ kind: String, _ index: Int, video: Tensor, text: Tensor) {
        trace.record("\(kind).\(HunyuanTrace.digits(index)).out", video)
        trace.record("\(kind).\(HunyuanTrace.digits(index)).text.out", text)
    }

    /// A number with three digits.
    static func digits(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 3 - String(number).count)) + String(number)
    }
}
