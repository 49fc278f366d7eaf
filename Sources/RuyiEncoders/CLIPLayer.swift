import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// The sizes of one tower of CLIP, the picture's or the text's.
protocol CLIPSizes {
    var hiddenSize: Int { get }
    var intermediateSize: Int { get }
    var headCount: Int { get }
    var activation: Activation { get }
    var epsilon: Float { get }
}

/// A pre-norm transformer layer of either tower (transformers `CLIPEncoderLayer`).
struct CLIPLayer: Sendable {
    private let norm1, norm2: LayerNorm
    private let query, key, value, output: Linear
    private let fc1, fc2: Linear
    private let heads: Int
    private let activation: Activation

    init(_ scope: WeightScope, _ sizes: some CLIPSizes) {
        let (width, inner) = (sizes.hiddenSize, sizes.intermediateSize)
        norm1 = LayerNorm(scope / "layer_norm1", width, epsilon: sizes.epsilon)
        norm2 = LayerNorm(scope / "layer_norm2", width, epsilon: sizes.epsilon)
        query = Linear(scope / "self_attn" / "q_proj", width, width)
        key = Linear(scope / "self_attn" / "k_proj", width, width)
        value = Linear(scope / "self_attn" / "v_proj", width, width)
        output = Linear(scope / "self_attn" / "out_proj", width, width)
        fc1 = Linear(scope / "mlp" / "fc1", width, inner)
        fc2 = Linear(scope / "mlp" / "fc2", inner, width)
        heads = sizes.headCount
        activation = sizes.activation
    }

    /// x `[1, tokens, hidden]`; without a mask every token sees every other.
    func callAsFunction(_ x: Tensor, mask: AttentionMask? = nil) -> Tensor {
        let normed = norm1(x)
        let scale = 1 / Float(x.shape[2] / heads).squareRoot()
        let attended = x.session.attention(
            query(normed), key(normed), value(normed), heads: heads, scale: scale, options: AttentionOptions(mask: mask)
        )
        let hidden = x + output(attended)
        return hidden + fc2(fc1(norm2(hidden), activation))
    }

    /// Notes that the weights of a layer are known and not needed.
    static func skip(_ scope: WeightScope) {
        for key in scope.keys { scope.skip(key) }
    }
}

extension JSONObject {
    /// The activation of a CLIP tower.
    func clipActivation() throws(Fault) -> Activation {
        switch try string("hidden_act", default: "quick_gelu") {
        case "quick_gelu": return .quickGelu
        case "gelu": return .gelu
        default: throw fault("hidden_act", expected: "quick_gelu or gelu")
        }
    }
}
