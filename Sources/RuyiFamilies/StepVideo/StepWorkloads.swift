import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

/// A block of the transformer at full width over random weights in bf16, for measuring.
enum StepWorkloads {
    /// Places of a text: all of BERT's and about half of the language model's.
    private static let textLength = 237

    static let all = [
        block(frames: 3, rows: 34, columns: 40), block(frames: 8, rows: 34, columns: 60, isLong: true),
    ]

    private static func block(frames: Int, rows: Int, columns: Int, isLong: Bool = false) -> Workload {
        let tokens = frames * rows * columns
        return Workload(
            "step-video-block-\(tokens)", .operations(operations(Double(tokens))), isLong: isLong
        ) { session throws(Fault) in
            let sizes = try transformer()
            let block = try MemoryWeights.build(shapes(sizes), on: session.backend) { StepBlock($0, sizes) }
            let rotary = StepRotary.table(
                frames: frames, rows: rows, columns: columns, axes: sizes.rotaryAxes, on: session)
            func random(_ shape: [Int], _ seed: UInt64) -> Tensor {
                session.upload(RandomValues().tensor(shape, seed: seed))
            }
            let x = random([1, tokens, sizes.width], 1)
            let signal = random([1, 6 * sizes.width], 2)
            let keys = block.keys(random([1, textLength, sizes.width], 3))
            let mask = AttentionMask.lengths([textLength])
            return { block(x, signal, rotary: rotary, keys: keys, mask: mask) }
        }
    }

    /// As published.
    private static func transformer() throws(Fault) -> StepTransformerConfiguration {
        try StepTransformerConfiguration(JSONObject([:], file: "config.json"), kind: .i2v)
    }

    private static func shapes(_ sizes: StepTransformerConfiguration) -> [(key: String, shape: [Int])] {
        let (width, size) = (sizes.width, sizes.headSize)
        let norms = ["norm1", "norm2"].flatMap { [("\($0).weight", [width]), ("\($0).bias", [width])] }
        let heads = ["attn1", "attn2"].flatMap { attention in
            ["q_norm", "k_norm"].map { ("\(attention).\($0).weight", [size]) }
        }
        return [("scale_shift_table", [6, width])] + norms + heads + [
            ("attn1.wqkv.weight", [3 * width, width]), ("attn1.wo.weight", [width, width]),
            ("attn2.wq.weight", [width, width]), ("attn2.wkv.weight", [2 * width, width]),
            ("attn2.wo.weight", [width, width]), ("ff.net.0.proj.weight", [4 * width, width]),
            ("ff.net.2.weight", [width, 4 * width]),
        ]
    }

    /// Multiplications and additions of the block's matrix products.
    private static func operations(_ tokens: Double) -> Double {
        let width = 6144.0
        return 28 * tokens * width * width + 4 * tokens * (tokens + Double(textLength)) * width
    }
}
