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
/// Layers take every tensor with the shape that they expect. What is missing or has another shape is noted in the
/// ledger, and construction goes on with zeros, so that one run of the constructors finds everything that is wrong.
/// Nothing may be computed before `WeightLedger.finish` has passed. A scope without a file (`measuring`) only adds up
/// bytes: the same constructors give the memory plan.
public struct WeightScope: Sendable {
    /// The key path up to here, with its final dot; empty at the root.
    public let prefix: String
    /// Where problems and taken keys are noted.
    public let ledger: WeightLedger
    private let source: Source

    private enum Source: Sendable {
        case file(any WeightFile, index: Int)
        case measuring(DType, has: @Sendable (String) -> Bool)
    }

    /// The root of a file, whose keys the ledger will account for.
    ///
    /// A file is given to a ledger once.
    public init(_ file: any WeightFile, ledger: WeightLedger) {
        self.init(prefix: "", ledger: ledger, source: .file(file, index: ledger.add(file)))
    }

    private init(prefix: String, ledger: WeightLedger, source: Source) {
        self.prefix = prefix
        self.ledger = ledger
        self.source = source
    }

    /// A scope without a file, which gives zeros of the shapes asked for and adds up their bytes.
    ///
    /// - Parameters:
    ///   - dtype: the type in which weights are counted.
    ///   - has: which optional keys to count; none if not said.
    public static func measuring(
        _ ledger: WeightLedger, dtype: DType = .bf16, has: @escaping @Sendable (String) -> Bool = { _ in false }
    ) -> WeightScope {
        WeightScope(prefix: "", ledger: ledger, source: .measuring(dtype, has: has))
    }

    /// The place called `name` in this one.
    public static func / (scope: WeightScope, name: String) -> WeightScope {
        WeightScope(prefix: scope.prefix + name + ".", ledger: scope.ledger, source: scope.source)
    }

    /// The place of an element of a numbered list.
    public static func / (scope: WeightScope, index: Int) -> WeightScope { scope / String(index) }

    /// Whether there is a tensor of this name here.
    public func has(_ name: String) -> Bool {
        switch source {
        case .file(let file, _): file.shape(of: prefix + name) != nil
        case .measuring(_, let has): has(prefix + name)
        }
    }

    /// The shape of a tensor here; nil if there is none, or no file.
    public func shape(of name: String) -> [Int]? {
        guard case .file(let file, _) = source else { return nil }
        return file.shape(of: prefix + name)
    }

    /// Whether there is a file, and not only a measure.
    var hasFile: Bool { if case .file = source { true } else { false } }

    /// The keys under this place, without its prefix, in the order of the file; none without a file.
    public var keys: [String] {
        guard case .file(let file, _) = source else { return [] }
        return file.keys.compactMap { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
    }

    /// The tensor of this name, which must have this shape and an allowed type; otherwise the problem is noted and the
    /// result is zeros of the shape.
    ///
    /// Numbers that are stored with a scale are such a problem: `takeScaled` gives both.
    public func take(_ name: String, _ shape: [Int], type: WeightType = .float) -> Tensor {
        let (tensor, scale) = takeScaled(name, shape, type: type)
        if scale != 1 { ledger.note(.mistyped, "\(prefix + name) is stored with a scale, expected plain numbers") }
        return tensor
    }

    /// The tensor of this name as `take` gives it, and what its numbers are to be multiplied by.
    public func takeScaled(
        _ name: String, _ shape: [Int], type: WeightType = .float
    ) -> (tensor: Tensor, scale: Float) {
        guard case .file(let file, _) = source else { return (takePlain(name, shape, type), 1) }
        return (takePlain(name, shape, type), file.scale(of: prefix + name))
    }

    private func takePlain(_ name: String, _ shape: [Int], _ type: WeightType) -> Tensor {
        let key = prefix + name
        switch source {
        case .measuring(let dtype, _):
            let size = type == .integer ? DType.i64.byteCount : dtype.byteCount
            if let bytes = Extent.product(shape, times: size) { ledger.count(key, bytes) }
            return ledger.placeholder(key, shape, type)
        case .file(let file, let index):
            ledger.take(key, file: index)
            guard let problem = check(file, key, shape, type) else {
                do {
                    let tensor = try file.tensor(key)
                    ledger.count(key, tensor.byteCount)
                    return tensor
                } catch {
                    ledger.note(.unreadable, "\(error)")
                    return ledger.placeholder(key, shape, type)
                }
            }
            ledger.note(problem.kind, problem.text)
            return ledger.placeholder(key, shape, type)
        }
    }

    /// The tensor of this name as `take` gives it, or nil if there is none.
    public func takeIfPresent(_ name: String, _ shape: [Int], type: WeightType = .float) -> Tensor? {
        has(name) ? take(name, shape, type: type) : nil
    }

    /// The low-rank updates of the weight of this name, in order.
    public func updates(of name: String) -> [LowRankUpdate] {
        guard case .file(let file, _) = source else { return [] }
        return file.updates(of: prefix + name)
    }

    /// Notes that a tensor here is known and not needed, if there is one.
    public func skip(_ name: String) {
        if case .file(_, let index) = source { ledger.take(prefix + name, file: index) }
    }

    private func check(
        _ file: any WeightFile, _ key: String, _ shape: [Int], _ type: WeightType
    ) -> (kind: WeightLedger.Problem, text: String)? {
        let stored = file.storedName(of: key)
        let name = stored == key ? key : "\(key) (in \(stored))"
        guard let found = file.shape(of: key) else { return (.missing, "\(name) \(shape)") }
        if found != shape { return (.misshapen, "\(name) is \(found), expected \(shape)") }
        guard let dtype = file.dtype(of: key) else { return nil }  // reading it says which type it is
        return type.allows(dtype) ? nil : (.mistyped, "\(name) is \(dtype.rawValue), expected \(type.name)")
    }
}
