import Glibc
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The language model that reads Step-Video's prompts: a decoder whose attention knows distances, not places, and whose
/// last hidden states are used without a norm.
public struct StepLLM: Sendable {
    /// What attention adds to the scores of tokens that are apart.
    ///
    /// Press et al. 2022, "Train Short, Test Long" (ALiBi).
    public enum DistanceBias: String, Sendable, CaseIterable {
        /// `−slope · √distance`, as the reference has it.
        case squareRoot = "sqrt"
        /// `−slope · distance`.
        case linear
        /// Nothing.
        case none
    }

    /// The sizes in `config.json`.
    public struct Configuration: Sendable, Equatable {
        public let hiddenSize: Int
        /// The width of the gated layer: that of the file, rounded up to a multiple of 256.
        public let intermediateSize: Int
        public let layers: LayerCount
        public let headCount: Int
        /// Heads of keys and values, each of which serves several heads of queries.
        public let keyHeadCount: Int
        public let vocabularySize: Int
        public let epsilon: Float
        /// The key `alibi`, which the published file does not have: its kernel, which nobody can read, is known by what
        /// related models fall back to.
        public let bias: DistanceBias

        /// The number of layers.
        public var layerCount: Int { layers.value }
        /// The width of a head.
        public var headSize: Int { hiddenSize / headCount }

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ object: JSONObject) throws(Fault) {
            hiddenSize = try object.positive("hidden_size")
            intermediateSize = (try object.positive("ffn_hidden_size") + 255) / 256 * 256
            layers = try LayerCount(object, "num_layers")
            headCount = try object.positive("num_attention_heads")
            keyHeadCount = try object.positive("num_attention_groups")
            vocabularySize = try object.positive("padded_vocab_size")
            epsilon = Float(try object.double("layernorm_epsilon", default: 1e-5))
            guard hiddenSize % headCount == 0 else {
                throw object.fault("num_attention_heads", expected: "a divisor of hidden_size \(hiddenSize)")
            }
            guard headCount % keyHeadCount == 0 else {
                throw object.fault("num_attention_groups", expected: "a divisor of num_attention_heads \(headCount)")
            }
            guard let bias = DistanceBias(rawValue: try object.string("alibi", default: "sqrt")) else {
                let names = DistanceBias.allCases.map(\.rawValue).joined(separator: ", ")
                throw object.fault("alibi", expected: "one of \(names)")
            }
            self.bias = bias
        }

