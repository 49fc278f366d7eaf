import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The vision tower of CLIP: patches, a class token, pre-norm transformer layers (transformers `CLIPVisionModel`).
public struct CLIPVision: Sendable {
    /// The sizes in `config.json`, either of a vision model or of a whole CLIP (its `vision_config`).
    public struct Configuration: CLIPSizes, Sendable, Equatable {
        public let hiddenSize: Int
        public let intermediateSize: Int
        public let layerCount: Int
        public let headCount: Int
        public let imageSize: Int
        public let patchSize: Int
        public let activation: Activation
        public let epsilon: Float

        /// Patches of a picture.
        public var patchCount: Int { (imageSize / patchSize) * (imageSize / patchSize) }

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ file: JSONObject) throws(Fault) {
            let object = try file.objectIfPresent("vision_config") ?? file
            hiddenSize = try object.positive("hidden_size", default: 768)
            intermediateSize = try object.positive("intermediate_size", default: 3072)
            layerCount = try object.positive("num_hidden_layers", default: 12)
            headCount = try object.positive("num_attention_heads", default: 12)
            imageSize = try object.positive("image_size", default: 224)
            patchSize = try object.positive("patch_size", default: 32)
            epsilon = Float(try object.double("layer_norm_eps", default: 1e-5))
            guard try object.int("num_channels", default: 3) == 3 else {
                throw object.fault("num_channels", expected: "3")
            }
            guard hiddenSize % headCount == 0 else {
                throw object.fault("num_attention_heads", expected: "a divisor of hidden_size \(hiddenSize)")
            }
            guard patchSize <= imageSize else {
                throw object.fault("patch_size", expected: "at most image_size \(imageSize)")
            }
            activation = try object.clipActivation()
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let classEmbedding: Weight
    private let patchEmbedding: Linear
    private let positionEmbedding: Weight
    private let preNorm: LayerNorm
    private let layers: [CLIPLayer]

    /// Takes the weights under `vision_model`, the last so many layers of which are not needed.
    public init(_ scope: WeightScope, _ configuration: Configuration, withoutLast unused: Int = 0) {
        let width = configuration.hiddenSize
        self.configuration = configuration
        let embeddings = scope / "embeddings"
        classEmbedding = embeddings.take("class_embedding", [width])
        patchEmbedding = Linear(
            weight: (embeddings / "patch_embedding").take(
                "weight", [width, 3, configuration.patchSize, configuration.patchSize]), bias: nil)
        positionEmbedding = (embeddings / "position_embedding").take("weight", [configuration.patchCount + 1, width])
        preNorm = LayerNorm(scope / "pre_layrnorm", width, epsilon: configuration.epsilon)
        let places = (0..<configuration.layerCount).map { scope / "encoder" / "layers" / $0 }
        layers = places.dropLast(unused).map { CLIPLayer($0, configuration) }
        places.suffix(unused).forEach(CLIPLayer.skip)
    }

    /// The hidden states of the patches after the last needed layer, without the class token and the final norm.
    ///
    /// pixels `[1, 3, S, S]`, normalised; result `[1, patches, hidden]`.
    public func callAsFunction(_ pixels: Tensor) throws -> Tensor {
        let session = pixels.session
        let (size, width) = (configuration.patchSize, configuration.hiddenSize)
        let grid = configuration.imageSize / size
        // [3, grid, size, grid, size] -> [grid, grid, 3, size, size]: one row a patch.
        let cropped = pixels.selected(0, 0).sliced(1, 0..<grid * size).sliced(2, 0..<grid * size)
        let patches = session.copy(
            session.copy(cropped).reshaped([3, grid, size, grid, size]).permuted([1, 3, 0, 2, 4])
        ).reshaped([grid * grid, 3 * size * size])
        let classToken = session.tensor(classEmbedding).reshaped([1, width])
        let tokens = session.concatenate([classToken, patchEmbedding(patches)], axis: 0)
        var hidden = preNorm(tokens + session.tensor(positionEmbedding)).expanded(at: 0)
        for layer in layers {
            try session.check()
            hidden = layer(hidden)
        }
        return session.copy(hidden.sliced(1, 1..<hidden.shape[1]))
    }
}

extension JSONObject {
    /// An integer of at least one and at most 2²⁴, or the default when missing.
    public func positive(_ key: String, default value: Int) throws(Fault) -> Int {
        let found = try int(key, default: value)
        guard (1...1 << 24).contains(found) else { throw fault(key, expected: "a positive integer") }
        return found
    }

    /// An integer of at least one and at most 2²⁴.
    public func positive(_ key: String) throws(Fault) -> Int {
        let found = try int(key)
        guard (1...1 << 24).contains(found) else { throw fault(key, expected: "a positive integer") }
        return found
    }
}
