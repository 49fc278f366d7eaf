import RuyiFault
import RuyiFiles

/// What a batch would do and take.
public struct BatchPlan: Sendable {
    /// The clips that would be rendered.
    public internal(set) var reports: [PlanReport] = []
    /// The failures that are certain, one for a clip.
    public internal(set) var failures: [Faults] = []
    /// Clips that are finished.
    public internal(set) var finished = 0
    /// Clips that the run is not to render.
    public internal(set) var left = 0
    /// Files of the source that are no pictures.
    var passedOver = PassedOver()

    private var frames: Int { reports.map(\.clip.plan.frames).reduce(0, +) }
    private var seconds: Double { reports.map(\.clip.seconds).reduce(0, +) }
    /// All files, and what lies beside those of one clip until it is finished.
    private var diskBytes: Int {
        let passing = reports.map(\.clip.passingBytes)
        return reports.map(\.diskBytes).reduce(0, +) - passing.reduce(0, +) + (passing.max() ?? 0)
    }
    private var freeBytes: Int? { reports.lazy.compactMap(\.freeBytes).first }
    /// About how long all clips take, beside reading the weights; nil where that is not known of one of them.
    private var estimate: Double? {
        reports.reduce(0) { sum, report in sum.flatMap { sum in report.clip.estimate.map { sum + $0 } } }
    }
    private var largest: PlanReport? { reports.max { $0.clip.memory.anonymous < $1.clip.memory.anonymous } }

    /// A row a clip below a row of headings, and what they come to.
    public var lines: [String] {
        var rows = [["clip", "size", "frames", "steps", "seed", "memory", "disk"]]
        for report in reports {
            let plan = report.clip.plan
            rows.append([
                Fault.printable(report.clip.output.text), "\(plan.width)x\(plan.height)", "\(plan.frames)",
                "\(plan.steps)", "\(plan.seed)", Bytes.text(report.clip.memory.anonymous), Bytes.text(report.diskBytes),
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let table = rows.map { row in
            row.enumerated().map { column, text in
                let space = String(repeating: " ", count: widths[column] - text.count)
                return column == 0 ? text + space : space + text
            }.joined(separator: "  ")
        }
        let width = 8
        let sums = totals.map { $0.name + String(repeating: " ", count: width - $0.name.count) + $0.value }
        return (reports.isEmpty ? [] : table + [""]) + sums
    }

    /// What all clips come to, in words.
    private var totals: [(name: String, value: String)] {
        var counts = ["\(reports.count) to render"]
        if finished > 0 { counts.append("\(finished) done already") }
        if !failures.isEmpty { counts.append("\(failures.count) cannot be rendered") }
        if left > 0 { counts.append("\(left) left for another run") }
        if let text = passedOver.text { counts.append(text) }
        var totals = [("clips", counts.joined(separator: ", "))]
        guard let largest else { return totals }
        let memory = largest.clip.memory
        let models = Set(reports.map { $0.clip.request.modelName }).sorted()
        let free = freeBytes.map { "; \(Bytes.text($0)) are free" } ?? ""
        totals += [
            ("model", Fault.printable(models.joined(separator: ", "))),
            ("frames", "\(frames), \((seconds * 10).rounded() / 10) s of video"),
            ("memory", "at most \(Bytes.text(memory.anonymous)), and \(Bytes.text(memory.weights)) of weights"),
            ("disk", "about \(Bytes.text(diskBytes))\(free)"),
        ]
        if let estimate { totals.append(("time", "about \(EstimatedTime.text(estimate))")) }
        return totals
    }

    /// What all clips come to, as a JSON object on one line.
    public var json: String {
        JSON.sorted([
            "schema": 1, "event": "total", "clips": .int(reports.count), "done_before": .int(finished),
            "failed": .int(failures.count), "left": .int(left), "passed_over": passedOver.json,
            "frames": .int(frames), "seconds": .double(seconds),
            "estimated_seconds": reports.isEmpty ? .null : estimate.map { .double(EstimatedTime.rounded($0)) } ?? .null,
            "disk_bytes": .int(diskBytes), "disk_free_bytes": freeBytes.map(JSON.int) ?? .null,
            "memory_bytes": largest.map { .int($0.clip.memory.anonymous) } ?? .null,
            "weight_bytes": largest.map { .int($0.clip.memory.weights) } ?? .null,
        ]).text()
    }
}
