import RuyiFault
import RuyiSampling
import RuyiTensor
import Testing

private let published = SchedulerConfiguration()
private let samplerNames: [(Sampler, String)] = [
    (.ddim, "DDIM"), (.euler, "Euler"), (.eulerAncestral, "Euler_A"), (.dpmpp, "DPMpp"), (.pndm, "PNDM"),
]

@Suite("Samplers against recorded tables and roll-outs")
struct SchedulerGoldens {
    let goldens: Fixture

    init() throws { goldens = try Fixture("schedulers.safetensors") }

    @Test("the cumulative product is the reference's to the bit", arguments: samplerNames)
    func cumulativeProduct(sampler: Sampler, name: String) throws {
        let expected = try goldens["\(name).alphas_cumprod"]
        #expect(try NoiseSchedule(published).alphasCumprod == expected.floats())
    }

    @Test("timesteps, sigmas and the first factor are the reference's", arguments: samplerNames)
    func tables(sampler: Sampler, name: String) throws {
        for steps in [1, 2, 4, 5, 10, 20, 25, 30, 50, 200] {
            let scheduler = try sampler.scheduler(steps: steps, configuration: published)
            let timesteps = try goldens["\(name).\(steps).timesteps"]
            #expect(scheduler.timesteps == timesteps.floats(), "\(name) \(steps)")
            let first = try goldens["\(name).\(steps).init_noise_sigma"]
            #expect(relativeError(HostTensor([scheduler.initNoiseSigma], [1]), first) <= 1e-6)
            #expect((scheduler.sigmas != nil) == (goldens.tensors["\(name).\(steps).sigmas"] != nil))
            if let sigmas = scheduler.sigmas {
                let error = relativeError(HostTensor(sigmas, [sigmas.count]), try goldens["\(name).\(steps).sigmas"])
                #expect(error <= 1e-6)
            }
        }
    }

    @Test("the latents without noise are told from the velocity at every call", arguments: samplerNames)
    func clean(sampler: Sampler, name: String) throws {
        let scheduler = try sampler.scheduler(steps: 6, configuration: published)
        let schedule = try NoiseSchedule(published)
        let (wanted, noise): ([Float], [Float]) = ([0.5, -1.25, 2, 0], [-0.3, 1, 0.25, 2])
        for (call, time) in scheduler.timesteps.enumerated() {
            let alpha = schedule.alphasCumprod[Int(time)]
            let (signal, sigma) = (alpha.squareRoot(), (1 - alpha).squareRoot())
            let velocity = zip(wanted, noise).map { signal * $1 - sigma * $0 }
            // Euler's latents are those of the others divided by the signal's part.
            let part = [.euler, .eulerAncestral].contains(sampler) ? signal : 1
            let latents = zip(wanted, noise).map { (signal * $0 + sigma * $1) / part }
            let found = scheduler.clean(
                modelOutput: tensor(HostTensor(velocity, [4])), call: call, latents: tensor(HostTensor(latents, [4]))
            )
            #expect(zip(values(found).floats(), wanted).allSatisfy { abs($0 - $1) < 1e-4 }, "\(name) \(call)")
        }
    }

    @Test("a run of six steps gives the reference's latents after every call", arguments: samplerNames)
    func rollOut(sampler: Sampler, name: String) throws {
        var scheduler = try sampler.scheduler(steps: 6, configuration: published)
        #expect(scheduler.timesteps.count == (sampler == .pndm ? 7 : 6))
        var latents = tensor(combination((scheduler.initNoiseSigma, try goldens["\(name).roll.noise"])))
        var worst = 0.0
        for call in scheduler.timesteps.indices {
            let prefix = "\(name).roll.00\(call)"
            let input = scheduler.scaleModelInput(latents, call: call)
            worst = max(worst, relativeError(values(input), try goldens["\(prefix).input"]))
            latents = scheduler.step(
                modelOutput: tensor(try goldens["\(prefix).model_output"]), call: call, latents: latents,
                noise: scheduler.needsNoise ? tensor(try goldens["\(prefix).noise"]) : nil)
            worst = max(worst, relativeError(values(latents), try goldens["\(prefix).latents"]))
        }
        #expect(worst <= 1e-5)
    }
}

