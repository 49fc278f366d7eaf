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
    ///   - stored: its weights, in one file.
    ///   - rounding: what is rounded where the plan asks for a mode of 8-bit floating-point numbers.
    ///   - renamed: the layers that LoRA files may name in another way.
    ///   - blocks: the model's blocks, which are quantised one after the other.
    ///   - make: makes the model of weights that are rounded and have the changes of LoRA files.
    ///   - quantize: switches it to 8-bit integers, and calls back after each block.
    func callAsFunction(
        _ job: Job, _ model: Model, stored: StageWeights,
        rounding: (any WeightFile, FP8QuantMode, DType) -> FP8Rounding, renamed: [String: [LoRAPart]] = [:],
        blocks: Int, make: (WeightScope) -> Model, quantize: (Model, () throws -> Void) throws -> Model
    ) throws -> Model {
        let plan = job.plan
        let change = WeightChange(plan)
        if change == WeightChange(Plan()) { return model }
        let session = job.session
        return try kept.withLock { kept in
            if let kept, kept.change == change { return kept.model }
            kept = nil
            let base = stored.files[0]
            var round: @Sendable (String, Weight) -> Weight = { $1 }
            if plan.fp8QuantMode != .none {
                let dtype = plan.fp8DataType.dtype
                let keys = Set(rounding(base, plan.fp8QuantMode, dtype).keys)
                let stage = job.begin(.rounding, steps: keys.count, weights: stored)
                round = { key, weight in
                    guard keys.contains(key) else { return weight }
                    defer {
                        session.release(weight.unit)
                        stage.advance()
                    }
                    return weight.dtype == dtype ? weight : session.narrowed(weight, to: dtype)
                }
            }
            let ledger = WeightLedger()
            let changes = try changes(job, of: base, renamed: renamed)
            var made = make(
                WeightScope(AdaptedWeights(base, changes), ledger: ledger, on: session.backend, change: round))
            try session.check()
            try ledger.finish(unknown: .warn)
            if plan.isQuantized {
                let stage = job.begin(.quantising, steps: blocks, weights: stored)
                made = try quantize(made) {
                    try session.check()
                    stored.units.forEach(session.release)
                    stage.advance()
                }
            }
            try session.check()
            session.memory.trim()
            kept = (change, made)
            return made
        }
    }

    /// What the LoRA files of a plan change; they stay in memory.
    private func changes(
        _ job: Job, of base: any WeightFile, renamed: [String: [LoRAPart]]
    ) throws(Fault) -> WeightChanges {
        var changes = WeightChanges()
        for lora in job.plan.loras {
            let file = try LoRAFile(path: lora.path)
            job.meter?.hold(lora.path, file.byteCount)
            changes += try file.changes(of: base, strength: lora.weight, renamed: renamed).changes
        }
        return changes
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
