import Glibc
import RuyiCPU
import RuyiTensor
import Testing

/// Dense selections of all floats.
enum Sweep {
    /// Every `step`-th bit pattern of both signs between two magnitudes, and the ends.
    static func patterns(_ range: ClosedRange<Float>, step: UInt32) -> [Float] {
        let (first, last) = (range.lowerBound.bitPattern, range.upperBound.bitPattern)
        let magnitudes = stride(from: first, through: last, by: UInt32.Stride(step)).map(Float.init(bitPattern:))
        return (magnitudes + [range.upperBound]).flatMap { [$0, -$0] }
    }

    /// The floats around a value.
    static func around(_ value: Float, count: UInt32 = 2000) -> [Float] {
        (value.bitPattern - count...value.bitPattern + count).map(Float.init(bitPattern:))
    }

    /// Distance from the exact value in units of its last place as a float.
    static func ulps(_ found: Float, _ exact: Double) -> Double {
        if found.isNaN || exact.isNaN { return found.isNaN && exact.isNaN ? 0 : .infinity }
        let rounded = Float(exact)
        if rounded.isInfinite || found.isInfinite { return found == rounded ? 0 : .infinity }
        return abs(Double(found) - exact) / Double(max(rounded.magnitude, .leastNormalMagnitude).ulp)
    }
}

@Suite("pointwise functions over dense sweeps")
struct FunctionTests {
    /// The largest error of a normal result, and the argument that has it.
    private func worst(
        _ inputs: [Float], _ found: [Float], _ exact: (Double) -> Double
    ) -> (ulps: Double, at: Float) {
        var worst = (ulps: 0.0, at: Float(0))
        for (x, y) in zip(inputs, found) {
            let error = Sweep.ulps(y, exact(Double(x)))
            if error > worst.ulps { worst = (error, x) }
        }
        return worst
    }

    @Test("e^x is within 1.5 ulp wherever the result is a normal number")
    func exponentialAccuracy() {
        var inputs = Sweep.patterns(0...87.33654, step: 997)
        inputs += Sweep.patterns(87.33654...88.722832, step: 1).filter { $0 > 0 }
        inputs += Sweep.around(1).flatMap { [$0, -$0] } + Sweep.around(0.34657359) + Sweep.around(87)
        for backend in backends {
            let found = backend.exponential(HostTensor(inputs, [inputs.count])).floats()
            let worst = worst(inputs, found, exp)
            #expect(worst.ulps <= 1.5, "\(backend.level): \(worst)")
        }
    }

    @Test("e^x under the smallest normal number is flushed to zero, over the largest it is infinite")
    func exponentialEdges() {
        let least = Double(Float.leastNormalMagnitude)
        let edge = log(least)
        let under = Sweep.around(87.336544).map { -$0 } + Sweep.patterns(87.3365...110, step: 13).filter { $0 < 0 }
        let over = Sweep.around(88.72283) + Sweep.patterns(88.7...110, step: 13).filter { $0 > 0 }
        for backend in backends {
            for (x, y) in zip(under, backend.exponential(HostTensor(under, [under.count])).floats()) {
                let exact = exp(Double(x))
                let isRight =
                    Double(x) >= edge
                    ? Sweep.ulps(y, exact) <= 1.5
                    : y == 0 || abs(Double(y) - exact) < 1.5 * Double(Float.leastNormalMagnitude.ulp)
                #expect(isRight, "\(backend.level): e^\(x) = \(y)")
                // No subnormal results but at the very edge.
                #expect(y == 0 || Double(x) > edge - 1e-5, "\(backend.level): e^\(x) = \(y)")
            }
            for (x, y) in zip(over, backend.exponential(HostTensor(over, [over.count])).floats()) {
                let exact = exp(Double(x))
                #expect(Sweep.ulps(y, exact) <= 1.5, "\(backend.level): e^\(x) = \(y)")
            }
            let specials: [Float] = [0, -0, .infinity, -.infinity, .leastNonzeroMagnitude, 1e-40, -1e-40, 1e38, -1e38]
            let values = backend.exponential(HostTensor(specials, [specials.count])).floats()
            #expect(values == [1, 1, .infinity, 0, 1, 1, 1, .infinity, 0], "\(backend.level)")
            #expect(backend.exponential(HostTensor([.nan, -.nan], [2])).floats().allSatisfy { $0.isNaN })
        }
    }