@Suite("Samplers: properties")
struct SchedulerProperties {
    @Test("timesteps fall inside the levels; PNDM repeats its second", arguments: Sampler.allCases)
    func timestepsFall(sampler: Sampler) throws {
        for steps in 1...200 {
            let scheduler = try sampler.scheduler(steps: steps, configuration: published)
            var calls = scheduler.timesteps
            if sampler == .pndm, steps > 1 {
                #expect(calls.count == steps + 1)
                #expect(calls[1] == calls[2])
                calls.remove(at: 1)
            }
            #expect(calls.count == steps)
            #expect(zip(calls, calls.dropFirst()).allSatisfy { $0 > $1 })
            #expect(calls.allSatisfy { (1..<1000).contains($0) })
        }
    }

    @Test(
        "a model that knows the picture leads every sampler to it", arguments: Sampler.allCases, [1, 2, 3, 7, 25, 50])
    func exactModelIsRecovered(sampler: Sampler, steps: Int) throws {
        for predictionType in ["v_prediction", "epsilon"] {
            var configuration = published
            configuration.predictionType = predictionType
            let schedule = try NoiseSchedule(configuration)
            var scheduler = try sampler.scheduler(steps: steps, configuration: configuration)
            let shape = [2, 16, 5]
            let noise = TorchGenerator(seed: 5)
            let picture = try noise.next(shape)
            // Start on the path of the first level, with the true noise in it.
            let top = Int(scheduler.timesteps[0])
            let alpha = schedule.alphasCumprod[top]
            var scale = Float(1)
            if sampler == .euler || sampler == .eulerAncestral { scale = 1 / alpha.squareRoot() }
            var latents = tensor(
                combination(
                    (scale * alpha.squareRoot(), picture), (scale * (1 - alpha).squareRoot(), try noise.next(shape))))
            for call in scheduler.timesteps.indices {
                let level = schedule.alphasCumprod[Int(scheduler.timesteps[call])]
                let (signal, sigma) = (level.squareRoot(), (1 - level).squareRoot())
                let input = values(scheduler.scaleModelInput(latents, call: call))
                let epsilon = combination((1 / sigma, input), (-signal / sigma, picture))
                let velocity = combination((signal, epsilon), (-sigma, picture))
                latents = scheduler.step(
                    modelOutput: tensor(predictionType == "epsilon" ? epsilon : velocity), call: call, latents: latents,
                    noise: scheduler.needsNoise ? tensor(try noise.next(shape)) : nil)
            }
            // DDIM and PNDM end at the first training level and keep 0.085 % of its noise.
            var left = sampler == .ddim || sampler == .pndm ? 0.06 : 1e-3
            // PLMS extrapolates the output itself, and v turns by most of a right angle between two far levels.
            if sampler == .pndm, steps == 2, predictionType == "v_prediction" { left = 0.3 }
            let error = relativeError(values(latents), picture)
            #expect(error < left, "\(sampler) \(steps) \(predictionType): \(error)")
        }
    }

    @Test("with set_alpha_to_one DDIM ends at the picture itself", arguments: [1, 4, 25])
    func endsAtOne(steps: Int) throws {
        var configuration = published
        configuration.endsAtOne = true
        let schedule = try NoiseSchedule(configuration)
        var scheduler = try Sampler.ddim.scheduler(steps: steps, configuration: configuration)
        let noise = TorchGenerator(seed: 7)
        let picture = try noise.next([64])
        var latents = tensor(try noise.next([64]))
        for call in scheduler.timesteps.indices {
            let level = schedule.alphasCumprod[Int(scheduler.timesteps[call])]
            let (signal, sigma) = (level.squareRoot(), (1 - level).squareRoot())
            // v from x₀ and x: (√ᾱ·x − x₀)/√(1−ᾱ).
            let velocity = combination((signal / sigma, values(latents)), (-1 / sigma, picture))
            latents = scheduler.step(modelOutput: tensor(velocity), call: call, latents: latents, noise: nil)
        }
        #expect(relativeError(values(latents), picture) < 1e-5)
    }

