import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// A call of FramePack's transformer at full width with one block of each kind, over random weights in bf16, for measuring:
/// a section of 832x480 pixels with its whole history, the picture's tokens and a text of 256.
enum FramePackWorkloads {
    private static let (rows, columns, frames, textTokens, pictureTokens) = (60, 104, 9, 256, 729)
    /// Those of section and history.
    private static let packedTokens = 17_970
    /// All tokens that the blocks see.
    static let tokens = packedTokens + pictureTokens + textTokens

    static func call(on session: any Session) throws(Fault) -> () -> Tensor {
        let file = try JSONObject(["num_layers": 1, "num_single_layers": 1], file: "transformer/config.json")
        let configuration = try FramePackTransformerConfiguration(file)
        let transformer = try MemoryWeights.build(shapes(configuration), on: session.backend) {
            FramePackTransformer($0, configuration)
        }
        func random(_ shape: [Int], _ seed: UInt64) -> Tensor {
            session.upload(RandomValues().tensor(shape, seed: seed))
        }
        func latents(_ frames: Int, _ seed: UInt64) -> Tensor {
            random([1, configuration.channels, frames, rows, columns], seed)
        }
        let context = FramePackContext(
            section: Array(10..<19), clean: .init([0, 19], latents(2, 1)), clean2x: .init([20, 21], latents(2, 2)),
            clean4x: .init(Array(22..<38), latents(16, 3)))
        let text = HunyuanText(
            states: random([1, textTokens, configuration.textWidth], 4), valid: textTokens,
            pooled: random([1, configuration.pooledWidth], 5))
        let picture = transformer.picture(random([1, pictureTokens, configuration.pictureWidth], 6))
        let rotary = FramePackRotary(
            context, grid: (rows / 2, columns / 2), behind: pictureTokens + textTokens, axes: configuration.rotaryAxes,
            base: configuration.rotaryBase, on: session)
        let section = latents(frames, 7)
        let history = transformer.history(context)
        return {
            var cache: TeaCache?
            let velocity = try? transformer(
                section, time: 900, guidance: 10_000, text: text, picture: picture, history: history, rotary: rotary,
                cache: &cache)
            return velocity ?? section
        }
    }

    private static func shapes(_ configuration: FramePackTransformerConfiguration) -> [StreamShapes.Entry] {
        let (width, channels, sizes) = (configuration.hiddenSize, configuration.channels, configuration.sizes)
        let embedders =
            StreamShapes.layer("x_embedder.proj", width, channels, 1, 2, 2)
            + StreamShapes.layer("clean_x_embedder.proj", width, channels, 1, 2, 2)
            + StreamShapes.layer("clean_x_embedder.proj_2x", width, channels, 2, 4, 4)
            + StreamShapes.layer("clean_x_embedder.proj_4x", width, channels, 4, 8, 8)
            + StreamShapes.layer("image_projection.up", 3 * width, configuration.pictureWidth)
            + StreamShapes.layer("image_projection.down", width, 3 * width)
        let conditions =
            ["timestep_embedder", "guidance_embedder"].flatMap {
                StreamShapes.embedder("time_text_embed." + $0, width, from: ConditioningEmbedder.sinusoidWidth)
            }
            + StreamShapes.embedder("time_text_embed.text_embedder", width, from: configuration.pooledWidth)
            + StreamShapes.inside(
                "context_embedder",
                StreamShapes.refiner(sizes, textWidth: configuration.textWidth, layers: 2))
        return embedders + conditions + StreamShapes.inside("transformer_blocks.0", StreamShapes.dual(sizes))
            + StreamShapes.inside("single_transformer_blocks.0", StreamShapes.single(sizes))
            + StreamShapes.layer("norm_out.linear", 2 * width, width)
            + StreamShapes.layer("proj_out", 4 * channels, width)
    }
}

extension FramePack {
    public static let workloads = [
        // One of either kind of block.
        Workload(
            "framepack-packed-17970", .operations(2 * StreamShapes.operations(tokens: FramePackWorkloads.tokens)),
            isLong: true
        ) { session throws(Fault) in try FramePackWorkloads.call(on: session) }
    ]
}
