import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The text tower of CLIP (transformers `CLIPTextModel`, and `CLIPTextModelWithProjection`).
public struct CLIPText: Sendable {
    /// The sizes in `config.json`, either of a text model or of a whole CLIP (its `text_config`).
    public struct Configuration: CLIPSizes, Sendable, Equatable {
        public let hiddenSize: Int
        public let intermediateSize: Int
        public let layers: LayerCount
        public let headCount: Int
        public let vocabularySize: Int
        /// Tokens of a text, its start and end with them.
        public let positionCount: Int
        public let activation: Activation
        public let epsilon: Float
        /// The token whose first place gives the pooled state; nil where it is the largest id.
        public let endToken: Int?
        /// The width of projected states.
        public let projectionSize: Int

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ file: JSONObject) throws(Fault) {
            let object = try file.objectIfPresent("text_config") ?? file
            hiddenSize = try object.positive("hidden_size", default: 512)
            intermediateSize = try object.positive("intermediate_size", default: 2048)
            layers = try LayerCount(object, "num_hidden_layers", default: 12)
            headCount = try object.positive("num_attention_heads", default: 8)
            vocabularySize = try object.positive("vocab_size", default: 49408)
            positionCount = try object.positive("max_position_embeddings", default: 77)
            epsilon = Float(try object.double("layer_norm_eps", default: 1e-5))
            activation = try object.clipActivation()
            projectionSize = try object.positive("projection_dim", default: 512)
            guard hiddenSize % headCount == 0 else {
                throw object.fault("num_attention_heads", expected: "a divisor of hidden_size \(hiddenSize)")
            }
            // Old files say 2, which never was the end's id and asks for the rule of the largest id.
            let end = try object.int("eos_token_id", default: 49407)
            endToken = end == 2 ? nil : end
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let tokenEmbedding, positionEmbedding: Weight
    private let layers: [CLIPLayer]
    private let finalNorm: LayerNorm
    private let projection: Linear?

    /// Takes the weights of a text model, under `text_model` where the file has that, and those of its projection where the
    /// projected state is asked for.
    public init(_ root: WeightScope, _ configuration: Configuration, projected: Bool = false) {
        let nested = root / "text_model"
        let scope = nested.keys.isEmpty ? root : nested
        let width = configuration.hiddenSize
        self.configuration = configuration
        let embeddings = scope / "embeddings"
        embeddings.skip("position_ids")
        tokenEmbedding = (embeddings / "token_embedding").take("weight", [configuration.vocabularySize, width])
        positionEmbedding = (embeddings / "position_embedding").take("weight", [configuration.positionCount, width])
        layers = (scope / "encoder").list("layers", configuration.layers).map { CLIPLayer($0, configuration) }
        finalNorm = LayerNorm(scope / "final_layer_norm", width, epsilon: configuration.epsilon)
        projection =
            projected
            ? Linear(root / "text_projection", width, configuration.projectionSize, bias: false) : nil
    }

    /// The hidden states after the final norm, `[1, tokens, hidden]`.
    ///
    /// Throws `.badData` for ids that the vocabulary does not have, and `Cancelled`.
    public func callAsFunction(
        _ ids: [Int], on session: any Session, layerDone: (Int, Tensor) throws -> Void = { _, _ in }
    ) throws -> Tensor {
        precondition(ids.count <= configuration.positionCount, "\(ids.count) tokens are too many")
        let tokens = try tokenEmbedding.rows(ids, on: session)
        let positions = session.gather(positionEmbedding, Array(ids.indices))
        var hidden = (tokens + positions).expanded(at: 0)
        let mask = AttentionMask.causal(ids.count)
        for (index, layer) in layers.enumerated() {
            try session.check()
            hidden = layer(hidden, mask: mask)
            try layerDone(index, hidden)
        }
        return finalNorm(hidden)
    }

    /// The state that stands for the whole text, `[1, hidden]`, or its projection `[1, projection]` where that was asked
    /// for; states come from these ids.
    public func pooled(_ states: Tensor, _ ids: [Int]) -> Tensor {
        let place = ids.firstIndex(of: configuration.endToken ?? ids.max() ?? 0) ?? 0
        let state = states.session.copy(states.selected(1, place))
        return projection.map { $0(state) } ?? state
    }
}

extension Weight {
    /// The rows of an embedding table `[vocabulary, width]` for these ids, `[ids, width]`.
    ///
    /// Throws `.badData` for an id that the table does not have.
    func rows(_ ids: [Int], on session: any Session) throws(Fault) -> Tensor {
        if let id = ids.first(where: { !(0..<shape[0]).contains($0) }) {
            throw Fault(.badData, "the tokenizer gives the id \(id), and the text encoder knows \(shape[0])")
        }
        return session.gather(self, ids)
    }
}
