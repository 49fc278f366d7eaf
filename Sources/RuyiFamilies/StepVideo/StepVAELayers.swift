import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

// The building blocks of the VAE (specification section 7.1). Videos are [T, C, H, W]; a memory is there where they come
// frame by frame.

/// Statistics of each frame alone.
struct StepNorm: Sendable {
    private let norm: GroupNorm

    init(_ scope: WeightScope, _ width: Int) {
        norm = GroupNorm(scope, width, groups: StepVAEConfiguration.groups, epsilon: 1e-5)
    }

    func callAsFunction(_ x: Tensor, _ activation: Activation = .none) -> Tensor { norm(x, perFrame: true, activation) }
}

/// Norm, SiLU, convolution, twice, around a shortcut.
struct StepResBlock: Sendable {
    private let norm1, norm2: StepNorm
    private let conv1, conv2: StreamedConv3D
    private let shortcut: StreamedConv3D?

    init(_ scope: WeightScope, _ input: Int, _ output: Int) {
        norm1 = StepNorm(scope / "norm1", input)
        norm2 = StepNorm(scope / "norm2", output)
        conv1 = StreamedConv3D(scope / "conv1" / "conv", input, output)
        conv2 = StreamedConv3D(scope / "conv2" / "conv", output, output)
        shortcut = input == output ? nil : StreamedConv3D(scope / "nin_shortcut" / "conv", input, output, kernel: 1)
    }

    /// x goes as soon as it is used.
    func callAsFunction(_ x: consuming Tensor, _ memory: FrameMemory?) -> Tensor {
        // A shortcut is narrower than x: it is made first, so that x does not stay for its sake.
        let beside: Tensor
        if let shortcut { beside = shortcut(x, memory) } else { beside = copy x }
        let normed = norm1(consume x, .silu)
        // Nested, so that what is between goes as soon as it is used.
        return conv2(norm2(conv1(consume normed, memory), .silu), memory, residual: beside)
    }
}

/// Attention with one head, in which a position sees those before it: of earlier frames, and in its own frame of earlier
/// rows, and of its row up to itself.
struct StepVAEAttention: Sendable {
    private let norm: StepNorm
    private let query, key, value, output: Linear

    init(_ scope: WeightScope, _ width: Int) {
        func projection(_ name: String) -> Linear { Linear(scope / name / "conv", kernel: [width, 1, 1, 1], width) }
        norm = StepNorm(scope / "norm", width)
        (query, key, value) = (projection("q"), projection("k"), projection("v"))
        output = projection("proj_out")
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
        let (frames, width, area) = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        let session = x.session
        let normed = norm(x).reshaped([frames, width, area])
        let tokens = session.copy(normed.permuted([0, 2, 1])).reshaped([1, frames * area, width])
        let attended = session.attention(
            query(tokens), key(tokens), value(tokens), heads: 1, scale: 1 / Float(width).squareRoot(),
            options: AttentionOptions(mask: .causal(frames * area)))
        let result = output(attended).reshaped([frames, area, width])
        return x + session.copy(result.permuted([0, 2, 1])).reshaped(x.shape)
    }
}

/// Two residual blocks around attention, for a whole chunk.
struct StepMidBlock: Sendable {
    private let first, last: StepResBlock
    private let attention: StepVAEAttention

    init(_ scope: WeightScope, _ width: Int) {
        first = StepResBlock(scope / "block_1", width, width)
        attention = StepVAEAttention(scope / "attn_1", width)
        last = StepResBlock(scope / "block_2", width, width)
    }

    func callAsFunction(_ x: Tensor, _ trace: StageTrace?) -> Tensor {
        let attended = attention(first(x, nil))
        trace?.recordVideo("mid.attn_1", attended)
        let result = last(attended, nil)
        trace?.recordVideo("mid", result)
        return result
    }
}

/// The residual blocks of a level.
struct StepLevelBlocks: Sendable {
    private let blocks: [StepResBlock]

    /// Takes `block.0` and on.
    init(_ scope: WeightScope, _ input: Int, _ level: StepVAEConfiguration.Level) {
        blocks = (0..<level.blocks).map {
            StepResBlock(scope / "block" / $0, $0 == 0 ? input : level.width, level.width)
        }
    }

    func callAsFunction(_ x: consuming Tensor, _ memory: FrameMemory?, _ step: () throws -> Void) throws -> Tensor {
        var hidden = consume x
        for block in blocks {
            try step()
            hidden = block(consume hidden, memory)
        }
        return hidden
    }
}

/// A convolution that halves rows and columns, and frames.
struct StepDownsampler: Sendable {
    private let conv: StreamedConv3D

    init(_ scope: WeightScope, _ width: Int, _ sampling: StepVAEConfiguration.Sampling) {
        switch sampling {
        case .space:
            conv = StreamedConv3D(
                perFrame: scope / "conv", width, width, stride: ConvolutionStride(1, 2, 2),
                padding: SpatialPadding(before: 0, after: 1))
        case .spaceTime:
            conv = StreamedConv3D(scope / "conv" / "conv", width, width, stride: ConvolutionStride(2, 2, 2))
        }
    }

    func callAsFunction(_ x: Tensor) -> Tensor { conv(x, nil) }
}

/// Nearest-neighbour doubling of rows and columns, and of frames, then convolutions.
enum StepUpsampler: Sendable {
    case space(StreamedConv3D)
    case spaceTime(StepRefinement)

    init(_ scope: WeightScope, _ width: Int, _ sampling: StepVAEConfiguration.Sampling) {
        switch sampling {
        case .space:
            self = .space(
                StreamedConv3D(perFrame: scope / "conv", width, width, padding: SpatialPadding(before: 1, after: 1)))
        case .spaceTime: self = .spaceTime(StepRefinement(scope / "conv3d", width))
        }
    }

    /// Frames that come of one.
    var factor: Int {
        switch self {
        case .space: 1
        case .spaceTime: 2
        }
    }

    /// The result for a whole chunk.
    func callAsFunction(_ x: Tensor) -> Tensor {
        switch self {
        case .space(let conv): conv.ofDoubled(x, nil)
        case .spaceTime(let refinement): refinement(x, times: factor, nil)
        }
    }

    /// The next of the frames that come of one.
    func next(of x: Tensor, _ memory: FrameMemory) -> Tensor {
        switch self {
        case .space(let conv): conv.ofDoubled(x, memory)
        case .spaceTime(let refinement): refinement(x, times: 1, memory)
        }
    }
}

/// The doubling of rows and columns and of frames, and what follows it: convolution, norm, twice, and its input added
/// before and after a SiLU.
struct StepRefinement: Sendable {
    private let conv1, conv2: StreamedConv3D
    private let norm1, norm2: StepNorm

    init(_ scope: WeightScope, _ width: Int) {
        conv1 = StreamedConv3D(scope / "conv1" / "conv", width, width)
        conv2 = StreamedConv3D(scope / "conv2" / "conv", width, width)
        norm1 = StepNorm(scope / "norm1", width)
        norm2 = StepNorm(scope / "norm2", width)
    }

    /// The frames that come of each of x, of which so many are wanted.
    func callAsFunction(_ x: Tensor, times: Int, _ memory: FrameMemory?) -> Tensor {
        let session = x.session
        let change = norm2(conv2(norm1(conv1.ofDoubled(x, times: times, memory), .silu), memory))
        let wide = session.upsampleNearest(x)
        let long =
            times == 1
            ? wide
            : session.copy(wide.expanded(at: 1).repeated(1, times)).reshaped(
                [times * wide.shape[0]] + wide.shape.dropFirst())
        return session.activate(change + long, .silu) + long
    }
}
