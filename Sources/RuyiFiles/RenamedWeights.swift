import RuyiFault
import RuyiTensor

/// Weights under the names of another layout, which may cut what is stored into several tensors.
///
/// Whole tensors and ranges of rows are views of the file; only rows that change places are copied.
public struct RenamedWeights: WeightFile {
    /// The part of a stored tensor that another name stands for.
    public enum Part: Sendable, Equatable {
        case whole
        /// Some rows of so many.
        case rows(Range<Int>, of: Int)
        /// The second half of the rows, then the first.
        case halvesSwapped
        /// A matrix that is stored as a convolution of one element.
        case matrix
    }

    /// Where a tensor lies.
    public struct Place: Sendable {
        /// The name in the file.
        public let stored: String
        /// The part of it.
        public let part: Part
        /// What its numbers are multiplied by to give the weight; nil where the file says.
        public let scale: Float?

        /// A place.
        public init(_ stored: String, _ part: Part = .whole, scale: Float? = nil) {
            self.stored = stored
            self.part = part
            self.scale = scale
        }
    }

    /// The names of the tensors: those that have places, in their order, and then the stored ones that nothing uses.
    public let keys: [String]
    private let base: any WeightFile
    private let places: [String: Place]

    /// Takes places by name; those of tensors that the file does not have are kept for messages.
    ///
    /// Throws `.badData` for a stored tensor that cannot be cut as it should be.
    ///
    /// - Parameters:
    ///   - ignoring: stored tensors that are none of the model's.
    public init(
        _ base: any WeightFile, _ list: [(key: String, place: Place)], ignoring: (String) -> Bool = { _ in false }
    ) throws(Fault) {
        var places = [String: Place](minimumCapacity: list.count)
        var used = Set<String>()
        for (key, place) in list {
            places[key] = place
            used.insert(place.stored)
            if let shape = base.shape(of: place.stored) { try RenamedWeights.check(shape, place, base) }
        }
        let unused = base.keys.filter { !used.contains($0) && !ignoring($0) && places[$0] == nil }
        for key in unused { places[key] = Place(key) }
        keys = list.map(\.key).filter { places[$0].map { base.shape(of: $0.stored) != nil } ?? false } + unused
        self.base = base
        self.places = places
    }

    private static func check(_ shape: [Int], _ place: Place, _ base: any WeightFile) throws(Fault) {
        let expected: String
        switch place.part {
        case .whole: return
        case .rows(let range, let count):
            if shape.first == count, range.upperBound <= count { return }
            expected = "\(count) rows"
        case .halvesSwapped:
            let block = base.dtype(of: place.stored)?.blockLength ?? 1
            if let rows = shape.first, rows.isMultiple(of: 2), (shape.reduce(1, *) / 2).isMultiple(of: block) { return }
            expected = "an even number of rows" + (block > 1 ? " of whole blocks" : "")
        case .matrix:
            if shape.count >= 2, shape.dropFirst(2).allSatisfy({ $0 == 1 }) { return }
            expected = "a matrix"
        }
        throw Fault(
            .badData, "tensor \"\(place.stored)\" is \(shape), expected \(expected)", at: base.path(of: place.stored),
            hint: "the file belongs to another model")
    }

    /// The path of the stored weights.
    public var path: String { base.path }
    /// The bytes of all tensors as stored.
    public var byteCount: Int { base.byteCount }
    /// What a person should know, one line each.
    public var warnings: [String] { base.warnings }

    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? {
        guard let place = places[key], var shape = base.shape(of: place.stored) else { return nil }
        switch place.part {
        case .whole, .halvesSwapped: break
        case .rows(let range, _): shape[0] = range.count
        case .matrix: shape = Array(shape.prefix(2))
        }
        return shape
    }

    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { places[key].flatMap { base.dtype(of: $0.stored) } }
    /// What the numbers of a tensor are multiplied by to give the weight.
    public func scale(of key: String) -> WeightScale {
        guard let place = places[key] else { return .none }
        if let scale = place.scale { return .number(scale) }
        let scale = base.scale(of: place.stored)
        switch place.part {
        case .whole, .matrix: return scale
        case .rows(let range, of: _): return scale.rows(range)
        case .halvesSwapped:
            guard case .blocks(let blocks) = scale else { return scale }
            return .blocks(blocks.halvesSwapped(rows: base.shape(of: place.stored)?.first ?? 0))
        }
    }
    /// The file that holds a tensor.
    public func path(of key: String) -> String { base.path(of: storedName(of: key)) }
    /// The name that a tensor has in its file.
    public func storedName(of key: String) -> String { places[key]?.stored ?? key }

    /// A tensor, or the part of one that the name stands for; `.badData` for an unknown name or a type that is not
    /// supported.
    public func tensor(_ key: String) throws(Fault) -> HostTensor {
        guard let place = places[key] else { throw Fault(.badData, "there is no tensor \"\(key)\"", at: path) }
        let tensor = try base.tensor(place.stored)
        switch place.part {
        case .whole: return tensor
        case .rows(let range, _): return tensor.sliced(0, range)
        case .halvesSwapped: return RenamedWeights.swapped(tensor)
        case .matrix: return (2..<tensor.rank).reduce(tensor) { result, _ in result.selected(2, 0) }
        }
    }

    private static func swapped(_ tensor: HostTensor) -> HostTensor {
        let half = tensor.count / 2
        let bytes = tensor.bytes(half..<tensor.count, as: tensor.dtype) + tensor.bytes(0..<half, as: tensor.dtype)
        return HostTensor(bytes, tensor.shape, as: tensor.dtype)
    }

    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) { try base.checkUnchanged() }
}
