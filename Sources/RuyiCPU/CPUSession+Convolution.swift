import RuyiKernelTable
import RuyiTensor

/// Depth of the panels that are gathered at a time.
private let panelDepth = 512
/// Slivers of positions of one task; the packed weights are streamed once for all of them.
private let sliversPerTask = 8

extension CPUSession {
    func convolution(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, stride: ConvolutionStride, padding: SpatialPadding,
        residual: Tensor?
    ) -> Tensor {
        guard let first = timeline.lazy.compactMap({ $0 }).first else {
            preconditionFailure("a convolution needs at least one frame")
        }
        precondition(
            weight.rank == 5 && first.rank == 3 && weight.shape[1] == first.shape[0],
            "weight \(weight.shape) does not take frames \(first.shape)")
        let frames = timeline.map { $0.map(dense) }
        for case .some(let frame) in frames {
            precondition(frame.shape == first.shape, "frames \(frame.shape) and \(first.shape) differ")
        }
        let work = ConvolutionWork(
            multiplier: multiplier, channels: weight.shape[1], height: first.shape[1], width: first.shape[2],
            outputs: weight.shape[0], kernelTime: weight.shape[2], kernelHeight: weight.shape[3],
            kernelWidth: weight.shape[4], stride: stride, padding: padding)
        precondition(
            work.outputHeight > 0 && work.outputWidth > 0 && timeline.count >= work.kernelTime,
            "\(timeline.count) frames \(first.shape) are smaller than the kernel \(weight.shape)")
        let count = (timeline.count - work.kernelTime) / stride.time + 1
        let result = empty([count, work.outputs, work.outputHeight, work.outputWidth])
        let seen = (0..<count).reduce(0) { sum, index in
            sum + frames[index * stride.time..<index * stride.time + work.kernelTime].count { $0 != nil }
        }
        note(
            .convolution(
                inputs: work.channels, outputs: work.outputs, frames: work.kernelTime, side: work.kernelWidth,
                stride: stride.width),
            // Frames of zeros are passed over.
            2 * Double(seen) * Double(work.outputs * work.area) * Double(work.frameDepth))
        if let residual {
            precondition(residual.shape == result.shape, "residual \(residual.shape) is not \(result.shape)")
        }
        let addend = residual.map(dense)
        let biases = vector(bias, count: work.outputs, "bias")
        if FilterWork.suits(weight, area: work.area, stride, padding) {
            filter(
                frames, FilterWork.way(multiplier, area: work.area), weight: weight, bias: biases,
                border: padding.border, residual: addend, into: result)
            return result
        }
        let blocks = (work.area + sliversPerTask * kernels.nr - 1) / (sliversPerTask * kernels.nr)
        withScratch(work.packedCount) { packed in
            let shared = Shared(packed)
            let usable = readable(weight)
            parallel(work.outputSlivers, scratch: work.weightScratchCount) { sliver, scratch in
                work.pack(usable, sliver, scratch: scratch, into: shared.pointer)
            }
            parallel(count * blocks, scratch: work.scratchCount) { task, scratch in
                let frame = task / blocks
                let sources = (0..<work.kernelTime).map { frames[frame * stride.time + $0]?.floatPointer }
                let origin = frame * work.outputs * work.area
                work.convolve(
                    sources, block: task % blocks, weights: shared.pointer, scratch: scratch, bias: biases,
                    residual: addend.map { $0.floatPointer + origin }, into: result.floatPointer + origin)
            }
        }
        return result
    }

    func convolutionDoubled(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, border: SpatialPadding.Border
    ) -> Tensor {
        let padding = SpatialPadding(before: 1, after: 1, border: border)
        guard let first = timeline.lazy.compactMap({ $0 }).first, first.rank == 3,
            FilterWork.suits(weight, area: 4 * first.shape[1] * first.shape[2], .one, padding)
        else { return convolutionOfDoubled(timeline, weight: weight, bias: bias, border: border) }
        let frames = timeline.map { $0.map(dense) }
        let (height, width) = (2 * first.shape[1], 2 * first.shape[2])
        precondition(weight.shape[1] == first.shape[0], "weight \(weight.shape) does not take frames \(first.shape)")
        for case .some(let frame) in frames {
            precondition(frame.shape == first.shape, "frames \(frame.shape) and \(first.shape) differ")
        }
        precondition(timeline.count >= weight.shape[2], "\(timeline.count) frames are fewer than the kernel's")
        let result = empty([timeline.count - weight.shape[2] + 1, weight.shape[0], height, width])
        note(
            .doublingConvolution(inputs: weight.shape[1], outputs: weight.shape[0], frames: weight.shape[2]),
            2 * Double(result.count * weight.shape[1] * weight.shape[2] * 9))
        filter(
            frames, kernels.doubling, weight: weight, bias: vector(bias, count: weight.shape[0], "bias"),
            border: border, residual: nil, into: result)
        return result
    }
}

