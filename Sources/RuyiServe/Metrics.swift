import RuyiEngine
import RuyiFault
import RuyiFiles
import Synchronization

/// Figures in the text form of Prometheus.
enum Metrics {
    static func text(_ office: Office, _ workers: Workers) -> String {
        var lines: [String] = []
        func add(_ name: String, _ type: String, _ help: String, _ samples: [(labels: String, value: Double)]) {
            lines += ["# HELP ruyi_\(name) \(help)", "# TYPE ruyi_\(name) \(type)"]
            for sample in samples {
                let labels = sample.labels.isEmpty ? "" : "{\(sample.labels)}"
                lines.append("ruyi_\(name)\(labels) \(JSON.double(sample.value).text())")
            }
        }
        let counts = (try? office.store.counts()) ?? [:]
        add(
            "jobs", "gauge", "Jobs in each state.",
            Job.State.allCases.map { ("state=\"\($0.rawValue)\"", Double(counts[$0] ?? 0)) })
        add("queue_length", "gauge", "Jobs that wait.", [("", Double(counts[.queued] ?? 0))])
        let live = workers.live
        add(
            "job_fraction", "gauge", "The finished share of the job that is rendered, the mean of several.",
            [("", live.values.reduce(0) { $0 + $1.fraction } / Double(max(live.count, 1)))])
        let counters = office.counters.withLock { $0 }
        var steps: [(labels: String, value: Double)] = []
        for (stage, progress) in counters.steps.sorted(by: { $0.key < $1.key }) where progress.done > 0 {
            let name = stage.filter { $0.isLetter || $0.isNumber || $0 == " " }
            steps.append(("stage=\"\(name)\"", progress.elapsed / Double(progress.done)))
        }
        add("step_seconds", "gauge", "Seconds a step of the latest run, by stage.", steps)
        let planned = live.keys.compactMap { id in
            (try? office.store.job(id)).flatMap { JSON.stored($0.plan)["peak_memory_bytes"]?.int }
        }
        add(
            "memory_planned_bytes", "gauge", "What the plans of the jobs that are rendered take.",
            [("", Double(planned.reduce(0, +)))])
        add("memory_peak_bytes", "gauge", "The most that a job has taken.", [("", Double(counters.peakMemory))])
        add(
            "memory_resident_bytes", "gauge", "What the process has in memory.",
            [("", Double(ControlGroup.value("VmRSS:", in: "/proc/self/status") ?? 0) * 1024)])
        add("start_time_seconds", "gauge", "When the server was started.", [("", office.started)])
        return lines.joined(separator: "\n") + "\n"
    }
}
