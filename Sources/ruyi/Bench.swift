import RuyiEngine

/// Measures the engine on this machine.
struct BenchCommand: Sendable {
    struct Options: SettingTable {
        static let table = Options()

        let filter = Setting(
            "filter", .text, .options, "Only the workloads whose name contains this.", value: "text"
        ) { $0.standardText = "all but the long ones" }
        let all = Setting("all", .flag, .options, "The long workloads too.") { $0.standardText = "" }
        let threads = Setting("threads", .integer, .options, "Threads, 1 to 1024.", value: "n") {
            $0.standardText = "the physical cores allowed"
        }
        let precision = Setting(
            "precision", SettingKind<BenchPrecision>.named, .options,
            "What products, attention and convolutions multiply; layers whose name has int8 multiply that.",
            value: "kind"
        ) { $0.standardText = "float32" }
        let device = Setting("device", RunSettings.table.device.kind, .options, "What computes.", value: "device") {
            $0.standardText = "cpu"
        }
        let repeats = Setting(
            "repeat", .integer, .options, "Timed runs of each workload; the median counts.", value: "n"
        ) { $0.standardText = "5, fewer of those that take seconds" }
        let model = Setting(
            "model", .path, .options, "Also time this checkpoint from opening its folder to being ready to render.",
            value: "dir"
        ) {
            $0.completion = .model
            $0.standardText = ""
        }
        let json = Setting("json", .flag, .options, "Print one JSON document instead of a table.") {
            $0.standardText = ""
        }
        let list = Setting("list", .flag, .options, "Print the names of all workloads and stop.") {
            $0.standardText = ""
        }
        let interactive = Setting(
            "interactive", .flag, .options,
            "Take names from standard input, a line each; run each once and answer with a JSON object on a line. The first "
                + "line describes the machine, and so does the answer to 'peak'."
        ) { $0.standardText = "" }
    }

    /// The precisions that every workload can be measured in.
    enum BenchPrecision: String, Sendable, CaseIterable {
        case float32, bf16, f16
    }

    static let command = Command(
        "bench", .bench, "Measures the engine's operations at real sizes on this machine.",
        usage: "ruyi bench [<options>]",
        discussion: """
            The rate of a large float32 matrix product is measured first; 'of peak' is the share of it that a workload \
            reaches. Every workload is run once to warm up. 'memory' is the peak of its inputs, results and scratch, \
            without its weights.

            --json prints schema, threads, kernels, peak_gflops and workloads, each with name, median_seconds, seconds, \
            rate, unit, share_of_peak and memory_bytes; with --model also loading with model, family, seconds and \
            memory_bytes.

              ruyi bench --filter attention
              ruyi bench --filter linear-bf16 --threads 8 --json
            """, settings: Options.all)

    let given: Given<Options>

    /// What the options ask for.
    var order: BenchOrder {
        var order = BenchOrder()
        order.filter = given.filter
        order.takesLong = given.all ?? false
        order.threads = given.threads
        order.device = given.device
        order.repeats = given.repeats
        switch given.precision {
        case .bf16: order.arithmetic = .bf16
        case .f16: order.arithmetic = .f16
        case .float32, nil: break
        }
        order.model = given.model
        return order
    }

    /// Does it, and hands every line for standard output to `print`.
    func measure(
        cancellation: Cancellation, print: (String) throws -> Void
    ) throws {
        if given.list == true { return try print(Bench.names.joined(separator: "\n")) }
        let bench = try Bench(order, cancellation: cancellation)
        if given.interactive == true { return try answer(bench, cancellation, print) }
        if given.json == true { return try print(bench.run { _ in }.json) }
        let table = BenchTable(names: bench.names)
        try print(table.head(bench.machine))
        let report = try bench.run { try print(table.row($0)) }
        if let loading = report.loading { try print(table.loading(loading)) }
    }

    private func answer(_ bench: Bench, _ cancellation: Cancellation, _ print: (String) throws -> Void) throws {
        try print(bench.machine.json)
        let lines = InputLines(cancellation)
        while let name = try lines.next() {
            if name == "peak" {
                bench.measurePeak()
                try print(bench.machine.json)
            } else if !name.isEmpty {
                try print(bench.runOnce(name).json)
            }
        }
    }
}

/// The lines of the table for people.
struct BenchTable {
    private let width: Int

    /// A table with room for these names.
    init(names: [String]) { width = names.map(\.count).max() ?? 0 }

    /// What is measured on, and the titles of the columns.
    func head(_ machine: BenchMachine) -> String {
        let threads = "\(machine.threads) thread\(machine.threads == 1 ? "" : "s")"
        return """
            \(threads), \(machine.kernels) kernels, float32 peak \(Decimals.text(machine.peak / 1e9, 0)) GFLOP/s

            \(line("workload", "time", "rate", "of peak", "memory"))
            """
    }

    /// One workload.
    func row(_ result: BenchResult) -> String {
        let share = result.share.map { Decimals.text($0 * 100, 0) + " %" } ?? "-"
        let rate = Decimals.text(result.rate, result.rate < 100 ? 1 : 0) + " " + result.unit.rawValue
        return line(result.name, BenchTable.time(result.median), rate, share, BenchTable.memory(result.memory))
    }

    /// The time of a checkpoint's loading.
    func loading(_ loading: BenchLoading) -> String {
        "\n\(loading.family) ready in \(BenchTable.time(loading.seconds)) (\(loading.model))"
    }

    private func line(_ name: String, _ columns: String...) -> String {
        let widths = [10, 14, 9, 10]
        return name + String(repeating: " ", count: width - name.count)
            + zip(columns, widths).map { String(repeating: " ", count: max(1, $1 - $0.count)) + $0 }.joined()
    }

    private static func time(_ seconds: Double) -> String {
        seconds < 1 ? Decimals.text(seconds * 1000, seconds < 0.1 ? 2 : 1) + " ms" : Decimals.text(seconds, 3) + " s"
    }

    private static func memory(_ bytes: Int) -> String { Decimals.text(Double(bytes) / 0x1p20, 0) + " MiB" }
}

/// Numbers with a fixed count of decimals.
enum Decimals {
    /// `12.50` for 12.4999 with two places.
    static func text(_ value: Double, _ places: Int) -> String {
        let factor = (0..<places).reduce(1) { result, _ in result * 10 }
        let scaled = Int((min(abs(value), 1e12) * Double(factor)).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard places > 0 else { return sign + String(scaled) }
        let digits = String(scaled % factor)
        return sign + "\(scaled / factor)." + String(repeating: "0", count: places - digits.count) + digits
    }
}
