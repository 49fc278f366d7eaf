@_exported import enum RuyiKernelTable.Activation

/// The primitive operations, which the CPU implements; nothing above this room names a device.
///
/// Activations are contiguous `f32` unless an operation says otherwise. Weights may have any floating-point type and
/// are read where they lie. Every operation returns a new tensor and checks shapes by precondition.
public protocol Backend: AnyObject, Sendable {
    /// Memory in use and its peak.
    var memory: MemoryPool { get }
    /// The flag that makes operations end early; their results are then meaningless.
    var cancellation: Cancellation { get }

    /// Whether nothing is computed and memory only counted.
    var isMeasuring: Bool { get }
    /// Runs `body`; where work is only counted, it counts so many times.
    func counting<Result>(_ times: Double, _ body: () throws -> Result) rethrows -> Result

    /// New memory with undefined contents.
    func empty(_ shape: [Int]) -> Tensor
    /// A contiguous `f32` copy of a tensor of any type, strides and origin.
    func copy(_ x: Tensor) -> Tensor
    /// `residual + gate · activation(scale · x Wᵀ + b)`. x `[B, ..., K]`, weight `[N, K]` (or more axes that flatten to
    /// K), bias `[N]`, gate `[B, N]`, residual and result `[B, ..., N]`.
    func linear(
        _ x: Tensor, weight: Tensor, scale: Float, bias: Tensor?, activation: Activation, gate: Tensor?,
        residual: Tensor?
    ) -> Tensor
    /// A copy of a weight `[N, K]` in 8 bits: each row by its largest magnitude to −127...127, NaN staying NaN; nil for
    /// a weight that cannot be quantised. The values are undefined when the run was cancelled.
    func quantize(_ weight: Tensor) -> QuantizedWeight?
    /// `linear` with both operands in 8 bits: each row of x is quantised by its own largest magnitude, sums are exact.
    func linear(
        _ x: Tensor, weight: QuantizedWeight, bias: Tensor?, activation: Activation, gate: Tensor?, residual: Tensor?
    ) -> Tensor
    /// `softmax(q kᵀ · scale + bias) v` per head with an online softmax; the scores are never stored.
    ///
    /// q `[B, Nq, H·d]`, k and v `[B, Nk, G·d]`, result `[B, Nq, H·d]`. With fewer heads of k and v than of q, head h
    /// uses `h / (H/G)` (Ainslie et al. 2023, grouped-query attention). A query all of whose scores are −∞ gives zeros,
    /// one with a score of NaN or +∞ gives NaN.
    func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float, options: AttentionOptions) -> Tensor
    /// `((x − mean) / sqrt(variance + ε) · weight + bias) · (1 + scale) + shift` over the last axis.
    /// x `[B, ..., C]`, weight and bias `[C]`, scale and shift `[B, C]`.
    func layerNorm(
        _ x: Tensor, weight: Tensor?, bias: Tensor?, epsilon: Float, scale: Tensor?, shift: Tensor?
    ) -> Tensor
    /// Layer norm over each head's `d` values of x `[B, N, H·d]`, then rotation by `rotary`.
    func headNorm(
        _ x: Tensor, heads: Int, weight: Tensor, bias: Tensor, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor
    /// `x / sqrt(mean(x²) + ε) · weight` over the last axis (Zhang and Sennrich 2019, RMSNorm); weight `[C]`.
    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float) -> Tensor
    /// RMS norm over each head's `d` values of x `[B, N, H·d]`, then rotation by `rotary`.
    func headRMSNorm(_ x: Tensor, heads: Int, weight: Tensor, epsilon: Float, rotary: RotaryTable?) -> Tensor
    /// Group norm of x `[T, C, H, W]` over `(C/groups, H, W)` of each frame, or of all frames together, then the
    /// activation.
    func groupNorm(
        _ x: Tensor, groups: Int, weight: Tensor, bias: Tensor, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor
    /// Convolution over a timeline of frames `[C, H, W]`, in which nil is a frame of zeros. weight
    /// `[O, C, kt, kh, kw]`; result `[T, O, H', W']` with `T = (timeline − kt) / stride + 1`.
    func convolution(
        _ timeline: [Tensor?], weight: Tensor, bias: Tensor?, stride: ConvolutionStride, padding: SpatialPadding,
        residual: Tensor?
    ) -> Tensor
    /// The activation of every element.
    func activate(_ x: Tensor, _ activation: Activation) -> Tensor
    /// `e^x` of every element.
    func exponential(_ x: Tensor) -> Tensor
    /// `left · activation(right)` where x `[..., 2C]` holds left and right side by side.
    func gated(_ x: Tensor, _ activation: Activation) -> Tensor
    /// `a · x + b · y`; y has x's shape or repeats over x's leading axes.
    func combine(_ x: Tensor, _ a: Float, _ y: Tensor, _ b: Float) -> Tensor
    /// `x · y`; y has x's shape or repeats over x's leading axes.
    func multiply(_ x: Tensor, _ y: Tensor) -> Tensor
    /// `x · factor + term`, limited to `range` if given.
    func scale(_ x: Tensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?) -> Tensor
    /// The tensors one after the other along `axis`.
    func concatenate(_ parts: [Tensor], axis: Int) -> Tensor
    /// Nearest-neighbour doubling of the last two axes of x `[T, C, H, W]`.
    func upsampleNearest(_ x: Tensor) -> Tensor
    /// A contiguous copy of a tensor of any floating-point type, rounded to an 8-bit one, `f8e4m3` or `f8e5m2`; the
    /// values are undefined when the run was cancelled.
    func narrow(_ x: Tensor, to dtype: DType) -> Tensor
    /// The mean of `|x − y|`, or of `|x|`.
    func meanMagnitude(_ x: Tensor, minus y: Tensor?) -> Double
    /// How much frames attend to one another: the mean of `softmax(q kᵀ · scale)` off its diagonal, where each place
    /// attends over the frames only. q and k `[B, frames · places, H·d]`, frame after frame; at least two frames.
    func crossFrameAttention(_ q: Tensor, _ k: Tensor, frames: Int, heads: Int, scale: Float) -> Double
}

