import RuyiFault
import RuyiTensor

/// Weights whose file has scales beside them, as 8-bit weights do: the scales become part of their tensors, and what
/// changes the meaning of a tensor in a way that is not known here is refused.
///
/// Known are `X.weight_scale`, `X.scale_weight` and `X.weight_scale_inv` (which multiplies too, whatever it is called) for
/// `X.weight`: one number, one for each row, or one for each block.
public final class ScaledWeights: WeightFile {
    /// The names without those of scales and marks.
    public let keys: [String]
    /// The file as it is stored.
    package let stored: any WeightFile
    private let scales: [String: WeightScale]

    /// The file itself where it has no scales, otherwise one whose tensors have theirs.
    ///
    /// Throws `.badData` that names a tensor and what there is about it.
    static func over(_ file: any WeightFile & AnyObject) throws(Fault) -> any WeightFile & AnyObject {
        for key in file.keys {
            guard let kind = Marks.foreign(key, in: file) else { continue }
            throw ScaledWeights.refusal(key, "belongs to \(kind), which are not computed with", file)
        }
        let marks = file.keys.filter { Marks.isMark($0, in: file) }
        if marks.isEmpty, let key = file.keys.first(where: { $0.hasSuffix(".weight") && file.dtype(of: $0) == .i8 }) {
            throw ScaledWeights.refusal(key, "is stored in 8-bit integers without a scale", file)
        }
        return marks.isEmpty ? file : try ScaledWeights(file, marks)
    }

    private init(_ file: any WeightFile, _ marks: [String]) throws(Fault) {
        var scales: [String: WeightScale] = [:]
        for key in marks {
            if key.hasSuffix(Marks.format) { try Marks.checkFormat(key, file) }
            guard let weight = Marks.weight(scaledBy: key) else { continue }
            guard scales.updateValue(try ScaledWeights.scale(key, of: weight, file), forKey: weight) == nil else {
                throw ScaledWeights.refusal(key, "is a second scale of \"\(weight)\"", file)
            }
        }
        let marked = Set(marks)
        keys = file.keys.filter { !marked.contains($0) }
        for key in keys where file.shape(of: key)?.count == 2 && scales[key] == nil {
            guard let dtype = file.dtype(of: key), [.f8e4m3, .f8e5m2, .i8].contains(dtype) else { continue }
            throw ScaledWeights.refusal(key, "is stored in 8 bits without a scale, while others here have one", file)
        }
        stored = file
        self.scales = scales
    }

    private static func refusal(_ key: String, _ what: String, _ file: any WeightFile) -> Fault {
        Fault(
            .badData, "tensor \"\(key.prefix(160))\" \(what)", at: file.path(of: key),
            hint: "take the model in bf16 or fp16, or with one scale for each tensor, row or block")
    }

    // MARK: Scales

    /// What a tensor of scales says about a weight.
    private static func scale(
        _ key: String, of weight: String, _ file: any WeightFile
    ) throws(Fault) -> WeightScale {
        guard var grid = file.shape(of: key), let shape = file.shape(of: weight), file.dtype(of: weight) != nil else {
            throw refusal(key, "is of a weight whose type is not known", file)
        }
        guard file.dtype(of: key)?.isFloat == true else {
            throw refusal(key, "holds scales of a type that is not computed with", file)
        }
        // Integers have a scale even where it is 1, as every row of them may have.
        let isInteger = file.dtype(of: weight) == .i8
        if grid.isEmpty, isInteger { grid = [1, 1] }
        if !isInteger, grid.allSatisfy({ $0 == 1 }) {
            let factor = try file.tensor(key).floats().first ?? .nan
            guard factor.isFinite, factor > 0 else { throw refusal(key, "is not one number above 0", file) }
            return .number(factor)
        }
        // Rows without a second axis, and blocks with an empty third one.
        if grid.count == 1 { grid.append(1) }
        if grid.count == 3, grid[2] == 1 { grid.removeLast() }
        guard grid.count == 2, shape.count == 2, let height = block(of: shape[0], in: grid[0]),
            let width = block(of: shape[1], in: grid[1]), grid[0] * grid[1] <= max(shape[0], shape[0] * shape[1] / 8)
        else {
            throw refusal(key, "of shape \(grid) does not divide the weight \(shape) into rows or blocks", file)
        }
        let values = try file.tensor(key).floats()
        guard values.allSatisfy({ $0.isFinite && $0 >= 0 }) else {
            throw refusal(key, "holds a scale that is no finite number from 0 on", file)
        }
        return .blocks(ScaleBlocks(values, across: grid[1], height: height, width: width))
    }

    /// The length of each of so many blocks: 128 where that fits, the last block being cut off, or equal parts.
    private static func block(of length: Int, in count: Int) -> Int? {
        let usual = 128
        guard count > 0, length >= count else { return nil }
        if length != count, (length - 1) / usual + 1 == count { return usual }
        return length.isMultiple(of: count) ? length / count : nil
    }

