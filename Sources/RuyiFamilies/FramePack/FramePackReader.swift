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
        let path = path(.tokenizer)
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

/// Reads the prompts of clips, and remembers the last ones: clips that share them read them once.
final class FramePackReader: Sendable {
    private let encoders: HunyuanTextEncoders
    private let prompts: HunyuanPrompts
    let weights: StageWeights
    private let known = PromptMemory<String>()

    init(_ encoders: HunyuanTextEncoders, _ prompts: HunyuanPrompts) {
        (self.encoders, self.prompts) = (encoders, prompts)
        weights = StageWeights(
            encoders.files, encoders.units, byteCount: encoders.byteCount,
            streamedByteCount: encoders.streamedByteCount)
    }

    /// What the clip shows, and what is to be kept out of it where true guidance is on.
    func callAsFunction(_ job: Job) throws -> [HunyuanText] {
        let sides = [(job.plan.prompt, "text")] + (job.plan.negativePrompt.map { [($0, "text.negative")] } ?? [])
        let stage = job.begin(.reading, steps: encoders.depth * sides.count, weights: weights)
        let texts = try sides.map { prompt, name in
            if job.meter == nil, let text = known[prompt] {
                stage.advance(by: encoders.depth)
                record(prompt, text, name, job)
                return text.moved(to: job.session)
            }
            let text = try encoders(
                prompt, pixels: nil, interleave: 1, length: HunyuanPrompts.promptLength, on: job.session, trace: nil,
                suffix: ""
            ) {
                try job.session.check()
                job.releaseStreamed(weights)
                stage.advance()
            }
            try job.session.check()
            record(prompt, text, name, job)
            if job.meter == nil { known[prompt] = text }
            return text
        }
        job.release(weights)
        return texts
    }

    private func record(_ prompt: String, _ text: HunyuanText, _ name: String, _ job: Job) {
        guard let trace = job.trace.map({ StageTrace($0, prefix: name + ".") }) else { return }
        let tokens = prompts.tokens(prompt)
        trace.recordIntegers("tokens", tokens.ids)
        trace.recordIntegers("mask", tokens.ids.indices.map { $0 < tokens.valid ? 1 : 0 })
        trace.recordIntegers("tokens.2", prompts.clipTokens(prompt))
        trace.record("embeds", text.states.session.read(text.states))
        trace.record("embeds.2", text.pooled.session.read(text.pooled))
    }
}
