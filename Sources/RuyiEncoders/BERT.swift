import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The encoder of BERT without its pooler (transformers `BertModel`).
///
/// Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
public struct BERT: Sendable {
    /// The sizes in `config.json`.
    public struct Configuration: Sendable, Equatable {
        public let hiddenSize: Int
        public let intermediateSize: Int
        public let layers: LayerCount
        public let headCount: Int
        public let vocabularySize: Int
        /// Tokens of a text, its start and end with them, that there are places for.
        public let positionCount: Int
        /// Kinds of sentences, of which the first is used.
        public let typeCount: Int
        public let epsilon: Float

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ object: JSONObject) throws(Fault) {
            hiddenSize = try object.positive("hidden_size", default: 768)
            intermediateSize = try object.positive("intermediate_size", default: 3072)
            layers = try LayerCount(object, "num_hidden_layers", default: 12)
            headCount = try object.positive("num_attention_heads", default: 12)
            vocabularySize = try object.positive("vocab_size", default: 30522)
            positionCount = try object.positive("max_position_embeddings", default: 512)
            typeCount = try object.positive("type_vocab_size", default: 2)
            epsilon = Float(try object.double("layer_norm_eps", default: 1e-12))
            guard hiddenSize % headCount == 0 else {
                throw object.fault("num_attention_heads", expected: "a divisor of hidden_size \(hiddenSize)")
            }
            guard positionCount >= BERTTokenizer.length else {
                throw object.fault("max_position_embeddings", expected: "at least \(BERTTokenizer.length)")
            }
            for (key, only) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
                guard try object.string(key, default: only) == only else { throw object.fault(key, expected: only) }
            }
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let words, positions, types: Weight
    private let norm: LayerNorm
    private let layers: [Layer]

    /// Takes the weights under the names that `BERTFile` gives them; each layer comes and goes apart.
    public init(_ scope: WeightScope, _ configuration: Configuration) {
        let width = configuration.hiddenSize
        self.configuration = configuration
        let embeddings = scope / "embeddings"
        words = (embeddings / "word_embeddings").take("weight", [configuration.vocabularySize, width])
        positions = (embeddings / "position_embeddings").take("weight", [configuration.positionCount, width])
        types = (embeddings / "token_type_embeddings").take("weight", [configuration.typeCount, width])
        norm = LayerNorm(embeddings / "LayerNorm", width, epsilon: configuration.epsilon)
        layers = (scope / "encoder").list("layer", configuration.layers).map { Layer($0.apart, configuration) }
    }

    /// The number of layers.
    public var depth: Int { layers.count }

    /// The last hidden states, `[1, tokens, hidden]`, those of the padding with them.
    ///
    /// - Parameters:
    ///   - ids: the tokens and their padding, no more than there are places for.
    ///   - valid: the tokens before the padding, which alone are seen.
    ///   - layerDone: called with each layer's index and result.
    ///
    /// Throws `.badData` for an id that the vocabulary does not have, and `Cancelled`.
    public func callAsFunction(
        _ ids: [Int], valid: Int, on session: any Session, layerDone: (Int, Tensor) throws -> Void = { _, _ in }
    ) throws -> Tensor {
        precondition(ids.count <= configuration.positionCount, "\(ids.count) tokens are too many")
        let tokens = try words.rows(ids, on: session)
        let places = session.gather(positions, Array(ids.indices))
        let type = session.gather(types, [0]).reshaped([configuration.hiddenSize])
        var hidden = norm((tokens + type + places).expanded(at: 0))
        for (index, layer) in layers.enumerated() {
            try session.check()
            hidden = layer(hidden, mask: .lengths([valid]))
            try layerDone(index, hidden)
        }
        return hidden
    }

    /// A layer with its norms behind the sums (transformers `BertLayer`).
    private struct Layer: Sendable {
        let query, key, value, output: Linear
        let inner, outer: Linear
        let attentionNorm, outputNorm: LayerNorm
        let heads: Int
        let scale: Float

        init(_ scope: WeightScope, _ configuration: Configuration) {
            let (width, size) = (configuration.hiddenSize, configuration.intermediateSize)
            let (attention, behind) = (scope / "attention" / "self", scope / "attention" / "output")
            query = Linear(attention / "query", width, width)
            key = Linear(attention / "key", width, width)
            value = Linear(attention / "value", width, width)
            output = Linear(behind / "dense", width, width)
            attentionNorm = LayerNorm(behind / "LayerNorm", width, epsilon: configuration.epsilon)
            inner = Linear(scope / "intermediate" / "dense", width, size)
            outer = Linear(scope / "output" / "dense", size, width)
            outputNorm = LayerNorm(scope / "output" / "LayerNorm", width, epsilon: configuration.epsilon)
            heads = configuration.headCount
            scale = 1 / Float(width / heads).squareRoot()
        }

        func callAsFunction(_ x: Tensor, mask: AttentionMask) -> Tensor {  // [1, tokens, hidden]
            let attended = x.session.attention(
                query(x), key(x), value(x), heads: heads, scale: scale, options: AttentionOptions(mask: mask))
            let hidden = attentionNorm(x + output(attended))
            return outputNorm(hidden + outer(inner(hidden, .gelu)))
        }
    }
}

/// The weights of BERT's encoder in a file that may hold more: a pooler, heads of other tasks, another model's towers.
public struct BERTFile: Sendable {
    /// The encoder's weights under the names that `BertModel` gives them.
    public let weights: any WeightFile

    /// What stands before the names where the encoder is a part of a model.
    private static let prefix = "bert."

    /// Looks at a file; throws `.badData` for one without an encoder.
    public init(_ file: any WeightFile) throws(Fault) {
        let isNested = file.keys.contains { $0.hasPrefix(BERTFile.prefix) }
        let inner = file.keys.compactMap { stored -> (key: String, place: RenamedWeights.Place)? in
            guard !isNested || stored.hasPrefix(BERTFile.prefix) else { return nil }
            let key = String(isNested ? stored.dropFirst(BERTFile.prefix.count) : stored[...])
            let isPart = key.hasPrefix("embeddings.") || key.hasPrefix("encoder.layer.")
            // The numbers 0, 1, 2, ... that older versions stored.
            return isPart && key != "embeddings.position_ids" ? (key, RenamedWeights.Place(stored)) : nil
        }
        guard !inner.isEmpty else {
            throw Fault(
                .badData, "the file holds no encoder of BERT", at: file.path,
                hint: "its tensors are named 'bert.embeddings...' or 'embeddings...'")
        }
        weights = try RenamedWeights(file, inner) { _ in true }
    }
}
