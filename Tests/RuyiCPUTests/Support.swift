import Glibc
import RuyiCPU
import RuyiTensor
import Testing

/// A small deterministic generator for test data.
struct TestRandom {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func bits() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func value() -> Float { Float(Int64(bitPattern: bits()) >> 40) / Float(1 << 23) }

    mutating func values(_ count: Int) -> [Float] { (0..<count).map { _ in value() } }

    mutating func tensor(_ shape: [Int]) -> HostTensor { HostTensor(values(shape.reduce(1, *)), shape) }
}

/// ‖a − b‖ / ‖b‖, infinite where the shapes differ.
func relativeError(_ a: HostTensor, _ b: HostTensor) -> Double {
    guard a.shape == b.shape else { return .infinity }
    return relativeError(a.floats(), b.floats())
}

func relativeError(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    var difference = 0.0
    var norm = 0.0
    for (x, y) in zip(a, b) {
        difference += (Double(x) - Double(y)) * (Double(x) - Double(y))
        norm += Double(y) * Double(y)
    }
    return (difference / max(norm, 1e-60)).squareRoot()
}

/// One backend for each level that this processor runs.
let backends: [HostOperations] = KernelLevel.supported.map { HostOperations(threads: 3, level: $0) }
