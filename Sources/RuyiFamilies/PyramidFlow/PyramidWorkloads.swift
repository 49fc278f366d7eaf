import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// Blocks of the miniFLUX transformer at full width over random weights in bf16, for measuring: one text's tokens at the last
/// stage of the last frame of a five-second video of 1280x768 pixels, behind its whole history.
enum PyramidWorkloads {
    private static let textTokens = 128
    /// Fifteen finished frames, of which the newest has the whole resolution.
    private static let grid = PyramidGrid([
        .init(frames: 13, rows: 12, columns: 20), .init(frames: 1, rows: 24, columns: 40),
        .init(frames: 1, rows: 48, columns: 80), .init(frames: 1, rows: 48, columns: 80),
    ])
    /// Tokens of text and video.
    private static let tokens = textTokens + grid.count

    static let all = [
        Workload("pyramid-flow-dual-\(tokens)", .operations(operations), isLong: true) { session throws(Fault) in
            let sizes = try transformer().sizes
            let block = try MemoryWeights.build(StreamShapes.dual(sizes), on: session.backend) {
                DualStreamBlock($0, sizes)
            }
            let surroundings = try surroundings(on: session)
            let text = random([1, textTokens, sizes.width], 2, session)
            return {
                block(
                    video: surroundings.video, text: text, surroundings.signal, rotary: surroundings.rotary,
                    surroundings.sequences
                ).video
            }
        },
        Workload("pyramid-flow-single-\(tokens)", .operations(operations), isLong: true) { session throws(Fault) in
            let sizes = try transformer().sizes
            let block = try MemoryWeights.build(StreamShapes.single(sizes), on: session.backend) {
                SingleStreamBlock($0, sizes)
            }
            let surroundings = try surroundings(on: session)
            let sequences = surroundings.sequences
            let text = random([1, textTokens, sizes.width], 2, session)
            let both = sequences.join(text: text, video: surroundings.video)
            let (signal, rotary) = (sequences.joined(surroundings.signal), sequences.rotary(surroundings.rotary))
            return { block(both, signal, rotary: rotary, sequences) }
        },
    ]

    private static func surroundings(
        on session: any Session
    ) throws(Fault) -> (video: Tensor, signal: ModulationSignal, rotary: RotaryTable, sequences: StreamSequences) {
        let configuration = try transformer()
        let sequences = StreamSequences([grid.sequence(text: textTokens, row: 0)])
        let width = configuration.width
        return (
            random([1, grid.count, width], 1, session), sequences.signal(random([1, width], 3, session)),
            grid.rotary(axes: configuration.rotaryAxes, on: session), sequences
        )
    }

    private static func random(_ shape: [Int], _ seed: UInt64, _ session: any Session) -> Tensor {
        session.upload(RandomValues().tensor(shape, seed: seed))
    }

    /// Multiplications and additions of either block's matrix products, whose layers have the same sizes per token; frames
    /// see what lies before them.
    private static let operations: Double = {
        let width = 1920.0
        let seen = grid.sequence(text: textTokens, row: 0).mask?.visibleKeys[0] ?? []
        return 24 * Double(tokens) * width * width + 4 * seen.reduce(0) { $0 + Double($1) } * width
    }()

    /// As published.
    private static func transformer() throws(Fault) -> PyramidTransformerConfiguration {
        try PyramidTransformerConfiguration(
            JSONObject(["_class_name": "PyramidFluxTransformer"], file: "config.json"))
    }
}
