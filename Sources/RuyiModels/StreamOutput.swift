import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The end of a transformer: a norm that the time modulates, and the projection of tokens back to patches.
package struct StreamOutput: Sendable {
    private let norm: ContinuousNorm
    private let projection: Linear

    /// Takes `norm_out.linear` and `proj_out`, which makes patches of so many channels.
    package init(_ scope: WeightScope, channels: Int, _ sizes: StreamSizes) {
        let patch = StreamConfiguration.patch
        norm = ContinuousNorm(scope / "norm_out", sizes)
        projection = Linear(scope / "proj_out", sizes.width, patch * patch * channels)
    }

    /// The tokens `[1, N, D]` normed, with the activated embedding of the call `[1, D]`, or one for each of as many
    /// sequences of equal length.
    package func normed(_ x: Tensor, _ activated: Tensor) -> Tensor { norm(x, TokenRows(activated)) }

    /// The patches of normed tokens, `[1, N, C · 4]`.
    package func patches(_ normed: Tensor) -> Tensor { projection(normed) }
}

extension Tensor {
    /// Patches of x `[1, C, T, H, W]` of so many frames, rows and columns, in the order frame, row, column:
    /// `[1, tokens, C · t · h · w]`.
    package func patches(_ kernel: [Int]) -> Tensor {
        let (channels, t, h, w) = (shape[1], kernel[0], kernel[1], kernel[2])
        let (frames, rows, columns) = (shape[2] / t, shape[3] / h, shape[4] / w)
        let cut = session.copy(self).reshaped([channels, frames, t, rows, h, columns, w])
        return session.copy(cut.permuted([1, 3, 5, 0, 2, 4, 6])).reshaped([
            1, frames * rows * columns, channels * t * h * w,
        ])
    }

    /// Latents `[1, C, T, H, W]` of patches of one frame: `out[c, f, 2r + p, 2s + q] = y[token, (c · 2 + p) · 2 + q]`.
    ///
    /// `x` has the latents' frames, rows and columns.
    package func latents(channels: Int, like x: Tensor) -> Tensor {
        let patch = StreamConfiguration.patch
        let (frames, rows, columns) = (x.shape[2], x.shape[3] / patch, x.shape[4] / patch)
        return session.copy(
            reshaped([frames * rows, columns, channels, patch, patch]).permuted([2, 0, 3, 1, 4])
        ).reshaped([1, channels, frames, rows * patch, columns * patch])
    }
}
