import RuyiFault
import RuyiTensor

/// A low-rank update of a matrix, `W + factor · up · down`.
///
/// Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
public struct LowRankUpdate: Sendable {
    /// `[rank, inputs]`, as stored.
    public let down: HostTensor
    /// `[outputs, rank]`, as stored.
    public let up: HostTensor
    /// Strength · alpha / rank.
    public let factor: Float
}

/// What a layer of another naming is in a checkpoint: rows of its output, in their order there.
public struct LoRAPart: Sendable {
    /// The checkpoint's weight.
    public let key: String
    /// The rows of the layer's output that it makes.
    public let rows: [Range<Int>]

    /// Rows of a layer.
    public init(key: String, rows: [Range<Int>]) {
        self.key = key
        self.rows = rows
    }
}

/// A file of low-rank updates, in the layouts of kohya's trainers, of diffusers and PEFT, and of HunyuanVideo's authors.
///
/// | keys of a layer | scale |
/// | --- | --- |
/// | `lora_unet_PATH.lora_down.weight`, `.lora_up.weight`, dots of the path as `_` | `.alpha` / rank, or 1 |
/// | `transformer.PATH.lora_A.weight`, `.lora_B.weight`; also `diffusion_model.`, `base_model.model.`, or none | the same; without alpha, the metadata's `lora_alpha` |
/// | `Hunyuan_video_I2V_lora_PATH.lora_down.weight`, `.lora_up.weight` | 1 |
public struct LoRAFile: Sendable {
    /// The path of the file.
    public let path: String
    /// What a person should know, one line each.
    public let warnings: [String]
    package let file: any WeightFile
    private let layers: [Layer]
    /// The alpha of layers that do not say theirs, and whether it is divided by the root of the rank.
    private let standard: (alpha: Double?, isRooted: Bool)

    /// A layer by its keys.
    private struct Layer {
        /// As it stands in the file.
        let name: String
        let down: String
        let up: String
        /// The layer's path, with `_` in place of its dots.
        var path: String
        /// Whether a scale beside the matrices counts.
        var hasAlpha = true

        init(name: String, style: (down: String, up: String)) {
            self.name = name
            (down, up) = ("\(name).\(style.down)", "\(name).\(style.up)")
            var rest = Substring(name)
            for prefix in LoRAFile.prefixes where rest.hasPrefix(prefix) { rest = rest.dropFirst(prefix.count) }
            if rest.hasPrefix(LoRAFile.unscaledPrefix) {
                rest = rest.dropFirst(LoRAFile.unscaledPrefix.count)
                hasAlpha = false
            }
            path = String(rest.map { $0 == "." ? "_" : $0 })
        }
    }

    private static let prefixes = ["base_model.model.", "transformer.", "diffusion_model.", "lora_unet_"]
    /// The authors' own program leaves these files' alpha out of account.
    private static let unscaledPrefix = "Hunyuan_video_I2V_lora_"
    private static let styles = [
        (down: "lora_down.weight", up: "lora_up.weight"), (down: "lora_A.weight", up: "lora_B.weight"),
        (down: "lora_A.default.weight", up: "lora_B.default.weight"),
    ]
    /// What layers of text encoders begin with.
    private static let textPrefixes = ["lora_te", "text_encoder."]
    /// What diffusers keeps its settings under.
    private static let metadataKey = "lora_adapter_metadata"

