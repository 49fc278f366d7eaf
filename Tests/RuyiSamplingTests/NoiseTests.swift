import RuyiFault
import RuyiSampling
import RuyiTensor
import Testing

private let seeds: [UInt64] = [0, 42, 123_456_789]

@Suite("Noise as torch's CPU generator draws it")
struct TorchGeneratorTests {
    @Test("a first draw of n values", arguments: seeds, [1, 7, 15, 16, 17, 31, 33, 100, 768])
    func firstDraw(seed: UInt64, count: Int) throws {
        let expected = try Fixture("torch-cpu-randn.safetensors")["\(seed).\(count)"]
        let error = relativeError(try TorchGenerator(seed: seed).next([count]), expected)
        #expect(error <= 1e-6)
    }

    @Test("three draws of one generator: 24, 5 and 40 values", arguments: seeds)
    func successiveDraws(seed: UInt64) throws {
        let goldens = try Fixture("torch-cpu-randn.safetensors")
        let generator = TorchGenerator(seed: seed)
        for (name, shape) in [("a", [1, 2, 3, 4]), ("b", [5]), ("c", [40])] {
            #expect(relativeError(try generator.next(shape), try goldens["\(seed).seq.\(name)"]) <= 1e-6)
        }
    }

    @Test("the second value of an odd pair waits behind a large draw")
    func partnerSurvives() throws {
        let pair = try TorchGenerator(seed: 9).next([2]).floats()
        let generator = TorchGenerator(seed: 9)
        #expect(try generator.next([1]).floats() == [pair[0]])
        _ = try generator.next([64])
        #expect(try generator.next([1]).floats() == [pair[1]])
    }

    @Test("only the low 32 bits of the seed count")
    func seedBits() throws {
        let low = try TorchGenerator(seed: 42).next([40]).floats()
        #expect(try TorchGenerator(seed: 42 | 7 << 32).next([40]).floats() == low)
        #expect(try TorchGenerator(seed: 43).next([40]).floats() != low)
    }

    @Test("a large draw is standard normal, finite, and quick")
    func largeDraw() throws {
        let generator = TorchGenerator(seed: 1)
        var draws: [HostTensor] = []
        let time = try ContinuousClock().measure { draws.append(try generator.next([4, 1 << 20])) }
        #expect(time < .seconds(5))
        let values = draws[0].floats()
        let mean = values.reduce(0.0) { $0 + Double($1) } / Double(values.count)
        let variance = values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(values.count)
        #expect(abs(mean) < 2e-3)
        #expect(abs(variance - 1) < 3e-3)
        #expect(values.allSatisfy { $0.isFinite })
    }

    @Test("an empty draw takes nothing from the generator")
    func emptyDraw() throws {
        let generator = TorchGenerator(seed: 2)
        #expect(try generator.next([0, 3]).floats().isEmpty)
        #expect(try generator.next([20]).floats() == TorchGenerator(seed: 2).next([20]).floats())
    }
}

@Suite("Recorded noise")
struct RecordedNoiseTests {
    let first = HostTensor([1, 2, 3, 4, 5, 6], [2, 3])
    let second = HostTensor([7, 8], [2])

    @Test("draws come in order under their numbers")
    func order() throws {
        let source = RecordedNoise(["noise.000": first, "noise.001": second, "other": second], from: "n.safetensors")
        #expect(try source.next([2, 3]).floats() == [1, 2, 3, 4, 5, 6])
        #expect(try source.next([2]).floats() == [7, 8])
    }

    @Test("a single draw may be called noise")
    func singleName() throws {
        #expect(try RecordedNoise(["noise": second], from: "n").next([2]).floats() == [7, 8])
    }

    @Test("a transposed recording is made contiguous")
    func transposed() throws {
        let found = try RecordedNoise(["noise": first.permuted([1, 0])], from: "n").next([3, 2])
        #expect(found.isContiguous)
        #expect(found.floats() == [1, 4, 2, 5, 3, 6])
    }

    @Test("a missing draw is named")
    func missing() throws {
        let source = RecordedNoise(["noise": second], from: "n.safetensors")
        _ = try source.next([2])
        let fault = #expect(throws: Fault.self) { try source.next([4]) }
        #expect(fault == Fault(.badData, "draw noise.001 of [4] is not recorded", at: "n.safetensors"))
    }

    @Test("another shape is refused with both shapes")
    func otherShape() throws {
        let fault = #expect(throws: Fault.self) { try RecordedNoise(["noise.000": first], from: "n").next([3, 2]) }
        #expect(fault == Fault(.badData, "draw noise.000 has the shape [2, 3], expected [3, 2]", at: "n"))
    }

    @Test("integers are refused")
    func integers() throws {
        let draws = ["noise": HostTensor(integers: [1, 2], [2])]
        let fault = #expect(throws: Fault.self) { try RecordedNoise(draws, from: "n").next([2]) }
        #expect(fault?.kind == .badData)
    }
}
