import RuyiTensor

/// Every operation of a backend on small shapes, against its plain reference.
///
/// Tests run it on every device and variant of kernels that a machine has; so does whoever wants to know whether a device
/// computes what it should.
public struct OperationSuite {
    /// How far an operation is from its reference.
    public struct Result: Sendable {
        /// What was done.
        public let name: String
        /// `‖a − b‖ / ‖b‖`; infinite where the shape is another.
        public let error: Double
        /// The most that it may be.
        public let limit: Double

        /// Whether the operation does what it should.
        public var isRight: Bool { error <= limit }
    }

    /// How far float32 may be from double precision.
    public static let limit = 1e-5

    private let backend: any Backend
    private let session: any Session
    private var state: UInt64 = 88_172_645_463_325_252
    private var results: [Result] = []

    private init(_ backend: any Backend, _ session: (any Session)? = nil) {
        self.backend = backend
        self.session = session ?? backend.session()
    }

    /// Whether a GPU's units for matrices of halves multiply what they are given and add it up in float32.
    static func areMatricesRight(_ style: MatrixStyle, on backend: GPUBackend) -> Bool {
        let results = matrices(style, on: backend)
        return !results.isEmpty && results.allSatisfy(\.isRight)
    }

    /// What a GPU's units for matrices make of products, attention and convolutions, for every kind of numbers that it has
    /// units for, in every way in which they can be used.
    public static func matrices(on backend: GPUBackend) -> [Result] {
        Halves.allCases.flatMap(backend.facts.styles).flatMap { matrices($0, on: backend) }
    }

    /// Empty where the device gives up.
    private static func matrices(_ style: MatrixStyle, on backend: GPUBackend) -> [Result] {
        var suite = OperationSuite(backend, backend.untrustedSession(style))
        suite.products(of: style.halves)
        // Without units these are float32.
        if style.way != .invocations {
            suite.attention(of: style.halves)
            suite.convolutions(of: style.halves)
        }
        let isWhole = (try? suite.session.check()) != nil
        // A kernel that the driver does not take is no reason not to use the others.
        if !isWhole { backend.device?.forgive() }
        return isWhole ? suite.results : []
    }

    /// Runs all of it; throws what the session throws.
    public static func run(on backend: any Backend) throws -> [Result] {
        var suite = OperationSuite(backend)
        suite.places()
        suite.elements()
        suite.products()
        suite.integers()
        suite.norms()
        suite.groups()
        suite.attention()
        suite.convolutions()
        suite.statistics()
        try suite.session.check()
        return suite.results
    }

    // MARK: Numbers

    private mutating func value() -> Float {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
    }

    private mutating func values(_ shape: Int...) -> HostTensor {
        HostTensor((0..<shape.reduce(1, *)).map { _ in value() }, shape)
    }

    private func weight(_ x: HostTensor) -> Weight { backend.weight(x, in: ResidencyUnit()) }

    private func tensor(_ x: HostTensor) -> Tensor { session.upload(x) }

    private mutating func note(
        _ name: String, _ found: Tensor, _ expected: HostTensor, limit: Double = OperationSuite.limit
    ) {
        note(name, session.read(found), expected, limit: limit)
    }

    private mutating func note(
        _ name: String, _ found: HostTensor, _ expected: HostTensor, limit: Double = OperationSuite.limit
    ) {
        guard found.shape == expected.shape else {
            results.append(Result(name: name, error: .infinity, limit: limit))
            return
        }
        var (difference, norm) = (0.0, 0.0)
        for (a, b) in zip(found.floats(), expected.floats()) where a != b && !(a.isNaN && b.isNaN) {
            difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        }
        for b in expected.floats() where b.isFinite { norm += Double(b) * Double(b) }
        let error = difference == 0 ? 0 : (difference / max(norm, 1e-60)).squareRoot()
        results.append(Result(name: name, error: error.isNaN ? .infinity : error, limit: limit))
    }

    // MARK: Operations

