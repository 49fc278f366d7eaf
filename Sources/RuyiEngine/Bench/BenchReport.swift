import RuyiFiles

/// What was measured on.
public struct BenchMachine: Sendable {
    /// Threads that the operations ran on.
    public let threads: Int
    /// The instruction-set level of the kernels.
    public let kernels: String
    /// The best rate of a large matrix product in float32, in operations a second.
    public let peak: Double
}

/// The measured times of one workload.
public struct BenchResult: Sendable {
    /// What a rate counts.
    public enum Unit: String, Sendable {
        case operations = "GFLOP/s"
        case bytes = "GB/s"
    }

    /// The workload.
    public let name: String
    /// The seconds of each run, in the order of the runs.
    public let seconds: [Double]
    /// Work a second in the median run, in units of 10⁹.
    public let rate: Double
    /// What the rate counts.
    public let unit: Unit
    /// The rate as a share of the machine's; nil for work that memory bounds.
    public let share: Double?
    /// The peak of the memory pool, inputs and results included and weights not.
    public let memory: Int

    init(_ workload: Workload, seconds: [Double], machine: BenchMachine, memory: Int) {
        name = workload.name
        self.seconds = seconds
        self.memory = memory
        let median = BenchResult.median(seconds)
        switch workload.work {
        case .operations(let count):
            (rate, unit, share) = (count / median / 1e9, .operations, count / median / machine.peak)
        case .bytes(let count): (rate, unit, share) = (count / median / 1e9, .bytes, nil)
        }
    }

    /// The seconds of the middle run, or between the two in the middle.
    public var median: Double { BenchResult.median(seconds) }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }
}

/// The time that a checkpoint takes from opening its folder to being ready.
public struct BenchLoading: Sendable {
    /// The folder.
    public let model: String
    /// The family, by its name for people.
    public let family: String
    /// The time.
    public let seconds: Double
    /// The peak of the memory pool.
    public let memory: Int
}

/// Everything that was measured in one go.
public struct BenchReport: Sendable {
    public let machine: BenchMachine
    public let results: [BenchResult]
    public let loading: BenchLoading?

    /// The report as one JSON document.
    public var json: String {
        var members = machine.members
        members.append(.init("workloads", .array(results.map { .object($0.members) })))
        if let loading {
            members.append(
                .init(
                    "loading",
                    [
                        "model": .string(loading.model), "family": .string(loading.family),
                        "seconds": .double(loading.seconds), "memory_bytes": .int(loading.memory),
                    ]))
        }
        return JSON.object(members).text(pretty: true)
    }
}

extension BenchMachine {
    /// The machine as a JSON object on one line.
    public var json: String { JSON.object(members).text() }

    fileprivate var members: [JSON.Member] {
        [
            .init("schema", 1), .init("threads", .int(threads)), .init("kernels", .string(kernels)),
            .init("peak_gflops", .double(BenchReport.rounded(peak / 1e9, 10))),
        ]
    }
}

extension BenchResult {
    /// The result as a JSON object on one line.
    public var json: String { JSON.object(members).text() }

    fileprivate var members: [JSON.Member] {
        [
            .init("name", .string(name)), .init("median_seconds", .double(BenchReport.rounded(median, 1e7))),
            .init("seconds", .array(seconds.map { .double(BenchReport.rounded($0, 1e7)) })),
            .init("rate", .double(BenchReport.rounded(rate, 100))), .init("unit", .string(unit.rawValue)),
            .init("share_of_peak", share.map { .double(BenchReport.rounded($0, 1e4)) } ?? .null),
            .init("memory_bytes", .int(memory)),
        ]
    }
}

extension BenchReport {
    fileprivate static func rounded(_ value: Double, _ steps: Double) -> Double { (value * steps).rounded() / steps }
}
