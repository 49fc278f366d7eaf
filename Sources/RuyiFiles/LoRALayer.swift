/// A layer of a LoRA file by the keys of its tensors.
struct LoRALayer: Sendable {
    /// As it stands in the file.
    let name: String
    private var keys: [LoRAKey.Role: (key: String, ending: String)] = [:]

    init(_ name: String) { self.name = name }

    /// Notes a tensor.
    mutating func add(_ key: String, _ part: LoRAKey) { keys[part.role] = (key, part.ending) }

    /// Whether there is a tensor of this role.
    func has(_ role: LoRAKey.Role) -> Bool { keys[role] != nil }

    /// The key of a tensor, or the one that it should have.
    func key(_ role: LoRAKey.Role) -> String {
        if let key = keys[role]?.key { return key }
        let beside = keys[.down] ?? keys[.up]
        return name + LoRAKey.ending(of: role, beside: beside?.ending)
    }

    /// What kind of update it is.
    var kind: String {
        if isLowRank { return has(.lengths) ? "DoRA" : "LoRA" }
        if isHadamard || isKronecker { return (isHadamard ? "LoHa" : "LoKr") + (has(.lengths) ? " with DoRA" : "") }
        return "difference"
    }

    /// Whether it has tensors of a low-rank product.
    var isLowRank: Bool { has(.down) || has(.up) }
    /// Whether it has tensors of LoHa.
    var isHadamard: Bool { has(.hada1a) || has(.hada1b) || has(.hada2a) || has(.hada2b) }
    /// Whether it has tensors of LoKr.
    var isKronecker: Bool {
        has(.lokr1) || has(.lokr1a) || has(.lokr1b) || has(.lokr2) || has(.lokr2a) || has(.lokr2b)
    }
    /// Whether there is anything to apply.
    var isEmpty: Bool { !isLowRank && !isHadamard && !isKronecker && !has(.difference) && !has(.biasDifference) }

    // MARK: Names

    /// Whether alpha beside the matrices counts: the authors' own program leaves it out of account.
    var usesAlpha: Bool { !LoRALayer.unprefixed(name).hasPrefix(LoRALayer.authorsPrefix) }

    /// The layer's path in its model, with dots where the file has them.
    var path: Substring {
        let rest = LoRALayer.unprefixed(name)
        return usesAlpha ? rest : rest.dropFirst(LoRALayer.authorsPrefix.count)
    }

    /// What the layer may be called with `_` in place of dots, the likeliest first.
    var paths: [String] {
        let flat = String(path.map { $0 == "." ? "_" : $0 })
        // Trainers that give their root an empty name write a second underscore.
        return flat.hasPrefix("_") ? [flat, String(flat.dropFirst())] : [flat]
    }

    private static func unprefixed(_ name: String) -> Substring {
        var rest = Substring(name)
        for prefix in prefixes where rest.hasPrefix(prefix) { rest = rest.dropFirst(prefix.count) }
        return rest
    }

    /// Of PEFT, of single-file checkpoints, of ComfyUI, diffusers, kohya's trainers, OneTrainer and LyCORIS.
    private static let prefixes = [
        "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "lora_unet_",
        "lora_transformer_", "lycoris_",
    ]
    private static let authorsPrefix = "Hunyuan_video_I2V_lora_"
}
