import GoldenRecords
import RuyiCPU
import RuyiEncoders
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Testing

@Suite("Pyramid Flow's parts against the reference")
struct PyramidComponentTests {
    /// The records of a part of the family.
    private static func parts(_ name: String) -> [GoldenRecord] { GoldenSet.parts([name], of: "pyramid-flow") }

    private let backend = CPUBackend(threads: 2)

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: Tensor) throws {
        try check(golden, name, tensor.session.read(tensor))
    }

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: HostTensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    /// Every recorded tensor of some names, one for each part of a request.
    private func check(_ golden: GoldenCase, _ numbers: [String: [Float]]) throws {
        for (name, values) in numbers where golden.expected.shape(of: name) != nil {
            try check(golden, name, HostTensor(values, try golden.expected.tensor(name).shape))
        }
    }

    private func folder(_ record: GoldenRecord, _ key: String) throws -> ModelFolder {
        try ModelFolder(path: record(try #require(record.json("request.json")[key]?.string)))
    }

    private func clipTokenizer(_ folder: ModelFolder, _ place: String) throws -> CLIPTokenizer {
        let files = try ["special_tokens_map.json", "tokenizer_config.json"].map { try folder.json("\(place)/\($0)") }
        return try CLIPTokenizer(
            vocabulary: folder.json("\(place)/vocab.json", values: 1 << 22),
            merges: FileBytes.read(folder.file("\(place)/merges.txt")), file: "merges.txt", cleaning: .repaired,
            padding: CLIPTokenizer.padding(files))
    }

    /// The tokenizers of both files, of which the first is always there.
    private func t5Tokenizers(_ folder: ModelFolder, _ place: String) throws -> [T5Tokenizer] {
        let model = try SentencePieceFile(
            parsing: FileBytes.read(folder.file("\(place)/spiece.model")), file: "spiece.model")
        let json =
            try folder.has("\(place)/tokenizer.json")
            ? [T5Tokenizer(folder.json("\(place)/tokenizer.json", values: 1 << 22))] : []
        return try [T5Tokenizer(model)] + json
    }

    private func integers(_ rows: [[Int]]) -> HostTensor {
        HostTensor(integers: rows.joined().map { Int64($0) }, [rows.count, rows[0].count])
    }

    @Test("texts become the reference's tokens, exactly", arguments: parts("tokenizers"))
    func tokenizers(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try folder(record, "model")
        let (clip, bigG) = (try clipTokenizer(folder, "tokenizer"), try clipTokenizer(folder, "tokenizer_2"))
        let t5 = try t5Tokenizers(folder, "tokenizer_3")
        let rows = try #require(try record.json("expected.json").array)
        #expect(rows.count > 10)
        var ids: (clip: [[Int]], bigG: [[Int]], t5: [[Int]], mask: [[Int]]) = ([], [], [], [])
        for row in rows {
            let text = try #require(row["text"]?.string)
            func recorded(_ key: String) -> [Int] { row[key]?.array?.compactMap(\.int) ?? [] }
            #expect(clip(text, length: 1 << 20) == recorded("clip"), "\(text)")
            #expect(bigG(text, length: 1 << 20) == recorded("clip2"), "\(text)")
            for tokenizer in t5 { #expect(tokenizer(text) == recorded("t5"), "\(text)") }
            ids.clip.append(clip.padded(clip(text, length: 77), length: 77))
            ids.bigG.append(bigG.padded(bigG(text, length: 77), length: 77))
            let cut = t5[0](text, length: 128)
            ids.t5.append(t5[0].padded(cut, length: 128))
            ids.mask.append((0..<128).map { $0 < cut.count ? 1 : 0 })
        }
        // Ids that are filled up are recorded in the complete set.
        guard golden.expected.shape(of: "clip.ids") != nil else { return }
        try check(golden, "clip.ids", integers(ids.clip))
        try check(golden, "clip2.ids", integers(ids.bigG))
        try check(golden, "t5.ids", integers(ids.t5))
        try check(golden, "t5.mask", integers(ids.mask))
    }

    @Test("the text encoders' states are the reference's after every layer", arguments: parts("text-encoders"))
    func textEncoders(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let texts = try #require(record.json("request.json")["texts"]?.array).compactMap(\.string)
        #expect(texts.count == 3)
        for (variant, part, tokenizer, name) in [
            ("sd3", "text_encoder", "tokenizer", "clip"), ("sd3", "text_encoder_2", "tokenizer_2", "clip2"),
            ("miniflux", "text_encoder", "tokenizer", "clip"),
        ] {
            let folder = try folder(record, variant)
            let (tokenizer, isProjected) = (try clipTokenizer(folder, tokenizer), variant == "sd3")
            let ledger = WeightLedger()
            let tower = CLIPText(
                WeightScope(try folder.weights(part, stem: "model"), ledger: ledger, on: backend),
                try CLIPText.Configuration(folder.json("\(part)/config.json")), projected: isProjected)
            try ledger.finish()
            try judge(golden, "\(variant).\(name)", texts) { text, session, keep in
                let ids = tokenizer.padded(tokenizer(text, length: 77), length: 77)
                keep("ids", integers([ids]))
                let last = try tower(ids, on: session) { keep("hidden.\($0 + 1)", session.read($1)) }
                keep("last", session.read(last))
                keep(isProjected ? "projected" : "pooled", session.read(tower.pooled(last, ids)))
            }
        }
        for (variant, part, place) in [
            ("sd3", "text_encoder_3", "tokenizer_3"), ("miniflux", "text_encoder_2", "tokenizer_2"),
        ] {
            let folder = try folder(record, variant)
            let tokenizer = try t5Tokenizers(folder, place)[0]
            let ledger = WeightLedger()
            let encoder = T5Encoder(
                WeightScope(try folder.weights(part, stem: "model"), ledger: ledger, on: backend),
                try T5Encoder.Configuration(folder.json("\(part)/config.json")))
            try ledger.finish()
            try judge(golden, "\(variant).t5", texts) { text, session, keep in
                let cut = tokenizer(text, length: 128)
                let ids = tokenizer.padded(cut, length: 128)
                keep("ids", integers([ids]))
                keep("mask", integers([(0..<128).map { $0 < cut.count ? 1 : 0 }]))
                keep("hidden.0", session.read(try encoder.embed(ids, on: session)))
                let states = try encoder(ids, valid: cut.count, on: session) {
                    // Behind the last block only the states after the norm are recorded.
                    if $0 + 1 < encoder.depth { keep("hidden.\($0 + 1)", session.read($1)) }
                }
                keep("out", session.read(states))
                // What is real does not depend on padding.
                let alone = try encoder(cut, valid: cut.count, on: session)
                #expect(relativeError(alone.floats(), states.sliced(1, 0..<cut.count).floats()) < 1e-6)
            }
            guard variant == "sd3" else { continue }
            let session = backend.session()
            let bias = encoder.distanceBias(128, on: session)
            let rows = stride(from: 0, to: 128, by: 9).map { bias.sliced(1, $0..<$0 + 1) }
            try check(golden, "sd3.t5.position_bias", session.concatenate(rows, axis: 1).expanded(at: 0))
        }
    }

    /// Makes the stages of every text, and compares what they are together.
    private func judge(
        _ golden: GoldenCase, _ name: String, _ texts: [String],
        _ make: (String, any Session, (String, HostTensor) -> Void) throws -> Void
    ) throws {
        var stages: [String: [HostTensor]] = [:]
        let session = backend.session()
        for text in texts { try make(text, session) { stages[$0, default: []].append($1) } }
        #expect(stages.count > 4)
        for (stage, parts) in stages {
            let shape = [parts.count] + parts[0].shape.dropFirst()
            let whole =
                parts[0].dtype == .i64
                ? HostTensor(integers: parts.flatMap { $0.integers() }, Array(shape))
                : HostTensor(parts.flatMap { $0.floats() }, Array(shape))
            try check(golden, "\(name).\(stage)", whole)
        }
    }

    @Test("times, levels, jumps between stages and every step are the reference's", arguments: parts("scheduler"))
    func scheduler(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let session = backend.session()
        func input(_ name: String) throws -> Tensor { session.upload(try golden.expected.tensor(name)).framesFirst }
        let counts = try #require(record.json("request.json")["inference_steps"]?.array).compactMap(\.int)
        for count in counts {
            let schedule = PyramidSchedule(steps: [count, count, count])
            for (stage, calls) in schedule.stages.enumerated() {
                try check(
                    golden,
                    [
                        "n\(count).stage\(stage).timesteps": calls.timesteps,
                        "n\(count).stage\(stage).sigmas": calls.sigmas.map { Float($0) },
                    ])
            }
        }
        let schedule = PyramidSchedule(steps: [counts[2], counts[2], counts[2]])
        var latents = try input("update.in")
        for call in 0..<counts[2] {
            latents = schedule.step(latents, velocity: try input("update.\(call).model_output"), stage: 1, call: call)
            try check(golden, "update.\(call).out", latents.channelsFirst)
        }
        let factors = (1...2).map { PyramidSchedule.jumpFactors(to: $0) }
        try check(
            golden,
            [
                "jump.alpha": factors.map { Float($0.latents) }, "jump.beta": factors.map { Float($0.noise) },
                "block.cholesky": PyramidNoise.factor.flatMap { row in
                    (0..<4).map { row.indices.contains($0) ? row[$0] : 0 }
                },
            ])
        for stage in 1...2 {
            let jumped = PyramidSchedule.jump(try input("jump.in"), noise: try input("jump.noise"), to: stage)
            try check(golden, "jump.stage\(stage).out", jumped.channelsFirst)
        }
        guard golden.expected.shape(of: "pyramid.in") != nil else { return }
        let whole = try input("pyramid.in")
        try check(golden, "pyramid.1", whole.halved.channelsFirst)
        try check(golden, "pyramid.0", whole.halved.halved.channelsFirst)
    }

    @Test("noise is drawn as the reference draws it, blocks of four values one by one", arguments: parts("rng"))
    func noise(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let seeds = try #require(record.json("request.json")["seeds"]?.array).compactMap(\.int)
        var judged = 0
        for seed in seeds {
            let source = TorchGenerator(seed: UInt64(seed))
            // Of the clone's own seed the rest is recorded.
            guard golden.expected.shape(of: "seed\(seed).vae") != nil else { continue }
            judged += 1
            let noise = try source.next([1, 16, 3, 8, 16])
            if golden.expected.shape(of: "seed\(seed).noise") != nil { try check(golden, "seed\(seed).noise", noise) }
            try check(golden, "seed\(seed).vae", source.next([1, 16, 1, 8, 16]))
            for (stage, (height, width)) in [(4, 8), (8, 16)].enumerated() {
                let blocks = try PyramidNoise.blocks(
                    from: source, channels: 16, frames: 1, height: height, width: width)
                try check(golden, "seed\(seed).block\(stage + 1)", blocks)
            }
            let other = TorchGenerator(seed: UInt64(seed))
            for (name, count) in [("odd17", 17), ("small5", 5), ("small4", 4), ("mix20", 20)] {
                try check(golden, "seed\(seed).\(name)", other.next([count]))
            }
        }
        #expect(judged > 0)
    }

    @Test("pictures are cut, or stretched, as the reference does it", arguments: parts("image"))
    func pictures(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let items = try #require(record.json("request.json")["items"]?.array)
        for item in items {
            let (name, width) = (try #require(item["file"]?.string), try #require(item["width"]?.int))
            let (picture, height) = (try golden.picture(name), try #require(item["height"]?.int))
            let cut = try #require(InputPicture(picture).covering(width: width, height: height).picture)
            let stretched = picture.resized(width: width, height: height, filter: .bicubic)
            for (kind, result) in [("u8", cut), ("plain_resize.u8", stretched)] {
                let recorded = try golden.expected.tensor("\(name).\(kind)")
                // Decoders of JPEG may differ by a level.
                let limit = name.hasSuffix(".jpg") ? 2 : 0
                let differences = zip(result.pixels, recorded.integers()).map { abs(Int64($0) - $1) }
                #expect(differences.count == 3 * width * height && (differences.max() ?? 0) <= limit, "\(name) \(kind)")
            }
        }
    }

    @Test("the VAE encodes and decodes as the reference, whole, in chunks and in tiles", arguments: parts("vae"))
    func vae(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try folder(record, "model")
        let ledger = WeightLedger()
        let weights = try folder.weights("", stem: "diffusion_pytorch_model")
        let vae = PyramidVAE(
            WeightScope(weights, ledger: ledger, on: backend),
            try PyramidVAEConfiguration(folder.json("config.json")))
        try ledger.finish()
        let session = backend.session()
        func input(_ name: String) throws -> Tensor { session.upload(try golden.expected.tensor(name)).framesFirst }
        func run(_ prefix: String = "", _ trace: Trace? = nil) -> PyramidVAERun {
            PyramidVAERun(trace: trace.map { StageTrace($0, prefix: prefix) }) {}
        }
        func checkEncoding(_ place: String, _ tiling: PyramidTiling, _ run: PyramidVAERun) throws {
            let (mean, logVariance) = try vae.encode(input(place + "in"), tiling, run)
            try check(golden, place + "mean", mean.channelsFirst)
            try check(golden, place + "logvar", logVariance.channelsFirst)
        }
        func decode(
            _ latents: Tensor, _ tiling: PyramidTiling, _ run: PyramidVAERun, isStart: Bool = true
        ) throws -> (frames: Tensor, lengths: [Int]) {
            var frames: [Tensor] = []
            try vae.decode(latents, tiling, run, isStart: isStart) { frames.append($0) }
            return (session.concatenate(frames, axis: 0).channelsFirst, frames.map { $0.shape[0] })
        }
        let trace = Trace()
        let whole = PyramidTiling(side: nil, window: 8)
        try checkEncoding("image.", whole, run("image.", trace))
        for window in [1, 2] { try checkEncoding("video.", PyramidTiling(side: nil, window: window), run()) }
        try checkEncoding("tile.encode.", PyramidTiling(side: 64), run())
        try check(golden, "decode1.out", decode(input("decode1.in"), whole, run("decode1.", trace)).frames)
        #expect(trace.tensors.count == 16)
        for (name, tensor) in trace.tensors { try check(golden, name, tensor) }
        let five = try input("decode5.in")
        for (window, lengths) in [(1, [9, 8, 8, 8]), (2, [17, 16]), (8, [33])] {
            let decoded = try decode(five, PyramidTiling(side: nil, window: window), run())
            try check(golden, "decode5.out", decoded.frames)
            #expect(decoded.lengths == lengths)
        }
        let behind = try decode(five.sliced(0, 0..<2), whole, run(), isStart: false)
        try check(golden, "decode5.notinit.out", behind.frames)
        try check(golden, "tile.decode.out", decode(input("tile.decode.in"), PyramidTiling(side: 64), run()).frames)
        for window in [1, 2] {
            let tiling = PyramidTiling(side: 32, window: window)
            try check(golden, "tile3.decode.out", decode(input("tile3.decode.in"), tiling, run()).frames)
        }
    }
}
