import RuyiFiles
import RuyiLayers
import RuyiTensor

// The building blocks of AutoencoderKLMagvit (specification section 6.1). Videos are [T, C, H, W].

private let normEpsilon: Float = 1e-6

/// Norm, SiLU, convolution, twice, around a shortcut.
struct RuyiResBlock: Sendable {
    let norm1, norm2: GroupNorm
    let conv1, conv2: CausalConv3D
    let shortcut: CausalConv3D?
    let perFrame: Bool

    init(_ scope: WeightScope, _ input: Int, _ output: Int, _ configuration: RuyiVAEConfiguration) {
        norm1 = GroupNorm(scope / "norm1", input, groups: configuration.groups, epsilon: normEpsilon)
        norm2 = GroupNorm(scope / "norm2", output, groups: configuration.groups, epsilon: normEpsilon)
        conv1 = CausalConv3D(scope / "conv1", input, output)
        conv2 = CausalConv3D(scope / "conv2", output, output)
        shortcut = input == output ? nil : CausalConv3D(scope / "shortcut", input, output, kernel: 1)
        perFrame = configuration.normalizesPerFrame
    }

    func callAsFunction(_ x: Tensor, _ chunk: Chunk) -> Tensor {
        let hidden = conv1(norm1(x, perFrame: perFrame, .silu), chunk)
        let residual = shortcut.map { $0(x, chunk) } ?? x
        return conv2(norm2(hidden, perFrame: perFrame, .silu), chunk, residual: residual)
    }
}

/// Attention over the positions of each frame, over the frames of each position, or over both together.
struct RuyiVAEAttention: Sendable {
    let norm: GroupNorm
    let query, key, value, output: Linear
    let heads: Int
    let kind: RuyiVAEConfiguration.AttentionKind

    init(
        _ scope: WeightScope, _ width: Int, _ kind: RuyiVAEConfiguration.AttentionKind,
        _ configuration: RuyiVAEConfiguration
    ) {
        norm = GroupNorm(scope / "group_norm", width, groups: configuration.groups, epsilon: normEpsilon)
        query = Linear(scope / "to_q", width, width)
        key = Linear(scope / "to_k", width, width)
        value = Linear(scope / "to_v", width, width)
        output = Linear(scope / "to_out", width, width)
        heads = configuration.attentionHeads
        self.kind = kind
    }

    func callAsFunction(_ x: Tensor) -> Tensor {  // [T, C, H, W]
        let (frames, width, area) = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        let session = x.session
        // The items that attention runs over: [items, C, positions, 1]; the norm is taken over each item.
        let items: Tensor
        switch kind {
        case .spatial, .spatialTemporal: items = x.reshaped([frames, width, area, 1])
        case .temporal: items = session.copy(x.reshaped([frames, width, area]).permuted([2, 1, 0])).expanded(at: 3)
        case .full:
            items = session.copy(x.reshaped([frames, width, area]).permuted([1, 0, 2])).reshaped([
                1, width, frames * area, 1,
            ])
        }
        let count = items.shape[2]
        let normed = norm(items, perFrame: true).reshaped([items.shape[0], width, count])
        let tokens = session.copy(normed.permuted([0, 2, 1]))  // [items, positions, C]
        let scale = 1 / Float(width / heads).squareRoot()
        let attended = output(session.attention(query(tokens), key(tokens), value(tokens), heads: heads, scale: scale))
        let change: Tensor
        switch kind {
        case .spatial, .spatialTemporal: change = session.copy(attended.permuted([0, 2, 1]))
        case .temporal: change = session.copy(attended.permuted([1, 2, 0]))
        case .full: change = session.copy(attended.reshaped([frames, area, width]).permuted([0, 2, 1]))
        }
        return x + change.reshaped(x.shape)
    }
}

/// Residual blocks with attention between them, at the lowest resolution.
struct RuyiMidBlock: Sendable {
    let first: RuyiResBlock
    let rest: [(attentions: [RuyiVAEAttention], block: RuyiResBlock)]

