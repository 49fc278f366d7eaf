import RuyiCPU
import RuyiSampling
import RuyiTensor
import Testing

@Suite("The pyramid of stages")
struct PyramidTests {
    @Test("times fall through all stages, levels from 1 to nearly nothing and then 0", arguments: [1, 2, 7, 20, 100])
    func levels(_ steps: Int) {
        let schedule = PyramidSchedule(steps: [steps, steps + 1, steps])
        let times = schedule.stages.flatMap(\.timesteps)
        #expect(times.count == 3 * steps + 1 && times.first == 1000)
        #expect(zip(times, times.dropFirst()).allSatisfy { $0 > $1 } && times.allSatisfy { $0 > 1 })
        for stage in schedule.stages {
            let sigmas = stage.sigmas
            #expect(sigmas.count == stage.timesteps.count + 1 && sigmas.first == 1 && sigmas.last == 0)
            #expect(zip(sigmas, sigmas.dropFirst()).allSatisfy { $0 > $1 })
            if sigmas.count > 2 { #expect(abs(sigmas[sigmas.count - 2] - 0.001) < 1e-12) }
        }
    }

    @Test("the right direction arrives at the stage's end in any number of steps", arguments: [1, 3, 10])
    func arrives(_ steps: Int) {
        let session = CPUBackend(threads: 1).session()
        let (noise, end) = ((0..<32).map { Float($0 % 5) - 2 }, (0..<32).map { Float($0 % 7) / 7 })
        let schedule = PyramidSchedule(steps: [steps, steps, steps])
        let velocity = session.upload(HostTensor(zip(noise, end).map { $0 - $1 }, [1, 2, 4, 4]))
        for stage in 0..<3 {
            var latents = session.upload(HostTensor(noise, [1, 2, 4, 4]))
            for call in 0..<steps { latents = schedule.step(latents, velocity: velocity, stage: stage, call: call) }
            #expect(zip(session.floats(latents), end).allSatisfy { abs($0 - $1) < 1e-5 })
        }
    }

    /// The noise of the next stage begins at its level: the variance of enlarged noise and of the blocks' add up to that
    /// of independent noise, and neighbours in a block are independent again.
    @Test("a jump between stages gives noise of unit variance without correlation")
    func jump() throws {
        for stage in 1...2 {
            let (alpha, beta) = PyramidSchedule.jumpFactors(to: stage)
            // At the end of a stage noise is left in the share of the level; what is added makes it that of the next.
            let level = [1, 0.667, 0.334][stage]
            let next = 1 - (1 - level) * alpha
            #expect(abs((alpha * level) * (alpha * level) + beta * beta - next * next) < 1e-6)
            #expect(abs((alpha * level) * (alpha * level) - beta * beta / 3) < 1e-6)
        }
    }

    @Test("blocks of noise have unit variance, are opposed within and nearly add up to nothing")
    func blocks() throws {
        let noise = try PyramidNoise.blocks(
            from: TorchGenerator(seed: 3), channels: 16, frames: 2, height: 64, width: 48)
        #expect(noise.shape == [1, 16, 2, 64, 48])
        let values = noise.floats()
        var (sum, square, product, count) = (Float(0), 0.0, 0.0, 0.0)
        for row in stride(from: 0, to: 16 * 2 * 64, by: 2) {
            for column in stride(from: 0, to: 48, by: 2) {
                let place = row * 48 + column
                let block = [values[place], values[place + 1], values[place + 48], values[place + 49]]
                sum = max(sum, abs(block.reduce(0, +)))
                square += block.reduce(0) { $0 + Double($1 * $1) } / 4
                product += Double(block[0] * block[3] + block[1] * block[2]) / 2
                count += 1
            }
        }
        #expect(sum < 0.01 && abs(square / count - 1) < 0.02 && abs(product / count + 1.0 / 3) < 0.02)
        // Recorded draws are served whole.
        let draws = HostTensor((0..<8).map { Float($0) }, [2, 4])
        let recorded = try PyramidNoise.blocks(
            from: RecordedNoise(["noise.000": draws], from: "case"), channels: 1, frames: 1, height: 2, width: 4)
        #expect(recorded.floats()[0] == 0 && recorded.floats()[2] == 4)
    }

    @Test("small draws one by one go on where others stopped, whatever their number")
    func rows() throws {
        let (one, other) = (TorchGenerator(seed: 9), TorchGenerator(seed: 9))
        for generator in [one, other] {
            _ = try generator.next([3])
            _ = try generator.next([20])
        }
        let rows = try one.rows(30, of: 4).floats()
        #expect(try rows == (0..<30).flatMap { _ in try other.next([4]).floats() })
        #expect(try one.next([33]).floats() == other.next([33]).floats())
    }

    @Test("halved noise keeps unit variance, halved values their mean")
    func halves() throws {
        let session = CPUBackend(threads: 2).session()
        let noise = session.upload(try TorchGenerator(seed: 1).next([4, 16, 32, 32]))
        let halved = session.floats(PyramidNoise.halved(noise))
        let variance = halved.reduce(0.0) { $0 + Double($1 * $1) } / Double(halved.count)
        #expect(halved.count == 4 * 16 * 16 * 16 && abs(variance - 1) < 0.02)
        let values = session.upload(HostTensor([0, 1, 2, 3, 4, 5, 6, 7], [1, 1, 2, 4]))
        #expect(session.floats(values.halved) == [2.5, 4.5])
        #expect(session.floats(values.permuted([0, 1, 3, 2]).halved) == [2.5, 4.5])
    }

    @Test("guidance falls evenly to its least")
    func guidance() {
        let guidance = LinearGuidance(start: 7, fall: 0.5, least: 2)
        #expect((0..<4).map(guidance.scale) == [7, 6.5, 6, 5.5] && guidance.scale(at: 100) == 2)
    }
}
