import RuyiTensor

/// The arithmetic of what takes most of the time; encoders, norms, softmax and sums are float32 always.
public enum Precision: String, Sendable, CaseIterable {
    /// Weights as stored, float32 arithmetic.
    case float32
    /// Operands of the transformer's and the decoder's products, attention and convolutions rounded to bf16.
    case bf16
    /// The same rounded to f16, on GPUs.
    case f16
    /// The operands of the transformer's large linear layers in 8 bits, with exact sums.
    case int8

    /// What products, attention and convolutions multiply.
    public var arithmetic: Arithmetic {
        switch self {
        case .bf16: .bf16
        case .f16: .f16
        case .float32, .int8: .float32
        }
    }
}

/// Which layers of a transformer are rounded to 8-bit floating-point numbers, as the reference's loader offers it.
public enum FP8QuantMode: String, Sendable, CaseIterable {
    /// Weights as stored.
    case none
    /// The linear layers with more weights than a square one of the model's width.
    case lite
    /// Those, and the square ones.
    case strong
    /// Every linear layer and most norms.
    case extreme
}

/// The 8-bit floating-point types of the reference's loader.
public enum FP8DataType: String, Sendable, CaseIterable {
    /// The reference's choice, which is `fp8_e4m3fn`.
    case auto
    /// Four bits of exponent, three of mantissa.
    case e4m3 = "fp8_e4m3fn"
    /// Five bits of exponent, two of mantissa.
    case e5m2 = "fp8_e5m2"

    /// The tensor type.
    var dtype: DType { self == .e5m2 ? .f8e5m2 : .f8e4m3 }
}