    private mutating func places() {
        let x = values(3, 5, 7, 4)
        note("copy of a view", session.copy(tensor(x).permuted([2, 0, 3, 1])), x.permuted([2, 0, 3, 1]).single)
        let many = values(2, 3, 2, 2, 3, 2, 2, 2)
        let order = [7, 3, 5, 1, 6, 0, 2, 4]
        note("copy of a view of eight axes", session.copy(tensor(many).permuted(order)), many.permuted(order).single)
        let part = tensor(x).sliced(1, 1..<4).sliced(3, 2..<4)
        note("copy of a part", session.copy(part), x.sliced(1, 1..<4).sliced(3, 2..<4).single)
        let (left, right) = (values(2, 3, 5), values(2, 4, 5))
        for axis in [1] {
            note(
                "concatenate", session.concatenate([tensor(left), tensor(right)], axis: axis),
                Reference.concatenate([left, right], axis: axis))
        }
        let table = values(9, 6)
        note("gather", session.gather(tensor(table), [8, 0, 3, 3]), Reference.gather(table, [8, 0, 3, 3]))
        note("upsampleNearest", session.upsampleNearest(tensor(x)), Reference.upsampleNearest(x))
        note("filled", session.filled([3, 70], 1.5), HostTensor([Float](repeating: 1.5, count: 210), [3, 70]))
        for type in [DType.f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64] {
            let stored = HostTensor(values(7, 9).bytes(0..<63, as: type), [7, 9], as: type)
            note("tensor of \(type.rawValue)", session.tensor(weight(stored)), stored.single, limit: 0)
            let view = weight(stored).permuted([1, 0]).sliced(0, 2..<7)
            note(
                "tensor of a view of \(type.rawValue)", session.tensor(view),
                stored.permuted([1, 0]).sliced(0, 2..<7).single, limit: 0)
            note(
                "gather of \(type.rawValue)", session.gather(weight(stored), [6, 1]),
                Reference.gather(stored.single, [6, 1]), limit: 0)
        }
        for type in DType.allCases where type.isBlocked {
            let blocks = blocks(type, [3, 2 * type.blockLength])
            note("tensor of \(type.rawValue)", session.tensor(weight(blocks)), blocks.single, limit: 1e-6)
            let part = weight(blocks).sliced(1, 5..<type.blockLength + 9)
            note(
                "tensor of a view of \(type.rawValue)", session.tensor(part),
                blocks.sliced(1, 5..<type.blockLength + 9).single, limit: 1e-6)
        }
    }

