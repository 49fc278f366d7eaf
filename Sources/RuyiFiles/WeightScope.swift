import RuyiFault
import RuyiTensor

/// Which types a weight may have.
public enum WeightType: Sendable {
    /// Any floating-point type.
    case float
    /// Any integer type or bool.
    case integer
    /// Any type.
    case any

    func allows(_ dtype: DType) -> Bool {
        switch self {
        case .float: dtype.isFloat
        case .integer: !dtype.isFloat
        case .any: true
        }
    }

    var name: String {
        switch self {
        case .float: "floating-point numbers"
        case .integer: "integers"
        case .any: "numbers"
        }
    }
}

/// A place in a checkpoint: `scope / "attn1" / "to_q"` names the keys under it.
///
/// Layers take every tensor with the shape that they expect, as a handle of the backend's. What is missing or has
/// another shape is noted in the ledger, and construction goes on with zeros, so that one run of the constructors finds
/// everything that is wrong. Nothing may be computed before `WeightLedger.finish` has passed.
public struct WeightScope: Sendable {
    /// The key path up to here, with its final dot; empty at the root.
    public let prefix: String
    /// Where problems and taken keys are noted.
    public let ledger: WeightLedger
    /// What the weights taken here are brought in and let go together with.
    public let unit: ResidencyUnit
    private let source: Source

    private struct Source: Sendable {
        let file: any WeightFile
        /// The file's number in the ledger.
        let index: Int
        let backend: any Backend
        let change: @Sendable (String, Weight) -> Weight
    }

    /// The root of a file, whose keys the ledger will account for.
    ///
    /// A file is given to a ledger once. `change` makes another weight of one that is taken, by its key.
    public init(
        _ file: any WeightFile, ledger: WeightLedger, on backend: any Backend,
        change: @escaping @Sendable (_ key: String, Weight) -> Weight = { $1 }
    ) {
        self.init(
            prefix: "", ledger: ledger, unit: ResidencyUnit(),
            source: Source(file: file, index: ledger.add(file), backend: backend, change: change))
    }

    private init(prefix: String, ledger: WeightLedger, unit: ResidencyUnit, source: Source) {
        self.prefix = prefix
        self.ledger = ledger
        self.unit = unit
        self.source = source
    }

    /// The place called `name` in this one.
    public static func / (scope: WeightScope, name: String) -> WeightScope {
        WeightScope(prefix: scope.prefix + name + ".", ledger: scope.ledger, unit: scope.unit, source: scope.source)
    }

    /// The place of an element of a numbered list.
    public static func / (scope: WeightScope, index: Int) -> WeightScope { scope / String(index) }

    /// The same place, whose weights come and go together and apart from those around it.
    public var apart: WeightScope {
        WeightScope(prefix: prefix, ledger: ledger, unit: unit.part(), source: source)
    }

    /// Whether there is a tensor of this name here.
    public func has(_ name: String) -> Bool { source.file.shape(of: prefix + name) != nil }

    /// The shape of a tensor here; nil if there is none.
    public func shape(of name: String) -> [Int]? { source.file.shape(of: prefix + name) }

    /// The keys under this place, without its prefix, in the order of the file.
    public var keys: [String] {
        source.file.keys.compactMap { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
    }

    /// The weight of this name, which must have this shape and an allowed type; otherwise the problem is noted and the
    /// result is zeros of the shape.
    ///
    /// Numbers that are stored with a scale are multiplied by it, which copies them: layers whose weights are large use
    /// `takeScaled`.
    public func take(_ name: String, _ shape: [Int], type: WeightType = .float) -> Weight {
        source.change(prefix + name, source.backend.weight(takeTable(name, shape, type: type), in: unit))
    }

    /// The weight of this name as it is stored, otherwise as `take` gives it, and what its numbers are to be multiplied by.
    public func takeScaled(
        _ name: String, _ shape: [Int], type: WeightType = .float
    ) -> (weight: Weight, scale: WeightScale) {
        let weight = source.backend.weight(stored(name, shape, type), in: unit)
        return (source.change(prefix + name, weight), source.file.scale(of: prefix + name))
    }

    /// The numbers of this name as `take` takes them, for tables that the host computes with.
    public func takeTable(_ name: String, _ shape: [Int], type: WeightType = .float) -> HostTensor {
        let table = stored(name, shape, type)
        let scale = source.file.scale(of: prefix + name)
        // A placeholder has no numbers of its own.
        guard scale != .none, table.shape == source.file.shape(of: prefix + name) else { return table }
        return HostTensor(table.bytes(0..<table.count, as: .f32, scaledBy: scale), table.shape, as: .f32)
    }

    /// The numbers of this name as they are stored.
    private func stored(_ name: String, _ shape: [Int], _ type: WeightType) -> HostTensor {
        let key = prefix + name
        ledger.take(key, file: source.index)
        if let problem = check(source.file, key, shape, type) {
            ledger.note(problem.kind, problem.text)
            return ledger.placeholder(key, shape, type)
        }
        do {
            let tensor = try source.file.tensor(key)
            ledger.count(key, tensor.byteCount)
            return tensor
        } catch {
            ledger.note(.unreadable, "\(error)")
            return ledger.placeholder(key, shape, type)
        }
    }

    /// A weight that the file does not have, such as a table that is computed.
    public func constant(_ table: HostTensor) -> Weight { source.backend.weight(table, in: unit) }

    /// What adapters make of the weight of this name, in order.
    public func updates(of name: String) -> [WeightUpdate<Weight>] {
        source.file.updates(of: prefix + name).map { $0.map(constant) }
    }

    /// Notes that a tensor here is known and not needed, if there is one.
    public func skip(_ name: String) { ledger.take(prefix + name, file: source.index) }

    private func check(
        _ file: any WeightFile, _ key: String, _ shape: [Int], _ type: WeightType
    ) -> (kind: WeightLedger.Problem, text: String)? {
        let stored = file.storedName(of: key)
        let name = stored == key ? key : "\(key) (in \(stored))"
        guard let found = file.shape(of: key) else { return (.missing, "\(name) \(shape)") }
        if found != shape { return (.misshapen, "\(name) is \(found), expected \(shape)") }
        guard let dtype = file.dtype(of: key) else { return nil }  // reading it says which type it is
        // Integers that have a scale are numbers of any kind.
        if dtype == .i8, type == .float, file.scale(of: key) != .none { return nil }
        return type.allows(dtype) ? nil : (.mistyped, "\(name) is \(dtype.rawValue), expected \(type.name)")
    }
}
