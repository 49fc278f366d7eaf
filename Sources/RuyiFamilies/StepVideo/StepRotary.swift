import Glibc
import RuyiTensor

/// How the numbers are rounded that the model is told of times and places (specification section 12).
package enum StepRounding: Sendable {
    case none
    /// As the authors' program rounds them on a GPU.
    case bfloat16

    /// A number as the model is told it.
    package func callAsFunction(_ x: Float) -> Float {
        switch self {
        case .none: x
        case .bfloat16: Float(bitPattern: UInt32(FloatBits.bfloat(rounding: x)) << 16)
        }
    }
}

/// The rotation of the video's tokens by frame, row and column: each axis has a part of every head, half a quarter and a
/// quarter of it, in which either half turns with the other by `position · 10000^(−2j / width)` (specification section 6.3;
/// RoPE3D of Step-Video's `rope.py`).
package enum StepRotary {
    /// The table of a grid, `[f · h · w, head]`; `axes` are the widths of the parts.
    package static func table(
        frames: Int, rows: Int, columns: Int, axes: [Int], rounding: StepRounding = .none, on session: any Session
    ) -> RotaryTable {
        let grid = [frames, rows, columns]
        func table(_ function: (Float) -> Float) -> Tensor {
            let parts = axes.indices.map { axis -> Tensor in
                let width = axes[axis]
                let frequencies = (0..<width / 2).map { 1 / powf(10_000, Float(2 * $0) / Float(width)) }
                let values = (0..<grid[axis]).flatMap { position -> [Float] in
                    let half = frequencies.map { rounding(function(rounding(Float(position) * $0))) }
                    return half + half
                }
                let shape = grid.indices.map { $0 == axis ? grid[axis] : 1 } + [width]
                return grid.indices.filter { $0 != axis }.reduce(session.upload(HostTensor(values, shape))) {
                    $0.repeated($1, grid[$1])
                }
            }
            return session.concatenate(parts, axis: 3).reshaped([grid.reduce(1, *), axes.reduce(0, +)])
        }
        return RotaryTable(cosines: table(cosf), sines: table(sinf), pairing: .halvesOfParts(axes))
    }
}
