import RuyiFiles
import RuyiLayers
import RuyiTensor

// The building blocks of AutoencoderKLHunyuanVideo (specification section 6.1). Videos are [T, C, H, W].

private let normEpsilon: Float = 1e-6

/// A convolution that sees past frames only: the first one is repeated in front, and the edge around every frame.
struct HunyuanConv: Sendable {
    private let weight: Weight
    private let bias: Weight
    private let kernel: Int
    private let stride: ConvolutionStride

    /// Takes `conv.weight` `[output, input, kernel, kernel, kernel]` and `conv.bias` `[output]`.
    init(_ scope: WeightScope, _ input: Int, _ output: Int, kernel: Int = 3, stride: ConvolutionStride = .one) {
        let place = scope / "conv"
        weight = place.take("weight", [output, input, kernel, kernel, kernel])
        bias = place.take("bias", [output])
        self.kernel = kernel
        self.stride = stride
    }

    func callAsFunction(_ x: Tensor, residual: Tensor? = nil) -> Tensor {
        self((0..<x.shape[0]).map { x.selected(0, $0) }, residual: residual)
    }

    /// Frames `[C, H, W]`, which may occur several times.
    func callAsFunction(_ frames: [Tensor], residual: Tensor? = nil) -> Tensor {
        let border = kernel / 2
        let past = Array(repeating: frames[0], count: kernel - 1)
        return frames[0].session.convolution(
            past + frames, weight: weight, bias: bias, stride: stride,
            padding: SpatialPadding(before: border, after: border, border: .edge), residual: residual)
    }
}

/// Norm, SiLU, convolution, twice, around a shortcut.
///
/// The norms' statistics are taken over all frames.
struct HunyuanResBlock: Sendable {
    private let norm1, norm2: GroupNorm
    private let conv1, conv2: HunyuanConv
    private let shortcut: HunyuanConv?

    init(_ scope: WeightScope, _ input: Int, _ output: Int, groups: Int) {
        norm1 = GroupNorm(scope / "norm1", input, groups: groups, epsilon: normEpsilon)
        norm2 = GroupNorm(scope / "norm2", output, groups: groups, epsilon: normEpsilon)
        conv1 = HunyuanConv(scope / "conv1", input, output)
        conv2 = HunyuanConv(scope / "conv2", output, output)
        shortcut = input == output ? nil : HunyuanConv(scope / "conv_shortcut", input, output, kernel: 1)
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
        let hidden = conv1(norm1(x, perFrame: false, .silu))
        return conv2(norm2(hidden, perFrame: false, .silu), residual: shortcut.map { $0(x) } ?? x)
    }
}

/// Attention over all positions of a frame and of those before it, one head.
struct HunyuanVAEAttention: Sendable {
    private let norm: GroupNorm
    private let query, key, value, output: Linear

    init(_ scope: WeightScope, _ width: Int, groups: Int) {
        norm = GroupNorm(scope / "group_norm", width, groups: groups, epsilon: normEpsilon)
        query = Linear(scope / "to_q", width, width)
        key = Linear(scope / "to_k", width, width)
        value = Linear(scope / "to_v", width, width)
        output = Linear(scope / "to_out" / 0, width, width)
    }

    func callAsFunction(_ x: Tensor, _ trace: StageTrace?) -> Tensor {
        let (frames, width, area) = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        let session = x.session
        // The norm is taken over all positions together, for which the frames stand side by side.
        let side = session.copy(x.reshaped([frames, width, area]).permuted([1, 0, 2])).reshaped([
            1, width, frames * area, 1,
        ])
        let normed = norm(side, perFrame: true).reshaped([1, width, frames * area])
        let tokens = session.copy(normed.permuted([0, 2, 1]))  // [1, T · H · W, C]
        let mask = AttentionMask.causal(blocks: Array(repeating: area, count: frames))
        let attended = session.attention(
            query(tokens), key(tokens), value(tokens), heads: 1, scale: 1 / Float(width).squareRoot(),
            options: AttentionOptions(mask: mask))
        let result = output(attended)
        let video = session.copy(result.reshaped([frames, area, width]).permuted([0, 2, 1])).reshaped(x.shape)
        let sum = x + video
        trace?.recordPositions("mid.attn.out", sum)
        return sum
    }
}

/// Two residual blocks around attention.
struct HunyuanMidBlock: Sendable {
    private let first, last: HunyuanResBlock
    private let attention: HunyuanVAEAttention?

    init(_ scope: WeightScope, _ width: Int, _ configuration: HunyuanVAEConfiguration) {
        first = HunyuanResBlock(scope / "resnets" / 0, width, width, groups: configuration.groups)
        attention =
            configuration.hasAttention
            ? HunyuanVAEAttention(scope / "attentions" / 0, width, groups: configuration.groups) : nil
        last = HunyuanResBlock(scope / "resnets" / 1, width, width, groups: configuration.groups)
    }

    func callAsFunction(_ x: Tensor, _ trace: StageTrace?) -> Tensor {
        let hidden = first(x)
        let result = last(attention.map { $0(hidden, trace) } ?? hidden)
        trace?.recordVideo("mid.out", result)
        return result
    }
}

/// Residual blocks, then a convolution that halves width and height, and time where the stride says so.
struct HunyuanDownBlock: Sendable {
    private let blocks: [HunyuanResBlock]
    private let downsampler: HunyuanConv?

    init(
        _ scope: WeightScope, _ input: Int, _ output: Int, stride: ConvolutionStride?,
        _ configuration: HunyuanVAEConfiguration
    ) {
        blocks = (0..<configuration.layersPerBlock).map {
            HunyuanResBlock(scope / "resnets" / $0, $0 == 0 ? input : output, output, groups: configuration.groups)
        }
        downsampler = stride.map { HunyuanConv(scope / "downsamplers" / 0 / "conv", output, output, stride: $0) }
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
        let hidden = blocks.reduce(x) { $1($0) }
        return downsampler.map { $0(hidden) } ?? hidden
    }
}

/// Residual blocks, then nearest-neighbour upsampling and a convolution.
struct HunyuanUpBlock: Sendable {
    /// How many times longer, higher and wider the result is.
    struct Factors: Sendable {
        let time: Int
        let space: Int
    }

    private let blocks: [HunyuanResBlock]
    private let upsampler: HunyuanConv?
    private let factors: Factors

    init(
        _ scope: WeightScope, _ input: Int, _ output: Int, _ factors: Factors?,
        _ configuration: HunyuanVAEConfiguration
    ) {
        blocks = (0...configuration.layersPerBlock).map {
            HunyuanResBlock(scope / "resnets" / $0, $0 == 0 ? input : output, output, groups: configuration.groups)
        }
        upsampler = factors.map { _ in HunyuanConv(scope / "upsamplers" / 0 / "conv", output, output) }
        self.factors = factors ?? Factors(time: 1, space: 1)
    }

    /// The first frame stays alone in time.
    func callAsFunction(_ x: Tensor) -> Tensor {
        let hidden = blocks.reduce(x) { $1($0) }
        guard let upsampler else { return hidden }
        let wide = factors.space == 2 ? hidden.session.upsampleNearest(hidden) : hidden
        let frames = (0..<wide.shape[0]).flatMap { index in
            Array(repeating: wide.selected(0, index), count: index == 0 ? 1 : factors.time)
        }
        return upsampler(frames)
    }
}