        /// What is added to the scores of every layer.
        package var attentionBias: AttentionBias? {
            switch bias {
            case .squareRoot: .alibiSquareRoot(slopes: StepLLM.slopes(headCount))
            case .linear: .alibi(slopes: StepLLM.slopes(headCount))
            case .none: nil
            }
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let embedding: Weight
    private let layers: [StepLLMLayer]

    /// Takes the embedding and the layers.
    public init(_ scope: WeightScope, _ configuration: Configuration) {
        self.configuration = configuration
        embedding = (scope / "tok_embeddings" / "word_embeddings").take(
            "weight", [configuration.vocabularySize, configuration.hiddenSize])
        // The weights of each layer come and go apart.
        layers = (scope / "transformer").list("layers", configuration.layers).map {
            StepLLMLayer($0.apart, configuration)
        }
    }

    /// The number of layers.
    public var depth: Int { layers.count }

    /// The hidden states of a text after the last layer, `[1, tokens, hidden]`; a token sees itself and those before it.
    ///
    /// - Parameters:
    ///   - ids: the tokens; padding behind them changes nothing in theirs.
    ///   - layerDone: called with each layer's index and result.
    ///
    /// Throws `.badData` for an id that the vocabulary does not have, and `Cancelled`.
    public func callAsFunction(
        _ ids: [Int], on session: any Session, layerDone: (Int, Tensor) throws -> Void = { _, _ in }
    ) throws -> Tensor {
        try self([ids], on: session) { try layerDone($0, $1[0]) }[0]
    }

    /// The hidden states of several texts, each as if it were alone: every layer's weights are read once for all of them.
    ///
    /// - Parameters:
    ///   - texts: the tokens of each.
    ///   - layerDone: called with each layer's index and the results.
    ///
    /// Throws as for one text.
    public func callAsFunction(
        _ texts: [[Int]], on session: any Session, layerDone: (Int, [Tensor]) throws -> Void = { _, _ in }
    ) throws -> [Tensor] {
        var states = try texts.map { try embedding.rows($0, on: session).expanded(at: 0) }
        for (index, layer) in layers.enumerated() {
            for text in states.indices {
                try session.check()
                states[text] = layer(states[text])
            }
            try layerDone(index, states)
        }
        return states
    }

    /// The slopes of so many heads, which fall from one head to the next: `2^(−8(a + 1)/n)` for the first n, the largest
    /// power of two that is not above them, and `2^(−4(2b + 1)/n)` for the others, counted from 0.
    package static func slopes(_ heads: Int) -> [Float] {
        var count = 1
        while count * 2 <= heads { count *= 2 }
        return (0..<heads).map { head in
            let steps = head < count ? 2 * (head + 1) : 2 * (head - count) + 1
            return Float(exp2(-4 * Double(steps) / Double(count)))
        }
    }
}

/// A layer of Step-LLM.
package struct StepLLMLayer: Sendable {
    private let attention: StepLLMAttention
    private let norm: RMSNorm
    /// Gates and values in one.
    private let inner: Linear
    private let outer: Linear

    package init(_ scope: WeightScope, _ configuration: StepLLM.Configuration) {
        let (width, size) = (configuration.hiddenSize, configuration.intermediateSize)
        attention = StepLLMAttention(scope, configuration)
        norm = RMSNorm(scope / "ffn_norm", width, epsilon: configuration.epsilon)
        inner = Linear(scope / "feed_forward" / "w1", width, 2 * size, bias: false)
        outer = Linear(scope / "feed_forward" / "w2", size, width, bias: false)
    }

    /// x `[B, tokens, hidden]`.
    package func callAsFunction(_ x: Tensor) -> Tensor {
        let hidden = x + attention(x)
        let both = inner(norm(hidden))
        let size = both.shape[2] / 2
        let gate = x.session.activate(both.sliced(2, 0..<size), .silu)
        return hidden + outer(gate * both.sliced(2, size..<2 * size))
    }
}

/// The attention of a layer of Step-LLM: its norm, grouped heads, and a bias for distances.
package struct StepLLMAttention: Sendable {
    private let norm: RMSNorm
    /// The queries, and behind them for each group its key and its value.
    private let projection: Linear
    private let output: Linear
    private let configuration: StepLLM.Configuration

    package init(_ scope: WeightScope, _ configuration: StepLLM.Configuration) {
        let width = configuration.hiddenSize
        let pairs = 2 * configuration.keyHeadCount * configuration.headSize
        norm = RMSNorm(scope / "attention_norm", width, epsilon: configuration.epsilon)
        projection = Linear(scope / "attention" / "wqkv", width, width + pairs, bias: false)
        output = Linear(scope / "attention" / "wo", width, width, bias: false)
        self.configuration = configuration
    }

    /// What is added to x `[B, tokens, hidden]`.
    package func callAsFunction(_ x: Tensor) -> Tensor {
        let (session, size, groups) = (x.session, configuration.headSize, configuration.keyHeadCount)
        let (batch, tokens, width) = (x.shape[0], x.shape[1], x.shape[2])
        let packed = projection(norm(x))
        let pairs = session.copy(packed.sliced(2, width..<packed.shape[2]))
            .reshaped([batch, tokens, groups, 2, size])
        func half(_ index: Int) -> Tensor {
            session.copy(pairs.selected(3, index)).reshaped([batch, tokens, groups * size])
        }
        let attended = session.attention(
            packed.sliced(2, 0..<width), half(0), half(1), heads: configuration.headCount,
            scale: 1 / Float(size).squareRoot(),
            options: AttentionOptions(mask: .causal(tokens), bias: configuration.attentionBias))
        return output(attended)
    }
}
