import RuyiEncoders
import RuyiFault
import RuyiFiles

/// The VAE's sizes, from `causal_video_vae/config.json` (specification section 3).
package struct PyramidVAEConfiguration: Sendable, Equatable {
    /// A side of the network.
    package struct Side: Sendable, Equatable {
        /// The widths of the levels, in the order of the file, which is the encoder's.
        package let widths: [Int]
        /// The residual blocks of each level.
        package let layers: [Int]
        /// Groups of the norms.
        package let groups: Int
    }

    package let encoder: Side
    package let decoder: Side
    package let latentChannels: Int

    /// Pixels of a latent along each side.
    package static let space = 8
    /// Frames of a latent, the first apart.
    package static let time = 8
    /// Levels of either side, all but the last of which halve, or double, time and space.
    static let levelCount = 4

    /// Reads the file's object; throws `.badData` that names the wrong key.
    package init(_ file: JSONObject) throws(Fault) {
        encoder = try PyramidVAEConfiguration.side(file, "encoder", ["spatial_down_sample", "temporal_down_sample"])
        decoder = try PyramidVAEConfiguration.side(file, "decoder", ["spatial_up_sample", "temporal_up_sample"])
        latentChannels = try file.positive("decoder_in_channels", default: 16)
        let latentChannels = latentChannels
        guard latentChannels <= 1 << 10 else { throw file.fault("decoder_in_channels", expected: "at most 1024") }
        let numbers = [
            ("encoder_in_channels", 3), ("decoder_out_channels", 3), ("encoder_out_channels", latentChannels),
            ("downsample_scale", PyramidVAEConfiguration.space),
        ]
        for (key, value) in numbers {
            guard try file.int(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
        }
        for (key, value) in [("encoder_double_z", true), ("add_post_quant_conv", true), ("interpolate", false)] {
            guard try file.bool(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
        }
    }

    private static func side(_ file: JSONObject, _ name: String, _ samplings: [String]) throws(Fault) -> Side {
        let (widthsKey, layersKey) = ("\(name)_block_out_channels", "\(name)_layers_per_block")
        let layers = name == "encoder" ? 2 : 3
        let side = Side(
            widths: try file.ints(widthsKey, default: [128, 256, 512, 512]),
            layers: try file.ints(layersKey, default: Array(repeating: layers, count: levelCount)),
            groups: try file.positive("\(name)_norm_num_groups", default: 32))
        guard side.widths.count == levelCount,
            side.widths.allSatisfy({ $0 > 0 && $0 <= 1 << 14 && $0 % side.groups == 0 })
        else {
            throw file.fault(widthsKey, expected: "four multiples of \(name)_norm_num_groups \(side.groups)")
        }
        guard side.layers.count == levelCount, side.layers.allSatisfy({ (1...64).contains($0) }) else {
            throw file.fault(layersKey, expected: "four numbers from 1 to 64")
        }
        for sampling in samplings {
            let key = "\(name)_\(sampling)"
            guard try file.bools(key, default: [true, true, true, false]) == [true, true, true, false] else {
                throw file.fault(key, expected: "true at all levels but the last")
            }
        }
        guard try file.string("\(name)_act_fn", default: "silu") == "silu" else {
            throw file.fault("\(name)_act_fn", expected: "silu")
        }
        return side
    }

    /// Latent frames of a video.
    package static func latentLength(of frames: Int) -> Int { (frames - 1) / time + 1 }
    /// Frames that latents decode to.
    package static func frameLength(of latents: Int) -> Int { (latents - 1) * time + 1 }
}
