import RuyiFiles
import RuyiTensor

/// What the convolutions of a network remember from one part of a video to the next.
public final class FrameMemory {
    /// Whether every part is a single frame; convolutions with more inputs than outputs then remember sums.
    public let isFrameByFrame: Bool
    /// The last frames that a convolution saw, by its place.
    fileprivate var frames: [String: [Tensor?]] = [:]
    /// What the frames that a convolution saw add to its next results, by its place.
    fileprivate var sums: [String: [Tensor?]] = [:]
    /// Where all of that lies until it is needed, where memory is to be saved.
    fileprivate let shelf: (any TensorShelf)?

    /// An empty memory.
    public init(isFrameByFrame: Bool = false, on shelf: (any TensorShelf)? = nil) {
        (self.isFrameByFrame, self.shelf) = (isFrameByFrame, shelf)
    }

    /// What is remembered in the place of a tensor.
    fileprivate func shelved(_ x: Tensor) -> Tensor { x.session.shelved(x, on: shelf) }
}

/// A convolution over `[T, C, H, W]` that sees past frames only, zeros before the first one.
public struct StreamedConv3D: Sendable {
    /// `[output, input, frames, rows, columns]`.
    private let weight: Weight
    private let bias: Weight
    private let path: String
    private let stride: ConvolutionStride
    private let padding: SpatialPadding

    /// The frames that it sees at a time.
    private var depth: Int { weight.shape[2] }

    /// Takes `weight` `[output, input, kernel, kernel, kernel]` and `bias` `[output]`; around every frame are zeros.
    public init(_ scope: WeightScope, _ input: Int, _ output: Int, kernel: Int = 3, stride: ConvolutionStride = .one) {
        weight = scope.take("weight", [output, input, kernel, kernel, kernel])
        bias = scope.take("bias", [output])
        path = scope.prefix
        self.stride = stride
        padding = SpatialPadding(before: kernel / 2, after: kernel / 2)
    }

    /// A convolution of each frame alone, which takes `weight` `[output, input, kernel, kernel]` and `bias` `[output]`.
    public init(
        perFrame scope: WeightScope, _ input: Int, _ output: Int, kernel: Int = 3, stride: ConvolutionStride = .one,
        padding: SpatialPadding
    ) {
        weight = scope.take("weight", [output, input, kernel, kernel]).reshaped([output, input, 1, kernel, kernel])
        bias = scope.take("bias", [output])
        path = scope.prefix
        self.stride = stride
        self.padding = padding
    }

    /// The result for the frames of x, behind those that the memory has of it; without one x is the whole video.
    public func callAsFunction(_ x: Tensor, _ memory: FrameMemory?, residual: Tensor? = nil) -> Tensor {
        if let memory, memory.isFrameByFrame, depth > 1, stride == .one, weight.shape[0] < weight.shape[1] {
            let result = summed(x, memory)
            return residual.map { result + $0 } ?? result
        }
        return convolve(timeline(x.frames, memory), weight, bias, residual)
    }

    /// The same for frames whose height and width are doubled before, each as often in a row as is said.
    public func ofDoubled(_ x: Tensor, times: Int = 1, _ memory: FrameMemory?) -> Tensor {
        let frames = x.frames.flatMap { Array(repeating: $0, count: times) }
        return x.session.convolutionDoubled(timeline(frames, memory), weight: weight, bias: bias, border: .zeros)
    }

    private func convolve(_ timeline: [Tensor?], _ weight: Weight, _ bias: Weight?, _ residual: Tensor?) -> Tensor {
        let session = timeline.lazy.compactMap { $0 }.first?.session
        guard let session else { preconditionFailure("a convolution needs a frame") }
        return session.convolution(
            timeline, weight: weight, bias: bias, stride: stride, padding: padding, residual: residual)
    }

    /// The frames and those before them that the kernel reaches.
    ///
    /// A stride in time has used all but the last frame of the part before.
    private func timeline(_ frames: [Tensor], _ memory: FrameMemory?) -> [Tensor?] {
        guard depth > 1 else { return frames }
        let earlier = memory?.frames[path] ?? Array(repeating: nil, count: depth - 1)
        let all = earlier + frames
        guard let memory else { return all }
        // A view of one frame keeps the memory of all of them: it is copied, unless it is alone. Those of before lie well.
        let kept = all.indices.suffix(depth - stride.time).map { index -> Tensor? in
            guard index >= earlier.count, let frame = all[index] else { return all[index] }
            let shelved = memory.shelved(frame)
            let isView = shelved.storedByteCount > 2 * shelved.byteCount
            let kept = isView ? frame.session.copy(frame) : shelved
            // So that the same frame, when it comes again, is known.
            return kept.storage === frame.storage ? kept : kept.standing(for: frame)
        }
        memory.frames[path] = kept
        return all
    }

    /// The result for one frame, which remembers what the frame adds to the next results in place of the frame.
    private func summed(_ x: Tensor, _ memory: FrameMemory) -> Tensor {
        precondition(x.shape[0] == 1, "\(x.shape[0]) frames at a time are not frame by frame")
        let (frame, last) = (x.selected(0, 0), depth - 1)
        var sums = memory.sums[path] ?? Array(repeating: nil, count: last)
        memory.sums[path] = nil
        func add(_ place: Int, _ bias: Weight?) -> Tensor {
            // What is taken out of the list is freed when it has been added.
            convolve([frame], weight.sliced(2, place..<place + 1), bias, sums.removeFirst())
        }
        let result = add(last, bias)
        sums.append(nil)
        memory.sums[path] = (0..<last).reversed().map { memory.shelved(add($0, nil)) }
        return result
    }
}
