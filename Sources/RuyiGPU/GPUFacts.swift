import CVulkan
import RuyiFault

/// A GPU as its driver describes it.
public struct GPUFacts: Sendable, Equatable {
    /// What it is.
    public enum Kind: Sendable {
        case discrete, integrated, virtual, other
        /// A driver that computes on the processor.
        case software
    }

    /// Its number among those of the machine.
    public let index: Int
    public let name: String
    /// The driver and its version.
    public let driver: String
    public let kind: Kind
    /// Bytes of its own memory.
    public let memory: Int
    /// Bytes of them that the driver says are free.
    public let available: Int
    /// Bytes that a group of invocations shares.
    let sharedBytes: Int
    /// Whether it has units for matrices of bf16 as the kernels use them.
    public let hasMatrices: Bool
    /// What it lacks to be of use; nil where it lacks nothing.
    public let lacking: String?

    /// The GPUs of the machine; empty where there is no loader or no driver, with why.
    public static func all() -> (list: [GPUFacts], reason: String?) {
        var infos = [RuyiGPUInfo](repeating: RuyiGPUInfo(), count: 64)
        var message = [CChar](repeating: 0, count: 256)
        let count = ruyi_gpu_list(&infos, Int32(infos.count), &message, message.count)
        if count < 0 { return ([], message.withUnsafeBytes(text)) }
        let list = infos[..<Int(count)].enumerated().map { GPUFacts($0.offset, $0.element) }
        return (list, list.isEmpty ? "no Vulkan driver reports a GPU" : nil)
    }

    private init(_ index: Int, _ info: RuyiGPUInfo) {
        self.index = index
        name = withUnsafeBytes(of: info.name, text)
        driver = withUnsafeBytes(of: info.driver, text)
        kind =
            switch Int(info.kind) {
            case RUYI_GPU_DISCRETE: .discrete
            case RUYI_GPU_INTEGRATED: .integrated
            case RUYI_GPU_VIRTUAL: .virtual
            case RUYI_GPU_SOFTWARE: .software
            default: .other
            }
        memory = Int(clamping: info.memory)
        available = Int(clamping: info.available)
        sharedBytes = Int(info.shared)
        hasMatrices = info.bfloat_matrices != 0 && info.subgroup == 32 && info.shared >= 28_672
        let missing = withUnsafeBytes(of: info.lacking, text)
        lacking = missing.isEmpty ? nil : missing
    }

    /// Operations of about 50 ms on a slow device of the kind.
    var operationsPerSlice: Double {
        switch kind {
        case .discrete: 1e11
        case .integrated, .virtual, .other: 1e10
        case .software: 5e7
        }
    }
}

/// The text up to the first zero.
private func text(_ bytes: UnsafeRawBufferPointer) -> String {
    Fault.printable(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
}
