import RuyiKernelTable
import RuyiTensor

/// Channels of one frame that are transformed at a time.
private let panelDepth = 128
/// Transformed weights that are there at a time, in floats; the outputs of wider layers are computed in groups.
private let weightLimit = 1 << 26
/// Output positions of a frame from which on tiles are large: before that, transforming the weights takes longer than the
/// multiplications that are saved.
private let largeArea = 4096

extension CPUSession {
    /// A convolution with 3 x 3 spatial kernels by fewer multiplications, in one of the ways of `FilterKernels`.
    ///
    /// `result` is `[T, O, H', W']`.
    func filter(
        _ frames: [Tensor?], _ way: FilterKernels, weight: Weight, bias: [Float]?, border: SpatialPadding.Border,
        residual: Tensor?, into result: Tensor
    ) {
        let (usable, outputs) = (readable(weight), weight.shape[0])
        let timeline = FilterTimeline(frames, kernel: weight.shape[2])
        let size = way.values * timeline.taps.count * weight.shape[1] * outputs
        let groups = max(1, size / weightLimit)
        for group in 0..<groups {
            let part = group * outputs / groups..<(group + 1) * outputs / groups
            let work = FilterWork(
                multiplier: multiplier, way: way, channels: weight.shape[1],
                height: result.shape[2] * way.step / way.outputSide, width: result.shape[3] * way.step / way.outputSide,
                outputs: part, kernelTime: weight.shape[2], taps: timeline.taps, border: border)
            filter(timeline, work, usable, bias: bias.map { Array($0[part]) }, residual: residual, into: result)
        }
    }

    /// The same for the outputs of a part of the work.
    private func filter(
        _ timeline: FilterTimeline, _ work: FilterWork, _ weight: HostTensor, bias: [Float]?, residual: Tensor?,
        into result: Tensor
    ) {
        let (plane, outputs) = (work.outputHeight * work.outputWidth, result.shape[1])
        let blocks = work.blocks(frames: result.shape[0], threads: threadCount)
        withScratch(work.packedCount) { packed in
            let shared = Shared(packed)
            parallel(work.outputSlivers, scratch: work.weightScratchCount) { sliver, scratch in
                work.pack(weight, sliver, scratch: scratch, into: shared.pointer)
            }
            let widest = blocks.reduce(0) { max($0, $1.count) }
            let scratchCount = FilterBlock.scratchCount(work, slivers: widest)
            parallel(result.shape[0] * blocks.count, scratch: scratchCount) { task, scratch in
                let (frame, slivers) = (task / blocks.count, blocks[task % blocks.count])
                let origin = (frame * outputs + work.outputs.lowerBound) * plane
                let block = FilterBlock(work, slivers)
                block.sum(timeline.sources(of: frame), weights: shared.pointer, scratch: scratch)
                block.finish(
                    scratch: scratch, bias: bias, residual: residual.map { $0.floatPointer + origin },
                    into: result.floatPointer + origin)
            }
        }
    }
}

/// The frames under a kernel as it moves on in time: one that lies under several neighbouring taps is multiplied once, by
/// the sum of their weights.
private struct FilterTimeline: Sendable {
    /// The neighbouring taps that have a frame in common.
    let taps: [Range<Int>]
    /// For each place of the kernel the frames that are not zero, with the places of their taps.
    private let sources: [[(frame: Tensor, taps: Int)]]

    init(_ frames: [Tensor?], kernel: Int) {
        var known: [Range<Int>] = []
        sources = (0...frames.count - kernel).map { start in
            var found: [(frame: Tensor, taps: Int)] = []
            var tap = 0
            while tap < kernel {
                let frame = frames[start + tap]
                let end = (tap..<kernel).first { !isSame(frames[start + $0], frame) } ?? kernel
                if let frame {
                    let place = known.firstIndex(of: tap..<end) ?? known.count
                    if place == known.count { known.append(tap..<end) }
                    found.append((frame, place))
                }
                tap = end
            }
            return found
        }
        taps = known
    }

    func sources(of place: Int) -> [(values: UnsafePointer<Float>, taps: Int)] {
        sources[place].map { (UnsafePointer($0.frame.floatPointer), $0.taps) }
    }
}

private func isSame(_ a: Tensor?, _ b: Tensor?) -> Bool {
    switch (a, b) {
    case (let a?, let b?): a.isSame(as: b)
    case (nil, nil): true
    default: false
    }
}

