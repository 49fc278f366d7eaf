import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The causal video autoencoder of Ruyi (AutoencoderKLMagvit, specification section 6): 8 x 8 pixels and up to 4 frames
/// to a latent.
///
/// Videos are `[T, 3, H, W]` in −1...1, latents `[t, C, h, w]`.
package struct RuyiVAE: Sendable {
    private(set) var configuration: RuyiVAEConfiguration
    private let encoder: RuyiVAEEncoder
    private let decoder: RuyiVAEDecoder
    private let quantConv, postQuantConv: CausalConv3D

    package init(_ scope: WeightScope, _ configuration: RuyiVAEConfiguration) {
        let latent = configuration.latentChannels
        self.configuration = configuration
        encoder = RuyiVAEEncoder(scope / "encoder", configuration)
        decoder = RuyiVAEDecoder(scope / "decoder", configuration)
        quantConv = CausalConv3D(scope / "quant_conv", 2 * latent, 2 * latent, kernel: 1)
        postQuantConv = CausalConv3D(scope / "post_quant_conv", latent, latent, kernel: 1)
    }

    /// The same weights, worked through in tiles of another size.
    func tiled(_ size: Int?) -> RuyiVAE {
        var copy = self
        copy.configuration = configuration.tiled(size)
        return copy
    }

    /// The posterior of a video: mean and log variance, clamped to −30...20, each `[t, C, h, w]`.
    package func encode(_ video: Tensor, _ run: RuyiVAERun) throws -> (mean: Tensor, logVariance: Tensor) {
        let session = video.session
        let isTiled =
            configuration.tilesEncoder && max(video.shape[2], video.shape[3]) > configuration.tileSize
        let moments = isTiled ? try encodeTiles(video, run) : try encodeWhole(video, run)
        let channels = configuration.latentChannels
        let logVariance = moments.sliced(1, channels..<2 * channels)
        return (
            session.copy(moments.sliced(1, 0..<channels)),
            session.scale(logVariance, by: 1, plus: 0, clampedTo: -30...20)
        )
    }

    /// Decodes latents and hands on the finished frames `[T, 3, H, W]`, unclamped, in order, as they become ready.
    package func decode(_ latents: Tensor, _ run: RuyiVAERun, _ emit: (Tensor) throws -> Void) throws {
        let size = configuration.latentTileSize
        if configuration.tilesDecoder && (latents.shape[2] > size || latents.shape[3] > size) {
            try emit(try decodeTiles(latents, run))
        } else {
            try decodeChunks(latents, run, emit)
        }
    }

    // MARK: Chunks (specification 6.2)

    private func encodeWhole(_ video: Tensor, _ run: RuyiVAERun) throws -> Tensor {
        let moments = try configuration.encoderChunks(video.shape[0]).map { range, mode in
            try run.step()
            let chunk = Chunk(mode)
            return quantConv(encoder(video.sliced(0, range), chunk, run.trace), chunk)
        }
        return video.session.concatenate(moments, axis: 0)
    }

    private func decodeChunks(_ latents: Tensor, _ run: RuyiVAERun, _ emit: (Tensor) throws -> Void) throws {
        let count = latents.shape[0]
        let size = configuration.decoderChunk
        func decode(_ range: Range<Int>, _ chunk: Chunk, context: Range<Int>? = nil) throws {
            try run.step()
            let outer = context ?? range
            let input = postQuantConv(latents.sliced(0, outer), chunk)
            let keep = range.lowerBound - outer.lowerBound..<range.upperBound - outer.lowerBound
            try emit(decoder(input, chunk, keeping: keep, run.trace))
        }
        switch configuration.chunking {
        case .none: try decode(0..<count, Chunk(.replicated))
        case .replicate:
            for range in RuyiVAEConfiguration.parts(0..<count, size) { try decode(range, Chunk(.replicated)) }
        case .cache where count == 1: try decode(0..<1, Chunk(.single))
        case .cache:
            let memory = TemporalMemory()
            let isSeparable = configuration.normalizesPerFrame && configuration.attention == .spatial
            for range in RuyiVAEConfiguration.parts(0..<count, size) {
                let chunk = Chunk(.continuing, memory: memory)
                guard isSeparable && run.trace == nil else {
                    try decode(range, chunk)
                    continue
                }
                // Nothing but remembered frames joins the frames: one at a time they are the same, in less memory.
                for index in range {
                    let input = postQuantConv(latents.sliced(0, index..<index + 1), chunk)
                    try decoder.stream(input, chunk, step: run.step, emit)
                }
            }
        case .slice:
            var previous = 0..<0
            if count % 2 == 1 { try decode(0..<1, Chunk(.single)) }
            for range in RuyiVAEConfiguration.parts(count % 2..<count, size) {
                let start = previous.isEmpty ? range.lowerBound : previous.lowerBound
                try decode(range, Chunk(.independent), context: start..<min(range.upperBound + size, count))
                previous = range
            }
        }
    }

    // MARK: Tiles (specification 6.3)

    private func encodeTiles(_ video: Tensor, _ run: RuyiVAERun) throws -> Tensor {
        let (size, latentSize) = (configuration.tileSize, configuration.latentTileSize)
        let step = max(1, Int(Double(size) * (1 - configuration.tileOverlap)))
        let blend = Int(Double(latentSize) * configuration.tileOverlap)
        let tiles = try Tiles.map(video, size: (size, size), step: (step, step)) { try encodeWhole($0, run) }
        return Tiles.join(tiles, blend: (blend, blend), keep: (latentSize - blend, latentSize - blend))
    }

    private func decodeTiles(_ latents: Tensor, _ run: RuyiVAERun) throws -> Tensor {
        let (size, latentSize) = (configuration.tileSize, configuration.latentTileSize)
        let step = max(1, Int(Double(latentSize) * (1 - configuration.tileOverlap)))
        let blend = Int(Double(size) * configuration.tileOverlap)
        let (height, width) = (latents.shape[2], latents.shape[3])
        let total = ((height + step - 1) / step) * ((width + step - 1) / step) + 1
        var done = 0
        func decode(_ tile: Tensor) throws -> Tensor {
            var frames: [Tensor] = []
            try decodeChunks(tile, run) { frames.append($0) }
            done += 1
            run.advance(Double(done) / Double(total))
            return tile.session.concatenate(frames, axis: 0)
        }
        let tiles = try Tiles.map(latents, size: (latentSize, latentSize), step: (step, step), decode)
        let joined = Tiles.join(tiles, blend: (blend, blend), keep: (size - blend, size - blend))
        // The tile of the last latents is decoded once more and mixed into the corner.
        let (top, left) = (max(0, height - latentSize), max(0, width - latentSize))
        let last = latents.sliced(2, top..<height).sliced(3, left..<width)
        return RuyiTiles.mixCorner(try decode(latents.session.copy(last)), into: joined)
    }
}

