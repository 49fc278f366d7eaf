import Glibc
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The encoder of T5 in version 1.1 (transformers `T5EncoderModel`).
///
/// Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer"; Shazeer 2020,
/// "GLU Variants Improve Transformer".
public struct T5Encoder: Sendable {
    /// The sizes in `config.json`.
    public struct Configuration: Sendable, Equatable {
        public let hiddenSize: Int
        public let headSize: Int
        public let headCount: Int
        public let intermediateSize: Int
        public let layers: LayerCount
        public let vocabularySize: Int
        /// Kinds of distance between two tokens, half of them for each direction.
        public let bucketCount: Int
        /// From where on all distances count as one.
        public let maximumDistance: Int
        public let epsilon: Float

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ object: JSONObject) throws(Fault) {
            hiddenSize = try object.positive("d_model", default: 512)
            headSize = try object.positive("d_kv", default: 64)
            headCount = try object.positive("num_heads", default: 8)
            intermediateSize = try object.positive("d_ff", default: 2048)
            layers = try LayerCount(object, "num_layers", default: 6)
            vocabularySize = try object.positive("vocab_size", default: 32128)
            bucketCount = try object.positive("relative_attention_num_buckets", default: 32)
            maximumDistance = try object.positive("relative_attention_max_distance", default: 128)
            epsilon = Float(try object.double("layer_norm_epsilon", default: 1e-6))
            guard bucketCount % 4 == 0 else {
                throw object.fault("relative_attention_num_buckets", expected: "a multiple of 4")
            }
            guard maximumDistance > bucketCount / 4 else {
                throw object.fault("relative_attention_max_distance", expected: "more than \(bucketCount / 4)")
            }
            guard try object.string("feed_forward_proj", default: "gated-gelu") == "gated-gelu" else {
                throw object.fault("feed_forward_proj", expected: "gated-gelu, as in version 1.1")
            }
        }

        /// Which kind of distance it is from a query to a key: the near ones each for itself, others in groups that grow
        /// with the logarithm.
        func bucket(_ distance: Int) -> Int {
            let (side, exact) = (bucketCount / 2, bucketCount / 4)
            let start = distance > 0 ? side : 0
            let length = abs(distance)
            if length < exact { return start + length }
            // In float32 and in this order, as the reference: a last bit would move a whole group.
            let share = logf(Float(length) / Float(exact)) / Float(log(Double(maximumDistance) / Double(exact)))
            return start + min(side - 1, exact + Int(share * Float(side - exact)))
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let embedding: Weight
    private let distances: Weight
    private let blocks: [Block]
    private let norm: RMSNorm

    /// Takes the weights of an encoder; each block comes and goes apart.
    public init(_ scope: WeightScope, _ configuration: Configuration) {
        let width = configuration.hiddenSize
        self.configuration = configuration
        // Files have the table under one of two names, or twice.
        let (shared, own) = (scope / "shared", scope / "encoder" / "embed_tokens")
        let isShared = shared.has("weight") || !own.has("weight")
        embedding = (isShared ? shared : own).take("weight", [configuration.vocabularySize, width])
        if isShared { own.skip("weight") }
        let places = (scope / "encoder").list("block", configuration.layers)
        distances = (scope / "encoder" / "block" / 0 / "layer" / 0 / "SelfAttention" / "relative_attention_bias").take(
            "weight", [configuration.bucketCount, configuration.headCount])
        blocks = places.map { Block($0.apart, configuration) }
        norm = RMSNorm(scope / "encoder" / "final_layer_norm", width, epsilon: configuration.epsilon)
    }

    /// Blocks, for progress.
    public var depth: Int { blocks.count }

    /// The hidden states after the last norm, `[1, tokens, hidden]`.
    ///
    /// - Parameters:
    ///   - ids: the tokens, padding behind them or none: what is real does not depend on it.
    ///   - valid: the tokens before the padding, which alone are seen.
    ///   - layerDone: called with each block's index and result.
    ///
    /// Throws `.badData` for ids that the vocabulary does not have, and `Cancelled`.
    public func callAsFunction(
        _ ids: [Int], valid: Int, on session: any Session, layerDone: (Int, Tensor) throws -> Void = { _, _ in }
    ) throws -> Tensor {
        var hidden = try embed(ids, on: session)
        let options = AttentionOptions(
            mask: .lengths([valid]), bias: .tensor(distanceBias(ids.count, on: session)))
        for (index, block) in blocks.enumerated() {
            try session.check()
            hidden = block(hidden, options)
            try layerDone(index, hidden)
        }
        return norm(hidden)
    }

    /// The embeddings of ids, `[1, ids, hidden]`.
    ///
    /// Throws `.badData` for an id that the vocabulary does not have.
    public func embed(_ ids: [Int], on session: any Session) throws(Fault) -> Tensor {
        try embedding.rows(ids, on: session).expanded(at: 0)
    }

    /// What is added to the scores of so many tokens in every block, `[heads, tokens, tokens]`.
    public func distanceBias(_ count: Int, on session: any Session) -> Tensor {
        let buckets = (0..<count).flatMap { query in (0..<count).map { configuration.bucket($0 - query) } }
        let rows = session.gather(distances, buckets).reshaped([count, count, configuration.headCount])
        return session.copy(rows.permuted([2, 0, 1]))
    }

    private struct Block: Sendable {
        let attentionNorm, feedForwardNorm: RMSNorm
        let query, key, value, output: Linear
        let gate, up, down: Linear
        let heads: Int

        init(_ scope: WeightScope, _ configuration: Configuration) {
            let (width, inner) = (configuration.hiddenSize, configuration.intermediateSize)
            let all = configuration.headCount * configuration.headSize
            let (first, second) = (scope / "layer" / 0, scope / "layer" / 1)
            attentionNorm = RMSNorm(first / "layer_norm", width, epsilon: configuration.epsilon)
            feedForwardNorm = RMSNorm(second / "layer_norm", width, epsilon: configuration.epsilon)
            let attention = first / "SelfAttention"
            query = Linear(attention / "q", width, all, bias: false)
            key = Linear(attention / "k", width, all, bias: false)
            value = Linear(attention / "v", width, all, bias: false)
            output = Linear(attention / "o", all, width, bias: false)
            let dense = second / "DenseReluDense"
            gate = Linear(dense / "wi_0", width, inner, bias: false)
            up = Linear(dense / "wi_1", width, inner, bias: false)
            down = Linear(dense / "wo", inner, width, bias: false)
            heads = configuration.headCount
        }

        func callAsFunction(_ x: Tensor, _ options: AttentionOptions) -> Tensor {  // [1, tokens, hidden]
            let normed = attentionNorm(x)
            let attended = x.session.attention(
                query(normed), key(normed), value(normed), heads: heads, scale: 1, options: options)
            let hidden = x + output(attended)
            let inner = feedForwardNorm(hidden)
            return hidden + down(gate(inner, .geluTanh) * up(inner))
        }
    }
}
