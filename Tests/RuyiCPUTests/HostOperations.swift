import RuyiCPU
import RuyiTensor
import Testing

/// A backend's operations on tensors of the host: they are brought to it as they lie there, strides and all, and their
/// results are read.
struct HostOperations: Sendable, CustomTestStringConvertible {
    let backend: CPUBackend
    let session: any Session

    init(
        threads: Int, level: KernelLevel? = nil, cancellation: Cancellation = Cancellation(),
        arithmetic: Arithmetic = .float32
    ) {
        backend = CPUBackend(threads: threads, level: level)
        session = backend.session(cancellation, arithmetic: arithmetic)
    }

    var level: KernelLevel { backend.level }
    var testDescription: String { level.rawValue }

    /// A tensor of the session with the host's layout.
    func tensor(_ x: HostTensor) -> Tensor {
        guard x.dtype == .f32 else { return session.upload(x) }
        let whole = HostTensor(dtype: .f32, shape: [x.storage.byteCount / 4], storage: x.storage)
        return session.upload(whole).view(x.layout)
    }

    func weight(_ x: HostTensor) -> Weight { backend.weight(x, in: ResidencyUnit()) }

    func rows(_ x: HostTensor?, lengths: [Int]? = nil) -> TokenRows? {
        x.map { TokenRows(tensor($0), lengths: lengths) }
    }

    func read(_ x: Tensor) -> HostTensor { session.read(x) }

    /// `residual + gate · activation(scale · x Wᵀ + b)`.
    func linear(
        _ x: HostTensor, weight matrix: HostTensor, scale: WeightScale = .none, bias: HostTensor? = nil,
        activation: Activation = .none, gate: HostTensor? = nil, residual: HostTensor? = nil
    ) -> HostTensor {
        linear(
            x, Projection(.stored(weight(matrix)), scale: scale, bias: bias.map(weight)), activation, gate: gate,
            residual: residual)
    }

    func linear(
        _ x: HostTensor, _ projection: Projection, _ activation: Activation = .none, gate: HostTensor? = nil,
        residual: HostTensor? = nil
    ) -> HostTensor {
        var product = session.linear(tensor(x), projection, activation)
        if let gate = rows(gate) { product = gate * product }
        if let residual { product = tensor(residual) + product }
        return read(product)
    }

    func quantize(_ matrix: HostTensor, scale: WeightScale = .none) -> Weight? {
        session.quantized(Projection(.stored(weight(matrix)), scale: scale), in: ResidencyUnit())
    }

    /// The same with a quantised weight.
    func linear(
        _ x: HostTensor, weight: Weight, bias: HostTensor? = nil, activation: Activation = .none,
        gate: HostTensor? = nil, residual: HostTensor? = nil
    ) -> HostTensor {
        linear(x, Projection(weight, bias: bias.map(self.weight)), activation, gate: gate, residual: residual)
    }

    func attention(
        _ q: HostTensor, _ k: HostTensor, _ v: HostTensor, heads: Int, scale: Float,
        options: HostAttentionOptions = HostAttentionOptions()
    ) -> HostTensor {
        let bias: AttentionBias? =
            switch options.bias {
            case .alibi(let slopes): .alibi(slopes: slopes)
            case .alibiSquareRoot(let slopes): .alibiSquareRoot(slopes: slopes)
            case .tensor(let values): .tensor(tensor(values))
            case nil: nil
            }
        return read(
            session.attention(
                tensor(q), tensor(k), tensor(v), heads: heads, scale: scale,
                options: AttentionOptions(
                    mask: options.mask, bias: bias, queryRotary: options.queryRotary.map(table),
                    keyRotary: options.keyRotary.map(table))))
    }

    func table(_ rotary: HostRotary) -> RotaryTable {
        RotaryTable(cosines: tensor(rotary.cosines), sines: tensor(rotary.sines), pairing: rotary.pairing)
    }

    func layerNorm(
        _ x: HostTensor, weight: HostTensor?, bias: HostTensor?, epsilon: Float, scale: HostTensor?,
        shift: HostTensor?, lengths: [Int]? = nil
    ) -> HostTensor {
        read(
            session.layerNorm(
                tensor(x), weight: weight.map(self.weight), bias: bias.map(self.weight), epsilon: epsilon,
                scale: rows(scale, lengths: lengths), shift: rows(shift, lengths: lengths)))
    }

