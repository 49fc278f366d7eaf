import RuyiModels
import RuyiSampling
import RuyiTensor

/// The transformer with what the calls of one clip share: texts, times and positions (specification sections 6 and 10).
struct StepDenoiser {
    private let transformer: StepTransformer
    private let contexts: [StepContext]
    private let moments: StepMoments
    private let rotary: RotaryTable
    /// The picture's latents in the first frame and nothing in the others, `[1, C, f, h, w]`.
    private let beside: Tensor?
    private let job: Job

    /// Tokens up to which both sides of the guidance are computed together; each of longer clips' takes enough rows alone.
    private static let joinedTokens = 4096

    /// - Parameters:
    ///   - texts: what the clip shows, and what is kept out of it where it is guided.
    ///   - grid: the latents' frames, rows and columns.
    init(
        _ transformer: StepTransformer, _ texts: [StepText], _ times: [Float], beside: Tensor?, grid: [Int], _ job: Job
    ) throws {
        (self.transformer, self.beside, self.job) = (transformer, beside, job)
        let (session, settings) = (job.session, StepSettings(job.plan))
        rotary = StepRotary.table(
            frames: grid[0], rows: grid[1], columns: grid[2], axes: transformer.configuration.rotaryAxes,
            rounding: settings.rounding, on: session)
        moments = transformer.moments(
            times, motion: settings.motionScore.map { Float($0) }, rounding: settings.rounding, on: session)
        let words = texts.map { transformer.words(language: $0.language, bert: $0.bert) }
        let isJoined = grid.reduce(1, *) <= StepDenoiser.joinedTokens && !job.isStreamed || job.trace != nil
        let batches = isJoined ? [Array(texts.indices)] : texts.indices.map { [$0] }
        contexts = try batches.map { batch in
            let lengths = batch.map { texts[$0].length }
            let longest = lengths.max() ?? 0
            let rows = batch.map { StepDenoiser.filled(words[$0], to: longest) }
            let joined = rows.count == 1 ? rows[0] : session.concatenate(rows, axis: 0)
            if let trace = job.trace { StepDenoiser.record(joined, lengths, trace) }
            return try transformer.context(joined, lengths: lengths) { unit in
                try session.check()
                session.release(unit)
            }
        }
        if let trace = job.trace {
            let (embedded, signal) = moments[0]
            func both(_ row: Tensor) -> Tensor { session.concatenate(texts.map { _ in row }, axis: 0) }
            trace.record("embed.timestep", both(embedded))
            trace.record("embed.modulation", both(signal))
        }
    }

    /// A text `[1, L, D]` cut, or filled with zeros that nobody sees, to so many places.
    private static func filled(_ words: Tensor, to length: Int) -> Tensor {
        let (session, count) = (words.session, words.shape[1])
        guard count < length else { return session.copy(words.sliced(1, 0..<length)) }
        return session.concatenate([words, session.filled([1, length - count, words.shape[2]], 0)], axis: 1)
    }

    private static func record(_ words: Tensor, _ lengths: [Int], _ trace: Trace) {
        trace.record("embed.text", words)
        let mask = lengths.flatMap { length in (0..<words.shape[1]).map { $0 < length ? Int64(1) : 0 } }
        trace.record("embed.text.mask", HostTensor(integers: mask, [lengths.count, words.shape[1]]))
    }

    /// The guided velocity for latents `[1, C, f, h, w]`, of their shape.
    func callAsFunction(_ latents: Tensor, _ call: ModelCall) throws -> Tensor {
        let session = latents.session
        let input = beside.map { session.concatenate([latents, $0], axis: 1) } ?? latents
        let sides = contexts.reduce(0) { $0 + $1.count }
        let outputs = try transformer(
            input, moments, at: call.index, contexts, rotary: rotary,
            trace: call.index == 0 ? job.trace.map { StageTrace($0) } : nil, blockDone: call.blockDone(0..<sides))
        let both = { outputs.count == 1 ? outputs[0] : session.concatenate(outputs, axis: 0) }
        if call.index == 0 { job.trace?.record("final.out", both()) }
        call.record("model_output", both())
        let scale = Float(job.plan.guidance)
        let velocity =
            outputs.count == 1 ? outputs[0] : session.combine(outputs[0], scale, outputs[1], 1 - scale)
        call.record("guided", velocity)
        return velocity
    }
}
