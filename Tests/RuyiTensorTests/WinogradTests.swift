import RuyiTensor
import Testing

@Suite("convolution with fewer multiplications")
struct WinogradTests {
    @Test(
        "3 x 3 kernels over many sizes equal their definition",
        arguments: [
            (32, 32, 3, 23, 23), (40, 33, 3, 40, 37), (33, 47, 1, 2, 400), (32, 35, 3, 1, 561), (130, 32, 3, 333, 3),
            (36, 32, 3, 9, 140), (32, 32, 3, 5, 106), (35, 32, 3, 513, 1), (32, 32, 3, 8, 64),
        ])
    func sizes(_ channels: Int, _ outputs: Int, _ count: Int, _ height: Int, _ width: Int) {
        var random = TestRandom(71)
        let weight = random.tensor([outputs, channels, count, 3, 3])
        let bias = random.tensor([outputs])
        var timeline: [Tensor?] = (0..<count + 1).map { _ in random.tensor([channels, height, width]) }
        if count > 2 { timeline[1] = nil }
        let padding = SpatialPadding(before: 1, after: 1)
        let expected = referenceConvolution(timeline, weight, bias, .one, padding)
        for backend in backends {
            let y = backend.convolution(
                timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: nil)
            #expect(y.shape == expected.shape)
            #expect(relativeError(y.floats(), expected.values) < 1e-6, "\(backend.level)")
            let residual = random.tensor(y.shape)
            let sum = backend.convolution(
                timeline, weight: weight, bias: bias, stride: .one, padding: padding, residual: residual)
            #expect(relativeError(sum, backend.combine(y, 1, residual, 1)) < 1e-6)
        }
    }

    @Test("the bits do not depend on the number of threads")
    func threads() {
        var random = TestRandom(73)
        let weight = random.tensor([48, 40, 3, 3, 3])
        let timeline: [Tensor?] = (0..<4).map { _ in random.tensor([40, 30, 75]) }
        let results = [1, 2, 5].map {
            CPUBackend(threads: $0).convolution(
                timeline, weight: weight, bias: nil, stride: .one, padding: SpatialPadding(before: 1, after: 1),
                residual: nil
            ).floats()
        }
        #expect(results.allSatisfy { $0 == results[0] })
    }
}
