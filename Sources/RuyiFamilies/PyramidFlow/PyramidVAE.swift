import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The causal video autoencoder of Pyramid Flow (CausalVideoVAE, specification section 8): 8 x 8 pixels and 8 frames to a
/// latent, the first frame alone.
///
/// Videos are `[T, 3, H, W]` in −1...1, latents `[t, C, h, w]`.
package struct PyramidVAE: Sendable {
    package let configuration: PyramidVAEConfiguration
    private let encoder: PyramidVAEEncoder
    private let decoder: PyramidVAEDecoder

    /// Takes the weights of a file whose names are those of the reference.
    package init(_ scope: WeightScope, _ configuration: PyramidVAEConfiguration) {
        self.configuration = configuration
        encoder = PyramidVAEEncoder(scope, configuration)
        decoder = PyramidVAEDecoder(scope, configuration)
    }

    /// The posterior of a video of 1 + 8k frames: mean and log variance, clamped to −30...20, each `[1 + k, C, h, w]`.
    ///
    /// A chunk has as many frames as those of the tiling's window of latents.
    package func encode(_ video: Tensor, _ tiling: PyramidTiling, _ run: PyramidVAERun) throws -> (
        mean: Tensor, logVariance: Tensor
    ) {
        precondition((video.shape[0] - 1) % PyramidVAEConfiguration.time == 0, "\(video.shape) are no 1 + 8k frames")
        let session = video.session
        let chunks = PyramidTiling.chunks(video.shape[0], window: tiling.window * PyramidVAEConfiguration.time)
        func moments(_ tile: Tensor) throws -> Tensor {
            try PyramidVAE.inChunks(tile, chunks, isStart: true) { try encoder($0, $1, run) }
        }
        let space = PyramidVAEConfiguration.space
        let (height, width) = (video.shape[2], video.shape[3])
        let whole: Tensor
        if let side = tiling.side, height > side || width > side {
            let (size, blend) = (side / space, side / space / 4)
            let tiles = try Tiles.map(video, size: (side, side), step: (side * 3 / 4, side * 3 / 4), moments)
            whole = Tiles.join(tiles, blend: (blend, blend), keep: (size - blend, size - blend))
        } else {
            whole = try moments(video)
        }
        let channels = configuration.latentChannels
        let logVariance = session.copy(whole.sliced(1, channels..<2 * channels))
        return (
            session.copy(whole.sliced(1, 0..<channels)),
            session.scale(logVariance, by: 1, plus: 0, clampedTo: -30...20)
        )
    }

    /// Decodes latents and hands on the finished frames `[T, 3, H, W]`, unclamped, in order.
    ///
    /// Whole frames are handed on as their chunks become ready, and no more memory is taken for a longer video. Tiles
    /// are decoded one after the other over the whole time, because what one remembers between chunks is larger than its
    /// frames; these are handed on when the last tile is there.
    ///
    /// `isStart` says that the first latent is that of a video's first frame alone; otherwise it stands for eight.
    package func decode(
        _ latents: Tensor, _ tiling: PyramidTiling, _ run: PyramidVAERun, isStart: Bool = true,
        _ emit: (Tensor) throws -> Void
    ) throws {
        let chunks = PyramidTiling.chunks(latents.shape[0], window: tiling.window)
        let space = PyramidVAEConfiguration.space
        guard let side = tiling.side, latents.shape[2] > side / space || latents.shape[3] > side / space else {
            return try PyramidVAE.forEachChunk(latents, chunks, isStart: isStart) {
                try emit(decoder($0, $1, run))
            }
        }
        let (size, step) = (side / space, side / space * 3 / 4)
        let tiles = try Tiles.map(latents, size: (size, size), step: (step, step)) { tile in
            try PyramidVAE.inChunks(tile, chunks, isStart: isStart) { try decoder($0, $1, run) }
        }
        let (blend, time) = (side / 4, PyramidVAEConfiguration.time)
        for chunk in chunks {
            let skipped = isStart ? time - 1 : 0
            let frames = max(0, time * chunk.lowerBound - skipped)..<time * chunk.upperBound - skipped
            try emit(
                Tiles.join(
                    tiles.map { $0.map { $0.sliced(0, frames) } }, blend: (blend, blend),
                    keep: (side - blend, side - blend)))
        }
    }

    /// What a network makes of a video, chunk by chunk.
    private static func inChunks(
        _ x: Tensor, _ chunks: [Range<Int>], isStart: Bool, _ network: (Tensor, PyramidChunk) throws -> Tensor
    ) throws -> Tensor {
        var results: [Tensor] = []
        try forEachChunk(x, chunks, isStart: isStart) { results.append(try network($0, $1)) }
        return results.count == 1 ? results[0] : x.session.concatenate(results, axis: 0)
    }

    private static func forEachChunk(
        _ x: Tensor, _ chunks: [Range<Int>], isStart: Bool, _ body: (Tensor, PyramidChunk) throws -> Void
    ) throws {
        let memory = chunks.count > 1 ? FrameMemory() : nil
        let frameMemory = FrameMemory(isFrameByFrame: true)
        for (index, range) in chunks.enumerated() {
            let chunk = PyramidChunk(isStart: isStart && index == 0, memory: memory, frameMemory: frameMemory)
            try body(x.session.copy(x.sliced(0, range)), chunk)
        }
    }
}

