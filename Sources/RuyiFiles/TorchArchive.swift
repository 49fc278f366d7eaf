import RuyiFault
import RuyiTensor

/// A torch checkpoint (`.bin`, `.pt`): a ZIP archive with a pickle that describes tensors and a file for each storage.
///
/// A pickle is a program. This one is never run: its opcodes are read by a list, names other than those of tensors and
/// dictionaries are refused, and every number is checked. Tensors are views of the mapped file with the strides that
/// they were saved with. Nested dictionaries give names joined by dots.
public final class TorchArchive: WeightFile {
    /// One tensor: its description and where its storage is.
    private struct Item: Sendable {
        let tensor: PickleTensor
        let range: Range<Int>
    }

    /// The names of the tensors in the order of the pickle.
    public let keys: [String]
    /// The bytes of the storages that tensors view.
    public let byteCount: Int
    private let map: MappedFile
    private let items: [String: Item]

    /// Opens and checks an archive.
    ///
    /// Throws `.cannotOpen`, `.badData` with what is refused by name, or `.io`.
    public init(path place: String, shown: String? = nil) throws(Fault) {
        let map = try MappedFile(path: place, shown: shown)
        let path = map.path
        try TorchArchive.checkFormat(map)
        let read = { (range: Range<Int>) throws(Fault) in try map.read(range) }
        let zip = try ZipArchive(byteCount: map.byteCount, file: path, read: read)
        let (pickleEntry, root) = try TorchArchive.pickle(in: zip, path)
        guard pickleEntry.range.count <= Pickle.byteLimit else {
            throw Fault(
                .badData, "data.pkl has \(pickleEntry.range.count) bytes; \(Pickle.byteLimit) is the limit", at: path)
        }
        let bytes = try map.read(pickleEntry.range)
        guard Checksum.crc32(bytes) == pickleEntry.checksum else {
            throw Fault(
                .badData, "data.pkl does not have its checksum", at: path,
                hint: "the file is damaged; download it again")
        }
        let entries = Dictionary(zip.entries.map { ($0.name, $0.range) }) { first, _ in first }
        if let order = entries[root + "byteorder"], order.count <= 16, try map.read(order) != Array("little".utf8) {
            throw Fault(.badData, "the archive was written on a big-endian machine", at: path)
        }
        let pickle = try Pickle(bytes, file: path)
        var keys = [String]()
        var items = [String: Item]()
        var used = [Int: Int]()
        for (name, tensor) in try pickle.flattened(file: path) {
            let storage = pickle.storages[tensor.storage]
            let range = try TorchArchive.range(of: storage, entries[root + "data/" + storage.key], name, path)
            guard items.updateValue(Item(tensor: tensor, range: range), forKey: name) == nil else {
                throw Fault(.badData, "tensor \"\(name)\" is in the archive twice", at: path)
            }
            used[range.lowerBound] = range.count
            keys.append(name)
        }
        self.map = map
        self.keys = keys
        self.items = items
        byteCount = used.values.reduce(0, +)
    }

    /// Refuses what is no ZIP archive, with a word on what it is.
    private static func checkFormat(_ map: MappedFile) throws(Fault) {
        let start = try map.read(0..<min(map.byteCount, 262))
        if start.starts(with: [0x50, 0x4B]) { return }
        let isTar = start.count >= 262 && start[257..<262].elementsEqual("ustar".utf8)
        let what =
            start.first == 0x80 || isTar
            ? "the file is in torch's old format (before 1.6), which is not read"
            : "not a torch archive: the file does not begin as a ZIP archive does"
        throw Fault(.badData, what, at: map.path, hint: "save it again with a newer torch, or as safetensors")
    }

    /// The entry `ROOT/data.pkl` and `ROOT/`.
    private static func pickle(in zip: ZipArchive, _ path: String) throws(Fault) -> (ZipArchive.Entry, String) {
        let found = zip.entries.filter { entry in
            let parts = entry.name.split(separator: "/", omittingEmptySubsequences: false)
            return parts.count == 2 && parts[1] == "data.pkl"
        }
        guard let entry = found.first, found.count == 1 else {
            throw Fault(.badData, "the archive has \(found.count) entries \"*/data.pkl\" where one belongs", at: path)
        }
        return (entry, String(entry.name.dropLast("data.pkl".count)))
    }

    /// The bytes of a storage, of which the archive must have at least as many as the pickle states.
    private static func range(
        of storage: PickleStorage, _ entry: Range<Int>?, _ name: String, _ path: String
    ) throws(Fault) -> Range<Int> {
        guard let entry else {
            throw Fault(.badData, "tensor \"\(name)\": the archive has no storage \"\(storage.key)\"", at: path)
        }
        let (byteCount, overflow) = storage.count.multipliedReportingOverflow(by: storage.dtype?.byteCount ?? 1)
        guard !overflow, byteCount <= entry.count else {
            throw Fault(
                .badData,
                "tensor \"\(name)\": its storage should have \(storage.count) elements but has \(entry.count) bytes",
                at: path)
        }
        return entry.lowerBound..<entry.lowerBound + byteCount
    }

    /// The path of the file, or of the index.
    public var path: String { map.path }
    /// What a person should know, one line each.
    public var warnings: [String] { [] }
    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { items[key]?.tensor.shape }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { items[key]?.tensor.type.dtype }

    /// A tensor as a view of the mapped file; `.badData` for an unknown name or a type that is not supported.
    public func tensor(_ key: String) throws(Fault) -> HostTensor {
        guard let item = items[key] else { throw Fault(.badData, "there is no tensor \"\(key)\"", at: path) }
        let dtype: DType
        switch item.tensor.type {
        case .supported(let type): dtype = type
        case .other(let name, _):
            throw Fault(.badData, "tensor \"\(key)\": the type \(name) is not supported", at: path)
        }
        let isAligned = map.isAligned(item.range.lowerBound, to: dtype.byteCount)
        let storage = isAligned ? map.storage(item.range) : map.copy(item.range)
        return HostTensor(
            dtype: dtype,
            layout: Layout(shape: item.tensor.shape, strides: item.tensor.strides, offset: item.tensor.offset),
            storage: storage)
    }

    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try map.checkUnchanged() }
}
