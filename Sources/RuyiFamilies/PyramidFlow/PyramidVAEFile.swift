import RuyiFault
import RuyiFiles

/// The VAE's weights below any prefix, and what they tell of its settings where no file says them.
package struct PyramidVAEFile: Sendable {
    private let file: any WeightFile
    /// What stands before the names in the file; nil where it holds no VAE.
    private let prefix: String?

    private static let mark = "decoder.up_blocks.0.temporal_upsamplers.0.conv.conv.weight"

    /// Takes a file.
    package init(_ file: any WeightFile) {
        self.file = file
        prefix = file.keys.first { $0.hasSuffix(PyramidVAEFile.mark) }.map {
            String($0.dropLast(PyramidVAEFile.mark.count))
        }
    }

    /// Whether a file holds the VAE.
    package static func isThere(in file: any WeightFile) -> Bool {
        guard let prefix = PyramidVAEFile(file).prefix else { return false }
        return file.shape(of: prefix + "quant_conv.conv.weight")?.count == 5
            && file.shape(of: prefix + "encoder.conv_in.conv.weight")?.count == 5
    }

    /// The weights under the names that the reference gives them; throws `.badData` where there are none.
    package func weights() throws(Fault) -> any WeightFile {
        guard let prefix else { throw Fault(.badData, "the file does not hold Pyramid Flow's VAE", at: file.path) }
        if prefix.isEmpty { return file }
        let inner = file.keys.filter { $0.hasPrefix(prefix) }
        return try RenamedWeights(file, inner.map { (String($0.dropFirst(prefix.count)), RenamedWeights.Place($0)) }) {
            _ in true
        }
    }

    /// The settings as the reference writes them, told from the tensors, and the groups of the published model.
    ///
    /// Throws `.badData` for widths that those groups do not divide: nothing else tells them.
    package func settings() throws(Fault) -> JSON {
        let file = try weights()
        let encoder = try PyramidVAEFile.levels(file, "encoder.down_blocks")
        // The decoder's levels stand in the other order.
        let decoder = try PyramidVAEFile.levels(file, "decoder.up_blocks")
        let groups = 32
        guard (encoder + decoder).allSatisfy({ $0.width.isMultiple(of: groups) }) else {
            throw Fault(
                .badData, "the weights of a VAE of widths \(encoder.map(\.width)) do not tell its groups",
                at: file.path, hint: "put its config.json beside it, into the folder causal_video_vae of the model")
        }
        func list(_ numbers: [Int]) -> JSON { .array(numbers.map(JSON.int)) }
        return .object([
            .init("_class_name", "CausalVideoVAE"),
            .init("encoder_block_out_channels", list(encoder.map(\.width))),
            .init("decoder_block_out_channels", list(decoder.reversed().map(\.width))),
            .init("encoder_layers_per_block", list(encoder.map(\.layers))),
            .init("decoder_layers_per_block", list(decoder.map(\.layers))),
            .init("encoder_norm_num_groups", .int(groups)), .init("decoder_norm_num_groups", .int(groups)),
            .init("decoder_in_channels", .int(try file.size(0, of: "post_quant_conv.conv.weight", rank: 5))),
        ])
    }

    private static func levels(_ file: any WeightFile, _ list: String) throws(Fault) -> [(width: Int, layers: Int)] {
        var levels: [(width: Int, layers: Int)] = []
        for level in 0..<(try file.count(of: list)) {
            let place = "\(list).\(level).resnets"
            levels.append(
                (try file.size(0, of: "\(place).0.conv1.conv.weight", rank: 5), try file.count(of: place)))
        }
        return levels
    }
}
