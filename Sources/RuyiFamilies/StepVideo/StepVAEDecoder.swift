import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The decoder of chunks of three latents (specification section 7.4).
///
/// Low resolutions are worked through for a whole chunk, high ones frame by frame, which gives the same: convolutions see
/// two frames back, and remember them.
struct StepVAEDecoder: Sendable {
    private let convIn, unpatchify, convOut: StreamedConv3D
    private let mid: StepMidBlock
    private let normOut: StepNorm
    /// In the order of the work.
    private let stages: [StepUpStage]
    /// How often each channel of the latents, and of the patches, is repeated.
    private let repeats: (latents: Int, patches: Int)

    init(_ scope: WeightScope, _ side: StepVAEConfiguration.Side, latentChannels: Int) {
        convIn = StreamedConv3D(scope / "conv_in" / "conv", latentChannels, side.patch)
        unpatchify = StreamedConv3D(scope / "conv_unpatchify" / "conv" / "conv", side.patch, 8 * side.middle)
        mid = StepMidBlock(scope / "mid", side.middle)
        stages = side.levels.indices.reversed().map { index in
            let above = index + 1 < side.levels.count ? side.levels[index + 1] : nil
            return StepUpStage(scope / "up", index, side.levels[index], above: above, middle: side.middle)
        }
        normOut = StepNorm(scope / "norm_out", side.levels[0].width)
        convOut = StreamedConv3D(scope / "conv_out", side.levels[0].width, 3)
        repeats = (side.patch / latentChannels, 8 * side.middle / side.patch)
    }

    /// Decodes latents `[t, z, h, w]` and hands on frames `[T, 3, H, W]` as they become ready, `droppedFrames` more than
    /// there are in the video.
    func callAsFunction(
        _ latents: Tensor, _ run: StepVAERun, _ trace: StageTrace?, _ emit: (Tensor) throws -> Void
    ) throws {
        var hidden = try beginning(latents, run, trace)
        let streamed = firstStreamed(hidden, run)
        for stage in stages[..<streamed] { hidden = try stage(hidden, run, trace) }
        guard streamed < stages.count else { return try emit(pixels(hidden, nil)) }
        try stream(hidden, streamed, FrameMemory(isFrameByFrame: true, on: run.shelf), run, emit)
    }

    /// The lowest resolution, twice as high and wide as the latents.
    private func beginning(_ latents: Tensor, _ run: StepVAERun, _ trace: StageTrace?) throws -> Tensor {
        try run.step()
        let start = convIn(latents, nil)
        trace?.recordVideo("conv_in", start)
        let repeated = latents.channelsRepeated(repeats.latents)
        trace?.recordVideo("shortcut_in", repeated)
        let patches = start + repeated
        let unpatched = unpatchify(patches, nil).shuffled
        trace?.recordVideo("conv_unpatchify", unpatched)
        let shortcut = patches.channelsRepeated(repeats.patches).shuffled
        trace?.recordVideo("shortcut_unpatchify", shortcut)
        return mid(unpatched + shortcut, trace)
    }

    /// The first stage whose frames are too large to be there together.
    ///
    /// Without a shelf the first half is never: what its convolutions remember takes more than its frames.
    private func firstStreamed(_ x: Tensor, _ run: StepVAERun) -> Int {
        var (frames, area) = (x.shape[0], x.shape[2] * x.shape[3])
        for (index, stage) in stages.enumerated() {
            frames *= stage.factors.time
            area *= stage.factors.space * stage.factors.space
            let byteCount = 4 * frames * stage.input * area
            let canWait = run.shelf != nil || index >= stages.count / 2
            if canWait, byteCount > run.chunkByteLimit { return index }
        }
        return stages.count
    }

    /// Works through the stages from one on, frame by frame.
    private func stream(
        _ x: Tensor, _ index: Int, _ memory: FrameMemory, _ run: StepVAERun, _ emit: (Tensor) throws -> Void
    ) throws {
        guard index < stages.count else { return try emit(pixels(x, memory)) }
        for frame in 0..<x.shape[0] {
            try stages[index].forEachFrame(x.sliced(0, frame..<frame + 1), memory, run) {
                try stream($0, index + 1, memory, run, emit)
            }
        }
    }

    private func pixels(_ x: Tensor, _ memory: FrameMemory?) -> Tensor { convOut(normOut(x, .silu), memory) }
}

/// What leads to a resolution, and the residual blocks there.
struct StepUpStage: Sendable {
    private let index: Int
    private let upsampler: StepUpsampler?
    private let blocks: StepLevelBlocks
    /// Channels of what the blocks are given.
    let input: Int

    /// Takes a level's blocks, and the sampler of the level above, which works before them.
    init(
        _ list: WeightScope, _ index: Int, _ level: StepVAEConfiguration.Level, above: StepVAEConfiguration.Level?,
        middle: Int
    ) {
        self.index = index
        input = above?.width ?? middle
        upsampler = above.flatMap { above in
            above.sampling.map { StepUpsampler(list / (index + 1) / "upsample", above.width, $0) }
        }
        blocks = StepLevelBlocks(list / index, input, level)
    }

    /// How many times longer, higher and wider the result is.
    var factors: (time: Int, space: Int) { upsampler.map { ($0.factor, 2) } ?? (1, 1) }

    /// The result for a whole chunk.
    func callAsFunction(_ x: Tensor, _ run: StepVAERun, _ trace: StageTrace?) throws -> Tensor {
        try run.step()
        let wide = upsampler.map { $0(x) } ?? x
        if upsampler != nil { trace?.recordVideo("up.\(index + 1).upsample", wide) }
        let result = try blocks(wide, nil, run.step)
        trace?.recordVideo("up.\(index).block", result)
        return result
    }

    /// Hands on the frames that come of one, each when it is needed.
    func forEachFrame(
        _ x: Tensor, _ memory: FrameMemory, _ run: StepVAERun, _ body: (Tensor) throws -> Void
    ) throws {
        guard let upsampler else { return try body(blocks(x, memory, run.step)) }
        for _ in 0..<upsampler.factor {
            try run.step()
            try body(blocks(upsampler.next(of: x, memory), memory, run.step))
        }
    }
}
