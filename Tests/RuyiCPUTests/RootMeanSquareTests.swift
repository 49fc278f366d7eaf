import RuyiCPU
import RuyiTensor
import Testing

@Suite("norms by the root mean square, and rotations of halves")
struct RootMeanSquareTests {
    static let epsilon: Float = 1e-5

    /// `x / sqrt(mean(x²) + ε)` of one row.
    private func plain(_ row: ArraySlice<Float>) -> [Double] {
        let square = row.reduce(0) { $0 + Double($1) * Double($1) } / Double(row.count)
        return row.map { Double($0) / (square + Double(Self.epsilon)).squareRoot() }
    }

    static let widths = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 511, 1025, 3072]

    @Test("rows of ordinary, shifted, tiny, huge and constant values", arguments: widths)
    func rows(_ width: Int) {
        var random = TestRandom(UInt64(600 + width))
        let weight = random.tensor([width])
        let gains = weight.floats().map(Double.init)
        var rows: [(name: String, values: [Float])] = []
        for (mean, spread): (Float, Float) in [
            (0, 1), (3, 1), (-100, 1), (1e4, 1), (0, 1e-6), (1, 1e-6), (0, 1e-30), (0, 1e15),
        ] {
            rows.append(("mean \(mean), spread \(spread)", random.values(width).map { mean + spread * $0 }))
        }
        for value: Float in [0, 1, -1, 1e-38, 1e-20, 1000.1, 1e18] {
            rows.append(("constant \(value)", [Float](repeating: value, count: width)))
        }
        for backend in backends {
            for (name, values) in rows {
                let y = backend.rmsNorm(HostTensor(values, [1, width]), weight: weight, epsilon: Self.epsilon).floats()
                let expected = plain(values[...]).enumerated().map { Float($1 * gains[$0]) }
                let isZero = expected.allSatisfy { abs($0) < 1e-30 }
                let error = isZero ? Double(y.map(abs).max() ?? 0) : relativeError(y, expected)
                #expect(error < 1e-6, "\(backend.level): \(name) \(error)")
            }
        }
    }

    @Test("a row with NaN or infinity leaves the others as they are, and views are read as they lie")
    func specials() {
        var random = TestRandom(607)
        let weight = random.tensor([37])
        for backend in backends {
            let wide = random.tensor([3, 40])
            let view = wide.sliced(1, 2..<39)
            let clean = backend.rmsNorm(view, weight: weight, epsilon: Self.epsilon)
            #expect(
                clean.floats()
                    == backend.rmsNorm(backend.copy(view), weight: weight, epsilon: Self.epsilon).floats())
            for special: Float in [.nan, .infinity, -.infinity] {
                var values = view.floats()
                values[37 + 20] = special
                let y = backend.rmsNorm(HostTensor(values, [3, 37]), weight: weight, epsilon: Self.epsilon).floats()
                #expect(y[..<37] == clean.floats()[..<37] && y[74...] == clean.floats()[74...], "\(backend.level)")
                #expect(y[57].isNaN, "\(backend.level) \(special)")
            }
        }
    }

    @Test(
        "heads are normalised one by one, then rotated by every pairing", arguments: [2, 4, 6, 16, 18, 34, 64, 128])
    func heads(_ size: Int) {
        var random = TestRandom(613)
        for (batch, tokens, heads, positions) in [(1, 1, 1, 1), (2, 7, 3, 7), (2, 12, 2, 4), (1, 130, 5, 13)] {
            let x = random.tensor([batch, tokens, heads * size])
            let weight = random.tensor([size])
            let (cosines, sines) = (random.tensor([positions, size]), random.tensor([positions, size]))
            let (values, gains) = (x.floats(), weight.floats())
            let normed = stride(from: 0, to: values.count, by: size).flatMap { start in
                plain(values[start..<start + size]).enumerated().map { Float($1 * Double(gains[$0])) }
            }
            for backend in backends {
                let y = backend.headRMSNorm(x, heads: heads, weight: weight, epsilon: Self.epsilon, rotary: nil)
                #expect(relativeError(y.floats(), normed) < 1e-6, "\(backend.level)")
                // Parts of one quarter and the rest, where both are even.
                let parts = size % 8 == 0 ? [size / 4, size / 2, size / 4] : [size]
                for pairing in [RotaryTable.Pairing.neighbours, .halves, .halvesOfParts(parts)] {
                    let table = HostRotary(cosines: cosines, sines: sines, pairing: pairing)
                    let expected = referenceRotation(HostTensor(normed, x.shape), heads: heads, table)
                    let turned = backend.headRMSNorm(
                        x, heads: heads, weight: weight, epsilon: Self.epsilon, rotary: table)
                    #expect(relativeError(turned, expected) < 1e-6, "\(backend.level) \(pairing)")
                }
            }
        }
    }

    @Test("attention rotates queries and keys by halves, with fewer heads of keys too")
    func attention() {
        var random = TestRandom(617)
        for (heads, keyHeads, size, count) in [(2, 2, 8, 5), (4, 2, 16, 33), (8, 2, 18, 70)] {
            let q = random.tensor([1, count, heads * size])
            let (k, v) = (random.tensor([1, count, keyHeads * size]), random.tensor([1, count, keyHeads * size]))
            let table = HostRotary(
                cosines: random.tensor([count, size]), sines: random.tensor([count, size]), pairing: .halves)
            let expected = referenceAttention(
                referenceRotation(q, heads: heads, table), referenceRotation(k, heads: keyHeads, table), v,
                heads: heads, scale: 0.3)
            for backend in backends {
                let y = backend.attention(
                    q, k, v, heads: heads, scale: 0.3,
                    options: HostAttentionOptions(queryRotary: table, keyRotary: table))
                #expect(relativeError(y.floats(), expected) < 1e-5, "\(backend.level)")
            }
        }
    }
}
