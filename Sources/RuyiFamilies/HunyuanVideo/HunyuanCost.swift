import RuyiEncoders
import RuyiFiles
import RuyiModels
import RuyiTensor

/// What a run costs: tokens, and floating-point operations for the progress bar.
struct HunyuanCost {
    private let configuration: HunyuanConfiguration
    private let plan: Plan
    private let settings: HunyuanSettings
    private let rounding: FP8Rounding
    /// Transformer tokens of one clip, without the text's.
    let tokens: Int
    private let computedFrames: Int
    private let latentFrames: Int

    init(_ configuration: HunyuanConfiguration, _ plan: Plan, rounding: FP8Rounding) {
        self.configuration = configuration
        self.plan = plan
        self.rounding = rounding
        settings = HunyuanSettings(plan)
        computedFrames = configuration.computedFrames(plan.frames)
        latentFrames = configuration.vae.latentLength(of: computedFrames)
        tokens = latentFrames * (plan.height / 16) * (plan.width / 16)
    }

    /// Tokens of the text, the picture's in front.
    private var textTokens: Int {
        guard let picture = configuration.text.picture else { return settings.promptLength }
        return settings.promptLength + picture.vision.patchCount / max(1, min(settings.interleave, 2))
    }

    private var sides: Int { settings.isGuided ? 2 : 1 }

    /// The run's parts, with their operations as cost.
    var stages: [Stage] {
        let language = configuration.text.language
        let width = Double(language.hiddenSize)
        let layers = language.layerCount - 2
        let words = Double(
            settings.promptLength + HunyuanPrompts.pictureHead + (configuration.text.picture?.vision.patchCount ?? 0))
        let reading =
            Double(sides * layers) * words * 2 * width * (2.5 * width + 3 * Double(language.intermediateSize))
        let transformer = configuration.transformer
        let blocks = transformer.dualCount + transformer.singleCount
        let (inner, count) = (Double(transformer.hiddenSize), Double(tokens + textTokens))
        let linear = 2 * inner * (4 * inner + 2 * Double(transformer.innerWidth)) / (plan.isQuantized ? 4 : 1)
        let call = Double(blocks) * count * (linear + 4 * count * inner)
        func stage(_ kind: HunyuanStage, _ steps: Int, parts: Int = 1, _ cost: Double) -> Stage {
            Stage(name: kind.rawValue, steps: steps, parts: parts, cost: cost)
        }
        var stages = [stage(.reading, sides * layers, reading)]
        if configuration.takesPicture { stages.append(stage(.encoding, 1, vaeCost(frames: 1))) }
        // Both are bound by reading the weights: as a rule some two hundred operations' time for each.
        if plan.isQuantized { stages.append(stage(.quantising, blocks, 200 * Double(quantizedBytes))) }
        if !rounding.keys.isEmpty {
            stages.append(stage(.rounding, rounding.keys.count, 200 * Double(rounding.byteCount)))
        }
        return stages + [
            stage(.denoising, plan.steps, parts: blocks * sides, call * Double(plan.steps * sides)),
            stage(.decoding, plan.frames, vaeCost(frames: computedFrames)),
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