/// An implicit matrix product: the left operand is the weights `[outputs][taps · channels]`, the right one the values
/// under each tap, gathered panel by panel; the result has the frames' own layout.
private struct ConvolutionWork: @unchecked Sendable {
    let multiplier: Multiplier
    let channels: Int
    let height: Int
    let width: Int
    let outputs: Int
    let kernelTime: Int
    let kernelHeight: Int
    let kernelWidth: Int
    let stride: ConvolutionStride
    let padding: SpatialPadding

    private var kernels: KernelTable { multiplier.kernels }
    var outputHeight: Int { (height + padding.before + padding.after - kernelHeight) / stride.height + 1 }
    var outputWidth: Int { (width + padding.before + padding.after - kernelWidth) / stride.width + 1 }
    /// Positions of an output frame.
    var area: Int { outputHeight * outputWidth }
    /// Taps of one frame of the kernel.
    private var taps: Int { kernelHeight * kernelWidth }
    /// Values that are summed for one frame of the kernel.
    var frameDepth: Int { taps * channels }
    var depth: Int { kernelTime * frameDepth }
    var outputSlivers: Int { (outputs + kernels.mr - 1) / kernels.mr }
    /// Words of the values that are summed for one frame of the kernel.
    private var frameWords: Int { multiplier.words(frameDepth) }
    private var words: Int { kernelTime * frameWords }
    var packedCount: Int { outputSlivers * kernels.mr * words }
    /// Floats of scratch memory for the packing of weights.
    var weightScratchCount: Int { (multiplier.isRounding ? 3 : 2) * depth * kernels.mr }
    var scratchCount: Int { (sliversPerTask * panelDepth + kernels.mr) * kernels.nr }

    /// Packs the weights of `mr` outputs in the order time, tap, channel.
    func pack(
        _ weight: HostTensor, _ sliver: Int, scratch: UnsafeMutablePointer<Float>,
        into packed: UnsafeMutablePointer<Float>
    ) {
        let mr = kernels.mr
        let rows = min(mr, outputs - sliver * mr)
        let allTaps = kernelTime * taps
        let slivers = scratch + mr * depth  // [channels][time, tap][mr]
        let target = packed + sliver * mr * words
        let ordered = multiplier.isRounding ? slivers + mr * depth : target  // [time, tap][channels][mr]
        kernels.convert(weight, sliver * mr * depth..<(sliver * mr + rows) * depth, into: scratch)
        kernels.packLeft(scratch, depth, rows, depth, slivers)
        for tap in 0..<allTaps {
            for channel in 0..<channels {
                (ordered + (tap * channels + channel) * mr).update(
                    from: slivers + (channel * allTaps + tap) * mr, count: mr)
            }
        }
        for time in 0..<kernelTime {
            multiplier.pair(
                ordered + time * frameDepth * mr, frameDepth, mr, into: target + time * frameWords * mr)
        }
    }

    func convolve(
        _ sources: [UnsafeMutablePointer<Float>?], block: Int, weights: UnsafePointer<Float>,
        scratch: UnsafeMutablePointer<Float>, bias: [Float]?, residual: UnsafeMutablePointer<Float>?,
        into result: UnsafeMutablePointer<Float>
    ) {
        let (mr, nr) = (kernels.mr, kernels.nr)
        let first = block * sliversPerTask * nr
        let positions = first..<min(first + sliversPerTask * nr, area)
        let slivers = (positions.count + nr - 1) / nr
        let edge = scratch + sliversPerTask * panelDepth * nr
        let step = (4 * mr + slivers - 1) / slivers
        var isFirst = true
        for (time, source) in sources.enumerated() {
            guard let source else { continue }
            for start in Swift.stride(from: 0, to: frameDepth, by: panelDepth) {
                let count = min(panelDepth, frameDepth - start)
                for sliver in 0..<slivers {
                    let begin = first + sliver * nr
                    gather(
                        source, positions: begin..<min(begin + nr, area), depths: start..<start + count,
                        into: scratch + sliver * nr * count)
                    let values = scratch + sliver * nr * count
                    multiplier.pair(values, count, nr, into: values)
                }
                for outputSliver in 0..<outputSlivers {
                    let a = weights + (outputSliver * words + time * frameWords + multiplier.words(start)) * mr
                    let rows = min(mr, outputs - outputSliver * mr)
                    // While the slivers of positions are worked on, the next weights are fetched.
                    let next = UnsafeRawPointer(a + mr * words)
                    for sliver in 0..<slivers {
                        let b = UnsafePointer(scratch + sliver * nr * count)
                        let begin = first + sliver * nr
                        let columns = min(nr, area - begin)
                        let c = result + outputSliver * mr * area + begin
                        let ahead = next + sliver * multiplier.words(count) * step
                        if rows == mr && columns == nr {
                            multiplier.tile(multiplier.words(count), a, b, c, area, !isFirst, ahead, step)
                        } else {
                            multiplier.tile(multiplier.words(count), a, b, edge, nr, false, ahead, step)
                            addEdge(edge, nr, to: c, area, rows, columns, accumulate: !isFirst)
                        }
                    }
                }
                isFirst = false
            }
        }
        for output in 0..<outputs {
            let target = result + output * area + first
            if isFirst { target.update(repeating: 0, count: positions.count) }
            if let addend = residual.map({ $0 + output * area + first }) {
                kernels.combine(target, 1, addend, 1, positions.count, target, false)
            }
            if let bias { kernels.combine(target, 1, nil, bias[output], positions.count, target, false) }
        }
    }

