import RuyiCPU
import RuyiTensor
import Testing

@Suite("norms against plain loops in double precision")
struct NormTests {
    static let epsilon: Float = 1e-5

    /// `(x − mean) / sqrt(variance + ε)` of one row, and the row's `|mean| / sqrt(variance + ε)`.
    private func plain(_ row: ArraySlice<Float>) -> (values: [Double], conditioning: Double) {
        let values = row.map(Double.init)
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
        let deviation = (variance + Double(Self.epsilon)).squareRoot()
        return (values.map { ($0 - mean) / deviation }, abs(mean) / deviation)
    }

    /// The largest error of any row in units of 2⁻²⁴ · (largest value + |mean| / deviation).
    ///
    /// The second part is what rounding the mean to a float costs.
    private func worst(_ x: [Float], _ y: [Float], width: Int) -> Double {
        var worst = 0.0
        for start in stride(from: 0, to: x.count, by: width) {
            let (wanted, conditioning) = plain(x[start..<start + width])
            let size = wanted.map(abs).max() ?? 0
            for (index, value) in wanted.enumerated() {
                let error = abs(Double(y[start + index]) - value) / (0x1p-24 * (size + conditioning + 1))
                worst = error.isNaN ? .infinity : max(worst, error)
            }
        }
        return worst
    }

