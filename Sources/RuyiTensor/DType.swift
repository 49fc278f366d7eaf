/// The element types that a tensor can have.
///
/// Weights keep the type they have on disk; activations have the type of the backend, which is `f32` on the CPU.
///
/// The types of blocks, which are ggml's, keep neighbouring elements together with what scales them: places in storage
/// are still counted in elements, and only whole blocks have bytes. `Reference.unpack` says what a block means.
public enum DType: String, Sendable, CaseIterable {
    case f32, f16, bf16
    case f8e4m3, f8e5m2
    case f64
    case i64, i32, i16, i8, u8, bool
    /// 32 elements of so many bits with a scale.
    case q40 = "q4_0"
    case q50 = "q5_0"
    case q80 = "q8_0"
    /// 32 elements of so many bits with a scale and a minimum.
    case q41 = "q4_1"
    case q51 = "q5_1"
    /// 256 elements of so many bits, whose parts have scales in few bits of their own.
    case q2k = "q2_k"
    case q3k = "q3_k"
    case q4k = "q4_k"
    case q5k = "q5_k"
    case q6k = "q6_k"

    /// Elements that are kept together; 1 where each has bytes of its own.
    public var blockLength: Int {
        switch self {
        case .f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64, .i64, .i32, .i16, .i8, .u8, .bool: 1
        case .q40, .q50, .q80, .q41, .q51: 32
        case .q2k, .q3k, .q4k, .q5k, .q6k: 256
        }
    }

    /// Bytes of what is kept together: of a block, or of one element.
    public var blockByteCount: Int {
        switch self {
        case .f64, .i64: 8
        case .f32, .i32: 4
        case .f16, .bf16, .i16: 2
        case .f8e4m3, .f8e5m2, .i8, .u8, .bool: 1
        case .q40: 18
        case .q41: 20
        case .q50: 22
        case .q51: 24
        case .q80: 34
        case .q2k: 84
        case .q3k: 110
        case .q4k: 144
        case .q5k: 176
        case .q6k: 210
        }
    }

    /// Whether elements are kept in blocks.
    public var isBlocked: Bool { blockLength > 1 }

    /// Bytes of one element, of a type whose elements have bytes of their own.
    public var byteCount: Int {
        precondition(!isBlocked, "an element of \(self) has no bytes of its own")
        return blockByteCount
    }

    /// Bytes of the blocks that hold the first so many elements.
    public func byteCount(of count: Int) -> Int { (count + blockLength - 1) / blockLength * blockByteCount }

    /// Whether a weight may have this type.
    public var isFloat: Bool {
        switch self {
        case .f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64: true
        case .q40, .q41, .q50, .q51, .q80, .q2k, .q3k, .q4k, .q5k, .q6k: true
        case .i64, .i32, .i16, .i8, .u8, .bool: false
        }
    }
}
