/// The primitive operations, which every backend has; nothing above this room names a device.
///
/// Activations have the backend's type. Weights may have any floating-point type and are read where they lie. Every
/// operation returns a new tensor and checks shapes by precondition; `Reference` says by plain loops what each of them
/// means.
///
/// Fusion is the backend's business: it may put a product off until it sees what is done with it, so that
/// `residual + gate * output(x)` costs no more than the product.
public protocol Operations: AnyObject, Sendable {
    // MARK: Memory

    /// New memory with undefined contents.
    func empty(_ shape: [Int]) -> Tensor
    /// A tensor of one number.
    func filled(_ shape: [Int], _ value: Float) -> Tensor
    /// A contiguous copy.
    func copy(_ x: Tensor) -> Tensor
    /// The tensors one after the other along `axis`.
    func concatenate(_ parts: [Tensor], axis: Int) -> Tensor
    /// The rows of a table `[rows, C]` at these places, `[places, C]`.
    func gather(_ table: Weight, _ places: [Int]) -> Tensor
    /// The rows of a table `[rows, C]` at these places, `[places, C]`.
    func gather(_ table: Tensor, _ places: [Int]) -> Tensor
    /// Nearest-neighbour doubling of the last two axes of x `[T, C, H, W]`.
    func upsampleNearest(_ x: Tensor) -> Tensor

    // MARK: Weights of another type

    /// A copy of a projection's matrix `[N, K]` in 8 bits: each row by its largest magnitude to −127...127, NaN staying NaN
    /// (`RowQuantization`); nil for one that cannot be quantised. One of 8-bit integers with a scale for each row keeps
    /// them, any other has no scale. A product with it has both operands in 8 bits: each row of x is quantised by its own
    /// largest magnitude, sums are exact. It belongs to `unit`.
    func quantized(_ projection: Projection, in unit: ResidencyUnit) -> Weight?
    /// A contiguous copy of a weight rounded to an 8-bit floating-point type, `f8e4m3` or `f8e5m2`.
    func narrowed(_ weight: Weight, to dtype: DType) -> Weight

    // MARK: Products

