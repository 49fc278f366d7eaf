import RuyiFault
import RuyiFiles
import RuyiTensor

/// Which of a transformer's weights and biases are rounded to 8-bit floating-point numbers, without scales.
package struct FP8Rounding: Sendable {
    /// The keys of what is rounded, in the order of the file.
    package let keys: [String]
    /// Memory that the rounded copies take.
    package let byteCount: Int

    /// Nothing is rounded.
    init() { (keys, byteCount) = ([], 0) }

    /// What a mode rounds in a transformer of this width whose blocks lie in lists of these names: the weights, not the biases,
    /// of the blocks' linear layers with more than a square one's (`lite`) or of all of them (`strong`, which are those that
    /// HunyuanVideo's authors' 8-bit files have in 8 bits), or of every linear layer (`extreme`).
    package init(
        _ weights: any WeightFile, _ mode: FP8QuantMode, to dtype: DType, width: Int,
        blocks lists: [String] = ["transformer_blocks", "single_transformer_blocks"]
    ) {
        self.init(weights, to: dtype) { key in
            guard key.hasSuffix(".weight"), let shape = weights.shape(of: key), shape.count == 2 else { return false }
            let isInBlock = lists.contains { key.hasPrefix($0 + ".") }
            return switch mode {
            case .none: false
            case .lite: isInBlock && shape.reduce(1, *) > width * width
            case .strong: isInBlock
            case .extreme: true
            }
        }
    }

    /// What is included of a file.
    init(_ weights: any WeightFile, to dtype: DType, where isIncluded: (String) -> Bool) {
        keys = weights.keys.filter(isIncluded)
        byteCount = keys.filter { weights.dtype(of: $0) != dtype }.reduce(0) {
            $0 + (weights.shape(of: $1) ?? []).reduce(1, *)
        }
    }
}
