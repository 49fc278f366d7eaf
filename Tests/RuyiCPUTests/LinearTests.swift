import COpenBLAS
import RuyiCPU
import RuyiTensor
import Testing

@Suite("linear layers")
struct LinearTests {
    static let shapes: [(rows: Int, depth: Int, columns: Int)] = [
        (1, 1, 1), (1, 7, 3), (2, 16, 32), (14, 32, 32), (15, 33, 33), (28, 511, 65), (29, 513, 64), (100, 1030, 97),
        (5, 2816, 130), (303, 64, 256), (4033, 40, 70), (43, 1024, 128), (31, 1025, 389), (17, 2049, 257),
    ]

    @Test("x Wᵀ agrees with an independent BLAS on every level", arguments: shapes)
    func agreesWithBLAS(_ size: (rows: Int, depth: Int, columns: Int)) {
        var random = TestRandom(7)
        let x = random.tensor([size.rows, size.depth])
        let w = random.tensor([size.columns, size.depth])
        var expected = [Float](repeating: 0, count: size.rows * size.columns)
        cblas_sgemm(
            CblasRowMajor, CblasNoTrans, CblasTrans, blasint(size.rows), blasint(size.columns), blasint(size.depth), 1,
            x.floats(), blasint(size.depth), w.floats(), blasint(size.depth), 0, &expected, blasint(size.columns))
        for backend in backends {
            let y = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil)
            #expect(y.shape == [size.rows, size.columns])
            #expect(relativeError(y.floats(), expected) < 1e-6, "\(backend.level)")
        }
    }

    @Test("bias, activation, gate and residual are fused in that order", arguments: Activation.allCases)
    func fusion(_ activation: Activation) {
        var random = TestRandom(11)
        let gate = random.tensor([2, 67])
        let x = random.tensor([2, 17, 50])
        let w = random.tensor([67, 50])
        let bias = random.tensor([67])
        let residual = random.tensor([2, 17, 67])
        for backend in backends {
            let plain = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil).floats()
            let biases = bias.floats()
            let gates = gate.floats()
            let gated = backend.linear(
                x, weight: w, bias: bias, activation: activation, gate: gate, residual: residual)
            let product = zip(plain.enumerated(), residual.floats()).map { item, r in
                let column = item.offset % 67
                let factor = gates[item.offset / (17 * 67) * 67 + column]
                return reference(activation, item.element + biases[column]) * factor + r
            }
            #expect(relativeError(gated.floats(), product) < 1e-6, "\(backend.level)")
            let fused = backend.linear(x, weight: w, bias: bias, activation: activation, residual: residual)
            let expected = zip(plain.enumerated(), residual.floats()).map { item, r in
                reference(activation, item.element + biases[item.offset % 67]) + r
            }
            #expect(relativeError(fused.floats(), expected) < 1e-6, "\(backend.level)")
        }
    }

    @Test("a scale multiplies the weight and nothing else", arguments: shapes)
    func scale(_ size: (rows: Int, depth: Int, columns: Int)) {
        var random = TestRandom(12)
        let (x, w) = (random.tensor([1, size.rows, size.depth]), random.tensor([size.columns, size.depth]))
        let (bias, gate) = (random.tensor([size.columns]), random.tensor([1, size.columns]))
        let residual = random.tensor([1, size.rows, size.columns])
        let scale: Float = 0.0371
        let scaled = HostTensor(w.floats().map { $0 * scale }, w.shape)
        for backend in backends {
            let found = backend.linear(
                x, weight: w, scale: .number(scale), bias: bias, activation: .silu, gate: gate, residual: residual)
            let expected = backend.linear(
                x, weight: scaled, bias: bias, activation: .silu, gate: gate, residual: residual)
            #expect(relativeError(found, expected) < 1e-6, "\(backend.level)")
            let bare = backend.linear(
                x, weight: w, scale: .number(scale), bias: nil, activation: .none, gate: nil, residual: nil)
            let plain = backend.linear(x, weight: scaled, bias: nil, activation: .none, residual: nil)
            #expect(relativeError(bare, plain) < 1e-6, "\(backend.level)")
        }
    }

    @Test(
        "weights are read where they lie, whatever their type", arguments: [DType.f16, .bf16, .f8e4m3, .f8e5m2, .f64])
    func weightTypes(_ dtype: DType) {
        var random = TestRandom(13)
        let (columns, depth) = (45, 77)
        let bytes = (0..<columns * depth * dtype.byteCount).map { index -> UInt8 in
            // Small exponents: no infinities or NaN among the random patterns.
            let byte = UInt8(truncatingIfNeeded: random.bits())
            switch dtype {
            case .f16, .bf16: return index % 2 == 1 ? byte & 0xBB : byte
            case .f64: return index % 8 == 7 ? (byte & 0x80) | 0x3F : index % 8 == 6 ? byte & 0xEF : byte
            default: return byte & 0xBB
            }
        }
        let w = HostTensor(bytes, [columns, depth], as: dtype)
        let x = random.tensor([9, depth])
        for backend in backends {
            let expected = backend.linear(
                x, weight: HostTensor(w.floats(), w.shape), bias: nil, activation: .none, residual: nil)
            let y = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil)
            #expect(y.floats() == expected.floats(), "\(backend.level)")
        }
    }

    @Test("every bit pattern of the narrow types converts exactly")
    func conversions() {
        for dtype in [DType.f16, .bf16, .f8e4m3, .f8e5m2] {
            let count = dtype.byteCount == 2 ? 65536 : 256
            let all =
                dtype.byteCount == 2
                ? HostTensor((0..<count).map { UInt16($0) }, [count], as: dtype)
                : HostTensor((0..<count).map { UInt8($0) }, [count], as: dtype)
            for backend in backends {
                let converted = backend.copy(all).floats()
                let wrong = zip(converted, all.floats()).enumerated().filter {
                    !($0.element.0 == $0.element.1 || ($0.element.0.isNaN && $0.element.1.isNaN))
                }
                #expect(wrong.isEmpty, "\(backend.level) \(dtype): pattern \(wrong.first?.offset ?? 0)")
            }
        }
    }

    @Test("the bits do not depend on the number of threads")
    func threads() {
        var random = TestRandom(17)
        let x = random.tensor([130, 600])
        let w = random.tensor([333, 600])
        let results = [1, 2, 5, 8].map {
            HostOperations(threads: $0).linear(x, weight: w, bias: nil, activation: .silu, residual: nil).floats()
        }
        #expect(results.allSatisfy { $0 == results[0] })
    }
}
