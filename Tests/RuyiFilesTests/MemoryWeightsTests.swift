import RuyiFault
import RuyiCPU
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Weights in memory")
struct MemoryWeightsTests {
    @Test("random weights have their shapes and type, and the ranges of norms, biases and matrices")
    func random() throws {
        let weights = MemoryWeights.random(
            [("norm.weight", [64]), ("norm.bias", [64]), ("layer.weight", [16, 48])], dtype: .bf16, path: "memory")
        #expect(weights.keys == ["norm.weight", "norm.bias", "layer.weight"])
        #expect(weights.byteCount == 2 * (64 + 64 + 16 * 48))
        #expect(weights.shape(of: "layer.weight") == [16, 48] && weights.dtype(of: "layer.weight") == .bf16)
        #expect(try weights.tensor("norm.weight").floats().allSatisfy { (0.89...1.1).contains($0) })
        #expect(try weights.tensor("norm.bias").floats().allSatisfy { (-0.1...0.1).contains($0) })
        #expect(try weights.tensor("layer.weight").floats().allSatisfy { (-0.25...0.25).contains($0) })
        #expect(throws: Fault.self) { try weights.tensor("sofa") }
    }

    @Test("a scope takes them as it takes a file's, and misses what is not there")
    func scope() throws {
        let weights = MemoryWeights([("a.weight", RandomValues().tensor([2, 3]))], path: "memory")
        let ledger = WeightLedger()
        #expect(
            (WeightScope(weights, ledger: ledger, on: CPUBackend(threads: 1)) / "a").take("weight", [2, 3]).shape == [
                2, 3,
            ])
        _ = try ledger.finish(unknown: .refuse)
        let second = WeightLedger()
        _ = WeightScope(weights, ledger: second, on: CPUBackend(threads: 1)).take("bias", [2])
        #expect(throws: Fault.self) { try second.finish(unknown: .warn) }
    }

    @Test("the same seed gives the same values, spread over their range")
    func values() {
        let first = RandomValues(centre: 3, spread: 2).tensor([1000], seed: 7).floats()
        #expect(first == RandomValues(centre: 3, spread: 2).tensor([1000], seed: 7).floats())
        #expect(first != RandomValues(centre: 3, spread: 2).tensor([1000], seed: 8).floats())
        #expect(first.allSatisfy { (1...5).contains($0) })
        #expect(abs(first.reduce(0, +) / 1000 - 3) < 0.2)
    }
}
