import RuyiFault

/// What PEFT says beside the tensors of a LoRA file about the scale of its layers.
struct LoRAScale: Sendable {
    /// The alpha of layers that do not say theirs.
    private let alpha: Double?
    /// The rank that products of whole matrices are scaled by, which have none of their own.
    private let rank: Int?
    /// Alphas of layers whose path is, or ends with, one of these names.
    private let patterns: [(name: String, alpha: Double)]
    /// Whether alpha is divided by the root of the rank (Kalajdzievski 2023, "rsLoRA").
    private let isRooted: Bool
    /// Whether every layer has learned lengths.
    let hasLengths: Bool

    /// Reads the file's metadata as diffusers writes it, else the `adapter_config.json` that PEFT writes beside an
    /// `adapter_model` file; without either there is no alpha but that of each layer.
    ///
    /// Throws `.badData` for an alpha that is no finite number or stands for layers by an expression.
    init(_ file: any WeightFile) throws(Fault) {
        let (json, place) = try LoRAScale.settings(of: file)
        func value(_ name: String) -> JSON? { json["transformer." + name] ?? json[name] }
        func finite(_ value: JSON, _ name: String) throws(Fault) -> Double {
            guard let alpha = value.double else { throw Fault(.badData, "\(name) is not a finite number", at: place) }
            return alpha
        }
        // LoHa and LoKr have shorter names.
        let standard = value("lora_alpha") ?? value("alpha") ?? .null
        alpha = standard == .null ? nil : try finite(standard, "the alpha of the settings")
        rank = value("r")?.int.flatMap { $0 > 0 ? $0 : nil }
        var patterns: [(name: String, alpha: Double)] = []
        for member in value("alpha_pattern")?.members ?? [] {
            let name = LoRAScale.plain(member.key)
            guard !name.contains(where: LoRAScale.signs.contains) else {
                throw Fault(
                    .badData, "\"\(member.key.prefix(80))\" in alpha_pattern is an expression, expected a layer's name",
                    at: place, hint: "write the names of the layers out, or merge the LoRA into its model")
            }
            patterns.append((name, try finite(member.value, "the alpha of \"\(member.key.prefix(80))\"")))
        }
        self.patterns = patterns
        isRooted = value("use_rslora")?.bool == true
        hasLengths = value("use_dora")?.bool == true
    }

    /// What a product of this rank is multiplied by; `own` is the alpha that stands beside it.
    ///
    /// A Kronecker product of whole matrices has no rank, and is scaled by PEFT alone.
    func factor(_ layer: LoRALayer, own: Double?, rank: Int?) -> Double {
        guard let rank = (rank ?? (own == nil ? self.rank : nil)).map(Double.init) else { return 1 }
        return (own ?? alpha(of: layer)).map { $0 / (isRooted ? rank.squareRoot() : rank) } ?? 1
    }

    private func alpha(of layer: LoRALayer) -> Double? {
        guard layer.usesAlpha else { return nil }
        let path = String(layer.path)
        return patterns.first { name, _ in
            name.hasPrefix("^") ? path == name.dropFirst() : path == name || path.hasSuffix("." + name)
        }?.alpha ?? alpha
    }

    private static func settings(of file: any WeightFile) throws(Fault) -> (JSON, place: String) {
        let metadata = (file as? SafetensorsFile)?.header.metadata ?? []
        if let text = metadata.first(where: { $0.key == metadataKey })?.value.string {
            return (try JSON.parse(Array(text.utf8), file: file.path), file.path)
        }
        let parts = file.path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.last?.hasPrefix("adapter_model.") == true else { return (.null, file.path) }
        let path = (parts.dropLast() + ["adapter_config.json"]).joined(separator: "/")
        do {
            return (try JSON.parse(try FileBytes.read(path, limit: 1 << 20), file: path), path)
        } catch {
            if error.kind == .cannotOpen { return (.null, file.path) }
            throw error
        }
    }

    /// The name that an expression stands for, where it is one with its dots escaped or its end marked.
    private static func plain(_ pattern: String) -> String {
        let name = pattern.split(separator: "\\.", omittingEmptySubsequences: false).joined(separator: ".")
        return name.hasSuffix("$") ? String(name.dropLast()) : name
    }

    /// What diffusers keeps its settings under.
    private static let metadataKey = "lora_adapter_metadata"
    /// What only expressions have, but for a mark at the beginning.
    private static let signs: Set<Character> = ["*", "+", "?", "(", ")", "[", "]", "{", "}", "|", "\\", "$"]
}
