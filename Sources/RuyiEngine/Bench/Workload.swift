import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

extension Workload {
    /// Everything that can be measured, in the order in which it runs.
    static let all =
        linears + clipLinears + blockLinears + integerLinears + vectors + texts + attentions + convolutions + rows
        + Registry.families.flatMap { $0.workloads }

    // MARK: Matrix products

    private static let linears = [DType.bf16, .f32].flatMap { dtype in
        [(2816, 2816), (2816, 12_288), (3072, 3072), (3072, 12_288)].flatMap { input, output in
            [1024, 2048, 4096, 8192].map { linear(dtype, input, output, rows: $0) }
        }
    }

    /// Layers at the tokens of short, usual and long clips, for GPUs.
    private static let clipLinears = [3072, 12_288, 9216].flatMap { output in
        [10_000, 30_000, 120_000].map { linear(.bf16, 3072, output, rows: $0, isLong: true) }
    }

    private static func linear(
        _ dtype: DType, _ input: Int, _ output: Int, rows: Int, isLong: Bool = false
    ) -> Workload {
        let operations = 2 * Double(rows) * Double(input) * Double(output)
        let name = "linear-\(dtype.rawValue)-\(input)x\(output)-\(rows)"
        return Workload(name, .operations(operations), isLong: isLong) { session in
            let x = random([rows, input], on: session)
            let weight = stored(RandomValues(spread: 0.02).tensor([output, input], dtype: dtype, seed: 1), on: session)
            let bias = stored(RandomValues().tensor([output], dtype: dtype, seed: 2), on: session)
            return { session.linear(x, Projection(weight, bias: bias)) }
        }
    }

    private static let blockLinears = [DType.q80, .q4k, .q6k].map { linear($0, 3072, 12_288, rows: 2048) }

    private static let integerLinears = [(2816, 2816), (2816, 12_288), (3072, 12_288)].flatMap { input, output in
        [2048, 4096].map { integerLinear(input, output, rows: $0) }
    }

    /// Activations are quantised in every run, the weight beforehand.
    private static func integerLinear(_ input: Int, _ output: Int, rows: Int) -> Workload {
        let operations = 2 * Double(rows) * Double(input) * Double(output)
        return Workload("linear-int8-\(input)x\(output)-\(rows)", .operations(operations)) { session throws(Fault) in
            let x = random([rows, input], on: session)
            let bias = stored(RandomValues().tensor([output], dtype: .bf16, seed: 2), on: session)
            let weight = stored(RandomValues(spread: 0.02).tensor([output, input], dtype: .bf16, seed: 1), on: session)
            guard let weight = session.quantized(Projection(weight), in: weight.unit) else {
                preconditionFailure("a weight of \(input) inputs can be quantised")
            }
            return { session.linear(x, Projection(weight, bias: bias)) }
        }
    }

    /// What modulates a block: a row or two, whose time is that of reading the weight.
    private static let vectors = [DType.f32, .bf16, .f16, .f8e4m3, .q80, .q4k].flatMap { dtype in
        [1, 2].map { vector(dtype, 3072, 18_432, rows: $0) }
    }

    private static func vector(_ dtype: DType, _ input: Int, _ output: Int, rows: Int) -> Workload {
        let bytes = Work.bytes(Double(dtype.byteCount(of: input * output)))
        return Workload("vector-\(dtype.rawValue)-\(input)x\(output)-\(rows)", bytes) { session in
            let x = random([rows, input], on: session)
            let weight = stored(RandomValues(spread: 0.02).tensor([output, input], dtype: dtype, seed: 1), on: session)
            return { session.linear(x, Projection(weight)) }
        }
    }

    /// A layer of a text encoder at short prompts.
    private static let texts = [DType.f32, .bf16, .f16].flatMap { dtype in
        [5, 16, 32, 77].map { linear(dtype, 4096, 10_240, rows: $0) }
    }

    private static let attentions =
        [(16, 176), (24, 128)].flatMap { heads, size in
            [4096, 8192, 16_384].map { attention(heads, size, queries: $0, keys: $0, isLong: $0 > 8192) }
        } + [attention(16, 176, queries: 4096, keys: 333), attention(24, 128, queries: 4096, keys: 333)]
        + [10_000, 30_000, 120_000].map { attention(24, 128, queries: $0, keys: $0, isLong: true) }

    private static func attention(
        _ heads: Int, _ size: Int, queries: Int, keys: Int, isLong: Bool = false
    ) -> Workload {
        let width = heads * size
        let tokens = queries == keys ? "\(queries)" : "\(queries)x\(keys)"
        let operations = 4 * Double(queries) * Double(keys) * Double(width)
        return Workload("attention-\(heads)x\(size)-\(tokens)", .operations(operations), isLong: isLong) { session in
            let q = random([1, queries, width], on: session)
            let k = random([1, keys, width], on: session, seed: 1)
            let v = random([1, keys, width], on: session, seed: 2)
            return { session.attention(q, k, v, heads: heads, scale: 1 / Float(size).squareRoot()) }
        }
    }

    // MARK: Convolutions

    private static let convolutions = [
        convolution(128, frames: 4, 368, 640), convolution(256, frames: 1, 368, 640),
        convolution(256, frames: 4, 368, 640, isLong: true), convolution(512, frames: 4, 92, 160),
        convolution(512, frames: 4, 46, 80), convolution(512, frames: 1, 46, 80),
        doublingConvolution(256, frames: 1, 184, 320), doublingConvolution(512, frames: 4, 46, 80),
    ]

