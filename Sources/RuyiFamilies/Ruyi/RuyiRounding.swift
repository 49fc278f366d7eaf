import RuyiFiles
import RuyiTensor

extension FP8Rounding {
    /// What a mode rounds in Ruyi's transformer of this width, as the reference's loader does it (specification
    /// section 10).
    package init(ruyi weights: any WeightFile, _ mode: FP8QuantMode, to dtype: DType, width: Int) {
        self.init(weights, to: dtype) { FP8Rounding.includes($0, weights, mode, width: width) }
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
