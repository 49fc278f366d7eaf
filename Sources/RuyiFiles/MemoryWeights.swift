import RuyiFault
import RuyiTensor

/// Named weights that no file holds.
package struct MemoryWeights: WeightFile {
    package let path: String
    package let keys: [String]
    private let tensors: [String: HostTensor]

    /// Takes tensors by name; `path` stands for the file in messages.
    package init(_ tensors: [(key: String, tensor: HostTensor)], path: String) {
        self.path = path
        keys = tensors.map(\.key)
        self.tensors = Dictionary(tensors.map { ($0.key, $0.tensor) }) { $1 }
    }

    package var byteCount: Int { tensors.values.reduce(0) { $0 + $1.byteCount } }
    package var warnings: [String] { [] }

    package func shape(of key: String) -> [Int]? { tensors[key]?.shape }
    package func dtype(of key: String) -> DType? { tensors[key]?.dtype }

    package func tensor(_ key: String) throws(Fault) -> HostTensor {
        guard let tensor = tensors[key] else { throw Fault(.badData, "there is no tensor \"\(key)\"", at: path) }
        return tensor
    }

    package func checkUnchanged() {}
}

extension MemoryWeights {
    /// Random weights of the given shapes in one type.
    ///
    /// Vectors called `weight` lie around one, as those of norms do, other vectors around zero, and matrices in the
    /// range that keeps the size of what they multiply.
    package static func random(_ shapes: [(key: String, shape: [Int])], dtype: DType, path: String) -> MemoryWeights {
        let tensors = shapes.enumerated().map { index, entry -> (key: String, tensor: HostTensor) in
            let isVector = entry.shape.count == 1
            let inputs = Float(entry.shape.dropFirst().reduce(1, *))
            let values = RandomValues(
                centre: isVector && entry.key.hasSuffix("weight") ? 1 : 0,
                spread: isVector ? 0.1 : (3 / inputs).squareRoot())
            return (entry.key, values.tensor(entry.shape, dtype: dtype, seed: UInt64(index)))
        }
        return MemoryWeights(tensors, path: path)
    }
}

/// Evenly distributed numbers, for measuring: quick to make, and the same every time.
package struct RandomValues: Sendable {
    private let centre: Float
    private let spread: Float

    /// Numbers from `centre − spread` to `centre + spread`.
    package init(centre: Float = 0, spread: Float = 1) {
        self.centre = centre
        self.spread = spread
    }

    /// A contiguous tensor of type `f32` or `bf16`, or in blocks, in memory that no pool counts, as mapped weights are.
    ///
    /// Blocks hold any numbers: their scales are as large as the spread allows.
    package func tensor(_ shape: [Int], dtype: DType = .f32, seed: UInt64 = 0) -> HostTensor {
        precondition(dtype == .f32 || dtype == .bf16 || dtype.isBlocked, "random \(dtype) values are not provided for")
        let count = shape.reduce(1, *)
        let storage = HostStorage.zeros(byteCount: dtype.byteCount(of: max(count, 1)))
        if dtype.isBlocked {
            fillBlocks(
                storage.base.bindMemory(to: UInt16.self, capacity: storage.byteCount / 2), storage.byteCount / 2, seed)
            return HostTensor(dtype: dtype, shape: shape, storage: storage)
        }
        if dtype == .bf16 {
            fill(storage.base.bindMemory(to: UInt16.self, capacity: count), count, seed) { value in
                UInt16(truncatingIfNeeded: value.bitPattern >> 16)
            }
        } else {
            fill(storage.base.bindMemory(to: Float.self, capacity: count), count, seed) { $0 }
        }
        return HostTensor(dtype: dtype, shape: shape, storage: storage)
    }

    /// Bits at random, of which none is the exponent of a large half-precision number.
    private func fillBlocks(_ target: UnsafeMutablePointer<UInt16>, _ count: Int, _ seed: UInt64) {
        RandomValues(spread: 1).fill(target, count, seed) { UInt16(truncatingIfNeeded: $0.bitPattern >> 7) & 0x23FF }
    }

    /// SplitMix64, four values of 16 bits a step.
    private func fill<Value>(
        _ target: UnsafeMutablePointer<Value>, _ count: Int, _ seed: UInt64, _ value: (Float) -> Value
    ) {
        var state = seed &* 0xD1B5_4A32_D192_ED03
        var bits: UInt64 = 0
        let unit = spread / 32_768
        for index in 0..<count {
            if index & 3 == 0 {
                state &+= 0x9E37_79B9_7F4A_7C15
                bits = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
                bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
                bits ^= bits >> 31
            }
            target[index] = value(centre + (Float(bits & 0xFFFF) - 32_767.5) * unit)
            bits >>= 16
        }
    }
}