/// One pass through the VAE: where its stages are recorded, and who is told of each part of the work.
package struct PyramidVAERun {
    let trace: StageTrace?
    /// The most bytes of a chunk's frames at the highest resolution that are there together; the result does not depend
    /// on it.
    let chunkByteLimit: Int
    /// Called before each level of the network; throws when the run has been cancelled.
    let step: () throws -> Void

    package init(trace: StageTrace? = nil, chunkByteLimit: Int = usualPartLimit, step: @escaping () throws -> Void) {
        self.trace = trace
        self.chunkByteLimit = chunkByteLimit
        self.step = step
    }
}

private struct PyramidVAEEncoder: Sendable {
    let convIn: StreamedConv3D
    let downBlocks: [PyramidDownBlock]
    let midBlock: PyramidMidBlock
    let normOut: GroupNorm
    let convOut, quantConv: StreamedConv3D

    init(_ root: WeightScope, _ configuration: PyramidVAEConfiguration) {
        let (scope, side) = (root / "encoder", configuration.encoder)
        let (widths, groups, moments) = (side.widths, side.groups, 2 * configuration.latentChannels)
        let last = widths.count - 1
        convIn = StreamedConv3D(scope / "conv_in" / "conv", 3, widths[0])
        downBlocks = widths.indices.map { level in
            PyramidDownBlock(
                scope / "down_blocks" / level, widths[max(level - 1, 0)], widths[level], layers: side.layers[level],
                groups: groups, halves: level < last)
        }
        midBlock = PyramidMidBlock(scope / "mid_block", widths[last], groups: groups)
        normOut = GroupNorm(scope / "conv_norm_out", widths[last], groups: groups, epsilon: 1e-6)
        convOut = StreamedConv3D(scope / "conv_out" / "conv", widths[last], moments)
        quantConv = StreamedConv3D(root / "quant_conv" / "conv", moments, moments, kernel: 1)
    }

    /// Mean and log variance side by side, `[t, 2C, h, w]`.
    func callAsFunction(_ x: Tensor, _ chunk: PyramidChunk, _ run: PyramidVAERun) throws -> Tensor {
        var hidden = convIn(x, chunk.memory)
        run.trace?.recordVideo("encoder.conv_in", hidden)
        for (level, block) in downBlocks.enumerated() {
            try run.step()
            hidden = block(hidden, chunk)
            run.trace?.recordVideo("encoder.block\(level)", hidden)
        }
        try run.step()
        hidden = normOut(midBlock(hidden, chunk, run.trace, "encoder."), perFrame: true, .silu)
        return quantConv(convOut(hidden, chunk.memory), chunk.memory)
    }
}