    func headNorm(
        _ x: HostTensor, heads: Int, weight: HostTensor, bias: HostTensor, epsilon: Float, rotary: HostRotary?
    ) -> HostTensor {
        read(
            session.headNorm(
                tensor(x), heads: heads, weight: self.weight(weight), bias: self.weight(bias), epsilon: epsilon,
                rotary: rotary.map(table)))
    }

    func rmsNorm(_ x: HostTensor, weight: HostTensor, epsilon: Float) -> HostTensor {
        read(session.rmsNorm(tensor(x), weight: self.weight(weight), epsilon: epsilon))
    }

    func headRMSNorm(
        _ x: HostTensor, heads: Int, weight: HostTensor, epsilon: Float, rotary: HostRotary?
    ) -> HostTensor {
        read(
            session.headRMSNorm(
                tensor(x), heads: heads, weight: self.weight(weight), epsilon: epsilon, rotary: rotary.map(table)))
    }

    func groupNorm(
        _ x: HostTensor, groups: Int, weight: HostTensor, bias: HostTensor, epsilon: Float, perFrame: Bool,
        activation: Activation
    ) -> HostTensor {
        read(
            session.groupNorm(
                tensor(x), groups: groups, weight: self.weight(weight), bias: self.weight(bias), epsilon: epsilon,
                perFrame: perFrame, activation: activation))
    }

    func convolution(
        _ timeline: [HostTensor?], weight: HostTensor, bias: HostTensor?, stride: ConvolutionStride,
        padding: SpatialPadding, residual: HostTensor?
    ) -> HostTensor {
        read(
            session.convolution(
                timeline.map { $0.map(tensor) }, weight: self.weight(weight), bias: bias.map(self.weight),
                stride: stride, padding: padding, residual: residual.map(tensor)))
    }

    func copy(_ x: HostTensor) -> HostTensor {
        read(x.dtype == .f32 ? session.copy(tensor(x)) : session.tensor(weight(x)))
    }

    func activate(_ x: HostTensor, _ activation: Activation) -> HostTensor {
        read(session.activate(tensor(x), activation))
    }

    func exponential(_ x: HostTensor) -> HostTensor { read(session.exponential(tensor(x))) }

    func gated(_ x: HostTensor, _ activation: Activation) -> HostTensor { read(session.gated(tensor(x), activation)) }

    func combine(_ x: HostTensor, _ a: Float, _ y: HostTensor, _ b: Float) -> HostTensor {
        read(session.combine(tensor(x), a, tensor(y), b))
    }

    func multiply(_ x: HostTensor, _ y: HostTensor) -> HostTensor { read(session.multiply(tensor(x), tensor(y))) }

    func scale(
        _ x: HostTensor, by factor: Float, plus term: Float, clampedTo range: ClosedRange<Float>?
    ) -> HostTensor {
        read(session.scale(tensor(x), by: factor, plus: term, clampedTo: range))
    }

    func concatenate(_ parts: [HostTensor], axis: Int) -> HostTensor {
        read(session.concatenate(parts.map(tensor), axis: axis))
    }

    func upsampleNearest(_ x: HostTensor) -> HostTensor { read(session.upsampleNearest(tensor(x))) }

    func narrow(_ x: HostTensor, to dtype: DType) -> HostTensor {
        session.narrowed(weight(x), to: dtype).elements
    }

    func meanMagnitude(_ x: HostTensor, minus y: HostTensor?) -> Double {
        Double(session.floats(session.meanMagnitude(tensor(x), minus: y.map(tensor)))[0])
    }

    func crossFrameAttention(_ q: HostTensor, _ k: HostTensor, frames: Int, heads: Int, scale: Float) -> Double {
        Double(
            session.floats(
                session.crossFrameAttention(tensor(q), tensor(k), frames: frames, heads: heads, scale: scale))[0])
    }
}

/// A rotary table of the host's.
struct HostRotary {
    let cosines: HostTensor
    let sines: HostTensor
    var pairing = RotaryTable.Pairing.neighbours
}

/// `AttentionOptions` with tensors of the host's.
struct HostAttentionOptions {
    var mask: AttentionMask?
    var bias: HostAttentionBias?
    var queryRotary: HostRotary?
    var keyRotary: HostRotary?
}

/// `AttentionBias` with a tensor of the host's.
enum HostAttentionBias {
    case alibi(slopes: [Float])
    case alibiSquareRoot(slopes: [Float])
    case tensor(HostTensor)
}
