import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("taking weights")
struct WeightScopeTests {
    /// A linear layer as a family would write it.
    private struct Linear {
        let weight: Tensor
        let bias: Tensor?

        init(_ scope: WeightScope, _ width: Int, _ out: Int) {
            weight = scope.take("weight", [out, width])
            bias = scope.takeIfPresent("bias", [out])
        }
    }

    private func file(_ tensors: [(name: String, tensor: Tensor)]) throws -> SafetensorsFile {
        let scratch = try Scratch()
        try SafetensorsWriter.write(tensors, to: scratch.path + "/w.safetensors")
        return try SafetensorsFile(path: scratch.path + "/w.safetensors", shown: "w.safetensors")
    }

    private func zeros(_ shape: [Int]) -> Tensor { Tensor([Float](repeating: 1, count: shape.reduce(1, *)), shape) }

    @Test("tensors are taken by path and shape, and the bytes are added up")
    func good() throws {
        let file = try file([
            ("a.0.q.weight", zeros([3, 2])), ("a.0.q.bias", zeros([3])), ("ids", Tensor(integers: [1], [1])),
        ])
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger)
        let layer = Linear(scope / "a" / 0 / "q", 2, 3)
        #expect(layer.weight.shape == [3, 2] && layer.bias?.shape == [3])
        #expect(layer.weight.floats() == [1, 1, 1, 1, 1, 1])
        #expect((scope / "a").has("0.q.weight") && !(scope / "a").has("weight"))
        #expect(Set((scope / "a" / 0).keys) == ["q.weight", "q.bias"])
        #expect(scope.shape(of: "ids") == [1])
        #expect(scope.take("ids", [1], type: .integer).integers() == [1])
        #expect(ledger.byteCount == 44)
        #expect(ledger.isClean)
        #expect(try ledger.finish() == [])
    }

    @Test("everything that is wrong is reported together, by full name, and construction goes on with zeros")
    func problems() throws {
        let file = try file([
            ("x.weight", zeros([2, 3])), ("y.weight", Tensor(integers: [1, 2], [1, 2])), ("extra.1", zeros([1])),
            ("known.1", zeros([1])),
        ])
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger)
        let x = Linear(scope / "x", 2, 3)
        #expect(x.weight.shape == [3, 2] && x.weight.isContiguous && x.weight.floats() == [0, 0, 0, 0, 0, 0])
        #expect(x.bias == nil)
        _ = Linear(scope / "y", 2, 1)
        _ = Linear(scope / "z", 2, 1)
        _ = (scope / "z").take("ids", [4], type: .integer)
        #expect(!ledger.isClean)
        let fault = fault { try ledger.finish(ignoring: { $0.hasPrefix("known.") }) }
        #expect(fault?.kind == .badData)
        #expect(fault?.place == "w.safetensors")
        let text = fault?.what ?? ""
        #expect(text.contains("2 missing: z.weight [1, 2], z.ids [4]"), "\(text)")
        #expect(text.contains("1 of another shape: x.weight is [2, 3], expected [3, 2]"))
        #expect(text.contains("1 of another type: y.weight is i64, expected floating-point numbers"))
        #expect(text.contains("1 unknown: extra.1"))
        #expect(!text.contains("known.1,"))
    }

    @Test("unknown keys are refused or given as a warning, as the family says")
    func unknown() throws {
        let file = try file([("a", zeros([1])), ("b", zeros([1])), ("c", zeros([1]))])
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger)
        _ = scope.take("a", [1])
        scope.skip("c")
        expect(.badData, "1 unknown: b") { try ledger.finish() }
        let warnings = try ledger.finish(unknown: .warn)
        #expect(warnings == ["ignored weights: 1 unknown: b (w.safetensors)"])
        #expect(try ledger.finish { $0 == "b" } == [])
    }

    @Test("long lists are cut at twenty")
    func long() throws {
        let ledger = WeightLedger()
        let scope = WeightScope(try file([]), ledger: ledger)
        for index in 0..<50 { _ = scope.take("k\(index)", [1]) }
        let text = fault { try ledger.finish() }?.what ?? ""
        #expect(text.contains("50 missing: k0 [1]") && text.contains("k19 [1] and 30 more") && !text.contains("k20"))
    }

    @Test("a type that tensors do not have is reported by its key")
    func unsupported() throws {
        let scratch = try Scratch()
        let header = "{\(SafetensorsCase.entry("c", "C64", "[1]"))}"
        let path = try scratch.write("w", SafetensorsCase.file(header, 8))
        let ledger = WeightLedger()
        _ = WeightScope(try SafetensorsFile(path: path), ledger: ledger).take("c", [1])
        expect(.badData, "1 not readable", "tensor \"c\": the type C64 is not supported") { try ledger.finish() }
    }

    @Test("a scope without a file adds up bytes and takes no memory")
    func measuring() throws {
        let ledger = WeightLedger()
        let scope = WeightScope.measuring(ledger) { $0 == "b.bias" }
        let big = Linear(scope / "a", 1 << 18, 1 << 18)
        #expect(big.weight.shape == [1 << 18, 1 << 18] && big.bias == nil)
        #expect(Linear(scope / "b", 2, 3).bias?.shape == [3])
        _ = scope.take("ids", [5], type: .integer)
        #expect(ledger.byteCount == 2 * (1 << 36) + 2 * (6 + 3) + 40)
        #expect(try ledger.finish() == [])
    }

    @Test(
        "shapes that no memory has are a problem, not a crash",
        arguments: [[Int.max, 2], [-1, 2], [1 << 62, 1 << 62], [.max]])
    func impossible(_ shape: [Int]) throws {
        let ledger = WeightLedger()
        let tensor = WeightScope.measuring(ledger).take("w", shape)
        #expect(tensor.count == 0)
        expect(.badData, "1 too large: w") { try ledger.finish() }
    }

    @Test("a file that changes during loading is a fault")
    func changed() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/w"
        try SafetensorsWriter.write([("a", zeros([1]))], to: path)
        let ledger = WeightLedger()
        _ = WeightScope(try SafetensorsFile(path: path), ledger: ledger).take("a", [1])
        try scratch.write("w", "short")
        expect(.badData, "changed", path) { try ledger.finish() }
    }
}