    /// Opens a file and checks its keys.
    ///
    /// Throws `.cannotOpen`, or `.badData` with the key that does not belong into such a file.
    public init(path: String) throws(Fault) {
        let file = try WeightFiles.open(path: path)
        var layers: [Layer] = []
        var known = Set<String>()
        var textKeys = 0
        for key in file.keys {
            let style = LoRAFile.styles.first { key.hasSuffix("." + $0.down) || key.hasSuffix("." + $0.up) }
            let ends = style.map { ["." + $0.down, "." + $0.up] } ?? [".alpha"]
            guard let end = ends.first(where: { key.hasSuffix($0) && key.utf8.count > $0.utf8.count }) else {
                let form = "LAYER.lora_down.weight and LAYER.lora_up.weight, or LAYER.lora_A.weight and .lora_B.weight"
                throw Fault(
                    .badData, "\"\(key.prefix(120))\" is no key of a LoRA, expected \(form)", at: path,
                    hint: "name a LoRA in the layout of kohya's trainers or of diffusers")
            }
            let name = String(key.dropLast(end.count))
            if LoRAFile.textPrefixes.contains(where: { name.hasPrefix($0) }) {
                textKeys += 1
            } else if let style, known.insert(name).inserted {
                layers.append(Layer(name: name, style: style))
            }
        }
        guard !layers.isEmpty else {
            throw Fault(
                .badData, "the file has no LoRA of a transformer", at: path,
                hint: "the keys of its layers begin with lora_unet_ or transformer.")
        }
        warnings =
            file.warnings + (textKeys == 0 ? [] : ["\(textKeys) keys of text encoders are not applicable (\(path))"])
        standard = try LoRAFile.standard(of: file)
        self.path = path
        self.file = file
        self.layers = layers
    }

    /// The scale that a file's metadata says.
    private static func standard(of file: any WeightFile) throws(Fault) -> (alpha: Double?, isRooted: Bool) {
        let metadata = (file as? SafetensorsFile)?.header.metadata ?? []
        guard let text = metadata.first(where: { $0.key == metadataKey })?.value.string else { return (nil, false) }
        let json = try JSON.parse(Array(text.utf8), file: file.path)
        func value(_ name: String) -> JSON? { json["transformer." + name] ?? json[name] }
        guard value("alpha_pattern")?.members?.isEmpty != false, value("use_dora")?.bool != true else {
            throw Fault(
                .badData, "the LoRA has an alpha for each layer apart or magnitudes (DoRA) in its metadata",
                at: file.path,
                hint: "merge it, or save it with one lora_alpha")
        }
        let alpha = value("lora_alpha")?.double
        if let alpha, !alpha.isFinite { throw Fault(.badData, "the metadata's lora_alpha is \(alpha)", at: file.path) }
        return (alpha, value("use_rslora")?.bool == true)
    }

    /// The bytes of all tensors as stored.
    public var byteCount: Int { file.byteCount }

    /// The updates for the weights of a checkpoint, each with the checkpoint's key, in the order of the file.
    ///
    /// `renamed` are layers that LoRA files know by other paths, `_` in place of their dots, than the checkpoint.
    /// Throws `.badData` with the key of a layer that the checkpoint does not have, that is no matrix there, or whose
    /// parts are missing, misshapen or not numbers.
    public func updates(
        of weights: any WeightFile, strength: Double, renamed: [String: [LoRAPart]] = [:]
    ) throws(Fault) -> [(String, LowRankUpdate)] {
        var targets: [String: String] = [:]
        for key in weights.keys where key.hasSuffix(".weight") {
            targets[String(key.dropLast(".weight".count).map { $0 == "." ? "_" : $0 })] = key
        }
        var updates: [(String, LowRankUpdate)] = []
        for layer in layers {
            if let parts = renamed[layer.path], let first = parts.first {
                let outputs = parts.flatMap(\.rows).map(\.upperBound).max() ?? 0
                let inputs = weights.shape(of: first.key)?.last ?? 0
                let whole = try update(layer, outputs: outputs, inputs: inputs, strength)
                for part in parts {
                    let up = LoRAFile.rows(part.rows, of: whole.up)
                    updates.append((part.key, LowRankUpdate(down: whole.down, up: up, factor: whole.factor)))
                }
                continue
            }
            // Trainers that give their root an empty name write a second underscore.
            guard let target = targets[layer.path] ?? targets[String(layer.path.dropFirst())] else {
                throw fault(layer.name, "the model has no such layer", hint: "the LoRA belongs to another model")
            }
            guard let shape = weights.shape(of: target), shape.count == 2 else {
                throw fault(layer.name, "\(target) is not the weight of a linear layer")
            }
            updates.append((target, try update(layer, outputs: shape[0], inputs: shape[1], strength)))
        }
        return updates
    }

