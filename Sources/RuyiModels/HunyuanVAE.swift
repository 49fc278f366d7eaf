import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The causal video autoencoder of HunyuanVideo (AutoencoderKLHunyuanVideo, specification section 6): 8 x 8 pixels and
/// 4 frames to a latent, the first frame alone.
///
/// Videos are `[T, 3, H, W]` in −1...1, latents `[t, C, h, w]`.
package struct HunyuanVAE: Sendable {
    package let configuration: HunyuanVAEConfiguration
    private let encoder: HunyuanVAEEncoder
    private let decoder: HunyuanVAEDecoder
    private let quantWeight, quantBias, postQuantWeight, postQuantBias: Weight

    package init(_ scope: WeightScope, _ configuration: HunyuanVAEConfiguration) {
        let latent = configuration.latentChannels
        self.configuration = configuration
        encoder = HunyuanVAEEncoder(scope / "encoder", configuration)
        decoder = HunyuanVAEDecoder(scope / "decoder", configuration)
        let quant = scope / "quant_conv"
        quantWeight = quant.take("weight", [2 * latent, 2 * latent, 1, 1, 1])
        quantBias = quant.take("bias", [2 * latent])
        let postQuant = scope / "post_quant_conv"
        postQuantWeight = postQuant.take("weight", [latent, latent, 1, 1, 1])
        postQuantBias = postQuant.take("bias", [latent])
    }

    /// The posterior of a video: mean and log variance, clamped to −30...20, each `[t, C, h, w]`.
    package func encode(_ video: Tensor, _ tiling: HunyuanTiling, _ run: HunyuanVAERun) throws -> (
        mean: Tensor, logVariance: Tensor
    ) {
        let session = video.session
        var moments: [Tensor] = []
        try inTime(
            video, size: tiling.frames, step: tiling.frameStep, isTiled: tiling.inTime,
            network: { try encodeSpace($0, tiling, run) }, resultStep: tiling.frameStep / HunyuanVAEConfiguration.time,
            blend: tiling.frames / HunyuanVAEConfiguration.time - tiling.frameStep / HunyuanVAEConfiguration.time,
            emit: { moments.append($0) })
        let count = configuration.latentLength(of: video.shape[0])
        let whole = session.concatenate(moments, axis: 0).sliced(0, 0..<count)
        let channels = configuration.latentChannels
        let logVariance = session.copy(whole.sliced(1, channels..<2 * channels))
        return (
            session.copy(whole.sliced(1, 0..<channels)),
            session.scale(logVariance, by: 1, plus: 0, clampedTo: -30...20)
        )
    }

    /// Decodes latents and hands on the finished frames `[T, 3, H, W]`, unclamped, in order, as they become ready.
    package func decode(
        _ latents: Tensor, _ tiling: HunyuanTiling, _ run: HunyuanVAERun, _ emit: (Tensor) throws -> Void
    ) throws {
        let time = HunyuanVAEConfiguration.time
        var left = configuration.frameLength(of: latents.shape[0])
        try inTime(
            latents, size: tiling.frames / time, step: tiling.frameStep / time, isTiled: tiling.inTime,
            network: { try decodeSpace($0, tiling, run) }, resultStep: tiling.frameStep,
            blend: tiling.frames - tiling.frameStep,
            emit: { frames in
                let count = min(left, frames.shape[0])
                left -= count
                if count > 0 { try emit(frames.sliced(0, 0..<count)) }
            })
    }

    /// Works through time in overlapping tiles of one frame more than `size`, whose first result is dropped from the
    /// second tile on (specification section 6.2); at once when it is not asked for or the video is short.
    private func inTime(
        _ x: Tensor, size: Int, step: Int, isTiled: Bool, network: (Tensor) throws -> Tensor, resultStep: Int,
        blend: Int, emit: (Tensor) throws -> Void
    ) throws {
        let count = x.shape[0]
        guard isTiled, count > size else { return try emit(network(x)) }
        var before: Tensor?
        for start in stride(from: 0, to: count, by: step) {
            let end = min(start + size + 1, count)
            // A single frame is dropped again, so nothing comes of it.
            if start > 0, end - start < 2 { continue }
            var tile = try network(x.session.copy(x.sliced(0, start..<end)))
            if start > 0 { tile = tile.sliced(0, 1..<tile.shape[0]) }
            if let before { tile = Tiles.fade(before, into: tile, axis: 0, over: blend) }
            try emit(tile.sliced(0, 0..<min(tile.shape[0], resultStep + (start == 0 ? 1 : 0))))
            before = tile
        }
    }

    private func encodeSpace(_ video: Tensor, _ tiling: HunyuanTiling, _ run: HunyuanVAERun) throws -> Tensor {
        let space = HunyuanVAEConfiguration.space
        return try inSpace(
            video, size: (tiling.height, tiling.width), step: (tiling.heightStep, tiling.widthStep),
            isTiled: tiling.inSpace,
            resultSize: (tiling.height / space, tiling.width / space),
            resultStep: (tiling.heightStep / space, tiling.widthStep / space),
            extent: (video.shape[2] / space, video.shape[3] / space)
        ) { tile in
            try run.step()
            return tile.session.convolution(
                encoder(tile, run).frames, weight: quantWeight, bias: quantBias, stride: .one, padding: .none,
                residual: nil)
        }
    }

    private func decodeSpace(_ latents: Tensor, _ tiling: HunyuanTiling, _ run: HunyuanVAERun) throws -> Tensor {
        let space = HunyuanVAEConfiguration.space
        return try inSpace(
            latents, size: (tiling.height / space, tiling.width / space),
            step: (tiling.heightStep / space, tiling.widthStep / space), isTiled: tiling.inSpace,
            resultSize: (tiling.height, tiling.width), resultStep: (tiling.heightStep, tiling.widthStep),
            extent: (latents.shape[2] * space, latents.shape[3] * space)
        ) { tile in
            try run.step()
            let input = tile.session.convolution(
                tile.frames, weight: postQuantWeight, bias: postQuantBias, stride: .one, padding: .none, residual: nil)
            return try decoder(input, run)
        }
    }

    /// The last norm, SiLU and convolution.
    fileprivate static func finish(
        _ video: [Tensor], _ norm: GroupNorm, _ conv: HunyuanConv, _ trace: StageTrace?
    ) -> Tensor {
        let statistics = norm.statistics(video)
        if let trace { trace.recordVideo("conv_norm_out.out", video.map { norm($0, statistics) }) }
        var past: [Tensor] = []
        let result = joined(video.map { conv(norm($0, statistics, .silu), after: &past) })
        trace?.recordVideo("conv_out.out", result)
        return result
    }

    /// Works on overlapping tiles of every frame and fades them into one another; on whole frames where that is not
    /// asked for or they are small.
    private func inSpace(
        _ x: Tensor, size: Tiles.Extent, step: Tiles.Extent, isTiled: Bool,
        resultSize: Tiles.Extent, resultStep: Tiles.Extent,
        extent: Tiles.Extent, network: (Tensor) throws -> Tensor
    ) throws -> Tensor {
        let (height, width) = (x.shape[2], x.shape[3])
        guard isTiled, height > size.rows || width > size.columns else { return try network(x) }
        let joined = Tiles.join(
            try Tiles.map(x, size: size, step: step, network),
            blend: (resultSize.rows - resultStep.rows, resultSize.columns - resultStep.columns),
            keep: resultStep)
        return joined.sliced(2, 0..<extent.rows).sliced(3, 0..<extent.columns)
    }
}

