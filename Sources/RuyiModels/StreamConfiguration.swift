import RuyiEncoders
import RuyiFault
import RuyiFiles

/// The sizes that transformers of dual-stream and single-stream blocks share, from their `config.json`.
package struct StreamConfiguration: Sendable, Equatable {
    package let headCount: Int
    package let headSize: Int
    /// Blocks in which video and text have weights of their own.
    package let dualLayers: LayerCount
    /// Blocks in which they share them.
    package let singleLayers: LayerCount
    package let refinerLayers: LayerCount
    package let innerWidth: Int
    package let textWidth: Int
    package let pooledWidth: Int
    package let rotaryBase: Float
    /// The parts of a head that are rotated by frame, row and column.
    package let rotaryAxes: [Int]

    /// Side of a patch in latents.
    package static let patch = 2

    /// The width of the tokens.
    package var hiddenSize: Int { headCount * headSize }
    /// The sizes of the blocks.
    package var sizes: StreamSizes { StreamSizes(heads: headCount, headSize: headSize, innerWidth: innerWidth) }

    /// Reads the file; throws `.badData` that names the wrong key.
    package init(_ file: JSONObject) throws(Fault) {
        headCount = try file.positive("num_attention_heads", default: 24)
        headSize = try file.positive("attention_head_dim", default: 128)
        dualLayers = try LayerCount(file, "num_layers", default: 20)
        singleLayers = try LayerCount(file, "num_single_layers", default: 40)
        refinerLayers = try LayerCount(file, "num_refiner_layers", default: 2)
        textWidth = try file.positive("text_embed_dim", default: 4096)
        pooledWidth = try file.positive("pooled_projection_dim", default: 768)
        rotaryBase = Float(try file.double("rope_theta", default: 256))
        rotaryAxes = try file.ints("rope_axes_dim", default: [16, 56, 56])
        let ratio = try file.double("mlp_ratio", default: 4)
        guard ratio > 0, ratio < 64, headCount <= 1 << 12, headSize <= 1 << 12 else {
            throw file.fault("mlp_ratio", expected: "a number between 0 and 64")
        }
        innerWidth = Int(Double(headCount * headSize) * ratio)
        let (axes, size) = (rotaryAxes, headSize)
        guard axes.count == 3, axes.allSatisfy({ $0 > 0 && $0 % 2 == 0 && $0 <= size }), axes.reduce(0, +) == size
        else { throw file.fault("rope_axes_dim", expected: "three even numbers with the sum \(headSize)") }
        guard rotaryBase > 0, rotaryBase.isFinite else { throw file.fault("rope_theta", expected: "above 0") }
        guard try file.string("qk_norm", default: "rms_norm") == "rms_norm" else {
            throw file.fault("qk_norm", expected: "rms_norm")
        }
        for (key, value) in [("patch_size", StreamConfiguration.patch), ("patch_size_t", 1)] {
            guard try file.int(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
        }
    }
}
