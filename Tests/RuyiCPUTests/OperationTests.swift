import Glibc
import RuyiCPU
import RuyiTensor
import Testing

@Suite("operations against plain references")
struct OperationTests {
    @Test("activations hold to a few units in the last place, also at the extremes", arguments: Activation.allCases)
    func activations(_ activation: Activation) {
        var inputs = (-2000...2000).map { Float($0) * 0.01 }
        inputs += [0, -0, 1e-30, -1e-30, .leastNonzeroMagnitude, 100, -100, 1e30, -1e30, .infinity]
        for backend in backends {
            let y = backend.activate(HostTensor(inputs, [inputs.count]), activation).floats()
            for (x, value) in zip(inputs, y) {
                let expected = reference(activation, x)
                // Far below zero the result is a difference of nearly equal numbers: the bound is relative to |x|.
                let bound = 4e-7 * max(abs(expected), min(abs(x), 1))
                #expect(
                    abs(value - expected) <= bound || value == expected,
                    "\(backend.level) \(activation)(\(x)) = \(value)")
            }
            #expect(backend.activate(HostTensor([.nan], [1]), activation).floats()[0].isNaN)
        }
    }

    @Test(
        "attention equals its definition",
        arguments: [
            (1, 1, 1, 1, 4), (2, 5, 7, 2, 12), (1, 129, 300, 3, 16), (1, 40, 577, 2, 64), (1, 33, 253, 1, 176),
            (1, 300, 3, 2, 8), (1, 20, 20, 1, 512),
        ])
    func attention(_ batch: Int, _ queries: Int, _ keys: Int, _ heads: Int, _ size: Int) {
        var random = TestRandom(3)
        let q = random.tensor([batch, queries, heads * size])
        let k = random.tensor([batch, keys, heads * size])
        let v = random.tensor([batch, keys, heads * size])
        let scale = 1 / Float(size).squareRoot()
        for factor in [Float(1), 60] {
            let expected = referenceAttention(q, k, v, heads: heads, scale: scale * factor)
            for backend in backends {
                let y = backend.attention(q, k, v, heads: heads, scale: scale * factor)
                #expect(relativeError(y.floats(), expected) < 3e-6, "\(backend.level) at \(factor)")
            }
        }
    }

    @Test(
        "convolution equals its definition",
        arguments: [
            (3, 5, 4, 6, 9, 3, 1, 1, 1), (20, 17, 3, 40, 37, 3, 1, 1, 1), (2, 3, 5, 8, 9, 3, 2, 0, 1),
            (64, 33, 1, 7, 5, 1, 1, 0, 0), (130, 16, 3, 33, 3, 3, 1, 1, 1), (4, 4, 4, 9, 70, 3, 2, 0, 1),
        ])
    func convolution(
        _ channels: Int, _ outputs: Int, _ count: Int, _ height: Int, _ width: Int, _ size: Int, _ step: Int,
        _ before: Int, _ after: Int
    ) {
        var random = TestRandom(5)
        let weight = random.tensor([outputs, channels, min(size, count), size, size])
        let bias = random.tensor([outputs])
        var timeline: [HostTensor?] = (0..<count).map { _ in random.tensor([channels, height, width]) }
        if count > 2 { timeline[0] = nil }
        let stride = ConvolutionStride(step > 1 && count > 4 ? 2 : 1, step, step)
        let padding = SpatialPadding(before: before, after: after)
        let expected = referenceConvolution(timeline, weight, bias, stride, padding)
        for backend in backends {
            let y = backend.convolution(
                timeline, weight: weight, bias: bias, stride: stride, padding: padding, residual: nil)
            #expect(y.shape == expected.shape)
            #expect(relativeError(y.floats(), expected.values) < 1e-6, "\(backend.level)")
            let residual = random.tensor(y.shape)
            let sum = backend.convolution(
                timeline, weight: weight, bias: bias, stride: stride, padding: padding, residual: residual)
            #expect(relativeError(sum, backend.combine(y, 1, residual, 1)) < 1e-6)
        }
    }

    @Test(
        "layer norm with scale and shift, for widths that fill vectors and that do not",
        arguments: [1, 3, 24, 100, 2816])
    func layerNorm(_ width: Int) {
        var random = TestRandom(9)
        let (x, w, b) = (random.tensor([2, 7, width]), random.tensor([width]), random.tensor([width]))
        let (scale, shift) = (random.tensor([2, width]), random.tensor([2, width]))
        let values = x.floats()
        var expected: [Float] = []
        for row in 0..<14 {
            let part = values[row * width..<(row + 1) * width].map(Double.init)
            let mean = part.reduce(0, +) / Double(width)
            let variance = part.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
            for c in 0..<width {
                let y =
                    (part[c] - mean) / (variance + 1e-5).squareRoot() * Double(w.floats()[c]) + Double(b.floats()[c])
                let index = row / 7 * width + c
                expected.append(Float(y * (1 + Double(scale.floats()[index])) + Double(shift.floats()[index])))
            }
            if width > 1000 && row == 1 { break }
        }
        for backend in backends {
            let y = backend.layerNorm(x, weight: w, bias: b, epsilon: 1e-5, scale: scale, shift: shift).floats()
            #expect(relativeError(Array(y.prefix(expected.count)), expected) < 2e-6, "\(backend.level)")
        }
    }

    @Test("group norm per frame and over all frames, with a mean far from zero")
    func groupNorm() {
        var random = TestRandom(21)
        let shape = [3, 8, 5, 7]
        let x = HostTensor(random.values(3 * 8 * 35).map { $0 * 0.01 + 50 }, shape)
        let (w, b) = (random.tensor([8]), random.tensor([8]))
        let values = x.floats().map(Double.init)
        for perFrame in [true, false] {
            var expected = [Float](repeating: 0, count: values.count)
            for t in 0..<3 {
                for g in 0..<4 {
                    let frames = perFrame ? t..<t + 1 : 0..<3
                    let members: [Double] = frames.flatMap { f -> ArraySlice<Double> in
                        let start = (f * 8 + g * 2) * 35
                        return values[start..<start + 70]
                    }
                    let mean = members.reduce(0, +) / Double(members.count)
                    let squares: [Double] = members.map { ($0 - mean) * ($0 - mean) }
                    let variance = squares.reduce(0, +) / Double(members.count)
                    for c in g * 2..<g * 2 + 2 {
                        for p in 0..<35 {
                            let index = (t * 8 + c) * 35 + p
                            let y = (values[index] - mean) / (variance + 1e-6).squareRoot()
                            expected[index] = reference(.silu, Float(y * Double(w.floats()[c]) + Double(b.floats()[c])))
                        }
                    }
                }
            }
            for backend in backends {
                let y = backend.groupNorm(
                    x, groups: 4, weight: w, bias: b, epsilon: 1e-6, perFrame: perFrame, activation: .silu)
                #expect(relativeError(y.floats(), expected) < 2e-3, "\(backend.level): rounding of the input dominates")
                let shifted = backend.groupNorm(
                    backend.scale(x, by: 1, plus: -50, clampedTo: nil), groups: 4, weight: w, bias: b, epsilon: 1e-6,
                    perFrame: perFrame, activation: .silu)
                #expect(relativeError(y, shifted) < 2e-3)
            }
        }
    }

    @Test("head norm rotates neighbouring pairs after normalising each head")
    func headNorm() {
        var random = TestRandom(31)
        let (x, w, b) = (random.tensor([2, 6, 24]), random.tensor([12]), random.tensor([12]))
        let (cosines, sines) = (random.tensor([3, 12]), random.tensor([3, 12]))
        for backend in backends {
            let plain = backend.headNorm(x, heads: 2, weight: w, bias: b, epsilon: 1e-6, rotary: nil).floats()
            let normed = backend.layerNorm(
                x.reshaped([24, 12]), weight: w, bias: b, epsilon: 1e-6, scale: nil, shift: nil)
            #expect(plain == normed.floats())
            let rotated = backend.headNorm(
                x, heads: 2, weight: w, bias: b, epsilon: 1e-6, rotary: HostRotary(cosines: cosines, sines: sines))
            var expected = plain
            for row in 0..<12 {
                for index in 0..<24 {
                    let angle = row % 6 % 3 * 12 + index % 12
                    let pair = index % 2 == 0 ? -plain[row * 24 + index + 1] : plain[row * 24 + index - 1]
                    expected[row * 24 + index] =
                        plain[row * 24 + index] * cosines.floats()[angle] + pair * sines.floats()[angle]
                }
            }
            #expect(relativeError(rotated.floats(), expected) < 1e-6, "\(backend.level)")
        }
    }

    @Test("copies follow strides, slices, permutations and types")
    func copies() {
        var random = TestRandom(41)
        let x = random.tensor([3, 4, 5, 6])
        let views = [
            x, x.permuted([3, 1, 0, 2]), x.sliced(1, 1..<3), x.selected(2, 4),
            x.permuted([0, 2, 3, 1]).sliced(3, 2..<4),
            x.sliced(3, 5..<6), x.selected(0, 1).expanded(at: 0), HostTensor(integers: [4, -5, 6], [3]),
        ]
        for backend in backends {
            for view in views { #expect(backend.copy(view).floats() == view.floats()) }
            let parts = [x.sliced(1, 0..<1), x.sliced(1, 1..<4)]
            #expect(backend.concatenate(parts, axis: 1).floats() == x.floats())
            let twice = backend.concatenate([x, x], axis: 0)
            #expect(twice.shape == [6, 4, 5, 6] && twice.floats() == x.floats() + x.floats())
            let up = backend.upsampleNearest(x)
            #expect(up.shape == [3, 4, 10, 12])
            #expect(
                up.selected(0, 2).selected(0, 3).selected(0, 7).floats()
                    == (0..<12).map { x.selected(0, 2).selected(0, 3).selected(0, 3).floats()[$0 / 2] })
        }
    }

    @Test("sums, scalings and gates")
    func elementwise() {
        var random = TestRandom(43)
        let (x, y) = (random.tensor([5, 7, 10]), random.tensor([7, 10]))
        for backend in backends {
            let sum = backend.combine(x, 2, y, -3).floats()
            #expect(relativeError(sum, x.floats().enumerated().map { 2 * $1 - 3 * y.floats()[$0 % 70] }) < 1e-6)
            let clamped = backend.scale(x, by: 3, plus: 0.5, clampedTo: -1...1).floats()
            #expect(relativeError(clamped, x.floats().map { min(max($0 * 3 + 0.5, -1), 1) }) < 1e-6)
            let gated = backend.gated(x, .gelu)
            #expect(gated.shape == [5, 7, 5])
            let rows = x.floats()
            let expected = (0..<175).map {
                rows[$0 / 5 * 10 + $0 % 5] * reference(.gelu, rows[$0 / 5 * 10 + 5 + $0 % 5])
            }
            #expect(relativeError(gated.floats(), expected) < 1e-6)
        }
    }

    @Test("memory is counted, reused and given back")
    func memory() {
        let backend = HostOperations(threads: 1)
        var x: HostTensor? = backend.read(backend.session.empty([1 << 20]))
        #expect(backend.session.memory.usedBytes >= 4 << 20)
        let first = x?.storage.base
        x = nil
        #expect(backend.session.memory.usedBytes == 0)
        x = backend.read(backend.session.empty([1 << 20]))
        #expect(x?.storage.base == first)
        #expect(backend.session.memory.peakBytes < 5 << 20)
    }

    @Test("a cancelled run ends its operations early")
    func cancellation() throws {
        let cancellation = Cancellation()
        let backend = HostOperations(threads: 2, cancellation: cancellation)
        cancellation.cancel()
        #expect(throws: Cancelled.self) { try cancellation.check() }
        #expect(backend.activate(HostTensor([1, 2], [2]), .silu).shape == [2])
    }
}
