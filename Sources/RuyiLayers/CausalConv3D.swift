import RuyiFiles
import RuyiTensor

/// How a convolution sees the frames before and after a chunk of a video.
public enum ChunkMode: Sendable {
    /// The first frame is repeated in front; nothing follows.
    case replicated
    /// One frame of zeros on both sides; the chunk is a single frame that is not stretched in time.
    case single
    /// One frame of zeros on both sides.
    case independent
    /// The remembered last frames of the chunk before stand in front, at the beginning the first frame repeated.
    case continuing
}

/// What the convolutions of a network remember from one chunk of a video to the next.
public final class TemporalMemory {
    fileprivate var frames: [String: [Tensor]] = [:]

    /// An empty memory.
    public init() {}
}

/// A chunk of a video on its way through a network.
public struct Chunk {
    public let mode: ChunkMode
    public let memory: TemporalMemory

    public init(_ mode: ChunkMode, memory: TemporalMemory = TemporalMemory()) {
        self.mode = mode
        self.memory = memory
    }
}

/// A 3D convolution over `[T, C, H, W]` whose padding in time depends on the chunk, by choosing frames, not copying.
public struct CausalConv3D: Sendable {
    public let weight: Weight
    public let bias: Weight
    private let path: String
    private let kernel: Int
    private let stride: ConvolutionStride

    /// Takes `weight` `[output, input, kernel, kernel, kernel]` and `bias` `[output]`.
    public init(_ scope: WeightScope, _ input: Int, _ output: Int, kernel: Int = 3, stride: ConvolutionStride = .one) {
        weight = scope.take("weight", [output, input, kernel, kernel, kernel])
        bias = scope.take("bias", [output])
        path = scope.prefix
        self.kernel = kernel
        self.stride = stride
    }

    /// A stride of one pads with zeros all around; a larger one pads one row and column at the bottom and right.
    public func callAsFunction(_ x: Tensor, _ chunk: Chunk, residual: Tensor? = nil) -> Tensor {
        let border = kernel / 2
        let padding =
            stride.height == 1 ? SpatialPadding(before: border, after: border) : SpatialPadding(before: 0, after: 1)
        return x.session.convolution(
            timeline(x.frames, chunk), weight: weight, bias: bias, stride: stride, padding: padding, residual: residual)
    }

    /// The same for frames whose height and width are doubled before.
    public func ofDoubled(_ x: Tensor, _ chunk: Chunk) -> Tensor {
        x.session.convolutionDoubled(timeline(x.frames, chunk), weight: weight, bias: bias, border: .zeros)
    }

    private func timeline(_ frames: [Tensor], _ chunk: Chunk) -> [Tensor?] {
        let past = kernel - 1
        guard past > 0, let start = frames.first else { return frames }
        switch chunk.mode {
        case .replicated: return Array(repeating: start, count: past) + frames
        case .single, .independent:
            let zeros = [Tensor?](repeating: nil, count: past / 2)
            return zeros + frames + zeros
        case .continuing:
            let all = (chunk.memory.frames[path] ?? Array(repeating: start, count: past)) + frames
            // A view of one frame keeps the memory of all of them: it is copied, unless it is alone.
            chunk.memory.frames[path] = all.suffix(past).map { frame in
                frame.storedByteCount > 2 * frame.byteCount ? frame.session.copy(frame) : frame
            }
            return all
        }
    }
}
