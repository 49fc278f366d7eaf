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
    /// Invocations that run in step.
    let lanes: Int
    private let groups: [Halves: Bool]
    private let halfUnits: MatrixUnits?
    private let bfloatUnits: MatrixUnits?
    /// What it lacks to be of use; nil where it lacks nothing.
    public let lacking: String?

    /// The GPUs of the machine; empty where there is no loader or no driver, with why.
    public static func all() -> (list: [GPUFacts], reason: String?) {
        var infos = [RuyiGPUInfo](repeating: RuyiGPUInfo(), count: 64)
        var message = [CChar](repeating: 0, count: 256)
        let count = ruyi_gpu_list(&infos, Int32(infos.count), &message, message.count)
        if count < 0 { return ([], message.withUnsafeBytes(GPUFacts.text)) }
        let list = infos[..<Int(count)].enumerated().map { GPUFacts($0.offset, $0.element) }
        return (list, list.isEmpty ? "no Vulkan driver reports a GPU" : nil)
    }

    private init(_ index: Int, _ info: RuyiGPUInfo) {
        self.index = index
        name = withUnsafeBytes(of: info.name, GPUFacts.text)
        driver = withUnsafeBytes(of: info.driver, GPUFacts.text)
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
        lanes = Int(info.subgroup)
        groups = [.f16: info.half_groups != 0, .bf16: info.bfloat_groups != 0]
        halfUnits = MatrixUnits(info.half_matrices, sharedBytes: sharedBytes)
        bfloatUnits = MatrixUnits(info.bfloat_matrices, sharedBytes: sharedBytes)
        let missing = withUnsafeBytes(of: info.lacking, GPUFacts.text)
        lacking = missing.isEmpty ? nil : missing
    }

    /// The matrices of halves that it has units for; nil where it has none.
    func units(_ halves: Halves) -> MatrixUnits? { halves == .f16 ? halfUnits : bfloatUnits }

    /// The ways in which it can multiply matrices of halves, best first as far as can be guessed.
    func styles(_ halves: Halves) -> [MatrixStyle] {
        let plain = MatrixStyle(halves: halves, tile: 64, way: .invocations)
        if units(halves) == nil { return [plain] }
        // A driver that computes on the processor would take minutes to compile more.
        let tiles = kind == .software ? [32] : [128, 64]
        let ofGroups = groups[halves] == true ? [MatrixStyle(halves: halves, tile: 128, way: .groups)] : []
        return ofGroups + tiles.map { MatrixStyle(halves: halves, tile: $0, way: .subgroups) } + [plain]
    }

    /// The text up to the first zero.
    static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        Fault.printable(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
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

extension MatrixUnits {
    /// Nil where there are none, or a group shares too little memory for the kernels.
    fileprivate init?(_ found: RuyiGPUMatrices, sharedBytes: Int) {
        guard found.rows > 0, sharedBytes >= 32_768 else { return nil }
        (rows, columns, depth) = (Int(found.rows), Int(found.columns), Int(found.depth))
    }
}
