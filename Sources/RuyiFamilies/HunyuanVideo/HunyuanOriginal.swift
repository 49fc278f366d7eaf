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
        if HunyuanOriginal.isModel(folder, "") {
            let parts = folder.root.split(separator: "/")
            base = try ModelFolder(path: "/" + parts.dropLast().joined(separator: "/"))
            name = String(parts.last ?? "")
            return
        }
        let names = folder.names().filter { HunyuanOriginal.isModel(folder, $0 + "/") }
        guard let first = names.first else { return nil }
        guard names.count == 1 else {
            throw Fault(
                .usage, "the folder holds several models: " + names.joined(separator: ", "), at: folder.path,
                hint: "name one of them, as in --model \(folder.path)/\(first)")
        }
        (base, name) = (folder, first)
    }

    /// Whether there is at least one model of this layout.
    static func isThere(_ folder: ModelFolder) -> Bool {
        isModel(folder, "") || folder.names().contains { isModel(folder, $0 + "/") }
    }

    private static func isModel(_ folder: ModelFolder, _ prefix: String) -> Bool {
        let names = folder.names(in: prefix + "transformers")
        return names.contains(states + ".pt") || names.contains(states8 + ".pt")
    }

    /// Whether the checkpoint animates a picture, which only the folder's name tells.
    var takesPicture: Bool { name.lowercased().contains("i2v") }

    /// The folder of a part.
    func place(_ part: HunyuanCheckpoint.Part) -> String {
        switch part {
        case .transformer, .scheduler: name + "/transformers"
        case .vae: name + "/vae"
        case .text, .tokenizer, .processor: takesPicture ? "text_encoder_i2v" : "text_encoder"
        case .clip, .clipTokenizer: "text_encoder_2"
        }
    }

    /// The settings of a part that this layout has no file for; nil where it has one.
    ///
    /// Throws `.cannotOpen` for a text encoder that is not there, and as `transformerSettings` does.
    func settings(_ part: HunyuanCheckpoint.Part) throws(Fault) -> JSONObject? {
        switch part {
        case .transformer: return try JSONObject(transformerSettings(), file: statesPath)
        case .scheduler: return try JSONObject(HunyuanOriginal.schedulerSettings, file: statesPath)
        case .text, .clip:
            if base.names(in: place(part)).contains(part.settings) { return nil }
            throw Fault(
                .cannotOpen, "the model has no such file", at: base.path + "/" + place(part) + "/" + part.settings,
                hint: "the text encoders come from other repositories, and lie beside the model's folder")
        default: return nil
        }
    }

    // MARK: The transformer

    /// The file of the transformer: with 8-bit weights where there is no other.
    private var stem: String {
        let stem = HunyuanOriginal.states
        return base.names(in: place(.transformer)).contains(stem + ".pt") ? stem : HunyuanOriginal.states8
    }

    /// The path of that file, for messages.
    private var statesPath: String { base.path + "/" + place(.transformer) + "/" + stem + ".pt" }

    private func archive() throws(Fault) -> any WeightFile { try base.weights(place(.transformer), stem: stem) }

    /// The place of the state dictionary in the file.
    private static func prefix(_ file: any WeightFile) -> String {
        ["module.", "ema."].first { prefix in file.keys.contains { $0.hasPrefix(prefix) } } ?? ""
    }

    /// The transformer's weights under the names that diffusers gives them.
    func transformer() throws(Fault) -> any WeightFile {
        let file = try archive()
        let prefix = HunyuanOriginal.prefix(file)
        let shapes = HunyuanOriginalShapes(file, prefix)
        let scales = try scales(of: file, prefix)
        let list = HunyuanTensorTable.places(
            width: try shapes[0, of: "img_in.proj.weight", rank: 5],
            inner: try shapes[0, of: "double_blocks.0.img_mlp.fc1.weight", rank: 2],
            dual: try shapes.count("double_blocks"),
            single: try shapes.count("single_blocks"), refiner: try shapes.count(HunyuanTensorTable.refiner),
            hasGuidance: shapes.has("guidance_in.mlp.0.weight")
        ).map { entry in
            let stored = prefix + entry.stored
            return (
                key: entry.key,
                place: RenamedWeights.Place(stored, entry.part, scale: scales[stored] ?? 1)
            )
        }
        return try RenamedWeights(file, list) { !$0.hasPrefix(prefix) }
    }

    /// What 8-bit weights are multiplied by, by their names in the file.
    ///
    /// Throws `.badData` that names a weight without a scale, or a scale that is none.
    private func scales(of file: any WeightFile, _ prefix: String) throws(Fault) -> [String: Float] {
        let keys = file.keys.filter { $0.hasPrefix(prefix) && [.f8e4m3, .f8e5m2].contains(file.dtype(of: $0)) }
        if keys.isEmpty { return [:] }
        let map = try base.weights(place(.transformer), stem: stem + "_map")
        var scales: [String: Float] = [:]
        for key in keys {
            let layer = String(key.dropFirst(prefix.count).dropLast(".weight".count))
            guard key.hasSuffix(".weight"), let shape = map.shape(of: layer) else {
                throw Fault(
                    .badData, "tensor \"\(key)\" is stored in 8 bits and \"\(layer)\" has no scale", at: map.path)
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

    /// The transformer's settings as diffusers writes them, told from the tensors.
    ///
    /// Throws `.badData` that names a tensor which does not tell what it should.
    private func transformerSettings() throws(Fault) -> JSON {
        let file = try archive()
        let shapes = HunyuanOriginalShapes(file, HunyuanOriginal.prefix(file))
        let width = try shapes[0, of: "img_in.proj.weight", rank: 5]
        let input = try shapes[1, of: "img_in.proj.weight", rank: 5]
        let head = try shapes[0, of: "double_blocks.0.img_attn_q_norm.weight", rank: 1]
        let inner = try shapes[0, of: "double_blocks.0.img_mlp.fc1.weight", rank: 2]
        let output = try shapes[0, of: "final_layer.linear.weight", rank: 2] / (patch * patch)
        let conditioning: HunyuanConditioning? =
            input > output ? .latentConcat : takesPicture ? .tokenReplace : nil
        // Rows and columns have 7/16 of a head each, in pairs, and frames the rest.
        let axis = head * 7 / 32 * 2
        return .object([
            .init("_class_name", "HunyuanVideoTransformer3DModel"), .init("in_channels", .int(input)),
            .init("out_channels", .int(output)), .init("num_attention_heads", .int(width / head)),
            .init("attention_head_dim", .int(head)), .init("num_layers", .int(try shapes.count("double_blocks"))),
            .init("num_single_layers", .int(try shapes.count("single_blocks"))),
            .init("num_refiner_layers", .int(try shapes.count(HunyuanTensorTable.refiner))),
            .init("mlp_ratio", .double(Double(inner) / Double(width))), .init("patch_size", .int(patch)),
            .init("patch_size_t", .int(1)), .init("qk_norm", "rms_norm"),
            .init("guidance_embeds", .bool(shapes.has("guidance_in.mlp.0.weight"))),
            .init("text_embed_dim", .int(try shapes[1, of: "txt_in.input_embedder.weight", rank: 2])),
            .init("pooled_projection_dim", .int(try shapes[1, of: "vector_in.in_layer.weight", rank: 2])),
            .init("rope_theta", .double(256)),
            .init("rope_axes_dim", .array([.int(head - 2 * axis), .int(axis), .int(axis)])),
            .init("image_condition_type", conditioning.map { .string($0.rawValue) } ?? .null),
        ])
    }

    private var patch: Int { HunyuanTransformerConfiguration.patch }

    /// The scheduler's settings, which this layout has none of.
    private static let schedulerSettings: JSON = .object([
        .init("_class_name", "FlowMatchEulerDiscreteScheduler"), .init("num_train_timesteps", .int(1000)),
        .init("shift", .double(7)), .init("use_dynamic_shifting", .bool(false)),
    ])

    // MARK: The VAE

    /// The VAE's weights, whose names are those of diffusers within a dictionary, under a prefix, or neither.
    func vae() throws(Fault) -> any WeightFile {
        let file = try base.weights(place(.vae), stem: "pytorch_model")
        var prefix = ""
        for part in ["state_dict.", "vae."] where file.keys.contains(where: { $0.hasPrefix(prefix + part) }) {
            prefix += part
        }
        let list = file.keys.filter { $0.hasPrefix(prefix) }.map {
            (key: String($0.dropFirst(prefix.count)), place: RenamedWeights.Place($0))
        }
        return try RenamedWeights(file, list) { _ in true }
    }
}

/// The shapes that tell a transformer's sizes.
private struct HunyuanOriginalShapes {
    private let file: any WeightFile
    private let prefix: String

    init(_ file: any WeightFile, _ prefix: String) {
        self.file = file
        self.prefix = prefix
    }

    func has(_ name: String) -> Bool { file.shape(of: prefix + name) != nil }

    /// The length of an axis of a tensor, which must have so many.
    subscript(axis: Int, of name: String, rank rank: Int) -> Int {
        get throws(Fault) {
            guard let shape = file.shape(of: prefix + name) else {
                throw Fault(
                    .badData, "tensor \"\(prefix + name)\" is missing", at: file.path,
                    hint: "the file is incomplete, or belongs to another model")
            }
            // What is empty may have any length along its other axes.
            guard shape.count == rank, shape.allSatisfy({ $0 > 0 }) else {
                throw Fault(
                    .badData, "tensor \"\(prefix + name)\" is \(shape), expected \(rank) axes above 0", at: file.path)
            }
            return shape[axis]
        }
    }

    /// The number of blocks in a numbered list: one more than the largest number.
    func count(_ list: String) throws(Fault) -> Int {
        let start = prefix + list + "."
        let numbers = file.keys.compactMap { key in
            key.hasPrefix(start) ? Int(key.dropFirst(start.count).prefix { $0 != "." }) : nil
        }
        guard let last = numbers.max(), (0..<4096).contains(last) else {
            throw Fault(.badData, "there are no tensors \"\(start)0...\"", at: file.path)
        }
        return last + 1
    }
}
