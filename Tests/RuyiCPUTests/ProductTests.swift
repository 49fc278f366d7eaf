import RuyiCPU
import RuyiTensor
import Testing

/// Sizes of one product.
struct ProductShape: Sendable, CustomTestStringConvertible {
    let rows: Int
    let depth: Int
    let columns: Int

    var testDescription: String { "\(rows)x\(depth)x\(columns)" }

    /// Random sizes around the edges of tiles (6 or 14 rows; 8, 16 or 32 columns) and of panels (depth 512).
    static func random(_ random: inout TestRandom) -> ProductShape {
        let rows = [1, 2, 5, 6, 7, 12, 13, 14, 15, 27, 28, 29, 43]
        let columns = [1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100]
        let depths = [1, 2, 31, 63, 64, 65, 127, 511, 512, 513, 1024, 1025]
        return ProductShape(
            rows: random.pick(rows), depth: random.chance(4) ? random.below(700) + 1 : random.pick(depths),
            columns: random.chance(4) ? random.below(90) + 1 : random.pick(columns))
    }
}

@Suite("matrix products against plain loops")
struct ProductTests {
    @Test("random shapes, weights as slices and transposes of larger tensors, rows of a slice")
    func randomShapes() {
        var random = TestRandom(101)
        for _ in 0..<80 {
            let shape = ProductShape.random(&random)
            let x = random.tensor([shape.rows + 2, shape.depth]).sliced(0, 1..<shape.rows + 1)
            let w = random.slicedWeight(shape)
            let plain = PlainProduct(x, w)
            for backend in backends {
                let y = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil)
                #expect(plain.worst(y.floats()) <= 1, "\(backend.level) \(shape.testDescription)")
            }
        }
    }

    @Test("x as a permuted view gives the same as its copy, and leading axes are rows")
    func views() {
        var random = TestRandom(103)
        let x = random.tensor([5, 9, 37])
        for backend in backends {
            for view in [x.permuted([1, 0, 2]), x.permuted([2, 0, 1]), x.sliced(2, 3..<30), x.sliced(1, 4..<5)] {
                let w = random.tensor([11, view.shape[2]])
                let fromView = backend.linear(view, weight: w, bias: nil, activation: .none, residual: nil)
                let fromCopy = backend.linear(
                    HostTensor(view.floats(), view.shape), weight: w, bias: nil, activation: .none, residual: nil)
                #expect(fromView.shape == [view.shape[0], view.shape[1], 11])
                #expect(fromView.floats() == fromCopy.floats(), "\(backend.level)")
            }
        }
    }

    @Test("infinities, NaN and denormals give what a plain loop gives, element by element")
    func specials() {
        var random = TestRandom(107)
        let specials: [Float] = [
            .infinity, -.infinity, .nan, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 1e-39, -1e-40, 0, -0,
            .leastNormalMagnitude, 1e-30, -1e-20,
        ]
        for round in 0..<40 {
            let shape = ProductShape.random(&random)
            // Few specials, so that most rows and columns stay finite; zeros meet infinities too.
            let x = random.tensor([shape.rows, shape.depth], specials: specials, oneIn: round % 2 == 0 ? 40 : 400)
            let w = random.tensor([shape.columns, shape.depth], specials: specials, oneIn: 300)
            let bias = random.tensor([shape.columns], specials: specials, oneIn: 20)
            let plain = PlainProduct(x, w, bias)
            for backend in backends {
                let y = backend.linear(x, weight: w, bias: bias, activation: .none, residual: nil)
                #expect(plain.worst(y.floats()) <= 1, "\(backend.level) \(shape.testDescription)")
            }
        }
    }

    @Test("products of denormals and products that are denormal are not flushed")
    func denormals() {
        var random = TestRandom(109)
        let unit = Float.leastNonzeroMagnitude
        let x = HostTensor((0..<7 * 33).map { _ in Float(random.below(2000)) * unit }, [7, 33])
        let w = HostTensor((0..<19 * 33).map { _ in Float(random.below(9)) - 4 }, [19, 33])
        let (xs, ws) = (x.floats(), w.floats())
        // Whole multiples of the smallest number: the sums are exact in any order.
        var expected: [Float] = []
        for row in 0..<7 {
            for column in 0..<19 {
                let terms = (0..<33).map { Double(xs[row * 33 + $0]) * Double(ws[column * 33 + $0]) }
                expected.append(Float(terms.reduce(0, +)))
            }
        }
        for backend in backends {
            let y = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil).floats()
            #expect(y == expected, "\(backend.level)")
            let swapped = backend.linear(w, weight: x, bias: nil, activation: .none, residual: nil)
            #expect(swapped.permuted([1, 0]).floats() == expected, "\(backend.level)")
        }
    }

    @Test("weights of every type at odd offsets inside larger storage", arguments: DType.allCases)
    func offsets(_ dtype: DType) {
        var random = TestRandom(113)
        for (rows, depth, columns) in [(3, 5, 7), (15, 65, 33), (2, 513, 9)] {
            let all = random.small(dtype, [columns + 3, depth])
            let w = all.sliced(0, 1..<columns + 1)
            let x = random.tensor([rows, depth])
            let plain = PlainProduct(x, w)
            for backend in backends {
                let y = backend.linear(x, weight: w, bias: nil, activation: .none, residual: nil)
                #expect(plain.worst(y.floats()) <= 1, "\(backend.level) \(dtype)")
                let narrow = w.sliced(1, 1..<depth)
                let part = backend.linear(
                    x.sliced(1, 1..<depth), weight: narrow, bias: nil, activation: .none, residual: nil)
                #expect(PlainProduct(x.sliced(1, 1..<depth), narrow).worst(part.floats()) <= 1, "\(backend.level)")
            }
        }
    }
}

