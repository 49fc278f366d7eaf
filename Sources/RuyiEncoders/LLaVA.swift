import RuyiFiles
import RuyiLayers
import RuyiTensor

/// A language model that sees a picture: CLIP's patches, projected to the width of LLaMA's tokens
/// (transformers `LlavaForConditionalGeneration`).
public struct LLaVA: Sendable {
    /// The picture's tower, without its last layer, whose result is not asked for.
    public let vision: CLIPVision
    /// The language model.
    public let language: LLaMA
    private let linear1, linear2: Linear
    private let activation: Activation

    /// Takes the weights under the names of either generation of transformers.
    ///
    /// - Parameters:
    ///   - activation: of the projector (`projector_hidden_act`).
    ///   - unused: the last layers of the language model that are not needed.
    public init(
        _ root: WeightScope, vision: CLIPVision.Configuration, language: LLaMA.Configuration, activation: Activation,
        withoutLast unused: Int
    ) {
        let nested = root / "model"
        let isNested = !(nested / "vision_tower").keys.isEmpty
        let scope = isNested ? nested : root
        self.activation = activation
        let tower = scope / "vision_tower" / "vision_model"
        self.vision = CLIPVision(tower, vision, withoutLast: 1)
        let norm = tower / "post_layernorm"
        norm.keys.forEach(norm.skip)
        (tower / "embeddings").skip("position_ids")
        let projector = scope / "multi_modal_projector"
        linear1 = Linear(projector / "linear_1", vision.hiddenSize, language.hiddenSize)
        linear2 = Linear(projector / "linear_2", language.hiddenSize, language.hiddenSize)
        let decoder = isNested ? scope / "language_model" : scope / "language_model" / "model"
        self.language = LLaMA(decoder, language, withoutLast: unused)
        for place in [root / "lm_head", scope / "language_model" / "lm_head"] { place.skip("weight") }
    }

    /// A picture's patches as LLaMA's tokens: `[patches, vision width]` to `[patches, hidden]`.
    public func project(_ patches: Tensor) -> Tensor { linear2(linear1(patches, activation)) }
}
