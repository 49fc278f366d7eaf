import RuyiFault
import RuyiFiles
import RuyiTensor

/// Which of a transformer's weights and biases are rounded to 8-bit floating-point numbers, without scales.
package struct FP8Rounding: Sendable {
    /// The keys of what is rounded, in the order of the file.
    package let keys: [String]
    /// Memory that the rounded copies take.
    package let byteCount: Int

    /// Nothing is rounded.
    init() { (keys, byteCount) = ([], 0) }

    /// What is included of a file.
    init(_ weights: any WeightFile, to dtype: DType, where isIncluded: (String) -> Bool) {
        keys = weights.keys.filter(isIncluded)
        byteCount = keys.filter { weights.dtype(of: $0) != dtype }.reduce(0) {
            $0 + (weights.shape(of: $1) ?? []).reduce(1, *)
        }
    }
}

extension Plan {
    /// Takes the rounding to 8-bit floating-point numbers that a request asks for.
    ///
    /// Throws `.usage` for an unknown name, and beside 8-bit integers.
    mutating func round(as request: Request) throws(Fault) {
        func choice(_ value: String?, _ allowed: [String], _ option: String) throws(Fault) -> String {
            let value = value ?? allowed[0]
            if allowed.contains(value) { return value }
            throw Fault(
                .usage, "\"\(value)\" is not a choice", at: option, hint: "one of: " + allowed.joined(separator: ", "))
        }
        let mode = try choice(request.fp8QuantMode, FP8QuantMode.allCases.map(\.rawValue), "--fp8-quant-mode")
        let type = try choice(request.fp8DataType, FP8DataType.allCases.map(\.rawValue), "--fp8-data-type")
        settings[.fp8QuantMode] = mode
        guard fp8QuantMode != .none else { return }
        settings[.fp8DataType] = type
        if isQuantized {
            throw Fault(
                .usage, "int8 and a rounding to 8-bit floating-point numbers exclude each other",
                at: "--fp8-quant-mode", hint: "leave out --precision int8, or give --fp8-quant-mode none")
        }
    }
}
