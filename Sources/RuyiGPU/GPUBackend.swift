import RuyiFault
import RuyiTensor
import Synchronization

/// A GPU through Vulkan: kernels in SPIR-V on tensors of float32, weights in the types that their files have.
///
/// Weights are brought in when they are used; where they do not all fit, those of the units used last make room, so that
/// the others stay from step to step. The same device, driver and kernels give the same bytes from run to run.
public final class GPUBackend: Backend {
    /// Kernels that do the same in different ways.
    public enum Variant: String, Sendable, CaseIterable {
        /// An invocation works alone: for drivers that compute on the processor.
        case lanes
        /// Invocations share memory: for GPUs.
        case tiles
    }

    public let kernelName: String
    public let isMeasuring: Bool
    let variant: Variant
    /// Nil for one that only counts.
    let device: GPUDevice?
    let facts: GPUFacts
    let residency = Residency()
    /// What is known of its units so far.
    private let found: Mutex<GPUFindings>
    private let remember: @Sendable (GPUFindings) -> Void

    /// Opens a device; throws `.unavailable` where its driver does not let it be used.
    ///
    /// - Parameters:
    ///   - memoryLimit: The most bytes of the device's memory that it may take; nil for what is free.
    ///   - variant: The kernels; nil takes those for the kind of device.
    ///   - findings: What an earlier run found out about the device, under the same key.
    ///   - remember: Is given what this one finds out.
    public init(
        _ facts: GPUFacts, memoryLimit: Int? = nil, variant: Variant? = nil, findings: GPUFindings = GPUFindings(),
        remember: @escaping @Sendable (GPUFindings) -> Void = { _ in }
    ) throws(Fault) {
        if let lacking = facts.lacking {
            throw Fault(.unavailable, "the GPU '\(facts.name)' cannot be used: it lacks \(lacking)")
        }
        self.facts = facts
        self.variant = variant ?? (facts.kind == .software ? .lanes : .tiles)
        kernelName = "vulkan-\(self.variant.rawValue)"
        isMeasuring = false
        found = Mutex(findings)
        self.remember = remember
        device = try GPUDevice(facts, memoryLimit: memoryLimit)
    }

    /// One that computes nothing, and counts for another.
    private init(measuring other: GPUBackend) {
        (facts, variant, kernelName) = (other.facts, other.variant, other.kernelName)
        (isMeasuring, device) = (true, nil)
        found = Mutex(other.findings)
        remember = { _ in }
    }

    /// What the device has units for that have been seen to compute what they should.
    ///
    /// Hardly any machine on which the program is tested has such units, so that each one proves them for itself.
    public var arithmetics: [Arithmetic] {
        [.float32] + Halves.allCases.filter { units($0).isRight }.map(\.arithmetic)
    }

    /// What was found out about its units, without trying anything out.
    public var findings: GPUFindings { found.withLock { $0 } }

    /// Forgets what was found out, so that it is found out again.
    public func forget() { found.withLock { $0 = GPUFindings() } }

    /// What is known of units for halves; tried out if nothing is.
    private func units(_ halves: Halves) -> GPUFindings.Units {
        if let known = findings.units[halves.arithmetic] { return known }
        guard !isMeasuring else { return .none }
        // Should trying them end the process, or the driver, the next run does not try again.
        note(.none, of: halves)
        let units = findings(of: halves)
        note(units, of: halves)
        return units
    }

    private func note(_ units: GPUFindings.Units, of halves: Halves) {
        remember(
            found.withLock { found in
                found.units[halves.arithmetic] = units
                return found
            })
    }

    /// A session that multiplies halves, or float32, whether that was seen to be right or not.
    func untrustedSession(_ style: MatrixStyle?) -> any Session {
        GPUSession(self, Cancellation(), GPUMemory(device, limit: nil), style)
    }

    /// The halves to take for an arithmetic and how, if that is right.
    private func trusted(_ arithmetic: Arithmetic) -> MatrixStyle? {
        guard let halves = Halves(arithmetic) else { return nil }
        let units = units(halves)
        let style = MatrixStyle(halves: halves, tile: units.tile, way: units.way)
        return units.isRight && facts.styles(halves).contains(style) ? style : nil
    }

    /// Whether its driver computes on the processor.
    public var isSoftware: Bool { facts.kind == .software }
    /// The device's name.
    public var name: String { facts.name }
    /// The most bytes of its memory that may be taken.
    public var memoryLimit: Int { device?.limit ?? .max }
    /// The most bytes of it that tensors and weights have taken together since this was asked last.
    public func takePeak() -> Int { device?.takePeak() ?? 0 }
    /// How often weights were brought to the device, and how often let go to make room for others.
    public var traffic: (brought: Int, evicted: Int) { residency.traffic }

    /// The work of a GPU's threads is not divided by ours.
    public var threadCount: Int { 1 }

    public func weight(_ host: HostTensor, in unit: ResidencyUnit) -> Weight {
        let storage = GPUWeight(host)
        unit.add(storage)
        return Weight(dtype: host.dtype, layout: host.layout, unit: unit, storage: storage)
    }

    public func quantizedByteCount(outputs: Int, inputs: Int) -> Int {
        allocatedByteCount(outputs * (4 + 4 * ((inputs + 3) / 4)))
    }

    public func allocatedByteCount(_ byteCount: Int) -> Int { GPUDevice.roundedSize(byteCount) }

    public func session(_ cancellation: Cancellation, memoryLimit: Int?, arithmetic: Arithmetic) -> any Session {
        if isMeasuring { return meter(arithmetic) }
        return GPUSession(self, cancellation, GPUMemory(device, limit: memoryLimit), trusted(arithmetic))
    }

    public func meter(_ arithmetic: Arithmetic) -> any Meter {
        GPUMeter(isMeasuring ? self : GPUBackend(measuring: self), trusted(arithmetic))
    }
}
