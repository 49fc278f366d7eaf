import RuyiKernelTable

/// Channels of one frame that are transformed at a time.
private let panelDepth = 128
/// Slivers of tiles of one task; the transformed weights are streamed once for all of them.
private let sliversPerTask = 2

extension CPUBackend {
    /// A convolution with 3 x 3 spatial kernels by Winograd's minimal filtering: 2.25 times fewer multiplications.
    ///
    /// `result` is `[T, O, H, W]`.
    func winograd(_ frames: [Tensor?], weight: Tensor, bias: [Float]?, residual: Tensor?, into result: Tensor) {
        let work = WinogradWork(
            kernels: kernels, channels: weight.shape[1], height: result.shape[2], width: result.shape[3],
            outputs: weight.shape[0], kernelTime: weight.shape[2])
        let usable = weight.isContiguous && weight.dtype.element != nil ? weight : copy(weight)
        withScratch(work.packedCount) { packed in
            let shared = Shared(packed)
            pool.parallel(work.outputSlivers) { sliver in
                withScratch(work.weightScratchCount) { work.pack(usable, sliver, scratch: $0, into: shared.pointer) }
            }
            pool.parallel(result.shape[0] * work.blocks) { task in
                let frame = task / work.blocks
                let sources = (0..<work.kernelTime).map { frames[frame + $0]?.floatPointer }
                let origin = frame * work.outputs * work.height * work.width
                withScratch(work.scratchCount) { scratch in
                    work.sum(sources, block: task % work.blocks, weights: shared.pointer, scratch: scratch)
                    work.finish(
                        block: task % work.blocks, scratch: scratch, bias: bias,
                        residual: residual.map { $0.floatPointer + origin }, into: result.floatPointer + origin)
                }
            }
        }
    }
}

/// Sixteen matrix products, one for each value of a transformed 4 x 4 tile, over channels and frames of the kernel.
struct WinogradWork: @unchecked Sendable {
    let kernels: KernelTable
    let channels: Int
    let height: Int
    let width: Int
    let outputs: Int
    let kernelTime: Int

    /// Whether a convolution can be done this way and gains by it: transforming the weights costs as much as some
    /// thousand tiles.
    static func suits(
        _ weight: Tensor, area: Int, _ stride: ConvolutionStride, _ padding: SpatialPadding
    ) -> Bool {
        weight.shape[3] == 3 && weight.shape[4] == 3 && stride == .one && padding == SpatialPadding(before: 1, after: 1)
            && weight.shape[0] >= 32 && weight.shape[1] >= 32 && area >= 16 * weight.shape[0]
    }

    private var tilesAcross: Int { (width + 1) / 2 }
    private var tiles: Int { tilesAcross * ((height + 1) / 2) }
    private var depth: Int { kernelTime * channels }
    private var panel: Int { min(panelDepth, channels) }
    /// Floats of one sliver of sums.
    private var tileCount: Int { kernels.mr * kernels.nr }
    /// Floats of a padded row of values under a sliver of tiles.
    private var lineCount: Int { 2 * kernels.nr + 2 }
    private var valuesCount: Int { 16 * sliversPerTask * panel * kernels.nr }
    private var sumsCount: Int { 16 * outputSlivers * sliversPerTask * tileCount }
    var blocks: Int { (tiles + sliversPerTask * kernels.nr - 1) / (sliversPerTask * kernels.nr) }
    var outputSlivers: Int { (outputs + kernels.mr - 1) / kernels.mr }
    var packedCount: Int { 16 * outputSlivers * kernels.mr * depth }
    var weightScratchCount: Int { 9 * depth + 16 }
    var scratchCount: Int { valuesCount + sumsCount + 4 * lineCount + 4 * kernels.nr }

    /// Transforms and packs the weights of `mr` outputs as `[value][sliver][time · channels][mr]`.
    func pack(
        _ weight: Tensor, _ sliver: Int, scratch: UnsafeMutablePointer<Float>, into packed: UnsafeMutablePointer<Float>
    ) {
        guard let element = weight.dtype.element else { return }
        let mr = kernels.mr
        let valueStride = outputSlivers * mr * depth
        let target = packed + sliver * mr * depth
        for row in 0..<mr {
            let output = sliver * mr + row
            guard output < outputs else {
                for value in 0..<16 {
                    for k in 0..<depth { target[value * valueStride + k * mr + row] = 0 }
                }
                continue
            }
            kernels.convert(
                element, weight.rawPointer + output * 9 * depth * weight.dtype.byteCount, 9 * depth, scratch)
            for channel in 0..<channels {
                for time in 0..<kernelTime {
                    kernels.transformWeights(
                        scratch + (channel * kernelTime + time) * 9,
                        target + (time * channels + channel) * mr + row, valueStride)
                }
            }
        }
    }