    init(_ scope: WeightScope, _ width: Int, _ configuration: RuyiVAEConfiguration) {
        first = RuyiResBlock(scope / "convs" / 0, width, width, configuration)
        rest = (1..<configuration.layersPerBlock).map { index in
            let place = scope / "attentions" / (index - 1)
            let attentions: [RuyiVAEAttention]
            switch (configuration.hasAttention, configuration.attention) {
            case (false, _): attentions = []
            case (true, .spatialTemporal):
                attentions = [
                    RuyiVAEAttention(place / 0, width, .spatial, configuration),
                    RuyiVAEAttention(place / 1, width, .temporal, configuration),
                ]
            case (true, let kind): attentions = [RuyiVAEAttention(place, width, kind, configuration)]
            }
            return (attentions, RuyiResBlock(scope / "convs" / index, width, width, configuration))
        }
    }

    func callAsFunction(_ x: Tensor, _ chunk: Chunk) -> Tensor {
        var hidden = first(x, chunk)
        for (attentions, block) in rest {
            for attention in attentions { hidden = attention(hidden) }
            hidden = block(hidden, chunk)
        }
        return hidden
    }
}

/// Residual blocks, then a convolution that halves height and width, and in some blocks the frames.
struct RuyiDownBlock: Sendable {
    let blocks: [RuyiResBlock]
    let downsampler: CausalConv3D?

    init(
        _ scope: WeightScope, _ input: Int, _ output: Int, stride: ConvolutionStride?,
        _ configuration: RuyiVAEConfiguration
    ) {
        blocks = (0..<configuration.layersPerBlock).map {
            RuyiResBlock(scope / "convs" / $0, $0 == 0 ? input : output, output, configuration)
        }
        downsampler = stride.map { CausalConv3D(scope / "downsampler" / "conv", output, output, stride: $0) }
    }

    func callAsFunction(_ x: Tensor, _ chunk: Chunk) -> Tensor {
        let hidden = blocks.reduce(x) { $1($0, chunk) }
        return downsampler.map { $0(hidden, chunk) } ?? hidden
    }
}

/// Residual blocks, then doubling of height and width with a convolution, and in some blocks of the frames.
struct RuyiUpBlock: Sendable {
    /// What the last layer of the block doubles.
    enum Upsampling: Sendable {
        case none, space, spaceAndTime
    }

    let blocks: [RuyiResBlock]
    let upsampler: CausalConv3D?
    let upsampling: Upsampling
    let interpolatesLinearly: Bool

    init(
        _ scope: WeightScope, _ input: Int, _ output: Int, _ upsampling: Upsampling,
        _ configuration: RuyiVAEConfiguration
    ) {
        blocks = (0...configuration.layersPerBlock).map {
            RuyiResBlock(scope / "convs" / $0, $0 == 0 ? input : output, output, configuration)
        }
        upsampler = upsampling == .none ? nil : CausalConv3D(scope / "upsampler" / "conv", output, output)
        self.upsampling = upsampling
        interpolatesLinearly = !configuration.normalizesPerFrame
    }

    func callAsFunction(_ x: Tensor, _ chunk: Chunk) -> Tensor {
        let hidden = blocks.reduce(x) { $1($0, chunk) }
        guard let upsampler else { return hidden }
        let larger = upsampler.ofDoubled(hidden, chunk)
        return upsampling == .spaceAndTime ? doubled(larger, chunk.mode) : larger
    }

    /// The frames interpolated to twice their number; a repeated first frame stays single.
    private func doubled(_ x: Tensor, _ mode: ChunkMode) -> Tensor {
        switch mode {
        case .single: return x
        case .replicated:
            guard x.shape[0] > 1 else { return x }
            return x.session.concatenate([x.sliced(0, 0..<1), interpolated(x.sliced(0, 1..<x.shape[0]))], axis: 0)
        case .independent, .continuing: return interpolated(x)
        }
    }

    private func interpolated(_ x: Tensor) -> Tensor {
        let session = x.session
        let count = x.shape[0]
        let frames = (0..<2 * count).map { index -> Tensor in
            let nearest = x.sliced(0, index / 2..<index / 2 + 1)
            // Linear, align_corners=False: output i lies at (i + ½)/2 − ½, a quarter away from its nearest frame.
            let neighbour = min(max(index % 2 == 0 ? index / 2 - 1 : index / 2 + 1, 0), count - 1)
            guard interpolatesLinearly, neighbour != index / 2 else { return nearest }
            return session.combine(nearest, 0.75, x.sliced(0, neighbour..<neighbour + 1), 0.25)
        }
        return session.concatenate(frames, axis: 0)
    }
}
