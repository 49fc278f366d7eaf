import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// The VAE's decoder at its published size, for measuring.
enum HunyuanVAEWorkloads {
    /// A tensor's name and shape.
    private typealias Entry = (key: String, shape: [Int])

    static let all = [decoder(latents: 5, side: 32)]

    private static func decoder(latents count: Int, side: Int) -> Workload {
        let pixels = side * HunyuanVAEConfiguration.space
        let frames = (count - 1) * HunyuanVAEConfiguration.time + 1
        return Workload(
            "hunyuanvideo-vae-decode-\(pixels)x\(pixels)x\(frames)",
            .operations(operations(latents: count, side: side)), isLong: true
        ) { session throws(Fault) in
            let configuration = try HunyuanVAEConfiguration(JSONObject([:], file: "vae/config.json"))
            let vae = try MemoryWeights.build(tensors(configuration), on: session.backend) {
                HunyuanVAE($0, configuration)
            }
            let latents = session.upload(RandomValues().tensor([count, configuration.latentChannels, side, side]))
            var tiling = HunyuanTiling()
            tiling.inTime = false
            return { [tiling] in
                var last = latents
                // Only the closures could throw.
                try? vae.decode(latents, tiling, HunyuanVAERun(trace: nil) {}) { last = $0 }
                return last
            }
        }
    }

    /// Multiplications and additions of the decoder's convolutions, as if nothing were saved.
    private static func operations(latents: Int, side: Int) -> Double {
        let widths = [512.0, 512, 256, 128]
        var (frames, area) = (Double(latents), Double(side * side))
        var sum = 27 * (16 * widths[0] + 4 * widths[0] * widths[0]) * frames * area
        for (level, width) in widths.enumerated() {
            let input = widths[max(level - 1, 0)]
            let shortcut = input == width ? 0 : input * width
            sum += (27 * (input * width + 5 * width * width) + shortcut) * frames * area
            guard level < widths.count - 1 else { continue }
            (frames, area) = (level == 0 ? frames : 2 * frames - 1, 4 * area)
            sum += 27 * width * width * frames * area
        }
        return 2 * (sum + 27 * 3 * widths[3] * frames * area)
    }

    /// Every tensor of the VAE.
    private static func tensors(_ configuration: HunyuanVAEConfiguration) -> [Entry] {
        let (widths, latent) = (configuration.widths, configuration.latentChannels)
        let (input, layers) = (3, configuration.layersPerBlock)
        let decoder = Array(widths.reversed())
        return side("encoder.", "down", widths, layers: layers, input: input, output: 2 * latent)
            + side("decoder.", "up", decoder, layers: layers + 1, input: latent, output: input)
            + [("quant_conv", 2 * latent), ("post_quant_conv", latent)].flatMap { name, width -> [Entry] in
                [(name + ".weight", [width, width, 1, 1, 1]), (name + ".bias", [width])]
            }
    }

    private static func side(
        _ place: String, _ direction: String, _ widths: [Int], layers: Int, input: Int, output: Int
    ) -> [Entry] {
        let (first, last) = (widths[0], widths[widths.count - 1])
        let middle = place + "mid_block."
        let width = direction == "up" ? first : last
        var entries = convolution(place + "conv_in", input, first)
        for (level, width) in widths.enumerated() {
            let block = "\(place)\(direction)_blocks.\(level)."
            for layer in 0..<layers {
                entries += resBlock("\(block)resnets.\(layer)", layer == 0 ? widths[max(level - 1, 0)] : width, width)
            }
            if level < widths.count - 1 { entries += convolution("\(block)\(direction)samplers.0.conv", width, width) }
        }
        entries += resBlock(middle + "resnets.0", width, width) + resBlock(middle + "resnets.1", width, width)
        entries += vectors(middle + "attentions.0.group_norm", width)
        for name in ["to_q", "to_k", "to_v", "to_out.0"] {
            let layer = "\(middle)attentions.0.\(name)"
            entries += [(layer + ".weight", [width, width]), (layer + ".bias", [width])]
        }
        return entries + vectors(place + "conv_norm_out", last) + convolution(place + "conv_out", last, output)
    }

    private static func resBlock(_ place: String, _ input: Int, _ output: Int) -> [Entry] {
        vectors(place + ".norm1", input) + convolution(place + ".conv1", input, output)
            + vectors(place + ".norm2", output) + convolution(place + ".conv2", output, output)
            + (input == output ? [] : convolution(place + ".conv_shortcut", input, output, kernel: 1))
    }

    private static func vectors(_ place: String, _ width: Int) -> [Entry] {
        [(place + ".weight", [width]), (place + ".bias", [width])]
    }

    private static func convolution(_ place: String, _ input: Int, _ output: Int, kernel: Int = 3) -> [Entry] {
        [(place + ".conv.weight", [output, input, kernel, kernel, kernel]), (place + ".conv.bias", [output])]
    }
}