    @Test("activations over the whole float range", arguments: Activation.allCases)
    func activations(_ activation: Activation) {
        let inputs = Sweep.patterns(0...(.greatestFiniteMagnitude), step: 9973) + Sweep.patterns(0.01...20, step: 499)
        let positive = inputs.filter { $0 >= 0 }
        let negative = inputs.filter { $0 < 0 }
        for backend in backends {
            let right = worst(
                positive, backend.activate(HostTensor(positive, [positive.count]), activation).floats(),
                { exact(activation, $0) })
            #expect(right.ulps <= (activation == .gelu ? 6.5 : 3), "\(backend.level): \(right)")
            var relative = (error: 0.0, at: Float(0))
            var ulps = (error: 0.0, at: Float(0))
            for (x, y) in zip(negative, backend.activate(HostTensor(negative, [negative.count]), activation).floats()) {
                let wanted = exact(activation, Double(x))
                let error = abs(Double(y) - wanted) / max(abs(Double(x)), 0x1p-126)
                if !(error <= relative.error) { relative = (error, x) }
                if x > -5, !(Sweep.ulps(y, wanted) <= ulps.error) { ulps = (Sweep.ulps(y, wanted), x) }
            }
            // Far below zero the argument of the exponential is rounded, which costs its size in ulp.
            #expect(relative.error <= (activation == .gelu ? 2.5e-7 : 1e-7), "\(backend.level): \(relative)")
            #expect(ulps.error <= 40, "\(backend.level): \(ulps)")
        }
    }

    /// In double precision, by formulas that keep their precision in the tails.
    private func exact(_ activation: Activation, _ x: Double) -> Double {
        switch activation {
        case .none: x
        case .silu: x / (1 + exp(-x))
        case .quickGelu: x / (1 + exp(-1.702 * x))
        case .geluTanh: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        case .gelu: 0.5 * x * erfc(-x / 2.0.squareRoot())
        }
    }

    @Test("infinities and NaN pass activations as the limits say", arguments: Activation.allCases)
    func activationSpecials(_ activation: Activation) {
        for backend in backends {
            let y = backend.activate(HostTensor([.infinity, .nan, -.infinity, 0, -0], [5]), activation).floats()
            #expect(y[0] == .infinity && y[1].isNaN && y[3] == 0 && y[4] == 0, "\(backend.level): \(y)")
            // The limit is zero; -infinity times zero is NaN.
            #expect(activation == .none ? y[2] == -.infinity : y[2] == 0 || y[2].isNaN, "\(backend.level): \(y)")
        }
    }

    @Test("every length around the vector widths, and starts that no vector is aligned to", arguments: 1...67)
    func lengths(_ length: Int) {
        var random = TestRandom(UInt64(400 + length))
        let whole = random.tensor([length + 5])
        for backend in backends {
            let part = whole.sliced(0, 3..<length + 3)
            let all = backend.activate(whole, .silu).floats()
            #expect(backend.activate(part, .silu).floats() == Array(all[3..<length + 3]), "\(backend.level)")
            let sum = backend.combine(part, 2, whole.sliced(0, 1..<length + 1), 3).floats()
            let values = whole.floats()
            let expected = (0..<length).map { 2 * values[$0 + 3] + 3 * values[$0 + 1] }
            #expect(relativeError(sum, expected) < 1e-6, "\(backend.level)")
        }
    }
}
