import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Pyramid Flow's VAE")
struct PyramidVAETests {
    private static let settings: JSON = [
        "encoder_block_out_channels": [4, 4, 8, 8], "decoder_block_out_channels": [4, 8, 8, 12],
        "encoder_layers_per_block": [1, 2, 1, 1], "decoder_layers_per_block": [1, 1, 2, 1],
        "encoder_norm_num_groups": 2, "decoder_norm_num_groups": 2, "decoder_in_channels": 4, "encoder_out_channels": 4,
    ]

    private static func configuration(_ changes: [JSON.Member] = []) throws -> PyramidVAEConfiguration {
        let kept = (settings.members ?? []).filter { member in !changes.contains { $0.key == member.key } }
        return try PyramidVAEConfiguration(JSONObject(.object(kept + changes), file: "config.json"))
    }

    private static func vae(_ file: any WeightFile, on backend: CPUBackend) throws -> PyramidVAE {
        let ledger = WeightLedger()
        let vae = PyramidVAE(WeightScope(file, ledger: ledger, on: backend), try configuration())
        _ = try ledger.finish(unknown: .refuse)
        return vae
    }

    private static func weights() throws -> MemoryWeights {
        MemoryWeights.random(try configuration().tensors, dtype: .f32, path: "weights")
    }

    private static func decoded(
        _ vae: PyramidVAE, _ latents: Tensor, _ tiling: PyramidTiling, limit: Int = .max,
        step: @escaping () -> Void = {}
    ) throws -> (frames: [Float], lengths: [Int]) {
        var frames: [Tensor] = []
        try vae.decode(latents, tiling, PyramidVAERun(chunkByteLimit: limit, step: step)) { frames.append($0) }
        return (frames.flatMap { $0.session.floats($0) }, frames.map { $0.shape[0] })
    }

    @Test("chunks change nothing but rounding, and one thread nothing at all", arguments: [1, 2, 3])
    func chunks(_ window: Int) throws {
        let backend = CPUBackend(threads: 2)
        let (vae, session) = (try Self.vae(Self.weights(), on: backend), backend.session())
        let latents = session.upload(RandomValues().tensor([5, 4, 3, 4]))
        let whole = try Self.decoded(vae, latents, PyramidTiling(side: nil, window: 9))
        let chunked = try Self.decoded(vae, latents, PyramidTiling(side: nil, window: window))
        #expect(whole.lengths == [33] && chunked.lengths.reduce(0, +) == 33 && chunked.lengths[0] == 8 * window + 1)
        #expect(relativeError(chunked.frames, whole.frames) < 1e-6)
        var parts = 0
        let streamed = try Self.decoded(vae, latents, PyramidTiling(side: nil, window: window), limit: 0) { parts += 1 }
        #expect(streamed.lengths == chunked.lengths && parts > 33, "each frame is a part of the work")
        #expect(relativeError(streamed.frames, whole.frames) < 1e-6)
        let video = session.upload(RandomValues().tensor([33, 3, 24, 32]))
        let mean = try vae.encode(video, PyramidTiling(side: nil, window: 9), PyramidVAERun {}).mean
        let other = try vae.encode(video, PyramidTiling(side: nil, window: window), PyramidVAERun {}).mean
        #expect(mean.shape == [5, 4, 3, 4])
        #expect(relativeError(other.floats(), mean.floats()) < 1e-6)
        let single = CPUBackend(threads: 1)
        let same = try Self.decoded(
            Self.vae(Self.weights(), on: single), single.session().upload(RandomValues().tensor([5, 4, 3, 4])),
            PyramidTiling(side: nil, window: window))
        #expect(same.frames == chunked.frames)
    }

    @Test("tiles are handed on in the same chunks, and those of small frames are the whole")
    func tiles() throws {
        let backend = CPUBackend(threads: 2)
        let (vae, session) = (try Self.vae(Self.weights(), on: backend), backend.session())
        let latents = session.upload(RandomValues().tensor([4, 4, 6, 9]))
        let tiled = try Self.decoded(vae, latents, PyramidTiling(side: 32))
        #expect(tiled.lengths == [9, 8, 8] && tiled.frames.count == 25 * 3 * 48 * 72)
        let large = try Self.decoded(vae, latents, PyramidTiling(side: 96))
        #expect(try large.frames == Self.decoded(vae, latents, PyramidTiling(side: nil)).frames)
    }

