import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

/// Reads the prompts of clips, or takes over what is kept of them.
final class PyramidReader: Sendable {
    /// What reads them; nil where conditions are given.
    private let encoders: PyramidTextEncoders?

    /// The encoders' weights, where they are there; they are let go once the prompts are read.
    var weights: StageWeights? { encoders?.weights }

    init(_ encoders: PyramidTextEncoders?) { self.encoders = encoders }

    /// What is kept out of the clip, where it is guided, and what it shows: of each the states of T5 and CLIP's pooled ones,
    /// as wide as a transformer takes them.
    func callAsFunction(_ job: Job, for transformer: PyramidTransformerConfiguration) throws -> [HunyuanText] {
        let plan = job.plan
        let sides =
            (plan.negativePrompt.map { [("negative_prompt", "negative prompt", $0)] } ?? [])
            + [("prompt", "prompt", plan.prompt + PyramidPrompts.suffix)]
        let depth = encoders?.depth ?? 0
        let stage = weights.map { job.begin(.reading, steps: depth * sides.count, weights: $0) }
        let read = try sides.map { name, title, text in
            try job.encoded(
                text: name, of: [ConditionKey(title, text)], width: transformer.textWidth,
                pooledWidth: transformer.pooledWidth, kept: { stage?.advance(by: depth) }
            ) { try job.needed(encoders)(text, job) { stage?.advance() } }
        }
        if let weights { job.release(weights) }
        guard let trace = job.trace else { return read }
        // Stages are recorded of both sides together, which are of one length then.
        if job.hasConditions { return PyramidReader.padded(read) }
        try job.needed(encoders).record(sides.map { $0.2 }, read, trace)
        return read
    }

    /// Texts with zeros behind the shorter ones.
    private static func padded(_ texts: [HunyuanText]) -> [HunyuanText] {
        let length = texts.map { $0.states.shape[1] }.max() ?? 0
        return texts.map { text in
            let (states, session) = (text.states, text.states.session)
            let missing = length - states.shape[1]
            if missing == 0 { return text }
            let padding = session.filled([1, missing, states.shape[2]], 0)
            return HunyuanText(
                states: session.concatenate([states, padding], axis: 1), valid: text.valid, pooled: text.pooled)
        }
    }
}

/// The text encoders of a checkpoint: T5, and CLIP's towers.
struct PyramidTextEncoders: Sendable {
    private let prompts: PyramidPrompts
    private let towers: [CLIPText]
    private let language: T5Encoder
    /// The weights of all of them.
    let weights: StageWeights

    /// Layers that are computed for one prompt, for progress.
    var depth: Int { language.depth }

    /// The names under which the tokens of CLIP's towers are recorded.
    private static let towerNames = ["text.tokens.clip", "text.tokens.clip2"]

    init(
        _ checkpoint: PyramidCheckpoint, _ configuration: PyramidTextConfiguration, loader: inout ModelLoader
    ) throws(Fault) {
        let variant = checkpoint.variant
        prompts = try checkpoint.prompts()
        var (towers, weights): ([CLIPText], [StageWeights]) = ([], [])
        for (part, tower) in zip(variant.towers, configuration.towers) {
            let (made, own) = try loader.part(
                checkpoint.weights(part), isSpare: { !configuration.isProjected && $0.hasPrefix("text_projection.") }
            ) { CLIPText($0, tower, projected: configuration.isProjected) }
            towers.append(made)
            weights.append(own)
        }
        let (language, own) = try loader.part(checkpoint.weights(variant.language), blocks: ["block"]) {
            T5Encoder($0, configuration.language)
        }
        (self.towers, self.language) = (towers, language)
        weights.append(own)
        self.weights = StageWeights(
            weights.flatMap(\.files), weights.flatMap(\.units), byteCount: weights.reduce(0) { $0 + $1.byteCount },
            streamedByteCount: weights.map(\.streamedByteCount).max() ?? 0)
    }

    /// Reads a text; where stages are recorded the states include those of the padding.
    func callAsFunction(_ text: String, _ job: Job, layerDone: () -> Void) throws -> HunyuanText {
        let session = job.session
        let pooled = try zip(towers, prompts.clipTokens(text)).map { tower, ids in
            tower.pooled(try tower(ids, on: session), ids)
        }
        let ids = prompts.tokens(text).ids
        let states = try language(
            job.trace == nil ? ids : prompts.padded(ids), valid: ids.count, on: session
        ) { _, _ in
            try session.check()
            job.releaseStreamed(weights)
            layerDone()
        }
        try session.check()
        return HunyuanText(
            states: states, valid: ids.count,
            pooled: pooled.count == 1 ? pooled[0] : session.concatenate(pooled, axis: 1))
    }

    /// Records texts that were just read.
    func record(_ texts: [String], _ read: [HunyuanText], _ trace: Trace) {
        func table(_ rows: [[Int]]) -> HostTensor {
            HostTensor(integers: rows.joined().map { Int64($0) }, [rows.count, rows[0].count])
        }
        let ids = texts.map { prompts.padded(prompts.tokens($0).ids) }
        trace.record("text.tokens", table(ids))
        trace.record("text.mask", table(read.map { text in ids[0].indices.map { $0 < text.valid ? 1 : 0 } }))
        let clip = texts.map(prompts.clipTokens)
        for (index, name) in PyramidTextEncoders.towerNames.enumerated() where index < towers.count {
            trace.record(name, table(clip.map { $0[index] }))
        }
        let session = read[0].states.session
        trace.record("text.embeds", session.concatenate(read.map(\.states), axis: 0))
        trace.record("text.pooled", session.concatenate(read.map(\.pooled), axis: 0))
    }
}
