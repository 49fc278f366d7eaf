import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiSampling
import RuyiTensor
import Testing

@Suite("Step-Video's parts against the reference")
struct StepComponentTests {
    private static func parts(_ name: String) -> [GoldenRecord] { GoldenSet.parts([name], of: "step-video") }

    private let session = CPUBackend(threads: 2).session()

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: HostTensor) throws {
        let shape = try golden.expected.tensor(name).shape
        if let mismatch = try golden.mismatch(name, tensor.single.reshaped(shape)) { Issue.record("\(mismatch)") }
    }

    @Test(
        "levels fall or rise as the reference's, and steps lead where its steps do",
        arguments: parts("component-scheduler"))
    func scheduler(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let cases = try #require(try record.json("cases.json").array)
        #expect(cases.count > 5)
        var walked = 0
        for item in cases {
            let key = try #require(item["key"]?.string)
            let scheduler = FlowMatchDiscrete(
                steps: try #require(item["steps"]?.int), shift: try #require(item["time_shift"]?.double),
                isReversed: item["reverse"]?.bool ?? false)
            for (name, values) in [("sigmas", scheduler.sigmas), ("timesteps", scheduler.timesteps)] {
                try check(golden, "\(key).\(name)", HostTensor(values, [values.count]))
            }
            guard golden.expected.shape(of: key + ".sample") != nil else { continue }
            var latents = session.upload(try golden.expected.tensor(key + ".sample"))
            for call in scheduler.timesteps.indices {
                let number = String(repeating: "0", count: 3 - String(call).count) + String(call)
                let velocity = session.upload(try golden.expected.tensor("\(key).model_output.\(number)"))
                latents = scheduler.step(latents, velocity: velocity, call: call)
                try check(golden, "\(key).latents.\(number)", session.read(latents))
            }
            walked += 1
        }
        #expect(walked > 2)
    }

    @Test("positions turn heads as the reference does, also rounded as on its GPU", arguments: parts("component-dit"))
    func rotary(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        for (rounding, prefix) in [(StepRounding.none, "rope."), (.bfloat16, "rope.bf16.")] {
            let table = StepRotary.table(
                frames: 3, rows: 4, columns: 5, axes: [64, 32, 32], rounding: rounding, on: session)
            let x = try golden.expected.tensor("rope.in").single
            let turned = Reference.rotate(
                x.reshaped([1, 60, 256]), heads: 2, cosines: session.read(table.cosines),
                sines: session.read(table.sines), table.pairing)
            try check(golden, prefix + "out", turned)
            // Along the first axis every twentieth place is the next position.
            let frames = HostTensor(
                (0..<3).flatMap { session.floats(table.cosines).dropFirst($0 * 20 * 128).prefix(64) }, [3, 64])
            let expected = try golden.expected.tensor(prefix + "cos.64").single.sliced(0, 0..<3).floats()
            #expect(zip(frames.floats(), expected).allSatisfy { abs($0 - $1) < 1e-5 })
        }
        let exact = try golden.expected.tensor("bf16.timesteps.exact").floats()
        let seen = exact.map { StepRounding.bfloat16(1000 * StepRounding.bfloat16($0)) }
        #expect(seen == (try golden.expected.tensor("bf16.timesteps.seen_by_model").floats()))
    }

    /// Groups of any size give the same heads, so that a long clip's are those of a short one's code.
    @Test("attention of all heads at once and in groups is the reference's", arguments: parts("component-dit"))
    func attention(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let ledger = WeightLedger()
        let scope = WeightScope(
            try SafetensorsFile(path: record("weights.safetensors")), ledger: ledger, on: session.backend)
        let sizes = try StepTransformerConfiguration(
            JSONObject(["num_attention_heads": 2, "attention_head_dim": 128], file: "config.json"), kind: .i2v)
        let attention = StepSelfAttention(scope / "attn1", sizes)
        let rotary = StepRotary.table(frames: 3, rows: 4, columns: 5, axes: sizes.rotaryAxes, on: session)
        let x = session.upload(try golden.expected.tensor("attn1.in"))
        let heads = attention.heads(of: x, rotary)
        for (name, part) in [("q", heads.query), ("k", heads.key), ("v", heads.value)] {
            try check(golden, "attn1." + name, session.read(part))
        }
        for limit in [1, 1 << 27] { try check(golden, "attn1.out", session.read(attention(x, rotary, limit: limit))) }
    }

    @Test("times and motion are told as the reference tells them", arguments: parts("component-dit"))
    func moments(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let scope = WeightScope(
            try SafetensorsFile(path: record("weights.safetensors")), ledger: WeightLedger(), on: session.backend)
        let embedding = StepTimeEmbedding(scope / "adaln_single", width: 32, hasMotion: true)
        let (times, scores) = (
            try golden.expected.tensor("timestep").floats(), try golden.expected.tensor("motion_score").floats()
        )
        let moments = zip(times, scores).map { embedding([$0], motion: $1, on: session) }
        func all(_ part: (StepMoments) -> Tensor) -> HostTensor {
            session.read(session.concatenate(moments.map(part), axis: 0))
        }
        try check(golden, "adaln.embedded_timestep", all(\.embedded))
        try check(golden, "adaln.modulation", all(\.signals))
    }
}
