import RuyiCPU
import RuyiTensor
import Testing

private let hasUnits = KernelLevel.supported.contains(.avx512bf16)

@Suite("products of bf16 numbers", .enabled(if: hasUnits, "the processor has no units for bf16"))
struct BF16Tests {
    private let half = HostOperations(threads: 3, arithmetic: .bf16)
    private let whole = HostOperations(threads: 3)

    /// The numbers that are left after rounding.
    private static func rounded(_ x: HostTensor) -> HostTensor {
        HostTensor(HostTensor(x.bytes(0..<x.count, as: .bf16), x.shape, as: .bf16).floats(), x.shape)
    }

    @Test(
        "a product is that of rounded operands, summed in float32",
        arguments: [
            (5, 1, 1), (5, 7, 3), (6, 16, 32), (14, 32, 32), (15, 33, 33), (29, 513, 65), (100, 2047, 97),
            (20, 4100, 40),
            (5, 5632, 130), (4033, 40, 70),
        ])
    func product(_ rows: Int, _ depth: Int, _ columns: Int) {
        var random = TestRandom(23)
        let (x, w, bias) = (random.tensor([rows, depth]), random.tensor([columns, depth]), random.tensor([columns]))
        let expected = Reference.linear(BF16Tests.rounded(x), BF16Tests.rounded(w), bias: bias)
        let error = relativeError(half.linear(x, weight: w, bias: bias), expected)
        #expect(error < 1e-6, "\(error)")
        // It is another product than that of the numbers themselves.
        #expect(relativeError(whole.linear(x, weight: w, bias: bias), expected) > 1e-4)
    }

    @Test(
        "weights of every type are rounded as they are unpacked", arguments: [DType.bf16, .f16, .f8e4m3, .f8e5m2, .q80])
    func weightTypes(_ dtype: DType) {
        var random = TestRandom(29)
        for (rows, depth, columns) in [(17, 256, 35), (9, 2304, 64), (6, dtype == .q80 ? 96 : 75, 40)] {
            let x = random.tensor([rows, depth])
            let values = random.tensor([columns, depth])
            let w =
                dtype == .q80
                ? HostTensor(q80(values), values.shape, as: .q80)
                : HostTensor(values.bytes(0..<values.count, as: dtype), values.shape, as: dtype)
            let wide = HostTensor(w.floats(), w.shape)
            let expected = Reference.linear(BF16Tests.rounded(x), BF16Tests.rounded(wide))
            let error = relativeError(half.linear(x, weight: w), expected)
            #expect(error < 1e-6, "\(depth): \(error)")
        }
    }

    /// A byte for each number and a scale for each 32.
    private func q80(_ x: HostTensor) -> [UInt8] {
        x.floats().indices.filter { $0 % 32 == 0 }.flatMap { start in
            let values = x.floats()[start..<start + 32]
            let scale = (values.map(abs).max() ?? 0) / 127
            let bytes = values.map { UInt8(bitPattern: Int8(($0 / scale).rounded())) }
            return withUnsafeBytes(of: Float16(scale).bitPattern.littleEndian, Array.init) + bytes
        }
    }

    @Test("scales of blocks are taken before rounding")
    func blockScales() {
        var random = TestRandom(31)
        let (x, w) = (random.tensor([9, 600]), random.tensor([40, 600]))
        let scales = ScaleBlocks(random.values(2 * 6), across: 6, height: 20, width: 100)
        let wide = (0..<40 * 600).map { w.floats()[$0] * scales[$0 / 600, $0 % 600] }
        let expected = Reference.linear(BF16Tests.rounded(x), BF16Tests.rounded(HostTensor(wide, [40, 600])))
        #expect(relativeError(half.linear(x, weight: w, scale: .blocks(scales)), expected) < 1e-6)
    }

    @Test("products of few rows, which reading the weight bounds, stay float32")
    func fewRows() {
        var random = TestRandom(37)
        let w = random.tensor([70, 100])
        for rows in [1, 2, 4] {
            let x = random.tensor([rows, 100])
            #expect(half.linear(x, weight: w).floats() == whole.linear(x, weight: w).floats())
        }
    }

    @Test("what is run in float32 is, even if it is read later")
    func exact() {
        var random = TestRandom(41)
        let (x, w) = (random.tensor([20, 100]), random.tensor([70, 100]))
        let y = half.session.inFloat32 { half.session.linear(half.tensor(x), Projection(half.weight(w))) }
        #expect(half.read(y).floats() == whole.linear(x, weight: w).floats())
        #expect(half.linear(x, weight: w).floats() != whole.linear(x, weight: w).floats())
    }

