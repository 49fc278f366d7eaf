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

    /// Takes `norm1.linear`, `norm1_context.linear`, `attn`, `ff` and `ff_context`; `text` names the text's layers of
    /// the attention.
    package init(
        _ scope: WeightScope, _ sizes: StreamSizes, text names: StreamNames = .text, order: Order = .videoFirst
    ) {
        let (width, inner) = (sizes.width, sizes.innerWidth)
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
        StreamModulation(modulation, signal, isVideo: true, sizes).norm(video)
    }

    /// The next tokens of both streams, `[1, N, D]` and `[1, L, D]`.
    ///
    /// `rotary` turns the video's queries and keys. The mask counts the tokens in the block's order.
    package func callAsFunction(
        video: Tensor, text: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, mask: AttentionMask
    ) -> (video: Tensor, text: Tensor) {
        func modulations(_ linear: Linear, _ first: Int, isVideo: Bool) -> StreamModulation {
            StreamModulation(linear, signal, first: first, isVideo: isVideo, sizes)
        }
        let before = modulations(modulation, 0, isVideo: true)
        let textBefore = modulations(textModulation, 0, isVideo: false)
        let attended = attend(before.norm(video), textBefore.norm(text), rotary, mask)
        let shown = before.add(video, attended.video) { output($0, gate: $1, residual: $2) }
        let told = textBefore.add(text, attended.text) { textOutput($0, gate: $1, residual: $2) }
        let after = modulations(modulation, 3, isVideo: true)
        let textAfter = modulations(textModulation, 3, isVideo: false)
        return (
            after.add(shown, after.norm(shown)) { feedForward($0, gate: $1, residual: $2) },
            textAfter.add(told, textAfter.norm(told)) { textFeedForward($0, gate: $1, residual: $2) }
        )
    }

    private func attend(
        _ video: Tensor, _ text: Tensor, _ rotary: RotaryTable, _ mask: AttentionMask
    ) -> (video: Tensor, text: Tensor) {
        let backend = video.backend
        let attended: Tensor
        do {
            let a = projections(video, rotary)
            let b = textProjections(text, nil)
            func joined(_ video: Tensor, _ text: Tensor) -> Tensor {
                backend.concatenate(order == .videoFirst ? [video, text] : [text, video], axis: 1)
            }
            attended = backend.attention(
                joined(a.query, b.query), joined(a.key, b.key), joined(a.value, b.value), heads: sizes.heads,
                scale: sizes.attentionScale, options: AttentionOptions(mask: mask))
        }
        let split = order == .videoFirst ? video.shape[1] : text.shape[1]
        let (first, second) = (attended.sliced(1, 0..<split), attended.sliced(1, split..<attended.shape[1]))
        return order == .videoFirst ? (first, second) : (second, first)
    }

    /// Switches the layers that work on every token to 8 bits.
    package mutating func quantize(on backend: any Backend) {
        projections.quantize(on: backend)
        textProjections.quantize(on: backend)
        output.quantize(on: backend)
        textOutput.quantize(on: backend)
        feedForward.quantize(on: backend)
        textFeedForward.quantize(on: backend)
    }
}
