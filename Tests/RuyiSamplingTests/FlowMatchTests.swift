import RuyiCPU
import RuyiSampling
import RuyiTensor
import Testing

@Suite("Euler's method on straight paths")
struct FlowMatchTests {
    @Test("levels fall strictly from 1 to 0, higher with a larger shift", arguments: [1, 2, 5, 30, 50, 1000])
    func levels(_ steps: Int) {
        var before: [Float]?
        for shift in [0.1, 1, 3, 7, 17, 100] {
            let scheduler = FlowMatchEuler(steps: steps, shift: shift)
            let sigmas = scheduler.sigmas
            #expect(sigmas.count == steps + 1 && abs(sigmas[0] - 1) < 1e-6 && sigmas[steps] == 0)
            #expect(zip(sigmas, sigmas.dropFirst()).allSatisfy { $0 > $1 }, "shift \(shift)")
            #expect(scheduler.timesteps == sigmas.dropLast().map { $0 * 1000 })
            if let before { #expect(zip(before, sigmas).allSatisfy { $0 <= $1 + 1e-6 }, "shift \(shift)") }
            before = sigmas
        }
    }

    @Test("without a shift the levels are evenly spaced, and given ones are shifted as those are")
    func given() {
        #expect(FlowMatchEuler(steps: 4, shift: 1).sigmas == [1, 0.75, 0.5, 0.25, 0])
        let levels: [Float] = [1, 0.75, 0.5, 0.25]
        #expect(FlowMatchEuler(levels: levels, shift: 7).sigmas == FlowMatchEuler(steps: 4, shift: 7).sigmas)
    }

    @Test("a model that knows the picture arrives at it, whatever the steps and the shift", arguments: [1, 3, 20])
    func arrives(_ steps: Int) {
        let session = CPUBackend(threads: 1).session()
        let picture = (0..<48).map { Float($0 % 7) / 7 - 0.4 }
        let noise = (0..<48).map { Float($0 % 5) - 2 }
        for shift in [0.5, 1, 7] {
            let scheduler = FlowMatchEuler(steps: steps, shift: shift)
            let velocity = session.upload(HostTensor(zip(noise, picture).map { $0 - $1 }, [1, 48]))
            var latents = session.upload(HostTensor(noise, [1, 48]))
            for call in 0..<steps { latents = scheduler.step(latents, velocity: velocity, call: call) }
            #expect(zip(session.floats(latents), picture).allSatisfy { abs($0 - $1) < 1e-5 })
        }
    }
}
