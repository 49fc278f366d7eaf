import GoldenRecords
import RuyiCPU
import RuyiEncoders
import RuyiFamilies
import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization
import Testing

@Suite("HunyuanVideo's parts against the reference")
struct HunyuanComponentTests {
    /// The records of a part of the family.
    private static func parts(_ name: String) -> [GoldenRecord] { GoldenSet.parts([name], of: "hunyuanvideo") }

    private let backend = CPUBackend(threads: 2)

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: Tensor) throws {
        try check(golden, name, tensor.session.read(tensor))
    }

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: HostTensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    @Test("texts become the reference's tokens, exactly", arguments: parts("tokenizers"))
    func tokenizers(_ record: GoldenRecord) throws {
        let folder = try ModelFolder(path: record("model"))
        let wide = try HunyuanPrompts(folder, takesPicture: false)
        let seeing = try HunyuanPrompts(folder, takesPicture: true)
        let rows = try #require(try record.json("expected.json").array)
        #expect(rows.count > 30)
        for row in rows {
            let text = try #require(row["text"]?.string)
            func ids(_ key: String) -> [Int] { row[key]?.array?.compactMap(\.int) ?? [] }
            #expect(wide.bareTokens(text) == ids("llama"), "\(text)")
            #expect(wide.bareClipTokens(text) == ids("clip"), "\(text)")
            #expect(wide.clipTokens(text) == ids("clip_77"), "\(text)")
            for (prompts, key) in [(wide, "llama_t2v_template"), (seeing, "llama_i2v_template")] {
                let tokens = prompts.tokens(text)
                #expect(Array(tokens.ids[prompts.head..<tokens.valid]) == ids(key), "\(text) \(key)")
            }
        }
        let heads = try record.json("expected_template_prefix.json")
        for (prompts, key) in [(wide, "t2v_prefix_95"), (seeing, "i2v_prefix_103")] {
            let head = heads[key]?.array?.compactMap(\.int)
            #expect(head == Array(prompts.tokens("").ids.prefix(prompts.head)), "\(key)")
        }
    }

    @Test("a long word is merged as a short one, and quickly")
    func longWord() throws {
        let prompts = try HunyuanPrompts(
            ModelFolder(path: GoldenRecord(name: "tokenizers", family: "hunyuanvideo")("model")), takesPicture: false)
        let short = prompts.bareTokens(String(repeating: "x", count: 64))
        let long = prompts.bareTokens(String(repeating: "x", count: 1 << 16))
        #expect(long.dropFirst().allSatisfy { short.contains($0) } && long.count > 100)
    }

    @Test(
        "the VAE encodes and decodes with tiles in time, in space, in both and without",
        arguments: parts("vae-tiling"))
    func vae(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: golden.path + "/model")
        let ledger = WeightLedger()
        let vae = HunyuanVAE(
            WeightScope(try folder.weights("vae", stem: "diffusion_pytorch_model"), ledger: ledger, on: backend),
            try HunyuanVAEConfiguration(try folder.json("vae/config.json")))
        try ledger.finish()
        let session = backend.session()
        func input(_ name: String) throws -> Tensor {
            session.upload(try golden.expected.tensor(name).selected(0, 0).permuted([1, 0, 2, 3]))
        }
        func channelsFirst(_ x: Tensor) -> Tensor { session.copy(x.permuted([1, 0, 2, 3])).expanded(at: 0) }
        func decode(
            _ name: String, _ tiling: HunyuanTiling, _ trace: Trace? = nil, limit: Int = usualPartLimit
        ) throws -> Tensor {
            var frames: [Tensor] = []
            let run = HunyuanVAERun(trace: trace, partLimit: limit, step: {})
            try vae.decode(try input(name), tiling, run) { frames.append($0) }
            return channelsFirst(session.concatenate(frames, axis: 0))
        }
        let request = try record.json("request.json")
        let both = try HunyuanTiling(JSONObject(try #require(request["tiling"]), file: "request.json"))
        var (plain, spatial) = (HunyuanTiling(), both)
        plain.inTime = false
        spatial.inTime = false
        for (name, tiling) in [("plain", plain), ("temporal", HunyuanTiling()), ("spatial", spatial), ("both", both)] {
            let (mean, logVariance) = try vae.encode(
                try input("vae.encode.in"), tiling, HunyuanVAERun(trace: nil, step: {}))
            try check(golden, "vae.encode.\(name).mean", channelsFirst(mean))
            try check(golden, "vae.encode.\(name).logvar", channelsFirst(logVariance))
            let whole = try decode("vae.decode.in", tiling)
            try check(golden, "vae.decode.\(name).out", whole)
            // Frame by frame it is the same.
            let parts = HunyuanVAERun(trace: nil, partLimit: 1, step: {})
            #expect(try session.floats(decode("vae.decode.in", tiling, limit: 1)) == session.floats(whole))
            let again = try vae.encode(try input("vae.encode.in"), tiling, parts)
            #expect(session.floats(again.mean) == session.floats(mean))
        }
        try check(golden, "original.decode.out", try decode("original.decode.in", .original))
        let trace = Trace()
        _ = try decode("block.decode.in", plain, trace)
        _ = try vae.encode(try input("block.encode.in"), plain, HunyuanVAERun(trace: trace, step: {}))
        #expect(trace.tensors.count == 18)
        for (name, tensor) in trace.tensors { try check(golden, name, tensor) }
    }

    @Test("noise levels follow the shift", arguments: parts("scheduler"))
    func scheduler(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        for key in golden.expected.keys where key.hasPrefix("shift") && key.hasSuffix(".sigmas") {
            let parts = key.split(separator: ".")
            let shift = try #require(Double(parts[0].dropFirst(5)))
            let steps = try #require(Int(parts[1].dropFirst(5)))
            let scheduler = FlowMatchEuler(steps: steps, shift: shift)
            try check(golden, key, HostTensor(scheduler.sigmas, [steps + 1]))
            try check(golden, key.replacing("sigmas", with: "timesteps"), HostTensor(scheduler.timesteps, [steps]))
        }
        // The original program's other direction goes from the picture to noise, which nobody wants.
        let original = FlowMatchEuler(steps: 30, shift: 7)
        try check(golden, "original.reverse_true.shift7.steps30.sigmas", HostTensor(original.sigmas, [31]))
        try check(golden, "original.reverse_true.shift7.steps30.timesteps", HostTensor(original.timesteps, [30]))
        let steps = FlowMatchEuler(steps: 5, shift: 7)
        let session = CPUBackend(threads: 1).session()
        var latents = session.upload(try golden.expected.tensor("update.latents.in"))
        for call in 0..<5 {
            let velocity = session.upload(try golden.expected.tensor("update.00\(call).model_output"))
            latents = steps.step(latents, velocity: velocity, call: call)
            try check(golden, "update.00\(call).latents", latents)
        }
        let custom = FlowMatchEuler(levels: try golden.expected.tensor("custom.sigmas_in").floats(), shift: 7)
        try check(golden, "custom.sigmas", HostTensor(custom.sigmas, [custom.sigmas.count]))
        try check(golden, "custom.timesteps", HostTensor(custom.timesteps, [custom.timesteps.count]))
    }

    @Test(
        "prompts are read as the reference reads them, the empty one and one that is cut too",
        arguments: parts("text-encode-t2v"))
    func textEncoders(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: golden.path + "/model")
        let prompts = try HunyuanPrompts(folder, takesPicture: false)
        let (ledger, clipLedger) = (WeightLedger(), WeightLedger())
        let language = LLaMA(
            WeightScope(try folder.weights("text_encoder", stem: "model"), ledger: ledger, on: backend),
            try LLaMA.Configuration(folder.json("text_encoder/config.json")), withoutLast: 2)
        let clip = CLIPText(
            WeightScope(try folder.weights("text_encoder_2", stem: "model"), ledger: clipLedger, on: backend),
            try CLIPText.Configuration(folder.json("text_encoder_2/config.json")))
        try ledger.finish()
        try clipLedger.finish()
        let session = backend.session()
        let request = try record.json("request.json")
        let texts = try #require(request["prompts"]?.array)
        #expect(texts.count == 5)
        for (index, text) in texts.enumerated() {
            let (text, name) = (try #require(text.string), "prompt.0\(index).")
            let tokens = prompts.tokens(text)
            #expect(tokens.isCut == (index == 4))
            let valid = tokens.valid - prompts.head
            try check(
                golden, name + "text.mask", HostTensor(integers: (0..<256).map { $0 < valid ? 1 : 0 }, [1, 256]))
            let states = try language(
                language.embed(Array(tokens.ids.prefix(tokens.valid)), on: session), valid: tokens.valid)
            try check(golden, name + "text.embeds", states.sliced(1, prompts.head..<tokens.valid))
            let ids = prompts.clipTokens(text)
            var first: Tensor?
            let last = try clip(ids, on: session) { if $0 == 0 { first = $1 } }
            try check(golden, name + "text.embeds.2", clip.pooled(last, ids))
            guard golden.expected.shape(of: name + "clip.last_hidden_state") != nil else { continue }
            try check(golden, name + "clip.hidden.001", try #require(first).sliced(1, 0..<12))
            try check(golden, name + "clip.last_hidden_state", last.sliced(1, 0..<12))
        }
    }

    @Test("frequencies, sinusoids and rotations are the reference's", arguments: parts("embeddings"))
    func embeddings(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let session = CPUBackend(threads: 1).session()
        try check(golden, "timestep.freqs", HostTensor(Embeddings.frequencies(width: 256), [128]))
        let times = try golden.expected.tensor("timestep.in").floats()
        try check(
            golden, "timestep.embedding",
            HostTensor(times.flatMap { Embeddings.sinusoid($0, width: 256) }, [times.count, 256]))
        for size in [8, 128] {
            let language = try LLaMA.Configuration(
                JSONObject(["head_dim": .int(size), "rope_theta": 500_000], file: "config.json"))
            try check(golden, "llama.inv_freq.\(size)", HostTensor(language.inverseFrequencies, [size / 2]))
        }
        func rotary(_ grid: [Int], _ heads: Int, _ size: Int, _ axes: [JSON]) throws -> RotaryTable {
            let configuration = try HunyuanTransformerConfiguration(
                JSONObject(
                    [
                        "num_attention_heads": .int(heads), "attention_head_dim": .int(size),
                        "rope_axes_dim": .array(axes),
                    ], file: "config.json"))
            let rotary = VideoRotary(
                frames: grid[0], rows: grid[1], columns: grid[2], text: 3, axes: configuration.rotaryAxes,
                base: configuration.rotaryBase, on: session)
            // The text behind the video is left as it is.
            let count = rotary.video.cosines.shape[0]
            #expect(rotary.all.cosines.sliced(0, count..<count + 3).floats().allSatisfy { $0 == 1 })
            #expect(rotary.all.sines.sliced(0, count..<count + 3).floats().allSatisfy { $0 == 0 })
            return rotary.video
        }
        let real = try rotary([3, 3, 5], 24, 128, [16, 56, 56])
        try check(golden, "rope.real.cos", real.cosines)
        try check(golden, "rope.real.sin", real.sines)
        let axes = try #require(
            try GoldenRecord(name: "t2v-basic", family: "hunyuanvideo").json("model/transformer/config.json")[
                "rope_axes_dim"]?.array)
        let tiny = try rotary([3, 2, 3], 2, 16, axes)
        try check(golden, "rope.tiny.cos", tiny.cosines)
        try check(golden, "rope.tiny.sin", tiny.sines)
        // A norm comes with the rotation, which commutes with it: what it divides by is multiplied again.
        let values = try golden.expected.tensor("rope.tiny.apply.in").floats()
        let ones = backend.weight(HostTensor([Float](repeating: 1, count: 16), [16]), in: ResidencyUnit())
        let turned = session.headRMSNorm(
            session.upload(HostTensor(values, [1, 18, 32])), heads: 2, weight: ones, epsilon: 1e-12, rotary: tiny
        ).floats()
        let whole = turned.indices.map { index -> Float in
            let head = values[index / 16 * 16..<index / 16 * 16 + 16]
            let square = head.reduce(0.0) { $0 + Double($1) * Double($1) } / 16
            return Float(Double(turned[index]) * square.squareRoot())
        }
        try check(golden, "rope.tiny.apply.out", HostTensor(whole, [1, 18, 2, 16]))
    }

    @Test("a plan counts the memory that a run's tensors take", arguments: GoldenSet.runs(of: "hunyuanvideo"))
    func memory(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: golden.path + "/model")
        let request = try golden.request()
        let image = try request.image.map { try golden.picture($0) }
        let size = image.map { PictureSize(width: $0.width, height: $0.height) }
        for mode in [MemoryMode.resident, .stream] {
            var plan = try HunyuanVideo.plan(request, folder: folder, image: size)
            plan.memoryMode = mode
            // Of several threads the second may find no work left in clips as small as these.
            let phases = try DryRun(HunyuanVideo.self, folder, on: CPUBackend(threads: 1)).phases(of: plan)
            plan.stages = phases.map(\.stage)
            #expect(phases.last?.givesFrames == true)
            #expect(phases.allSatisfy { $0.bytes > 0 && $0.weightBytes > 0 && !$0.work.isEmpty })
            let backend = CPUBackend(threads: 1)
            let session = backend.session()
            let reports = Mutex<[Int: Int]>([:])
            try HunyuanVideo.load(folder, backend: backend).render(
                Job(
                    plan: plan, image: image, endImage: nil, noise: try golden.noise(), trace: nil,
                    session: session,
                    progress: { stage, done in reports.withLock { $0[stage] = max($0[stage] ?? 0, done) } },
                    frames: { _ in }))
            // Every part of the run reports what the plan said that it has.
            let planned = plan.stages.map { $0.steps * $0.parts }
            #expect(reports.withLock { reports in planned.indices.map { reports[$0] } } == planned)
            let (bytes, peak) = (phases.map(\.bytes).max() ?? 0, session.memory.peakBytes)
            // Pictures that are ready for the model are planned for, and do not lie in the backend's memory.
            let seen = try image.map { _ in
                try CLIPImageProcessor(folder.json("image_processor/preprocessor_config.json")).cropSize
            }
            let areas = seen.map { $0 * $0 * (plan.negativePrompt == nil ? 1 : 2) + plan.width * plan.height }
            let pictures = 12 * (areas ?? 0)
            let range = 0.97 * Double(peak)...1.05 * Double(peak + pictures)
            #expect(range.contains(Double(bytes)), "\(mode): \(bytes) planned, \(peak) and \(pictures) taken")
        }
    }

    @Test("seeds draw what torch draws", arguments: parts("noise"))
    func noise(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        for key in golden.expected.keys {
            let seed = try #require(UInt64(key.dropFirst(4).prefix { $0 != "." }))
            let shape = try #require(golden.expected.shape(of: key))
            try check(golden, key, try TorchGenerator(seed: seed).next(shape))
        }
    }

    @Test("pictures are placed as the VAE and CLIP take them", arguments: parts("image-preprocess"))
    func pictures(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let request = try record.json("request.json")
        let processor = try CLIPImageProcessor(
            JSONObject(
                ["size": ["shortest_edge": 56], "crop_size": ["height": 56, "width": 56]], file: "processor"))
        for image in try #require(request["images"]?.array) {
            let name = try #require(image["file"]?.string)
            guard record.has(name) else { continue }
            let (width, height) = (try #require(image["width"]?.int), try #require(image["height"]?.int))
            let picture = try golden.picture(name)
            try check(
                golden, name + ".vae",
                picture.resized(width: width, height: height, filter: .lanczos).signedPixels)
            try check(golden, name + ".clip56", processor(picture))
        }
    }
}