    /// Sums the products of a block of tiles over all channels and frames.
    func sum(
        _ sources: [UnsafeMutablePointer<Float>?], block: Int, weights: UnsafePointer<Float>,
        scratch: UnsafeMutablePointer<Float>
    ) {
        let (mr, nr) = (kernels.mr, kernels.nr)
        let sums = scratch + valuesCount
        let lines = sums + sumsCount
        let slivers = slivers(of: block)
        let plane = height * width
        var isFirst = true
        for (time, source) in sources.enumerated() {
            guard let source else { continue }
            for start in stride(from: 0, to: channels, by: panel) {
                let count = min(panel, channels - start)
                let valueStride = sliversPerTask * count * nr
                for sliver in 0..<slivers {
                    for channel in 0..<count {
                        transform(
                            source + (start + channel) * plane, sliver: block * sliversPerTask + sliver, lines: lines,
                            into: scratch + (sliver * count + channel) * nr, valueStride)
                    }
                }
                for value in 0..<16 {
                    for output in 0..<outputSlivers {
                        let place = value * outputSlivers + output
                        let a = weights + (place * depth + time * channels + start) * mr
                        for sliver in 0..<slivers {
                            kernels.tile(
                                count, a, scratch + value * valueStride + sliver * count * nr,
                                sums + (place * sliversPerTask + sliver) * tileCount, nr, !isFirst)
                        }
                    }
                }
                isFirst = false
            }
        }
        if isFirst { sums.update(repeating: 0, count: sumsCount) }
    }

    private func slivers(of block: Int) -> Int {
        min(sliversPerTask, (tiles - block * sliversPerTask * kernels.nr + kernels.nr - 1) / kernels.nr)
    }

    /// Runs `body(row of tiles, first column, number, first lane)` for every stretch of a sliver within one row.
    private func forEachStretch(_ sliver: Int, _ body: (Int, Int, Int, Int) -> Void) {
        let first = sliver * kernels.nr
        let end = min(first + kernels.nr, tiles)
        var tile = first
        while tile < end {
            let column = tile % tilesAcross
            let count = min(tilesAcross - column, end - tile)
            body(tile / tilesAcross, column, count, tile - first)
            tile += count
        }
    }

    /// Transforms one channel under a sliver of tiles.
    private func transform(
        _ plane: UnsafePointer<Float>, sliver: Int, lines: UnsafeMutablePointer<Float>,
        into values: UnsafeMutablePointer<Float>, _ valueStride: Int
    ) {
        let first = sliver * kernels.nr
        let (row, column) = (first / tilesAcross, first % tilesAcross)
        let (y, x) = (2 * row - 1, 2 * column - 1)
        if column + kernels.nr <= tilesAcross && y >= 0 && y + 4 <= height && x >= 0 && x + lineCount <= width {
            kernels.transformInput(plane + y * width + x, width, values, valueStride)
            return
        }
        // Stretches of several rows, or at a border, are laid side by side with their own neighbours; two values
        // overlap from one stretch to the next, so each is transformed on its own and its lanes are copied.
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 16 * kernels.nr) { buffer in
            guard let partial = buffer.baseAddress else { return }
            forEachStretch(sliver) { row, column, count, lane in
                for line in 0..<4 { fill(lines + line * lineCount, plane, 2 * row - 1 + line, 2 * column - 1, count) }
                kernels.transformInput(lines, lineCount, partial, kernels.nr)
                for value in 0..<16 {
                    for index in 0..<count {
                        values[value * valueStride + lane + index] = partial[value * kernels.nr + index]
                    }
                }
            }
        }
    }

    /// Copies a row's values under `count` tiles; what lies outside the frame is zero.
    private func fill(
        _ line: UnsafeMutablePointer<Float>, _ plane: UnsafePointer<Float>, _ y: Int, _ x: Int, _ count: Int
    ) {
        line.update(repeating: 0, count: lineCount)
        guard y >= 0 && y < height else { return }
        let start = max(0, -x)
        let end = min(2 * count + 2, width - x)
        for index in start..<max(start, end) { line[index] = plane[y * width + x + index] }
    }

    /// Transforms the sums of a block back and adds bias and residual.
    func finish(
        block: Int, scratch: UnsafeMutablePointer<Float>, bias: [Float]?, residual: UnsafePointer<Float>?,
        into result: UnsafeMutablePointer<Float>
    ) {
        let nr = kernels.nr
        let sums = scratch + valuesCount
        let top = sums + sumsCount + 4 * lineCount
        let bottom = top + 2 * nr
        let valueStride = outputSlivers * sliversPerTask * tileCount
        for output in 0..<outputs {
            let place = output / kernels.mr * sliversPerTask
            let target = result + output * height * width
            let addend = residual.map { $0 + output * height * width }
            for sliver in 0..<slivers(of: block) {
                kernels.transformOutput(
                    sums + (place + sliver) * tileCount + output % kernels.mr * nr, valueStride, top, bottom)
                forEachStretch(block * sliversPerTask + sliver) { row, column, count, lane in
                    for (line, values) in [top, bottom].enumerated() where 2 * row + line < height {
                        let position = (2 * row + line) * width + 2 * column
                        let length = min(2 * count, width - 2 * column)
                        kernels.combine(values + 2 * lane, 1, nil, bias?[output] ?? 0, length, target + position, false)
                        if let addend {
                            kernels.combine(target + position, 1, addend + position, 1, length, target + position, false)
                        }
                    }
                }
            }
        }
    }
}
