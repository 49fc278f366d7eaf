import Glibc
import RuyiCPU
import RuyiTensor
import Testing

@Suite("linear layers in 8 bits")
struct Int8Tests {
    static let shapes: [(rows: Int, depth: Int, columns: Int)] = [
        (1, 1, 1), (1, 7, 3), (2, 16, 32), (3, 5, 17), (6, 18, 16), (7, 19, 15), (8, 33, 31), (14, 32, 32),
        (15, 33, 33), (29, 513, 65), (100, 1030, 97), (5, 2816, 130), (4033, 40, 70),
        // Results that no cache holds, in rows that are multiples of a vector and in others.
        (4100, 5, 1040), (4100, 6, 1041),
    ]

    private static func product(_ backend: HostOperations, _ x: HostTensor, _ w: HostTensor) throws -> [Float] {
        let weight = try #require(backend.quantize(w))
        return backend.linear(x, weight: weight, bias: nil, activation: .none, residual: nil).floats()
    }

    /// Integers from −127 to 127, the largest of them in every row, so that all scales are 1.
    private static func integers(_ random: inout TestRandom, _ rows: Int, _ depth: Int) -> [Int] {
        var values = (0..<rows * depth).map { _ in Int(random.bits() % 255) - 127 }
        for row in 0..<rows { values[row * depth + row % depth] = row % 2 == 0 ? 127 : -127 }
        return values
    }

    @Test("sums of integers are exact on every level", arguments: shapes)
    func exactness(_ size: (rows: Int, depth: Int, columns: Int)) throws {
        var random = TestRandom(3)
        let x = Int8Tests.integers(&random, size.rows, size.depth)
        let w = Int8Tests.integers(&random, size.columns, size.depth)
        var expected = [Float](repeating: 0, count: size.rows * size.columns)
        for row in 0..<size.rows {
            for column in 0..<size.columns {
                var sum = 0
                for k in 0..<size.depth { sum += x[row * size.depth + k] * w[column * size.depth + k] }
                expected[row * size.columns + column] = Float(sum)
            }
        }
        let (left, right) = (
            HostTensor(x.map { Float($0) }, [size.rows, size.depth]),
            HostTensor(w.map { Float($0) }, [size.columns, size.depth])
        )
        for backend in backends {
            #expect(try Int8Tests.product(backend, left, right) == expected, "\(backend.level)")
        }
    }

    /// Rows of numbers as integers with scales, as a file has them.
    private static func stored(_ w: HostTensor) throws -> (integers: HostTensor, scale: WeightScale) {
        let (rows, columns, values) = (w.shape[0], w.shape[1], w.floats())
        var (integers, scales): ([Int8], [Float]) = ([], [])
        for row in 0..<rows {
            try values[row * columns..<(row + 1) * columns].withUnsafeBufferPointer { row in
                let quantization = try #require(RowQuantization(row))
                scales.append(quantization.scale)
                integers += row.map { quantization($0) }
            }
        }
        let blocks = ScaleBlocks(scales, across: 1, height: 1, width: columns)
        return (HostTensor(integers, w.shape, as: .i8), .blocks(blocks))
    }

