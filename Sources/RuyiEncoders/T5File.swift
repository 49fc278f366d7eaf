import RuyiFault
import RuyiFiles

/// The weights of T5's encoder in a file of its own, below any prefix, and what they tell of its settings where no file says
/// them.
public struct T5File: Sendable {
    private let file: any WeightFile
    /// What stands before the names in the file.
    private let prefix: String

    private static let distances = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"

    /// The encoder in a file; nil where there is none.
    public init?(_ file: any WeightFile) {
        let mark = T5File.distances
        guard let key = file.keys.first(where: { $0 == mark || $0.hasSuffix("." + mark) }) else { return nil }
        (self.file, prefix) = (file, String(key.dropLast(mark.count)))
    }

    /// The weights under the names that transformers gives them.
    public func weights() throws(Fault) -> any WeightFile {
        let inner = file.keys.filter { $0.hasPrefix(prefix + "encoder.") || $0.hasPrefix(prefix + "shared.") }
        return try RenamedWeights(file, inner.map { (String($0.dropFirst(prefix.count)), RenamedWeights.Place($0)) }) {
            _ in true
        }
    }

    /// The settings as transformers writes them, told from the tensors.
    public func settings() throws(Fault) -> JSON {
        let file = try weights()
        let table = file.shape(of: "shared.weight") == nil ? "encoder.embed_tokens.weight" : "shared.weight"
        let heads = try file.size(1, of: T5File.distances, rank: 2)
        let layer = "encoder.block.0.layer."
        let queries = try file.size(0, of: layer + "0.SelfAttention.q.weight", rank: 2)
        guard queries.isMultiple(of: heads) else {
            throw Fault(.badData, "\(heads) heads do not divide T5's width of \(queries)", at: file.path)
        }
        return .object([
            .init("model_type", "t5"), .init("d_model", .int(try file.size(1, of: table, rank: 2))),
            .init("d_kv", .int(queries / heads)), .init("num_heads", .int(heads)),
            .init("d_ff", .int(try file.size(0, of: layer + "1.DenseReluDense.wi_0.weight", rank: 2))),
            .init("num_layers", .int(try file.count(of: "encoder.block"))),
            .init("vocab_size", .int(try file.size(0, of: table, rank: 2))),
            .init("relative_attention_num_buckets", .int(try file.size(0, of: T5File.distances, rank: 2))),
        ])
    }
}
