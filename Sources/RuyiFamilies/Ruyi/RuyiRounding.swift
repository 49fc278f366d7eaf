import RuyiFault
import RuyiFiles
import RuyiTensor

/// Which of the transformer's weights and biases are rounded to 8-bit floating-point numbers, without scales, as the
/// reference's loader does it (specification section 10).
package struct RuyiRounding: Sendable {
    /// The keys of what is rounded, in the order of the file.
    package let keys: [String]
    /// Memory that the rounded copies take.
    package let byteCount: Int

    /// Nothing is rounded.
    init() { (keys, byteCount) = ([], 0) }

    /// What a mode rounds in a transformer of this width.
    package init(_ weights: any WeightFile, _ mode: FP8QuantMode, to dtype: DType, width: Int) {
        keys = weights.keys.filter { RuyiRounding.includes($0, weights, mode, width: width) }
        byteCount = keys.filter { weights.dtype(of: $0) != dtype }.reduce(0) {
            $0 + MemoryPool.roundedSize((weights.shape(of: $1) ?? []).reduce(1, *))
        }
    }

    /// Norms of the reference's own class, which `extreme` rounds as well; those of the heads are of torch's.
    private static let norms: Set<Substring> = ["skip_norm", "norm", "norm2", "norm3", "norm_clip", "norm_clip_out"]

    private static func includes(_ key: String, _ weights: any WeightFile, _ mode: FP8QuantMode, width: Int) -> Bool {
        guard key.hasSuffix(".weight") || key.hasSuffix(".bias"), let dot = key.lastIndex(of: "."),
            let shape = weights.shape(of: key[..<dot] + ".weight")
        else { return false }
        let layer = key[..<dot]
        // The reference goes by the names of classes: an embedding and torch's own output of an attention have others.
        let isLinear =
            shape.count == 2 && !["time_extra_emb.style_embedder", "clip_projection.attn.out_proj"].contains(layer)
        let isNorm = layer.hasPrefix("blocks.") && norms.contains(layer.split(separator: ".").last ?? "")
        let count = shape.reduce(1, *)
        return switch mode {
        case .none: false
        case .lite: isLinear && count > width * width
        case .strong: isLinear && count >= width * width
        case .extreme: isLinear || isNorm
        }
    }
}

/// Weights some of which are rounded to 8 bits when they are taken.
struct RuyiRoundedWeights: WeightFile {
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
    func willNeed() { base.willNeed() }
}
