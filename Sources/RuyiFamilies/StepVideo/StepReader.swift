import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// What both encoders make of a text.
package struct StepText: Sendable {
    /// The language model's states, `[1, T, width]`, of which the first `valid` are the text's.
    let language: Tensor
    let valid: Int
    /// BERT's states, `[1, 77, width]`, all of which count.
    let bert: Tensor

    /// Places of the text as the transformer sees it.
    var length: Int { bert.shape[1] + valid }
}

/// Reads the prompts of clips, or takes over what is kept of them (specification sections 4 and 5).
final class StepReader: Sendable {
    /// What reads them; nil where conditions are given.
    private let encoders: StepTextEncoders?

    /// The encoders' weights, where they are there; they are let go once the prompts are read.
    var weights: StageWeights? { encoders?.weights }

    init(_ encoders: StepTextEncoders?) { self.encoders = encoders }

    /// What the clip shows, and what is kept out of it where it is guided, as wide as a transformer takes them.
    func callAsFunction(_ job: Job, for transformer: StepTransformerConfiguration) throws -> [StepText] {
        let sides =
            [("prompt", "prompt", StepSettings(job.plan).text(job.plan.prompt))]
            + (job.plan.negativePrompt.map { [("negative_prompt", "negative prompt", $0)] } ?? [])
        let (texts, depth) = (sides.map { $0.2 }, encoders?.depth ?? 0)
        let stage = weights.map { job.begin(.reading, steps: depth * texts.count, weights: $0) }
        // All that is still to be read goes through the layers together.
        var made: (first: Int, texts: [StepText])?
        let read = try sides.enumerated().map { index, side in
            var whole: StepText?
            let found = try job.encoded(
                side.0, of: [ConditionKey(side.1, side.2)],
                as: [
                    "language": [1, nil, transformer.textWidths.language],
                    "bert": [1, BERTTokenizer.length, transformer.textWidths.bert],
                ], kept: { if made == nil { stage?.advance(by: depth) } }
            ) {
                let all =
                    try made
                    ?? (
                        index,
                        job.needed(encoders)(Array(texts[index...]), job) { stage?.advance(by: texts.count - index) }
                    )
                made = all
                let text = all.texts[index - all.first]
                whole = text
                // Stages are recorded with the padding.
                let states = text.language
                let isPadded = text.valid < states.shape[1]
                return [isPadded ? job.session.copy(states.sliced(1, 0..<text.valid)) : states, text.bert]
            }
            return whole ?? StepText(language: found[0], valid: found[0].shape[1], bert: found[1])
        }
        if let weights { job.release(weights) }
        return read
    }
}

/// The text encoders of a checkpoint: the language model, and BERT.
struct StepTextEncoders: Sendable {
    private let prompts: StepPrompts
    private let language: StepLLM
    private let bert: BERT
    /// The weights of both.
    let weights: StageWeights

    /// Layers that are computed for one prompt, for progress.
    var depth: Int { language.depth }

    init(
        _ checkpoint: StepCheckpoint, _ sizes: StepTextConfiguration, loader: inout ModelLoader
    ) throws(Fault) {
        prompts = try checkpoint.prompts()
        let (language, languageWeights) = try loader.part(checkpoint.weights(.language), blocks: ["layers"]) {
            StepLLM($0, sizes.language)
        }
        let (bert, bertWeights) = try loader.part(BERTFile(checkpoint.weights(.bert)).weights) {
            BERT($0, sizes.bert)
        }
        (self.language, self.bert) = (language, bert)
        weights = StageWeights(
            languageWeights.files + bertWeights.files, languageWeights.units + bertWeights.units,
            byteCount: languageWeights.byteCount + bertWeights.byteCount,
            streamedByteCount: max(languageWeights.streamedByteCount, bertWeights.streamedByteCount))
    }

    /// Reads texts; where stages are recorded the states include those of the padding.
    func callAsFunction(_ texts: [String], _ job: Job, layerDone: () -> Void) throws -> [StepText] {
        let (session, trace) = (job.session, job.trace.map { StageTrace($0) })
        let ids = texts.map(prompts.tokens)
        let states = try language(trace == nil ? ids : ids.map(prompts.padded), on: session) { layer, states in
            try session.check()
            job.releaseStreamed(weights)
            layerDone()
            trace?.record("text.layer.\(StageTrace.digits(layer)).out", joined(states))
        }
        let tokens = texts.map(prompts.bertTokens)
        var layers: [[Tensor]] = []
        let read = try tokens.map { ids, valid in
            var outputs: [Tensor] = []
            let states = try bert(ids, valid: valid, on: session) { if trace != nil { outputs.append($1) } }
            layers.append(outputs)
            return states
        }
        try session.check()
        if let trace {
            for layer in layers[0].indices {
                trace.record("text.2.layer.\(StageTrace.digits(layer)).out", joined(layers.map { $0[layer] }))
            }
            record(ids, tokens, states, read, trace)
        }
        return texts.indices.map { StepText(language: states[$0], valid: ids[$0].count, bert: read[$0]) }
    }

    private func joined(_ states: [Tensor]) -> Tensor { states[0].session.concatenate(states, axis: 0) }

    private func record(
        _ ids: [[Int]], _ tokens: [(ids: [Int], valid: Int)], _ states: [Tensor], _ read: [Tensor], _ trace: StageTrace
    ) {
        func table(_ rows: [[Int]]) -> HostTensor {
            HostTensor(integers: rows.joined().map { Int64($0) }, [rows.count, rows[0].count])
        }
        func mask(_ count: Int, of length: Int) -> [Int] { (0..<length).map { $0 < count ? 1 : 0 } }
        let bertLength = BERTTokenizer.length
        trace.record("text.tokens", table(ids.map(prompts.padded)))
        trace.record("text.tokens.2", table(tokens.map(\.ids)))
        trace.record("text.mask", table(ids.map { mask(bertLength + $0.count, of: bertLength + StepTokenizer.length) }))
        trace.record("text.mask.2", table(tokens.map { mask($0.valid, of: bertLength) }))
        trace.record("text.embeds", joined(states))
        trace.record("text.embeds.2", joined(read))
    }
}