/// One pass through the VAE: where its stages are recorded, and who is told of each chunk.
package struct RuyiVAERun {
    let trace: StageTrace?
    /// Called before each chunk; throws when the run has been cancelled.
    let step: () throws -> Void
    /// Called after each tile that is decoded with the share of them that is done.
    let advance: (Double) -> Void

    package init(
        trace: StageTrace?, advance: @escaping (Double) -> Void = { _ in }, step: @escaping () throws -> Void
    ) {
        self.trace = trace
        self.advance = advance
        self.step = step
    }
}

private struct RuyiVAEEncoder: Sendable {
    let convIn: CausalConv3D
    let downBlocks: [RuyiDownBlock]
    let midBlock: RuyiMidBlock
    let normOut: GroupNorm
    let convOut: CausalConv3D
    let perFrame: Bool

    init(_ scope: WeightScope, _ configuration: RuyiVAEConfiguration) {
        let widths = configuration.widths
        let last = widths.count - 1
        convIn = CausalConv3D(scope / "conv_in", 3, widths[0])
        downBlocks = widths.indices.map { index in
            let stride = index == last ? nil : ConvolutionStride(index == 0 ? 1 : 2, 2, 2)
            return RuyiDownBlock(
                scope / "down_blocks" / index, widths[max(index - 1, 0)], widths[index], stride: stride, configuration)
        }
        midBlock = RuyiMidBlock(scope / "mid_block", widths[last], configuration)
        normOut = GroupNorm(scope / "conv_norm_out", widths[last], groups: configuration.groups, epsilon: 1e-6)
        convOut = CausalConv3D(scope / "conv_out", widths[last], 2 * configuration.latentChannels)
        perFrame = configuration.normalizesPerFrame
    }

