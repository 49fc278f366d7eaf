import RuyiFault
import RuyiTensor

/// Weights in several safetensors files with an index that says which tensor is where.
public final class ShardedSafetensors: WeightFile {
    /// The path of the file, or of the index.
    public let path: String
    /// The names of the tensors in the order of the file.
    public let keys: [String]
    /// What a person should know, one line each.
    public let warnings: [String]
    private let parts: [SafetensorsFile]
    private let places: [String: Int]

    /// Opens an index and all its files.
    ///
    /// Throws `.cannotOpen` for a missing part, `.badData` when a part's name is not a plain file name, a tensor is
    /// not in the file that the index names, is in two files, or is in a file but not in the index.
    public init(_ folder: ModelFolder, component: String, index: String) throws(Fault) {
        let prefix = component.isEmpty ? "" : component + "/"
        let shown = folder.shown(prefix + index)
        let json = try folder.json(prefix + index, values: 1 << 20)
        let map = try json.object("weight_map")
        var names = [String]()
        var numbers = [String: Int]()
        var places = [String: Int](minimumCapacity: map.members.count)
        for member in map.members {
            guard let name = member.value.string else { throw map.fault(member.key, expected: "the name of a file") }
            guard RelativePath.isPlain(name), name.hasSuffix(".safetensors") else {
                throw Fault(
                    .badData, "tensor \"\(member.key)\": \"\(name.prefix(120))\" is not a plain file name", at: shown)
            }
            let number = numbers[name] ?? names.count
            if number == names.count {
                names.append(name)
                numbers[name] = number
            }
            guard places.updateValue(number, forKey: member.key) == nil else {
                throw Fault(.badData, "tensor \"\(member.key)\": another tensor's name looks the same", at: shown)
            }
        }
        guard names.count <= 1000 else {
            throw Fault(.badData, "the index names \(names.count) files; 1000 is the limit", at: shown)
        }
        var parts = [SafetensorsFile]()
        for name in names {
            let place = try folder.file(prefix + name)
            parts.append(try SafetensorsFile(path: place, shown: folder.shown(prefix + name)))
        }
        try ShardedSafetensors.check(places, parts, names, shown)
        path = shown
        keys = map.keys
        self.parts = parts
        self.places = places
        warnings = ShardedSafetensors.sizeWarning(json, parts, shown).map { [$0] } ?? []
    }

    private static func check(
        _ places: [String: Int], _ parts: [SafetensorsFile], _ names: [String], _ shown: String
    ) throws(Fault) {
        for (number, part) in parts.enumerated() {
            for key in part.keys {
                guard let place = places[key] else {
                    throw Fault(.badData, "tensor \"\(key)\" of \(names[number]) is not in the index", at: shown)
                }
                if place != number {
                    let isTwice = parts[place].entry(key) != nil
                    let what = isTwice ? "is also in \(names[number])" : "is in \(names[number])"
                    throw Fault(
                        .badData, "tensor \"\(key)\", which the index puts in \(names[place]), \(what)", at: shown)
                }
            }
        }
        for (key, place) in places.sorted(by: { $0.key < $1.key }) where parts[place].entry(key) == nil {
            throw Fault(.badData, "tensor \"\(key)\" is not in \(names[place])", at: shown)
        }
    }

    private static func sizeWarning(_ json: JSONObject, _ parts: [SafetensorsFile], _ shown: String) -> String? {
        guard let stated = json["metadata"]?["total_size"]?.double else { return nil }
        let found = parts.reduce(0) { $0 + $1.byteCount }
        if stated == Double(found) { return nil }
        return
            "the index says that the tensors take \(JSONNumber(stated).text) bytes, but they take \(found) (\(shown))"
    }

    /// The bytes of all tensors as stored.
    public var byteCount: Int { parts.reduce(0) { $0 + $1.byteCount } }
    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { places[key].flatMap { parts[$0].shape(of: key) } }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { places[key].flatMap { parts[$0].dtype(of: key) } }
    /// The file that holds a tensor.
    public func path(of key: String) -> String { places[key].map { parts[$0].path } ?? path }

    /// A tensor as a view of the mapped file; `.badData` for an unknown name or a type that is not supported.
    public func tensor(_ key: String) throws(Fault) -> HostTensor {
        guard let place = places[key] else { throw Fault(.badData, "there is no tensor \"\(key)\"", at: path) }
        return try parts[place].tensor(key)
    }

    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { for part in parts { try part.checkUnchanged() } }
}
