import Glibc
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiGPU
import RuyiTensor

/// What a run computes on: the one place that knows which backends there are.
struct KernelChoice: Sendable, Hashable {
    /// The environment variable that names the kernels, for a measurement or a check.
    static let variable = "RUYI_KERNELS"
    /// The kernels that this processor runs, the best ones last.
    static var supported: [String] { KernelLevel.supported.map(\.rawValue) }
    /// The best kernels for this processor.
    static let best = KernelChoice(level: KernelLevel.supported.last ?? .baseline)

    private enum Device: Sendable {
        case processor(KernelLevel)
        case gpu(GPUBackend)
    }

    private let device: Device

    private init(level: KernelLevel) { device = .processor(level) }
    private init(gpu: GPUBackend) { device = .gpu(gpu) }

    /// What is asked for: `cpu`, `gpu`, `gpu:N`, or `auto` for a GPU where there is one; the processor where nothing is.
    ///
    /// - Parameters:
    ///   - memory: The most of a GPU's memory that a run may take.
    static func chosen(_ name: String?, memory: MemoryBudget? = nil) throws(Fault) -> KernelChoice {
        let processor = try forced()
        guard let name, let choice = DeviceChoice(name), choice != .cpu else { return processor ?? .best }
        guard let facts = try choice.facts() else { return processor ?? .best }
        let kept = DeviceFindings()
        return KernelChoice(
            gpu: try GPUBackend(
                facts, memoryLimit: memory?.bytes(of: facts.available), findings: kept?.read(facts) ?? GPUFindings(),
                remember: { kept?.write($0, of: facts) }))
    }

    /// The kernels that the environment names, or nil where it names none.
    static func forced() throws(Fault) -> KernelChoice? {
        guard let value = System.variable(variable), !value.isEmpty else { return nil }
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
    var name: String {
        switch device {
        case .processor(let level): level.rawValue
        case .gpu(let backend): "\(backend.kernelName) on \(backend.name)"
        }
    }

    /// Whether they are those of any processor.
    var isBaseline: Bool { self == KernelChoice(level: .baseline) }

    /// The GPU; nil for the processor.
    var gpu: GPUBackend? { if case .gpu(let backend) = device { backend } else { nil } }

    /// The most bytes of a GPU's memory that may be taken; nil for the processor.
    var deviceMemory: Int? { gpu?.memoryLimit }

    /// The most bytes of a GPU's memory that were taken since this was asked last; nil for the processor.
    func takeDevicePeak() -> Int? { gpu?.takePeak() }

    /// What a clip is computed in if nothing is said: on a GPU the halves that are right and make it faster; nil leaves it to
    /// the plan.
    var usualPrecision: Precision? {
        guard let gpu, !gpu.isSoftware else { return nil }
        let proved = gpu.arithmetics
        return [.bf16, .f16].first {
            proved.contains($0.arithmetic) && gpu.findings.units[$0.arithmetic]?.speedup ?? 0 > 1
        }
    }

    /// Whether a GPU whose clips are usually computed in 16 bits was seen to do that wrong, or gave up as it was tried.
    var lacksHalves: Bool { gpu.map { !$0.isSoftware && $0.arithmetics == [.float32] } ?? false }

    /// The backend, on as many threads as a run takes if nothing else is said.
    func backend(threads: Int?) -> any Backend {
        switch device {
        case .processor(let level): CPUBackend(threads: threads ?? ThreadCount.standard(), level: level)
        case .gpu(let backend): backend
        }
    }

    static func == (left: KernelChoice, right: KernelChoice) -> Bool {
        switch (left.device, right.device) {
        case (.processor(let one), .processor(let other)): one == other
        case (.gpu(let one), .gpu(let other)): one === other
        default: false
        }
    }

    func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

extension Engine {
    /// Throws `.unavailable` where what is asked for is no device of this machine, in the form of `DeviceChoice`.
    public static func require(device name: String) throws(Fault) { _ = try DeviceChoice(name)?.facts() }
}

/// The device that a person asks for.
enum DeviceChoice: Equatable {
    /// A GPU of its own kind where there is one, else the processor.
    case auto
    case cpu
    /// The best GPU, or the one of this number.
    case gpu(Int?)

    /// Reads `auto`, `cpu`, `gpu` or `gpu:N`.
    init?(_ text: String) {
        switch text {
        case "auto": self = .auto
        case "cpu": self = .cpu
        case "gpu": self = .gpu(nil)
        default:
            guard text.hasPrefix("gpu:"), let index = Int(text.dropFirst(4)), (0..<64).contains(index) else {
                return nil
            }
            self = .gpu(index)
        }
    }

    /// The GPU that is meant; nil for the processor.
    func facts() throws(Fault) -> GPUFacts? {
        if self == .cpu { return nil }
        let (list, reason) = GPUFacts.all()
        let usable = list.filter { $0.lacking == nil }.sorted { ($0.kind.rank, $0.index) < ($1.kind.rank, $1.index) }
        switch self {
        case .auto: return usable.first { $0.kind != .software }
        case .gpu(nil):
            if let best = usable.first { return best }
            let why =
                reason
                ?? list.compactMap { facts in facts.lacking.map { "'\(facts.name)' lacks \($0)" } }.joined(
                    separator: ", ")
            throw Fault(
                .unavailable, "there is no GPU to compute on: \(why)", at: "--device",
                hint: "install the Vulkan part of its driver ('ruyi doctor' lists what is found), or use --device cpu")
        case .gpu(let index?):
            if let facts = list.first(where: { $0.index == index }) { return facts }
            throw Fault(
                .unavailable, "there is no GPU \(index)", at: "--device",
                hint: list.isEmpty
                    ? reason : "there are " + list.map { "gpu:\($0.index), \($0.name)" }.joined(separator: "; "))
        case .cpu: return nil
        }
    }
}

extension GPUFacts.Kind {
    /// The best ones first.
    fileprivate var rank: Int {
        switch self {
        case .discrete: 0
        case .integrated: 1
        case .virtual: 2
        case .other: 3
        case .software: 4
        }
    }
}
