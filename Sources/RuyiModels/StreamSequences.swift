import RuyiTensor

/// Sequences that blocks work on side by side, one behind the other: each has tokens of the text and of the video, which
/// attend to one another, the text's first, and to no other sequence's.
///
/// The tokens of a stream stand in `[1, tokens, D]`, so that sequences of different lengths need no padding and every
/// product is one for all of them.
package struct StreamSequences: Sendable {
    /// One of them.
    package struct Part: Sendable {
        /// Tokens of the text.
        package let text: Int
        /// Tokens of the video, behind them.
        package let video: Int
        /// The row of embeddings that modulates it.
        package let row: Int
        /// The keys that each query sees; nil is all of them.
        package let mask: AttentionMask?

        package init(text: Int, video: Int, row: Int, mask: AttentionMask? = nil) {
            (self.text, self.video, self.row, self.mask) = (text, video, row, mask)
        }
    }

    /// In the order of their tokens.
    package let parts: [Part]
    /// How many tokens at the end of each video, which see all of their sequence, are alone asked for behind the last block;
    /// nil asks for all tokens.
    package let focus: Int?

    package init(_ parts: [Part], focus: Int? = nil) { (self.parts, self.focus) = (parts, focus) }

    // MARK: Places

    /// Where the tokens of a sequence stand in a stream of text, in one of the video, and in one of both.
    private struct Place {
        let part: Part
        let text, video, both: Range<Int>
    }

    private var places: [Place] {
        var (text, video) = (0, 0)
        return parts.map { part in
            defer { (text, video) = (text + part.text, video + part.video) }
            return Place(
                part: part, text: text..<text + part.text, video: video..<video + part.video,
                both: text + video..<text + video + part.text + part.video)
        }
    }

    /// What modulates the streams: of an embedding `[rows, D]` each sequence's row.
    package func signal(_ rows: Tensor) -> ModulationSignal {
        let own = rows.session.concatenate(parts.map { rows.sliced(0, $0.row..<$0.row + 1) }, axis: 0)
        return ModulationSignal(
            video: TokenRows(own, lengths: parts.map(\.video)), text: TokenRows(own, lengths: parts.map(\.text)))
    }

    /// The same where both streams are one.
    package func joined(_ signal: ModulationSignal) -> ModulationSignal {
        ModulationSignal(
            video: TokenRows(signal.video.values, lengths: parts.map { $0.text + $0.video }), text: signal.text)
    }

    /// The tokens of both streams in one.
    package func join(text: Tensor, video: Tensor) -> Tensor {
        let pieces = places.flatMap { [(text, $0.text), (video, $0.video)] }.filter { !$1.isEmpty }
        return video.session.concatenate(pieces.map { $0.sliced(1, $1) }, axis: 1)
    }

    /// The video's tokens among those of both streams.
    func video(of both: Tensor) -> Tensor {
        concatenated(shown.map { both.sliced(1, $0.both.upperBound - $0.part.video..<$0.both.upperBound) })
    }

    /// The rotation of the tokens of both streams: the video's as in the table of one sequence, the text's none.
    package func rotary(_ video: RotaryTable) -> RotaryTable {
        func table(_ rows: Tensor, text value: Float) -> Tensor {
            let pieces = parts.flatMap { part in
                (part.text > 0 ? [rows.session.filled([part.text, rows.shape[1]], value)] : [])
                    + (part.video > 0 ? [rows] : [])
            }
            return pieces.count == 1 ? pieces[0] : rows.session.concatenate(pieces, axis: 0)
        }
        return RotaryTable(cosines: table(video.cosines, text: 1), sines: table(video.sines, text: 0))
    }

    // MARK: What is asked for

    /// The last `count` tokens of each sequence with a video, of a stream of video.
    func last(_ count: Int, ofVideo stream: Tensor) -> Tensor {
        concatenated(shown.map { stream.sliced(1, $0.video.upperBound - count..<$0.video.upperBound) })
    }

    /// The same of both streams in one.
    func last(_ count: Int, ofBoth stream: Tensor) -> Tensor {
        concatenated(shown.map { stream.sliced(1, $0.both.upperBound - count..<$0.both.upperBound) })
    }

    /// The rows of these tokens.
    func last(_ count: Int, _ rows: TokenRows) -> TokenRows {
        TokenRows(rows.values, lengths: parts.map { $0.video > 0 ? count : 0 })
    }

    private var shown: [Place] {
        places.filter { $0.part.video > 0 }
    }

    // MARK: Attention

    /// Queries, keys and values of a stream, `[1, tokens, D]`; without queries nothing is made of its tokens.
    typealias States = (query: Tensor?, key: Tensor, value: Tensor)

    /// What the tokens of two streams make of one another; of the video only the last `count` of each sequence are asked for
    /// where that is given, whose queries alone there are.
    func attend(
        video: States, text: States, last count: Int? = nil, _ sizes: StreamSizes
    ) -> (video: Tensor, text: Tensor?) {
        var (shown, told): ([Tensor], [Tensor]) = ([], [])
        var asked = 0
        for place in places {
            func joined(_ text: Tensor?, _ video: Tensor?, _ range: Range<Int>) -> Tensor? {
                let pieces = [(text, place.text), (video, range)].compactMap { $1.isEmpty ? nil : $0?.sliced(1, $1) }
                return pieces.isEmpty ? nil : concatenated(pieces)
            }
            let queries = asked..<asked + min(place.part.video, count ?? place.part.video)
            asked = queries.upperBound
            guard let query = joined(text.query, video.query, queries),
                let key = joined(text.key, video.key, place.video),
                let value = joined(text.value, video.value, place.video)
            else { continue }
            let attended = attention(query, key, value, place.part.mask, sizes)
            let split = attended.shape[1] - queries.count
            if split > 0 { told.append(attended.sliced(1, 0..<split)) }
            if !queries.isEmpty { shown.append(attended.sliced(1, split..<attended.shape[1])) }
        }
        return (concatenated(shown), told.isEmpty ? nil : concatenated(told))
    }

    /// What the tokens of both streams in one make of one another, or the last `count` of each sequence's video of all.
    func attend(
        _ query: Tensor, _ key: Tensor, _ value: Tensor, last count: Int? = nil, _ sizes: StreamSizes
    ) -> Tensor {
        var asked = 0
        return concatenated(
            (count == nil ? places : shown).map { place in
                let queries = asked..<asked + (count ?? place.both.count)
                asked = queries.upperBound
                return attention(
                    query.sliced(1, queries), key.sliced(1, place.both), value.sliced(1, place.both), place.part.mask,
                    sizes)
            })
    }

    /// The mask's last rows are those of the queries.
    private func attention(
        _ query: Tensor, _ key: Tensor, _ value: Tensor, _ mask: AttentionMask?, _ sizes: StreamSizes
    ) -> Tensor {
        let own = mask.map { AttentionMask(visibleKeys: $0.visibleKeys.map { $0.suffix(query.shape[1]) }) }
        return query.session.attention(
            query, key, value, heads: sizes.heads, scale: sizes.attentionScale, options: AttentionOptions(mask: own))
    }

    private func concatenated(_ pieces: [Tensor]) -> Tensor {
        pieces.count == 1 ? pieces[0] : pieces[0].session.concatenate(pieces, axis: 1)
    }
}
