import GoldenRecords
import RuyiCPU
import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Step-Video's text encoders against the reference")
struct StepEncoderTests {
    private static let family = "step-video"

    /// The records of a part of the family.
    private static func parts(_ name: String) -> [GoldenRecord] { GoldenSet.parts([name], of: family) }

    private let backend = CPUBackend(threads: 2)

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: HostTensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(golden.record): \(mismatch)") }
    }

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: Tensor) throws {
        try check(golden, name, tensor.session.read(tensor))
    }

    private func stepTokenizer(_ folder: ModelFolder, _ place: String = "step_llm") throws -> StepTokenizer {
        let name = "\(place)/step1_chat_tokenizer.model"
        return try StepTokenizer(SentencePieceFile(parsing: folder.bytes(name), file: name))
    }

    private func bertTokenizer(_ folder: ModelFolder) throws -> BERTTokenizer {
        let place = "hunyuan_clip/tokenizer"
        return try BERTTokenizer(
            vocabulary: folder.bytes(place + "/vocab.txt"), file: "vocab.txt",
            settings: folder.json(place + "/tokenizer_config.json"))
    }

    @Test("texts become the reference's tokens, exactly", arguments: parts("component-tokenizers"))
    func tokenizers(_ record: GoldenRecord) throws {
        let folder = try ModelFolder(path: record("model"))
        let expected = try record.json("expected.json")
        #expect(expected["llm_length"]?.int == StepTokenizer.length)
        #expect(expected["llm_bos"]?.int == StepTokenizer.start && expected["llm_eos"]?.int == StepTokenizer.end)
        #expect(expected["llm_pad"]?.int == StepTokenizer.padding)
        #expect(expected["bert_length"]?.int == BERTTokenizer.length)
        let (pairs, unigram) = (try stepTokenizer(folder), try stepTokenizer(folder, "step_llm_unigram"))
        let bert = try bertTokenizer(folder)
        #expect(bert.padded([], length: 1) == [expected["bert_pad"]?.int])
        let rows = try #require(expected["rows"]?.array)
        #expect(rows.count > 20)
        for row in rows {
            let text = try #require(row["text"]?.string)
            func recorded(_ key: String) -> [Int] { row[key]?.array?.compactMap(\.int) ?? [] }
            #expect(pairs(text) == recorded("bpe"), "\(text)")
            #expect(unigram(text) == recorded("unigram"), "\(text)")
            #expect(bert(text) == recorded("bert"), "\(text)")
            let padded = pairs.padded(pairs(text))
            #expect(padded.count == StepTokenizer.length && bert.padded(bert(text)).count == BERTTokenizer.length)
        }
    }

    /// The settings of a layer with some heads.
    private func configuration(_ heads: Int, groups: Int, width: Int, alibi: String? = nil) throws
        -> StepLLM.Configuration
    {
        let sizes: [JSON.Member] = [
            .init("hidden_size", .int(width)), .init("num_attention_heads", .int(heads)),
            .init("num_attention_groups", .int(groups)), .init("ffn_hidden_size", 300), .init("num_layers", 1),
            .init("padded_vocab_size", 8), .init("layernorm_epsilon", 1e-5),
        ]
        let members = sizes + (alibi.map { [JSON.Member("alibi", .string($0))] } ?? [])
        return try StepLLM.Configuration(JSONObject(.object(members), file: "config.json"))
    }

    @Test("slopes, biases, attention and a layer are the reference's", arguments: parts("component-stepllm"))
    func layer(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let session = backend.session()
        func input(_ name: String) throws -> Tensor { session.upload(try golden.expected.tensor(name)) }
        let slopes = golden.expected.keys.filter { $0.hasPrefix("slopes.") }
        #expect(slopes.count > 10)
        for name in slopes {
            let count = try golden.expected.tensor(name).count
            try check(golden, name, HostTensor(StepLLM.slopes(count), [count]))
        }
        let bias = try golden.expected.tensor("bias.48").selected(0, 0)
        for (head, slope) in StepLLM.slopes(48).enumerated() {
            for query in 0..<bias.shape[1] {
                let row = bias.selected(0, head).selected(0, query).floats()
                for key in 0...query { #expect(abs(row[key] + slope * Float(query - key).squareRoot()) < 1e-6) }
            }
        }
        // Heads stand apart in the record: [1, tokens, heads, size].
        let (tokens, heads, size) = (10, 6, 8)
        let operands = try ["q", "k", "v"].map { try input("attn.\($0)").reshaped([1, tokens, heads * size]) }
        for (kind, name) in [
            (nil, "attn.out"), ("linear", "alt.attn.out.linear_alibi"), ("none", "alt.attn.out.no_bias"),
        ] as [(String?, String)] {
            let settings = try configuration(heads, groups: heads, width: heads * size, alibi: kind)
            let attended = session.attention(
                operands[0], operands[1], operands[2], heads: heads, scale: 1 / Float(size).squareRoot(),
                options: AttentionOptions(mask: .causal(tokens), bias: settings.attentionBias))
            try check(golden, name, attended.reshaped([1, tokens, heads, size]))
        }
        let weights = try SafetensorsFile(path: record("weights.safetensors"))
        let settings = try configuration(12, groups: 3, width: 48)
        let ledger = WeightLedger()
        let attention = StepLLMAttention(WeightScope(weights, ledger: ledger, on: backend), settings)
        try ledger.finish { $0.hasPrefix("feed_forward.") || $0.hasPrefix("ffn_norm.") }
        try check(golden, "block.attn.out", attention(input("block.in")))
        // The whole layer is recorded in the complete set.
        guard golden.expected.shape(of: "block.out") != nil else { return }
        let whole = WeightLedger()
        let layer = StepLLMLayer(WeightScope(weights, ledger: whole, on: backend), settings)
        try whole.finish()
        try check(golden, "block.out", layer(input("block.in")))
    }

    @Test("a prompt's tokens and its states are the reference's", arguments: GoldenSet.runs(of: family))
    func runs(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: record.model)
        let request = try record.json("request.json")
        func text(_ key: String) -> String { request[key]?.string ?? "" }
        let (step, bert) = (try stepTokenizer(folder), try bertTokenizer(folder))
        let texts = [text("prompt") + text("positive_magic"), text("negative_prompt")]
        let (stepIDs, bertIDs) = (texts.map { step($0) }, texts.map { bert($0) })
        func integers(_ rows: [[Int]]) -> HostTensor {
            HostTensor(integers: rows.joined().map { Int64($0) }, [rows.count, rows[0].count])
        }
        func mask(_ count: Int, of length: Int) -> [Int] { (0..<length).map { $0 < count ? 1 : 0 } }
        try check(golden, "text.tokens", integers(stepIDs.map { step.padded($0) }))
        try check(golden, "text.tokens.2", integers(bertIDs.map { bert.padded($0) }))
        try check(
            golden, "text.mask",
            integers(stepIDs.map { mask(BERTTokenizer.length, of: BERTTokenizer.length) + mask($0.count, of: 320) }))
        try check(golden, "text.mask.2", integers(bertIDs.map { mask($0.count, of: BERTTokenizer.length) }))
        try checkStepLLM(golden, folder, stepIDs, padded: stepIDs.map { step.padded($0) })
        try checkBERT(golden, folder, bertIDs, padded: bertIDs.map { bert.padded($0) })
    }

    private func checkStepLLM(_ golden: GoldenCase, _ folder: ModelFolder, _ ids: [[Int]], padded: [[Int]]) throws {
        let ledger = WeightLedger()
        let model = StepLLM(
            WeightScope(try folder.weights("step_llm", stem: "model"), ledger: ledger, on: backend),
            try StepLLM.Configuration(folder.json("step_llm/config.json")))
        try ledger.finish()
        #expect(model.depth > 1)
        let session = backend.session()
        func checkValid(_ name: String, _ text: Int, _ states: Tensor) throws {
            guard golden.expected.shape(of: name) != nil else { return }
            let recorded = try golden.expected.tensor(name).sliced(0, text..<text + 1).sliced(1, 0..<ids[text].count)
            let error = relativeError(states.floats(), recorded.floats())
            #expect(error <= (try golden.record.tolerances()[name]), "\(golden.record) \(name) \(text): \(error)")
        }
        let states = try model(ids, on: session) { index, states in
            for text in ids.indices { try checkValid("text.layer.00\(index).out", text, states[text]) }
        }
        for text in ids.indices {
            try checkValid("text.embeds", text, states[text])
            let alone = try model(ids[text], on: session)
            #expect(alone.floats() == states[text].floats())
        }
        // What stands behind a text is recorded too, and changes nothing in it.
        guard golden.expected.shape(of: "text.embeds") != nil else { return }
        try check(golden, "text.embeds", session.concatenate(try model(padded, on: session), axis: 0))
    }

    private func checkBERT(_ golden: GoldenCase, _ folder: ModelFolder, _ ids: [[Int]], padded: [[Int]]) throws {
        let place = "hunyuan_clip/clip_text_encoder"
        let file = try folder.weights(place, stems: ["model", "pytorch_model"])
        let ledger = WeightLedger()
        let model = BERT(
            WeightScope(try BERTFile(file).weights, ledger: ledger, on: backend),
            try BERT.Configuration(folder.json(place + "/config.json")))
        try ledger.finish()
        let session = backend.session()
        var stages: [String: [Tensor]] = [:]
        for (ids, padded) in zip(ids, padded) {
            let last = try model(padded, valid: ids.count, on: session) {
                stages["text.2.layer.00\($0).out", default: []].append($1)
            }
            stages["text.embeds.2", default: []].append(last)
        }
        #expect(stages.count == model.depth + 1)
        for (name, parts) in stages where golden.expected.shape(of: name) != nil {
            try check(golden, name, session.concatenate(parts, axis: 0))
        }
    }
}
