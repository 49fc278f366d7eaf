import Glibc

/// How much memory the process may still take, and what says so.
struct MemoryLimits: Sendable {
    /// A bound in bytes and its name for people.
    struct Bound: Sendable {
        let bytes: Int
        let name: String
    }

    /// The least bound on memory that is the process's own: what the system has free, and its control groups.
    let anonymous: Bound?
    /// The bound on the address space, which counts mapped files too.
    let addressSpace: Bound?

    /// The bounds with a few per cent less.
    var lowered: MemoryLimits {
        func lowered(_ bound: Bound?) -> Bound? {
            bound.map { Bound(bytes: $0.bytes - abs($0.bytes) / 32, name: $0.name) }
        }
        return MemoryLimits(anonymous: lowered(anonymous), addressSpace: lowered(addressSpace))
    }

    /// Throws `.resources` where the process can hardly have any memory more: Swift's own small allocations end a program that
    /// is refused them.
    static func requireSlack() throws(Fault) {
        let slack = mmap(nil, MemoryLimits.slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let slack, slack != MAP_FAILED else {
            throw Fault(
                .resources, "the limit of the address space leaves less than \(Bytes.text(MemoryLimits.slack))",
                hint: "raise it (ulimit -v)")
        }
        munmap(slack, MemoryLimits.slack)
    }

    /// What the program's own bookkeeping takes before anything large.
    private static let slack = 8 << 20

    /// Reads the bounds of this process.
    ///
    /// Without a budget, a tenth of the memory that the system has available is left to others.
    static func read(_ budget: MemoryBudget? = nil) -> MemoryLimits {
        var bounds: [Bound] = []
        if let kilobytes = ControlGroup.value("MemAvailable:", in: "/proc/meminfo") {
            bounds.append(Bound(bytes: kilobytes * 1024, name: "available memory"))
        }
        bounds += ControlGroup.folders(controller: nil).compactMap { folder in
            group(folder, limit: "memory.max", used: "memory.current", cached: ["active_file", "inactive_file"])
        }
        bounds += ControlGroup.folders(controller: "memory").compactMap { folder in
            group(
                folder, limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes",
                cached: ["total_active_file", "total_inactive_file"])
        }
        if let least = bounds.map(\.bytes).min() {
            let share = budget ?? .share(0.9)
            bounds.append(Bound(bytes: share.bytes(of: least), name: budget == nil ? "available memory" : "--memory"))
        }
        if let limit = resourceLimit(RLIMIT_DATA) {
            bounds.append(Bound(bytes: limit - pages(field: 5), name: "limit of the data segment"))
        }
        let space = resourceLimit(RLIMIT_AS).map {
            Bound(bytes: $0 - pages(field: 0), name: "limit of the address space")
        }
        return MemoryLimits(anonymous: bounds.min { $0.bytes < $1.bytes }, addressSpace: space)
    }

    /// What a control group leaves: its limit less what it uses, not counting file pages, which the kernel takes back.
    private static func group(_ folder: String, limit: String, used: String, cached: [String]) -> Bound? {
        guard let limit = ControlGroup.word("\(folder)/\(limit)").flatMap(Int.init), limit < 1 << 60 else { return nil }
        let used = ControlGroup.word("\(folder)/\(used)").flatMap(Int.init) ?? 0
        let cached = cached.compactMap { ControlGroup.value($0, in: "\(folder)/memory.stat") }.reduce(0, +)
        return Bound(bytes: max(0, limit - max(0, used - cached)), name: "memory limit of the control group")
    }

    private static func resourceLimit(_ resource: __rlimit_resource) -> Int? {
        var value = rlimit()
        guard getrlimit(__rlimit_resource_t(resource.rawValue), &value) == 0, value.rlim_cur < rlim_t(1) << 60 else {
            return nil
        }
        return Int(value.rlim_cur)
    }

    /// A field of the process's memory figures, in bytes.
    private static func pages(field: Int) -> Int {
        let words = Path.smallText("/proc/self/statm")?.split(separator: " ") ?? []
        guard words.indices.contains(field), let count = Int(words[field]) else { return 0 }
        return count * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
