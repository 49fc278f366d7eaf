import RuyiCPU
import RuyiTensor
import Testing

@Suite("products of few rows")
struct FewRowsTests {
    /// Depths around a vector and around the pieces in which long rows are worked on, with few and odd numbers of outputs.
    static let shapes: [(depth: Int, columns: Int)] = [
        (1, 1), (3, 2), (4, 5), (7, 3), (8, 4), (9, 33), (15, 32), (16, 31), (17, 35), (100, 70), (2047, 5), (2048, 3),
        (2049, 6), (4100, 2), (12_288, 1),
    ]
    /// As many rows as are multiplied without panels, and some more.
    static let rowCounts = [1, 2, 3, 4, 5, 7]

    @Test("sums are those of plain loops, on every level", arguments: shapes)
    func agreesWithLoops(_ size: (depth: Int, columns: Int)) {
        var random = TestRandom(61)
        for rows in FewRowsTests.rowCounts {
            let x = random.tensor([rows, size.depth])
            let w = random.tensor([size.columns, size.depth])
            let (a, b) = (x.floats(), w.floats())
            let expected = (0..<rows * size.columns).map { index -> Float in
                let (row, column) = (index / size.columns, index % size.columns)
                var sum = 0.0
                for k in 0..<size.depth { sum += Double(a[row * size.depth + k]) * Double(b[column * size.depth + k]) }
                return Float(sum)
            }
            for backend in backends {
                let error = relativeError(backend.linear(x, weight: w).floats(), expected)
                #expect(error < 1e-6, "\(backend.level), \(rows) rows: \(error)")
            }
        }
    }

    @Test("a row's result does not depend on the rows beside it", arguments: shapes)
    func independentRows(_ size: (depth: Int, columns: Int)) {
        var random = TestRandom(67)
        let (x, w) = (random.tensor([4, size.depth]), random.tensor([size.columns, size.depth]))
        for backend in backends {
            let all = backend.linear(x, weight: w).floats()
            for rows in [1, 2, 3] {
                for first in [0, 4 - rows] {
                    let part = HostTensor(
                        Array(x.floats()[first * size.depth..<(first + rows) * size.depth]), [rows, size.depth])
                    #expect(
                        backend.linear(part, weight: w).floats()
                            == Array(all[first * size.columns..<(first + rows) * size.columns]), "\(backend.level)")
                }
            }
        }
    }

    @Test(
        "a weight of any type counts as its numbers, bit for bit",
        arguments: [DType.bf16, .f16, .f8e4m3, .f8e5m2, .f64])
    func types(_ dtype: DType) {
        var random = TestRandom(71)
        for (rows, depth, columns) in [(1, 77, 45), (2, 64, 3), (3, 4099, 6), (5, 33, 37), (16, 130, 34)] {
            let x = random.tensor([rows, depth])
            let w = random.tensor([columns, depth])
            let narrow =
                dtype == .f64
                ? HostTensor(w.floats().map { Double($0) }, w.shape, as: .f64)
                : HostTensor(w.bytes(0..<w.count, as: dtype), w.shape, as: dtype)
            let wide = HostTensor(narrow.floats(), w.shape)
            for backend in backends {
                #expect(
                    backend.linear(x, weight: narrow).floats() == backend.linear(x, weight: wide).floats(),
                    "\(backend.level) \(rows)")
            }
        }
    }

    @Test("parts of a weight, in an order of their own, are the numbers that they show")
    func views() {
        var random = TestRandom(73)
        let w = random.tensor([60, 70])
        let x = random.tensor([3, 60])
        let turned = w.permuted([1, 0]).sliced(0, 5..<48)
        let part = w.sliced(0, 7..<31)
        let short = random.tensor([2, 70])
        for backend in backends {
            #expect(
                backend.linear(x, weight: turned).floats()
                    == backend.linear(x, weight: HostTensor(turned.floats(), turned.shape)).floats())
            #expect(
                backend.linear(short, weight: part).floats()
                    == backend.linear(short, weight: HostTensor(part.floats(), part.shape)).floats())
        }
    }

    @Test("what is not finite stays in its row and its column")
    func special() {
        var random = TestRandom(79)
        for bad in [Float.nan, .infinity, -.infinity] {
            for depth in [5, 40, 4100] {
                var (left, right) = (random.values(4 * depth), random.values(9 * depth))
                left[2 * depth + depth - 1] = bad
                right[7 * depth + 3] = bad
                let (x, w) = (HostTensor(left, [4, depth]), HostTensor(right, [9, depth]))
                for backend in backends {
                    let y = backend.linear(x, weight: w).floats()
                    for (index, value) in y.enumerated() {
                        #expect(value.isFinite == (index / 9 != 2 && index % 9 != 7), "\(backend.level) \(index)")
                    }
                }
            }
        }
    }

    @Test("bias, activation, gate and residual follow, and the bits do not depend on the number of threads")
    func finished() {
        var random = TestRandom(83)
        for rows in [1, 2, 6, 16] {
            let (x, w) = (random.tensor([rows, 1, 300]), random.tensor([333, 300]))
            let (bias, gate) = (random.tensor([333]), random.tensor([rows, 333]))
            let residual = random.tensor([rows, 1, 333])
            let plain = backends[0].linear(x, weight: w).floats()
            let expected = plain.indices.map { index in
                gate.floats()[index] * reference(.silu, plain[index] + bias.floats()[index % 333])
                    + residual.floats()[index]
            }
            for level in KernelLevel.supported {
                let results = [1, 2, 5].map { threads in
                    HostOperations(threads: threads, level: level).linear(
                        x, weight: w, bias: bias, activation: .silu, gate: gate, residual: residual
                    ).floats()
                }
                #expect(results.allSatisfy { $0 == results[0] })
                #expect(relativeError(results[0], expected) < 1e-6, "\(level)")
            }
        }
    }
}
