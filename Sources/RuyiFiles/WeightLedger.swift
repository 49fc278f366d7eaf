import Glibc
import RuyiFault
import RuyiTensor
import Synchronization

/// The account of one loading: which keys were taken, what was wrong, and how many bytes the weights have.
public final class WeightLedger: Sendable {
    /// What can be wrong with a weight.
    enum Problem: String, CaseIterable {
        case missing = "missing"
        case misshapen = "of another shape"
        case mistyped = "of another type"
        case unreadable = "not readable"
        case tooLarge = "too large"
    }

    /// What becomes of keys that no layer took.
    public enum UnknownKeys: Sendable {
        /// They are a fault.
        case refuse
        /// They are returned as warnings.
        case warn
    }

    private struct State: Sendable {
        var files: [any WeightFile] = []
        var taken: [Set<String>] = []
        var problems: [Problem: [String]] = [:]
        var byteCount = 0
        var zeros: HostStorage?
    }

    private let state = Mutex(State())

    /// An empty ledger.
    public init() {}

    /// The bytes of all weights taken so far, as stored.
    public var byteCount: Int { state.withLock { $0.byteCount } }

    /// Whether nothing has been wrong so far.
    public var isClean: Bool { state.withLock { $0.problems.isEmpty } }

    /// Ends the loading.
    ///
    /// Throws ONE `.badData` that lists everything: missing, misshapen, mistyped and, if they are refused, unknown keys
    /// by their full names, the first 20 of each kind and then their number. Files that were changed since they were
    /// opened are a fault as well.
    ///
    /// - Parameters:
    ///   - unknown: what becomes of keys that no layer took.
    ///   - ignoring: known extras, by full name.
    /// - Returns: warnings, one line each: those of the files, and the unknown keys if they are not refused.
    @discardableResult
    public func finish(
        unknown: UnknownKeys = .refuse, ignoring: (String) -> Bool = { _ in false }
    ) throws(Fault) -> [String] {
        let (files, taken, problems) = state.withLock { ($0.files, $0.taken, $0.problems) }
        var parts = Problem.allCases.compactMap { kind in
            problems[kind].map { WeightLedger.list($0, kind.rawValue) }
        }
        var warnings = files.flatMap(\.warnings)
        for (file, taken) in zip(files, taken) {
            let extra = file.keys.filter { !taken.contains($0) && !ignoring($0) }
            if extra.isEmpty { continue }
            let line = WeightLedger.list(extra, "unknown")
            if unknown == .refuse {
                parts.append(line)
            } else {
                warnings.append("ignored weights: \(line) (\(file.path))")
            }
        }
        let place = files.map(\.path).joined(separator: ", ")
        if !parts.isEmpty {
            throw Fault(
                .badData, "the weights do not fit the model: " + parts.joined(separator: "; "),
                at: place.isEmpty ? nil : place,
                hint: "the file belongs to another checkpoint, or its configuration was changed")
        }
        for file in files { try file.checkUnchanged() }
        return warnings
    }

    private static func list(_ items: [String], _ kind: String) -> String {
        let shown = items.prefix(20).joined(separator: ", ")
        return "\(items.count) \(kind): \(shown)" + (items.count > 20 ? " and \(items.count - 20) more" : "")
    }

    func add(_ file: any WeightFile) -> Int {
        state.withLock {
            $0.files.append(file)
            $0.taken.append([])
            return $0.files.count - 1
        }
    }

    func take(_ key: String, file: Int) { state.withLock { _ = $0.taken[file].insert(key) } }
    func note(_ problem: Problem, _ text: String) { state.withLock { $0.problems[problem, default: []].append(text) } }

    /// Adds up bytes; a sum that is no number is noted as a problem.
    func count(_ key: String, _ bytes: Int) {
        let overflows = state.withLock {
            let (sum, overflow) = $0.byteCount.addingReportingOverflow(bytes)
            if !overflow { $0.byteCount = sum }
            return overflow
        }
        if overflows { note(.tooLarge, key) }
    }

    /// Zeros of a shape.
    ///
    /// All placeholders are views of one reserved block that takes no memory.
    func placeholder(_ key: String, _ shape: [Int], _ type: WeightType) -> HostTensor {
        let dtype: DType = type == .integer ? .i64 : .f32
        guard let bytes = Extent.product(shape, times: dtype.byteCount), let storage = zeros(bytes) else {
            note(.tooLarge, "\(key) \(shape)")
            return HostTensor(
                dtype: dtype, shape: shape.map { _ in 0 },
                storage: .zeros(byteCount: 0))
        }
        return HostTensor(dtype: dtype, shape: shape, storage: storage)
    }

    private func zeros(_ byteCount: Int) -> HostStorage? {
        state.withLock {
            if let zeros = $0.zeros, zeros.byteCount >= byteCount { return zeros }
            let zeros = WeightLedger.reserve(max(byteCount, 1 << 20))
            if zeros != nil { $0.zeros = zeros }
            return zeros
        }
    }

    /// Addresses that read as zero.
    private static func reserve(_ byteCount: Int) -> HostStorage? {
        let base = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let base, base != MAP_FAILED else { return nil }
        return HostStorage(base: base, byteCount: byteCount) { base, byteCount in munmap(base, byteCount) }
    }
}
