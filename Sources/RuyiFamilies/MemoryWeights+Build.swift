import RuyiFault
import RuyiFiles
import RuyiTensor

extension MemoryWeights {
    /// A part of a model over random weights in bf16, for measuring.
    static func build<Part>(
        _ shapes: [(key: String, shape: [Int])], on backend: any Backend, _ make: (WeightScope) -> Part
    ) throws(Fault) -> Part {
        let ledger = WeightLedger()
        let weights = random(shapes, dtype: .bf16, path: "random weights")
        let part = make(WeightScope(weights, ledger: ledger, on: backend))
        _ = try ledger.finish(unknown: .refuse)
        return part
    }
}
