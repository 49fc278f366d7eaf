import RuyiModels
import RuyiTensor

/// Records the stages of a call as the reference has them: every text with its padding, all tokens of the video.
struct PyramidStages {
    private let trace: StageTrace
    private let around: PyramidSurroundings
    private let session: any Session

    init(_ trace: StageTrace, _ around: PyramidSurroundings) {
        (self.trace, self.around, session) = (trace, around, around.pooled.session)
    }

    private var texts: [PyramidText] { around.texts }

    /// Records what goes into the blocks.
    func record(embeddings: Tensor, shown: Tensor) {
        trace.record("temb", embeddings)
        trace.record("context.out", session.concatenate(texts.map(\.tokens), axis: 0))
        trace.record("embed.out", videos(shown))
        trace.record("rope", rotations)
        trace.record("attn.mask", masks)
    }

    /// Records what comes out.
    func record(output: Tensor) { trace.record("final.out", videos(output)) }

    /// Records what blocks make; the single ones are numbered behind the dual ones.
    var witness: StreamBlocks.Witness {
        var dual = 0
        return { isDual, index, video, text in
            if isDual { dual = index + 1 }
            let name = "block." + StageTrace.digits(isDual ? index : dual + index)
            guard isDual else { return trace.record(name + ".out", both(video)) }
            trace.record(name + ".out", videos(video))
            trace.record(name + ".context", told(text))
        }
    }

    /// The videos' tokens, `[texts, tokens, D]`.
    private func videos(_ stream: Tensor) -> Tensor {
        session.copy(stream).reshaped([texts.count, stream.shape[1] / texts.count, stream.shape[2]])
    }

    /// The texts' tokens, `[texts, tokens, D]`: those that are seen stand in front of all paddings.
    private func told(_ stream: Tensor) -> Tensor {
        var (seen, unseen) = (0, texts.reduce(0) { $0 + $1.valid })
        return session.concatenate(
            texts.map { text in
                let padding = text.padding?.shape[1] ?? 0
                defer { (seen, unseen) = (seen + text.valid, unseen + padding) }
                return row([seen..<seen + text.valid, unseen..<unseen + padding], of: stream)
            }, axis: 0)
    }

    /// The tokens of texts and videos, `[texts, tokens, D]`.
    private func both(_ stream: Tensor) -> Tensor {
        let count = around.grid.count
        var (seen, unseen) = (0, texts.reduce(0) { $0 + $1.valid + count })
        return session.concatenate(
            texts.map { text in
                let (padding, end) = (text.padding?.shape[1] ?? 0, seen + text.valid)
                defer { (seen, unseen) = (end + count, unseen + padding) }
                return row([seen..<end, unseen..<unseen + padding, end..<end + count], of: stream)
            }, axis: 0)
    }

    private func row(_ ranges: [Range<Int>], of stream: Tensor) -> Tensor {
        session.concatenate(ranges.filter { !$0.isEmpty }.map { stream.sliced(1, $0) }, axis: 1)
    }

    /// The rotations of text and video as matrices, `[1, tokens, pairs, 2, 2]`.
    private var rotations: HostTensor {
        let (cosines, sines) = (session.floats(around.rotary.cosines), session.floats(around.rotary.sines))
        let (size, told) = (around.rotary.cosines.shape[1], texts[0].tokens.shape[1])
        let pairs = size / 2
        var values = (0..<told * pairs).flatMap { _ -> [Float] in [1, 0, 0, 1] }
        for place in stride(from: 0, to: cosines.count, by: 2) {
            values += [cosines[place], -sines[place], sines[place], cosines[place]]
        }
        return HostTensor(values, [1, told + around.grid.count, pairs, 2, 2])
    }

    /// What sees what, `[texts, tokens, tokens]`: padding sees padding.
    private var masks: HostTensor {
        let length = texts[0].tokens.shape[1]
        let rows = texts.map { around.grid.mask(text: $0.valid, of: length) }
        let count = length + around.grid.count
        return HostTensor(rows.flatMap { $0 }, [texts.count, count, count])
    }
}

extension PyramidGrid {
    /// What sees what of a sequence with so many tokens of text before padding, a row for each query: 1, or 0.
    package func mask(text: Int, of length: Int) -> [Float] {
        let seen = sequence(text: text, row: 0)
        let counts = seen.mask?.visibleKeys[0] ?? Array(repeating: text + count, count: text + count)
        let padding = length - text
        /// The place of a key among those of the sequence; nil of padding.
        func place(_ token: Int) -> Int? { token < text ? token : token < length ? nil : token - padding }
        return (0..<length + count).flatMap { query in
            (0..<length + count).map { key -> Float in
                guard let row = place(query), let column = place(key) else {
                    return place(query) == nil && place(key) == nil ? 1 : 0
                }
                return column < counts[row] ? 1 : 0
            }
        }
    }
}