    @Test(
        "attention is near that of the numbers themselves, masked or not",
        arguments: [(1, 1, 8, 1), (2, 37, 64, 2), (1, 300, 33, 3), (2, 505, 176, 1), (1, 40, 128, 2)])
    func attention(_ batch: Int, _ keys: Int, _ size: Int, _ heads: Int) {
        var random = TestRandom(43)
        let queries = 45
        let q = random.tensor([batch, queries, heads * size])
        let (k, v) = (random.tensor([batch, keys, heads * size]), random.tensor([batch, keys, heads * size]))
        let mask = AttentionMask(visibleKeys: [(0..<queries).map { min(keys, $0 % (keys + 1)) }])
        for options in [AttentionOptions(), AttentionOptions(mask: mask)] {
            func result(_ backend: HostOperations) -> HostTensor {
                backend.read(
                    backend.session.attention(
                        backend.tensor(q), backend.tensor(k), backend.tensor(v), heads: heads, scale: 0.4,
                        options: options))
            }
            let error = relativeError(result(half), result(whole))
            #expect(error < 8e-3 && error > 1e-5, "\(error)")
        }
    }

    /// The values of transformed tiles are sums of several, and their rounding shows 1.9 times as much: so it was measured.
    @Test("a convolution is that of rounded operands, and one with fewer multiplications is half as near")
    func convolution() {
        var random = TestRandom(47)
        for _ in 0..<20 {
            let one = ConvolutionCase(&random)
            let expected = Reference.convolution(
                one.timeline.map { $0.map { BF16Tests.rounded(HostTensor($0.floats(), $0.shape)) } },
                BF16Tests.rounded(one.weight), bias: one.bias, stride: one.stride, padding: one.padding)
            let y = half.convolution(
                one.timeline, weight: one.weight, bias: one.bias, stride: one.stride, padding: one.padding,
                residual: nil)
            #expect(relativeError(y, expected) < 1e-6, "\(one.name)")
        }
        for (channels, outputs) in [(64, 64), (65, 79), (264, 70), (256, 256)] {
            let weight = random.tensor([outputs, channels, 3, 3, 3])
            let timeline: [HostTensor?] = [random.tensor([channels, 18, 41]), nil, random.tensor([channels, 18, 41])]
            func result(_ backend: HostOperations, _ weight: HostTensor, _ frames: [HostTensor?]) -> HostTensor {
                backend.convolution(
                    frames, weight: weight, bias: nil, stride: .one, padding: SpatialPadding(before: 1, after: 1),
                    residual: nil)
            }
            let exact = result(whole, weight, timeline)
            let direct = result(whole, BF16Tests.rounded(weight), timeline.map { $0.map(BF16Tests.rounded) })
            let error = relativeError(result(half, weight, timeline), exact)
            #expect(error < 2 * relativeError(direct, exact), "\(error) \(relativeError(direct, exact))")
        }
    }

    @Test("numbers that are not finite stay so")
    func special() {
        var random = TestRandom(53)
        let w = random.tensor([33, 40])
        for bad in [Float.nan, .infinity, -.infinity] {
            var values = random.values(5 * 40)
            values[40 + 3] = bad
            let y = half.linear(HostTensor(values, [5, 40]), weight: w).floats()
            #expect(y[33..<66].allSatisfy { !$0.isFinite } && y[..<33].allSatisfy(\.isFinite))
        }
    }

    @Test("the numbers do not depend on the number of threads")
    func threads() {
        var random = TestRandom(59)
        let (x, w) = (random.tensor([200, 300]), random.tensor([170, 300]))
        let frames: [HostTensor?] = (0..<4).map { _ in random.tensor([64, 20, 30]) }
        let weight = random.tensor([64, 64, 3, 3, 3])
        let found = (1...5).map { count in
            let backend = HostOperations(threads: count, arithmetic: .bf16)
            let y = backend.tensor(x).reshaped([1, 200, 300])
            return backend.linear(x, weight: w).floats()
                + backend.read(backend.session.attention(y, y, y, heads: 3, scale: 0.1)).floats()
                + backend.convolution(
                    frames, weight: weight, bias: nil, stride: .one, padding: SpatialPadding(before: 1, after: 1),
                    residual: nil
                ).floats()
        }
        #expect(found.allSatisfy { $0 == found[0] })
    }
}

@Suite("bf16 where the processor has no units for it")
struct MissingUnitsTests {
    @Test("is float32", arguments: KernelLevel.supported.filter { $0 != .avx512bf16 })
    func absent(_ level: KernelLevel) {
        #expect(CPUBackend(threads: 1, level: level).arithmetics == [.float32])
        var random = TestRandom(61)
        let (x, w) = (random.tensor([20, 100]), random.tensor([70, 100]))
        let found = [Arithmetic.bf16, .float32].map {
            HostOperations(threads: 2, level: level, arithmetic: $0).linear(x, weight: w).floats()
        }
        #expect(found[0] == found[1])
    }
}
