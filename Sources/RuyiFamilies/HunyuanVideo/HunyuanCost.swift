import RuyiEncoders
import RuyiFiles
import RuyiTensor

/// What a run costs: tokens, floating-point operations for the progress bar, and the peak of activation memory.
struct HunyuanCost {
    private let configuration: HunyuanConfiguration
    private let plan: Plan
    private let settings: HunyuanSettings
    /// Transformer tokens of one clip, without the text's.
    let tokens: Int
    private let computedFrames: Int
    private let latentFrames: Int

    init(_ configuration: HunyuanConfiguration, _ plan: Plan) {
        self.configuration = configuration
        self.plan = plan
        settings = HunyuanSettings(plan)
        computedFrames = configuration.computedFrames(plan.frames)
        latentFrames = configuration.vae.latentLength(of: computedFrames)
        tokens = latentFrames * (plan.height / 16) * (plan.width / 16)
    }

    /// Tokens of the text, the picture's in front.
    private var textTokens: Int {
        guard let picture = configuration.picture else { return HunyuanPrompts.promptLength }
        return HunyuanPrompts.promptLength + picture.vision.patchCount / max(1, min(settings.interleave, 2))
    }

    private var sides: Int { settings.isGuided ? 2 : 1 }

    // MARK: Work

    /// The run's parts, with their operations as cost.
    var stages: [Stage] {
        let language = configuration.language
        let width = Double(language.hiddenSize)
        let layers = language.layerCount - 2
        let words = Double(
            HunyuanPrompts.promptLength + HunyuanPrompts.pictureHead + (configuration.picture?.vision.patchCount ?? 0))
        let reading =
            Double(sides * layers) * words * 2 * width * (2.5 * width + 3 * Double(language.intermediateSize))
        let transformer = configuration.transformer
        let blocks = transformer.dualCount + transformer.singleCount
        let (inner, count) = (Double(transformer.hiddenSize), Double(tokens + textTokens))
        let linear = 2 * inner * (4 * inner + 2 * Double(transformer.innerWidth)) / (plan.isQuantized ? 4 : 1)
        let call = Double(blocks) * count * (linear + 4 * count * inner)
        let quantising = Stage(
            name: "quantising", steps: blocks, cost: 200 * Double(plan.isQuantized ? quantizedBytes : 0))
        return [
            Stage(name: "reading the prompt", steps: sides * layers, cost: reading),
            Stage(name: "encoding", steps: 1, cost: configuration.takesPicture ? vaeCost(frames: 1) : 0),
        ] + (plan.isQuantized ? [quantising] : []) + [
            Stage(
                name: "denoising", steps: plan.steps, parts: blocks * sides, cost: call * Double(plan.steps * sides)),
            Stage(name: "decoding", steps: plan.frames, cost: vaeCost(frames: computedFrames)),
        ]
    }

    /// Operations of the VAE's convolutions for so many frames, 27 taps each.
    private func vaeCost(frames: Int) -> Double {
        let widths = configuration.vae.widths.map(Double.init)
        let area = Double(plan.width * plan.height * frames)
        let layers = Double(2 * configuration.vae.layersPerBlock + 2)
        let overlap = settings.tiling.inTime && frames > 1 ? 4.0 / 3 : 1
        return area * 54 * overlap
            * (layers * widths[0] * widths[0] + layers / 4 * widths[1] * widths[1] + layers / 32 * widths[2] * widths[2])
    }

    // MARK: Memory

    /// The largest sum of activations that live at one time, in bytes.
    var peakBytes: Int {
        max(languageBytes, transformerBytes, vaeBytes) + (plan.isQuantized ? quantizedBytes : 0) + latentBytes
    }

    private var latentBytes: Int {
        4 * 8 * configuration.vae.latentChannels * latentFrames * plan.width * plan.height / 64
    }

    private var languageBytes: Int {
        let language = configuration.language
        let words =
            HunyuanPrompts.promptLength + HunyuanPrompts.pictureHead + (configuration.picture?.vision.patchCount ?? 0)
        return 4 * words * (6 * language.hiddenSize + 3 * language.intermediateSize)
    }

    /// The streams of one block, with queries, keys, values and the result of the attention.
    private var transformerBytes: Int {
        let transformer = configuration.transformer
        let count = tokens + textTokens
        let stream = 4 * count * transformer.hiddenSize
        let wide = 4 * min(count, 4032) * (2 * transformer.innerWidth + 2 * transformer.hiddenSize)
        let rotary = 8 * count * transformer.headSize * sides
        return 8 * stream + wide + rotary + (plan.teacache == nil ? 0 : 2 * sides * stream)
    }

    /// Five tensors of a tile at full resolution, and the frames that are joined.
    private var vaeBytes: Int {
        let tiling = settings.tiling
        let frames = tiling.inTime ? min(computedFrames, tiling.frames + 1) : computedFrames
        let area =
            tiling.inSpace
            ? min(plan.width, tiling.width) * min(plan.height, tiling.height) : plan.width * plan.height
        let joined = 4 * 3 * frames * plan.width * plan.height * 3
        return 4 * frames * area * (3 * configuration.vae.widths[0] + 2 * configuration.vae.widths[1]) + joined
    }

    /// The large linear layers of all blocks in 8 bits, which are kept through the run.
    private var quantizedBytes: Int {
        let transformer = configuration.transformer
        let (width, inner) = (transformer.hiddenSize, transformer.innerWidth)
        func layer(_ outputs: Int, _ inputs: Int) -> Int {
            QuantizedWeight.byteCount(outputs: outputs, inputs: inputs)
        }
        let dual = 2 * (4 * layer(width, width) + layer(inner, width) + layer(width, inner))
        let single = 3 * layer(width, width) + layer(inner, width) + layer(width, width + inner)
        return transformer.dualCount * dual + transformer.singleCount * single
    }
}
