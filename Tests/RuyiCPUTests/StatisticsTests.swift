import Glibc
import RuyiCPU
import RuyiTensor
import Testing

@Suite("means over tensors, and 8-bit floating-point numbers")
struct StatisticsTests {
    @Test("the mean magnitude of a tensor and of a difference", arguments: [1, 7, 65_536, 200_001])
    func magnitude(_ count: Int) {
        var random = TestRandom(7)
        let (x, y) = (random.tensor([count]), random.tensor([count]))
        let (left, right) = (x.floats().map(Double.init), y.floats().map(Double.init))
        let mean = left.reduce(0) { $0 + abs($1) } / Double(count)
        let distance = zip(left, right).reduce(0) { $0 + abs($1.0 - $1.1) } / Double(count)
        for backend in backends {
            // To the last bit that a float has.
            #expect(abs(backend.meanMagnitude(x, minus: nil) - mean) <= mean * 0x1p-24 + 1e-12)
            #expect(abs(backend.meanMagnitude(x, minus: y) - distance) < 1e-7)
        }
        #expect(backends[0].meanMagnitude(x, minus: x) == 0)
    }

    @Test(
        "attention across frames equals its definition",
        arguments: [(1, 2, 1, 1, 4), (2, 4, 6, 2, 12), (1, 5, 3, 2, 176), (1, 33, 2, 1, 8), (2, 30, 3, 3, 64)])
    func crossFrame(_ batch: Int, _ frames: Int, _ places: Int, _ heads: Int, _ size: Int) {
        var random = TestRandom(11)
        let shape = [batch, frames * places, heads * size]
        let (q, k) = (random.tensor(shape), random.tensor(shape))
        let scale = 4 / Float(size).squareRoot()
        let (queries, keys) = (q.floats().map(Double.init), k.floats().map(Double.init))
        var sum = 0.0
        for item in 0..<batch {
            for place in 0..<places {
                for head in 0..<heads {
                    func start(_ frame: Int) -> Int {
                        ((item * frames + frame) * places + place) * heads * size + head * size
                    }
                    for row in 0..<frames {
                        let weights = (0..<frames).map { column in
                            exp(
                                Double(scale)
                                    * (0..<size).reduce(0) { $0 + queries[start(row) + $1] * keys[start(column) + $1] })
                        }
                        sum += (weights.reduce(0, +) - weights[row]) / weights.reduce(0, +)
                    }
                }
            }
        }
        let expected = sum / Double(batch * places * heads * frames * (frames - 1))
        for backend in backends {
            let found = backend.crossFrameAttention(q, k, frames: frames, heads: heads, scale: scale)
            #expect(abs(found - expected) < 1e-6 * expected, "\(backend.level) \(found) \(expected)")
        }
        let single = HostOperations(threads: 1).crossFrameAttention(q, k, frames: frames, heads: heads, scale: scale)
        let several = HostOperations(threads: 5).crossFrameAttention(q, k, frames: frames, heads: heads, scale: scale)
        #expect(single == several)
    }

    /// The finite numbers of a type with their bits, ascending; positive ones only.
    private static func table(_ dtype: DType) -> [(bits: UInt8, value: Float)] {
        (0..<128).map { UInt8($0) }.map { bits in
            (bits, dtype == .f8e4m3 ? FloatBits.e4m3(bits) : FloatBits.half(UInt16(bits) << 8))
        }.filter { $0.value.isFinite }
    }

    private static func round(_ values: [Float], _ dtype: DType) -> [UInt8] {
        let narrowed = HostOperations(threads: 2).narrow(HostTensor(values, [values.count]), to: dtype)
        return narrowed.bytes(0..<values.count, as: dtype)
    }

    @Test(
        "every 8-bit number is its own nearest, and halfway goes to the even one", arguments: [DType.f8e4m3, .f8e5m2])
    func nearest(_ dtype: DType) {
        let table = StatisticsTests.table(dtype)
        #expect(table.count == (dtype == .f8e4m3 ? 127 : 124))
        #expect(StatisticsTests.round(table.map(\.value), dtype) == table.map(\.bits))
        #expect(StatisticsTests.round(table.map { -$0.value }, dtype) == table.map { $0.bits | 0x80 })
        for (low, high) in zip(table, table.dropFirst()) {
            let middle = (low.value + high.value) / 2
            let even = low.bits % 2 == 0 ? low.bits : high.bits
            #expect(
                StatisticsTests.round([middle.nextDown, middle, middle.nextUp], dtype) == [low.bits, even, high.bits],
                "\(middle)")
        }
    }

    @Test("what is too large becomes what torch makes of it")
    func overflow() {
        let values: [Float] = [448, 464, Float(464).nextUp, 1e30, .infinity, .nan, -1e30]
        #expect(StatisticsTests.round(values, .f8e4m3) == [0x7E, 0x7E, 0x7F, 0x7F, 0x7F, 0x7F, 0xFF])
        let wide: [Float] = [57344, Float(61440).nextDown, 61440, 1e30, .infinity, -.infinity]
        #expect(StatisticsTests.round(wide, .f8e5m2) == [0x7B, 0x7B, 0x7C, 0x7C, 0x7C, 0xFC])
        #expect(StatisticsTests.round([.nan], .f8e5m2)[0] & 0x7F > 0x7C)
        #expect(StatisticsTests.round([0, -0.0, .leastNonzeroMagnitude, 1e-30], .f8e4m3) == [0, 0x80, 0, 0])
    }

    @Test("other types and strides are rounded as their values are", arguments: [DType.f8e4m3, .f8e5m2])
    func sources(_ dtype: DType) throws {
        let backend = HostOperations(threads: 2)
        var random = TestRandom(13)
        let wide = random.tensor([300, 301])
        let turned = wide.permuted([1, 0])
        #expect(
            backend.narrow(turned, to: dtype).floats() == backend.narrow(backend.copy(turned), to: dtype).floats())
        let narrowed = backend.narrow(wide, to: dtype)
        #expect(narrowed.dtype == dtype && narrowed.shape == [300, 301])
        #expect(relativeError(narrowed.floats(), wide.floats()) < (dtype == .f8e4m3 ? 0.04 : 0.08))
        #expect(backend.narrow(narrowed, to: dtype).floats() == narrowed.floats())
    }
}
