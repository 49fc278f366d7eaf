import RuyiEncoders
import RuyiFamilies
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Testing

@Suite("HunyuanVideo's parts against the reference")
struct HunyuanComponentTests {
    private func golden(_ name: String) throws -> GoldenCase { try GoldenCase(name, family: "hunyuanvideo") }

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: Tensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    @Test("texts become the reference's tokens, exactly")
    func tokenizers() throws {
        let golden = try GoldenFolder("hunyuanvideo/tokenizers")
        let folder = try ModelFolder(path: golden("model"))
        let wide = try HunyuanPrompts(folder, takesPicture: false)
        let seeing = try HunyuanPrompts(folder, takesPicture: true)
        let rows = try #require(try golden.json("expected.json").array)
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
        let heads = try golden.json("expected_template_prefix.json")
        for (prompts, key) in [(wide, "t2v_prefix_95"), (seeing, "i2v_prefix_103")] {
            let head = heads[key]?.array?.compactMap(\.int)
            #expect(head == Array(prompts.tokens("").ids.prefix(prompts.head)), "\(key)")
        }
    }

    @Test("a long word is merged as a short one, and quickly")
    func longWord() throws {
        let prompts = try HunyuanPrompts(
            ModelFolder(path: GoldenFolder("hunyuanvideo/tokenizers")("model")), takesPicture: false)
        let short = prompts.bareTokens(String(repeating: "x", count: 64))
        let long = prompts.bareTokens(String(repeating: "x", count: 1 << 16))
        #expect(long.dropFirst().allSatisfy { short.contains($0) } && long.count > 100)
    }

    @Test("the VAE encodes and decodes with tiles in time, in space, in both and without")
    func vae() throws {
        let golden = try golden("vae-tiling")
        let folder = try ModelFolder(path: golden.path + "/model")
        let ledger = WeightLedger()
        let vae = HunyuanVAE(
            WeightScope(try folder.weights("vae", stem: "diffusion_pytorch_model"), ledger: ledger),
            try HunyuanVAEConfiguration(try folder.json("vae/config.json")))
        try ledger.finish()
        let backend = CPUBackend(threads: 2)
        func input(_ name: String) throws -> Tensor {
            backend.copy(try golden.expected.tensor(name).selected(0, 0).permuted([1, 0, 2, 3]))
        }
        func channelsFirst(_ x: Tensor) -> Tensor { backend.copy(x.permuted([1, 0, 2, 3])).expanded(at: 0) }
        func decode(_ name: String, _ tiling: HunyuanTiling, _ trace: Trace? = nil) throws -> Tensor {
            var frames: [Tensor] = []
            try vae.decode(try input(name), tiling, HunyuanVAERun(trace: trace, step: {})) { frames.append($0) }
            return channelsFirst(backend.concatenate(frames, axis: 0))
        }
        let request = try GoldenFolder("hunyuanvideo/vae-tiling").json("request.json")
        let both = try HunyuanTiling(JSONObject(try #require(request["tiling"]), file: "request.json"))
        var (plain, spatial) = (HunyuanTiling(), both)
        plain.inTime = false
        spatial.inTime = false
        for (name, tiling) in [("plain", plain), ("temporal", HunyuanTiling()), ("spatial", spatial), ("both", both)] {
            let (mean, logVariance) = try vae.encode(
                try input("vae.encode.in"), tiling, HunyuanVAERun(trace: nil, step: {}))
            try check(golden, "vae.encode.\(name).mean", channelsFirst(mean))
            try check(golden, "vae.encode.\(name).logvar", channelsFirst(logVariance))
            try check(golden, "vae.decode.\(name).out", try decode("vae.decode.in", tiling))
        }
        try check(golden, "original.decode.out", try decode("original.decode.in", .original))
        let trace = Trace()
        _ = try decode("block.decode.in", plain, trace)
        _ = try vae.encode(try input("block.encode.in"), plain, HunyuanVAERun(trace: trace, step: {}))
        #expect(trace.tensors.count == 18)
        for (name, tensor) in trace.tensors { try check(golden, name, tensor) }
    }

    @Test("noise levels follow the shift")
    func scheduler() throws {
        let golden = try golden("scheduler")
        for key in golden.expected.keys where key.hasPrefix("shift") && key.hasSuffix(".sigmas") {
            let parts = key.split(separator: ".")
            let shift = try #require(Double(parts[0].dropFirst(5)))
            let steps = try #require(Int(parts[1].dropFirst(5)))
            let scheduler = FlowMatchEuler(steps: steps, shift: shift)
            try check(golden, key, Tensor(scheduler.sigmas, [steps + 1]))
            try check(golden, key.replacing("sigmas", with: "timesteps"), Tensor(scheduler.timesteps, [steps]))
        }
        let custom = FlowMatchEuler(levels: try golden.expected.tensor("custom.sigmas_in").floats(), shift: 7)
        try check(golden, "custom.sigmas", Tensor(custom.sigmas, [custom.sigmas.count]))
    }

    @Test("seeds draw what torch draws")
    func noise() throws {
        let golden = try golden("noise")
        for key in golden.expected.keys {
            let seed = try #require(UInt64(key.dropFirst(4).prefix { $0 != "." }))
            let shape = try #require(golden.expected.shape(of: key))
            try check(golden, key, try TorchGenerator(seed: seed).next(shape))
        }
    }

    @Test("pictures are placed as the VAE and CLIP take them")
    func pictures() throws {
        let golden = try golden("image-preprocess")
        let request = try GoldenFolder("hunyuanvideo/image-preprocess").json("request.json")
        let processor = try CLIPImageProcessor(
            JSONObject(
                ["size": ["shortest_edge": 56], "crop_size": ["height": 56, "width": 56]], file: "processor"))
        for image in try #require(request["images"]?.array) {
            let name = try #require(image["file"]?.string)
            let (width, height) = (try #require(image["width"]?.int), try #require(image["height"]?.int))
            let picture = try golden.picture(name)
            try check(
                golden, name + ".vae",
                picture.resized(width: width, height: height, filter: .lanczos).signedPixels)
            try check(golden, name + ".clip56", processor(picture))
        }
    }
}

/// The files of a recorded case.
struct GoldenFolder {
    private let path: String

    init(_ name: String) { path = GoldenCase.root + "/" + name }

    func callAsFunction(_ file: String) -> String { path + "/" + file }

    func json(_ file: String) throws -> JSON { try JSON.parse(FileBytes.read(self(file), limit: 1 << 22), file: file) }
}
