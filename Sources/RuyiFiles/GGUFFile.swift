import RuyiFault
import RuyiTensor

/// A GGUF file: its header checked, its data mapped.
public final class GGUFFile: WeightFile {
    /// The checked header.
    public let header: GGUFHeader
    private let map: MappedFile
    private let indices: [String: Int]

    /// The bytes that such a file begins with.
    static let magic = Array("GGUF".utf8)

    /// Opens and checks a file.
    ///
    /// Throws `.cannotOpen`, `.badData` (with the tensor, if it is about one, and the rule) or `.io`.
    public init(path: String, shown: String? = nil) throws(Fault) {
        let map = try MappedFile(path: path, shown: shown)
        header = try GGUFHeader(byteCount: map.byteCount, file: map.path) { range throws(Fault) in
            try map.read(range)
        }
        indices = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
        self.map = map
    }

    /// The path of the file.
    public var path: String { map.path }
    /// The names of the tensors in the order of the file.
    public var keys: [String] { header.entries.map(\.name) }
    /// The bytes of all tensors as stored.
    public var byteCount: Int { header.entries.reduce(0) { $0 + $1.range.count } }
    /// What a person should know, one line each.
    public var warnings: [String] { [] }

    /// The entry of a tensor; nil if there is none of this name.
    public func entry(_ key: String) -> GGUFHeader.Entry? { indices[key].map { header.entries[$0] } }

    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { entry(key)?.shape }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { entry(key)?.type.dtype }

    /// A tensor as a view of the mapped file; `.badData` for an unknown name or a type that is not supported.
    public func tensor(_ key: String) throws(Fault) -> HostTensor {
        guard let entry = entry(key) else { throw Fault(.badData, "there is no tensor \"\(key)\"", at: path) }
        guard let dtype = entry.type.dtype else {
            throw Fault(
                .badData, "tensor \"\(key)\": the type \(entry.type.name) is not supported", at: path,
                hint: "take the file in another quantisation, such as Q4_K or Q8_0")
        }
        // The header has been checked: the sum is at most the size of the file.
        let start = header.dataStart + entry.range.lowerBound
        let range = start..<start + entry.range.count
        // Blocks are read on any address.
        let isReadable = dtype.isBlocked || map.isAligned(start, to: dtype.byteCount)
        return HostTensor(
            dtype: dtype, shape: entry.shape, storage: isReadable ? map.storage(range) : map.copy(range))
    }

    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try map.checkUnchanged() }
}
