extension StepVAEConfiguration {
    /// A tensor's name and shape.
    package typealias Entry = (key: String, shape: [Int])

    /// Every tensor of the VAE, under the names of the file.
    package var tensors: [Entry] { decoderTensors + (encoder.map(encoderTensors) ?? []) }

    /// Those of the decoder.
    package var decoderTensors: [Entry] {
        let place = "decoder."
        var entries = Self.convolution(place + "conv_in.conv", latentChannels, decoder.patch)
        entries += Self.convolution(place + "conv_unpatchify.conv.conv", decoder.patch, 8 * decoder.middle)
        entries += Self.middle(place, decoder.middle)
        for (index, level) in decoder.levels.enumerated() {
            let isFirst = index + 1 == decoder.levels.count
            let input = isFirst ? decoder.middle : decoder.levels[index + 1].width
            entries += Self.blocks("\(place)up.\(index)", input, level)
            let sampler = "\(place)up.\(index).upsample."
            switch level.sampling {
            case nil: break
            case .space: entries += Self.planar(sampler + "conv", level.width)
            case .spaceTime:
                for number in 1...2 {
                    entries += Self.convolution("\(sampler)conv3d.conv\(number).conv", level.width, level.width)
                    entries += Self.vectors("\(sampler)conv3d.norm\(number)", level.width)
                }
            }
        }
        let last = decoder.levels[0].width
        return entries + Self.vectors(place + "norm_out", last) + Self.convolution(place + "conv_out", last, 3)
    }

    private func encoderTensors(_ side: Side) -> [Entry] {
        let place = "encoder."
        var entries = Self.convolution(place + "conv_in.conv", 3, encoderStart)
        for (index, level) in side.levels.enumerated() {
            entries += Self.blocks(
                "\(place)down.\(index)", index == 0 ? encoderStart : side.levels[index - 1].width, level)
            let sampler = "\(place)down.\(index).downsample.conv"
            switch level.sampling {
            case nil: break
            case .space: entries += Self.planar(sampler, level.width)
            case .spaceTime: entries += Self.convolution(sampler + ".conv", level.width, level.width)
            }
        }
        entries += Self.middle(place, side.middle) + Self.vectors(place + "norm_out", side.middle)
        entries += Self.convolution(place + "conv_patchify.conv.conv", side.middle, side.patch / 8)
        return entries + Self.convolution(place + "conv_out.conv", side.patch, 2 * latentChannels)
    }

    private static func middle(_ place: String, _ width: Int) -> [Entry] {
        let attention = place + "mid.attn_1."
        return (1...2).flatMap { residual("\(place)mid.block_\($0)", width, width) }
            + vectors(attention + "norm", width)
            + ["q", "k", "v", "proj_out"].flatMap { convolution("\(attention)\($0).conv", width, width, kernel: 1) }
    }

    private static func blocks(_ place: String, _ input: Int, _ level: Level) -> [Entry] {
        (0..<level.blocks).flatMap { residual("\(place).block.\($0)", $0 == 0 ? input : level.width, level.width) }
    }

    private static func residual(_ place: String, _ input: Int, _ output: Int) -> [Entry] {
        vectors(place + ".norm1", input) + convolution(place + ".conv1.conv", input, output)
            + vectors(place + ".norm2", output) + convolution(place + ".conv2.conv", output, output)
            + (input == output ? [] : convolution(place + ".nin_shortcut.conv", input, output, kernel: 1))
    }

    private static func vectors(_ place: String, _ width: Int) -> [Entry] {
        [(place + ".weight", [width]), (place + ".bias", [width])]
    }

    private static func planar(_ place: String, _ width: Int) -> [Entry] {
        [(place + ".weight", [width, width, 3, 3]), (place + ".bias", [width])]
    }

    private static func convolution(_ place: String, _ input: Int, _ output: Int, kernel: Int = 3) -> [Entry] {
        [(place + ".weight", [output, input, kernel, kernel, kernel]), (place + ".bias", [output])]
    }
}
