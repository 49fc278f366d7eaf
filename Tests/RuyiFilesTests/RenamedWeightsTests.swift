import RuyiCPU
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("weights under other names")
struct RenamedWeightsTests {
    private typealias Place = RenamedWeights.Place

    private let stored = MemoryWeights(
        [
            ("qkv", HostTensor((0..<12).map(Float.init), [6, 2])), ("mod", HostTensor([1, 2, 3, 4], [4])),
            ("sofa", HostTensor([7], [1])),
        ], path: "w.pt")

    @Test("rows are views, halves change places, and what nothing uses keeps its name")
    func parts() throws {
        let weights = try RenamedWeights(
            stored,
            [
                ("q", Place("qkv", .rows(0..<2, of: 6))), ("v", Place("qkv", .rows(4..<6, of: 6), scale: 0.5)),
                ("out", Place("mod", .halvesSwapped)), ("whole", Place("qkv")), ("gone", Place("table")),
            ])
        #expect(weights.keys == ["q", "v", "out", "whole", "sofa"])
        #expect(weights.shape(of: "v") == [2, 2] && weights.dtype(of: "v") == .f32)
        #expect(try weights.tensor("q").floats() == [0, 1, 2, 3])
        #expect(try weights.tensor("v").floats() == [8, 9, 10, 11])
        #expect(try weights.tensor("v").storage.base == weights.tensor("whole").storage.base)
        #expect(try weights.tensor("out").floats() == [3, 4, 1, 2])
        #expect(try weights.tensor("sofa").floats() == [7])
        #expect(weights.scale(of: "v") == 0.5 && weights.scale(of: "q") == .none)
        #expect(weights.storedName(of: "v") == "qkv" && weights.storedName(of: "gone") == "table")
        #expect(weights.shape(of: "gone") == nil && weights.shape(of: "qkv") == nil && weights.path == "w.pt")
        expect(.badData, "no tensor \"qkv\"", "w.pt") { try weights.tensor("qkv") }
        let closed = try RenamedWeights(stored, [("q", Place("qkv"))]) { _ in true }
        #expect(closed.keys == ["q"])
    }

    @Test("tensors that cannot be cut are refused by name")
    func misfits() throws {
        for part in [RenamedWeights.Part.rows(0..<2, of: 4), .rows(0..<8, of: 6)] {
            expect(.badData, "\"qkv\" is [6, 2]", "w.pt") { try RenamedWeights(stored, [("a", Place("qkv", part))]) }
        }
        let odd = MemoryWeights([("a", HostTensor([1, 2, 3], [3])), ("b", HostTensor([1], []))], path: "w.pt")
        for name in ["a", "b"] {
            expect(.badData, "\"\(name)\" is", "even number of rows") {
                try RenamedWeights(odd, [("x", Place(name, .halvesSwapped))])
            }
        }
    }

    @Test("a scale is given to who asks for it, and multiplied out for who does not; problems say the stored name")
    func scopes() throws {
        let weights = try RenamedWeights(
            stored, [("a.weight", Place("qkv", scale: 0.25)), ("b.weight", Place("table")), ("c", Place("mod"))]
        ) { _ in true }
        let ledger = WeightLedger()
        let scope = WeightScope(weights, ledger: ledger, on: CPUBackend(threads: 1))
        let (weight, scale) = (scope / "a").takeScaled("weight", [6, 2])
        #expect(weight.count == 12 && scale == 0.25 && ledger.isClean)
        _ = (scope / "b").take("weight", [1])
        _ = scope.take("c", [2])
        let table = (scope / "a").takeTable("weight", [6, 2])
        #expect(try table.floats() == stored.tensor("qkv").floats().map { 0.25 * $0 })
        expect(
            .badData, "1 missing: b.weight (in table) [1]", "1 of another shape: c (in mod) is [4], expected [2]"
        ) { try ledger.finish() }
    }
}
