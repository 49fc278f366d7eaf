import RuyiFault
import RuyiTensor

/// A low-rank update of a matrix, `W + factor · up · down`.
///
/// Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
public struct LowRankUpdate: Sendable {
    /// `[rank, inputs]`, as stored.
    public let down: Tensor
    /// `[outputs, rank]`, as stored.
    public let up: Tensor
    /// Strength · alpha / rank.
    public let factor: Float
}

/// A file of low-rank updates in the layout of kohya's trainers.
///
/// Its keys are `LAYER.lora_down.weight`, `LAYER.lora_up.weight` and, if the scale is not one, `LAYER.alpha`, where
/// LAYER is `lora_unet_` or `lora_unet__` and the layer's path with `_` in place of its dots.
public struct LoRAFile: Sendable {
    /// The path of the file.
    public let path: String
    /// What a person should know, one line each.
    public let warnings: [String]
    private let file: any WeightFile
    private let layers: [String]

    private static let prefix = "lora_unet_"
    private static let elements = ["lora_down.weight", "lora_up.weight", "alpha"]

    /// Opens a file and checks its keys.
    ///
    /// Throws `.cannotOpen`, or `.badData` with the key that does not belong into such a file.
    public init(path: String) throws(Fault) {
        let file = try WeightFiles.open(path: path)
        var layers: [String] = []
        var known = Set<String>()
        var textKeys = 0
        for key in file.keys {
            let layer = String(key.prefix { $0 != "." })
            guard LoRAFile.elements.contains(String(key.dropFirst(layer.count + 1))) else {
                let form = "LAYER.lora_down.weight, LAYER.lora_up.weight or LAYER.alpha"
                throw Fault(
                    .badData, "\"\(key.prefix(120))\" is no key of a LoRA, expected \(form)", at: path,
                    hint: "name a LoRA in kohya's layout, as the model's own trainer writes it")
            }
            if layer.hasPrefix("lora_te") {
                textKeys += 1
            } else if known.insert(layer).inserted {
                layers.append(layer)
            }
        }
        guard !layers.isEmpty else {
            throw Fault(
                .badData, "the file has no LoRA of a transformer", at: path,
                hint: "the keys of its layers begin with \(LoRAFile.prefix)")
        }
        warnings =
            file.warnings + (textKeys == 0 ? [] : ["\(textKeys) keys of text encoders are not applicable (\(path))"])
        self.path = path
        self.file = file
        self.layers = layers
    }

    /// The bytes of all tensors as stored.
    public var byteCount: Int { file.byteCount }

    /// The updates for the weights of a checkpoint, each with the checkpoint's key, in the order of the file.
    ///
    /// Throws `.badData` with the key of a layer that the checkpoint does not have, that is no matrix there, or whose
    /// parts are missing, misshapen or not numbers.
    public func updates(of weights: any WeightFile, strength: Double) throws(Fault) -> [(String, LowRankUpdate)] {
        var targets: [String: String] = [:]
        for key in weights.keys where key.hasSuffix(".weight") {
            targets[String(key.dropLast(".weight".count).map { $0 == "." ? "_" : $0 })] = key
        }
        var updates: [(String, LowRankUpdate)] = []
        for layer in layers {
            let name = layer.hasPrefix(LoRAFile.prefix) ? layer.dropFirst(LoRAFile.prefix.count) : ""
            // Trainers that give their root an empty name write a second underscore.
            guard let target = targets[String(name)] ?? targets[String(name.dropFirst())] else {
                throw fault(layer, "the model has no such layer", hint: "the LoRA belongs to another model")
            }
            guard let shape = weights.shape(of: target), shape.count == 2 else {
                throw fault(layer, "\(target) is not the weight of a linear layer")
            }
            updates.append((target, try update(layer, outputs: shape[0], inputs: shape[1], strength)))
        }
        return updates
    }

    /// The update of one layer of the file.
    private func update(
        _ layer: String, outputs: Int, inputs: Int, _ strength: Double
    ) throws(Fault) -> LowRankUpdate {
        let down = try matrix("\(layer).lora_down.weight")
        let up = try matrix("\(layer).lora_up.weight")
        let rank = down.shape[0]
        guard down.shape == [rank, inputs], up.shape == [outputs, rank], rank > 0 else {
            throw fault(
                layer, "lora_up \(up.shape) and lora_down \(down.shape) do not make the weight [\(outputs), \(inputs)]"
            )
        }
        let alphaKey = "\(layer).alpha"
        guard let shape = file.shape(of: alphaKey) else {
            return LowRankUpdate(down: down, up: up, factor: Float(strength))
        }
        guard Extent.product(shape, times: 1) == 1, file.dtype(of: alphaKey) != nil,
            let alpha = try file.tensor(alphaKey).floats().first, alpha.isFinite
        else {
            throw fault(layer, "alpha is not one finite number")
        }
        return LowRankUpdate(down: down, up: up, factor: Float(strength * Double(alpha) / Double(rank)))
    }

    /// A tensor of two axes; one of a 1x1 convolution loses the other two.
    private func matrix(_ key: String) throws(Fault) -> Tensor {
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
    public func scale(of key: String) -> Float { base.scale(of: key) }
    /// The name that a tensor has in its file.
    public func storedName(of key: String) -> String { base.storedName(of: key) }
    /// A tensor without its updates.
    public func tensor(_ key: String) throws(Fault) -> Tensor { try base.tensor(key) }
    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try base.checkUnchanged() }
    /// Tells the system that the pages are not needed soon.
    public func release() { base.release() }
    /// Tells the system to read the pages ahead.
    public func willNeed() { base.willNeed() }
}
