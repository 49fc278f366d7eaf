import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiTensor
import Synchronization

/// Something that an encoder's work depends on.
public struct ConditionKey: Sendable, Equatable {
    /// What it is, such as `prompt`: what a refusal calls it.
    public let name: String
    /// What tells it from others; nil where that is not known, as of a picture that is not here.
    public let value: String?
    /// Whether it was chosen, so that conditions of another value are those of another clip.
    public let isChosen: Bool

    /// Something by its name.
    public init(_ name: String, _ value: String?, isChosen: Bool = true) {
        (self.name, self.value, self.isChosen) = (name, value, isChosen)
    }
}

/// A part of a clip's conditions: what one encoder makes of a request.
public struct ConditionPart: Sendable {
    /// What tells it from the clip's other parts, such as `negative_prompt`.
    public let name: String
    /// Everything that it depends on beside the checkpoint.
    public let keys: [ConditionKey]
    /// Its tensors in order; a side of nil may be of any length.
    public let tensors: [(name: String, shape: [Int?])]

    /// A part; of keys with one name the first counts.
    package init(_ name: String, of keys: [ConditionKey], tensors: [(name: String, shape: [Int?])]) {
        (self.name, self.tensors) = (name, tensors)
        var seen: Set<String> = []
        self.keys = keys.filter { seen.insert($0.name).inserted }
    }

    /// The name for people.
    public var title: String { name.split(separator: "_").joined(separator: " ") }

    /// Looks whether tensors are such as the encoder makes: of type `f32`, of the shapes, and finite.
    ///
    /// Throws `.badData` for others.
    public func check(_ given: [HostTensor]) throws(Fault) {
        guard given.count == tensors.count else {
            throw Fault(.badData, "\(title) has \(given.count) tensors, and must have \(tensors.count)")
        }
        for (tensor, form) in zip(given, tensors) {
            let what = "\(name).\(form.name)"
            let fits =
                tensor.rank == form.shape.count && tensor.count > 0
                && zip(tensor.shape, form.shape).allSatisfy { side, expected in expected.map { $0 == side } ?? true }
            guard tensor.dtype == .f32, fits else {
                let sides = form.shape.map { $0.map(String.init) ?? "n" }.joined(separator: ", ")
                throw Fault(.badData, "\(what) is \(tensor.dtype) \(tensor.shape), and must be f32 [\(sides)]")
            }
            guard tensor.floats().allSatisfy(\.isFinite) else {
                throw Fault(.badData, "\(what) holds numbers that are not finite")
            }
        }
    }
}

/// Where conditions are kept, and those that are there already.
public protocol ConditionStore: Sendable {
    /// Whether it has all there is to have, so that nothing is ever encoded.
    var isWhole: Bool { get }
    /// The tensors of a part, which `check` has passed; nil where they have to be made.
    ///
    /// Throws `.badData` where they are those of another clip, or damaged, and cannot be made.
    func tensors(_ part: ConditionPart) throws(Fault) -> [HostTensor]?
    /// Keeps a part that was made.
    func keep(_ tensors: [HostTensor], of part: ConditionPart) throws(Fault)
}

extension ConditionStore {
    /// No: what is not there is made.
    public var isWhole: Bool { false }
}

/// Several stores: what one of them has, those before it get too.
public struct ConditionChain: ConditionStore {
    private let stores: [any ConditionStore]

    /// Stores, of which the first is asked first.
    public init(_ stores: [any ConditionStore]) { self.stores = stores }

    public func tensors(_ part: ConditionPart) throws(Fault) -> [HostTensor]? {
        for (index, store) in stores.enumerated() {
            guard let found = try store.tensors(part) else { continue }
            for earlier in stores[..<index] { try earlier.keep(found, of: part) }
            return found
        }
        return nil
    }

    public func keep(_ tensors: [HostTensor], of part: ConditionPart) throws(Fault) {
        for store in stores { try store.keep(tensors, of: part) }
    }
}

/// The last conditions in memory, so that clips that share some encode them once.
public final class ConditionMemory: ConditionStore {
    private struct Entry {
        let name: String
        let keys: [ConditionKey]
        let tensors: [HostTensor]

        var byteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }
    }

    /// The latest last.
    private let entries = Mutex<[Entry]>([])
    private static let limit = (count: 8, bytes: 64 << 20)

    /// An empty memory.
    public init() {}

    public func tensors(_ part: ConditionPart) -> [HostTensor]? {
        entries.withLock { entries in
            guard let index = entries.firstIndex(where: { $0.name == part.name && $0.keys == part.keys }) else {
                return nil
            }
            entries.append(entries.remove(at: index))
            return entries.last?.tensors
        }
    }

    public func keep(_ tensors: [HostTensor], of part: ConditionPart) {
        let entry = Entry(name: part.name, keys: part.keys, tensors: tensors)
        let limit = ConditionMemory.limit
        guard entry.byteCount <= limit.bytes else { return }
        entries.withLock { entries in
            entries.append(entry)
            while entries.count > limit.count || entries.reduce(0, { $0 + $1.byteCount }) > limit.bytes {
                entries.removeFirst()
            }
        }
    }
}

/// The digests of a job's pictures, made once.
final class PictureDigests: Sendable {
    private let known = Mutex<[String: String]>([:])

    func digest(_ name: String, of picture: Picture) -> String {
        known.withLock { known in
            if let digest = known[name] { return digest }
            let digest = SHA256.hex(picture.pixels) + " \(picture.width)x\(picture.height)"
            known[name] = digest
            return digest
        }
    }
}