    /// `activation(x (scale · W)ᵀ + b)`. x `[B, ..., K]`, result `[B, ..., N]`.
    func linear(_ x: Tensor, _ projection: Projection, _ activation: Activation) -> Tensor
    /// `outer([beside, activation(inner(x))])` over the last axis, a few thousand rows at a time, so that the wide
    /// values of a long sequence never exist together. x `[B, ..., K]`, beside `[B, ..., L]`, if there is any.
    func feedForward(
        _ x: Tensor, inner: Projection, _ activation: Activation, outer: Projection, beside: Tensor?
    ) -> Tensor
    /// `softmax(q kᵀ · scale + bias) v` per head with an online softmax; the scores are never stored.
    ///
    /// q `[B, Nq, H·d]`, k and v `[B, Nk, G·d]`, result `[B, Nq, H·d]`. With fewer heads of k and v than of q, head h
    /// uses `h / (H/G)` (Ainslie et al. 2023, grouped-query attention). A query all of whose scores are −∞ gives zeros,
    /// one with a score of NaN or +∞ gives NaN.
    func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float, options: AttentionOptions) -> Tensor
    /// Convolution over a timeline of frames `[C, H, W]`, in which nil is a frame of zeros. weight
    /// `[O, C, kt, kh, kw]`; result `[T, O, H', W']` with `T = (timeline − kt) / stride + 1`.
    func convolution(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, stride: ConvolutionStride, padding: SpatialPadding,
        residual: Tensor?
    ) -> Tensor

    /// Convolution with kernels of 3 x 3 in space, a border of one and stride one over frames whose rows and columns are
    /// doubled by nearest neighbours, which need not exist at that size: timeline of frames `[C, H, W]`, weight
    /// `[O, C, kt, 3, 3]`, result `[T, O, 2H, 2W]`.
    func convolutionDoubled(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, border: SpatialPadding.Border
    ) -> Tensor

    // MARK: Norms

    /// `((x − mean) / sqrt(variance + ε) · weight + bias) · (1 + scale) + shift` over the last axis.
    /// x `[B, ..., C]`, weight and bias `[C]`, scale and shift of each run of tokens.
    func layerNorm(
        _ x: Tensor, weight: Weight?, bias: Weight?, epsilon: Float, scale: TokenRows?, shift: TokenRows?
    ) -> Tensor
    /// Layer norm over each head's `d` values of x `[B, N, H·d]`, then rotation by `rotary`.
    func headNorm(
        _ x: Tensor, heads: Int, weight: Weight, bias: Weight, epsilon: Float, rotary: RotaryTable?
    ) -> Tensor
    /// `x / sqrt(mean(x²) + ε) · weight` over the last axis (Zhang and Sennrich 2019, RMSNorm); weight `[C]`.
    func rmsNorm(_ x: Tensor, weight: Weight, epsilon: Float) -> Tensor
    /// RMS norm over each head's `d` values of x `[B, N, H·d]`, then rotation by `rotary`.
    func headRMSNorm(_ x: Tensor, heads: Int, weight: Weight, epsilon: Float, rotary: RotaryTable?) -> Tensor
    /// Group norm of x `[T, C, H, W]` over `(C/groups, H, W)` of each frame, or of all frames together, then the
    /// activation.
    func groupNorm(
        _ x: Tensor, groups: Int, weight: Weight, bias: Weight, epsilon: Float, perFrame: Bool, activation: Activation
    ) -> Tensor
    /// Mean and variance of each group of channels over all frames of the parts `[T, C, H, W]` of a video, `[groups, 2]`.
    func groupStatistics(_ parts: [Tensor], groups: Int) -> Tensor
    /// Group norm of x `[T, C, H, W]` by such statistics, then the activation.
    func groupNorm(
        _ x: Tensor, statistics: Tensor, weight: Weight, bias: Weight, epsilon: Float, activation: Activation
    ) -> Tensor

    // MARK: Element by element

    /// The activation of every element.
    func activate(_ x: Tensor, _ activation: Activation) -> Tensor
    /// `e^x` of every element.
    func exponential(_ x: Tensor) -> Tensor
    /// `left · activation(right)` where x `[..., 2C]` holds left and right side by side.
    func gated(_ x: Tensor, _ activation: Activation) -> Tensor
    /// `a · x + b · y`; y has x's shape or repeats over x's leading axes.
    func combine(_ x: Tensor, _ a: Float, _ y: Tensor, _ b: Float) -> Tensor
    /// `x · y`; y has x's shape, repeats over x's leading axes, or is one number.
    func multiply(_ x: Tensor, _ y: Tensor) -> Tensor
    /// Every token of x `[B, ..., C]` times the row of its run.
    func multiply(_ x: Tensor, rows: TokenRows) -> Tensor
    /// `x · factor + term`, limited to `range` if given.
    func scale(_ x: Tensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?) -> Tensor

    // MARK: Statistics

    /// The mean of `|x − y|`, or of `|x|`, `[1]`.
    func meanMagnitude(_ x: Tensor, minus y: Tensor?) -> Tensor
    /// How much frames attend to one another, `[1]`: the mean of `softmax(q kᵀ · scale)` off its diagonal, where each
    /// place attends over the frames only. q and k `[B, frames · places, H·d]`, frame after frame; at least two frames.
    func crossFrameAttention(_ q: Tensor, _ k: Tensor, frames: Int, heads: Int, scale: Float) -> Tensor
}

extension Operations {
    /// `x (scale · W)ᵀ + b`.
    public func linear(_ x: Tensor, _ projection: Projection) -> Tensor { linear(x, projection, .none) }

    /// Attention over all keys as they are.
    public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float) -> Tensor {
        attention(q, k, v, heads: heads, scale: scale, options: AttentionOptions())
    }

    /// The frames doubled, each once, and then their convolution.
    public func convolutionDoubled(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, border: SpatialPadding.Border
    ) -> Tensor {
        convolutionOfDoubled(timeline, weight: weight, bias: bias, border: border)
    }

    /// The same for kernels and frames of any size.
    package func convolutionOfDoubled(
        _ timeline: [Tensor?], weight: Weight, bias: Weight?, border: SpatialPadding.Border
    ) -> Tensor {
        var doubled: (of: Tensor, frame: Tensor)?
        let frames = timeline.map { frame -> Tensor? in
            guard let frame else { return nil }
            if let doubled, frame.isSame(as: doubled.of) { return doubled.frame }
            let large = upsampleNearest(frame.expanded(at: 0)).selected(0, 0)
            doubled = (frame, large)
            return large
        }
        return convolution(
            frames, weight: weight, bias: bias, stride: .one,
            padding: SpatialPadding(before: 1, after: 1, border: border), residual: nil)
    }

    /// `Σ aᵢ·xᵢ` over tensors of one shape, added in the order given.
    public func combination(_ terms: [(factor: Float, tensor: Tensor)]) -> Tensor {
        guard let first = terms.first else { preconditionFailure("a combination needs a term") }
        guard terms.count > 1 else { return scale(first.tensor, by: first.factor, plus: 0, clampedTo: nil) }
        let start = combine(first.tensor, first.factor, terms[1].tensor, terms[1].factor)
        return terms.dropFirst(2).reduce(start) { combine($0, 1, $1.tensor, $1.factor) }
    }
}
