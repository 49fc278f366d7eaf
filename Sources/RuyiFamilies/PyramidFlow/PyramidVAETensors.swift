extension PyramidVAEConfiguration {
    /// A tensor's name and shape.
    package typealias Entry = (key: String, shape: [Int])

    /// Every tensor of the VAE, under the names of the reference.
    package var tensors: [Entry] {
        let moments = 2 * latentChannels
        let widths = Array(decoder.widths.reversed())
        return PyramidVAEConfiguration.convolution("quant_conv", moments, moments, kernel: 1)
            + PyramidVAEConfiguration.convolution("post_quant_conv", latentChannels, latentChannels, kernel: 1)
            + PyramidVAEConfiguration.side(
                "encoder.", "down_blocks", encoder.widths, encoder.layers,
                [("downsamplers", 1), ("temporal_downsamplers", 1)],
                input: 3, output: moments)
            + PyramidVAEConfiguration.side(
                "decoder.", "up_blocks", widths, decoder.layers, [("upsamplers", 4), ("temporal_upsamplers", 2)],
                input: latentChannels, output: 3)
    }

    /// An encoder or decoder, whose samplers widen their input so many times.
    private static func side(
        _ place: String, _ list: String, _ widths: [Int], _ layers: [Int], _ samplers: [(name: String, factor: Int)],
        input: Int, output: Int
    ) -> [Entry] {
        let (first, last) = (widths[0], widths[widths.count - 1])
        let middle = list == "up_blocks" ? first : last
        var entries = convolution(place + "conv_in", input, first)
        for (level, width) in widths.enumerated() {
            let block = "\(place)\(list).\(level)."
            for layer in 0..<layers[level] {
                entries += resBlock("\(block)resnets.\(layer)", layer == 0 ? widths[max(level - 1, 0)] : width, width)
            }
            for sampler in samplers where level < widths.count - 1 {
                entries += convolution("\(block)\(sampler.name).0.conv", width, sampler.factor * width)
            }
        }
        for layer in 0..<2 { entries += resBlock("\(place)mid_block.resnets.\(layer)", middle, middle) }
        let attention = place + "mid_block.attentions.0."
        entries += vectors(attention + "group_norm", middle)
        for name in ["to_q", "to_k", "to_v", "to_out.0"] {
            entries += [(attention + name + ".weight", [middle, middle]), (attention + name + ".bias", [middle])]
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