extension Backend {
    /// `linear` with a weight that is what it says.
    public func linear(
        _ x: Tensor, weight: Tensor, bias: Tensor?, activation: Activation, gate: Tensor?, residual: Tensor?
    ) -> Tensor {
        linear(x, weight: weight, scale: 1, bias: bias, activation: activation, gate: gate, residual: residual)
    }

    /// `linear` without a gate.
    public func linear(
        _ x: Tensor, weight: Tensor, bias: Tensor?, activation: Activation, residual: Tensor?
    ) -> Tensor {
        linear(x, weight: weight, bias: bias, activation: activation, gate: nil, residual: residual)
    }

    /// `linear` in 8 bits without a gate.
    public func linear(
        _ x: Tensor, weight: QuantizedWeight, bias: Tensor?, activation: Activation, residual: Tensor?
    ) -> Tensor {
        linear(x, weight: weight, bias: bias, activation: activation, gate: nil, residual: residual)
    }
}

/// Cosines and sines of rotary position embedding, `[positions, d]`; positions repeat for later tokens (frames).
public struct RotaryTable: Sendable {
    /// Which two values of a head are rotated together.
    public enum Pairing: Sendable {
        /// Neighbours, 2i and 2i + 1.
        case neighbours
        /// One of each half, i and i + d/2.
        case halves
    }

    public let cosines: Tensor
    public let sines: Tensor
    public let pairing: Pairing

    /// Both tables `[positions, d]`, contiguous `f32`.
    public init(cosines: Tensor, sines: Tensor, pairing: Pairing = .neighbours) {
        precondition(cosines.shape == sines.shape && cosines.rank == 2, "rotary tables must be [positions, d]")
        self.cosines = cosines
        self.sines = sines
        self.pairing = pairing
    }
}

/// The steps of a convolution in time, down and across.
public struct ConvolutionStride: Sendable, Equatable {
    public let time: Int
    public let height: Int
    public let width: Int

    public init(_ time: Int, _ height: Int, _ width: Int) {
        self.time = time
        self.height = height
        self.width = width
    }

    public static let one = ConvolutionStride(1, 1, 1)
}

/// Rows and columns around every frame.
public struct SpatialPadding: Sendable, Equatable {
    /// What they hold.
    public enum Border: Sendable {
        case zeros
        /// The nearest value of the frame.
        case edge
    }

    /// At the top and at the left.
    public let before: Int
    /// At the bottom and at the right.
    public let after: Int
    public let border: Border

    public init(before: Int, after: Int, border: Border = .zeros) {
        self.before = before
        self.after = after
        self.border = border
    }

    public static let none = SpatialPadding(before: 0, after: 0)
}

extension Tensor {
    /// The backend that this tensor's memory belongs to.
    public var backend: any Backend {
        guard let backend = storage.backend else {
            preconditionFailure("a tensor of a file or table has no backend; copy it to one first")
        }
        return backend
    }
}