/// A matrix product for each value of a transformed tile, over channels and frames of the kernel.
struct FilterWork: @unchecked Sendable {
    let multiplier: Multiplier
    let way: FilterKernels
    let channels: Int
    let height: Int
    let width: Int
    let outputs: Range<Int>
    let kernelTime: Int
    /// The taps in time whose weights are multiplied as one.
    let taps: [Range<Int>]
    let border: SpatialPadding.Border

    /// Whether a convolution can be done with fewer multiplications and gains by it: the transforms of inputs and outputs
    /// are spread over the channels, that of the weights over the positions.
    static func suits(
        _ weight: Weight, area: Int, _ stride: ConvolutionStride, _ padding: SpatialPadding
    ) -> Bool {
        weight.shape[3] == 3 && weight.shape[4] == 3 && stride == .one && padding.before == 1 && padding.after == 1
            && min(weight.shape[0], weight.shape[1]) >= 64 && area >= 128
    }

    /// The way for frames of so many positions.
    ///
    /// Large tiles round 1.4 times as much as the direct method does, and would show the rounding of operands more.
    static func way(_ multiplier: Multiplier, area: Int) -> FilterKernels {
        area >= largeArea && !multiplier.isRounding ? multiplier.kernels.large : multiplier.kernels.small
    }

    var kernels: KernelTable { multiplier.kernels }
    var outputHeight: Int { height * way.outputSide / way.step }
    var outputWidth: Int { width * way.outputSide / way.step }
    var tilesAcross: Int { (width + way.step - 1) / way.step }
    var tiles: Int { tilesAcross * ((height + way.step - 1) / way.step) }
    private var depth: Int { kernelTime * channels }
    /// Words of a frame's channels, and of those of all frames that are multiplied.
    var frameWords: Int { multiplier.words(channels) }
    var words: Int { taps.count * frameWords }
    var outputSlivers: Int { (outputs.count + kernels.mr - 1) / kernels.mr }
    /// Distance of a value's transformed weights from those of the next; rows that lay a multiple of a page apart would
    /// displace one another from the first cache.
    var weightStride: Int { outputSlivers * kernels.mr * words + 16 }
    var packedCount: Int { way.values * weightStride }
    var weightScratchCount: Int { (18 * depth + 9 + 2 * way.values) * kernels.mr }

    /// Slivers of tiles of one task, for which the transformed weights are streamed once.
    ///
    /// Weights that stay in the last cache may be streamed often, and the sums of few slivers stay in the one before.
    private var sliversPerTask: Int { channels * outputs.count < 1 << 16 ? 2 : 8 }

    /// The slivers of a frame's tiles in blocks of similar size, so that the threads end together.
    func blocks(frames: Int, threads: Int) -> [Range<Int>] {
        let slivers = (tiles + kernels.nr - 1) / kernels.nr
        let least = (slivers + sliversPerTask - 1) / sliversPerTask
        let rounds = (frames * least + threads - 1) / threads
        let count = min(slivers, (rounds * threads + frames - 1) / frames)
        return (0..<count).map { $0 * slivers / count..<($0 + 1) * slivers / count }
    }

    /// Transforms and packs the weights of `mr` outputs as `[value][sliver][taps in time · words of channels][mr]`.
    func pack(
        _ weight: HostTensor, _ sliver: Int, scratch: UnsafeMutablePointer<Float>,
        into packed: UnsafeMutablePointer<Float>
    ) {
        let mr = kernels.mr
        let rows = min(mr, outputs.count - sliver * mr)
        let first = outputs.lowerBound + sliver * mr
        let single = scratch + 9 * depth * mr  // [channels][time][9][mr]
        let sum = single + 9 * depth * mr  // [9][mr]
        let pair = sum + 9 * mr  // [values][2][mr]
        let target = packed + sliver * mr * words
        kernels.convert(weight, first * 9 * depth..<(first + rows) * 9 * depth, into: scratch)
        kernels.packLeft(scratch, 9 * depth, rows, 9 * depth, single)
        for (place, range) in taps.enumerated() {
            func transform(_ channel: Int, _ values: UnsafeMutablePointer<Float>, _ stride: Int) {
                func tap(_ time: Int) -> UnsafeMutablePointer<Float> {
                    single + (channel * kernelTime + time) * 9 * mr
                }
                var weights = tap(range.lowerBound)
                for time in range.dropFirst() {
                    kernels.combine(weights, 1, tap(time), 1, 9 * mr, sum, false)
                    weights = sum
                }
                way.transformWeights(weights, values, stride)
            }
            if !multiplier.isRounding {
                for channel in 0..<channels {
                    transform(channel, target + (place * channels + channel) * mr, weightStride)
                }
                continue
            }
            for word in 0..<frameWords {
                let count = min(2, channels - 2 * word)
                for half in 0..<count { transform(2 * word + half, pair + half * mr, 2 * mr) }
                for value in 0..<way.values {
                    multiplier.pair(
                        pair + 2 * value * mr, count, mr,
                        into: target + value * weightStride + (place * frameWords + word) * mr)
                }
            }
        }
    }
}

