import RuyiFault
import RuyiTensor

/// The noise of a pyramid of resolutions.
public enum PyramidNoise {
    /// Noise between two stages, `[1, C, T, H, W]`: the four values of each 2 x 2 block are opposed, so that they add up to
    /// nearly nothing.
    ///
    /// The reference draws each block's values apart, in the order of channels, frames, rows and columns of blocks.
    public static func blocks(
        from source: any NoiseSource, channels: Int, frames: Int, height: Int, width: Int
    ) throws(Fault) -> HostTensor {
        precondition(height % 2 == 0 && width % 2 == 0, "\(height) x \(width) are no blocks of 2 x 2")
        let count = channels * frames * (height / 2) * (width / 2)
        let draws = try source.rows(count, of: 4).floats()
        var values = [Float](repeating: 0, count: 4 * count)
        for block in 0..<count {
            // Blocks of a row, and rows of blocks, which cover two rows of values.
            let place = block / (width / 2) * 2 * width + block % (width / 2) * 2
            for (row, target) in [place, place + 1, place + width, place + width + 1].enumerated() {
                values[target] = (0...row).reduce(0) { $0 + factor[row][$1] * draws[4 * block + $1] }
            }
        }
        return HostTensor(values, [1, channels, frames, height, width])
    }

    /// The lower triangle whose square is the covariance of a block: 1, and −1/3 between two values.
    ///
    /// That covariance is singular, and the last number is what rounding in float32 leaves in the reference.
    public static let factor: [[Float]] = [
        [1], [-0.33333334, 0.94280905], [-0.33333334, -0.47140449, 0.81649661],
        [-0.33333334, -0.47140449, -0.81649649, 4.2286396e-4],
    ]

    /// Unit noise at half the height and width that is unit noise again: half the sum of every 2 x 2 block.
    ///
    /// x `[T, C, H, W]`, result `[T, C, H/2, W/2]`.
    public static func halved(_ noise: Tensor) -> Tensor { 2 * noise.halved }
}

extension Tensor {
    /// The mean of every 2 x 2 block of `[T, C, H, W]`, which is bilinear halving.
    public var halved: Tensor {
        let (rows, columns) = (shape[2], shape[3])
        precondition(rank == 4 && rows % 2 == 0 && columns % 2 == 0, "\(shape) cannot be halved")
        let dense = isContiguous ? self : session.copy(self)
        let blocks = dense.reshaped([shape[0], shape[1], rows / 2, 2, columns / 2, 2])
        func corner(_ row: Int, _ column: Int) -> Tensor { blocks.selected(5, column).selected(3, row) }
        func mean(_ x: Tensor, _ y: Tensor) -> Tensor { session.combine(x, 0.5, y, 0.5) }
        return mean(mean(corner(0, 0), corner(0, 1)), mean(corner(1, 0), corner(1, 1)))
    }
}