    /// Blocks of any codes with scales that are ordinary numbers.
    private mutating func blocks(_ type: DType, _ shape: [Int]) -> HostTensor {
        let count = type.byteCount(of: shape.reduce(1, *))
        var bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: Int(value() * 1e6)) }
        let scales: [Int] =
            switch type {
            case .q2k: [80, 82]
            case .q3k: [108]
            case .q6k: [208]
            case .q41, .q51, .q4k, .q5k: [0, 2]
            default: [0]
            }
        for start in stride(from: 0, to: count, by: type.blockByteCount) {
            for place in scales { bytes[start + place + 1] = 0x2C | bytes[start + place + 1] & 0x80 }
        }
        return HostTensor(bytes, shape, as: type)
    }

    private mutating func elements() {
        let (x, y, row) = (values(3, 5, 8), values(3, 5, 8), values(8))
        for activation in Activation.allCases {
            let wide = HostTensor((-300..<300).map { Float($0) * 0.05 }, [600])
            note(
                "activate \(activation)", session.activate(tensor(wide), activation),
                Reference.map(wide) { Reference.activate($0, activation) })
            note("gated \(activation)", session.gated(tensor(x), activation), Reference.gated(x, activation))
        }
        note("exponential", session.exponential(tensor(x)), Reference.exponential(x))
        note("combine", session.combine(tensor(x), 2, tensor(y), -0.5), Reference.zip(x, y) { 2 * $0 - 0.5 * $1 })
        note("combine repeated", session.combine(tensor(x), 1, tensor(row), 3), Reference.zip(x, row) { $0 + 3 * $1 })
        note("multiply", session.multiply(tensor(x), tensor(y)), Reference.zip(x, y) { $0 * $1 })
        let number = values(1)
        note("multiply by a number", session.multiply(tensor(x), tensor(number)), Reference.zip(x, number) { $0 * $1 })
        let rows = values(3, 8)
        for lengths in [nil, [1, 10, 4]] {
            note(
                "multiply rows", session.multiply(tensor(x), rows: TokenRows(tensor(rows), lengths: lengths)),
                Reference.zip(x, rows: rows, lengths: lengths) { $0 * $1 })
        }
        note("scale", session.scale(tensor(x), by: 3, plus: 1, clampedTo: nil), Reference.map(x) { 3 * $0 + 1 })
        note(
            "scale and clamp", session.scale(tensor(x), by: 3, plus: 1, clampedTo: 0...1.5),
            Reference.map(x) { min(max(3 * $0 + 1, 0), 1.5) })
    }

    private mutating func products() {
        for (rows, depth, columns) in [(1, 5, 3), (9, 33, 17), (70, 64, 130), (150, 100, 140)] {
            let (x, w, b) = (values(1, rows, depth), values(columns, depth), values(columns))
            let projection = Projection(weight(w), bias: weight(b))
            note(
                "linear \(rows) x \(depth) x \(columns)", session.linear(tensor(x), projection, .silu),
                Reference.linear(x, w, bias: b, .silu))
        }
        let (x, residual, gate) = (values(2, 20, 48), values(2, 20, 30), values(2, 30))
        for type in [DType.f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64] {
            let w = HostTensor(values(30, 48).bytes(0..<1440, as: type), [30, 48], as: type)
            note(
                "linear of \(type.rawValue)",
                session.linear(tensor(x), Projection(.stored(weight(w)), scale: .number(0.5)), .gelu),
                Reference.linear(x, w, scale: .number(0.5), .gelu))
        }
        for type in DType.allCases where type.isBlocked {
            let w = blocks(type, [5, type.blockLength])
            let x = values(1, 4, type.blockLength)
            note(
                "linear of \(type.rawValue)", session.linear(tensor(x), Projection(weight(w)), .none),
                Reference.linear(x, w))
        }
        let w = values(30, 48)
        let plain = Reference.linear(x, w, .none)
        for lengths in [nil, [7, 33]] {
            let rows = TokenRows(tensor(gate), lengths: lengths)
            note(
                "gate and residual", tensor(residual) + rows * session.linear(tensor(x), Projection(weight(w)), .none),
                Reference.zip(residual, Reference.zip(plain, rows: gate, lengths: lengths) { $0 * $1 }) { $0 + $1 })
        }
        let scales = WeightScale.blocks(
            ScaleBlocks((0..<8).map { 0.5 + Float($0) / 4 }, across: 2, height: 8, width: 24))
        note(
            "linear with scales of blocks",
            session.linear(tensor(x), Projection(.stored(weight(w)), scale: scales), .none),
            Reference.linear(x, w, scale: scales))
        let computed = tensor(values(48, 30))
        note(
            "linear of a computed matrix",
            session.linear(tensor(x), Projection(.computed(computed.permuted([1, 0]))), .none),
            Reference.linear(x, session.read(computed).permuted([1, 0]).single))
        let (inner, outer, beside) = (values(40, 48), values(48, 40 + 30), residual)
        note(
            "feedForward",
            session.feedForward(
                tensor(x), inner: Projection(weight(inner)), .geluTanh, outer: Projection(weight(outer)),
                beside: tensor(beside)),
            Reference.linear(
                Reference.concatenate([beside, Reference.linear(x, inner, .geluTanh)], axis: 2), outer))
        for type in [DType.f8e4m3, .f8e5m2] {
            let wide = HostTensor(
                values(3, 70).floats().enumerated().map {
                    $1 * Float(sign: .plus, exponent: $0 % 40 - 24, significand: 1)
                },
                [3, 70])
            let narrow = session.narrowed(weight(wide), to: type)
            note(
                "narrowed to \(type.rawValue)", session.tensor(narrow),
                HostTensor(wide.bytes(0..<210, as: type), [3, 70], as: type).single, limit: 0)
        }
    }

    /// The same numbers rounded to halves.
    private func rounded(_ x: HostTensor, to halves: Halves) -> HostTensor {
        HostTensor(x.single.bytes(0..<x.count, as: halves.type), x.shape, as: halves.type).single
    }

    /// Products of halves, against references of the same rounded numbers.
    private mutating func products(of halves: Halves) {
        func rounded(_ x: HostTensor) -> HostTensor { self.rounded(x, to: halves) }
        for (rows, depth, columns) in [(130, 48, 200), (128, 32, 128), (300, 161, 65)] {
            let (x, w, b) = (values(1, rows, depth), values(columns, depth), values(columns))
            for type in [DType.f32, halves.type, .f8e4m3] {
                let stored = HostTensor(w.bytes(0..<w.count, as: type), w.shape, as: type)
                note(
                    "linear in \(halves) of \(type.rawValue), \(rows) x \(depth) x \(columns)",
                    session.linear(tensor(x), Projection(.stored(weight(stored)), bias: weight(b)), .silu),
                    Reference.linear(rounded(x), rounded(stored), bias: b, .silu))
            }
        }
        let (x, w, residual) = (values(2, 70, 64), values(40, 64), values(2, 70, 40))
        let scales = WeightScale.blocks(
            ScaleBlocks((0..<10).map { Float(1 << ($0 % 3)) }, across: 2, height: 8, width: 32))
        note(
            "linear in \(halves) with scales of blocks and a residual",
            tensor(residual)
                + session.linear(tensor(x), Projection(.stored(weight(w)), scale: scales), .none),
            Reference.zip(residual, Reference.linear(rounded(x), rounded(w), scale: scales)) { $0 + $1 })
        // Numbers far beyond the range of f16.
        let wide = Reference.map(values(1, 80, 64)) { $0 * 1e9 }
        note(
            "linear in \(halves) of large numbers", session.linear(tensor(wide), Projection(weight(w)), .none),
            Reference.linear(wide, rounded(w)), limit: halves == .f16 ? 1e-3 : 1e-2)
    }

    private mutating func attention(of halves: Halves) {
        func rounded(_ x: HostTensor) -> HostTensor { self.rounded(x, to: halves) }
        // Weights of attention are rounded too, so that it is further from its reference.
        let limit = halves == .f16 ? 1e-3 : 1e-2
        for (batch, queries, keys, heads, shared, size) in [
            (2, 70, 53, 4, 2, 24), (1, 64, 130, 1, 1, 128), (1, 100, 33, 2, 2, 88), (1, 65, 64, 2, 2, 64),
        ] {
            let (q, k, v) = (
                values(batch, queries, heads * size), values(batch, keys, shared * size),
                values(batch, keys, shared * size)
            )
            note(
                "attention in \(halves), \(heads) x \(size), \(queries) to \(keys)",
                session.attention(tensor(q), tensor(k), tensor(v), heads: heads, scale: 0.3),
                Reference.attention(rounded(q), rounded(k), rounded(v), heads: heads, scale: 0.3), limit: limit)
        }
        let (q, k, v) = (values(2, 66, 4 * 16), values(2, 66, 4 * 16), values(2, 66, 4 * 16))
        for (name, mask) in [
            ("causal order", AttentionMask.causal(66)), ("padding", .lengths([45, 0])),
            ("causal blocks", .causal(blocks: [29, 4, 33])),
        ] {
            note(
                "attention in \(halves) with \(name)",
                session.attention(
                    tensor(q), tensor(k), tensor(v), heads: 4, scale: 0.25, options: AttentionOptions(mask: mask)),
                Reference.attention(rounded(q), rounded(k), rounded(v), heads: 4, scale: 0.25, mask: mask), limit: limit
            )
        }
        let slopes: [Float] = [0.5, 0.25, 0.125, 0.0625]
        note(
            "attention in \(halves) with ALiBi",
            session.attention(
                tensor(q), tensor(k), tensor(v), heads: 4, scale: 0.25,
                options: AttentionOptions(bias: .alibi(slopes: slopes))),
            Reference.attention(
                rounded(q), rounded(k), rounded(v), heads: 4, scale: 0.25,
                bias: { Double(-slopes[$0]) * Double(abs($1 - $2)) }), limit: limit)
    }

    private mutating func convolutions(of halves: Halves) {
        func rounded(_ x: HostTensor) -> HostTensor { self.rounded(x, to: halves) }
        for (channels, outputs, count, height, width, side, step) in [
            (16, 32, 4, 6, 9, 3, 1), (40, 130, 3, 12, 11, 3, 1), (33, 64, 1, 16, 9, 3, 2), (64, 33, 1, 7, 5, 1, 1),
        ] {
            let depth = min(side, count)
            let (w, b) = (values(outputs, channels, depth, side, side), values(outputs))
            var timeline = (0..<count).map { _ in Optional(values(channels, height, width)) }
            if count > 2 { timeline[0] = nil }
            for border in [SpatialPadding.Border.zeros, .edge] {
                let padding = SpatialPadding(before: side / 2, after: side / 2, border: border)
                let stride = ConvolutionStride(1, step, step)
                let expected = Reference.convolution(
                    timeline.map { $0.map(rounded) }, rounded(w), bias: b, stride: stride, padding: padding)
                let residual = values(expected.count).reshaped(expected.shape)
                note(
                    "convolution in \(halves), \(channels) to \(outputs), \(side) x \(side), step \(step), \(border)",
                    session.convolution(
                        timeline.map { $0.map(tensor) }, weight: weight(w), bias: weight(b), stride: stride,
                        padding: padding, residual: tensor(residual)), Reference.zip(expected, residual) { $0 + $1 })
            }
        }
    }

    private mutating func integers() {
        for (rows, depth, columns) in [(3, 30, 9), (21, 64, 34)] {
            let (x, w, b) = (values(1, rows, depth), values(columns, depth), values(columns))
            guard let quantized = session.quantized(Projection(weight(w)), in: ResidencyUnit()) else { continue }
            let expected = Reference.linear(rounded(x), rounded(w), bias: b, .silu)
            note(
                "linear of integers \(rows) x \(depth) x \(columns)",
                session.linear(tensor(x), Projection(quantized, bias: weight(b)), .silu), expected, limit: 1e-4)
        }
    }

    /// Rows rounded to 8 bits, as floats.
    private func rounded(_ x: HostTensor) -> HostTensor {
        let (values, width) = (x.floats(), x.shape.last ?? 1)
        var result: [Float] = []
        for start in stride(from: 0, to: values.count, by: width) {
            values[start..<start + width].withUnsafeBufferPointer { row in
                guard let quantization = RowQuantization(row) else { return }
                result += row.map { Float(quantization($0)) * quantization.scale }
            }
        }
        return HostTensor(result, x.shape)
    }

    private mutating func norms() {
        for width in [3, 64, 700] {
            let (x, w, b) = (values(2, 6, width), values(width), values(width))
            note(
                "layerNorm \(width)",
                session.layerNorm(
                    tensor(x), weight: weight(w), bias: weight(b), epsilon: 1e-5, scale: nil, shift: nil),
                Reference.layerNorm(x, weight: w, bias: b, epsilon: 1e-5))
            let (scale, shift) = (values(2, width), values(2, width))
            for lengths in [nil, [3, 9]] {
                let normed = Reference.layerNorm(x, epsilon: 1e-6)
                let scaled = Reference.zip(normed, rows: scale, lengths: lengths) { $0 * (1 + $1) }
                note(
                    "layerNorm with scale and shift \(width)",
                    session.layerNorm(
                        tensor(x), weight: nil, bias: nil, epsilon: 1e-6,
                        scale: TokenRows(tensor(scale), lengths: lengths),
                        shift: TokenRows(tensor(shift), lengths: lengths)),
                    Reference.zip(scaled, rows: shift, lengths: lengths) { $0 + $1 })
            }
            note(
                "rmsNorm \(width)", session.rmsNorm(tensor(x), weight: weight(w), epsilon: 1e-6),
                Reference.rmsNorm(x, weight: w, epsilon: 1e-6))
        }
        let (x, w, b) = (values(2, 6, 3 * 16), values(16), values(16))
        for (name, rotary) in tables(16) {
            let table = RotaryTable(
                cosines: tensor(rotary.cosines), sines: tensor(rotary.sines), pairing: rotary.pairing)
            note(
                "headNorm, \(name)",
                session.headNorm(
                    tensor(x), heads: 3, weight: weight(w), bias: weight(b), epsilon: 1e-6, rotary: table),
                Reference.rotate(
                    Reference.layerNorm(x, width: 16, weight: w, bias: b, epsilon: 1e-6), heads: 3,
                    cosines: rotary.cosines, sines: rotary.sines, rotary.pairing))
            note(
                "headRMSNorm, \(name)",
                session.headRMSNorm(tensor(x), heads: 3, weight: weight(w), epsilon: 1e-6, rotary: table),
                Reference.rotate(
                    Reference.rmsNorm(x, weight: w, epsilon: 1e-6), heads: 3, cosines: rotary.cosines,
                    sines: rotary.sines, rotary.pairing))
        }
    }

    private typealias Table = (cosines: HostTensor, sines: HostTensor, pairing: RotaryTable.Pairing)

    private mutating func tables(_ size: Int) -> [(String, Table)] {
        let (cosines, sines) = (values(3, size), values(3, size))
        return [
            ("neighbours", (cosines, sines, .neighbours)), ("halves", (cosines, sines, .halves)),
            ("halves of parts", (cosines, sines, .halvesOfParts([4, size - 4]))),
        ]
    }

    private mutating func groups() {
        let (w, b) = (values(8), values(8))
        // A mean that is far from zero in terms of the deviation.
        let x = Reference.map(values(3, 8, 5, 7)) { $0 + 3 }
        for perFrame in [true, false] {
            note(
                perFrame ? "groupNorm of frames" : "groupNorm",
                session.groupNorm(
                    tensor(x), groups: 4, weight: weight(w), bias: weight(b), epsilon: 1e-6, perFrame: perFrame,
                    activation: .silu),
                Reference.groupNorm(
                    x, groups: 4, weight: w, bias: b, epsilon: 1e-6, perFrame: perFrame, activation: .silu))
        }
        let parts = [x.sliced(0, 0..<1), x.sliced(0, 1..<3)].map(\.single)
        let statistics = Reference.groupStatistics(parts, groups: 4)
        note("groupStatistics", session.groupStatistics(parts.map(tensor), groups: 4), statistics)
        note(
            "groupNorm by statistics",
            session.groupNorm(
                tensor(x), statistics: tensor(statistics), weight: weight(w), bias: weight(b), epsilon: 1e-6,
                activation: .none),
            Reference.groupNorm(
                x, statistics: statistics, weight: w, bias: b, epsilon: 1e-6, activation: .none))
    }

    private mutating func attention() {
        for (batch, queries, keys, heads, size) in [(1, 1, 1, 1, 4), (2, 37, 53, 2, 24), (1, 70, 20, 1, 176)] {
            let (q, k, v) = (
                values(batch, queries, heads * size), values(batch, keys, heads * size),
                values(batch, keys, heads * size)
            )
            note(
                "attention \(heads) x \(size), \(queries) to \(keys)",
                session.attention(tensor(q), tensor(k), tensor(v), heads: heads, scale: 0.3),
                Reference.attention(q, k, v, heads: heads, scale: 0.3))
        }
        let (q, k, v) = (values(2, 19, 4 * 16), values(2, 19, 2 * 16), values(2, 19, 2 * 16))
        note(
            "attention with shared heads", session.attention(tensor(q), tensor(k), tensor(v), heads: 4, scale: 0.25),
            Reference.attention(q, k, v, heads: 4, scale: 0.25))
        for (name, mask) in [
            ("causal order", AttentionMask.causal(19)), ("padding", .lengths([5, 0])),
            ("causal blocks", .causal(blocks: [9, 4, 6])),
        ] {
            note(
                "attention with \(name)",
                session.attention(
                    tensor(q), tensor(k), tensor(v), heads: 4, scale: 0.25, options: AttentionOptions(mask: mask)),
                Reference.attention(q, k, v, heads: 4, scale: 0.25, mask: mask))
        }
        let slopes: [Float] = [0.5, 0.25, 0.125, 0.0625]
        let bias = values(4, 19, 19)
        let added = bias.floats()
        for (name, option, number) in [
            ("ALiBi", AttentionBias.alibi(slopes: slopes), { Double(-slopes[$0]) * Double(abs($1 - $2)) }),
            (
                "square-root ALiBi", .alibiSquareRoot(slopes: slopes),
                { Double(-slopes[$0]) * Double(abs($1 - $2)).squareRoot() }
            ),
            ("a bias", .tensor(tensor(bias)), { Double(added[($0 * 19 + $1) * 19 + $2]) }),
        ] as [(String, AttentionBias, (Int, Int, Int) -> Double)] {
            note(
                "attention with \(name)",
                session.attention(
                    tensor(q), tensor(k), tensor(v), heads: 4, scale: 0.25, options: AttentionOptions(bias: option)),
                Reference.attention(q, k, v, heads: 4, scale: 0.25, bias: number))
        }
        for (name, rotary) in tables(16) {
            let table = RotaryTable(
                cosines: tensor(rotary.cosines), sines: tensor(rotary.sines), pairing: rotary.pairing)
            func turned(_ x: HostTensor, _ heads: Int) -> HostTensor {
                Reference.rotate(x, heads: heads, cosines: rotary.cosines, sines: rotary.sines, rotary.pairing)
            }
            note(
                "attention with rotation of \(name)",
                session.attention(
                    tensor(q), tensor(k), tensor(v), heads: 4, scale: 0.25,
                    options: AttentionOptions(queryRotary: table, keyRotary: table)),
                Reference.attention(turned(q, 4), turned(k, 2), v, heads: 4, scale: 0.25))
        }
    }

    private mutating func convolutions() {
        for (channels, outputs, count, height, width, side, step, before, after) in [
            (3, 5, 4, 6, 9, 3, 1, 1, 1), (20, 17, 3, 12, 11, 3, 1, 1, 1), (2, 3, 5, 8, 9, 3, 2, 0, 1),
            (64, 33, 1, 7, 5, 1, 1, 0, 0), (17, 70, 3, 9, 8, 3, 1, 1, 1),
        ] {
            let depth = min(side, count)
            let (w, b) = (values(outputs, channels, depth, side, side), values(outputs))
            var timeline = (0..<count).map { _ in Optional(values(channels, height, width)) }
            if count > 2 { timeline[0] = nil }
            let stride = ConvolutionStride(count > 4 ? step : 1, step, step)
            for border in [SpatialPadding.Border.zeros, .edge] {
                let padding = SpatialPadding(before: before, after: after, border: border)
                let expected = Reference.convolution(timeline, w, bias: b, stride: stride, padding: padding)
                let residual = values(expected.count).reshaped(expected.shape)
                note(
                    "convolution \(channels) to \(outputs), \(side) x \(side), step \(step), \(border)",
                    session.convolution(
                        timeline.map { $0.map(tensor) }, weight: weight(w), bias: weight(b), stride: stride,
                        padding: padding, residual: tensor(residual)), Reference.zip(expected, residual) { $0 + $1 })
            }
        }
        let (frame, w) = (values(6, 5, 4), values(7, 6, 1, 3, 3))
        let doubled = Reference.upsampleNearest(frame.expanded(at: 0)).selected(0, 0)
        note(
            "convolutionDoubled",
            session.convolutionDoubled([tensor(frame)], weight: weight(w), bias: nil, border: .zeros),
            Reference.convolution([doubled], w, stride: .one, padding: SpatialPadding(before: 1, after: 1)))
    }

    private mutating func statistics() {
        let (x, y) = (values(3, 5000), values(3, 5000))
        func mean(_ values: [Double]) -> HostTensor {
            HostTensor([Float(values.reduce(0, +) / Double(values.count))], [1])
        }
        let (left, right) = (x.floats().map(Double.init), y.floats().map(Double.init))
        note("meanMagnitude", session.meanMagnitude(tensor(x), minus: nil), mean(left.map(abs)))
        note(
            "meanMagnitude of a difference", session.meanMagnitude(tensor(x), minus: tensor(y)),
            mean(zip(left, right).map { abs($0 - $1) }))
        let (q, k) = (values(2, 5 * 6, 2 * 8), values(2, 5 * 6, 2 * 8))
        note(
            "crossFrameAttention", session.crossFrameAttention(tensor(q), tensor(k), frames: 5, heads: 2, scale: 0.7),
            HostTensor([Float(Reference.crossFrameAttention(q, k, frames: 5, heads: 2, scale: 0.7))], [1]))
    }
}
