import CProcessor
import RuyiKernelTable
import RuyiKernels

#if arch(x86_64)
    import RuyiKernelsAVX2
    import RuyiKernelsAVX512
    import RuyiKernelsVNNI
#endif

/// The instruction-set levels that kernels are compiled for.
public enum KernelLevel: String, Sendable, CaseIterable {
    case baseline, avx2, avx512, avx512vnni

    /// The levels that this processor runs, the best one last.
    public static var supported: [KernelLevel] {
        switch processor_level() {
        case 5...: [.baseline, .avx2, .avx512, .avx512vnni]
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
            case .avx512vnni: RuyiKernelsVNNI.kernels
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
            case .avx512vnni: RuyiKernelsVNNI.integerKernels
            }
        #else
            RuyiKernels.integerKernels
        #endif
    }
}
