import CGPUKernels
import RuyiTensor

/// What trying out told of a device's units for matrices: whether they are right, and how fast they are.
///
/// It holds for one device with one version of its driver and of the kernels, so that it can be kept under `key`.
public struct GPUFindings: Sendable, Equatable {
    /// Who holds matrices of halves.
    public enum Way: String, Sendable {
        /// A group of invocations together, of the device's units.
        case groups
        /// Each subgroup its own, of the device's units.
        case subgroups
        /// Each invocation some numbers, where there are no units: products take less memory from place to place.
        case invocations
    }

    /// What is known of the units for one kind of numbers.
    public struct Units: Sendable, Equatable {
        /// Whether products, attention and convolutions on them were within what rounding allows.
        public var isRight: Bool
        /// Rows and columns of a product that a group makes fastest; 0 where they are not right.
        public var tile: Int
        /// How matrices are multiplied.
        public var way: Way
        /// How many times as fast they make a large product as float32 does.
        public var speedup: Double

        /// What is known of units.
        public init(isRight: Bool, tile: Int, way: Way, speedup: Double) {
            (self.isRight, self.tile, self.way, self.speedup) = (isRight, tile, way, speedup)
        }

        /// None that are of use.
        static let none = Units(isRight: false, tile: 0, way: .invocations, speedup: 0)
    }

    /// What was tried, by the arithmetic.
    public var units: [Arithmetic: Units] = [:]

    /// Nothing is known.
    public init() {}

    /// Under what they can be kept: the device, the driver and the kernels.
    public static func key(_ facts: GPUFacts) -> String { "\(facts.name)|\(facts.driver)|\(kernels)" }

    /// A number that changes with the code of kernels for units.
    private static let kernels: String = {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        let names = [
            "product_matrices", "attention_matrices", "convolution_matrices", "product_groups", "attention_groups",
            "product_halves",
        ]
        for name in names {
            for halves in Halves.allCases {
                var size = 0
                guard let code = ruyi_gpu_code(name == "product_halves" ? name : "\(name)_\(halves)", &size) else {
                    continue
                }
                // FNV-1a (Fowler, Noll, Vo).
                for byte in UnsafeRawBufferPointer(start: code, count: size) {
                    hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
                }
            }
        }
        return String(hash, radix: 16)
    }()
}

extension GPUBackend {
    /// Tries the units for halves out: in which ways they are right, and which of them is fastest.
    func findings(of halves: Halves) -> GPUFindings.Units {
        if device == nil { return .none }
        let times = facts.styles(halves).compactMap { style -> (style: MatrixStyle, seconds: Double)? in
            guard OperationSuite.areMatricesRight(style, on: self) else { return nil }
            return (style, seconds(untrustedSession(style), halves))
        }
        guard let best = times.min(by: { $0.seconds < $1.seconds }) else { return .none }
        let exact = seconds(untrustedSession(nil), halves)
        return GPUFindings.Units(
            isRight: true, tile: best.style.tile, way: best.style.way, speedup: exact / max(best.seconds, 1e-9))
    }

    /// The best of three times of a square product of weights that are halves.
    private func seconds(_ session: any Session, _ halves: Halves) -> Double {
        let side = facts.kind == .discrete ? 2048 : facts.kind == .software ? 192 : 1024
        let matrix = HostTensor(
            dtype: halves.type, shape: [side, side], storage: HostStorage.zeros(byteCount: 2 * side * side))
        let weight = Projection(self.weight(matrix, in: ResidencyUnit()))
        let x = session.filled([1, side, side], 1)
        func once() {
            let y = session.linear(x, weight, .none)
            _ = session.read(y.sliced(1, 0..<1))
        }
        once()
        let clock = ContinuousClock()
        return (0..<3).map { _ in clock.measure(once) / .seconds(1) }.min() ?? 0
    }
}
