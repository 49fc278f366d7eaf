import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The vision tower of SigLIP: patches, pre-norm transformer layers, a norm (transformers `SiglipVisionModel`).
///
/// Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training". Its pooling head is not used.
public struct SigLIPVision: Sendable {
    /// The sizes in `config.json`.
    public struct Configuration: CLIPSizes, Sendable, Equatable {
        public let hiddenSize: Int
        public let intermediateSize: Int
        public let layers: LayerCount
        public let headCount: Int
        public let imageSize: Int
        public let patchSize: Int
        public let activation = Activation.geluTanh
        public let epsilon: Float

        /// Patches along a side; what is left over at the right and at the bottom is not seen.
        public var grid: Int { imageSize / patchSize }

        /// Reads the file's object; throws `.badData` that names the wrong key.
        public init(_ file: JSONObject) throws(Fault) {
            let object = try file.objectIfPresent("vision_config") ?? file
            hiddenSize = try object.positive("hidden_size", default: 768)
            intermediateSize = try object.positive("intermediate_size", default: 3072)
            layers = try LayerCount(object, "num_hidden_layers", default: 12)
            headCount = try object.positive("num_attention_heads", default: 12)
            imageSize = try object.positive("image_size", default: 224)
            patchSize = try object.positive("patch_size", default: 16)
            epsilon = Float(try object.double("layer_norm_eps", default: 1e-6))
            guard try object.int("num_channels", default: 3) == 3 else {
                throw object.fault("num_channels", expected: "3")
            }
            guard hiddenSize % headCount == 0 else {
                throw object.fault("num_attention_heads", expected: "a divisor of hidden_size \(hiddenSize)")
            }
            guard patchSize <= imageSize, imageSize <= 4096 else {
                throw object.fault("image_size", expected: "from patch_size \(patchSize) to 4096")
            }
            guard try object.string("hidden_act", default: "gelu_pytorch_tanh") == "gelu_pytorch_tanh" else {
                throw object.fault("hidden_act", expected: "gelu_pytorch_tanh")
            }
        }
    }

    /// The configuration it was built for.
    public let configuration: Configuration
    private let patchEmbedding: Linear
    private let positionEmbedding: Weight
    private let layers: [CLIPLayer]
    private let norm: LayerNorm

    /// Takes the weights under `vision_model`.
    public init(_ scope: WeightScope, _ configuration: Configuration) {
        let width = configuration.hiddenSize
        self.configuration = configuration
        let embeddings = scope / "embeddings"
        patchEmbedding = Linear(
            embeddings / "patch_embedding", kernel: [3, configuration.patchSize, configuration.patchSize], width)
        positionEmbedding = (embeddings / "position_embedding").take(
            "weight", [configuration.grid * configuration.grid, width])
        layers = (scope / "encoder").list("layers", configuration.layers).map { CLIPLayer($0, configuration) }
        norm = LayerNorm(scope / "post_layernorm", width, epsilon: configuration.epsilon)
        for key in (scope / "head").keys { (scope / "head").skip(key) }
    }

    /// Layers, for progress.
    public var depth: Int { layers.count }

    /// The states of the patches behind the last norm.
    ///
    /// pixels `[1, 3, S, S]` in −1...1; result `[1, patches, hidden]`. `done` is called with the states before the first
    /// layer and after each.
    public func callAsFunction(_ pixels: Tensor, done: (Tensor) throws -> Void = { _ in }) throws -> Tensor {
        let session = pixels.session
        let (size, grid) = (configuration.patchSize, configuration.grid)
        // [3, grid, size, grid, size] -> [grid, grid, 3, size, size]: one row a patch.
        let seen = pixels.selected(0, 0).sliced(1, 0..<grid * size).sliced(2, 0..<grid * size)
        let patches = session.copy(
            session.copy(seen).reshaped([3, grid, size, grid, size]).permuted([1, 3, 0, 2, 4])
        ).reshaped([grid * grid, 3 * size * size])
        var hidden = (patchEmbedding(patches) + session.tensor(positionEmbedding)).expanded(at: 0)
        try done(hidden)
        for layer in layers {
            try session.check()
            hidden = layer(hidden)
            try done(hidden)
        }
        return norm(hidden)
    }
}
