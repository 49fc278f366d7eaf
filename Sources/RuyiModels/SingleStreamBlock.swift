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
    private var feedForward: FeedForward
    private let sizes: StreamSizes
    /// The weights, which come and go together.
    package let unit: ResidencyUnit

    /// Takes `norm.linear`, `attn`, `proj_mlp` and `proj_out`.
    package init(_ place: WeightScope, _ sizes: StreamSizes) {
        let scope = place.apart
        unit = scope.unit
        modulation = Linear(scope / "norm" / "linear", sizes.width, 3 * sizes.width)
        projections = StreamProjections(scope / "attn", .video, sizes)
        feedForward = FeedForward(
            inner: Linear(scope / "proj_mlp", sizes.width, sizes.innerWidth), .geluTanh,
            outer: Linear(scope / "proj_out", sizes.width + sizes.innerWidth, sizes.width))
        self.sizes = sizes
    }

    /// The next tokens of both streams in one, `[1, N + L, D]`; `rotary` turns the queries and keys of all of them.
    package func callAsFunction(
        _ x: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, mask: AttentionMask
    ) -> Tensor {
        let modulation = StreamModulation(modulation, signal.video, sizes)
        let normed = modulation.norm(x)
        let attended = attend(normed, rotary, mask)
        return x + modulation.gate * feedForward(normed, beside: attended)
    }

    /// The next tokens of both streams of sequences in one, or the last `focus` of each one's video.
    ///
    /// `rotary` turns the queries and keys of all tokens; the signal is that of both streams in one.
    package func callAsFunction(
        _ x: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, _ sequences: StreamSequences, focus: Int? = nil
    ) -> Tensor {
        let modulation = StreamModulation(modulation, signal.video, sizes)
        let normed = modulation.norm(x)
        guard let focus else {
            let (query, key, value) = projections(normed, rotary)
            let attended = sequences.attend(query, key, value, sizes)
            return x + modulation.gate * feedForward(normed, beside: attended)
        }
        let asking = sequences.last(focus, ofBoth: normed)
        let (key, value) = projections.seen(normed, rotary)
        let query = projections.queries(asking, rotary.last(focus))
        let attended = sequences.attend(query, key, value, last: focus, sizes)
        let gate = sequences.last(focus, modulation.gate)
        return sequences.last(focus, ofBoth: x) + gate * feedForward(asking, beside: attended)
    }

    private func attend(_ x: Tensor, _ rotary: RotaryTable, _ mask: AttentionMask) -> Tensor {
        let (query, key, value) = projections(x, rotary)
        return x.session.attention(
            query, key, value, heads: sizes.heads, scale: sizes.attentionScale, options: AttentionOptions(mask: mask))
    }

    /// Switches the layers that work on every token to 8 bits.
    package mutating func quantize(on session: any Session) {
        projections.quantize(on: session)
        feedForward.quantize(on: session)
    }
}
