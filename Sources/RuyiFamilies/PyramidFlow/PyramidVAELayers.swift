import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor

// The building blocks of CausalVideoVAE (specification section 8.1). Videos are [T, C, H, W].

private let normEpsilon: Float = 1e-6

/// A chunk of a video on its way through a network.
struct PyramidChunk {
    /// Whether the video begins with it, so that its first frame stands alone in time.
    let isStart: Bool
    /// What was seen before; nil where the chunk is the whole video.
    let memory: FrameMemory?
    /// What was seen before by the layers that work frame by frame.
    let frameMemory: FrameMemory

    /// Frame by frame, where only the first of the video stands alone in time.
    func frame(_ index: Int) -> PyramidChunk {
        PyramidChunk(isStart: isStart && index == 0, memory: frameMemory, frameMemory: frameMemory)
    }
}

/// Norm, SiLU, convolution, twice, around a shortcut.
struct PyramidResBlock: Sendable {
    private let norm1, norm2: GroupNorm
    private let conv1, conv2: StreamedConv3D
    private let shortcut: StreamedConv3D?

    init(_ scope: WeightScope, _ input: Int, _ output: Int, groups: Int) {
        norm1 = GroupNorm(scope / "norm1", input, groups: groups, epsilon: normEpsilon)
        norm2 = GroupNorm(scope / "norm2", output, groups: groups, epsilon: normEpsilon)
        conv1 = StreamedConv3D(scope / "conv1" / "conv", input, output)
        conv2 = StreamedConv3D(scope / "conv2" / "conv", output, output)
        shortcut =
            input == output ? nil : StreamedConv3D(scope / "conv_shortcut" / "conv", input, output, kernel: 1)
    }

    func callAsFunction(_ x: Tensor, _ chunk: PyramidChunk) -> Tensor {
        let hidden = conv1(norm1(x, perFrame: true, .silu), chunk.memory)
        let residual = shortcut.map { $0(x, chunk.memory) } ?? x
        return conv2(norm2(hidden, perFrame: true, .silu), chunk.memory, residual: residual)
    }
}

/// Attention over the positions of each frame, one head.
struct PyramidVAEAttention: Sendable {
    private let norm: GroupNorm
    private let query, key, value, output: Linear

    /// Takes the weights under the names of diffusers, or those that it had before.
    init(_ scope: WeightScope, _ width: Int, groups: Int) {
        let isOld = scope.has("query.weight") && !scope.has("to_q.weight")
        norm = GroupNorm(scope / "group_norm", width, groups: groups, epsilon: normEpsilon)
        query = Linear(scope / (isOld ? "query" : "to_q"), width, width)
        key = Linear(scope / (isOld ? "key" : "to_k"), width, width)
        value = Linear(scope / (isOld ? "value" : "to_v"), width, width)
        output = Linear(isOld ? scope / "proj_attn" : scope / "to_out" / 0, width, width)
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
        let (frames, width, area) = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        let session = x.session
        let normed = norm(x, perFrame: true).reshaped([frames, width, area])
        let tokens = session.copy(normed.permuted([0, 2, 1]))  // [T, H · W, C]
        let attended = session.attention(
            query(tokens), key(tokens), value(tokens), heads: 1, scale: 1 / Float(width).squareRoot())
        return x + session.copy(output(attended).permuted([0, 2, 1])).reshaped(x.shape)
    }
}

/// Two residual blocks around attention.
struct PyramidMidBlock: Sendable {
    private let first, last: PyramidResBlock
    private let attention: PyramidVAEAttention

    init(_ scope: WeightScope, _ width: Int, groups: Int) {
        first = PyramidResBlock(scope / "resnets" / 0, width, width, groups: groups)
        attention = PyramidVAEAttention(scope / "attentions" / 0, width, groups: groups)
        last = PyramidResBlock(scope / "resnets" / 1, width, width, groups: groups)
    }

