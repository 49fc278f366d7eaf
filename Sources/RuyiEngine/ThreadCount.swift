import Glibc

/// How many threads a run uses when nobody says.
enum ThreadCount {
    /// The physical cores that the process may run on, no more than its share of processor time allows.
    static func standard() -> Int {
        max(1, min(physicalCores(), quota() ?? .max))
    }

    /// The physical cores behind the processors of the affinity mask.
    private static func physicalCores() -> Int {
        let allowed = allowedProcessors()
        guard !allowed.isEmpty else { return max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
        let cores = allowed.map { processor in
            Path.smallText("/sys/devices/system/cpu/cpu\(processor)/topology/thread_siblings_list") ?? "\(processor)"
        }
        return Set(cores).count
    }

    /// The processors of the affinity mask, which the kernel lists as `0-3,8`.
    private static func allowedProcessors() -> [Int] {
        let lines = Path.smallText("/proc/self/status")?.split(separator: "\n") ?? []
        guard
            let list = lines.first(where: { $0.hasPrefix("Cpus_allowed_list:") })?.split(whereSeparator: \.isWhitespace)
                .last
        else { return [] }
        return list.split(separator: ",").flatMap { part -> [Int] in
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first <= last, last < 1 << 16 else { return [] }
            return Array(first...last)
        }
    }

    /// The processors' worth of time that control groups grant, rounded up; nil without a limit.
    private static func quota() -> Int? {
        var least: Double?
        func note(_ quota: String?, _ period: String?) {
            guard let quota = quota.flatMap(Double.init), let period = period.flatMap(Double.init), quota > 0,
                period > 0
            else { return }
            least = min(least ?? .infinity, quota / period)
        }
        for folder in ControlGroup.folders(controller: nil) {
            let words =
                Path.smallText(folder + "/cpu.max")?.split(whereSeparator: \.isWhitespace).map(String.init) ?? []
            note(words.first, words.dropFirst().first)
        }
        for folder in ControlGroup.folders(controller: "cpu") {
            note(ControlGroup.word(folder + "/cpu.cfs_quota_us"), ControlGroup.word(folder + "/cpu.cfs_period_us"))
        }
        return least.map { max(1, Int($0.rounded(.up))) }
    }
}
