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

    /// One stream's layers beside the attention.
    private struct Stream: Sendable {
        let modulation: Linear
        var output: Linear
        var feedForward: FeedForward

        /// The next tokens, of `x` and what the attention has made of them.
        func next(_ x: Tensor, _ attended: Tensor, _ a: StreamModulation, _ b: StreamModulation) -> Tensor {
            let shown = x + a.gate * output(attended)
            return shown + b.gate * feedForward(b.norm(shown))
        }

        mutating func quantize(on session: any Session) {
            output.quantize(on: session)
            feedForward.quantize(on: session)
        }
    }

    /// What becomes of the text.
    private enum Text: Sendable {
        case next(Stream)
        /// The video sees it, and nobody asks for it behind the block.
        case last(ContinuousNorm)
    }

    private var video: Stream
    private var text: Text
    private var projections, textProjections: StreamProjections
    private let sizes: StreamSizes
    private let order: Order
    /// The weights, which come and go together.
    package let unit: ResidencyUnit

    /// Takes `norm1.linear`, `norm1_context.linear`, `attn`, `ff` and `ff_context`; `text` names the text's layers of
    /// the attention.
    ///
    /// A block that `endsText` makes nothing of the text and has no layers for that.
    package init(
        _ place: WeightScope, _ sizes: StreamSizes, text names: StreamNames = .text, order: Order = .videoFirst,
        endsText: Bool = false
    ) {
        let (scope, width, inner) = (place.apart, sizes.width, sizes.innerWidth)
        let attention = scope / "attn"
        func stream(_ norm: String, _ output: WeightScope, _ layers: WeightScope) -> Stream {
            Stream(
                modulation: Linear(scope / norm / "linear", width, 6 * width), output: Linear(output, width, width),
                feedForward: FeedForward(
                    inner: Linear(layers / "net" / 0 / "proj", width, inner), .geluTanh,
                    outer: Linear(layers / "net" / 2, inner, width)))
        }
        unit = scope.unit
        video = stream("norm1", attention / "to_out" / 0, scope / "ff")
        text =
            endsText
            ? .last(ContinuousNorm(scope / "norm1_context", sizes))
            : .next(stream("norm1_context", attention / "to_add_out", scope / "ff_context"))
        projections = StreamProjections(attention, .video, sizes)
        textProjections = StreamProjections(attention, names, sizes)
        self.sizes = sizes
        self.order = order
    }

    /// What the attention sees of the video's tokens `[1, N, D]`.
    package func modulated(_ video: Tensor, _ signal: ModulationSignal) -> Tensor {
        StreamModulation.pair(self.video.modulation, signal.video, sizes).0.norm(video)
    }

    /// The next tokens of both streams, `[1, N, D]` and `[1, L, D]`.
    ///
    /// `rotary` turns the video's queries and keys. The mask counts the tokens in the block's order.
    package func callAsFunction(
        video: Tensor, text: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, mask: AttentionMask
    ) -> (video: Tensor, text: Tensor) {
        guard case .next(let stream) = self.text else { preconditionFailure("the block ends the text") }
        let (a, b) = StreamModulation.pair(self.video.modulation, signal.video, sizes)
        let (c, d) = StreamModulation.pair(stream.modulation, signal.text, sizes)
        let attended = attend(a.norm(video), c.norm(text), rotary, mask)
        return (self.video.next(video, attended.video, a, b), stream.next(text, attended.text, c, d))
    }

    // MARK: Sequences

    /// The next tokens of both streams of sequences; a block that ends the text leaves it as it is.
    ///
    /// `rotary` turns the queries and keys of one sequence's video, and of every other's alike.
    package func callAsFunction(
        video: Tensor, text: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, _ sequences: StreamSequences
    ) -> (video: Tensor, text: Tensor) {
        let (a, b) = StreamModulation.pair(self.video.modulation, signal.video, sizes)
        let shown = projections(a.norm(video), rotary)
        switch self.text {
        case .next(let stream):
            let (c, d) = StreamModulation.pair(stream.modulation, signal.text, sizes)
            let attended = sequences.attend(video: shown, text: textProjections(c.norm(text), nil), sizes)
            return (
                self.video.next(video, attended.video, a, b),
                attended.text.map { stream.next(text, $0, c, d) } ?? text
            )
        case .last(let norm):
            let told = textProjections.seen(norm(text, signal.text), nil)
            let attended = sequences.attend(video: shown, text: (nil, told.key, told.value), sizes)
            return (self.video.next(video, attended.video, a, b), text)
        }
    }

    /// The next tokens of the last `focus` of each sequence's video, `[1, sequences · focus, D]`.
    package func callAsFunction(
        video: Tensor, text: Tensor, _ signal: ModulationSignal, rotary: RotaryTable, _ sequences: StreamSequences,
        focus: Int
    ) -> Tensor {
        let (a, b) = StreamModulation.pair(self.video.modulation, signal.video, sizes)
        let told =
            switch self.text {
            case .next(let stream):
                textProjections.seen(StreamModulation.pair(stream.modulation, signal.text, sizes).0.norm(text), nil)
            case .last(let norm): textProjections.seen(norm(text, signal.text), nil)
            }
        let normed = a.norm(video)
        let shown = projections.seen(normed, rotary)
        let query = projections.queries(sequences.last(focus, ofVideo: normed), rotary.last(focus))
        let attended = sequences.attend(
            video: (query, shown.key, shown.value), text: (nil, told.key, told.value), last: focus, sizes)
        return self.video.next(
            sequences.last(focus, ofVideo: video), attended.video, a.map { sequences.last(focus, $0) },
            b.map { sequences.last(focus, $0) })
    }

    // MARK: Attention

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
        video.quantize(on: session)
        if case .next(var stream) = text {
            stream.quantize(on: session)
            text = .next(stream)
        }
    }
}

extension RotaryTable {
    /// The rotation of the last tokens.
    func last(_ count: Int) -> RotaryTable {
        let range = cosines.shape[0] - count..<cosines.shape[0]
        return RotaryTable(cosines: cosines.sliced(0, range), sines: sines.sliced(0, range), pairing: pairing)
    }
}
