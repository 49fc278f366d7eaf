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
            $0 + MemoryPool.roundedSize((weights.shape(of: $1) ?? []).reduce(1, *))
        }
    }
}

/// Weights some of which are rounded to 8 bits when they are taken.
struct RoundedWeights: WeightFile {
    private let base: any WeightFile
    private let rounded: Set<String>
    private let dtype: DType
    private let backend: any Backend
    private let taken: @Sendable () -> Void

    /// `taken` is called after each of the `keys` has been taken, whose stored values are then not needed any more.
    init(
        _ base: any WeightFile, keys: [String], to dtype: DType, on backend: any Backend,
        taken: @escaping @Sendable () -> Void
    ) {
        self.base = base
        rounded = Set(keys)
        self.dtype = dtype
        self.backend = backend
        self.taken = taken
    }

    func tensor(_ key: String) throws(Fault) -> Tensor {
        let tensor = try base.tensor(key)
        guard rounded.contains(key) else { return tensor }
        defer { taken() }
        return tensor.dtype == dtype ? tensor : backend.narrow(tensor, to: dtype)
    }

    func dtype(of key: String) -> DType? { rounded.contains(key) ? dtype : base.dtype(of: key) }

    var path: String { base.path }
    var keys: [String] { base.keys }
    var byteCount: Int { base.byteCount }
    var warnings: [String] { base.warnings }
    func shape(of key: String) -> [Int]? { base.shape(of: key) }
    func path(of key: String) -> String { base.path(of: key) }
    func scale(of key: String) -> Float { base.scale(of: key) }
    func storedName(of key: String) -> String { base.storedName(of: key) }
    func checkUnchanged() throws(Fault) { try base.checkUnchanged() }
    func release() { base.release() }
    func willNeed(_ prefix: String) { base.willNeed(prefix) }
}
