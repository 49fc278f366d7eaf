import RuyiModels
import RuyiTensor

/// The transformer with what the calls of one clip share: its texts, those of the negative prompt first.
struct PyramidDenoiser {
    private let transformer: PyramidTransformer
    private let texts: [PyramidText]
    private let job: Job

    init(_ transformer: PyramidTransformer, _ texts: [HunyuanText], _ job: Job) {
        (self.transformer, self.job) = (transformer, job)
        self.texts = texts.map(transformer.text)
    }

    /// What the calls of a stage share, for a frame's latents `[1, C, h, w]` behind clips of the history `[T, C, h, w]`.
    ///
    /// Both sides of the guidance are computed together, or one after the other where memory is to be saved; stages are
    /// recorded of both together.
    func surroundings(_ clips: [Tensor], of latents: Tensor) -> [PyramidSurroundings] {
        let around = PyramidSurroundings(transformer, clips, frame: latents, texts, on: job.session)
        guard job.isStreamed, job.trace == nil else { return [around] }
        return texts.indices.map(around.apart)
    }

    /// The guided velocity for latents `[1, C, h, w]` at a noise level, of their shape.
    func callAsFunction(
        _ latents: Tensor, time: Float, _ around: [PyramidSurroundings], guidance: Double, _ call: ModelCall,
        trace: StageTrace?
    ) throws -> Tensor {
        var done = 0
        let outputs = try around.flatMap { around in
            let sides = done..<done + around.texts.count
            done = sides.upperBound
            return try transformer(latents, time: time, around, trace: trace, blockDone: call.blockDone(sides))
        }
        let session = latents.session
        call.record("timestep_in", session.filled([outputs.count], time))
        call.record("model_output", session.concatenate(outputs, axis: 0).expanded(at: 2))
        guard outputs.count == 2 else { return outputs[0] }
        let scale = Float(guidance)
        let velocity = session.combine(outputs[1], scale, outputs[0], 1 - scale)
        call.record("guided", velocity.expanded(at: 2))
        return velocity
    }
}
