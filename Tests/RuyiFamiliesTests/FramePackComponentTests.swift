import Foundation
import GoldenRecords
import RuyiCPU
import RuyiEncoders
import RuyiFamilies
import RuyiFiles
import RuyiLayers
import RuyiMedia
import RuyiModels
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Testing

@Suite("FramePack's parts against the reference")
struct FramePackComponentTests {
    /// The records of a part of the family.
    private static func parts(_ name: String) -> [GoldenRecord] { GoldenSet.parts([name], of: "framepack") }

    private let backend = CPUBackend(threads: 2)

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: Tensor) throws {
        try check(golden, name, tensor.session.read(tensor))
    }

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: HostTensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    @Test("pictures get the reference's size, and lengths its sections and paddings", arguments: parts("buckets"))
    func buckets(_ record: GoldenRecord) throws {
        let table = try record.json("request.json")
        let rows = try #require(table["rows"]?.array)
        #expect(rows.count > 10)
        for row in rows.map({ $0.array?.compactMap(\.int) ?? [] }) {
            let size = FramePackSizes.bucket(for: PictureSize(width: row[1], height: row[0]))
            #expect(size == PictureSize(width: row[3], height: row[2]), "\(row)")
        }
        for row in try #require(table["sections"]?.array).compactMap(\.array) {
            let count = try #require(row[2].int)
            // Of long lists the first ones are recorded.
            let recorded = row[4].array?.compactMap(\.int) ?? []
            #expect(FramePackSections.paddings(count).starts(with: recorded) && !recorded.isEmpty, "\(count)")
        }
    }

    @Test("noise levels and every step of the sampler are the reference's", arguments: parts("sampler"))
    func sampler(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        for table in try #require(record.json("request.json")["tables"]?.array) {
            let name = "table." + String(format: "%02d", table["index"]?.int ?? 0)
            guard golden.expected.shape(of: name + ".sigmas") != nil else { continue }
            let tokens = try ["latent_frames", "latent_height", "latent_width"].map { try #require(table[$0]?.int) }
            let steps = try #require(table["steps"]?.int)
            let mu = FramePackSchedule.mu(tokens: tokens.reduce(1, *) / 4)
            #expect(abs(mu - (table["mu"]?.double ?? 0)) < 1e-12)
            let sampler = FlowUniPC(steps: steps, mu: mu)
            try check(golden, name + ".sigmas", HostTensor(sampler.sigmas, [steps + 1]))
            try check(golden, name + ".timesteps", HostTensor(sampler.timesteps, [steps]))
            try check(
                golden, name + ".timesteps_bf16",
                HostTensor(sampler.timesteps, [steps]).roundedToBFloat16.single)
        }
        let told = try golden.expected.tensor("guidance.f32")
        try check(golden, "guidance.bf16", told.roundedToBFloat16.single)
        let session = backend.session()
        let (start, bias) = (try golden.expected.tensor("in.x"), try golden.expected.tensor("in.k").floats())
        var runs = 0
        for (tag, mu) in [("shift7", 1.9459101490553132), ("mu05", 0.5)] {
            for steps in [1, 2, 3, 4, 5, 8, 25] {
                let name = "run.\(tag).n" + String(format: "%02d", steps)
                guard golden.expected.shape(of: name + ".x") != nil else { continue }
                runs += 1
                var sampler = FlowUniPC(steps: steps, mu: mu)
                var latents = session.upload(start)
                var (states, cleans): ([Float], [Float]) = ([], [])
                for call in 0..<steps {
                    let sigma = sampler.sigmas[call]
                    let values = latents.floats().enumerated().map { place, x in
                        0.6 * x * (1 - sigma) + 0.3 * sin(2 * x + 3 * sigma) + 0.2 * bias[place]
                    }
                    let clean = session.upload(HostTensor(values, start.shape))
                    states += sampler.corrected(latents, clean: clean, call: call).floats()
                    cleans += values
                    latents = call + 1 < steps ? sampler.predicted(before: call + 1) : clean
                }
                try check(golden, name + ".x", HostTensor(states, [steps] + start.shape))
                try check(golden, name + ".denoised", HostTensor(cleans, [steps] + start.shape))
                try check(golden, name + ".result", latents)
            }
        }
        #expect(runs >= 6)
    }

    @Test(
        "one call of the transformer is the reference's with every layout of the history",
        arguments: parts("transformer-packing"))
    func transformer(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: record("model"))
        let home = try folder.names().first { folder.hasFolder($0) } ?? ""
        let place = home.isEmpty ? "config.json" : home + "/config.json"
        let configuration = try FramePackTransformerConfiguration(folder.json(place))
        let weights = try folder.weights(home, stem: "diffusion_pytorch_model")
        let transformer = FramePackTransformer(
            WeightScope(weights, ledger: WeightLedger(), on: backend), configuration)
        let session = backend.session()
        func input(_ name: String) throws -> Tensor { session.upload(try golden.expected.tensor(name)) }
        let variants = try #require(record.json("request.json")["variants"]?.array).compactMap(\.string)
        var judged = 0
        for variant in variants where golden.expected.shape(of: "\(variant).model_output") != nil {
            judged += 1
            let place = "in.\(variant)."
            func places(_ name: String) throws -> [Int] {
                try golden.expected.tensor(place + name).floats().map { Int($0) }
            }
            func frames(_ name: String) throws -> FramePackContext.Frames? {
                guard golden.expected.shape(of: place + name + "_indices") != nil else { return nil }
                let latents = name.replacingOccurrences(of: "clean_latent", with: "clean_latents")
                return FramePackContext.Frames(try places(name + "_indices"), try input(place + latents))
            }
            let context = FramePackContext(
                section: try places("latent_indices"), clean: try frames("clean_latent"),
                clean2x: try frames("clean_latent_2x"), clean4x: try frames("clean_latent_4x"))
            let (latents, states) = (try input(place + "hidden_states"), try input(place + "text"))
            let picture = transformer.picture(try input(place + "image_embeddings"))
            let rotary = FramePackRotary(
                context, grid: (latents.shape[3] / 2, latents.shape[4] / 2),
                behind: picture.shape[1] + states.shape[1], axes: configuration.rotaryAxes,
                base: configuration.rotaryBase, on: session)
            let table = session.concatenate([rotary.packed.cosines, rotary.packed.sines], axis: 1).expanded(at: 0)
            try check(golden, "\(variant).embed.rope", table)
            var cache: TeaCache?
            let trace = Trace()
            let output = try transformer(
                latents, time: try golden.expected.tensor(place + "timestep").floats()[0],
                guidance: try golden.expected.tensor(place + "guidance").floats()[0],
                text: HunyuanText(
                    states: states, valid: states.shape[1], pooled: try input(place + "pooled_projections")),
                picture: picture, history: transformer.history(context), rotary: rotary, cache: &cache,
                trace: StageTrace(trace, prefix: variant + "."))
            try check(golden, "\(variant).model_output", output)
            for name in ["embed.out", "temb.out", "block.000.out", "block.000.encoder_out", "single_block.000.out"]
            where golden.expected.shape(of: "\(variant).\(name)") != nil {
                let recorded = try #require(trace.tensors.last { $0.name == "\(variant).\(name)" }?.tensor)
                try check(golden, "\(variant).\(name)", recorded)
            }
        }
        #expect(judged >= 4)
    }

    @Test("the image encoder's states are the reference's after every layer", arguments: parts("siglip"))
    func vision(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: record("model"))
        let home = try #require(try folder.names().first { folder.hasFolder($0) })
        let inner = try folder.has(home + "/config.json") ? home : home + "/image_encoder"
        let configuration = try SigLIPVision.Configuration(folder.json(inner + "/config.json"))
        let scope = WeightScope(try folder.weights(inner, stem: "model"), ledger: WeightLedger(), on: backend)
        let tower = SigLIPVision(scope / "vision_model", configuration)
        let side = configuration.imageSize
        let processor = try SigLIPImageProcessor(
            JSONObject(["size": ["height": .int(side), "width": .int(side)]], file: "processor"))
        let pixels = processor(try golden.picture("image.png"))
        try check(golden, "image.clip_pixels", pixels)
        var index = 0
        let states = try tower(backend.session().upload(pixels)) { hidden in
            try check(golden, "hidden." + String(format: "%02d", index), hidden)
            index += 1
        }
        #expect(index > 1)
        try check(golden, "image.embeds", states)
    }

    @Test("windows fade into one another, and previews have the reference's colours", arguments: parts("blend-preview"))
    func fades(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let session = backend.session()
        var index = 0
        while golden.expected.shape(of: "in.\(index).history") != nil {
            let history = session.upload(try golden.expected.tensor("in.\(index).history")).framesFirst
            let current = session.upload(try golden.expected.tensor("in.\(index).current")).framesFirst
            let overlap = Int(try golden.expected.tensor("in.\(index).overlap").floats()[0])
            for edge in [ClipEdge.end, .start] {
                let windows = edge == .end ? [history, current] : [current, history]
                var fade = FramePackFade(overlap, at: edge)
                var parts: [[Tensor]] = []
                for (index, window) in windows.enumerated() {
                    var settled: [Tensor] = []
                    fade.begin(window.shape[0], isLast: index == 1)
                    // In pieces, as the VAE has them.
                    for start in stride(from: 0, to: window.shape[0], by: 2) {
                        let piece = window.sliced(0, start..<min(start + 2, window.shape[0]))
                        try fade.add(piece) { settled.append($0) }
                    }
                    parts.append(settled)
                }
                let inTime = edge == .end ? parts : parts.reversed()
                try check(
                    golden, "out.\(index)", session.concatenate(inTime.flatMap { $0 }, axis: 0).channelsFirst)
            }
            index += 1
        }
        #expect(index > 2)
        let latents = session.upload(try golden.expected.tensor("in.preview.latents"))
        try check(golden, "out.preview", FramePackPreview.colours(of: latents))
    }

    @Test("texts become the reference's tokens, exactly", arguments: parts("tokenizers"))
    func tokenizers(_ record: GoldenRecord) throws {
        let folder = try ModelFolder(path: record("model"))
        let home = try folder.hasFolder("tokenizer") ? folder : folder.folder(try #require(folder.names().first))
        let prompts = try HunyuanPrompts(
            tokenizer: home.json("tokenizer/tokenizer.json", values: 1 << 22),
            vocabulary: home.json("tokenizer_2/vocab.json", values: 1 << 22),
            merges: FileBytes.read(home.file("tokenizer_2/merges.txt"), limit: 1 << 24), mergesPath: "merges.txt",
            takesPicture: false, cleans: true)
        let rows = try #require(try record.json("request.json")["rows"]?.array)
        #expect(rows.count > 10)
        for row in rows {
            let text = try #require(row["text"]?.string)
            func ids(_ key: String) -> [Int] { row[key]?.array?.compactMap(\.int) ?? [] }
            let tokens = prompts.tokens(text)
            #expect(Array(prompts.bareTokens(text).dropFirst()) == ids("llama"), "\(text)")
            #expect(tokens.valid == row["llama_templated_length"]?.int, "\(text)")
            #expect(Array(tokens.ids[prompts.head..<tokens.valid]) == ids("llama_templated_tail"), "\(text)")
            #expect(prompts.clipTokens(text) == ids("clip"), "\(text)")
        }
    }

    @Test("pictures are cut and seen as the reference does it", arguments: parts("image-resize"))
    func pictures(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        for row in try #require(record.json("request.json")["rows"]?.array) {
            let picture = try golden.picture(try #require(row["input"]?.string))
            if let expected = row["expected"]?.string {
                let (width, height) = (try #require(row["width"]?.int), try #require(row["height"]?.int))
                let cut = InputPicture(picture).covering(width: width, height: height).picture
                #expect(try cut?.pixels == golden.picture(expected).pixels, "\(expected)")
            }
            if let name = row["expected_tensor"]?.string, let side = row["size"]?.int {
                let processor = try SigLIPImageProcessor(
                    JSONObject(["size": ["height": .int(side), "width": .int(side)]], file: "processor"))
                try check(golden, name, processor(picture))
            }
        }
    }

    @Test("the VAE encodes and decodes as the reference, in tiles of time and space", arguments: parts("vae-tiling"))
    func tiles(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: record("model"))
        let home = try folder.hasFolder("vae") ? folder : folder.folder(try #require(folder.names().first))
        let configuration = try HunyuanVAEConfiguration(home.json("vae/config.json"))
        let weights = try home.weights("vae", stem: "diffusion_pytorch_model")
        let vae = HunyuanVAE(WeightScope(weights, ledger: WeightLedger(), on: backend), configuration)
        let session = backend.session()
        let run = HunyuanVAERun(trace: nil) {}
        var tiled = HunyuanTiling()
        (tiled.inSpace, tiled.height, tiled.width, tiled.heightStep, tiled.widthStep) = (true, 32, 32, 24, 24)
        for name in ["image", "frames9", "framewise"] {
            let video = session.upload(try golden.expected.tensor("in.encode.\(name)")).framesFirst
            let kinds = [(name, HunyuanTiling())] + (name == "image" ? [("image_tiled", tiled)] : [])
            for (result, tiling) in kinds {
                let (mean, logVariance) = try vae.encode(video, tiling, run)
                try check(golden, "encode.\(result).mean", mean.channelsFirst)
                if golden.expected.shape(of: "encode.\(result).logvar") != nil {
                    try check(golden, "encode.\(result).logvar", logVariance.channelsFirst)
                }
            }
        }
        for name in ["plain", "one", "four", "framewise5", "framewise8", "spatial", "both"] {
            let latents = session.upload(try golden.expected.tensor("in.decode.\(name)")).framesFirst
            var frames: [Tensor] = []
            try vae.decode(latents, ["spatial", "both"].contains(name) ? tiled : HunyuanTiling(), run) {
                frames.append($0)
            }
            try check(golden, "decode.\(name).out", session.concatenate(frames, axis: 0).channelsFirst)
        }
    }
}
