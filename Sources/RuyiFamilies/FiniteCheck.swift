import RuyiFault
import RuyiFiles
import RuyiTensor

/// Looks whether numbers are finite, and finds the weights that are to blame where they are not.
///
/// Weights themselves are not read for it until then: a mean over latents is enough to see what broke.
package struct FiniteCheck: Sendable {
    private let files: [any WeightFile]

    /// `files` hold the weights that the numbers come from.
    package init(files: [any WeightFile]) { self.files = files }

    /// Looks at a tensor that `weights` and those before them were used for; `place` says where in the run that is, such
    /// as `in step 3 of 25`.
    ///
    /// Throws `.badData` that names a broken weight, or that says where the numbers stopped being finite.
    package func callAsFunction(
        _ x: Tensor, of weights: StageWeights, _ job: Job, _ place: @autoclosure () -> String
    ) throws {
        if isFinite(x) { return }
        // Operations that were told to end early leave anything behind.
        try job.session.check()
        for lora in job.plan.loras { try search(try LoRAFile(path: lora.path).file, job) }
        for file in weights.files { try search(file, job) }
        let searched = Set(weights.files.map(\.path))
        for file in files where !searched.contains(file.path) { try search(file, job) }
        throw Fault(
            .badData, "the numbers stopped being finite \(place()): there is no clip to make of them",
            hint: hint(job.plan))
    }

    private func isFinite(_ x: Tensor) -> Bool {
        x.session.isMeasuring || x.session.floats(x.session.meanMagnitude(x, minus: nil))[0].isFinite
    }

    /// Elements that are looked at together.
    private static let grain = 1 << 22

    private func search(_ file: any WeightFile, _ job: Job) throws {
        for key in file.keys where file.dtype(of: key)?.isFloat == true {
            try job.session.check()
            let weight = try file.tensor(key)
            let isWhole = try isFinite(weight, job)
            weight.releasePages()
            if isWhole { continue }
            throw Fault(
                .badData, "the tensor \"\(file.storedName(of: key))\" holds numbers that are not finite",
                at: file.path(of: key), hint: "the file is damaged, or was saved so: download it again")
        }
    }

    private func isFinite(_ weight: HostTensor, _ job: Job) throws -> Bool {
        guard weight.rank > 0 else { return isFinite(job.session.upload(weight)) }
        let rows = max(1, FiniteCheck.grain * weight.shape[0] / max(1, weight.count))
        for start in stride(from: 0, to: weight.shape[0], by: rows) {
            try job.session.check()
            let part = weight.sliced(0, start..<min(start + rows, weight.shape[0]))
            if part.count > 0, !isFinite(job.session.upload(part)) { return false }
        }
        return true
    }

    private func hint(_ plan: Plan) -> String {
        if let lora = plan.loras.first {
            return "the LoRA may be too strong: try a smaller number in --lora \(lora.path):\(lora.weight)"
        }
        if plan.fp8QuantMode != .none { return "try it without --fp8-quant-mode" }
        if plan.isQuantized { return "try it without --precision int8" }
        if plan.precision == .f16 { return "they may be too large for f16: try --precision bf16 or float32" }
        return "try a smaller --guidance, and look whether the checkpoint is whole with 'ruyi models verify'"
    }
}

extension Job {
    /// Looks whether latents are such as the model makes.
    ///
    /// Throws `.badData` for others.
    package func check(_ latents: HostTensor, shape: [Int]) throws(Fault) {
        guard latents.shape == shape, latents.dtype == .f32 else {
            throw Fault(
                .badData,
                "latents of the shape \(shape) in f32 were expected, not \(latents.shape) in \(latents.dtype)")
        }
        if !session.isMeasuring, !latents.floats().allSatisfy(\.isFinite) {
            throw Fault(.badData, "the latents hold numbers that are not finite")
        }
    }
}
