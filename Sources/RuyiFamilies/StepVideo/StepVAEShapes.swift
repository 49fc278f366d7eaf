import RuyiFault
import RuyiFiles

/// Reads the VAE's sizes from the shapes of its tensors.
struct StepVAEShapes {
    let latentChannels: Int
    private let file: any WeightFile

    /// The first version of the VAE, which has another network, has latents of so many channels.
    private static let firstVersionChannels = 16
    /// The widest layer that is believed.
    private static let widthLimit = 1 << 14
    /// The most blocks of a level that are believed.
    private static let blockLimit = 64
    private static let convIn = "decoder.conv_in.conv.weight"
    private static let unpatchify = "decoder.conv_unpatchify.conv.conv.weight"
    private static let patchify = "encoder.conv_patchify.conv.conv.weight"
    private static let convOut = "encoder.conv_out.conv.weight"

    /// Throws `.badData` for a file without this VAE, and for one with its first version.
    init(_ file: any WeightFile) throws(Fault) {
        self.file = file
        let first = [Self.convIn, "decoder.conv_in.weight"].compactMap { file.shape(of: $0) }.first { $0.count > 1 }
        if first?[1] == Self.firstVersionChannels {
            throw Fault(
                .badData, "the file holds version 1 of Step-Video's VAE, whose latents have 16 channels", at: file.path,
                hint: "the model works with version 2, the file vae/vae_v2.safetensors")
        }
        latentChannels = try file.size(1, of: Self.convIn, rank: 5)
    }

    func decoder() throws(Fault) -> StepVAEConfiguration.Side {
        let patch = try width(0, of: Self.convIn)
        let unpatched = try file.size(0, of: Self.unpatchify, rank: 5)
        let levels = try levels("decoder.up", "upsample", ["conv3d.conv1.conv.weight", "conv.weight"])
        let middle = try width(0, of: "decoder.mid.block_1.conv1.conv.weight")
        guard patch.isMultiple(of: latentChannels) else {
            throw fault(Self.convIn, "has \(patch) outputs, expected a multiple of its \(latentChannels) inputs")
        }
        guard unpatched == 8 * middle, unpatched.isMultiple(of: patch) else {
            throw fault(
                Self.unpatchify, "has \(unpatched) outputs, expected 8 x \(middle), a multiple of its \(patch) inputs")
        }
        return StepVAEConfiguration.Side(levels: levels, middle: middle, patch: patch)
    }

    func encoder() throws(Fault) -> StepVAEConfiguration.Side {
        let (patch, moments) = (try width(1, of: Self.convOut), try file.size(0, of: Self.convOut, rank: 5))
        let patched = try file.size(0, of: Self.patchify, rank: 5)
        let levels = try levels("encoder.down", "downsample", ["conv.conv.weight", "conv.weight"])
        let middle = try width(0, of: "encoder.mid.block_1.conv1.conv.weight")
        guard moments == 2 * latentChannels, patch.isMultiple(of: moments) else {
            throw fault(
                Self.convOut,
                "takes \(patch) channels to \(moments), expected a multiple of twice the latents' \(latentChannels)")
        }
        guard patch == 8 * patched, (8 * middle).isMultiple(of: patch) else {
            throw fault(Self.patchify, "has \(patched) outputs, expected an eighth of \(patch), a divisor of \(middle)")
        }
        return StepVAEConfiguration.Side(levels: levels, middle: middle, patch: patch)
    }

    /// The levels of a side, whose samplers have one of two tensors: that of space and time, or that of space.
    private func levels(
        _ list: String, _ sampler: String, _ marks: [String]
    ) throws(Fault) -> [StepVAEConfiguration.Level] {
        var levels: [StepVAEConfiguration.Level] = []
        for index in 0..<(try file.count(of: list)) {
            let place = "\(list).\(index)"
            let blocks = try file.count(of: place + ".block")
            guard blocks <= Self.blockLimit else { throw fault(place, "has \(blocks) blocks, expected fewer") }
            let shapes = marks.map { file.shape(of: "\(place).\(sampler).\($0)") }
            let sampling: StepVAEConfiguration.Sampling? =
                shapes[0]?.count == 5 ? .spaceTime : shapes[1]?.count == 4 ? .space : nil
            levels.append(
                StepVAEConfiguration.Level(
                    width: try width(0, of: "\(place).block.0.conv1.conv.weight"), blocks: blocks, sampling: sampling))
        }
        let samplings = levels.compactMap(\.sampling)
        guard samplings.count == 3, samplings.filter({ $0 == .spaceTime }).count == 2 else {
            throw fault(
                list, "has samplers \(samplings), expected one of space, and two of space and time")
        }
        return levels
    }

    /// The length of an axis that the norms' groups divide.
    func width(_ axis: Int, of key: String) throws(Fault) -> Int {
        let width = try file.size(axis, of: key, rank: 5)
        guard width <= Self.widthLimit, width.isMultiple(of: StepVAEConfiguration.groups) else {
            throw fault(key, "is \(width) channels wide, expected a multiple of 32 up to \(Self.widthLimit)")
        }
        return width
    }

    private func fault(_ key: String, _ problem: String) -> Fault {
        Fault(
            .badData, "\"\(key)\" \(problem)", at: file.path,
            hint: "the file is broken, or belongs to another model")
    }
}