/// A part of a row of tiles that lies within one sliver.
private struct Stretch {
    let row: Int
    let column: Int
    let count: Int
    let sliver: Int
    let lane: Int
}

/// The tiles of one task.
private struct FilterBlock {
    private let work: FilterWork
    private let way: FilterKernels
    private let kernels: KernelTable
    private let slivers: Int
    private let stretches: [Stretch]
    /// Channels of one frame that are transformed at a time.
    private let panel: Int

    init(_ work: FilterWork, _ slivers: Range<Int>) {
        let nr = work.kernels.nr
        self.work = work
        way = work.way
        kernels = work.kernels
        self.slivers = slivers.count
        panel = FilterBlock.panel(work)
        var stretches: [Stretch] = []
        var tile = slivers.lowerBound * nr
        let end = min(slivers.upperBound * nr, work.tiles)
        while tile < end {
            let (row, column) = tile.quotientAndRemainder(dividingBy: work.tilesAcross)
            let (sliver, lane) = tile.quotientAndRemainder(dividingBy: nr)
            let count = min(work.tilesAcross - column, nr - lane, end - tile)
            stretches.append(
                Stretch(row: row, column: column, count: count, sliver: sliver - slivers.lowerBound, lane: lane))
            tile += count
        }
        self.stretches = stretches
    }

    private func words(_ count: Int) -> Int { work.multiplier.words(count) }
    /// Floats of one sliver of sums.
    private var tileCount: Int { kernels.mr * kernels.nr }
    /// Floats of a padded row of values under a sliver of tiles.
    private var lineCount: Int { FilterBlock.lineCount(work) }
    private var valuesCount: Int { FilterBlock.valuesCount(work, slivers: slivers) }
    private var sumsCount: Int { FilterBlock.sumsCount(work, slivers: slivers) }

    private static func panel(_ work: FilterWork) -> Int { min(panelDepth, work.channels) }

    private static func lineCount(_ work: FilterWork) -> Int { work.way.step * work.kernels.nr + work.way.reach }

    private static func valuesCount(_ work: FilterWork, slivers: Int) -> Int {
        work.way.values * slivers * (panel(work) + 1) * work.kernels.nr
    }

    private static func sumsCount(_ work: FilterWork, slivers: Int) -> Int {
        work.way.values * work.outputSlivers * slivers * work.kernels.mr * work.kernels.nr
    }

    /// Floats of scratch memory for so many slivers of tiles.
    static func scratchCount(_ work: FilterWork, slivers: Int) -> Int {
        valuesCount(work, slivers: slivers) + sumsCount(work, slivers: slivers) + work.way.inputSide * lineCount(work)
    }

    /// Sums the products over all channels and frames as `[value][output sliver][sliver][mr][nr]`.
    func sum(
        _ sources: [(values: UnsafePointer<Float>, taps: Int)], weights: UnsafePointer<Float>,
        scratch: UnsafeMutablePointer<Float>
    ) {
        let (mr, nr) = (kernels.mr, kernels.nr)
        let sums = scratch + valuesCount
        let plane = work.height * work.width
        let step = (4 * mr + slivers - 1) / slivers
        var isFirst = true
        for source in sources {
            for start in stride(from: 0, to: work.channels, by: panel) {
                let count = min(panel, work.channels - start)
                transform(source.values + start * plane, count, lines: sums + sumsCount, into: scratch)
                for value in 0..<way.values {
                    for output in 0..<work.outputSlivers {
                        let a =
                            weights + value * work.weightStride
                            + (output * work.words + source.taps * work.frameWords + words(start)) * mr
                        // While the slivers of tiles are worked on, the next weights are fetched.
                        let next = UnsafeRawPointer(a + work.words * mr)
                        for sliver in 0..<slivers {
                            work.multiplier.tile(
                                words(count), a, scratch + (value * slivers + sliver) * (count + 1) * nr,
                                sums + ((value * work.outputSlivers + output) * slivers + sliver) * tileCount, nr,
                                !isFirst, next + sliver * words(count) * step, step)
                        }
                    }
                }
                isFirst = false
            }
        }
        if isFirst { sums.update(repeating: 0, count: sumsCount) }
    }

