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

    /// What is included of a file.
    init(_ weights: any WeightFile, to dtype: DType, where isIncluded: (String) -> Bool) {
        keys = weights.keys.filter(isIncluded)
        byteCount = keys.filter { weights.dtype(of: $0) != dtype }.reduce(0) {
            $0 + (weights.shape(of: $1) ?? []).reduce(1, *)
        }
    }
}
