import Glibc
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The decoder of LLaMA as a text encoder: its hidden states some layers before the end (transformers `LlamaModel`).
public struct LLaMA: Sendable {
    /// The sizes in `config.json`.
    public struct Configuration: Sendable, Equatable {
        public let hiddenSize: Int
        public let intermediateSize: Int
        public let layers: LayerCount
        public let headCount: Int
        /// Heads of keys and values, each of which serves several heads of queries.
        public let keyHeadCount: Int
        public let headSize: Int
        public let vocabularySize: Int
        public let epsilon: Float
        public let rotaryBase: Float
        /// Which values of a head are rotated together: those of two halves, unless queries and keys are stored otherwise.
        public let pairing: RotaryTable.Pairing

        /// The number of layers.
        public var layerCount: Int { layers.value }

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ object: JSONObject) throws(Fault) {
            hiddenSize = try object.positive("hidden_size", default: 4096)
            intermediateSize = try object.positive("intermediate_size", default: 11008)
            layers = try LayerCount(object, "num_hidden_layers", default: 32)
            headCount = try object.positive("num_attention_heads", default: 32)
            keyHeadCount = try object.positive("num_key_value_heads", default: headCount)
            headSize = try object.positive("head_dim", default: max(1, hiddenSize / headCount))
            vocabularySize = try object.positive("vocab_size", default: 32000)
            epsilon = Float(try object.double("rms_norm_eps", default: 1e-6))
            let rotary = try object.objectIfPresent("rope_parameters")
            let base = try object.double("rope_theta", default: 10_000)
            rotaryBase = Float(try rotary?.double("rope_theta", default: base) ?? base)
            pairing = try object.bool("rope_interleave", default: false) ? .neighbours : .halves
            guard headCount % keyHeadCount == 0 else {
                throw object.fault("num_key_value_heads", expected: "a divisor of num_attention_heads \(headCount)")
            }
            guard headSize % 2 == 0 else { throw object.fault("head_dim", expected: "an even number") }
            if object.has("rope_scaling") { throw object.fault("rope_scaling", expected: "null") }
            guard try object.string("hidden_act", default: "silu") == "silu" else {
                throw object.fault("hidden_act", expected: "silu")
            }
            for key in ["attention_bias", "mlp_bias"] {
                if try object.bool(key, default: false) { throw object.fault(key, expected: "false") }
            }
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let embedding: Weight
    private let layers: [Layer]

    /// Takes the embedding and the layers, of which the last so many are not needed, nor is the final norm.
    public init(_ scope: WeightScope, _ configuration: Configuration, withoutLast unused: Int) {
        self.configuration = configuration
        embedding = (scope / "embed_tokens").take("weight", [configuration.vocabularySize, configuration.hiddenSize])
        let places = scope.list("layers", configuration.layers)
        layers = places.dropLast(unused).map { Layer($0.apart, configuration) }
        for place in places.suffix(unused) { place.keys.forEach(place.skip) }
        (scope / "norm").skip("weight")
    }

    /// The number of layers that are computed.
    public var depth: Int { layers.count }

    /// The embeddings of ids, `[ids, hidden]`.
    ///
    /// Throws `.badData` for an id that the vocabulary does not have.
    public func embed(_ ids: [Int], on session: any Session) throws(Fault) -> Tensor {
        try embedding.rows(ids, on: session)
    }

    /// The hidden states after the last needed layer.
    ///
    /// - Parameters:
    ///   - embeddings: one row a token, `[tokens, hidden]`.
    ///   - valid: the tokens before the padding, of which each sees those before it; padding sees all of them.
    ///   - positions: the tokens' places for the rotation; counted from 0 if not said.
    ///   - layerDone: called with each layer's index and result.
    /// - Returns: `[1, tokens, hidden]`.
    public func callAsFunction(
        _ embeddings: Tensor, valid: Int, positions: [Int]? = nil, layerDone: (Int, Tensor) throws -> Void = { _, _ in }
    ) throws -> Tensor {
        let count = embeddings.shape[0]
        let mask = AttentionMask(visibleKeys: [(0..<count).map { min($0 + 1, valid) }])
        let session = embeddings.session
        let rotary = configuration.rotary(positions: positions ?? Array(0..<count), on: session)
        var hidden = embeddings.expanded(at: 0)
        for (index, layer) in layers.enumerated() {
            try session.check()
            hidden = layer(hidden, mask: mask, rotary: rotary)
            try layerDone(index, hidden)
        }
        return hidden
    }

    private struct Layer: Sendable {
        let inputNorm, outputNorm: RMSNorm
        let query, key, value, output: Linear
        let gate, up, down: Linear
        let heads: Int
        let scale: Float

        init(_ scope: WeightScope, _ configuration: Configuration) {
            let (width, inner) = (configuration.hiddenSize, configuration.intermediateSize)
            let queries = configuration.headCount * configuration.headSize
            let keys = configuration.keyHeadCount * configuration.headSize
            inputNorm = RMSNorm(scope / "input_layernorm", width, epsilon: configuration.epsilon)
            outputNorm = RMSNorm(scope / "post_attention_layernorm", width, epsilon: configuration.epsilon)
            let attention = scope / "self_attn"
            query = Linear(attention / "q_proj", width, queries, bias: false)
            key = Linear(attention / "k_proj", width, keys, bias: false)
            value = Linear(attention / "v_proj", width, keys, bias: false)
            output = Linear(attention / "o_proj", queries, width, bias: false)
            gate = Linear(scope / "mlp" / "gate_proj", width, inner, bias: false)
            up = Linear(scope / "mlp" / "up_proj", width, inner, bias: false)
            down = Linear(scope / "mlp" / "down_proj", inner, width, bias: false)
            heads = configuration.headCount
            scale = 1 / Float(configuration.headSize).squareRoot()
        }

        func callAsFunction(_ x: Tensor, mask: AttentionMask, rotary: RotaryTable) -> Tensor {  // [1, tokens, hidden]
            let normed = inputNorm(x)
            let attended = x.session.attention(
                query(normed), key(normed), value(normed), heads: heads, scale: scale,
                options: AttentionOptions(mask: mask, queryRotary: rotary, keyRotary: rotary))
            let hidden = x + output(attended)
            let inner = outputNorm(hidden)
            return hidden + down(gate(inner, .silu) * up(inner))
        }
    }
}

extension LLaMA.Configuration {
    /// The rotation of each position: angles `position · base^(−2i / d)` for i below d/2, the same for both of a pair.
    ///
    /// Su et al. 2021, "RoFormer"; transformers `LlamaRotaryEmbedding`.
    package func rotary(positions: [Int], on session: any Session) -> RotaryTable {
        let frequencies = inverseFrequencies
        var (cosines, sines) = ([Float](), [Float]())
        for position in positions {
            let angles = frequencies.map { Float(position) * $0 }
            let both = pairing == .halves ? angles + angles : angles.flatMap { [$0, $0] }
            cosines += both.map { cosf($0) }
            sines += both.map { sinf($0) }
        }
        let shape = [positions.count, headSize]
        return RotaryTable(
            cosines: session.upload(HostTensor(cosines, shape)), sines: session.upload(HostTensor(sines, shape)),
            pairing: pairing)
    }

    /// `base^(−2i / d)` for i below d/2.
    package var inverseFrequencies: [Float] {
        (0..<headSize / 2).map { 1 / powf(rotaryBase, Float(2 * $0) / Float(headSize)) }
    }
}
