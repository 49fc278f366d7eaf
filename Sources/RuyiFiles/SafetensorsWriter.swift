import RuyiFault
import RuyiTensor

/// Writes tensors as a safetensors file that every reader takes.
public enum SafetensorsWriter {
    /// Writes a file, complete or not at all.
    ///
    /// The data are ordered by element size, largest first, and otherwise as given, so that all of it is aligned.
    ///
    /// - Parameters:
    ///   - tensors: names and tensors of any type, contiguous or strided.
    ///   - metadata: texts for `__metadata__`, written in the order of their keys.
    ///   - path: the file; its folder must exist.
    ///   - overwrite: whether an existing file is replaced.
    /// - Throws: `.cannotCreate` and `.io` as `AtomicFile`; `.software` for a name that readers would refuse: empty, of
    ///   more than 1,024 bytes, with a NUL, used twice, or `__metadata__`.
    public static func write(
        _ tensors: [(name: String, tensor: HostTensor)], metadata: [String: String] = [:], to path: String,
        overwrite: Bool = false
    ) throws(Fault) {
        let ordered = tensors.enumerated().sorted {
            ($1.element.tensor.dtype.blockByteCount, $0.offset) < ($0.element.tensor.dtype.blockByteCount, $1.offset)
        }.map(\.element)
        let entries = ordered.map { (name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) }
        let header = try header(of: entries, metadata: metadata, path: path)
        let file = try AtomicFile(path, overwrite: overwrite)
        try file.write(header)
        for (_, tensor) in ordered { try write(tensor, to: file) }
        try file.commit(overwrite: overwrite)
    }

    /// Writes a file whose data are made while it is written, complete or not at all.
    ///
    /// The data are ordered as `write(_:metadata:to:overwrite:)` orders them.
    ///
    /// - Parameters:
    ///   - entries: what the tensors will be.
    ///   - body: hands the bytes of the tensor of this index in `entries` to the function, in pieces of any size.
    /// - Throws: what `write(_:metadata:to:overwrite:)` and `body` throw.
    package static func write(
        _ entries: [(name: String, dtype: DType, shape: [Int])], metadata: [String: String], to path: String,
        overwrite: Bool = false, body: (Int, ([UInt8]) throws -> Void) throws -> Void
    ) throws {
        let order = entries.indices.sorted {
            (entries[$1].dtype.blockByteCount, $0) < (entries[$0].dtype.blockByteCount, $1)
        }
        let header = try header(of: order.map { entries[$0] }, metadata: metadata, path: path)
        let file = try AtomicFile(path, overwrite: overwrite)
        try file.write(header)
        for index in order {
            var left = Extent.product(entries[index].shape, times: entries[index].dtype.byteCount) ?? 0
            try body(index) { bytes in
                left -= bytes.count
                try file.write(bytes)
            }
            precondition(left == 0, "the tensor \(entries[index].name) got \(-left) bytes too many")
        }
        try file.commit(overwrite: overwrite)
    }

    /// The length and the header, padded with spaces to a multiple of 8 bytes.
    private static func header(
        of tensors: [(name: String, dtype: DType, shape: [Int])], metadata: [String: String], path: String
    ) throws(Fault) -> [UInt8] {
        var members = [JSON.Member]()
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }
            members.append(JSON.Member("__metadata__", .object(texts)))
        }
        var names: Set<String> = ["__metadata__"]
        var position = 0
        for (name, dtype, shape) in tensors {
            let isReadable = !name.isEmpty && name.utf8.count <= SafetensorsHeader.nameLimit && !name.utf8.contains(0)
            guard isReadable, names.insert(name).inserted else {
                throw Fault(.software, "\"\(name.prefix(120))\" cannot be the name of a tensor", at: path)
            }
            guard let type = SafetensorsType(dtype) else {
                throw Fault(.software, "\"\(name.prefix(120))\" is \(dtype.rawValue), which cannot be stored", at: path)
            }
            let end = position + shape.reduce(dtype.byteCount, *)
            let entry: JSON = [
                "dtype": .string(type.rawValue),
                "shape": .array(shape.map(JSON.int)),
                "data_offsets": [.int(position), .int(end)],
            ]
            members.append(JSON.Member(name, entry))
            position = end
        }
        var text = Array(JSON.object(members).text().utf8)
        text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
        guard text.count <= SafetensorsHeader.byteLimit else {
            throw Fault(.software, "the header of \(text.count) bytes is too large", at: path)
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
    }

    private static func write(_ tensor: HostTensor, to file: AtomicFile) throws(Fault) {
        let size = tensor.dtype.byteCount
        let base = UnsafeRawPointer(tensor.storage.base)
        if tensor.count == 0 { return }
        if tensor.isContiguous {
            try file.write(UnsafeRawBufferPointer(start: base + tensor.offset * size, count: tensor.byteCount))
            return
        }
        // Gathered element by element, a block at a time.
        let step = (1 << 20) / size
        for start in stride(from: 0, to: tensor.count, by: step) {
            try file.write(tensor.bytes(start..<min(start + step, tensor.count), as: tensor.dtype))
        }
    }
}