    /// Transforms `count` channels as `[value][sliver][count + 1][nr]`, of which rounded ones take the first half.
    ///
    /// A stretch is written in whole vectors, and what exceeds it is overwritten by what comes next; the last row of
    /// each sliver is there for what then remains.
    private func transform(
        _ source: UnsafePointer<Float>, _ count: Int, lines: UnsafeMutablePointer<Float>,
        into values: UnsafeMutablePointer<Float>
    ) {
        let (nr, height, width) = (kernels.nr, work.height, work.width)
        let (side, overlap) = (way.inputSide, way.inputSide - way.step)
        let valueStride = slivers * (count + 1) * nr
        for channel in 0..<count {
            let plane = source + channel * height * width
            for stretch in stretches {
                let (y, x) = (way.step * stretch.row - 1, way.step * stretch.column - 1)
                let target = values + (stretch.sliver * (count + 1) + channel) * nr + stretch.lane
                // Whole vectors are read.
                let read = way.step * (stretch.count <= nr / 2 ? nr / 2 : nr) + way.reach
                if y >= 0 && y + side <= height && x >= 0 && x + read <= width {
                    way.transformInput(plane + y * width + x, width, stretch.count, target, valueStride)
                } else {
                    for line in 0..<side {
                        fill(lines + line * lineCount, plane, y + line, x, way.step * stretch.count + overlap)
                    }
                    way.transformInput(lines, lineCount, stretch.count, target, valueStride)
                }
            }
            if work.multiplier.isRounding && (channel % 2 == 1 || channel == count - 1) {
                let first = channel / 2 * 2
                for place in 0..<way.values * slivers {
                    let rows = values + place * (count + 1) * nr
                    work.multiplier.pair(rows + first * nr, channel - first + 1, nr, into: rows + first / 2 * nr)
                }
            }
        }
    }

    /// Copies `count` values of a row, with the border where they lie outside the frame.
    private func fill(
        _ line: UnsafeMutablePointer<Float>, _ plane: UnsafePointer<Float>, _ y: Int, _ x: Int, _ count: Int
    ) {
        let isEdge = work.border == .edge
        guard isEdge || (y >= 0 && y < work.height) else { return line.update(repeating: 0, count: count) }
        let row = plane + min(max(y, 0), work.height - 1) * work.width
        let start = max(0, -x)
        let end = max(start, min(count, work.width - x))
        line.update(repeating: isEdge ? row[0] : 0, count: start)
        (line + start).update(from: row + x + start, count: end - start)
        (line + end).update(repeating: isEdge ? row[work.width - 1] : 0, count: count - end)
    }

    /// Transforms the sums back and adds bias and residual.
    func finish(
        scratch: UnsafeMutablePointer<Float>, bias: [Float]?, residual: UnsafePointer<Float>?,
        into result: UnsafeMutablePointer<Float>
    ) {
        let (side, height, width) = (way.outputSide, work.outputHeight, work.outputWidth)
        let (sums, rows) = (scratch + valuesCount, scratch)
        let valueStride = work.outputSlivers * slivers * tileCount
        for output in 0..<work.outputs.count {
            let (outputSliver, row) = output.quotientAndRemainder(dividingBy: kernels.mr)
            let offset = bias?[output] ?? 0
            var transformed = -1
            for stretch in stretches {
                if transformed != stretch.sliver {
                    transformed = stretch.sliver
                    way.transformOutput(
                        sums + (outputSliver * slivers + transformed) * tileCount + row * kernels.nr, valueStride,
                        offset, rows)
                }
                let origin = (output * height + side * stretch.row) * width + side * stretch.column
                let length = min(side * stretch.count, width - side * stretch.column)
                for line in 0..<min(side, height - side * stretch.row) {
                    let place = origin + line * width
                    kernels.combine(
                        rows + side * (line * kernels.nr + stretch.lane), 1, residual.map { $0 + place },
                        residual == nil ? 0 : 1, length, result + place, false)
                }
            }
        }
    }
}