    @Test("two runs of one scheduler value are the same", arguments: Sampler.allCases)
    func runsRepeat(sampler: Sampler) throws {
        var scheduler = try sampler.scheduler(steps: 5, configuration: published)
        var results: [[Float]] = []
        for _ in 0..<2 {
            let noise = TorchGenerator(seed: 11)
            var latents = tensor(try noise.next([3, 17]))
            for call in scheduler.timesteps.indices {
                latents = scheduler.step(
                    modelOutput: tensor(try noise.next([3, 17])), call: call, latents: latents,
                    noise: scheduler.needsNoise ? tensor(try noise.next([3, 17])) : nil)
            }
            results.append(values(latents).floats())
        }
        #expect(results[0] == results[1])
        #expect(results[0].allSatisfy { $0.isFinite })
    }

    @Test("a sliced view of latents is read from its offset")
    func slicedLatents() throws {
        let noise = TorchGenerator(seed: 3)
        let both = tensor(try noise.next([2, 4, 5]))
        var scheduler = try Sampler.ddim.scheduler(steps: 4, configuration: published)
        let half = both.sliced(0, 1..<2)
        let copy = tensor(values(half).single)
        let fromView = scheduler.step(modelOutput: copy, call: 1, latents: half, noise: nil)
        let fromCopy = scheduler.step(modelOutput: half, call: 1, latents: copy, noise: nil)
        #expect(values(fromView).floats() == values(fromCopy).floats())
    }

    @Test(
        "names of the command line and of the reference are understood",
        arguments: [
            ("ddim", Sampler.ddim), ("DDIM", .ddim), ("euler", .euler), ("Euler", .euler), ("Euler A", .eulerAncestral),
            ("euler-a", .eulerAncestral), ("DPM++", .dpmpp), ("dpmpp", .dpmpp), ("PNDM", .pndm), ("pndm", .pndm),
        ])
    func names(name: String, sampler: Sampler) throws {
        #expect(try Sampler(named: name) == sampler)
    }

    @Test("an unknown name is a usage fault that lists the names", arguments: ["", "lms", "euler b", "ddim "])
    func unknownName(name: String) throws {
        let fault = #expect(throws: Fault.self) { try Sampler(named: name) }
        #expect(fault?.kind == .usage)
        #expect(fault?.hint == "one of: ddim, euler, euler-a, dpmpp, pndm")
    }

    @Test("a number of steps that the levels cannot hold is a usage fault", arguments: [.min, -1, 0, 1000, 1001, .max])
    func stepsOutOfRange(steps: Int) throws {
        for sampler in Sampler.allCases {
            let fault = #expect(throws: Fault.self) { try sampler.scheduler(steps: steps, configuration: published) }
            #expect(fault?.kind == .usage)
        }
    }

    @Test("an unsupported setting is refused with its key")
    func unsupportedSettings() throws {
        let changes: [(String, (inout SchedulerConfiguration) -> Void)] = [
            ("prediction_type", { $0.predictionType = "sample" }), ("beta_schedule", { $0.betaSchedule = "cosine" }),
            ("timestep_spacing", { $0.timestepSpacing = "trailing" }), ("clip_sample", { $0.clipsSample = true }),
            ("thresholding", { $0.thresholds = true }), ("trained_betas", { $0.trainedBetas = [0.1] }),
            ("rescale_betas_zero_snr", { $0.rescalesToZeroSNR = true }), ("steps_offset", { $0.stepsOffset = -1 }),
            ("num_train_timesteps", { $0.trainingTimestepCount = 1 }), ("beta_start", { $0.betaStart = 0 }),
            ("beta_end", { $0.betaEnd = .nan }), ("steps_offset", { $0.stepsOffset = .max }),
            ("num_train_timesteps", { $0.trainingTimestepCount = .max }),
        ]
        for (key, change) in changes {
            var configuration = published
            change(&configuration)
            let fault = #expect(throws: Fault.self) { try NoiseSchedule(configuration) }
            #expect(fault?.kind == .badData)
            #expect(fault?.what.contains(key) == true, "\(key): \(fault?.what ?? "")")
        }
    }

    @Test("the linear schedule runs from beta_start to beta_end")
    func linearSchedule() throws {
        var configuration = published
        configuration.betaSchedule = "linear"
        let schedule = try NoiseSchedule(configuration)
        #expect(schedule.betas.count == 1000)
        #expect(schedule.betas.first == 0.00085)
        #expect(schedule.betas.last == 0.03)
        #expect(zip(schedule.betas, schedule.betas.dropFirst()).allSatisfy { $0 < $1 })
    }
}
