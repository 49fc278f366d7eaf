import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFiles
import RuyiMedia
import RuyiModels
import RuyiTensor
import Testing

@Suite("Step-Video's VAE and pictures against the reference")
struct StepVAEComponentTests {
    private let backend = CPUBackend(threads: 2)

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: Tensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    /// Every recorded tensor of a trace, and how many there were.
    private func check(_ golden: GoldenCase, _ trace: Trace) throws -> Int {
        let recorded = trace.tensors.filter { golden.expected.shape(of: $0.name) != nil }
        for (name, tensor) in recorded {
            if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
        }
        return recorded.count
    }

    private func vae(_ record: GoldenRecord, hasEncoder: Bool) throws -> StepVAE {
        let weights = try WeightFiles.open(path: record("model/vae/vae_v2.safetensors"))
        let configuration = try StepVAEConfiguration(weights, hasEncoder: hasEncoder)
        let ledger = WeightLedger()
        let vae = StepVAE(WeightScope(weights, ledger: ledger, on: backend), configuration)
        try ledger.finish { StepVAE.isSpare($0, configuration) }
        return vae
    }

    private func decoded(_ vae: StepVAE, _ latents: Tensor, _ run: StepVAERun) throws -> Tensor {
        var frames: [Tensor] = []
        try vae.decode(latents, run) { frames.append($0) }
        return latents.session.concatenate(frames, axis: 0).channelsFirst
    }

    @Test(
        "clips are encoded and decoded as by the reference, chunk by chunk and frame by frame",
        arguments: GoldenSet.parts(["component-vae"], of: "step-video"))
    func vae(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let (vae, session) = (try vae(record, hasEncoder: true), backend.session())
        func input(_ name: String) throws -> Tensor { session.upload(try golden.expected.tensor(name)) }
        func run(_ trace: Trace, _ place: String, limit: Int = 1 << 28) -> StepVAERun {
            StepVAERun(trace: StageTrace(trace, prefix: place), chunkByteLimit: limit) {}
        }
        let trace = Trace()
        let (mean, logVariance) = try vae.encode(input("vae.encode.in"), run(trace, "vae.encode.chunk0."))
        try check(golden, "vae.encode.mean", mean)
        try check(golden, "vae.encode.logvar", logVariance)
        for limit in [1 << 28, 0] {
            let frames = try decoded(vae, input("vae.decode.in"), run(trace, "vae.decode.chunk0.", limit: limit))
            try check(golden, "vae.decode.out", frames)
        }
        #expect(try check(golden, trace) == 14)
        var mixed: [Tensor] = []
        let borders = StepVAEBorders { mixed.append($0) }
        let frames = try input("mix.in").framesFirst
        for chunk in 0..<3 {
            borders.beginChunk()
            for frame in 17 * chunk..<17 * (chunk + 1) { try borders.add(frames.sliced(0, frame..<frame + 1)) }
        }
        try borders.finish()
        try check(golden, "mix.out", session.concatenate(mixed, axis: 0).channelsFirst)
    }

    @Test(
        "pictures are encoded, and latents decoded, as in the reference's runs",
        arguments: GoldenSet.runs(of: "step-video").filter { record in
            // The clone's own keep what decides alone.
            (try? record.expected().shape(of: "vae.decode.in")) ?? nil != nil
        })
    func runs(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let name = try record.json("request.json")["image"]?.string
        let (vae, session) = (try vae(record, hasEncoder: name != nil), backend.session())
        let trace = Trace()
        if let name {
            let shape = try golden.expected.tensor("image.pixels").shape
            let picture = InputPicture(try golden.picture(name))
            let pixels = session.upload(StepPicture.pixels(picture, width: shape[4], height: shape[3]))
            try check(golden, "image.pixels", pixels)
            let run = StepVAERun(trace: StageTrace(trace, prefix: "vae.encode.")) {}
            let (mean, logVariance) = try vae.encode(pixels, run)
            try check(golden, "vae.encode.mean", mean)
            try check(golden, "vae.encode.logvar", logVariance)
            let deviation = session.exponential(session.scale(logVariance, by: 0.5, plus: 0, clampedTo: nil))
            let noise = session.upload(try golden.expected.tensor("noise.cond"))
            let condition = try session.upload(golden.expected.tensor("cond.latents")).sliced(2, 0..<1)
            #expect(relativeError((mean + deviation * noise).floats(), condition.floats()) < 1e-5)
        }
        for limit in [1 << 28, 0] {
            let run = StepVAERun(trace: StageTrace(trace, prefix: "vae.decode."), chunkByteLimit: limit) {}
            let latents = session.upload(try golden.expected.tensor("vae.decode.in"))
            let frames = try decoded(vae, latents, run)
            let unit = session.scale(frames, by: 0.5, plus: 0.5, clampedTo: 0...1)
            try check(golden, "video", session.copy(unit.selected(0, 0).permuted([1, 2, 3, 0])))
        }
        #expect(try check(golden, trace) >= 3)
    }

    @Test(
        "pictures are scaled and cut as by the reference",
        arguments: GoldenSet.parts(["component-image"], of: "step-video"))
    func pictures(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        var judged = 0
        for item in try #require(record.json("cases.json").array) {
            let (key, name) = (try #require(item["key"]?.string), try #require(item["image"]?.string))
            guard golden.expected.shape(of: "\(key).pixels") != nil else { continue }
            judged += 1
            let size = try #require(item["effective"]?.array).compactMap(\.int)
            let pixels = StepPicture.pixels(InputPicture(try golden.picture(name)), width: size[0], height: size[1])
            if let mismatch = try golden.mismatch("\(key).pixels", pixels) { Issue.record("\(mismatch)") }
        }
        #expect(judged > 3)
    }
}
