import RuyiTensor

/// The element types that torch storages can have here.
enum PickleType: Sendable, Equatable {
    case supported(DType)
    /// Known, but tensors do not have it: its name and bytes of one element.
    case other(String, Int)

    var byteCount: Int {
        switch self {
        case .supported(let dtype): dtype.byteCount
        case .other(_, let count): count
        }
    }

    var dtype: DType? { if case .supported(let dtype) = self { dtype } else { nil } }
}

/// The only names that a pickle may refer to.
enum PickleGlobal: Sendable, CustomStringConvertible {
    case orderedDict
    case rebuildTensor2
    case rebuildTensor3
    case rebuildParameter
    case storage(PickleType)
    case untypedStorage
    case type(PickleType)

    /// The meaning of a module and a name; nil for every other, which is refused.
    init?(module: String, name: String) {
        switch (module, name) {
        case ("collections", "OrderedDict"): self = .orderedDict
        case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor2
        case ("torch._utils", "_rebuild_tensor_v3"): self = .rebuildTensor3
        case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
        case ("torch.storage", "UntypedStorage"), ("torch", "UntypedStorage"): self = .untypedStorage
        case ("torch", _):
            if let type = PickleGlobal.storages[name] {
                self = .storage(type)
            } else if let type = PickleGlobal.types[name] {
                self = .type(type)
            } else {
                return nil
            }
        default: return nil
        }
    }

    var description: String {
        switch self {
        case .orderedDict: "collections.OrderedDict"
        case .rebuildTensor2: "torch._utils._rebuild_tensor_v2"
        case .rebuildTensor3: "torch._utils._rebuild_tensor_v3"
        case .rebuildParameter: "torch._utils._rebuild_parameter"
        case .storage, .untypedStorage: "a storage class"
        case .type: "a torch type"
        }
    }

    private static let storages: [String: PickleType] = [
        "FloatStorage": .supported(.f32), "DoubleStorage": .supported(.f64), "HalfStorage": .supported(.f16),
        "BFloat16Storage": .supported(.bf16), "LongStorage": .supported(.i64), "IntStorage": .supported(.i32),
        "ShortStorage": .supported(.i16), "CharStorage": .supported(.i8), "ByteStorage": .supported(.u8),
        "BoolStorage": .supported(.bool), "Float8_e4m3fnStorage": .supported(.f8e4m3),
        "Float8_e5m2Storage": .supported(.f8e5m2), "ComplexFloatStorage": .other("complex64", 8),
        "ComplexDoubleStorage": .other("complex128", 16),
    ]

    private static let types: [String: PickleType] = [
        "float32": .supported(.f32), "float64": .supported(.f64), "float16": .supported(.f16),
        "bfloat16": .supported(.bf16), "int64": .supported(.i64), "int32": .supported(.i32),
        "int16": .supported(.i16), "int8": .supported(.i8), "uint8": .supported(.u8), "bool": .supported(.bool),
        "float8_e4m3fn": .supported(.f8e4m3), "float8_e5m2": .supported(.f8e5m2), "uint16": .other("uint16", 2),
        "uint32": .other("uint32", 4), "uint64": .other("uint64", 8), "complex64": .other("complex64", 8),
        "float8_e4m3fnuz": .other("float8_e4m3fnuz", 1), "float8_e5m2fnuz": .other("float8_e5m2fnuz", 1),
        "float8_e8m0fnu": .other("float8_e8m0fnu", 1),
    ]

    /// The opcodes that are not read, for messages.
    static let refusedOpcodes: [UInt8: String] = [
        UInt8(ascii: "i"): "INST", UInt8(ascii: "o"): "OBJ", UInt8(ascii: "P"): "PERSID", 0x81: "NEWOBJ",
        0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x92: "NEWOBJ_EX", UInt8(ascii: "F"): "FLOAT",
        UInt8(ascii: "I"): "INT", UInt8(ascii: "L"): "LONG", UInt8(ascii: "S"): "STRING",
        UInt8(ascii: "V"): "UNICODE", UInt8(ascii: "g"): "GET", UInt8(ascii: "p"): "PUT", 0x8B: "LONG4",
        0x8E: "BINBYTES8", 0x8D: "BINUNICODE8", 0x8F: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET",
        0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER", UInt8(ascii: "B"): "BINBYTES",
        UInt8(ascii: "C"): "SHORT_BINBYTES", UInt8(ascii: "T"): "BINSTRING", UInt8(ascii: "U"): "SHORT_BINSTRING",
    ]
}
