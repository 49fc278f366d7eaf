import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor
import Synchronization

/// A model with other weights than the stored ones, made when a clip first needs it and kept for the next.
final class ChangedModel<Model: Sendable>: Sendable {
    private let kept = Mutex<(change: WeightChange, model: Model)?>(nil)

    /// The model with the weights that the job's plan asks for.
    ///
    /// - Parameters:
    ///   - model: the model with the stored weights.
    ///   - stored: the file of its weights, which are those of `unit`.
    ///   - rounding: what is rounded where the plan asks for a mode of 8-bit floating-point numbers.
    ///   - renamed: the layers that LoRA files may name in another way.
    ///   - stages: the plan's stages in which weights are rounded and quantised.
    ///   - make: makes the model of weights that are rounded and have low-rank updates.
    ///   - quantize: switches it to 8-bit integers, and calls back after each block.
    func callAsFunction(
        _ job: Job, _ model: Model, stored: any WeightFile, in unit: ResidencyUnit,
        rounding: (any WeightFile, FP8QuantMode, DType) -> FP8Rounding, renamed: [String: [LoRAPart]] = [:],
        stages: (rounding: Int, quantising: Int), make: (WeightScope) -> Model,
        quantize: (Model, () throws -> Void) throws -> Model
    ) throws -> Model {
        let plan = job.plan
        let change = WeightChange(plan)
        if change == WeightChange(Plan()) { return model }
        let session = job.session
        return try kept.withLock { kept in
            if let kept, kept.change == change { return kept.model }
            kept = nil
            let done = Atomic<Int>(0)
            @Sendable func advance(_ stage: Int) {
                session.release(unit)
                job.progress(stage, done.add(1, ordering: .relaxed).newValue)
            }
            var round: @Sendable (String, Weight) -> Weight = { $1 }
            if plan.fp8QuantMode != .none {
                let stage = stages.rounding
                job.progress(stage, 0)
                let dtype = plan.fp8DataType.dtype
                let keys = Set(rounding(stored, plan.fp8QuantMode, dtype).keys)
                round = { key, weight in
                    guard keys.contains(key) else { return weight }
                    defer { advance(stage) }
                    return weight.dtype == dtype ? weight : session.narrowed(weight, to: dtype)
                }
            }
            var updates: [(String, LowRankUpdate)] = []
            for lora in plan.loras {
                updates += try LoRAFile(path: lora.path).updates(
                    of: stored, strength: lora.weight, renamed: renamed)
            }
            let ledger = WeightLedger()
            var made = make(
                WeightScope(AdaptedWeights(stored, updates), ledger: ledger, on: session.backend, change: round))
            try session.check()
            try ledger.finish(unknown: .warn)
            if plan.isQuantized {
                job.progress(stages.quantising, 0)
                made = try quantize(made) {
                    try session.check()
                    advance(stages.quantising)
                }
            }
            session.memory.trim()
            kept = (change, made)
            return made
        }
    }
}

/// What a plan changes about the transformer's weights.
private struct WeightChange: Equatable, Sendable {
    private let loras: [LoRA]
    private let isQuantized: Bool
    private let fp8QuantMode: FP8QuantMode
    private let fp8DataType: FP8DataType

    init(_ plan: Plan) {
        loras = plan.loras
        isQuantized = plan.isQuantized
        fp8QuantMode = plan.fp8QuantMode
        fp8DataType = plan.fp8DataType
    }
}
