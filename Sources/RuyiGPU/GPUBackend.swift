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
    /// Whether the units for bf16 compute what they should; nil until that was looked at.
    private let trust = Mutex<Bool?>(nil)

    /// Opens a device; throws `.unavailable` where its driver does not let it be used.
    ///
    /// - Parameters:
    ///   - memoryLimit: The most bytes of the device's memory that it may take; nil for what is free.
    ///   - variant: The kernels; nil takes those for the kind of device.
    public init(_ facts: GPUFacts, memoryLimit: Int? = nil, variant: Variant? = nil) throws(Fault) {
        if let lacking = facts.lacking {
            throw Fault(.unavailable, "the GPU '\(facts.name)' cannot be used: it lacks \(lacking)")
        }
        self.facts = facts
        self.variant = variant ?? (facts.kind == .software ? .lanes : .tiles)
        kernelName = "vulkan-\(self.variant.rawValue)"
        isMeasuring = false
        device = try GPUDevice(facts, memoryLimit: memoryLimit)
    }

    /// One that computes nothing, and counts for another.
    private init(measuring other: GPUBackend) {
        (facts, variant, kernelName) = (other.facts, other.variant, other.kernelName)
        (isMeasuring, device) = (true, nil)
        trust.withLock { $0 = other.trust.withLock { $0 } }
    }

    /// bf16 where the device has units for matrices of it and they have just been seen to compute what they should.
    ///
    /// No machine on which the program is tested has such units, so that each one proves them for itself, once a run.
    public var arithmetics: [Arithmetic] {
        guard facts.hasMatrices, variant == .tiles else { return [.float32] }
        let isTrusted = trust.withLock { known in
            if let known { return known }
            let found = device != nil && OperationSuite.areMatricesRight(on: self)
            known = found
            return found
        }
        return isTrusted ? Arithmetic.allCases : [.float32]
    }

    /// A session whose products take the units for bf16 whether they are trusted or not.
    func untrustedSession() -> any Session {
        GPUSession(self, Cancellation(), GPUMemory(device, limit: nil), isRounding: true)
    }

    /// The device's name.
    public var name: String { facts.name }
    /// The most bytes of its memory that may be taken.
    public var memoryLimit: Int { device?.limit ?? .max }
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
        return GPUSession(
            self, cancellation, GPUMemory(device, limit: memoryLimit),
            isRounding: arithmetic == .bf16 && arithmetics.contains(.bf16))
    }

    public func meter(_ arithmetic: Arithmetic) -> any Meter {
        GPUMeter(isMeasuring ? self : GPUBackend(measuring: self))
    }
}
