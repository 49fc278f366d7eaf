import RuyiFault

/// What products, attention and convolutions multiply; sums, and everything else, are float32 always.
public enum Arithmetic: Sendable, CaseIterable {
    case float32
    /// Operands rounded to bf16, to the nearest with ties to even, where the device has units for it.
    case bf16
    /// Operands rounded to f16 in the same way; rows of products divided by a power of two before, so that they fit.
    case f16
}

/// A device that computes: its kernels, its threads or queues, its memory.
///
/// It makes handles of weights, which its sessions share.
public protocol Backend: AnyObject, Sendable {
    /// Threads that operations run on.
    var threadCount: Int { get }
    /// What the operations are made for, such as an instruction set.
    var kernelName: String { get }
    /// Whether its sessions compute nothing, and only count.
    var isMeasuring: Bool { get }
    /// A handle of a weight, which belongs to `unit` from here on; nothing is read yet.
    func weight(_ host: HostTensor, in unit: ResidencyUnit) -> Weight
    /// Memory that a matrix of this shape takes in 8 bits with one scale for each output.
    func quantizedByteCount(outputs: Int, inputs: Int) -> Int
    /// Memory that so many bytes of tensors or weights take.
    func allocatedByteCount(_ byteCount: Int) -> Int
    /// What it has units for, besides float32.
    var arithmetics: [Arithmetic] { get }
    /// A job: `memoryLimit` is the most bytes that its tensors may take at one time, nil for what there is; an arithmetic that
    /// the device has no units for is float32.
    func session(_ cancellation: Cancellation, memoryLimit: Int?, arithmetic: Arithmetic) -> any Session
    /// A session of a backend that computes nothing, and counts what this one's sessions would take and do.
    func meter(_ arithmetic: Arithmetic) -> any Meter
}

extension Backend {
    /// A job that may take what memory there is.
    public func session(
        _ cancellation: Cancellation = Cancellation(), arithmetic: Arithmetic = .float32
    ) -> any Session {
        session(cancellation, memoryLimit: nil, arithmetic: arithmetic)
    }

    /// Float32 alone.
    public var arithmetics: [Arithmetic] { [.float32] }

    /// A meter of float32 work.
    public func meter() -> any Meter { meter(.float32) }
}

/// One job on a backend: operations, an account of memory, and whether it is to go on.
///
/// Once it is cancelled, or memory has been refused, operations do nothing and their results mean nothing; `check`,
/// which every loop over blocks, steps, tiles or frames calls, then throws.
public protocol Session: Operations {
    /// The device.
    var backend: any Backend { get }
    /// The flag that makes operations end early.
    var cancellation: Cancellation { get }
    /// The memory of its tensors.
    var memory: any SessionMemory { get }
    /// The type of activations.
    var activationType: DType { get }
    /// Throws `Cancelled` when the job was cancelled, and `.resources` when memory has been refused.
    func check() throws
    /// Brings numbers to the backend: a contiguous tensor of the activations' type.
    func upload(_ host: HostTensor) -> Tensor
    /// Waits until a tensor is computed, and brings it to the host.
    ///
    /// Where nothing is computed the numbers mean nothing.
    func read(_ x: Tensor) -> HostTensor
    /// The tensor, not needed for a while: a copy on a shelf where there is one with room, else itself.
    func shelved(_ x: Tensor, on shelf: (any TensorShelf)?) -> Tensor
    /// A weight as an operand, a contiguous tensor of the activations' type.
    func tensor(_ weight: Weight) -> Tensor
    /// Says that the weights of a unit are soon used: they are brought in while others compute.
    func willNeed(_ unit: ResidencyUnit)
    /// Says that the weights of a unit, and of its parts, are not used for a while.
    func release(_ unit: ResidencyUnit)
    /// Runs `body`, whose products, attention and convolutions are those of float32.
    func inFloat32<Result>(_ body: () throws -> Result) rethrows -> Result
    /// Runs `body`; where work is only counted, it counts so many times.
    func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result
}

/// An account of the memory of one session's tensors.
public protocol SessionMemory: AnyObject, Sendable {
    /// Bytes in use.
    var usedBytes: Int { get }
    /// The largest number of bytes that were in use at one time.
    var peakBytes: Int { get }
    /// The most bytes that may be in use at one time; nil for what there is.
    var limit: Int? { get }
    /// Gives back to the system what is kept for reuse.
    func trim()
}

/// A session that computes nothing and counts: the planner runs the model's own code on it.
public protocol Meter: Session {
    /// The most bytes that were in use at one time since the last call.
    func takePeak() -> Int
    /// The work since the last call.
    func takeWork() -> [Work: Double]
}

extension Session {
    /// Whether nothing is computed, and work and memory only counted.
    public var isMeasuring: Bool { backend.isMeasuring }

    /// The tensor itself.
    public func shelved(_ x: Tensor, on shelf: (any TensorShelf)?) -> Tensor { x }

    /// Everything is counted as often as it is run.
    public func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result { try body() }

    /// Everything is float32 anyway.
    public func inFloat32<Result>(_ body: () throws -> Result) rethrows -> Result { try body() }

    /// The elements of a small tensor.
    public func floats(_ x: Tensor) -> [Float] { read(x).floats() }
}

extension Fault {
    /// What a session throws when the system, or its own limit, has refused it memory.
    package static func refused(_ byteCount: Int) -> Fault {
        Fault(
            .resources, "the system refused \(byteCount) bytes of memory",
            hint: "close other programs, or make the clip smaller or shorter")
    }
}
