import RuyiFault

/// Finds and opens weights.
public enum WeightFiles {
    /// Opens the weights of a component of a model: `STEM.safetensors`, else `STEM.safetensors.index.json` with its
    /// parts, else `STEM.bin` or `STEM.pt`, else the one GGUF file in the component's folder, whatever its name.
    ///
    /// - Parameters:
    ///   - folder: the model.
    ///   - component: the folder inside it, such as `transformer`; `""` for the model folder itself.
    ///   - stem: the name without ending, such as `diffusion_pytorch_model`.
    /// - Throws: `.cannotOpen` with what was expected when there is none, `.badData` when they are not what they say.
    public static func open(
        _ folder: ModelFolder, component: String = "", stem: String
    ) throws(Fault) -> any WeightFile & AnyObject {
        let prefix = component.isEmpty ? stem : component + "/" + stem
        // An entry that is there but cannot be used is a fault, not a reason to look further.
        let present = Set(try folder.names(in: component))
        if present.contains(stem + ".safetensors") {
            return try SafetensorsFile(
                path: try folder.file(prefix + ".safetensors"), shown: folder.path + "/" + prefix + ".safetensors")
        }
        if present.contains(stem + ".safetensors.index.json") {
            return try ShardedSafetensors(folder, component: component, index: stem + ".safetensors.index.json")
        }
        for ending in [".bin", ".pt"] where present.contains(stem + ending) {
            return try TorchArchive(
                path: try folder.file(prefix + ending), shown: folder.path + "/" + prefix + ending)
        }
        if let file = try gguf(folder, component: component, among: present) { return file }
        throw Fault(
            .cannotOpen,
            "the model has no weights \"\(stem)\" (.safetensors, .safetensors.index.json, .bin or .pt) and no GGUF file",
            at: component.isEmpty ? folder.path : folder.path + "/" + component,
            hint: "download the whole model, or check that this is its folder")
    }

    /// The one GGUF file of a component's folder; nil where there is none.
    ///
    /// Throws `.usage` for several.
    private static func gguf(
        _ folder: ModelFolder, component: String, among names: Set<String>
    ) throws(Fault) -> GGUFFile? {
        let found = names.filter { $0.hasSuffix(".gguf") && !$0.hasPrefix(".") }.sorted()
        // Beside the other folders, a file may be of any of them.
        guard let name = found.first, !component.isEmpty else { return nil }
        guard found.count == 1 else {
            throw Fault(
                .usage, "the folder holds several GGUF files: " + found.prefix(8).joined(separator: ", "),
                at: folder.path + "/" + component, hint: "keep one of them in the folder")
        }
        let shown = component + "/" + name
        return try GGUFFile(path: try folder.file(shown), shown: folder.path + "/" + shown)
    }

    /// Opens one file of weights by its path: a GGUF file, or a torch archive if it is a ZIP or a pickle, by its first
    /// bytes, else safetensors.
    ///
    /// Throws `.cannotOpen` or `.badData`.
    public static func open(path: String) throws(Fault) -> any WeightFile {
        let file = try OpenFile(path: path)
        let start = try file.read(0..<min(4, file.byteCount))
        if start == GGUFFile.magic { return try GGUFFile(path: path) }
        let isTorch = start.starts(with: [0x50, 0x4B]) || start.starts(with: [0x80, 0x02])
        let hasTorchName = path.hasSuffix(".pt") || path.hasSuffix(".bin") || path.hasSuffix(".pth")
        return isTorch || hasTorchName ? try TorchArchive(path: path) : try SafetensorsFile(path: path)
    }
}
