import RuyiCPU
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("taking weights")
struct WeightScopeTests {
    private let backend = CPUBackend(threads: 1)

    /// A linear layer as a family would write it.
    private struct Linear {
        let weight: Weight
        let bias: Weight?

        init(_ scope: WeightScope, _ width: Int, _ out: Int) {
            weight = scope.take("weight", [out, width])
            bias = scope.has("bias") ? scope.take("bias", [out]) : nil
        }
    }

    private func file(_ tensors: [(name: String, tensor: HostTensor)]) throws -> SafetensorsFile {
        let scratch = try Scratch()
        try SafetensorsWriter.write(tensors, to: scratch.path + "/w.safetensors")
        return try SafetensorsFile(path: scratch.path + "/w.safetensors", shown: "w.safetensors")
    }

    private func zeros(_ shape: [Int]) -> HostTensor {
        HostTensor([Float](repeating: 1, count: shape.reduce(1, *)), shape)
    }

    @Test("tensors are taken by path and shape, and the bytes are added up")
    func good() throws {
        let file = try file([
            ("a.0.q.weight", zeros([3, 2])), ("a.0.q.bias", zeros([3])), ("ids", HostTensor(integers: [1], [1])),
        ])
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger, on: backend)
        let layer = Linear(scope / "a" / 0 / "q", 2, 3)
        #expect(layer.weight.shape == [3, 2] && layer.bias?.shape == [3])
        #expect(layer.weight.elements.floats() == [1, 1, 1, 1, 1, 1])
        #expect((scope / "a").has("0.q.weight") && !(scope / "a").has("weight"))
        #expect(Set((scope / "a" / 0).keys) == ["q.weight", "q.bias"])
        #expect(scope.shape(of: "ids") == [1])
        #expect(scope.takeTable("ids", [1], type: .integer).integers() == [1])
        #expect(ledger.byteCount == 44)
        #expect(ledger.isClean)
        #expect(try ledger.finish() == [])
    }

    @Test("everything that is wrong is reported together, by full name, and construction goes on with zeros")
    func problems() throws {
        let file = try file([
            ("x.weight", zeros([2, 3])), ("y.weight", HostTensor(integers: [1, 2], [1, 2])), ("extra.1", zeros([1])),
            ("known.1", zeros([1])),
        ])
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger, on: backend)
        let x = Linear(scope / "x", 2, 3)
        #expect(x.weight.shape == [3, 2] && x.weight.isContiguous && x.weight.elements.floats() == [0, 0, 0, 0, 0, 0])
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
        let scope = WeightScope(file, ledger: ledger, on: backend)
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
        let scope = WeightScope(try file([]), ledger: ledger, on: backend)
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
        _ = WeightScope(try SafetensorsFile(path: path), ledger: ledger, on: backend).take("c", [1])
        expect(.badData, "1 not readable", "tensor \"c\": the type C64 is not supported") { try ledger.finish() }
    }

    @Test("weights come and go with the place that takes them apart, and with those around it")
    func units() throws {
        let file = try file([("a.x", zeros([4])), ("a.b.0.x", zeros([8])), ("a.b.1.x", zeros([16]))])
        let scope = WeightScope(file, ledger: WeightLedger(), on: backend)
        let outer = (scope / "a").take("x", [4])
        let blocks = (0..<2).map { (scope / "a" / "b" / $0).apart }
        let weights = blocks.indices.map { blocks[$0].take("x", [8 << $0]) }
        #expect(outer.unit === scope.unit && weights[0].unit === blocks[0].unit && weights[1].unit !== weights[0].unit)
        #expect(blocks.map(\.unit.byteCount) == [32, 64] && scope.unit.byteCount == 112)
    }

    @Test("a weight may be changed as it is taken")
    func changes() throws {
        let file = try file([("a.x", zeros([4])), ("a.y", zeros([4]))])
        let scope = WeightScope(file, ledger: WeightLedger(), on: backend) { key, weight in
            key == "a.x" ? weight.sliced(0, 1..<3) : weight
        }
        #expect((scope / "a").take("x", [4]).shape == [2] && (scope / "a").take("y", [4]).shape == [4])
    }

    @Test(
        "shapes that no memory has are a problem, not a crash",
        arguments: [[Int.max, 2], [-1, 2], [1 << 62, 1 << 62], [.max]])
    func impossible(_ shape: [Int]) throws {
        let ledger = WeightLedger()
        let file = try file([])
        let tensor = WeightScope(file, ledger: ledger, on: backend).takeTable("w", shape)
        #expect(tensor.count == 0)
        expect(.badData, "1 too large: w", "1 missing: w") { try ledger.finish() }
    }

    @Test("a file that changes during loading is a fault")
    func changed() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/w"
        try SafetensorsWriter.write([("a", zeros([1]))], to: path)
        let ledger = WeightLedger()
        _ = WeightScope(try SafetensorsFile(path: path), ledger: ledger, on: backend).take("a", [1])
        try scratch.write("w", "short")
        expect(.badData, "changed", path) { try ledger.finish() }
    }
}