    /// Gathers the values under the taps in `depths` (tap-major, then channel) for up to `nr` output positions.
    private func gather(
        _ source: UnsafePointer<Float>, positions: Range<Int>, depths: Range<Int>,
        into sliver: UnsafeMutablePointer<Float>
    ) {
        let nr = kernels.nr
        let plane = height * width
        var depth = depths.lowerBound
        while depth < depths.upperBound {
            let tap = depth / channels
            let channel = depth % channels
            let count = min(channels - channel, depths.upperBound - depth)
            let rows = sliver + (depth - depths.lowerBound) * nr
            let planes = source + channel * plane
            gatherTap(planes, plane, count, tap / kernelWidth, tap % kernelWidth, positions, rows)
            depth += count
        }
    }

    /// Gathers `count` channels under one tap, output row by output row, with the border outside the frame.
    private func gatherTap(
        _ source: UnsafePointer<Float>, _ plane: Int, _ count: Int, _ tapRow: Int, _ tapColumn: Int,
        _ positions: Range<Int>, _ rows: UnsafeMutablePointer<Float>
    ) {
        let isOneRow = positions.lowerBound / outputWidth == (positions.upperBound - 1) / outputWidth
        let firstColumn = positions.lowerBound % outputWidth * stride.width + tapColumn - padding.before
        let lastColumn = firstColumn + (positions.count - 1) * stride.width
        let firstRow = positions.lowerBound / outputWidth * stride.height + tapRow - padding.before
        if !(isOneRow && positions.count == kernels.nr && firstColumn >= 0 && lastColumn < width && firstRow >= 0
            && firstRow < height)
        {
            rows.update(repeating: 0, count: count * kernels.nr)
        }
        var position = positions.lowerBound
        while position < positions.upperBound {
            let (row, column) = (position / outputWidth, position % outputWidth)
            let run = min(outputWidth - column, positions.upperBound - position)
            let line = row * stride.height + tapRow - padding.before
            let y = padding.border == .edge ? min(max(line, 0), height - 1) : line
            let x = column * stride.width + tapColumn - padding.before
            // The part of the run whose column lies inside the frame.
            let skipped = min(run, x < 0 ? (-x + stride.width - 1) / stride.width : 0)
            let inside = max(skipped, min(run, (width - x + stride.width - 1) / stride.width))
            if y >= 0 && y < height && inside > skipped {
                kernels.packPlanes(
                    source + y * width + x + skipped * stride.width, plane, count, inside - skipped, stride.width,
                    rows + (position - positions.lowerBound) + skipped)
            }
            if padding.border == .edge {
                let target = rows + (position - positions.lowerBound)
                repeatEdge(source + y * width, plane, count, 0..<skipped, at: 0, into: target)
                repeatEdge(source + y * width, plane, count, inside..<max(inside, run), at: width - 1, into: target)
            }
            position += run
        }
    }

    /// Repeats a value of each channel's row at the positions of a run that lie outside it.
    private func repeatEdge(
        _ row: UnsafePointer<Float>, _ plane: Int, _ count: Int, _ positions: Range<Int>, at column: Int,
        into rows: UnsafeMutablePointer<Float>
    ) {
        for channel in 0..<(positions.isEmpty ? 0 : count) {
            (rows + channel * kernels.nr + positions.lowerBound).update(
                repeating: row[channel * plane + column], count: positions.count)
        }
    }
}