    @Test("memory does not grow with the length of a clip")
    func memory() throws {
        let backend = CPUBackend(threads: 1)
        let vae = try Self.vae(Self.weights(), on: backend)
        let peaks = try [4, 16].map { count in
            let session = backend.session()
            let latents = session.upload(RandomValues().tensor([count, 4, 4, 4]))
            try vae.decode(latents, PyramidTiling(side: nil), PyramidVAERun {}) { _ in }
            return session.memory.peakBytes - backend.allocatedByteCount(latents.byteCount)
        }
        #expect(peaks[0] == peaks[1])
    }

    @Test("a run that is cancelled ends between two levels")
    func cancellation() throws {
        let backend = CPUBackend(threads: 1)
        let vae = try Self.vae(Self.weights(), on: backend)
        let session = backend.session()
        var calls = 0
        let run = PyramidVAERun {
            calls += 1
            if calls == 3 { session.cancellation.cancel() }
            try session.check()
        }
        #expect(throws: Cancelled.self) {
            try vae.decode(session.upload(RandomValues().tensor([3, 4, 4, 4])), .small, run) { _ in }
        }
        #expect(calls == 3)
    }

    @Test("weights are found below a prefix and under old names, and tell their settings")
    func files() throws {
        let weights = try Self.weights()
        func renamed(_ change: (String) -> String) throws -> MemoryWeights {
            MemoryWeights(try weights.keys.map { (change($0), try weights.tensor($0)) }, path: "other")
        }
        let backend = CPUBackend(threads: 1)
        let session = backend.session()
        let latents = session.upload(RandomValues().tensor([2, 4, 3, 3]))
        let expected = try Self.decoded(Self.vae(weights, on: backend), latents, .small).frames
        let prefixed = PyramidVAEFile(try renamed { "vae." + $0 })
        let old = try renamed { key in
            let names = ["to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"]
            return names.reduce(key) { $0.replacing("." + $1.key + ".", with: "." + $1.value + ".") }
        }
        for file in [try prefixed.weights(), old] {
            #expect(try Self.decoded(Self.vae(file, on: backend), latents, .small).frames == expected)
        }
        #expect(PyramidVAEFile.isThere(in: weights) && !PyramidVAEFile.isThere(in: MemoryWeights([], path: "none")))
        #expect(throws: Fault.self) { try PyramidVAEFile(MemoryWeights([], path: "none")).weights() }
        // Widths of a few channels do not tell the groups, published ones do.
        #expect(throws: Fault.self) { try PyramidVAEFile(weights).settings() }
        let published = try PyramidVAEConfiguration(JSONObject([:], file: "config.json"))
        let shapes = published.tensors.map { entry in
            let layout = Layout(shape: entry.shape, strides: entry.shape.map { _ in 0 }, offset: 0)
            return (entry.key, HostTensor([1], [1]).view(layout))
        }
        let told = try PyramidVAEFile(MemoryWeights(shapes, path: "shapes")).settings()
        #expect(try PyramidVAEConfiguration(JSONObject(told, file: "told")) == published)
        let count = published.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
        #expect(count == 335_398_307 || abs(Double(count) / 335.4e6 - 1) < 1e-3, "\(count)")
    }

    @Test("settings that the network does not have are faults that name them")
    func brokenSettings() throws {
        let changes: [(key: String, value: JSON)] = [
            ("encoder_block_out_channels", [4, 4, 8]), ("encoder_block_out_channels", [4, 4, 8, 3]),
            ("decoder_block_out_channels", [4, 4, 8, -2]), ("decoder_block_out_channels", "wide"),
            ("encoder_layers_per_block", [1, 1, 1, 0]), ("decoder_layers_per_block", [1, 1, 1, 1000]),
            ("encoder_norm_num_groups", 0), ("decoder_in_channels", 1_048_576), ("encoder_in_channels", 4),
            ("encoder_out_channels", 5), ("decoder_out_channels", 1), ("downsample_scale", 4),
            ("encoder_double_z", false), ("add_post_quant_conv", false), ("interpolate", true),
            ("decoder_act_fn", "gelu"), ("encoder_spatial_down_sample", [true, true, true, true]),
            ("decoder_temporal_up_sample", [true, true, false, false]),
        ]
        for (key, value) in changes {
            let fault = #expect(throws: Fault.self) { try Self.configuration([.init(key, value)]) }
            #expect(fault?.kind == .badData && fault?.description.contains(key) == true, "\(key): \(fault as Any)")
        }
    }
}
