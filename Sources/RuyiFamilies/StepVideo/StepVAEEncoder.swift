import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// The encoder of chunks of 17 frames, or of a picture (specification section 7.2).
///
/// Of a picture, convolutions see but zeros before it: theirs is the work of a network of pictures.
struct StepVAEEncoder: Sendable {
    private let convIn, patchify, convOut: StreamedConv3D
    private let levels: [(blocks: StepLevelBlocks, downsampler: StepDownsampler?)]
    private let mid: StepMidBlock
    private let normOut: StepNorm
    /// How many channels of the patches make one of the next, and how many of these one of the moments.
    private let means: (patches: Int, moments: Int)

    init(_ scope: WeightScope, _ side: StepVAEConfiguration.Side, start: Int, latentChannels: Int) {
        convIn = StreamedConv3D(scope / "conv_in" / "conv", 3, start)
        levels = side.levels.enumerated().map { index, level in
            let place = scope / "down" / index
            return (
                StepLevelBlocks(place, index == 0 ? start : side.levels[index - 1].width, level),
                level.sampling.map { StepDownsampler(place / "downsample", level.width, $0) }
            )
        }
        mid = StepMidBlock(scope / "mid", side.middle)
        normOut = StepNorm(scope / "norm_out", side.middle)
        patchify = StreamedConv3D(scope / "conv_patchify" / "conv" / "conv", side.middle, side.patch / 8)
        convOut = StreamedConv3D(scope / "conv_out" / "conv", side.patch, 2 * latentChannels)
        means = (8 * side.middle / side.patch, side.patch / (2 * latentChannels))
    }

    /// Mean and log variance side by side, `[t, 2z, h, w]`, of frames `[T, 3, H, W]`.
    func callAsFunction(_ x: Tensor, _ run: StepVAERun, _ trace: StageTrace?) throws -> Tensor {
        var hidden = convIn(x, nil)
        for (index, level) in levels.enumerated() {
            hidden = try level.blocks(hidden, nil, run.step)
            trace?.recordVideo("down.\(index).block", hidden)
            guard let downsampler = level.downsampler else { continue }
            hidden = downsampler(hidden)
            trace?.recordVideo("down.\(index).downsample", hidden)
        }
        try run.step()
        hidden = normOut(mid(hidden, trace), .silu)
        let patches = patchify(hidden, nil).unshuffled
        trace?.recordVideo("conv_patchify", patches)
        let shortcut = hidden.unshuffled.channelsAveraged(means.patches)
        trace?.recordVideo("shortcut_patchify", shortcut)
        hidden = patches + shortcut
        return convOut(hidden, nil, residual: hidden.channelsAveraged(means.moments))
    }
}
