import RuyiFault
import RuyiFiles

/// The VAE's weights under any of the names that people have them in: those of diffusers, which are the authors' too, or
/// those of the latent diffusion models, which ComfyUI knows; below any prefix.
package struct HunyuanVAEFile: Sendable {
    private let file: any WeightFile
    /// What stands before the names in the file.
    private let prefix: String
    private let isLatentDiffusion: Bool

    /// Takes a file.
    package init(_ file: any WeightFile) {
        func start(_ mark: String) -> String? {
            file.keys.first { $0.hasSuffix(mark) }.map { String($0.dropLast(mark.count)) }
        }
        let other = start("decoder.mid.block_1.conv1.conv.weight")
        self.file = file
        isLatentDiffusion = other != nil
        prefix = other ?? start("decoder.mid_block.resnets.0.conv1.conv.weight") ?? ""
    }

    /// Whether a file holds the VAE.
    package static func isThere(in file: any WeightFile) -> Bool {
        let vae = HunyuanVAEFile(file)
        let middle = vae.isLatentDiffusion ? "mid.block_1" : "mid_block.resnets.0"
        return file.shape(of: "\(vae.prefix)decoder.\(middle).conv1.conv.weight")?.count == 5
            && file.shape(of: vae.prefix + "encoder.conv_in.conv.weight") != nil
            && file.shape(of: vae.prefix + "post_quant_conv.weight")?.count == 5
    }

    /// The weights under the names that diffusers gives them.
    package func weights() throws(Fault) -> any WeightFile {
        if !isLatentDiffusion, prefix.isEmpty { return file }
        let inner = file.keys.filter { $0.hasPrefix(prefix) }
        let levels = isLatentDiffusion ? try file.count(of: prefix + "decoder.up") : 0
        let list = inner.map { key -> (key: String, place: RenamedWeights.Place) in
            let name = String(key.dropFirst(prefix.count))
            guard isLatentDiffusion else { return (name, RenamedWeights.Place(key)) }
            let isMatrix = name.contains(".attn_1.") && name.hasSuffix(".weight") && !name.contains(".norm.")
            let place = RenamedWeights.Place(key, isMatrix ? .matrix : .whole)
            return (HunyuanVAEFile.renamed(name, levels: levels), place)
        }
        return try RenamedWeights(file, list) { _ in true }
    }

    /// The name in diffusers of a tensor of the latent diffusion models, whose decoder counts its levels from the end.
    private static func renamed(_ key: String, levels: Int) -> String {
        var parts = key.split(separator: ".").map(String.init)
        guard parts.count > 2, ["encoder", "decoder"].contains(parts[0]) else { return key }
        switch parts[1] {
        case "norm_out": parts[1] = "conv_norm_out"
        case "mid":
            parts[1] = "mid_block"
            if parts[2] == "attn_1" {
                parts[2] = "attentions.0"
                let layers = ["norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"]
                parts[3] = layers[parts[3]] ?? parts[3]
            } else if let number = Int(parts[2].dropFirst("block_".count)) {
                parts[2] = "resnets.\(number - 1)"
            }
        case "down", "up":
            if parts[1] == "up", let level = Int(parts[2]) { parts[2] = String(levels - 1 - level) }
            parts[1] += "_blocks"
            let lists = ["block": "resnets", "downsample": "downsamplers.0", "upsample": "upsamplers.0"]
            if parts.count > 3 { parts[3] = lists[parts[3]] ?? parts[3] }
        default: break
        }
        return parts.map { $0 == "nin_shortcut" ? "conv_shortcut" : $0 }.joined(separator: ".")
    }

    /// The settings as diffusers writes them, told from the tensors, and the numbers of the published model.
    ///
    /// Throws `.badData` for widths that the published groups do not divide: nothing else tells them.
    package func settings() throws(Fault) -> JSON {
        let file = try weights()
        var widths: [Int] = []
        for level in 0..<(try file.count(of: "encoder.down_blocks")) {
            widths.append(try file.size(0, of: "encoder.down_blocks.\(level).resnets.0.conv1.conv.weight", rank: 5))
        }
        let groups = 32
        guard widths.allSatisfy({ $0.isMultiple(of: groups) }) else {
            throw Fault(
                .badData, "the weights of a VAE of widths \(widths) do not tell its groups", at: file.path,
                hint: "put its config.json beside it, or into the folder 'vae' of the model")
        }
        return .object([
            .init("_class_name", "AutoencoderKLHunyuanVideo"),
            .init("latent_channels", .int(try file.size(0, of: "post_quant_conv.weight", rank: 5))),
            .init("block_out_channels", .array(widths.map(JSON.int))),
            .init("layers_per_block", .int(try file.count(of: "encoder.down_blocks.0.resnets"))),
            .init("norm_num_groups", .int(groups)), .init("scaling_factor", .double(0.476986)),
            .init(
                "mid_block_add_attention",
                .bool(file.shape(of: "encoder.mid_block.attentions.0.to_q.weight") != nil)),
        ])
    }

    /// The VAE's settings as diffusers names them.
    package static func publishedSettings(_ file: JSONObject) throws(Fault) -> JSON {
        let kept = [
            "in_channels", "out_channels", "latent_channels", "block_out_channels", "layers_per_block", "act_fn",
            "norm_num_groups", "scaling_factor", "mid_block_add_attention",
        ]
        let levels = try file.ints("block_out_channels", default: [128, 256, 512, 512]).count
        func blocks(_ name: JSON) -> JSON { .array(Array(repeating: name, count: levels)) }
        return .object(
            [.init("_class_name", "AutoencoderKLHunyuanVideo")] + file.members.filter { kept.contains($0.key) } + [
                .init("down_block_types", blocks("HunyuanVideoDownBlock3D")),
                .init("up_block_types", blocks("HunyuanVideoUpBlock3D")),
                .init("spatial_compression_ratio", .int(HunyuanVAEConfiguration.space)),
                .init("temporal_compression_ratio", .int(HunyuanVAEConfiguration.time)),
            ])
    }
}
