import RuyiFiles
import RuyiTensor

extension FP8Rounding {
    /// What a mode rounds in HunyuanVideo's transformer of this width: the weights, not the biases, of the blocks' linear
    /// layers with more than a square one's (`lite`) or of all of them (`strong`, which are those that the authors'
    /// 8-bit files have in 8 bits), or of every linear layer (`extreme`).
    package init(hunyuan weights: any WeightFile, _ mode: FP8QuantMode, to dtype: DType, width: Int) {
        self.init(weights, to: dtype) { key in
            guard key.hasSuffix(".weight"), let shape = weights.shape(of: key), shape.count == 2 else { return false }
            let isInBlock = key.hasPrefix("transformer_blocks.") || key.hasPrefix("single_transformer_blocks.")
            return switch mode {
            case .none: false
            case .lite: isInBlock && shape.reduce(1, *) > width * width
            case .strong: isInBlock
            case .extreme: true
            }
        }
    }
}