/// `x Wᵀ + b` by plain loops in double precision, with the error that float32 sums in any order may have.
struct PlainProduct {
    private var values: [Double] = []
    private var bounds: [Double] = []

    init(_ x: HostTensor, _ weight: HostTensor, _ bias: HostTensor? = nil) {
        let (depth, columns) = (x.shape[x.rank - 1], weight.shape[0])
        let (xs, ws, bs) = (x.floats(), weight.floats(), bias?.floats())
        for row in 0..<xs.count / depth {
            for column in 0..<columns {
                var (sum, magnitude) = (0.0, 0.0)
                for index in 0..<depth {
                    let term = Double(xs[row * depth + index]) * Double(ws[column * depth + index])
                    sum += term
                    magnitude += abs(term)
                }
                if let bs {
                    sum += Double(bs[column])
                    magnitude += abs(Double(bs[column]))
                }
                values.append(sum)
                // Products below the normal numbers are rounded to multiples of the smallest number.
                let unit = Double(Float.ulpOfOne) / 2
                bounds.append(4 * unit * Double(depth).squareRoot() * magnitude + Double(depth + 1) * 0x1p-149)
            }
        }
    }

    /// The largest error in units of the bound; infinite where one value is finite and the other is not, or where the
    /// infinities differ.
    func worst(_ found: [Float]) -> Double {
        guard found.count == values.count else { return .infinity }
        var worst = 0.0
        for (index, value) in found.enumerated() {
            let expected = values[index]
            if expected.isFinite && value.isFinite {
                worst = max(worst, abs(Double(value) - expected) / bounds[index])
            } else if !(expected.isNaN && value.isNaN) && Double(value) != expected {
                return .infinity
            }
        }
        return worst
    }
}

extension TestRandom {
    mutating func below(_ limit: Int) -> Int { Int(bits() >> 33) % limit }

    mutating func chance(_ oneIn: Int) -> Bool { below(oneIn) == 0 }

    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    /// Random values among which one in `oneIn` is special.
    mutating func tensor(_ shape: [Int], specials: [Float], oneIn: Int) -> HostTensor {
        var values = values(shape.reduce(1, *))
        for index in values.indices where chance(oneIn) { values[index] = pick(specials) }
        return HostTensor(values, shape)
    }

    /// A weight that is a part of something larger: rows of it, columns of it, or its transpose.
    mutating func slicedWeight(_ shape: ProductShape) -> HostTensor {
        let (columns, depth) = (shape.columns, shape.depth)
        switch below(4) {
        case 0: return tensor([columns, depth])
        case 1: return tensor([columns + 5, depth]).sliced(0, 2..<columns + 2)
        case 2: return tensor([columns, depth + 3]).sliced(1, 2..<depth + 2)
        default: return tensor([depth, columns + 1]).permuted([1, 0]).sliced(0, 1..<columns + 1)
        }
    }

    /// Random elements of a type that are finite and of moderate size.
    mutating func small(_ dtype: DType, _ shape: [Int]) -> HostTensor {
        let count = shape.reduce(1, *)
        if dtype.isBlocked { return blocks(dtype, shape) }
        var bytes: [UInt8] = []
        for _ in 0..<count {
            let value = self.value()
            func put(_ element: some BitwiseCopyable) {
                withUnsafeBytes(of: element) { bytes += $0 }
            }
            switch dtype {
            case .f64: put(Double(value))
            case .f32: put(value)
            case .bf16: put(UInt16(value.bitPattern >> 16))
            case .f16: put(UInt16(truncatingIfNeeded: below(0x4000) + below(2) << 15))
            case .f8e4m3, .f8e5m2: put(UInt8(truncatingIfNeeded: below(0x48) + below(2) << 7))
            case .i64: put(Int64(below(19) - 9))
            case .i32: put(Int32(below(19) - 9))
            case .i16: put(Int16(below(19) - 9))
            case .i8: put(Int8(below(19) - 9))
            case .u8: put(UInt8(below(19)))
            case .bool: put(UInt8(below(2)))
            case .q40, .q41, .q50, .q51, .q80, .q2k, .q3k, .q4k, .q5k, .q6k: break
            }
        }
        return HostTensor(bytes, shape, as: dtype)
    }

    /// Blocks of random bits whose scales are small.
    private mutating func blocks(_ dtype: DType, _ shape: [Int]) -> HostTensor {
        let count = dtype.byteCount(of: shape.reduce(1, *))
        var bytes = (0..<count).map { _ in UInt8(below(256)) }
        let places: [DType: [Int]] = [.q41: [0, 2], .q51: [0, 2], .q2k: [80, 82], .q3k: [108], .q6k: [208]]
        let scales = places[dtype] ?? ([.q4k, .q5k].contains(dtype) ? [0, 2] : [0])
        for block in stride(from: 0, to: count, by: dtype.blockByteCount) {
            for place in scales {
                let bits = FloatBits.half(rounding: value() / 64)
                bytes[block + place] = UInt8(truncatingIfNeeded: bits)
                bytes[block + place + 1] = UInt8(bits >> 8)
            }
        }
        return HostTensor(bytes, shape, as: dtype)
    }
}