    @Test("a file's integers with a scale for each row are what rounding gives, on every level", arguments: shapes)
    func stored(_ size: (rows: Int, depth: Int, columns: Int)) throws {
        var random = TestRandom(17)
        let x = random.tensor([size.rows, size.depth])
        var values = random.values(size.columns * size.depth)
        // Rows of zeros, of what is as good as zero, of large numbers and of ties.
        for (row, factor) in [(0, Float(0)), (1, 1e-32), (2, 1e30)] where row < size.columns - 1 {
            for column in 0..<size.depth { values[row * size.depth + column] *= factor }
        }
        for column in 0..<size.depth {
            values[(size.columns - 1) * size.depth + column] = Float(column % 255) / 2 - 63.5
        }
        let w = HostTensor(values, [size.columns, size.depth])
        let (integers, scale) = try Int8Tests.stored(w)
        for backend in backends {
            let weight = try #require(backend.quantize(integers, scale: scale))
            #expect(
                try backend.linear(x, weight: weight).floats() == Int8Tests.product(backend, x, w), "\(backend.level)")
            // Without activations in 8 bits, too, they stand for their products with the scales.
            let wide = HostTensor(integers.bytes(0..<integers.count, as: .f32, scaledBy: scale), w.shape, as: .f32)
            #expect(
                backend.linear(x, weight: integers, scale: scale).floats() == backend.linear(x, weight: wide).floats(),
                "\(backend.level)")
        }
    }

    @Test("every integer is read as itself, and numbers that are not finite have none")
    func readIntegers() {
        let all = (Int8.min...Int8.max).map { $0 }
        let expected = all.map { Float($0) }
        for count in [256, 3, 17] {
            let weight = HostTensor(Array(all.prefix(count)), [count, 1], as: .i8)
            for backend in backends {
                let scale = WeightScale.blocks(ScaleBlocks([1], across: 1, height: count, width: 1))
                let found = backend.linear(HostTensor([1], [1, 1]), weight: weight, scale: scale).floats()
                #expect(found == Array(expected.prefix(count)), "\(backend.level)")
            }
        }
        for bad in [Float.nan, .infinity, -.infinity] {
            [1, bad, 2].withUnsafeBufferPointer { #expect(RowQuantization($0) == nil) }
        }
    }

    @Test("the largest sums fit, and deeper weights are left as they are")
    func largestSums() throws {
        for depth in [4096, 1 << 17] {
            for (a, b) in [(Float(1), Float(1)), (1, -1), (-1, 1), (-1, -1)] {
                let x = HostTensor([Float](repeating: a * 127, count: depth), [1, depth])
                let w = HostTensor([Float](repeating: b * 127, count: depth), [1, depth])
                for backend in backends {
                    #expect(try Int8Tests.product(backend, x, w) == [a * b * 16129 * Float(depth)], "\(backend.level)")
                }
            }
        }
        for shape in [[1, 1 << 17 + 1], [0, 4], [4, 0], [4]] {
            #expect(backends[0].quantize(HostTensor([Float](repeating: 1, count: shape.reduce(1, *)), shape)) == nil)
        }
    }

    @Test("levels agree bit for bit, and with float32 within 1.5 %", arguments: shapes)
    func agreesWithFloat(_ size: (rows: Int, depth: Int, columns: Int)) throws {
        var random = TestRandom(5)
        let x = random.tensor([size.rows, size.depth])
        let w = random.tensor([size.columns, size.depth])
        let exact = backends[0].linear(x, weight: w, bias: nil, activation: .none, residual: nil).floats()
        let first = try Int8Tests.product(backends[0], x, w)
        #expect(relativeError(first, exact) < 0.015, "\(relativeError(first, exact))")
        for backend in backends.dropFirst() {
            #expect(try Int8Tests.product(backend, x, w) == first, "\(backend.level)")
        }
    }

    @Test("rows of zeros give zeros, and rows with a value that is not finite give NaN")
    func specialRows() throws {
        let depth = 18
        var random = TestRandom(9)
        func matrix(_ rows: [Float?]) -> HostTensor {
            var values: [Float] = []
            for row in rows {
                var line = random.values(depth)
                if let row { line = row == 0 ? line.map { _ in 0 } : line.map { $0 * 1e-42 } }
                if let row, row != 0 { line[depth - 1] = row }
                values += line
            }
            return HostTensor(values, [rows.count, depth])
        }
        let x = matrix([nil, 0, .nan, .infinity, -.infinity, 1e-41, 3e38])
        let w = matrix([nil, 0, .nan, .infinity])
        for backend in backends {
            let y = try Int8Tests.product(backend, x, w)
            for row in 0..<7 {
                for column in 0..<4 {
                    let value = y[row * 4 + column]
                    #expect(
                        value.isNaN == ([2, 3, 4].contains(row) || column >= 2), "\(backend.level) \(row) \(column)")
                    if !value.isNaN, [1, 5].contains(row) || column == 1 { #expect(value == 0) }
                }
            }
            #expect(y[0] != 0 && y[6 * 4].isFinite)
        }
    }

    @Test("bias, activation, gate and residual follow in that order", arguments: Activation.allCases)
    func fusion(_ activation: Activation) throws {
        var random = TestRandom(11)
        let x = random.tensor([2, 17, 50])
        let w = random.tensor([67, 50])
        let bias = random.tensor([67])
        let residual = random.tensor([2, 17, 67])
        let gate = random.tensor([2, 67])
        for backend in backends {
            let weight = try #require(backend.quantize(w))
            let plain = backend.linear(x, weight: weight, bias: nil, activation: .none, residual: nil).floats()
            let gated = backend.linear(
                x, weight: weight, bias: bias, activation: activation, gate: gate, residual: residual)
            let product = zip(plain.enumerated(), residual.floats()).map { item, r in
                let column = item.offset % 67
                let factor = gate.floats()[item.offset / (17 * 67) * 67 + column]
                return reference(activation, item.element + bias.floats()[column]) * factor + r
            }
            #expect(relativeError(gated.floats(), product) < 1e-6, "\(backend.level)")
            let fused = backend.linear(x, weight: weight, bias: bias, activation: activation, residual: residual)
            #expect(fused.shape == [2, 17, 67])
            let biases = bias.floats()
            let expected = zip(plain.enumerated(), residual.floats()).map { item, r in
                reference(activation, item.element + biases[item.offset % 67]) + r
            }
            #expect(relativeError(fused.floats(), expected) < 1e-6, "\(backend.level)")
        }
    }

    @Test("weights of every type and any strides are quantised")
    func weightTypes() throws {
        var random = TestRandom(13)
        let x = random.tensor([9, 44])
        let w = random.tensor([45, 44])
        let transposed = random.tensor([44, 45]).permuted([1, 0])
        for backend in backends {
            #expect(
                try Int8Tests.product(backend, x, transposed)
                    == Int8Tests.product(backend, x, HostTensor(transposed.floats(), [45, 44])))
            for (dtype, bits) in [(DType.bf16, w.floats().map { UInt16($0.bitPattern >> 16) })] {
                let narrow = HostTensor(bits, w.shape, as: dtype)
                #expect(
                    try Int8Tests.product(backend, x, narrow)
                        == Int8Tests.product(backend, x, HostTensor(narrow.floats(), w.shape)))
            }
        }
    }

    @Test("the bits do not depend on the number of threads")
    func threads() throws {
        var random = TestRandom(17)
        let x = random.tensor([130, 600])
        let w = random.tensor([333, 600])
        let results = try [1, 2, 5, 8].map { try Int8Tests.product(HostOperations(threads: $0), x, w) }
        #expect(results.allSatisfy { $0 == results[0] })
    }

    @Test("rows are quantised once for all products with them, and every product is as if it were alone")
    func sharedRows() throws {
        var random = TestRandom(23)
        let (x, outputs) = (random.tensor([3, 20, 48]), 40)
        let (wide, narrow) = (random.tensor([outputs, 48]), random.tensor([outputs, 24]))
        let others = [random.tensor([outputs, 48]), random.tensor([outputs, 48])]
        for backend in backends {
            let session = backend.session
            let tensor = backend.tensor(x)
            func product(_ x: Tensor, _ w: HostTensor) throws -> [Float] {
                backend.read(session.linear(x, Projection(try #require(backend.quantize(w))), .none)).floats()
            }
            func alone(_ x: HostTensor, _ w: HostTensor) throws -> [Float] {
                try Int8Tests.product(HostOperations(threads: 1, level: backend.level), x, w)
            }
            let before = session.memory.usedBytes
            #expect(try product(tensor, wide) == alone(x, wide), "\(backend.level)")
            let after = session.memory.usedBytes
            #expect(after > before)
            for other in others { #expect(try product(tensor, other) == alone(x, other), "\(backend.level)") }
            #expect(session.memory.usedBytes == after)
            // Rows of another length, and parts of the tensor, are other rows.
            let halves = HostTensor(x.floats(), [3, 40, 24])
            #expect(try product(tensor.reshaped([3, 40, 24]), narrow) == alone(halves, narrow), "\(backend.level)")
            #expect(try product(tensor, wide) == alone(x, wide), "\(backend.level)")
            let part = HostTensor(Array(x.floats()[20 * 48..<40 * 48]), [1, 20, 48])
            #expect(try product(tensor.sliced(0, 1..<2), wide) == alone(part, wide), "\(backend.level)")
            let swapped = HostTensor(x.permuted([1, 0, 2]).floats(), [20, 3, 48])
            #expect(try product(tensor.permuted([1, 0, 2]), wide) == alone(swapped, wide), "\(backend.level)")
        }
    }

    @Test("a quantised weight takes the memory that is planned for it, and gives it back")
    func memory() throws {
        for (outputs, inputs) in [(1, 1), (33, 70), (256, 1030), (2816, 2816)] {
            for backend in KernelLevel.supported.map({ HostOperations(threads: 1, level: $0) }) {
                let w = HostTensor([Float](repeating: 0.5, count: outputs * inputs), [outputs, inputs])
                do {
                    let weight = try #require(backend.quantize(w))
                    let planned = backend.backend.quantizedByteCount(outputs: outputs, inputs: inputs)
                    #expect(backend.session.memory.usedBytes <= planned && weight.shape == [outputs, inputs])
                }
                #expect(backend.session.memory.usedBytes == 0)
            }
        }
    }

    @Test("attention and feed-forward projections of the real width stay within 1.5 %")
    func realWidth() throws {
        let backend = HostOperations(threads: 2)
        var random = TestRandom(19)
        let (width, inner) = (2816, 11264)
        // Sums of four uniform values: nearly normal.
        func normal(_ shape: [Int], _ deviation: Float) -> HostTensor {
            let count = shape.reduce(1, *)
            let factor = deviation * Float(3).squareRoot() / 2
            return HostTensor(
                (0..<count).map { _ in
                    (random.value() + random.value() + random.value() + random.value()) * factor
                }, shape)
        }
        let x = normal([32, width], 1)
        for (outputs, inputs) in [(width, width), (width, inner)] {
            let w = normal([outputs, inputs], 1 / Float(inputs).squareRoot())
            let input = inputs == width ? x : normal([32, inputs], 1)
            let exact = backend.linear(input, weight: w, bias: nil, activation: .none, residual: nil).floats()
            let error = relativeError(try Int8Tests.product(backend, input, w), exact)
            #expect(error < 0.015, "\(error)")
        }
    }
}
