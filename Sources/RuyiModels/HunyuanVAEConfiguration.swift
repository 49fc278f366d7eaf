import RuyiEncoders
import RuyiFault
import RuyiFiles

/// The VAE's sizes, from `vae/config.json` (specification section 6).
package struct HunyuanVAEConfiguration: Sendable, Equatable {
    package let widths: [Int]
    package let layersPerBlock: Int
    package let latentChannels: Int
    package let groups: Int
    package let scalingFactor: Float
    package let hasAttention: Bool

    /// Pixels of a latent along each side.
    package static let space = 8
    /// Frames of a latent, the first apart.
    package static let time = 4

    package init(_ file: JSONObject) throws(Fault) {
        widths = try file.ints("block_out_channels", default: [128, 256, 512, 512])
        layersPerBlock = try file.positive("layers_per_block", default: 2)
        latentChannels = try file.positive("latent_channels", default: 16)
        groups = try file.positive("norm_num_groups", default: 32)
        scalingFactor = Float(try file.double("scaling_factor", default: 0.476986))
        hasAttention = try file.bool("mid_block_add_attention", default: true)
        let groups = groups
        guard widths.count == 4, widths.allSatisfy({ $0 > 0 && $0 <= 1 << 14 && $0 % groups == 0 }) else {
            throw file.fault("block_out_channels", expected: "four multiples of norm_num_groups \(groups)")
        }
        guard layersPerBlock <= 64 else { throw file.fault("layers_per_block", expected: "at most 64") }
        guard scalingFactor > 0, scalingFactor.isFinite else { throw file.fault("scaling_factor", expected: "above 0") }
        for key in ["in_channels", "out_channels"] {
            guard try file.int(key, default: 3) == 3 else { throw file.fault(key, expected: "3") }
        }
        guard try file.string("act_fn", default: "silu") == "silu" else { throw file.fault("act_fn", expected: "silu") }
        let factors = [
            ("spatial_compression_ratio", HunyuanVAEConfiguration.space),
            ("temporal_compression_ratio", HunyuanVAEConfiguration.time),
            ("time_compression_ratio", HunyuanVAEConfiguration.time),
        ]
        for (key, value) in factors {
            guard try file.int(key, default: value) == value else { throw file.fault(key, expected: "\(value)") }
        }
    }

    /// Latent frames of a video.
    package func latentLength(of frames: Int) -> Int { (frames - 1) / HunyuanVAEConfiguration.time + 1 }
    /// Frames that latents decode to.
    package func frameLength(of latents: Int) -> Int { (latents - 1) * HunyuanVAEConfiguration.time + 1 }

    /// What a level of the encoder divides time and space by; nil for the last, which changes neither.
    func factors(down level: Int) -> HunyuanUpBlock.Factors? {
        level == widths.count - 1 ? nil : HunyuanUpBlock.Factors(time: level == 0 ? 1 : 2, space: 2)
    }
    /// What a level of the decoder multiplies them by.
    func factors(up level: Int) -> HunyuanUpBlock.Factors? { factors(down: level) }
}
