import RuyiCPU
import RuyiTensor
import Testing

/// One convolution with everything that varies.
struct ConvolutionCase {
    let timeline: [HostTensor?]
    let weight: HostTensor
    let bias: HostTensor?
    let stride: ConvolutionStride
    let padding: SpatialPadding

    /// Kernels 1 to 3, strides 1 and 2, paddings 0 to 2 (unequal ones too) of both kinds, frames narrower than a tile, absent frames,
    /// frames that are views.
    init(_ random: inout TestRandom) {
        let kernel = (0..<3).map { _ in random.below(3) + 1 }
        stride = ConvolutionStride(random.below(2) + 1, random.below(2) + 1, random.below(2) + 1)
        padding = SpatialPadding(
            before: random.below(3), after: random.below(3), border: random.chance(2) ? .edge : .zeros)
        let channels = random.pick([1, 2, 3, 5, 14, 32, 57, 60])
        let outputs = random.pick([1, 3, 5, 6, 7, 13, 14, 15, 29])
        let height = kernel[1] + random.below(9)
        let width = kernel[2] + random.pick([0, 1, 2, 5, 7, 8, 14, 15, 16, 17, 31, 40])
        weight = random.tensor([outputs, channels] + kernel)
        bias = random.chance(3) ? nil : random.tensor([outputs])
        var frames: [HostTensor?] = []
        for index in 0..<kernel[0] + random.below(4) {
            // The first frame is there, so that the case has a size.
            let kind = index == 0 ? random.below(4) : random.below(5)
            switch kind {
            case 0: frames.append(random.tensor([channels, height, width]))
            case 1: frames.append(random.tensor([height, width, channels]).permuted([2, 0, 1]))
            case 2:
                frames.append(
                    random.tensor([channels, height + 2, width + 3]).sliced(1, 1..<height + 1).sliced(2, 2..<width + 2))
            case 3: frames.append(random.tensor([channels, 2, height, width]).selected(1, 1))
            default: frames.append(nil)
            }
        }
        timeline = frames
    }

    var name: String {
        let frame = timeline.lazy.compactMap(\.self).first?.shape ?? []
        return "frames \(frame), weight \(weight.shape), \(stride), \(padding)"
    }
}

@Suite("convolution against its definition")
struct ConvolutionTests {
    @Test("frames of zeros are passed over, and not counted as work")
    func countedWork() {
        let meter = CPUBackend(threads: 2).meter()
        let frame = meter.empty([4, 8, 8])
        func work(_ timeline: [Tensor?], outputs: Int = 6, stride: Int = 1) -> Double {
            let weight = meter.backend.weight(.zeros([outputs, 4, 3, 3, 3]), in: ResidencyUnit())
            _ = meter.takeWork()
            _ = meter.convolution(
                timeline, weight: weight, bias: nil, stride: ConvolutionStride(stride, 1, 1),
                padding: SpatialPadding(before: 1, after: 1), residual: nil)
            return meter.takeWork().reduce(0) { sum, part in
                if case .convolution = part.key { sum + part.value } else { sum }
            }
        }
        // One frame under the kernel: every output of every position adds nine products of four channels.
        let one = 2.0 * Double(6 * 64 * 4 * 9)
        #expect(work([nil, nil, frame]) == one)
        #expect(work([frame, frame, frame]) == 3 * one)
        #expect(work([nil, nil, frame, frame, nil]) == 5 * one)
        #expect(work([nil, nil, frame, frame, frame], stride: 2) == 4 * one)
        #expect(work([nil, nil, frame], outputs: 12) == 2 * one)
    }

    @Test("random kernels, strides, paddings, sizes and frames", arguments: [UInt64(301), 302, 303])
    func randomShapes(_ seed: UInt64) {
        var random = TestRandom(seed)
        for _ in 0..<25 {
            let one = ConvolutionCase(&random)
            let expected = referenceConvolution(one.timeline, one.weight, one.bias, one.stride, one.padding)
            for backend in backends {
                let y = backend.convolution(
                    one.timeline, weight: one.weight, bias: one.bias, stride: one.stride, padding: one.padding,
                    residual: nil)
                #expect(y.shape == expected.shape)
                #expect(relativeError(y.floats(), expected.values) < 1e-6, "\(backend.level): \(one.name)")
                let residual = random.tensor(y.shape.reversed()).permuted([3, 2, 1, 0])
                let sum = backend.convolution(
                    one.timeline, weight: one.weight, bias: one.bias, stride: one.stride, padding: one.padding,
                    residual: residual)
                let whole = zip(expected.values, residual.floats()).map { $0 + $1 }
                #expect(relativeError(sum.floats(), whole) < 1e-6, "\(backend.level): \(one.name)")
            }
        }
    }

    @Test("weights of every type, contiguous and not", arguments: DType.allCases)
    func weightTypes(_ dtype: DType) {
        var random = TestRandom(311)
        let timeline: [HostTensor?] = [random.tensor([3, 5, 9]), nil, random.tensor([3, 5, 9])]
        let padding = SpatialPadding(before: 1, after: 1)
        for weight in [
            random.small(dtype, [7, 3, 2, 3, 3]), random.small(dtype, [9, 3, 2, 3, 3]).sliced(0, 1..<8),
            random.small(dtype, [3, 7, 3, 3, 2]).permuted([1, 0, 4, 3, 2]),
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
        var random = TestRandom(313)
        let (weight, bias) = (random.tensor([5, 2, 2, 3, 3]), random.tensor([5]))
        let timeline: [HostTensor?] = [nil, nil, random.tensor([2, 4, 4])]
        for backend in backends {
            let y = backend.convolution(
                timeline, weight: weight, bias: bias, stride: .one, padding: SpatialPadding(before: 1, after: 1),
                residual: nil)
            #expect(y.shape == [2, 5, 4, 4])
            let biases = bias.floats()
            #expect(Array(y.floats().prefix(80)) == (0..<80).map { biases[$0 / 16] }, "\(backend.level)")
        }
    }

    @Test("infinities, NaN and denormals reach what they lie under and nothing else")
    func specials() {
        var random = TestRandom(317)
        let specials: [Float] = [.infinity, -.infinity, .nan, 1e-40, .leastNonzeroMagnitude, 0]
        for (channels, width) in [(1, 5), (3, 18), (20, 37), (60, 9)] {
            let frames = (0..<3).map { _ in
                random.tensor([channels, 7, width], specials: specials, oneIn: 36 * channels)
            }
            let weight = random.tensor([15, channels, 2, 3, 3])
            for border in [SpatialPadding.Border.zeros, .edge] {
                let padding = SpatialPadding(before: 1, after: 1, border: border)
                let expected = referenceConvolution(frames, weight, nil, .one, padding).values
                let isWild = expected.map { !$0.isFinite }
                for backend in backends {
                    let y = backend.convolution(
                        frames, weight: weight, bias: nil, stride: .one, padding: padding, residual: nil
                    ).floats()
                    let same = zip(y, expected).allSatisfy { value, wanted in
                        wanted.isFinite
                            ? abs(value - wanted) < 1e-4 : value == wanted || (value.isNaN && wanted.isNaN)
                    }
                    #expect(
                        same && isWild.contains(true),
                        "\(backend.level): \(channels) channels, width \(width), \(border)")
                }
            }
        }
    }
}
