import Glibc
import RuyiCPU
import RuyiFault
import RuyiTensor

/// What a run computes on: the one place that knows which backends there are.
struct KernelChoice: Sendable, Hashable {
    /// The environment variable that names the kernels, for a measurement or a check.
    static let variable = "RUYI_KERNELS"
    /// The kernels that this processor runs, the best ones last.
    static var supported: [String] { KernelLevel.supported.map(\.rawValue) }
    /// The best kernels for this processor.
    static let best = KernelChoice(level: KernelLevel.supported.last ?? .baseline)

    private let level: KernelLevel

    /// The kernels that the environment names, or nil where it names none.
    static func forced() throws(Fault) -> KernelChoice? {
        guard let value = getenv(variable).map({ String(cString: $0) }), !value.isEmpty else { return nil }
        let hint = "this processor runs " + supported.joined(separator: ", ")
        guard let level = KernelLevel(rawValue: value) else {
            throw Fault(.configuration, "there are no kernels called '\(value)'", at: variable, hint: hint)
        }
        guard KernelLevel.supported.contains(level) else {
            throw Fault(.configuration, "this processor does not run \(value) kernels", at: variable, hint: hint)
        }
        return KernelChoice(level: level)
    }

    /// Their name.
    var name: String { level.rawValue }
    /// Whether they are those of any processor.
    var isBaseline: Bool { level == .baseline }

    /// The backend, on as many threads as a run takes if nothing else is said.
    func backend(threads: Int?) -> any Backend {
        CPUBackend(threads: threads ?? ThreadCount.standard(), level: level)
    }
}
