import RuyiFault

/// Finds and opens weights.
public enum WeightFiles {
    /// Opens the weights of a component of a model: `STEM.safetensors`, else `STEM.safetensors.index.json` with its
    /// parts, else `STEM.bin` or `STEM.pt`; where none of them is there, the same of the only variant that is, such as
    /// `STEM.bf16.safetensors` (see `WeightNames`), else the one GGUF file in the component's folder, whatever its name.
    ///
    /// - Parameters:
    ///   - folder: the model.
    ///   - component: the folder inside it, such as `transformer`; `""` for the model folder itself.
    ///   - stem: the name without ending, such as `diffusion_pytorch_model`.
    /// - Throws: `.cannotOpen` with what was expected when there is none, `.usage` when there are several variants,
    ///   `.badData` when they are not what they say.
    public static func open(
        _ folder: ModelFolder, component: String = "", stem: String
    ) throws(Fault) -> any WeightFile & AnyObject {
        // An entry that is there but cannot be used is a fault, not a reason to look further.
        let names = WeightNames(of: stem, among: try folder.names(in: component))
        let shown = component.isEmpty ? folder.path : folder.path + "/" + component
        guard names.variants.count < 2 else {
            throw Fault(
                .usage,
                "the weights \"\(stem)\" are there in several variants: "
                    + names.variants.joined(separator: ", "), at: shown,
                hint: "keep one of them in the folder, or call it \(stem).safetensors")
        }
        guard names.ggufs.count < 2 else {
            throw Fault(
                .usage, "the folder holds several GGUF files: " + names.ggufs.prefix(8).joined(separator: ", "),
                at: shown, hint: "keep one of them in the folder, or name one, as with --transformer FILE")
        }
        // Beside the parts' folders, a GGUF file may be of any of them.
        guard let name = names.file ?? (component.isEmpty ? nil : names.ggufs.first) else {
            throw Fault(
                .cannotOpen,
                "the model has no weights \"\(stem)\" (.safetensors, .safetensors.index.json, .bin, .pt or .gguf)",
                at: shown,
                hint: "download the whole model, or check that this is its folder")
        }
        return try WeightFiles.open(folder, component: component, name: name)
    }

    /// Opens a file of weights of a component, or an index with its parts, by its name.
    ///
    /// Throws `.cannotOpen` or `.badData`.
    package static func open(
        _ folder: ModelFolder, component: String, name: String
    ) throws(Fault) -> any WeightFile & AnyObject {
        if WeightNames.isIndex(name) {
            return try ScaledWeights.over(try ShardedSafetensors(folder, component: component, index: name))
        }
        let prefix = component.isEmpty ? "" : component + "/"
        return try file(folder.file(prefix + name), shown: folder.shown(prefix + name))
    }

    /// Opens one file of weights by its path.
    ///
    /// Throws `.cannotOpen` or `.badData`.
    public static func open(path: String) throws(Fault) -> any WeightFile { try file(path, shown: path) }

    /// A torch archive if a file is a ZIP by its first bytes, or a pickle by them or by its name; else safetensors, whose
    /// first bytes are a length and may be those of a pickle.
    private static func file(_ path: String, shown: String) throws(Fault) -> any WeightFile & AnyObject {
        let file = try OpenFile(path: path, shown: shown)
        let start = try file.read(0..<min(4, file.byteCount))
        if start == GGUFFile.magic { return try GGUFFile(path: path, shown: shown) }
        let isArchive = start == [0x50, 0x4B, 0x03, 0x04]
        let isPickle = !shown.hasSuffix(".safetensors") && start.starts(with: [0x80, 0x02])
        if isArchive || isPickle || WeightNames.torchEndings.contains(where: shown.hasSuffix) {
            return try ScaledWeights.over(try TorchArchive(path: path, shown: shown))
        }
        return try ScaledWeights.over(try SafetensorsFile(path: path, shown: shown))
    }
}
