import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiTensor

/// What turns a prompt, and a picture, into what the transformer attends to (specification of HunyuanVideo,
/// sections 3 and 4).
package struct HunyuanTextEncoders: Sendable {
    private enum Language: Sendable {
        case text(LLaMA)
        case picture(LLaVA, token: Int)
    }

    /// The layers of the language model whose states are not asked for: the prompt is read two layers before the end.
    private static let unusedLayers = 2

    private let prompts: HunyuanPrompts
    private let language: Language
    private let clip: CLIPText
    package let files: [any WeightFile]
    /// The weights, which are let go once a prompt is read.
    package let units: [ResidencyUnit]
    /// Bytes of the weights that are used.
    package let byteCount: Int
    package let warnings: [String]

    /// Takes the weights of the language model and of CLIP.
    package init(
        text: any WeightFile, clip clipFile: any WeightFile, prompts: HunyuanPrompts,
        _ configuration: HunyuanTextConfiguration, on backend: any Backend
    ) throws(Fault) {
        self.prompts = prompts
        files = [text, clipFile]
        let ledger = WeightLedger()
        let scope = WeightScope(text, ledger: ledger, on: backend)
        if let picture = configuration.picture {
            let model = LLaVA(
                scope, vision: picture.vision, language: configuration.language, activation: picture.projector,
                withoutLast: HunyuanTextEncoders.unusedLayers)
            language = .picture(model, token: picture.token)
        } else {
            let nested = scope / "model"
            language = .text(
                LLaMA(
                    nested.keys.isEmpty ? scope : nested, configuration.language,
                    withoutLast: HunyuanTextEncoders.unusedLayers))
            scope.skip("lm_head.weight")
        }
        var warnings = try ledger.finish(unknown: .warn)
        let clipLedger = WeightLedger()
        let clipScope = WeightScope(clipFile, ledger: clipLedger, on: backend)
        clip = CLIPText(clipScope, configuration.clip)
        // The published file may be the whole CLIP.
        warnings += try clipLedger.finish(unknown: .warn) { key in
            ["vision_model.", "text_projection.", "visual_projection."].contains { key.hasPrefix($0) }
                || key == "logit_scale" || key.hasSuffix("embeddings.position_ids")
        }
        units = [scope.unit, clipScope.unit]
        self.warnings = warnings
        byteCount = ledger.byteCount + clipLedger.byteCount
    }

    /// The most bytes of weights that are in memory at one time when they are given back after each layer: a layer of the
    /// language model, the tower that sees, or CLIP.
    package var streamedByteCount: Int {
        func isSeeing(_ key: String) -> Bool { key.contains("vision_tower.") }
        let layers = files[0].blockByteCounts(["layers"]).filter { $0.key != "" && !isSeeing($0.key) }
        return max(files[0].byteCount(isSeeing), layers.values.max() ?? 0, files[1].byteCount)
    }

    /// Layers that are computed for one prompt, for progress.
    package var depth: Int {
        switch language {
        case .text(let model): model.depth
        case .picture(let model, _): model.language.depth
        }
    }

    /// Reads a prompt.
    ///
    /// - Parameters:
    ///   - pixels: what a model with a picture sees.
    ///   - interleave: every how many of the picture's tokens are kept.
    ///   - length: the most tokens of the prompt and of what is added behind it.
    ///   - trace: where the stages are recorded, which then include those of the padding; their names end with `suffix`.
    package func callAsFunction(
        _ prompt: String, pixels: HostTensor?, interleave: Int, length: Int, on session: any Session, trace: Trace?,
        suffix: String, layerDone: () throws -> Void
    ) throws -> HunyuanText {
        let tokens = prompts.tokens(prompt, length: length)
        guard tokens.valid > prompts.head else {
            throw Fault(
                .badData,
                "the tokenizer makes \(tokens.valid) tokens of a prompt and its instructions, which alone take "
                    + "\(prompts.head)",
                hint: "the checkpoint's folder 'tokenizer' is not that of LLaMA 3")
        }
        let record = trace.map { StageTrace($0, suffix: suffix) }
        let layers = suffix.isEmpty ? record : nil
        record?.recordIntegers("text.tokens", tokens.ids)
        let (states, valid) =
            switch language {
            case .text(let model):
                try read(tokens, model, on: session, record, layers, layerDone)
            case .picture(let model, let token):
                try read(
                    tokens, pixels, model, token: token, interleave: interleave, on: session,
                    record, layers, layerDone)
            }
        record?.recordIntegers("text.mask", (0..<states.shape[1]).map { $0 < valid ? 1 : 0 })
        record?.record("text.embeds", states)
        let clipIDs = prompts.clipTokens(prompt)
        record?.recordIntegers("text.tokens.2", clipIDs)
        let pooled = clip.pooled(try clip(clipIDs, on: session), clipIDs)
        record?.record("text.embeds.2", pooled)
        return HunyuanText(states: states, valid: valid, pooled: pooled)
    }

    private func read(
        _ tokens: HunyuanPrompts.Tokens, _ model: LLaMA, on session: any Session, _ record: StageTrace?,
        _ layers: StageTrace?, _ layerDone: () throws -> Void
    ) throws -> (states: Tensor, valid: Int) {
        let count = record != nil ? tokens.ids.count : tokens.valid
        let states = try model(
            model.embed(Array(tokens.ids.prefix(count)), on: session), valid: tokens.valid
        ) { index, states in
            layers?.record("text.layer.\(StageTrace.digits(index)).out", states)
            try layerDone()
        }
        return (session.copy(states.sliced(1, prompts.head..<count)), tokens.valid - prompts.head)
    }

    private func read(
        _ tokens: HunyuanPrompts.Tokens, _ pixels: HostTensor?, _ model: LLaVA, token: Int, interleave: Int,
        on session: any Session, _ record: StageTrace?, _ layers: StageTrace?, _ layerDone: () throws -> Void
    ) throws -> (states: Tensor, valid: Int) {
        guard let pixels else { throw Fault(.usage, "no start picture was given", at: "IMAGE") }
        record?.record("image.clip_pixels", pixels)
        let features = try model.vision(session.upload(pixels))
        record?.record("image.embeds", features)
        let patches = model.project(features.selected(0, 0))
        record?.record("image.features", patches.expanded(at: 0))
        let place = HunyuanPrompts.picturePlace
        guard tokens.ids.indices.contains(place), tokens.ids[place] == token else {
            throw Fault(.badData, "the tokenizer does not give the picture's token \(token) where it is expected")
        }
        let shift = patches.shape[0] - 1
        let count = (record != nil ? tokens.ids.count : tokens.valid) + shift
        let words = try model.language.embed(Array(tokens.ids.prefix(count - shift)), on: session)
        let embeddings = session.concatenate(
            [words.sliced(0, 0..<place), patches, words.sliced(0, place + 1..<words.shape[0])], axis: 0)
        let valid = tokens.valid + shift
        // Padding has the place 1, as the reference fills it in.
        let positions = (0..<count).map { $0 < valid ? $0 : 1 }
        let states = try model.language(embeddings, valid: valid, positions: positions) { index, states in
            layers?.record("text.layer.\(StageTrace.digits(index)).out", states)
            try layerDone()
        }
        let seen = stride(from: 0, to: patches.shape[0], by: max(interleave, 1)).map { place + $0 }
        let told = prompts.promptPlaces(tokens)
        let places = seen + told.map { $0 + shift }.filter { $0 < count }
        let rows = session.gather(states.selected(0, 0), places).expanded(at: 0)
        return (rows, seen.count + told.filter { $0 < tokens.valid }.count)
    }
}

/// The encoded prompt: what the transformer attends to.
package struct HunyuanText: Sendable {
    /// States of the language model, `[1, tokens, width]`, padding behind the first `valid`.
    package let states: Tensor
    package let valid: Int
    /// CLIP's state of the whole text, `[1, width]`.
    package let pooled: Tensor

    package init(states: Tensor, valid: Int, pooled: Tensor) {
        self.states = states
        self.valid = valid
        self.pooled = pooled
    }
}
