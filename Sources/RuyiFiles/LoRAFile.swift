import RuyiFault
import RuyiTensor

/// A file of changes to a transformer's layers, in the layouts of kohya's trainers, of diffusers and PEFT, of ComfyUI,
/// OneTrainer and LyCORIS, and of HunyuanVideo's authors.
///
/// With a layer's weight W `[outputs, inputs]`, its bias b and the strength s:
///
/// | tensors of a layer | result |
/// | --- | --- |
/// | `lora_down`, `lora_up`; `lora_A`, `lora_B` | `W + s · alpha / rank · up · down` (Hu et al. 2021, "LoRA") |
/// | `lora_B.bias` | `b + s · alpha / rank · x` |
/// | `hada_w1_a`, `hada_w1_b`, `hada_w2_a`, `hada_w2_b` | `W + s · alpha / rank · (w1a · w1b) ∘ (w2a · w2b)`, LoHa |
/// | `lokr_w1`, `lokr_w2`, or each as `_a` and `_b` | `W + s · alpha / rank · w1 ⊗ w2`, LoKr; both whole: without scale |
/// | `dora_scale`, `lora_magnitude_vector` beside any of these | `W + s · (m · V / ‖V‖ − W)` with V as above for s = 1, DoRA |
/// | `diff`, `w_norm`; `diff_b`, `b_norm` | `W + s · x`; `b + s · x` |
///
/// alpha is the tensor of that name, else the one of PEFT's settings, which count for LoKr too; without either, alpha /
/// rank is 1. A layer's path
/// may have `_` in place of its dots and the prefix of any of these programs.
public struct LoRAFile: Sendable {
    /// The path of the file.
    public let path: String
    /// What a person should know, one line each.
    public let warnings: [String]
    package let file: any WeightFile
    private let content: LoRAContent
    private let reader: LoRAReader

    /// Opens a file and checks its keys.
    ///
    /// Throws `.cannotOpen`, or `.badData` for a file without a layer that can be applied, or with layers of a kind that
    /// is not applied.
    public init(path: String) throws(Fault) {
        let file = try WeightFiles.open(path: path)
        let content = LoRAContent(file.keys)
        if let (key, kind) = content.otherKind {
            throw Fault(
                .badData, "\"\(key.prefix(120))\" is of \(kind), which is not applied", at: path,
                hint: "expected LoRA, DoRA, LoHa, LoKr or differences of weights; merge the file into its model")
        }
        guard !content.layers.isEmpty else {
            if let key = content.strays.first {
                let form = "LAYER.lora_down.weight and LAYER.lora_up.weight, or LAYER.lora_A.weight and .lora_B.weight"
                throw Fault(
                    .badData, "\"\(key.prefix(120))\" is no key of a LoRA, expected \(form)", at: path,
                    hint: "name a LoRA in the layout of kohya's trainers, of diffusers or of ComfyUI")
            }
            throw Fault(
                .badData, "the file has no LoRA of a transformer", at: path,
                hint: "the keys of its layers begin with lora_unet_, transformer. or diffusion_model.")
        }
        let texts = content.textKeys
        warnings = file.warnings + (texts == 0 ? [] : ["\(texts) keys of text encoders are not applicable (\(path))"])
        reader = LoRAReader(file: file, scale: try LoRAScale(file))
        self.path = path
        self.file = file
        self.content = content
    }

    /// The bytes of all tensors as stored.
    public var byteCount: Int { file.byteCount }

    /// The kinds of update in a file of weights, with the number of layers of each; none for weights that are no LoRA.
    public static func kinds(in file: any WeightFile) -> [(kind: String, layers: Int)] {
        let kinds = Dictionary(grouping: LoRAContent(file.keys).layers, by: \.kind).mapValues(\.count)
        return kinds.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// What the file changes about a checkpoint's weights, in the order of the file, and what a person should know of it.
    ///
    /// Layers that the checkpoint does not have are left out with a warning as long as at least half of the file's layers
    /// are there.
    ///
    /// - Parameters:
    ///   - strength: what changes are multiplied by.
    ///   - renamed: layers that LoRA files know by other paths, `_` in place of their dots, than the checkpoint.
    ///   - isStrict: whether a layer that the checkpoint does not have is a fault.
    /// - Throws: `.badData` with the name of a layer that the checkpoint does not have, if that is one, or whose parts are
    ///   missing, misshapen or not numbers.
    public func changes(
        of weights: any WeightFile, strength: Double, renamed: [String: [LoRAPart]] = [:], isStrict: Bool = false
    ) throws(Fault) -> (changes: WeightChanges, warnings: [String]) {
        let targets = LoRATargets(weights, renamed)
        let found = content.layers.map { layer in (layer, parts: targets.parts(of: layer)) }
        let lacking = found.filter { $0.parts.isEmpty }.map(\.0.name) + content.strays
        let warning = try judge(lacking, of: found.count + content.strays.count, isStrict)
        var changes = WeightChanges()
        for (layer, parts) in found where !parts.isEmpty {
            let outputs = parts.flatMap(\.rows).map(\.upperBound).max() ?? 0
            let shape = [outputs] + (weights.shape(of: parts[0].key) ?? []).dropFirst()
            let whole = try reader.change(layer, of: shape, strength: strength)
            if parts.count > 1, whole.matrices.contains(where: { $0.lengths?.areOfColumns == true }) {
                throw reader.fault(layer, "its magnitudes are those of columns, and the model has its rows in parts")
            }
            for part in parts { try add(whole, of: layer, part, weights, to: &changes) }
        }
        return (changes, warning.map { [$0] } ?? [])
    }

    /// Adds what a layer changes about one of its parts.
    private func add(
        _ whole: LoRAChange, of layer: LoRALayer, _ part: LoRAPart, _ weights: any WeightFile,
        to changes: inout WeightChanges
    ) throws(Fault) {
        changes.matrices += whole.matrices.map { (part.key, $0.rows(part.rows)) }
        changes.vectors += whole.weight.map { (part.key, $0.rows(part.rows)) }
        guard !whole.bias.isEmpty else { return }
        let bias = String(part.key.dropLast("weight".count)) + "bias"
        guard weights.shape(of: bias) == [part.rows.reduce(0) { $0 + $1.count }] else {
            throw reader.fault(layer, "it changes a bias, and the model's layer has none")
        }
        changes.vectors += whole.bias.map { (bias, $0.rows(part.rows)) }
    }

    /// Judges by the layers that a checkpoint lacks whether the file is for it; returns a warning if there are any.
    private func judge(_ lacking: [String], of total: Int, _ isStrict: Bool) throws(Fault) -> String? {
        guard let first = lacking.first?.prefix(120) else { return nil }
        let others = lacking.count - 1
        if lacking.count == total {
            let rest = others == 0 ? "" : ", nor any of the file's \(others) others"
            throw Fault(
                .badData, "\"\(first)\": the model has no such layer\(rest)", at: path,
                hint: "the LoRA belongs to another model")
        }
        if isStrict || 2 * lacking.count > total {
            throw Fault(
                .badData,
                "\"\(first)\": the model has no such layer; of the file's \(total) it has \(total - lacking.count)",
                at: path,
                hint: isStrict && 2 * lacking.count <= total
                    ? "without --strict-lora such layers are left out" : "the LoRA belongs to another form of the model"
            )
        }
        let rest = others == 0 ? "" : " and \(others) more"
        return
            "the model lacks \(lacking.count) of \(total) layers of the LoRA, left out: \"\(first)\"\(rest) (\(path))"
    }
}
