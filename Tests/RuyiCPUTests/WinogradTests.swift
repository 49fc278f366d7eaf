import RuyiCPU
import RuyiTensor
import Testing

@Suite("convolution with fewer multiplications")
struct WinogradTests {
    private let padding = SpatialPadding(before: 1, after: 1)

    /// Frames of one tile and of many, of odd sides, narrower than a vector, and channels that need several panels.
    @Test(
        "3 x 3 kernels over many sizes equal their definition",
        arguments: [
            (64, 64, 3, 13, 11), (72, 67, 3, 24, 37), (65, 79, 1, 2, 400), (64, 70, 3, 1, 161), (264, 64, 3, 133, 1),
            (68, 64, 3, 9, 140), (64, 64, 3, 5, 106), (71, 64, 2, 113, 3), (64, 64, 3, 8, 64), (256, 256, 1, 18, 41),
        ])
    func sizes(_ channels: Int, _ outputs: Int, _ count: Int, _ height: Int, _ width: Int) {
        var random = TestRandom(71)
        let weight = random.tensor([outputs, channels, count, 3, 3])
        let bias = random.tensor([outputs])
        var timeline: [HostTensor?] = (0..<count + 1).map { _ in random.tensor([channels, height, width]) }
        if count > 2 { timeline[1] = nil }
        for border in [SpatialPadding.Border.zeros, .edge] {
            let padding = SpatialPadding(before: 1, after: 1, border: border)
            let expected = referenceConvolution(timeline, weight, bias, .one, padding)
            for backend in backends {
                let y = backend.convolution(
                    timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: nil)
                #expect(y.shape == expected.shape)
                #expect(relativeError(y.floats(), expected.values) < 1e-6, "\(backend.level) \(border)")
            }
        }
        for backend in backends {
            let y = backend.convolution(
                timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: nil)
            let residual = random.tensor(y.shape)
            let sum = backend.convolution(
                timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: residual)
            #expect(relativeError(sum, backend.combine(y, 1, residual, 1)) < 1e-6)
        }
    }

    /// The transforms round more, but the sums are shorter: 0.7 to 0.95 times the direct method's error was measured.
    ///
    /// More padding, whose results are cut off, makes the direct method do the same convolution.
    @Test("the error is at most 1.25 times that of the direct method", arguments: [64, 128, 320])
    func accuracy(_ channels: Int) {
        var random = TestRandom(79)
        let weight = random.tensor([64, channels, 3, 3, 3])
        let frames = (0..<3).map { _ in random.tensor([channels, 12, 19]) }
        let expected = referenceConvolution(frames, weight, nil, .one, padding).values
        for backend in backends {
            let direct = backend.convolution(
                frames, weight: weight, bias: nil, stride: .one, padding: SpatialPadding(before: 1, after: 2),
                residual: nil
            ).sliced(2, 0..<12).sliced(3, 0..<19)
            let fast = backend.convolution(
                frames, weight: weight, bias: nil, stride: .one, padding: padding, residual: nil)
            let bound = 1.25 * relativeError(direct.floats(), expected)
            #expect(direct.floats() != fast.floats(), "\(backend.level): both took the same way")
            #expect(relativeError(fast.floats(), expected) < bound, "\(backend.level)")
        }
    }

    /// Frames of 4096 positions and more, of sides that no tile divides, in one row and in many.
    @Test(
        "large frames equal their definition",
        arguments: [
            (64, 64, 3, 64, 64), (66, 70, 1, 61, 71), (64, 65, 1, 3, 1401), (136, 64, 2, 131, 33), (64, 64, 1, 1, 4099),
        ])
    func largeSizes(_ channels: Int, _ outputs: Int, _ count: Int, _ height: Int, _ width: Int) {
        var random = TestRandom(73)
        let weight = random.tensor([outputs, channels, count, 3, 3])
        let bias = random.tensor([outputs])
        let timeline: [HostTensor?] = (0..<count).map { _ in random.tensor([channels, height, width]) }
        for border in [SpatialPadding.Border.zeros, .edge] {
            let padding = SpatialPadding(before: 1, after: 1, border: border)
            let expected = referenceConvolution(timeline, weight, bias, .one, padding)
            let residual = random.tensor(expected.shape)
            for backend in backends {
                let y = backend.convolution(
                    timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: nil)
                #expect(relativeError(y.floats(), expected.values) < 2e-6, "\(backend.level) \(border)")
                let sum = backend.convolution(
                    timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: residual)
                #expect(relativeError(sum, backend.combine(y, 1, residual, 1)) < 1e-6)
            }
        }
    }

    /// 1.4 times the direct method's error for sums in order, more for its sums in panels: up to 2.6 was measured.
    @Test("large tiles round at most three times as much as the direct method", arguments: [64, 320])
    func largeAccuracy(_ channels: Int) {
        var random = TestRandom(101)
        let weight = random.tensor([64, channels, 1, 3, 3])
        let frames = [random.tensor([channels, 64, 65])]
        let expected = referenceConvolution(frames, weight, nil, .one, padding).values
        for backend in backends {
            let direct = backend.convolution(
                frames, weight: weight, bias: nil, stride: .one, padding: SpatialPadding(before: 1, after: 2),
                residual: nil
            ).sliced(2, 0..<64).sliced(3, 0..<65)
            let fast = backend.convolution(
                frames, weight: weight, bias: nil, stride: .one, padding: padding, residual: nil)
            let ratio = relativeError(fast.floats(), expected) / relativeError(direct.floats(), expected)
            #expect(ratio < 3, "\(backend.level)")
        }
    }