    /// Rows of a matrix: a view of it where they lie together, otherwise a copy of the few numbers.
    private static func rows(_ ranges: [Range<Int>], of matrix: HostTensor) -> HostTensor {
        if ranges.count == 1 { return matrix.sliced(0, ranges[0]) }
        let values = ranges.flatMap { matrix.sliced(0, $0).floats() }
        return HostTensor(values, [values.count / matrix.shape[1], matrix.shape[1]])
    }

    /// The update of one layer of the file.
    private func update(
        _ layer: Layer, outputs: Int, inputs: Int, _ strength: Double
    ) throws(Fault) -> LowRankUpdate {
        let down = try matrix(layer.down)
        let up = try matrix(layer.up)
        let rank = down.shape[0]
        guard down.shape == [rank, inputs], up.shape == [outputs, rank], rank > 0 else {
            throw fault(
                layer.name,
                "lora_up \(up.shape) and lora_down \(down.shape) do not make the weight [\(outputs), \(inputs)]")
        }
        let scale = try alpha(layer).map { $0 / (standard.isRooted ? Double(rank).squareRoot() : Double(rank)) } ?? 1
        return LowRankUpdate(down: down, up: up, factor: Float(strength * scale))
    }

    /// What a layer's update is multiplied by, times its rank; nil for one that has been scaled.
    private func alpha(_ layer: Layer) throws(Fault) -> Double? {
        guard layer.hasAlpha else { return nil }
        let key = "\(layer.name).alpha"
        guard let shape = file.shape(of: key) else { return standard.alpha }
        guard Extent.product(shape, times: 1) == 1, file.dtype(of: key) != nil,
            let alpha = try file.tensor(key).floats().first, alpha.isFinite
        else {
            throw fault(layer.name, "alpha is not one finite number")
        }
        return Double(alpha)
    }

    /// A tensor of two axes; one of a 1x1 convolution loses the other two.
    private func matrix(_ key: String) throws(Fault) -> HostTensor {
        guard let shape = file.shape(of: key) else {
            throw Fault(.badData, "\"\(key)\" is missing", at: path, hint: "the file is incomplete; download it again")
        }
        guard shape.count == 2 || shape.count == 4 && shape[2...] == [1, 1] else {
            throw Fault(.badData, "\"\(key)\" is \(shape), expected two axes", at: path)
        }
        let tensor = try file.tensor(key)
        guard tensor.dtype.isFloat else {
            throw Fault(.badData, "\"\(key)\" is \(tensor.dtype.rawValue), expected floating-point numbers", at: path)
        }
        return shape.count == 2 ? tensor : tensor.selected(3, 0).selected(2, 0)
    }

    private func fault(_ layer: String, _ what: String, hint: String? = nil) -> Fault {
        Fault(.badData, "\"\(layer.prefix(120))\": \(what)", at: path, hint: hint)
    }
}

/// Weights with low-rank updates, which layers add to them when they compute.
public struct AdaptedWeights: WeightFile {
    private let base: any WeightFile
    private let updates: [String: [LowRankUpdate]]

    /// Takes updates with the keys of the weights that they change; those of one weight are added in order.
    public init(_ base: any WeightFile, _ updates: [(String, LowRankUpdate)]) {
        self.base = base
        self.updates = Dictionary(grouping: updates, by: \.0).mapValues { $0.map(\.1) }
    }

    /// The updates of a weight.
    public func updates(of key: String) -> [LowRankUpdate] { updates[key] ?? [] }

    /// The path of the weights.
    public var path: String { base.path }
    /// The names of the tensors in the order of the file.
    public var keys: [String] { base.keys }
    /// The bytes of all tensors as stored.
    public var byteCount: Int { base.byteCount }
    /// What a person should know, one line each.
    public var warnings: [String] { base.warnings }
    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { base.shape(of: key) }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { base.dtype(of: key) }
    /// The file that holds a tensor.
    public func path(of key: String) -> String { base.path(of: key) }
    /// What the numbers of a tensor are multiplied by to give the weight.
    public func scale(of key: String) -> WeightScale { base.scale(of: key) }
    /// The name that a tensor has in its file.
    public func storedName(of key: String) -> String { base.storedName(of: key) }
    /// A tensor without its updates.
    public func tensor(_ key: String) throws(Fault) -> HostTensor { try base.tensor(key) }
    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try base.checkUnchanged() }
}
