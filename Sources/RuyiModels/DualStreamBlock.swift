import RuyiFiles
import RuyiLayers
import RuyiTensor

/// A block in which video and text have weights of their own and attend together.
///
/// Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", MM-DiT; diffusers:
/// HunyuanVideoTransformerBlock.
package struct DualStreamBlock: Sendable {
    /// Which tokens stand in front where both streams attend together.
    package enum Order: Sendable {
        case videoFirst, textFirst
    }

    private let modulation, textModulation: Linear
    private var projections, textProjections: StreamProjections
    private var output, textOutput: Linear
    private var feedForward, textFeedForward: FeedForward
    private let sizes: StreamSizes
    private let order: Order
    /// The weights, which come and go together.
    package let unit: ResidencyUnit

    /// Takes `norm1.linear`, `norm1_context.linear`, `attn`, `ff` and `ff_context`; `text` names the text's layers of
    /// the attention.
    package init(
        _ place: WeightScope, _ sizes: StreamSizes, text names: StreamNames = .text, order: Order = .videoFirst
    ) {
        let (scope, width, inner) = (place.apart, sizes.width, sizes.innerWidth)
        unit = scope.unit
        modulation = Linear(scope / "norm1" / "linear", width, 6 * width)
        textModulation = Linear(scope / "norm1_context" / "linear", width, 6 * width)
        let attention = scope / "attn"
        projections = StreamProjections(attention, .video, sizes)
        textProjections = StreamProjections(attention, names, sizes)
        output = Linear(attention / "to_out" / 0, width, width)
        textOutput = Linear(attention / "to_add_out", width, width)
        func layers(_ place: WeightScope) -> FeedForward {
            FeedForward(
                inner: Linear(place / "net" / 0 / "proj", width, inner), .geluTanh,
                outer: Linear(place / "net" / 2, inner, width))
        }
        feedForward = layers(scope / "ff")
        textFeedForward = layers(scope / "ff_context")
        self.sizes = sizes
        self.order = order
    }

    /// What the attention sees of the video's tokens `[1, N, D]`.
    package func modulated(_ video: Tensor, _ signal: ModulationSignal) -> Tensor {
        StreamModulation.pair(modulation, signal.video, sizes).0.norm(video)
    }

    /// The next tokens of both streams, `[1, N, D]` and `[1, L, D]`.
    ///
    /// `rotary` turns the video's queries and keys. The mask counts the tokens in the block's order.
    package func callAsFunction(
        video: Tensor, text: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, mask: AttentionMask
    ) -> (video: Tensor, text: Tensor) {
        let (a, b) = StreamModulation.pair(modulation, signal.video, sizes)
        let (c, d) = StreamModulation.pair(textModulation, signal.text, sizes)
        let attended = attend(a.norm(video), c.norm(text), rotary, mask)
        let shown = video + a.gate * output(attended.video)
        let told = text + c.gate * textOutput(attended.text)
        return (shown + b.gate * feedForward(b.norm(shown)), told + d.gate * textFeedForward(d.norm(told)))
    }

    private func attend(
        _ video: Tensor, _ text: Tensor, _ rotary: RotaryTable, _ mask: AttentionMask
    ) -> (video: Tensor, text: Tensor) {
        let session = video.session
        let attended: Tensor
        do {
            let a = projections(video, rotary)
            let b = textProjections(text, nil)
            func joined(_ video: Tensor, _ text: Tensor) -> Tensor {
                session.concatenate(order == .videoFirst ? [video, text] : [text, video], axis: 1)
            }
            attended = session.attention(
                joined(a.query, b.query), joined(a.key, b.key), joined(a.value, b.value), heads: sizes.heads,
                scale: sizes.attentionScale, options: AttentionOptions(mask: mask))
        }
        let split = order == .videoFirst ? video.shape[1] : text.shape[1]
        let (first, second) = (attended.sliced(1, 0..<split), attended.sliced(1, split..<attended.shape[1]))
        return order == .videoFirst ? (first, second) : (second, first)
    }

    /// Switches the layers that work on every token to 8 bits.
    package mutating func quantize(on session: any Session) {
        projections.quantize(on: session)
        textProjections.quantize(on: session)
        output.quantize(on: session)
        textOutput.quantize(on: session)
        feedForward.quantize(on: session)
        textFeedForward.quantize(on: session)
    }
}
