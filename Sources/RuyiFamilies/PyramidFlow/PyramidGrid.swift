import Glibc
import RuyiModels
import RuyiTensor

/// The places of a sequence's tokens: clips of the history from the oldest on, then the one that is made, each cut into
/// patches (specification sections 6, 6.1 and 6.3).
package struct PyramidGrid: Sendable, Equatable {
    /// Frames of one resolution, in patches.
    package struct Clip: Sendable, Equatable {
        package let frames, rows, columns: Int

        package init(frames: Int, rows: Int, columns: Int) {
            (self.frames, self.rows, self.columns) = (frames, rows, columns)
        }

        /// The clip of latents `[T, C, h, w]`.
        package init(_ latents: Tensor) {
            let patch = StreamConfiguration.patch
            self.init(frames: latents.shape[0], rows: latents.shape[2] / patch, columns: latents.shape[3] / patch)
        }

        /// The tokens of a frame.
        package var area: Int { rows * columns }
        /// All tokens.
        package var count: Int { frames * area }
    }

    /// In the order of time; the last one is made.
    package let clips: [Clip]

    /// At least one clip, whose resolution is the others' times 1, 2 or 4.
    package init(_ clips: [Clip]) { self.clips = clips }

    /// The clip that is made.
    package var current: Clip { clips[clips.count - 1] }
    /// All tokens.
    package var count: Int { clips.reduce(0) { $0 + $1.count } }

    /// How many times larger the clip that is made is than another.
    func ratio(_ clip: Clip) -> Int { current.rows / clip.rows }

    /// A sequence with so many tokens of text: these see the first frame, and frames all that lies before them.
    package func sequence(text: Int, row: Int) -> StreamSequences.Part {
        var frames = clips.flatMap { Array(repeating: $0.area, count: $0.frames) }
        frames[0] += text
        return StreamSequences.Part(
            text: text, video: count, row: row, mask: frames.count > 1 ? .causal(blocks: frames) : nil)
    }

    // MARK: Positions

    /// The places of a clip's frames, rows and columns: frames are numbered through all clips, rows and columns are the
    /// middles of what a patch covers of the clip that is made.
    package func places(_ index: Int) -> [[Double]] {
        let (clip, before) = (clips[index], clips[..<index].reduce(0) { $0 + $1.frames })
        func middles(_ count: Int) -> [Double] {
            let ratio = Double(ratio(clip))
            return (0..<count).map { (Double($0) + 0.5) * ratio - 0.5 }
        }
        return [(before..<before + clip.frames).map(Double.init), middles(clip.rows), middles(clip.columns)]
    }

    /// The rotation of all tokens by frame or, with three axes, by frame, row and column; `axes` are the widths of a head's
    /// parts.
    package func rotary(axes: [Int], on session: any Session) -> RotaryTable {
        func table(_ function: (Double) -> Double) -> Tensor {
            let parts = clips.indices.map { index -> Tensor in
                let places = places(index)
                let lengths = places.map(\.count)
                let columns = axes.enumerated().map { axis, width -> Tensor in
                    let shape = lengths.indices.map { $0 == axis ? lengths[axis] : 1 } + [width]
                    let values = PyramidGrid.values(places[axis], width: width, function)
                    return lengths.indices.filter { $0 != axis }.reduce(session.upload(HostTensor(values, shape))) {
                        $0.repeated($1, lengths[$1])
                    }
                }
                let whole = columns.count == 1 ? session.copy(columns[0]) : session.concatenate(columns, axis: 3)
                return whole.reshaped([clips[index].count, axes.reduce(0, +)])
            }
            return parts.count == 1 ? parts[0] : session.concatenate(parts, axis: 0)
        }
        return RotaryTable(cosines: table(cos), sines: table(sin))
    }

    /// The values of places' angles, each of which turns two neighbours.
    private static func values(_ places: [Double], width: Int, _ function: (Double) -> Double) -> [Float] {
        let frequencies = (0..<width / 2).map { 1 / pow(10_000, Double(2 * $0) / Double(width)) }
        return places.flatMap { place in
            frequencies.flatMap { frequency -> [Float] in
                let value = Float(function(place * frequency))
                return [value, value]
            }
        }
    }
}

/// A table of embeddings of places in a square, of whose middle each size of latents takes a part (specification section
/// 6.4).
package struct PyramidPlaces: Sendable {
    /// `[side², D]`.
    private let table: Weight
    /// Rows and columns of patches.
    package let side: Int

    /// Takes a table `[1, side², D]`.
    package init(_ table: Weight, side: Int) {
        self.table = table.reshaped([side * side, table.shape[2]])
        self.side = side
    }

    /// The embeddings of the tokens of all frames of one of a grid's clips, `[1, tokens, D]`: those of the middle of the
    /// table that the clip which is made covers, halved or quartered where the clip is smaller.
    package func callAsFunction(_ clip: PyramidGrid.Clip, in grid: PyramidGrid, on session: any Session) -> Tensor {
        let (whole, ratio) = (grid.current, grid.ratio(clip))
        let (top, left) = ((side - whole.rows) / 2, (side - whole.columns) / 2)
        func rows(_ down: Int, _ right: Int) -> Tensor {
            let places = (0..<clip.rows).flatMap { row in
                (0..<clip.columns).map { (top + row * ratio + down) * side + left + $0 * ratio + right }
            }
            return session.gather(table, places)
        }
        // Without smoothing the mean of the four patches in the middle of what a token covers.
        let (low, high) = ((ratio - 1) / 2, ratio / 2)
        let frame =
            ratio == 1
            ? rows(0, 0)
            : session.combine(rows(low, low) + rows(low, high), 0.25, rows(high, low) + rows(high, high), 0.25)
        return session.concatenate(Array(repeating: frame, count: clip.frames), axis: 0).expanded(at: 0)
    }
}

extension Tensor {
    /// Patches of latents `[T, C, h, w]` in the order frame, row, column, `[1, tokens, 4 C]`: each patch's channels, rows and
    /// columns, or its rows, columns and channels.
    func patches(channelsLast: Bool) -> Tensor {
        let (frames, channels, patch) = (shape[0], shape[1], StreamConfiguration.patch)
        let (rows, columns) = (shape[2] / patch, shape[3] / patch)
        let dense = isContiguous ? self : session.copy(self)
        let cut = dense.reshaped([frames, channels, rows, patch, columns, patch])
        return session.copy(cut.permuted(channelsLast ? [0, 2, 4, 3, 5, 1] : [0, 2, 4, 1, 3, 5])).reshaped([
            1, frames * rows * columns, channels * patch * patch,
        ])
    }

    /// The frame of latents `[1, C, h, w]` of a clip's patches `[1, tokens, 4 C]`, each of which is rows, columns and channels.
    func frame(of clip: PyramidGrid.Clip) -> Tensor {
        let patch = StreamConfiguration.patch
        let channels = shape[2] / (patch * patch)
        let cut = reshaped([clip.rows, clip.columns, patch, patch, channels])
        return session.copy(cut.permuted([4, 0, 2, 1, 3])).reshaped([
            1, channels, clip.rows * patch, clip.columns * patch,
        ])
    }
}
