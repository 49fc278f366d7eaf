import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// A checkpoint as the original repository publishes it: torch files with its own names for the tensors, and the text
/// encoders in folders beside the model's (specification section 12).
struct HunyuanOriginal: Sendable {
    /// The folder that the model's folder and the text encoders' are in.
    let base: ModelFolder
    /// The model's folder.
    let name: String

    private static let states = "mp_rank_00_model_states"
    private static let states8 = states + "_fp8"

    /// The model in a folder, or around it; nil for one in another layout.
    ///
    /// Throws `.usage` when it holds several.
    init?(_ folder: ModelFolder) throws(Fault) {
        if try HunyuanOriginal.isModel(folder, "") {
            let parts = folder.root.split(separator: "/")
            base = try ModelFolder(path: "/" + parts.dropLast().joined(separator: "/"))
            name = String(parts.last ?? "")
            return
        }
        let names = try HunyuanOriginal.models(in: folder)
        guard let first = names.first else { return nil }
        guard names.count == 1 else {
            throw Fault(
                .usage, "the folder holds several models: " + names.joined(separator: ", "), at: folder.path,
                hint: "name one of them, as in --model \(folder.path)/\(first)")
        }
        (base, name) = (folder, first)
    }

    /// Whether there is at least one model of this layout.
    static func isThere(_ folder: ModelFolder) throws(Fault) -> Bool {
        if try isModel(folder, "") { return true }
        return try !models(in: folder).isEmpty
    }

    /// The names of the models of this layout in a folder.
    private static func models(in folder: ModelFolder) throws(Fault) -> [String] {
        var models: [String] = []
        for name in try folder.names() { if try isModel(folder, name + "/") { models.append(name) } }
        return models
    }

    private static func isModel(_ folder: ModelFolder, _ prefix: String) throws(Fault) -> Bool {
        let place = prefix + "transformers"
        let stems = stems(try folder.names(in: place))
        if stems.contains(states) || stems.contains(states8) { return true }
        for stem in stems {
            do {
                if HunyuanTransformerFile(try folder.weights(place, stem: stem)) != nil { return true }
            } catch { if error.isOfSystem { throw error } }
        }
        return false
    }

    /// The weights among the names in a folder of transformers, without their endings, sorted.
    private static func stems(_ names: [String]) -> [String] {
        let files = names.filter { WeightNames.isWeight($0) && !$0.contains("-of-") }
        return Set(files.map(WeightNames.stem)).filter { !$0.hasSuffix("_map") }.sorted()
    }

    /// Whether the checkpoint animates a picture, which only the folder's name tells.
    var takesPicture: Bool { name.lowercased().contains("i2v") }

    /// The folder of a part.
    func place(_ part: HunyuanCheckpoint.Part) -> String {
        switch part {
        case .transformer, .scheduler: name + "/transformers"
        case .vae: name + "/vae"
        case .text, .tokenizer, .processor, .vision: takesPicture ? "text_encoder_i2v" : "text_encoder"
        case .clip, .clipTokenizer: "text_encoder_2"
        }
    }

    /// The settings of a part that this layout has no file for; nil where it has one.
    ///
    /// Throws `.cannotOpen` for a text encoder that is not there, and as `HunyuanTransformerFile.settings` does.
    func settings(_ part: HunyuanCheckpoint.Part) throws(Fault) -> JSONObject? {
        switch part {
        case .transformer:
            let transformer = try file().transformer
            return try JSONObject(
                transformer.settings(takesPicture: takesPicture), file: transformer.file.path)
        case .scheduler: return try JSONObject(HunyuanSettingsTable.scheduler, file: base.path)
        case .text, .clip:
            if try base.names(in: place(part)).contains(part.settings) { return nil }
            throw Fault(
                .cannotOpen, "the model has no such file", at: base.path + "/" + place(part) + "/" + part.settings,
                hint: "the text encoders come from other repositories, and lie beside the model's folder")
        default: return nil
        }
    }

    // MARK: The transformer

    /// The name of the transformer's file: the authors', that with 8-bit weights where there is no other, or the only one.
    ///
    /// Throws `.usage` for several that are called otherwise.
    private var stem: String {
        get throws(Fault) {
            let folder = place(.transformer)
            let stems = HunyuanOriginal.stems(try base.names(in: folder))
            let usual = [HunyuanOriginal.states, HunyuanOriginal.states8].first(where: stems.contains)
            if let usual { return usual }
            guard stems.count < 2 else {
                throw Fault(
                    .usage, "the folder holds several transformers: " + stems.joined(separator: ", "),
                    at: base.path + "/" + folder, hint: "name one of them with --transformer FILE")
            }
            return stems.first ?? HunyuanOriginal.states
        }
    }

    private func file() throws(Fault) -> (transformer: HunyuanTransformerFile, isScaledApart: Bool) {
        let stem = try stem
        let weights = try base.weights(place(.transformer), stem: stem)
        // Files that other programs wrote are in 8 bits without scales, as they stand.
        let isScaledApart = stem == HunyuanOriginal.states8 && weights.path.hasSuffix(".pt")
        return (HunyuanTransformerFile(original: weights), isScaledApart)
    }

    /// The transformer's weights under the names that diffusers gives them.
    func transformer() throws(Fault) -> any WeightFile {
        let (file, isScaledApart) = try file()
        return try file.weights(scales: scales(of: file, isRequired: isScaledApart))
    }

    /// What 8-bit weights are multiplied by that have their scales in a file apart, by their names.
    ///
    /// Throws `.badData` that names a weight without a scale, or a scale that is none.
    private func scales(of file: HunyuanTransformerFile, isRequired: Bool) throws(Fault) -> [String: Float] {
        let narrow = file.narrow
        if narrow.isEmpty { return [:] }
        let stem = try stem + "_map"
        let names = WeightNames(of: stem, among: try base.names(in: place(.transformer)))
        if names.file == nil, !isRequired { return [:] }
        let map = try base.weights(place(.transformer), stem: stem)
        var scales: [String: Float] = [:]
        for (key, layer) in narrow {
            guard let layer, let shape = map.shape(of: layer) else {
                throw Fault(
                    .badData, "tensor \"\(key)\" is stored in 8 bits and \"\(layer ?? key)\" has no scale", at: map.path
                )
            }
            guard shape.allSatisfy({ $0 == 1 }), map.dtype(of: layer)?.isFloat == true,
                let scale = try map.tensor(layer).floats().first, scale.isFinite, scale > 0
            else {
                throw Fault(.badData, "the scale of \"\(layer)\" is not one number above 0", at: map.path)
            }
            scales[key] = scale
        }
        return scales
    }

    // MARK: The VAE

    /// The VAE's weights, whose names are those of diffusers within a dictionary, under a prefix, or neither.
    func vae() throws(Fault) -> any WeightFile {
        try HunyuanVAEFile(base.weights(place(.vae), stems: ["pytorch_model", "diffusion_pytorch_model"])).weights()
    }
}
