/// The element types that a tensor can have.
///
/// Weights keep the type they have on disk; activations have the type of the backend, which is `f32` on the CPU.
public enum DType: String, Sendable, CaseIterable {
    case f32, f16, bf16
    case f8e4m3, f8e5m2
    case f64
    case i64, i32, i16, i8, u8, bool

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .f64, .i64: 8
        case .f32, .i32: 4
        case .f16, .bf16, .i16: 2
        case .f8e4m3, .f8e5m2, .i8, .u8, .bool: 1
        }
    }

    /// Whether a weight may have this type.
    public var isFloat: Bool {
        switch self {
        case .f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64: true
        case .i64, .i32, .i16, .i8, .u8, .bool: false
        }
    }
}