    static let widths = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 100, 511, 1023, 1024, 1025, 2049, 3072]

    @Test("layer norm of ordinary, shifted, tiny, huge and constant rows", arguments: widths)
    func layerNorm(_ width: Int) {
        var random = TestRandom(UInt64(500 + width))
        var rows: [(name: String, values: [Float])] = []
        for (mean, spread): (Float, Float) in [
            (0, 1), (3, 1), (-100, 1), (1e4, 1), (1e6, 1), (-1e8, 10), (0, 1e-6), (1, 1e-6), (0, 1e-30), (0, 1e15),
            (1e15, 1e12),
        ] {
            rows.append(("mean \(mean), spread \(spread)", random.values(width).map { mean + spread * $0 }))
        }
        for value: Float in [0, 1, -1, 0.1, 1e-40, 1e-20, 3, 1000.1, -3e5, 1e10, 1e18] {
            rows.append(("constant \(value)", [Float](repeating: value, count: width)))
        }
        for backend in backends {
            for (name, values) in rows {
                let y = backend.layerNorm(
                    HostTensor(values, [1, width]), weight: nil, bias: nil, epsilon: Self.epsilon, scale: nil,
                    shift: nil)
                let error = worst(values, y.floats(), width: width)
                #expect(error <= 6, "\(backend.level): \(name) \(error)")
            }
        }
    }

    @Test("rows of one value, rows with NaN or infinity, and what stands beside them")
    func specials() {
        let rows: [[Float]] = [[5], [-.infinity], [.nan], [0]]
        for backend in backends {
            let x = HostTensor(rows.flatMap(\.self), [4, 1])
            let bias = HostTensor([0.25], [1])
            let y = backend.layerNorm(x, weight: nil, bias: bias, epsilon: 1e-6, scale: nil, shift: nil).floats()
            #expect(y[0] == 0.25 && y[1].isNaN && y[2].isNaN && y[3] == 0.25, "\(backend.level)")
            for special: Float in [.nan, .infinity, -.infinity] {
                var random = TestRandom(507)
                var values = random.values(3 * 37)
                let clean = backend.layerNorm(
                    HostTensor(values, [3, 37]), weight: nil, bias: nil, epsilon: 1e-6, scale: nil, shift: nil
                ).floats()
                values[37 + 20] = special
                let z = backend.layerNorm(
                    HostTensor(values, [3, 37]), weight: nil, bias: nil, epsilon: 1e-6, scale: nil, shift: nil
                ).floats()
                #expect(z[..<37] == clean[..<37] && z[74...] == clean[74...], "\(backend.level)")
                #expect(z[37..<74].allSatisfy { $0.isNaN }, "\(backend.level) \(special)")
            }
        }
    }

    @Test("layer norm with every combination of weight, bias, scale and shift, on views")
    func combinations() {
        var random = TestRandom(509)
        let (batch, tokens, width) = (3, 5, 21)
        let x = random.tensor([tokens, batch, width + 2]).permuted([1, 0, 2]).sliced(2, 1..<width + 1)
        let (xs, vectors) = (x.floats(), (0..<2).map { _ in random.tensor([width]) })
        let sets = (0..<2).map { _ in random.tensor([batch, width]) }
        for choice in 0..<16 {
            let weight = choice & 1 == 0 ? nil : vectors[0]
            let bias = choice & 2 == 0 ? nil : vectors[1]
            let scale = choice & 4 == 0 ? nil : sets[0]
            let shift = choice & 8 == 0 ? nil : sets[1]
            let (w, b, s, t) = (weight?.floats(), bias?.floats(), scale?.floats(), shift?.floats())
            var expected: [Float] = []
            for row in 0..<batch * tokens {
                let values = plain(xs[row * width..<(row + 1) * width]).values
                for column in 0..<width {
                    let item = row / tokens * width + column
                    let y = values[column] * Double(w?[column] ?? 1) + Double(b?[column] ?? 0)
                    expected.append(Float(y * (1 + Double(s?[item] ?? 0)) + Double(t?[item] ?? 0)))
                }
            }
            for backend in backends {
                let y = backend.layerNorm(
                    x, weight: weight, bias: bias, epsilon: Self.epsilon, scale: scale, shift: shift)
                #expect(relativeError(y.floats(), expected) < 1e-6, "\(backend.level), combination \(choice)")
            }
        }
    }

    @Test("head norm of odd heads with repeating positions", arguments: [1, 2, 4, 6, 18, 34, 64])
    func headNorm(_ size: Int) {
        var random = TestRandom(511)
        for (batch, tokens, heads, positions) in [(1, 1, 1, 1), (2, 7, 3, 7), (2, 12, 2, 4), (1, 130, 5, 13)] {
            let x = random.tensor([batch, tokens, heads * size])
            let (w, b) = (random.tensor([size]), random.tensor([size]))
            let (cosines, sines) = (random.tensor([positions, size]), random.tensor([positions, size]))
            let isRotated = size % 2 == 0
            let (xs, ws, bs, cs, ss) = (x.floats(), w.floats(), b.floats(), cosines.floats(), sines.floats())
            var expected: [Float] = []
            for start in stride(from: 0, to: xs.count, by: size) {
                let normed = plain(xs[start..<start + size]).values.enumerated().map {
                    $1 * Double(ws[$0]) + Double(bs[$0])
                }
                let angle = start / (heads * size) % tokens % positions * size
                for index in 0..<size {
                    let partner = isRotated ? (index % 2 == 0 ? -normed[index + 1] : normed[index - 1]) : 0
                    expected.append(
                        isRotated
                            ? Float(normed[index] * Double(cs[angle + index]) + partner * Double(ss[angle + index]))
                            : Float(normed[index]))
                }
            }
            let rotary = isRotated ? HostRotary(cosines: cosines, sines: sines) : nil
            for backend in backends {
                let y = backend.headNorm(
                    x, heads: heads, weight: w, bias: b, epsilon: Self.epsilon, rotary: rotary)
                // Two values that nearly agree lose what rounding their mean costs.
                #expect(relativeError(y.floats(), expected) < 2e-5, "\(backend.level): \(tokens) tokens")
            }
        }
    }

    @Test(
        "group norm of frames and of the whole clip, down to one value a group",
        arguments: [
            [1, 1, 1, 1, 1], [2, 4, 4, 1, 1], [3, 6, 2, 3, 5], [1, 8, 8, 7, 9], [2, 4, 1, 40, 41], [5, 32, 8, 2, 2],
        ])
    func groupNorm(_ sizes: [Int]) {
        var random = TestRandom(513)
        let (frames, channels, groups, area) = (sizes[0], sizes[1], sizes[2], sizes[3] * sizes[4])
        let members = channels / groups * area
        for (mean, spread): (Float, Float) in [(0, 1), (20, 1), (-5, 0), (0, 1e-20), (1e-3, 1e-5), (0, 1e12)] {
            let values = random.values(frames * channels * area).map { mean + spread * $0 }
            let x = HostTensor(values, [frames, channels, sizes[3], sizes[4]])
            let (w, b) = (random.tensor([channels]), random.tensor([channels]))
            let (ws, bs) = (w.floats(), b.floats())
            for perFrame in [true, false] {
                var expected = [Double](repeating: 0, count: values.count)
                var bounds = expected
                for group in 0..<groups {
                    let places = (0..<frames).map { frame in
                        (frame * groups + group) * members..<(frame * groups + group + 1) * members
                    }
                    for set in perFrame ? places.map({ [$0] }) : [places] {
                        let indices = set.flatMap(Array.init)
                        let (normed, conditioning) = plain(ArraySlice(indices.map { values[$0] }))
                        for (index, value) in zip(indices, normed) {
                            let (w, b) = (Double(ws[index / area % channels]), Double(bs[index / area % channels]))
                            expected[index] = value * w + b
                            bounds[index] = 0x1p-24 * (abs(w) * (abs(value) + conditioning + 1) + abs(b))
                        }
                    }
                }
                for backend in backends {
                    let y = backend.groupNorm(
                        x, groups: groups, weight: w, bias: b, epsilon: Self.epsilon, perFrame: perFrame,
                        activation: .none)
                    let found = y.floats()
                    let errors = found.indices.map { index in
                        abs(Double(found[index]) - expected[index]) / bounds[index]
                    }
                    let error = errors.max() ?? .infinity
                    #expect(error <= 8, "\(backend.level): mean \(mean), spread \(spread), per frame \(perFrame)")
                }
            }
        }
    }

    @Test("the parts of a clip are normalised by the statistics of all as the clip is")
    func parts() {
        var random = TestRandom(517)
        let x = HostTensor(random.values(7 * 24 * 15).map { 3 + $0 }, [7, 24, 3, 5])
        let (w, b) = (random.tensor([24]), random.tensor([24]))
        for backend in backends {
            let whole = backend.groupNorm(
                x, groups: 8, weight: w, bias: b, epsilon: Self.epsilon, perFrame: false, activation: .silu)
            let parts = [0..<1, 1..<4, 4..<7].map { backend.tensor(x.sliced(0, $0)) }
            let statistics = backend.session.groupStatistics(parts, groups: 8)
            let found = parts.flatMap { part in
                backend.read(
                    backend.session.groupNorm(
                        part, statistics: statistics, weight: backend.weight(w), bias: backend.weight(b),
                        epsilon: Self.epsilon, activation: .silu)
                ).floats()
            }
            #expect(found == whole.floats(), "\(backend.level)")
            let reference = Reference.groupStatistics([x], groups: 8)
            #expect(relativeError(backend.read(statistics), reference) < 1e-6)
        }
    }

    /// Results of 16 MiB and more are written past the caches.
    @Test("large results equal those of their parts, of aligned widths and of others", arguments: [2816, 2801])
    func largeResults(_ width: Int) {
        var random = TestRandom(509)
        let (rows, heads) = (1500, width == 2816 ? 16 : 1)
        let x = random.tensor([1, rows, width])
        let gain = random.tensor([width / heads])
        let bias = random.tensor([width / heads])
        for backend in backends {
            let operations: [(HostTensor) -> HostTensor] = [
                { backend.activate($0, .gelu) }, { backend.combine($0, 2, $0, -0.5) }, { backend.multiply($0, $0) },
                {
                    backend.headNorm($0, heads: heads, weight: gain, bias: bias, epsilon: 1e-6, rotary: nil)
                },
                { backend.layerNorm($0, weight: nil, bias: nil, epsilon: 1e-6, scale: nil, shift: nil) },
            ]
            for (index, operation) in operations.enumerated() {
                let whole = operation(x)
                for start in [0, 700, rows - 3] {
                    let part = operation(backend.copy(x.sliced(1, start..<start + 3)))
                    #expect(
                        part.floats() == backend.copy(whole.sliced(1, start..<start + 3)).floats(),
                        "\(backend.level) \(index)")
                }
            }
        }
    }

    @Test("group norm of large frames equals that of small ones joined")
    func largeGroups() {
        var random = TestRandom(510)
        let x = random.tensor([2, 32, 260, 256])
        let weight = random.tensor([32])
        for backend in backends {
            let whole = backend.groupNorm(
                x, groups: 8, weight: weight, bias: weight, epsilon: 1e-6, perFrame: true, activation: .silu)
            for frame in 0..<2 {
                let part = backend.groupNorm(
                    x.sliced(0, frame..<frame + 1), groups: 8, weight: weight, bias: weight, epsilon: 1e-6,
                    perFrame: true, activation: .silu)
                #expect(part.floats() == backend.copy(whole.sliced(0, frame..<frame + 1)).floats())
            }
        }
    }
}