    func callAsFunction(_ x: Tensor, _ chunk: Chunk, _ trace: StageTrace?) -> Tensor {
        var hidden = convIn(x, chunk)
        trace?.recordVideo("enc.conv_in", hidden)
        for (index, block) in downBlocks.enumerated() {
            hidden = block(hidden, chunk)
            trace?.recordVideo("enc.down.\(index)", hidden)
        }
        hidden = midBlock(hidden, chunk)
        trace?.recordVideo("enc.mid", hidden)
        return convOut(normOut(hidden, perFrame: perFrame, .silu), chunk)
    }
}

private struct RuyiVAEDecoder: Sendable {
    let convIn: CausalConv3D
    let midBlock: RuyiMidBlock
    let upBlocks: [RuyiUpBlock]
    let normOut: GroupNorm
    let convOut: CausalConv3D
    let perFrame: Bool

    init(_ scope: WeightScope, _ configuration: RuyiVAEConfiguration) {
        let widths = Array(configuration.widths.reversed())
        let last = widths.count - 1
        convIn = CausalConv3D(scope / "conv_in", configuration.latentChannels, widths[0])
        midBlock = RuyiMidBlock(scope / "mid_block", widths[0], configuration)
        upBlocks = widths.indices.map { index in
            RuyiUpBlock(
                scope / "up_blocks" / index, widths[max(index - 1, 0)], widths[index],
                index == last ? .none : index == 0 ? .space : .spaceAndTime, configuration)
        }
        normOut = GroupNorm(scope / "conv_norm_out", widths[last], groups: configuration.groups, epsilon: 1e-6)
        convOut = CausalConv3D(scope / "conv_out", widths[last], 3)
        perFrame = configuration.normalizesPerFrame
    }

    /// Runs the first layers on all latents and the others on those in `kept`.
    func callAsFunction(_ x: Tensor, _ chunk: Chunk, keeping kept: Range<Int>, _ trace: StageTrace?) -> Tensor {
        var hidden = midBlock(convIn(x, chunk), chunk).sliced(0, kept)
        trace?.recordVideo("dec.mid", hidden)
        for (index, block) in upBlocks.enumerated() {
            hidden = block(hidden, chunk)
            trace?.recordVideo("dec.up.\(index)", hidden)
        }
        return convOut(normOut(hidden, perFrame: perFrame, .silu), chunk)
    }

    /// Decodes one latent and hands on each of its frames as soon as it is ready; every level works on a single frame.
    func stream(_ x: Tensor, _ chunk: Chunk, step: () throws -> Void, _ emit: (Tensor) throws -> Void) throws {
        try stream(midBlock(convIn(x, chunk), chunk), level: 0, chunk, step, emit)
    }

    private func stream(
        _ x: Tensor, level: Int, _ chunk: Chunk, _ step: () throws -> Void, _ emit: (Tensor) throws -> Void
    ) throws {
        try step()
        guard level < upBlocks.count else {
            return try emit(convOut(normOut(x, perFrame: perFrame, .silu), chunk))
        }
        let frames = upBlocks[level](x, chunk)
        for index in 0..<frames.shape[0] {
            try stream(frames.sliced(0, index..<index + 1), level: level + 1, chunk, step, emit)
        }
    }
}
