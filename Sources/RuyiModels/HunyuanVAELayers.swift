import RuyiFiles
import RuyiLayers
import RuyiTensor

// The building blocks of AutoencoderKLHunyuanVideo (specification section 6.1). A video is a list of parts [T, C, H, W].

private let normEpsilon: Float = 1e-6

/// A convolution that sees past frames only: the first one is repeated in front, and the edge around every frame.
struct HunyuanConv: Sendable {
    private let weight: Weight
    private let bias: Weight
    private let kernel: Int
    private let stride: ConvolutionStride

    private var padding: SpatialPadding { SpatialPadding(before: kernel / 2, after: kernel / 2, border: .edge) }

    /// Takes `conv.weight` `[output, input, kernel, kernel, kernel]` and `conv.bias` `[output]`.
    init(_ scope: WeightScope, _ input: Int, _ output: Int, kernel: Int = 3, stride: ConvolutionStride = .one) {
        let place = scope / "conv"
        weight = place.take("weight", [output, input, kernel, kernel, kernel])
        bias = place.take("bias", [output])
        self.kernel = kernel
        self.stride = stride
    }

    /// The next part of a video; `past` are the last frames of the parts before, none at the beginning.
    func callAsFunction(_ part: Tensor, after past: inout [Tensor], residual: Tensor? = nil) -> Tensor {
        let frames = part.frames
        if past.isEmpty { past = Array(repeating: frames[0], count: kernel - 1) }
        let timeline = past + frames
        past = Array(timeline.suffix(kernel - 1))
        return part.session.convolution(
            timeline, weight: weight, bias: bias, stride: stride, padding: padding, residual: residual)
    }

    /// A video from all its frames `[C, H, W]`, which may occur several times; the parts have at most `limit` bytes.
    func callAsFunction(_ frames: [Tensor], limit: Int) -> [Tensor] {
        let shape = [
            weight.shape[0], (frames[0].shape[1] - 1) / stride.height + 1, (frames[0].shape[2] - 1) / stride.width + 1,
        ]
        return inParts(frames, shape, limit) { timeline in
            timeline[0].session.convolution(
                timeline, weight: weight, bias: bias, stride: stride, padding: padding, residual: nil)
        }
    }

    /// The same for frames whose height and width are doubled before.
    func ofDoubled(_ frames: [Tensor], limit: Int) -> [Tensor] {
        inParts(frames, [weight.shape[0], 2 * frames[0].shape[1], 2 * frames[0].shape[2]], limit) { timeline in
            timeline[0].session.convolutionDoubled(timeline, weight: weight, bias: bias, border: .edge)
        }
    }

    /// The parts of a result with frames of a shape, each from the frames that it sees.
    private func inParts(
        _ frames: [Tensor], _ shape: [Int], _ limit: Int, _ body: ([Tensor]) -> Tensor
    ) -> [Tensor] {
        let timeline = Array(repeating: frames[0], count: kernel - 1) + frames
        return videoParts((frames.count - 1) / stride.time + 1, of: shape, limit: limit).map { range in
            body(Array(timeline[range.lowerBound * stride.time..<(range.upperBound - 1) * stride.time + kernel]))
        }
    }
}

/// Norm, SiLU, convolution, twice, around a shortcut.
///
/// The norms' statistics are taken over all frames, and each part is let go when nothing needs it any more: two videos
/// of the result's size are the most that is there.
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

    func callAsFunction(_ video: inout [Tensor]) {
        let first = norm1.statistics(video)
        var (hidden, past, none): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
        for index in video.indices {
            hidden.append(conv1(norm1(video[index], first, .silu), after: &past))
            if let shortcut { video[index] = shortcut(video[index], after: &none) }
        }
        let second = norm2.statistics(hidden)
        past = []
        for index in video.indices {
            let normed = norm2(hidden.removeFirst(), second, .silu)
            video[index] = conv2(normed, after: &past, residual: video[index])
        }
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

    func callAsFunction(_ video: inout [Tensor], _ trace: StageTrace?) {
        let x = joined(video)
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
        let sum = x + session.copy(result.reshaped([frames, area, width]).permuted([0, 2, 1])).reshaped(x.shape)
        trace?.recordPositions("mid.attn.out", sum)
        video = [sum]
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

    func callAsFunction(_ video: inout [Tensor], _ trace: StageTrace?) {
        first(&video)
        attention?(&video, trace)
        last(&video)
        trace?.recordVideo("mid.out", video)
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

    func callAsFunction(_ video: inout [Tensor], limit: Int) {
        for block in blocks { block(&video) }
        if let downsampler { video = downsampler(video.flatMap(\.frames), limit: limit) }
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
    func callAsFunction(_ video: inout [Tensor], limit: Int) {
        for block in blocks { block(&video) }
        guard let upsampler else { return }
        let frames = video.flatMap(\.frames).enumerated().flatMap { index, frame in
            Array(repeating: frame, count: index == 0 ? 1 : factors.time)
        }
        video = factors.space == 2 ? upsampler.ofDoubled(frames, limit: limit) : upsampler(frames, limit: limit)
    }
}
