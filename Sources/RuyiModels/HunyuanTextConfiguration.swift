import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiTensor

/// The sizes of what reads a prompt: a language model, alone or within LLaVA, and CLIP (specification of HunyuanVideo,
/// section 1).
package struct HunyuanTextConfiguration: Sendable {
    package let language: LLaMA.Configuration
    /// What sees the picture; only where the language model is that of LLaVA.
    package let picture: Picture?
    package let clip: CLIPText.Configuration

    /// The parts of LLaVA beside the language model.
    package struct Picture: Sendable {
        package let vision: CLIPVision.Configuration
        package let processor: CLIPImageProcessor
        package let projector: Activation
        /// The token that the picture's tokens take the place of.
        package let token: Int
    }

    /// Reads the settings of both encoders, and of the picture's preprocessing where there is one.
    ///
    /// Throws `.badData` that names the key for settings that the model does not have.
    package init(
        text: JSONObject, clip: JSONObject, processor: () throws(Fault) -> JSONObject
    ) throws(Fault) {
        self.clip = try CLIPText.Configuration(clip)
        guard let nested = try text.objectIfPresent("text_config") else {
            language = try LLaMA.Configuration(text)
            picture = nil
            return
        }
        language = try LLaMA.Configuration(nested)
        for (key, value) in [("projector_hidden_act", "gelu"), ("vision_feature_select_strategy", "default")] {
            guard try text.string(key, default: value) == value else { throw text.fault(key, expected: value) }
        }
        guard try text.int("vision_feature_layer", default: -2) == -2 else {
            throw text.fault("vision_feature_layer", expected: "-2")
        }
        picture = Picture(
            vision: try CLIPVision.Configuration(text), processor: try CLIPImageProcessor(processor()),
            projector: .gelu, token: try text.int("image_token_index", default: 128257))
    }

    /// Looks whether the parts fit together; `path` names the checkpoint.
    package func check(at path: String) throws(Fault) {
        func require(_ condition: Bool, _ what: String) throws(Fault) {
            if !condition { throw Fault(.badData, what, at: path) }
        }
        try require(
            clip.positionCount >= HunyuanPrompts.clipLength,
            "CLIP has \(clip.positionCount) positions, \(HunyuanPrompts.clipLength) are needed")
        if let picture {
            try require(
                picture.processor.cropSize >= picture.vision.imageSize,
                "crop_size is \(picture.processor.cropSize), expected the encoder's image_size "
                    + "\(picture.vision.imageSize)")
        }
        try require(
            language.layerCount > 2, "the text encoder has \(language.layerCount) layers, more than 2 are needed")
    }
}
