import CProcessor
import RuyiKernelTable
import RuyiKernels

#if arch(x86_64)
    import RuyiKernelsAVX2
    import RuyiKernelsAVX512
    import RuyiKernelsBF16
    import RuyiKernelsVNNI
#endif

/// The instruction-set levels that kernels are compiled for.
public enum KernelLevel: String, Sendable, CaseIterable {
    case baseline, avx2, avx512, avx512vnni, avx512bf16

    /// The levels that this processor runs, the best one last.
    public static var supported: [KernelLevel] {
        switch processor_level() {
        case 6...: [.baseline, .avx2, .avx512, .avx512vnni, .avx512bf16]
        case 5: [.baseline, .avx2, .avx512, .avx512vnni]
        case 4: [.baseline, .avx2, .avx512]
        case 3: [.baseline, .avx2]
        default: [.baseline]
        }
    }

    var table: KernelTable {
        #if arch(x86_64)
            switch self {
            case .baseline: RuyiKernels.kernels
            case .avx2: RuyiKernelsAVX2.kernels
            case .avx512: RuyiKernelsAVX512.kernels
            case .avx512vnni, .avx512bf16: RuyiKernelsVNNI.kernels
            }
        #else
            RuyiKernels.kernels
        #endif
    }

    var integerKernels: IntegerKernels {
        #if arch(x86_64)
            switch self {
            case .baseline: RuyiKernels.integerKernels
            case .avx2: RuyiKernelsAVX2.integerKernels
            case .avx512: RuyiKernelsAVX512.integerKernels
            case .avx512vnni, .avx512bf16: RuyiKernelsVNNI.integerKernels
            }
        #else
            RuyiKernels.integerKernels
        #endif
    }

    /// The kernels of bf16 products, on processors that have units for them.
    var pairKernels: PairKernels? {
        #if arch(x86_64)
            self == .avx512bf16 ? RuyiKernelsBF16.pairKernels : nil
        #else
            nil
        #endif
    }
}
