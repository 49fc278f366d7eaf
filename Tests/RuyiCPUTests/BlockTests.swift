import RuyiCPU
import RuyiTensor
import Testing

@Suite("weights in blocks")
struct BlockTests {
    static let types = DType.allCases.filter(\.isBlocked)

    /// Odd numbers of rows and columns, depths of one block, of several panels, and of no whole number of equal panels.
    private static func shapes(_ dtype: DType) -> [(rows: Int, depth: Int, columns: Int)] {
        let block = dtype.blockLength
        return [(1, block, 1), (3, 3 * block, 7), (15, 1280, 33), (29, 4096 + block, 65), (130, 2 * block, 131)]
    }

    @Test("products agree with those of the numbers that the blocks mean, bit for bit", arguments: types)
    func products(_ dtype: DType) {
        var random = TestRandom(701)
        for size in BlockTests.shapes(dtype) {
            let (x, w) = (random.tensor([size.rows, size.depth]), random.small(dtype, [size.columns, size.depth]))
            // Panels end between blocks, and sums with them.
            let panels = max(1, (size.depth + 1023) / 1024)
            let isSame = size.depth % panels == 0 && size.depth / panels % dtype.blockLength == 0
            for backend in backends {
                let y = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil)
                let expected = backend.linear(
                    x, weight: HostTensor(w.floats(), w.shape), bias: nil, activation: .none, residual: nil)
                if isSame { #expect(y.floats() == expected.floats(), "\(backend.level) \(size)") }
                #expect(PlainProduct(x, w).worst(y.floats()) <= 1, "\(backend.level) \(size)")
            }
        }
    }

    @Test("elements are those of the reference on every level", arguments: types)
    func elements(_ dtype: DType) {
        var random = TestRandom(703)
        let w = random.small(dtype, [3, 5 * dtype.blockLength])
        for backend in backends {
            #expect(backend.copy(w).floats() == w.floats(), "\(backend.level)")
            let rows = backend.read(backend.session.gather(backend.weight(w), [2, 0, 2]))
            #expect(rows.sliced(0, 0..<1).floats() == w.sliced(0, 2..<3).floats(), "\(backend.level)")
            #expect(rows.sliced(0, 1..<2).floats() == w.sliced(0, 0..<1).floats(), "\(backend.level)")
        }
    }

    @Test("slices are taken of the numbers, on and off the borders of blocks", arguments: types)
    func slices(_ dtype: DType) {
        var random = TestRandom(707)
        let block = dtype.blockLength
        let whole = random.small(dtype, [9, 3 * block])
        let values = HostTensor(whole.floats(), whole.shape)
        for (axis, range) in [(0, 2..<7), (1, block..<3 * block), (1, 5..<2 * block + 3)] {
            let (part, expected) = (whole.sliced(axis, range), values.sliced(axis, range))
            #expect(part.floats() == expected.floats())
            let x = random.tensor([4, part.shape[1]])
            for backend in backends {
                let y = backend.linear(x, weight: part, bias: nil, activation: .none, residual: nil)
                let wanted = backend.linear(x, weight: expected, bias: nil, activation: .none, residual: nil)
                #expect(y.floats() == wanted.floats(), "\(backend.level) \(axis) \(range)")
            }
        }
        #expect(whole.permuted([1, 0]).floats() == values.permuted([1, 0]).floats())
        #expect(whole.byteCount == 27 * dtype.blockByteCount)
    }

    @Test("eight bits are made of the numbers that the blocks mean", arguments: types)
    func integers(_ dtype: DType) throws {
        var random = TestRandom(709)
        let w = random.small(dtype, [37, 2 * dtype.blockLength])
        let x = random.tensor([11, w.shape[1]])
        for backend in backends {
            let (found, expected) = (
                try #require(backend.quantize(w)), try #require(backend.quantize(HostTensor(w.floats(), w.shape)))
            )
            #expect(
                backend.linear(x, weight: found).floats() == backend.linear(x, weight: expected).floats(),
                "\(backend.level)")
            #expect(
                backend.narrow(w, to: .f8e4m3).floats()
                    == backend.narrow(HostTensor(w.floats(), w.shape), to: .f8e4m3).floats())
        }
    }

    @Test("other types are made of the numbers, and the own one of whole blocks", arguments: types)
    func bytes(_ dtype: DType) {
        var random = TestRandom(711)
        let w = random.small(dtype, [2, 2 * dtype.blockLength])
        let values = HostTensor(w.floats(), w.shape)
        for type in [DType.f32, .bf16, .f16, .f8e4m3] {
            let range = 3..<w.count - 5
            #expect(w.bytes(range, as: type) == values.bytes(range, as: type))
        }
        let row = w.sliced(0, 1..<2)
        let copy = HostTensor(row.bytes(0..<row.count, as: dtype), row.shape, as: dtype)
        #expect(copy.floats() == row.floats() && copy.byteCount == 2 * dtype.blockByteCount)
    }
}