    private static func convolution(
        _ channels: Int, frames: Int, _ height: Int, _ width: Int, isLong: Bool = false
    ) -> Workload {
        let operations = 2 * 27 * Double(channels * channels) * Double(frames * height * width)
        return Workload(
            "convolution-\(channels)-\(frames)x\(height)x\(width)", .operations(operations), isLong: isLong
        ) { session in
            let video = random([frames + 2, channels, height, width], on: session)
            let timeline = (0..<frames + 2).map { Optional(video.selected(0, $0)) }
            let weight = stored(
                RandomValues(spread: 0.02).tensor([channels, channels, 3, 3, 3], dtype: .bf16, seed: 1), on: session)
            let bias = stored(RandomValues().tensor([channels], dtype: .bf16, seed: 2), on: session)
            return {
                session.convolution(
                    timeline, weight: weight, bias: bias, stride: .one, padding: SpatialPadding(before: 1, after: 1),
                    residual: nil)
            }
        }
    }

    /// Over frames of this size that are doubled in space; operations are those of the doubled ones.
    private static func doublingConvolution(
        _ channels: Int, frames: Int, _ height: Int, _ width: Int
    ) -> Workload {
        let operations = 8 * 27 * Double(channels * channels) * Double(frames * height * width)
        return Workload(
            "convolution-doubling-\(channels)-\(frames)x\(height)x\(width)", .operations(operations)
        ) { session in
            let video = random([frames + 2, channels, height, width], on: session)
            let timeline = (0..<frames + 2).map { Optional(video.selected(0, $0)) }
            let weight = stored(
                RandomValues(spread: 0.02).tensor([channels, channels, 3, 3, 3], dtype: .bf16, seed: 1), on: session)
            return { session.convolutionDoubled(timeline, weight: weight, bias: nil, border: .zeros) }
        }
    }

    // MARK: Norms and activations

    private static let rows = [
        groupNorm(128, frames: 4, 368, 640), groupNorm(512, frames: 4, 92, 160), layerNorm(4096, 2816), headNorm(),
        activation("gelu", .gelu), activation("gelu-tanh", .geluTanh), activation("silu", .silu),
    ]

    private static func groupNorm(_ channels: Int, frames: Int, _ height: Int, _ width: Int) -> Workload {
        let shape = [frames, channels, height, width]
        return Workload("group-norm-silu-\(channels)-\(frames)x\(height)x\(width)", traffic(shape)) { session in
            let x = random(shape, on: session)
            let weight = stored(
                RandomValues(centre: 1, spread: 0.1).tensor([channels], dtype: .bf16, seed: 1), on: session)
            let bias = stored(RandomValues().tensor([channels], dtype: .bf16, seed: 2), on: session)
            return {
                session.groupNorm(
                    x, groups: 32, weight: weight, bias: bias, epsilon: 1e-6, perFrame: true, activation: .silu)
            }
        }
    }

    private static func layerNorm(_ tokens: Int, _ width: Int) -> Workload {
        Workload("layer-norm-modulate-\(tokens)x\(width)", traffic([tokens, width])) { session in
            let x = random([1, tokens, width], on: session)
            let weight = stored(
                RandomValues(centre: 1, spread: 0.1).tensor([width], dtype: .bf16, seed: 1), on: session)
            let bias = stored(RandomValues().tensor([width], dtype: .bf16, seed: 2), on: session)
            let scale = TokenRows(random([1, width], on: session, seed: 3))
            let shift = TokenRows(random([1, width], on: session, seed: 4))
            return { session.layerNorm(x, weight: weight, bias: bias, epsilon: 1e-6, scale: scale, shift: shift) }
        }
    }

    private static func headNorm() -> Workload {
        let (tokens, heads, size) = (4096, 16, 176)
        return Workload("head-norm-rope-\(tokens)x\(heads)x\(size)", traffic([tokens, heads * size])) { session in
            let x = random([1, tokens, heads * size], on: session)
            let weight = stored(RandomValues(centre: 1, spread: 0.1).tensor([size], dtype: .bf16, seed: 1), on: session)
            let bias = stored(RandomValues().tensor([size], dtype: .bf16, seed: 2), on: session)
            let rotary = RotaryTable(
                cosines: random([1024, size], on: session, seed: 3), sines: random([1024, size], on: session, seed: 4))
            return { session.headNorm(x, heads: heads, weight: weight, bias: bias, epsilon: 1e-6, rotary: rotary) }
        }
    }

    private static func activation(_ name: String, _ activation: Activation) -> Workload {
        Workload("\(name)-4096x12288", traffic([4096, 12_288])) { session in
            let x = random([4096, 12_288], on: session)
            return { session.activate(x, activation) }
        }
    }

    // MARK: Inputs

    private static func random(_ shape: [Int], on session: any Session, seed: UInt64 = 0) -> Tensor {
        session.upload(RandomValues().tensor(shape, seed: seed))
    }

    private static func stored(_ values: HostTensor, on session: any Session) -> Weight {
        session.backend.weight(values, in: ResidencyUnit())
    }

    /// Every element read once and written once.
    private static func traffic(_ shape: [Int]) -> Work { .bytes(8 * Double(shape.reduce(1, *))) }
}