private struct PyramidVAEDecoder: Sendable {
    let postQuantConv, convIn: StreamedConv3D
    let midBlock: PyramidMidBlock
    let upBlocks: [PyramidUpBlock]
    let normOut: GroupNorm
    let convOut: StreamedConv3D

    init(_ root: WeightScope, _ configuration: PyramidVAEConfiguration) {
        let (scope, side, latent) = (root / "decoder", configuration.decoder, configuration.latentChannels)
        let (widths, groups) = (Array(side.widths.reversed()), side.groups)
        let last = widths.count - 1
        postQuantConv = StreamedConv3D(root / "post_quant_conv" / "conv", latent, latent, kernel: 1)
        convIn = StreamedConv3D(scope / "conv_in" / "conv", latent, widths[0])
        midBlock = PyramidMidBlock(scope / "mid_block", widths[0], groups: groups)
        upBlocks = widths.indices.map { level in
            PyramidUpBlock(
                scope / "up_blocks" / level, widths[max(level - 1, 0)], widths[level], layers: side.layers[level],
                groups: groups, doubles: level < last)
        }
        normOut = GroupNorm(scope / "conv_norm_out", widths[last], groups: groups, epsilon: 1e-6)
        convOut = StreamedConv3D(scope / "conv_out" / "conv", widths[last], 3)
    }

    func callAsFunction(_ x: Tensor, _ chunk: PyramidChunk, _ run: PyramidVAERun) throws -> Tensor {
        var hidden = convIn(postQuantConv(x, chunk.memory), chunk.memory)
        run.trace?.recordVideo("decoder.conv_in", hidden)
        hidden = midBlock(hidden, chunk, run.trace, "decoder.")
        let whole = isStreamed(hidden, run) ? upBlocks.count - 2 : upBlocks.count
        for (level, block) in upBlocks[..<whole].enumerated() {
            try run.step()
            hidden = block(hidden, chunk)
            run.trace?.recordVideo("decoder.block\(level)", hidden)
        }
        try run.step()
        return whole < upBlocks.count ? try stream(hidden, chunk, run) : pixels(hidden, chunk)
    }

    private func pixels(_ x: Tensor, _ chunk: PyramidChunk) -> Tensor {
        convOut(normOut(x, perFrame: true, .silu), chunk.memory)
    }

    /// Whether the frames of the last level are too large to be there together.
    ///
    /// Nobody traces such large ones.
    private func isStreamed(_ x: Tensor, _ run: PyramidVAERun) -> Bool {
        guard upBlocks.count > 1, run.trace == nil else { return false }
        let growth = 1 << (upBlocks.count - 1)
        return 4 * growth * x.shape[0] * upBlocks[upBlocks.count - 2].width * growth * growth * x.shape[2] * x.shape[3]
            > run.chunkByteLimit
    }

    /// The residual blocks of the last level but one for all frames, and what follows frame by frame: norms are per frame,
    /// and convolutions remember what they saw.
    private func stream(_ x: Tensor, _ chunk: PyramidChunk, _ run: PyramidVAERun) throws -> Tensor {
        let (block, last) = (upBlocks[upBlocks.count - 2], upBlocks[upBlocks.count - 1])
        let hidden = block.narrow(x, chunk)
        var frames: [Tensor] = []
        for index in 0..<hidden.shape[0] {
            let part = block.doubled(hidden.sliced(0, index..<index + 1), chunk.frame(index))
            for place in 0..<part.shape[0] {
                try run.step()
                let next = chunk.frame(index)
                frames.append(pixels(last(part.sliced(0, place..<place + 1), next), next))
            }
        }
        return joined(frames)
    }
}