    /// Channels that are too few for it, and frames that are too small, among them.
    @Test(
        "frames that are doubled meanwhile give what doubled frames give",
        arguments: [
            (64, 64, 3, 8, 9), (65, 79, 1, 5, 40), (64, 70, 2, 1, 33), (264, 64, 3, 37, 1), (16, 8, 3, 4, 4),
            (64, 64, 3, 2, 3), (72, 64, 1, 40, 67),
        ])
    func doubled(_ channels: Int, _ outputs: Int, _ count: Int, _ height: Int, _ width: Int) {
        var random = TestRandom(103)
        let weight = random.tensor([outputs, channels, count, 3, 3])
        let bias = random.tensor([outputs])
        var timeline: [HostTensor?] = (0..<count + 1).map { _ in random.tensor([channels, height, width]) }
        if count > 2 { timeline[1] = nil }
        let large = timeline.map { frame -> HostTensor? in
            guard let frame else { return nil }
            return Reference.upsampleNearest(frame.reshaped([1, channels, height, width])).reshaped(
                [channels, 2 * height, 2 * width])
        }
        for border in [SpatialPadding.Border.zeros, .edge] {
            let padding = SpatialPadding(before: 1, after: 1, border: border)
            let expected = referenceConvolution(large, weight, bias, .one, padding)
            for backend in backends {
                let y = backend.read(
                    backend.session.convolutionDoubled(
                        timeline.map { $0.map(backend.tensor) }, weight: backend.weight(weight),
                        bias: backend.weight(bias), border: border))
                #expect(y.shape == expected.shape)
                #expect(relativeError(y.floats(), expected.values) < 1e-6, "\(backend.level) \(border)")
            }
        }
    }

    @Test(
        "a frame under several taps is multiplied by their sum",
        arguments: [[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 0, 0, 0]])
    func repeated(_ places: [Int]) {
        var random = TestRandom(107)
        let weight = random.tensor([64, 64, 3, 3, 3])
        let frames = (0..<3).map { _ in random.tensor([64, 12, 20]) }
        let expected = referenceConvolution(places.map { frames[$0] }, weight, nil, .one, padding).values
        for backend in backends {
            let tensors = frames.map(backend.tensor)
            let y = backend.read(
                backend.session.convolution(
                    places.map { tensors[$0] }, weight: backend.weight(weight), bias: nil, stride: .one,
                    padding: padding, residual: nil))
            #expect(relativeError(y.floats(), expected) < 1e-6, "\(backend.level)")
        }
    }

    /// Integers of a pattern without a period, so that many of them are made soon.
    @Test("outputs that are computed in groups are those of layers of their own")
    func groups() {
        let (channels, outputs) = (2048, 4096)
        var bits: UInt32 = 7
        let bytes = (0..<outputs * channels * 9).map { _ -> Int8 in
            bits = bits &* 1_664_525 &+ 1_013_904_223
            return Int8(truncatingIfNeeded: bits >> 24)
        }
        var random = TestRandom(97)
        let weight = HostTensor(bytes, [outputs, channels, 1, 3, 3], as: .i8)
        let (frame, bias) = (random.tensor([channels, 9, 15]), random.tensor([outputs]))
        let residual = random.tensor([1, outputs, 9, 15])
        guard let backend = backends.last else { return }
        func result(_ part: Range<Int>) -> [Float] {
            backend.convolution(
                [frame], weight: weight.sliced(0, part), bias: bias.sliced(0, part), stride: .one, padding: padding,
                residual: residual.sliced(1, part)
            ).floats()
        }
        let whole = result(0..<outputs)
        for part in [0..<100, 1990..<2110, 4000..<4096] {
            let area = 9 * 15
            #expect(Array(whole[part.lowerBound * area..<part.upperBound * area]) == result(part), "\(part)")
        }
    }

    @Test("weights of every type, contiguous and not", arguments: DType.allCases)
    func weightTypes(_ dtype: DType) {
        var random = TestRandom(83)
        let timeline: [HostTensor?] = [random.tensor([66, 9, 15]), nil, random.tensor([66, 9, 15])]
        for weight in [
            random.small(dtype, [65, 66, 2, 3, 3]), random.small(dtype, [70, 66, 2, 3, 3]).sliced(0, 3..<68),
            random.small(dtype, [66, 65, 3, 3, 2]).permuted([1, 0, 4, 3, 2]),
        ] {
            let expected = referenceConvolution(timeline, weight, nil, .one, padding)
            for backend in backends {
                let y = backend.convolution(
                    timeline, weight: weight, bias: nil, stride: .one, padding: padding, residual: nil)
                #expect(relativeError(y.floats(), expected.values) < 1e-6, "\(backend.level) \(dtype)")
            }
        }
    }

    @Test("a timeline without any value under a kernel gives the bias")
    func absentFrames() {
        var random = TestRandom(89)
        let (weight, bias) = (random.tensor([64, 64, 2, 3, 3]), random.tensor([64]))
        let timeline: [HostTensor?] = [nil, nil, random.tensor([64, 9, 17])]
        for backend in backends {
            let y = backend.convolution(
                timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: nil)
            let (area, biases) = (9 * 17, bias.floats())
            #expect(
                Array(y.floats().prefix(64 * area)) == (0..<64 * area).map { biases[$0 / area] }, "\(backend.level)")
        }
    }

    @Test("the bits do not depend on the number of threads")
    func threads() {
        var random = TestRandom(73)
        let weight = random.tensor([72, 65, 3, 3, 3])
        let timeline: [HostTensor?] = (0..<4).map { _ in random.tensor([65, 30, 75]) }
        let results = [1, 2, 5].map {
            HostOperations(threads: $0).convolution(
                timeline, weight: weight, bias: nil, stride: .one, padding: padding, residual: nil
            ).floats()
        }
        #expect(results.allSatisfy { $0 == results[0] })
    }
}
