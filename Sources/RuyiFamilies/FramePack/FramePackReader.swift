import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor
import Synchronization

extension FramePackCheckpoint {
    /// The tokenizers of the checkpoint that was opened last, which the plans and the renderer of a run share.
    private static let last = Mutex<(path: String, prompts: HunyuanPrompts)?>(nil)

    /// The checkpoint's tokenizers, read once for many plans.
    package func prompts() throws(Fault) -> HunyuanPrompts {
        let path = textIdentity
        if let known = FramePackCheckpoint.last.withLock({ $0 }), known.path == path { return known.prompts }
        // LLaMA 3's vocabulary and merges are about a million values.
        let tokenLimit = 1 << 22
        let prompts = try HunyuanPrompts(
            tokenizer: json(.tokenizer, "tokenizer.json", values: tokenLimit),
            vocabulary: json(.clipTokenizer, "vocab.json", values: tokenLimit),
            merges: FileBytes.read(file(.clipTokenizer, "merges.txt"), limit: 1 << 24),
            mergesPath: self.path(.clipTokenizer) + "/merges.txt", takesPicture: false, cleans: true)
        FramePackCheckpoint.last.withLock { $0 = (path, prompts) }
        return prompts
    }
}

/// Reads the prompts of clips, or takes over what is kept of them.
final class FramePackReader: Sendable {
    private let encoders: (models: HunyuanTextEncoders, prompts: HunyuanPrompts)?
    private let widths: (text: Int, pooled: Int)
    /// The encoders' weights, where they are there.
    let weights: StageWeights?

    init(
        _ encoders: (models: HunyuanTextEncoders, prompts: HunyuanPrompts)?,
        _ transformer: FramePackTransformerConfiguration
    ) {
        self.encoders = encoders
        widths = (transformer.textWidth, transformer.pooledWidth)
        weights = encoders.map { StageWeights($0.models) }
    }

    /// What the clip shows, and what is to be kept out of it where true guidance is on.
    func callAsFunction(_ job: Job) throws -> [HunyuanText] {
        let sides =
            [("prompt", job.plan.prompt, "text")]
            + (job.plan.negativePrompt.map { [("negative_prompt", $0, "text.negative")] } ?? [])
        let depth = encoders?.models.depth ?? 0
        let stage = weights.map { job.begin(.reading, steps: depth * sides.count, weights: $0) }
        let texts = try sides.map { name, prompt, recorded in
            let key = ConditionKey(name.split(separator: "_").joined(separator: " "), prompt)
            return try job.encoded(
                text: name, of: [key], width: widths.text, pooledWidth: widths.pooled,
                kept: { stage?.advance(by: depth) }
            ) {
                let (models, prompts) = try job.needed(encoders)
                let text = try models(
                    prompt, pixels: nil, interleave: 1, length: HunyuanPrompts.promptLength, on: job.session,
                    trace: nil, suffix: ""
                ) {
                    try job.session.check()
                    if let weights { job.releaseStreamed(weights) }
                    stage?.advance()
                }
                try job.session.check()
                record(prompt, prompts, text, recorded, job)
                return text
            }
        }
        if let weights { job.release(weights) }
        return texts
    }

    private func record(_ prompt: String, _ prompts: HunyuanPrompts, _ text: HunyuanText, _ name: String, _ job: Job) {
        guard let trace = job.trace.map({ StageTrace($0, prefix: name + ".") }) else { return }
        let tokens = prompts.tokens(prompt)
        trace.recordIntegers("tokens", tokens.ids)
        trace.recordIntegers("mask", tokens.ids.indices.map { $0 < tokens.valid ? 1 : 0 })
        trace.recordIntegers("tokens.2", prompts.clipTokens(prompt))
        trace.record("embeds", text.states.session.read(text.states))
        trace.record("embeds.2", text.pooled.session.read(text.pooled))
    }
}
