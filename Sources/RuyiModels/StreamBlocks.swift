import RuyiFiles
import RuyiTensor

/// The blocks of a transformer: first those in which video and text have weights of their own, then those in which they
/// share them.
package struct StreamBlocks: Sendable {
    private var dual: [DualStreamBlock]
    private var single: [SingleStreamBlock]

    /// The rotations of the video's tokens, and of those with the text's behind them.
    package typealias Rotaries = (video: RotaryTable, all: RotaryTable)
    /// Is given the kind and place of a block, and what it made of both streams.
    package typealias Witness = (_ isDual: Bool, _ index: Int, _ video: Tensor, _ text: Tensor) -> Void

    /// Takes `transformer_blocks` and `single_transformer_blocks`.
    package init(_ scope: WeightScope, _ configuration: StreamConfiguration) {
        self.init(
            scope, dual: configuration.dualLayers, single: configuration.singleLayers, configuration.sizes)
    }

    /// Takes so many blocks; without single ones the last dual one ends the text.
    ///
    /// `text` names the text's layers of the dual blocks' attention.
    package init(
        _ scope: WeightScope, dual dualLayers: LayerCount, single singleLayers: LayerCount?, _ sizes: StreamSizes,
        text names: StreamNames = .text
    ) {
        let places = scope.list("transformer_blocks", dualLayers)
        dual = places.enumerated().map { index, place in
            DualStreamBlock(
                place, sizes, text: names, endsText: singleLayers == nil && index == places.count - 1)
        }
        single =
            singleLayers.map { scope.list("single_transformer_blocks", $0).map { SingleStreamBlock($0, sizes) } } ?? []
    }

    /// The number of blocks, for progress.
    package var count: Int { dual.count + single.count }

    /// The weights of a block; behind the last one comes the first of the next step.
    package func unit(of index: Int) -> ResidencyUnit {
        let index = index % count
        return index < dual.count ? dual[index].unit : single[index - dual.count].unit
    }

    /// The video's tokens `[1, N, D]` behind all blocks, or with what the cache has kept of an earlier call in their
    /// place.
    ///
    /// `text` are the tokens `[1, L, D]` that stand behind the video's; the mask counts both.
    package func callAsFunction(
        _ video: Tensor, text: Tensor, _ signal: ModulationSignal, rotary: Rotaries, mask: AttentionMask,
        cache: inout TeaCache?, witness: Witness?, blockDone: (Int) throws -> Void
    ) throws -> Tensor {
        let session = video.session
        let tokens = video
        if let reused = cache?.reusedResidual({ dual[0].modulated(tokens, signal) }) {
            try blockDone(count - 1)
            return video + reused
        }
        var (video, text) = (video, text)
        for (index, block) in dual.enumerated() {
            (video, text) = block(video: video, text: text, signal, rotary: rotary.video, mask: mask)
            witness?(true, index, video, text)
            try blockDone(index)
        }
        let split = video.shape[1]
        var both = session.concatenate([video, text], axis: 1)
        let joined = signal.joined(both.shape[1])
        for (index, block) in single.enumerated() {
            both = block(both, joined, rotary: rotary.all, mask: mask)
            if let witness {
                witness(
                    false, index, session.copy(both.sliced(1, 0..<split)),
                    session.copy(both.sliced(1, split..<both.shape[1])))
            }
            try blockDone(dual.count + index)
        }
        video = session.copy(both.sliced(1, 0..<split))
        cache?.keep(video, of: tokens)
        return video
    }

    /// The videos' tokens `[1, N, D]` of sequences behind all blocks, or as many at the end of each as these ask for.
    ///
    /// - Parameters:
    ///   - video: the tokens of the videos, `[1, N, D]`.
    ///   - text: those of the texts, `[1, L, D]`.
    ///   - rows: the activated embeddings of the call, `[rows, D]`.
    ///   - rotary: the rotation of one video's tokens.
    ///   - witness: is given the streams behind each block; behind a single block what is both, twice.
    package func callAsFunction(
        video: Tensor, text: Tensor, _ rows: Tensor, rotary: RotaryTable, _ sequences: StreamSequences,
        witness: Witness?, blockDone: (Int) throws -> Void
    ) throws -> Tensor {
        let signal = sequences.signal(rows)
        var (video, text) = (video, text)
        for (index, block) in dual.enumerated() {
            if index == count - 1, let focus = sequences.focus {
                video = block(video: video, text: text, signal, rotary: rotary, sequences, focus: focus)
            } else {
                (video, text) = block(video: video, text: text, signal, rotary: rotary, sequences)
                witness?(true, index, video, text)
            }
            try blockDone(index)
        }
        if single.isEmpty { return video }
        var both = sequences.join(text: text, video: video)
        let (joined, all) = (sequences.joined(signal), sequences.rotary(rotary))
        for (index, block) in single.enumerated() {
            let focus = index == single.count - 1 ? sequences.focus : nil
            both = block(both, joined, rotary: all, sequences, focus: focus)
            if focus == nil { witness?(false, index, both, both) }
            try blockDone(dual.count + index)
        }
        return sequences.focus == nil ? sequences.video(of: both) : both
    }

    /// Patterns of the names of the weights that compute in 8 bits in a quantised copy.
    package static let integerWeights = [
        "transformer_blocks.*.attn.*.weight", "transformer_blocks.*.ff.net.*.weight",
        "transformer_blocks.*.ff_context.net.*.weight", "single_transformer_blocks.*.attn.*.weight",
        "single_transformer_blocks.*.proj_mlp.weight", "single_transformer_blocks.*.proj_out.weight",
    ]

    /// A copy whose large linear layers compute in 8 bits.
    package func quantized(on session: any Session, blockDone: () throws -> Void) throws -> StreamBlocks {
        var copy = self
        for index in dual.indices {
            copy.dual[index].quantize(on: session)
            try blockDone()
        }
        for index in single.indices {
            copy.single[index].quantize(on: session)
            try blockDone()
        }
        return copy
    }
}
