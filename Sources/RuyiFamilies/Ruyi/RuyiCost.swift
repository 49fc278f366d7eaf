import RuyiEncoders
import RuyiTensor

/// What a run costs: tokens, and floating-point operations for the progress bar.
struct RuyiCost {
    private let configuration: RuyiConfiguration
    private let plan: Plan
    /// Transformer tokens of one clip.
    let tokens: Int
    private let latentFrames: Int
    private let rounding: FP8Rounding

    init(_ configuration: RuyiConfiguration, _ plan: Plan, rounding: FP8Rounding = FP8Rounding()) {
        self.configuration = configuration.tiled(plan)
        self.plan = plan
        self.rounding = rounding
        latentFrames = RuyiCost.latentFrames(plan.frames, configuration.vae)
        tokens = latentFrames * (plan.height / 16) * (plan.width / 16)
    }

    /// Latent frames of a clip of `frames` frames.
    static func latentFrames(_ frames: Int, _ vae: RuyiVAEConfiguration) -> Int {
        frames == 1 ? 1 : frames / vae.encoderChunk * vae.decoderChunk
    }

    private var guidanceBatch: Int { plan.guidance > 1 ? 2 : 1 }
    private var pixels: Int { plan.width * plan.height }

    // MARK: Work

    /// The run's parts, with their operations as cost.
    func stages(modelCalls: Int) -> [Stage] {
        let vae = configuration.vae
        let widths = vae.widths.map(Double.init)
        let frames = Double(plan.frames)
        // Operations per pixel and frame of the full-resolution blocks and of those below them, 27 taps each.
        let encodeCost = Double(pixels) * frames * 54 * (4 * widths[0] * widths[0] + 1.2 * widths[1] * widths[1])
        let decodeCost =
            Double(pixels) * frames * 54
            * (widths[1] * widths[0] + 5 * widths[0] * widths[0] + widths[1] * widths[1] + 2 * widths[2] * widths[1])
        let transformer = configuration.transformer
        let (count, width) = (Double(tokens), Double(transformer.hiddenSize))
        // Operations in 8 bits take about a quarter of the time.
        let linearCost = 2 * width * (12 * width + 2 * Double(transformer.innerWidth)) / (plan.isQuantized ? 4 : 1)
        let perToken = linearCost + 4 * count * width
        let callCost = Double(guidanceBatch) * count * perToken * Double(transformer.layerCount)
        let clip = configuration.clip
        let clipWidth = Double(clip.hiddenSize)
        let clipCost =
            2 * Double(clip.patchCount) * clipWidth * (4 * clipWidth + 2 * Double(clip.intermediateSize))
            * Double(clip.layerCount)
        // Both are bound by reading the weights: as a rule some two hundred operations' time for each.
        let quantizing = Stage(
            name: "quantising", steps: transformer.layerCount, cost: 200 * Double(quantizedBytes))
        let narrowing = Stage(name: "rounding", steps: rounding.keys.count, cost: 200 * Double(rounding.byteCount))
        return [
            Stage(name: "reading the picture", steps: 1, cost: clipCost),
            Stage(name: "encoding", steps: 2 * encoderSteps, cost: 2 * encodeCost),
        ] + (plan.isQuantized ? [quantizing] : []) + (narrowing.steps > 0 ? [narrowing] : []) + [
            Stage(
                name: "denoising", steps: modelCalls, parts: transformer.layerCount, cost: callCost * Double(modelCalls)
            ),
            Stage(name: "decoding", steps: plan.frames, cost: decodeCost),
        ]
    }

    /// Steps of encoding one video, of which there are two: the mask and the known frames.
    var encoderSteps: Int {
        configuration.vae.encoderSteps(frames: plan.frames, width: plan.width, height: plan.height)
    }

    /// The large linear layers of all blocks in 8 bits, which are kept through the run.
    var quantizedBytes: Int {
        guard plan.isQuantized else { return 0 }
        let transformer = configuration.transformer
        let (width, inner) = (transformer.hiddenSize, transformer.innerWidth)
        func layer(_ outputs: Int, _ inputs: Int) -> Int {
            outputs * inputs
        }
        // Eight square projections, four of the context, the gate and the feed-forward layers.
        let block =
            8 * layer(width, width) + 4 * layer(width, transformer.contextWidth) + layer(2 * width, width)
            + layer(inner, width) + layer(width, inner)
        let skips = transformer.layerCount - transformer.layerCount / 2 - 1
        return transformer.layerCount * block + skips * layer(width, 2 * width)
    }
}