/// One pass through the VAE: where its stages are recorded, and who is told of each tile.
package struct HunyuanVAERun {
    let trace: Trace?
    /// The most bytes of several frames that are computed at a time; the result does not depend on it.
    let partLimit: Int
    /// Called before each tile; throws when the run has been cancelled.
    let step: () throws -> Void

    package init(trace: Trace?, partLimit: Int = usualPartLimit, step: @escaping () throws -> Void) {
        self.trace = trace
        self.partLimit = partLimit
        self.step = step
    }
}

private struct HunyuanVAEEncoder: Sendable {
    let convIn: HunyuanConv
    let downBlocks: [HunyuanDownBlock]
    let midBlock: HunyuanMidBlock
    let normOut: GroupNorm
    let convOut: HunyuanConv

    init(_ scope: WeightScope, _ configuration: HunyuanVAEConfiguration) {
        let widths = configuration.widths
        let last = widths.count - 1
        convIn = HunyuanConv(scope / "conv_in", 3, widths[0])
        downBlocks = widths.indices.map { index in
            let factors = configuration.factors(down: index)
            return HunyuanDownBlock(
                scope / "down_blocks" / index, widths[max(index - 1, 0)], widths[index],
                stride: factors.map { ConvolutionStride($0.time, $0.space, $0.space) }, configuration)
        }
        midBlock = HunyuanMidBlock(scope / "mid_block", widths[last], configuration)
        normOut = GroupNorm(scope / "conv_norm_out", widths[last], groups: configuration.groups, epsilon: 1e-6)
        convOut = HunyuanConv(scope / "conv_out", widths[last], 2 * configuration.latentChannels)
    }

    func callAsFunction(_ x: Tensor, _ run: HunyuanVAERun) -> Tensor {
        let trace = run.trace.map { StageTrace($0, prefix: "encoder.") }
        var video = convIn(x.frames, limit: run.partLimit)
        trace?.recordVideo("conv_in.out", video)
        for (index, block) in downBlocks.enumerated() {
            block(&video, limit: run.partLimit)
            trace?.recordVideo("block.\(index).out", video)
        }
        midBlock(&video, trace)
        return HunyuanVAE.finish(video, normOut, convOut, trace)
    }
}

private struct HunyuanVAEDecoder: Sendable {
    let convIn: HunyuanConv
    let midBlock: HunyuanMidBlock
    let upBlocks: [HunyuanUpBlock]
    let normOut: GroupNorm
    let convOut: HunyuanConv

    init(_ scope: WeightScope, _ configuration: HunyuanVAEConfiguration) {
        let widths = Array(configuration.widths.reversed())
        let last = widths.count - 1
        convIn = HunyuanConv(scope / "conv_in", configuration.latentChannels, widths[0])
        midBlock = HunyuanMidBlock(scope / "mid_block", widths[0], configuration)
        upBlocks = widths.indices.map { index in
            HunyuanUpBlock(
                scope / "up_blocks" / index, widths[max(index - 1, 0)], widths[index], configuration.factors(up: index),
                configuration)
        }
        normOut = GroupNorm(scope / "conv_norm_out", widths[last], groups: configuration.groups, epsilon: 1e-6)
        convOut = HunyuanConv(scope / "conv_out", widths[last], 3)
    }

    func callAsFunction(_ x: Tensor, _ run: HunyuanVAERun) throws -> Tensor {
        let trace = run.trace.map { StageTrace($0, prefix: "decoder.") }
        var video = convIn(x.frames, limit: run.partLimit)
        trace?.recordVideo("conv_in.out", video)
        midBlock(&video, trace)
        for (index, block) in upBlocks.enumerated() {
            try run.step()
            block(&video, limit: run.partLimit)
            trace?.recordVideo("block.\(index).out", video)
        }
        return HunyuanVAE.finish(video, normOut, convOut, trace)
    }
}
