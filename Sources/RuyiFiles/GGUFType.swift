import RuyiTensor

/// A type that a GGUF file can store (`ggml_type`); not all of them can be computed with.
public struct GGUFType: Sendable, Equatable {
    /// ggml's name, such as `Q4_K`.
    public let name: String
    /// Elements that are kept together; 1 where each has bytes of its own.
    public let blockLength: Int
    /// Bytes of what is kept together.
    public let blockByteCount: Int
    /// The tensor type; nil for what tensors do not have.
    public let dtype: DType?

    private init(_ name: String, _ blockLength: Int, _ blockByteCount: Int) {
        (self.name, self.blockLength, self.blockByteCount) = (name, blockLength, blockByteCount)
        dtype = nil
    }

    private init(_ name: String, _ dtype: DType) {
        (self.name, self.dtype) = (name, dtype)
        (blockLength, blockByteCount) = (dtype.blockLength, dtype.blockByteCount)
    }

    /// The type of this number; nil for one that is not known.
    public init?(_ number: UInt32) {
        guard let type = GGUFType.all[number] else { return nil }
        self = type
    }

    /// Types by their numbers (`ggml.h`); what is missing has been given up.
    private static let all: [UInt32: GGUFType] = [
        0: GGUFType("F32", .f32), 1: GGUFType("F16", .f16), 2: GGUFType("Q4_0", .q40), 3: GGUFType("Q4_1", .q41),
        6: GGUFType("Q5_0", .q50), 7: GGUFType("Q5_1", .q51), 8: GGUFType("Q8_0", .q80), 9: GGUFType("Q8_1", 32, 40),
        10: GGUFType("Q2_K", .q2k), 11: GGUFType("Q3_K", .q3k), 12: GGUFType("Q4_K", .q4k), 13: GGUFType("Q5_K", .q5k),
        14: GGUFType("Q6_K", .q6k), 15: GGUFType("Q8_K", 256, 292), 16: GGUFType("IQ2_XXS", 256, 66),
        17: GGUFType("IQ2_XS", 256, 74), 18: GGUFType("IQ3_XXS", 256, 98), 19: GGUFType("IQ1_S", 256, 50),
        20: GGUFType("IQ4_NL", 32, 18), 21: GGUFType("IQ3_S", 256, 110), 22: GGUFType("IQ2_S", 256, 82),
        23: GGUFType("IQ4_XS", 256, 136), 24: GGUFType("I8", .i8), 25: GGUFType("I16", .i16),
        26: GGUFType("I32", .i32), 27: GGUFType("I64", .i64), 28: GGUFType("F64", .f64),
        29: GGUFType("IQ1_M", 256, 56), 30: GGUFType("BF16", .bf16), 34: GGUFType("TQ1_0", 256, 54),
        35: GGUFType("TQ2_0", 256, 66), 39: GGUFType("MXFP4", 32, 17),
    ]
}
