import RuyiFiles
import RuyiLayers
import RuyiTensor

/// A block in which video and text share their weights, with attention and feed-forward layers side by side.
///
/// Dehghani et al. 2023, "Scaling Vision Transformers to 22 Billion Parameters"; diffusers:
/// HunyuanVideoSingleTransformerBlock.
package struct SingleStreamBlock: Sendable {
    private let modulation: Linear
    private var projections: StreamProjections
    private var inner: Linear
    private var output: Linear
    private let sizes: StreamSizes

    /// Takes `norm.linear`, `attn`, `proj_mlp` and `proj_out`.
    package init(_ scope: WeightScope, _ sizes: StreamSizes) {
        modulation = Linear(scope / "norm" / "linear", sizes.width, 3 * sizes.width)
        projections = StreamProjections(scope / "attn", .video, sizes)
        inner = Linear(scope / "proj_mlp", sizes.width, sizes.innerWidth)
        output = Linear(scope / "proj_out", sizes.width + sizes.innerWidth, sizes.width)
        self.sizes = sizes
    }

    /// The next tokens of both streams in one, `[1, N + L, D]`; `rotary` turns the queries and keys of all of them.
    package func callAsFunction(
        _ x: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, mask: AttentionMask
    ) -> Tensor {
        let backend = x.backend
        let modulations = StreamModulation(modulation, signal, isVideo: true, sizes)
        let normed = modulations.norm(x)
        let attended: Tensor
        do {
            let a = projections(normed, rotary)
            attended = backend.attention(
                a.query, a.key, a.value, heads: sizes.heads, scale: sizes.attentionScale,
                options: AttentionOptions(mask: mask))
        }
        return modulations.map(x.shape[1], on: backend) { range, modulation in
            // A few thousand rows at a time, so that the wide values of all tokens never exist together.
            let parts = stride(from: range.lowerBound, to: range.upperBound, by: FeedForward.rowsAtOnce).map { start in
                let rows = start..<min(start + FeedForward.rowsAtOnce, range.upperBound)
                let wide = backend.concatenate(
                    [attended.sliced(1, rows), inner(normed.sliced(1, rows), .geluTanh)], axis: 2)
                return output(wide, gate: modulation.gate, residual: x.sliced(1, rows))
            }
            return parts.count == 1 ? parts[0] : backend.concatenate(parts, axis: 1)
        }
    }

    /// Switches the layers that work on every token to 8 bits.
    package mutating func quantize(on backend: any Backend) {
        projections.quantize(on: backend)
        inner.quantize(on: backend)
        output.quantize(on: backend)
    }
}
