import Glibc
import RuyiTensor

/// Tables and grids that embed positions and times.
public enum Embeddings {
    /// The sinusoidal embedding of a scalar: `[cos(t fᵢ), sin(t fᵢ)]` with `fᵢ = 10000^(−i / half)`, `half = width / 2`
    /// (diffusers `get_timestep_embedding` with `flip_sin_to_cos`, no frequency shift).
    public static func sinusoid(_ value: Float, width: Int) -> [Float] {
        let angles = frequencies(width: width).map { value * $0 }
        return angles.map { cosf($0) } + angles.map { sinf($0) }
    }

    /// `10000^(−i / half)` for i below `half = width / 2`.
    package static func frequencies(width: Int) -> [Float] {
        let half = width / 2
        return (0..<half).map { index in
            let exponent = -logf(10_000) * Float(index) / Float(half)
            return roundedUp.contains(exponent) ? expf(exponent).nextUp : expf(exponent)
        }
    }

    /// Exponents of published widths whose powers the references' exponential rounds up (recorded as `timestep.freqs`) where
    /// the nearest number lies below: at times of some thousands the cosines show it.
    private static let roundedUp: [Float] = [13, 44, 119].map { -logf(10_000) * $0 / 128 }

    /// The sinusoidal table of positions: `[p, 2i] = sin(p · 10000^(−2i / width))`, `[p, 2i + 1] = cos(...)`.
    public static func positions(count: Int, width: Int) -> HostTensor {
        var values = [Float](repeating: 0, count: count * width)
        for position in 0..<count {
            for index in stride(from: 0, to: width, by: 2) {
                let angle = Float(position) * expf(Float(index) * (-logf(10_000) / Float(width)))
                values[position * width + index] = sinf(angle)
                if index + 1 < width { values[position * width + index + 1] = cosf(angle) }
            }
        }
        return HostTensor(values, [count, width])
    }

    /// Resizes a grid of vectors `[rows · rows, width]` to `[size · size, width]` by bicubic interpolation with
    /// a = −0.75, without antialiasing and with clamped borders (torch `F.interpolate`, `align_corners=False`).
    public static func bicubicGrid(_ grid: HostTensor, from rows: Int, to size: Int) -> HostTensor {
        let width = grid.shape[1]
        let values = grid.floats()
        let taps = (0..<size).map { bicubicTaps($0, from: rows, to: size) }
        var result = [Float](repeating: 0, count: size * size * width)
        for y in 0..<size {
            for x in 0..<size {
                let target = (y * size + x) * width
                for channel in 0..<width {
                    var sum: Float = 0
                    for (row, rowWeight) in taps[y] {
                        var line: Float = 0
                        for (column, weight) in taps[x] {
                            line += values[(row * rows + column) * width + channel] * weight
                        }
                        sum += line * rowWeight
                    }
                    result[target + channel] = sum
                }
            }
        }
        return HostTensor(result, [size * size, width])
    }

    private static func bicubicTaps(_ index: Int, from input: Int, to output: Int) -> [(Int, Float)] {
        let position = (Float(index) + 0.5) * (Float(input) / Float(output)) - 0.5
        let base = position.rounded(.down)
        let t = position - base
        let a: Float = -0.75
        func near(_ x: Float) -> Float { ((a + 2) * x - (a + 3)) * x * x + 1 }
        func far(_ x: Float) -> Float { ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
        let weights = [far(t + 1), near(t), near(1 - t), far(2 - t)]
        return weights.enumerated().map { offset, weight in
            (min(max(Int(base) - 1 + offset, 0), input - 1), weight)
        }
    }
}