    // MARK: The file

    /// The path of the stored weights.
    public var path: String { stored.path }
    /// The bytes of all tensors as stored.
    public var byteCount: Int { stored.byteCount }
    /// What a person should know, one line each.
    public var warnings: [String] { stored.warnings }
    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { stored.shape(of: key) }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { stored.dtype(of: key) }
    /// The file that holds a tensor.
    public func path(of key: String) -> String { stored.path(of: key) }
    /// A tensor as it is stored, without its scale.
    public func tensor(_ key: String) throws(Fault) -> HostTensor { try stored.tensor(key) }
    /// What the numbers of a tensor are multiplied by to give the weight.
    public func scale(of key: String) -> WeightScale { scales[key] ?? .none }
    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try stored.checkUnchanged() }
}

/// The names of tensors that say something about others.
private enum Marks {
    /// What a weight is multiplied by.
    private static let scales = [".weight_scale", ".scale_weight", ".weight_scale_inv"]
    /// What the inputs of a layer, or what is kept of them, were to be divided by to fit into 8 bits.
    ///
    /// Here inputs stay in 32 bits, and a weight is multiplied by its own scale alone, so these change nothing.
    private static let inputs = [
        ".input_scale", ".scale_input", ".input_scale_ub", ".output_scale", ".q_scale", ".k_scale", ".v_scale",
    ]
    /// ComfyUI's word for how a layer is stored.
    static let format = ".comfy_quant"
    /// An empty tensor by which ComfyUI marks a file whose weights have scales.
    private static let file = "scaled_fp8"
    /// What belongs to weights in a form that is none of a number for each.
    private static let foreignEndings: [(ending: String, kind: String)] = [
        (".weight_scale_2", "4-bit weights with two scales (NVFP4)"),
        (".weight_global_scale", "4-bit weights with two scales (NVFP4)"),
        (".weight_packed", "packed weights (compressed-tensors)"), (".weight_zero_point", "weights with a zero point"),
        (".weight_zero", "weights with a zero point"), (".zero_point", "weights with a zero point"),
        (".qweight", "packed weights (GPTQ or AWQ)"), (".qzeros", "packed weights (GPTQ or AWQ)"),
        (".absmax", "packed weights (bitsandbytes)"), (".quant_map", "packed weights (bitsandbytes)"),
        (".SCB", "8-bit integers (bitsandbytes)"), (".weight._data", "packed weights (quanto)"),
        (".weight._scale", "packed weights (quanto)"), (".svd_lora_down", "4-bit weights (SVDQuant)"),
    ]

    /// The kind of weights that a tensor belongs to which are not computed with; nil for any other tensor.
    static func foreign(_ key: String, in weights: any WeightFile) -> String? {
        if key.contains(".weight.quant_state.") { return "packed weights (bitsandbytes)" }
        if let known = foreignEndings.first(where: { key.hasSuffix($0.ending) }) { return known.kind }
        guard let dot = key.lastIndex(of: "."), key[dot...].contains("scale"), !isMark(key, in: weights),
            weights.dtype(of: key[..<dot] + ".weight")?.blockByteCount == 1
        else { return nil }
        return "8-bit weights with a scale of an unknown kind"
    }

    /// Whether a tensor is a scale or a mark of another one rather than a weight.
    static func isMark(_ key: String, in weights: any WeightFile) -> Bool {
        if key == file || key.hasSuffix("." + file) || key.hasSuffix(format) { return true }
        guard let ending = (scales + inputs).first(where: key.hasSuffix) else { return false }
        return weights.shape(of: key.dropLast(ending.count) + ".weight") != nil
    }

    /// The weight that a tensor is the scale of; nil if it is no scale.
    static func weight(scaledBy key: String) -> String? {
        scales.first(where: key.hasSuffix).map { key.dropLast($0.count) + ".weight" }
    }

    /// Refuses a layer in a format that is no plain number with a scale.
    static func checkFormat(_ key: String, _ file: any WeightFile) throws(Fault) {
        let types: [String: DType] = ["float8_e4m3fn": .f8e4m3, "float8_e5m2": .f8e5m2]
        var name = "unknown"
        if file.dtype(of: key) == .u8, let count = Extent.product(file.shape(of: key) ?? [], times: 1),
            count <= 4096
        {
            let text = try file.tensor(key).bytes(0..<count, as: .u8)
            let json = try? JSON.parse(text, file: file.path(of: key))
            name = json?["format"]?.string ?? name
        }
        let weight = key.dropLast(format.count) + ".weight"
        if let type = types[name], file.dtype(of: String(weight)) == type { return }
        throw Fault(
            .badData,
            "tensor \"\(weight.prefix(160))\" is stored in the format \"\(name.prefix(40))\", which is not computed with",
            at: file.path(of: key),
            hint: "take the model in bf16 or fp16, or with one scale for each tensor, row or block")
    }
}
