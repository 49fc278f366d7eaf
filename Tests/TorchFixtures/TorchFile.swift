/// A tensor as torch saves it.
package struct TorchTensor {
    package let name: String
    /// The type by torch's name, such as `bfloat16`.
    package let type: String
    package let shape: [Int]
    package let bytes: [UInt8]

    package init(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) {
        self.name = name
        self.type = type
        self.shape = shape
        self.bytes = bytes
    }
}

/// Whole torch files.
package enum TorchFile {
    private static let storages = [
        "float32": "FloatStorage", "bfloat16": "BFloat16Storage", "float16": "HalfStorage", "int8": "CharStorage",
    ]

    /// The file of a dictionary of tensors inside others under `keys`, outermost first.
    ///
    /// Types without a storage class of their own, those of 8 bits, are written as newer versions of torch do it.
    package static func bytes(_ tensors: [TorchTensor], under keys: [String] = []) -> [UInt8] {
        var pickle = keys.reduce(PickleBuilder().op("}")) { $0.text($1).op("}") }
        var data: [String: [UInt8]] = [:]
        for (index, tensor) in tensors.enumerated() {
            let key = String(index)
            data[key] = tensor.bytes
            let count = tensor.shape.reduce(1, *)
            let strides = tensor.shape.indices.map { tensor.shape[($0 + 1)...].reduce(1, *) }
            pickle = pickle.item(tensor.name) {
                if let storage = storages[tensor.type] {
                    return $0.tensor(type: storage, key: key, count: count, shape: tensor.shape, strides: strides)
                }
                return $0.global("torch._utils", "_rebuild_tensor_v3").op("(")
                    .storage("UntypedStorage", key: key, count: tensor.bytes.count, module: "torch.storage").int(0)
                    .tuple(tensor.shape).tuple(strides).with([0x89]).op("}").global("torch", tensor.type).op("t").op(
                        "R")
            }
        }
        pickle = keys.reduce(pickle) { builder, _ in builder.op("s") }
        return ZipBuilder.torch(pickle.op(".").bytes, data).bytes
    }
}
