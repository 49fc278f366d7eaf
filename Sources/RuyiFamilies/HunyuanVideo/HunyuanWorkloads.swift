import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// Blocks of HunyuanVideo at full width over random weights in bf16, for measuring.
enum HunyuanWorkloads {
    /// Tokens of the text, all of which are seen.
    private static let textTokens = 256

    /// A block with weights of its own for video and text, on latents of `frames` x `rows` x `columns` tokens; the
    /// video's tokens are returned.
    static func dualBlock(
        frames: Int, rows: Int, columns: Int, on session: any Session
    ) throws(Fault) -> () -> Tensor {
        let configuration = try transformer()
        let block = try MemoryWeights.build(StreamShapes.dual(configuration.sizes), on: session.backend) {
            DualStreamBlock($0, configuration.sizes)
        }
        let (rotary, signal) = surroundings(frames, rows, columns, configuration, session)
        let count = frames * rows * columns
        let video = stream([1, count, configuration.hiddenSize], 1, session)
        let text = stream([1, textTokens, configuration.hiddenSize], 2, session)
        let mask = AttentionMask.lengths([count + textTokens])
        return { block(video: video, text: text, signal, rotary: rotary.video, mask: mask).video }
    }

    /// A block with common weights for the tokens of video and text.
    static func singleBlock(
        frames: Int, rows: Int, columns: Int, on session: any Session
    ) throws(Fault) -> () -> Tensor {
        let configuration = try transformer()
        let block = try MemoryWeights.build(StreamShapes.single(configuration.sizes), on: session.backend) {
            SingleStreamBlock($0, configuration.sizes)
        }
        let (rotary, signal) = surroundings(frames, rows, columns, configuration, session)
        let count = frames * rows * columns + textTokens
        let tokens = stream([1, count, configuration.hiddenSize], 1, session)
        let mask = AttentionMask.lengths([count])
        return { block(tokens, signal, rotary: rotary.all, mask: mask) }
    }

    private static func surroundings(
        _ frames: Int, _ rows: Int, _ columns: Int, _ configuration: HunyuanTransformerConfiguration,
        _ session: any Session
    ) -> (VideoRotary, ModulationSignal) {
        let rotary = VideoRotary(
            frames: frames, rows: rows, columns: columns, text: textTokens, axes: configuration.rotaryAxes,
            base: configuration.rotaryBase, on: session)
        let embedding = stream([1, configuration.hiddenSize], 3, session)
        return (rotary, ModulationSignal(embedding))
    }

    private static func stream(_ shape: [Int], _ seed: UInt64, _ session: any Session) -> Tensor {
        session.upload(RandomValues().tensor(shape, seed: seed))
    }

    /// As published, which is what a configuration without keys stands for.
    private static func transformer() throws(Fault) -> HunyuanTransformerConfiguration {
        try HunyuanTransformerConfiguration(JSONObject([:], file: "transformer/config.json"))
    }
}

extension HunyuanVideo {
    public static let workloads =
        [
            Workload("hunyuanvideo-dual-4096", .operations(StreamShapes.operations(tokens: 4352))) {
                session throws(Fault) in
                try HunyuanWorkloads.dualBlock(frames: 4, rows: 32, columns: 32, on: session)
            },
            Workload("hunyuanvideo-single-4096", .operations(StreamShapes.operations(tokens: 4352))) {
                session throws(Fault) in
                try HunyuanWorkloads.singleBlock(frames: 4, rows: 32, columns: 32, on: session)
            },
        ] + HunyuanVAEWorkloads.all
}
