import Glibc
import RuyiFault
import RuyiTensor

/// The kernels that a person forces for a measurement or a check.
enum KernelChoice {
    /// The environment variable that names a level.
    static let variable = "RUYI_KERNELS"

    /// The level that the environment names, or nil for the best one that this processor runs.
    static func level() throws(Fault) -> KernelLevel? {
        guard let value = System.variable(variable), !value.isEmpty else { return nil }
        let supported = KernelLevel.supported
        let hint = "this processor runs " + supported.map(\.rawValue).joined(separator: ", ")
        guard let level = KernelLevel(rawValue: value) else {
            throw Fault(.configuration, "there are no kernels called '\(value)'", at: variable, hint: hint)
        }
        guard supported.contains(level) else {
            throw Fault(.configuration, "this processor does not run \(value) kernels", at: variable, hint: hint)
        }
        return level
    }
}