    /// Stages are recorded behind `place`.
    func callAsFunction(_ x: Tensor, _ chunk: PyramidChunk, _ trace: StageTrace?, _ place: String) -> Tensor {
        let hidden = first(x, chunk)
        trace?.recordVideo(place + "mid.resnet0", hidden)
        let attended = attention(hidden)
        trace?.record(place + "mid.attn", attended)
        let result = last(attended, chunk)
        trace?.recordVideo(place + "mid", result)
        return result
    }
}

/// Residual blocks, then convolutions that halve width and height, and time.
struct PyramidDownBlock: Sendable {
    private let blocks: [PyramidResBlock]
    private let downsamplers: [StreamedConv3D]

    init(_ scope: WeightScope, _ input: Int, _ output: Int, layers: Int, groups: Int, halves: Bool) {
        blocks = (0..<layers).map {
            PyramidResBlock(scope / "resnets" / $0, $0 == 0 ? input : output, output, groups: groups)
        }
        let samplings = [
            ("downsamplers", ConvolutionStride(1, 2, 2)), ("temporal_downsamplers", ConvolutionStride(2, 1, 1)),
        ]
        downsamplers =
            halves
            ? samplings.map { StreamedConv3D(scope / $0 / 0 / "conv" / "conv", output, output, stride: $1) } : []
    }

    func callAsFunction(_ x: Tensor, _ chunk: PyramidChunk) -> Tensor {
        let hidden = blocks.reduce(x) { $1($0, chunk) }
        return downsamplers.reduce(hidden) { $1($0, chunk.memory) }
    }
}

/// Residual blocks, then convolutions whose channels become twice the width and height, and twice the time.
struct PyramidUpBlock: Sendable {
    /// Channels of the result.
    let width: Int
    private let blocks: [PyramidResBlock]
    private let upsamplers: (space: StreamedConv3D, time: StreamedConv3D)?

    init(_ scope: WeightScope, _ input: Int, _ output: Int, layers: Int, groups: Int, doubles: Bool) {
        width = output
        blocks = (0..<layers).map {
            PyramidResBlock(scope / "resnets" / $0, $0 == 0 ? input : output, output, groups: groups)
        }
        upsamplers =
            doubles
            ? (
                StreamedConv3D(scope / "upsamplers" / 0 / "conv" / "conv", output, 4 * output),
                StreamedConv3D(scope / "temporal_upsamplers" / 0 / "conv" / "conv", output, 2 * output)
            ) : nil
    }

    func callAsFunction(_ x: Tensor, _ chunk: PyramidChunk) -> Tensor { doubled(narrow(x, chunk), chunk) }

    /// The residual blocks.
    func narrow(_ x: Tensor, _ chunk: PyramidChunk) -> Tensor { blocks.reduce(x) { $1($0, chunk) } }

    /// What follows them.
    func doubled(_ hidden: Tensor, _ chunk: PyramidChunk) -> Tensor {
        guard let upsamplers else { return hidden }
        let wide = PyramidUpBlock.spread(upsamplers.space(hidden, chunk.memory))
        let long = PyramidUpBlock.prolong(upsamplers.time(wide, chunk.memory))
        return chunk.isStart ? long.sliced(0, 1..<long.shape[0]) : long
    }

    /// Channels `(c, row, column)` of `[T, 4C, H, W]` as the rows and columns of `[T, C, 2H, 2W]`.
    private static func spread(_ x: Tensor) -> Tensor {
        let (frames, width, rows, columns) = (x.shape[0], x.shape[1] / 4, x.shape[2], x.shape[3])
        let parts = x.reshaped([frames, width, 2, 2, rows, columns])
        return x.session.copy(parts.permuted([0, 1, 4, 2, 5, 3])).reshaped([frames, width, 2 * rows, 2 * columns])
    }

    /// Channels `(c, frame)` of `[T, 2C, H, W]` as the frames of `[2T, C, H, W]`.
    private static func prolong(_ x: Tensor) -> Tensor {
        let (frames, width, rows, columns) = (x.shape[0], x.shape[1] / 2, x.shape[2], x.shape[3])
        let parts = x.reshaped([frames, width, 2, rows, columns])
        return x.session.copy(parts.permuted([0, 2, 1, 3, 4])).reshaped([2 * frames, width, rows, columns])
    }
}
