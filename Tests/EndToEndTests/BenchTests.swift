import Foundation
import RuyiEngine
import Testing

@Suite("Bench")
struct BenchTests {
    private static func document(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test("a workload is reported as one JSON document")
    func json() throws {
        let outcome = try Executable.run([
            "bench", "--filter", "attention-16x176-4096x333", "--repeat", "2", "--threads", "1", "--json",
        ])
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        let report = try BenchTests.document(outcome.output)
        #expect(Set(report.keys) == ["schema", "threads", "kernels", "peak_gflops", "workloads"])
        #expect(report["schema"] as? Int == 1 && report["threads"] as? Int == 1)
        #expect((report["peak_gflops"] as? Double ?? 0) > 0)
        let workloads = try #require(report["workloads"] as? [[String: Any]])
        #expect(workloads.count == 1)
        let workload = try #require(workloads.first)
        #expect(
            Set(workload.keys) == [
                "name", "median_seconds", "seconds", "rate", "unit", "share_of_peak", "memory_bytes",
            ])
        #expect(workload["name"] as? String == "attention-16x176-4096x333")
        #expect((workload["seconds"] as? [Double])?.count == 2)
        #expect(workload["unit"] as? String == "GFLOP/s")
        // Queries and result, 4096 x 2816 floats each, are in the pool at one time.
        #expect((workload["memory_bytes"] as? Int ?? 0) >= 2 * 4096 * 2816 * 4)
    }

    @Test("RUYI_KERNELS picks the kernels that are measured")
    func kernels() throws {
        let arguments = ["bench", "--filter", "layer-norm", "--repeat", "1", "--threads", "1", "--json"]
        let baseline = try Executable.run(arguments, environment: ["RUYI_KERNELS": "baseline"])
        #expect(try BenchTests.document(baseline.output)["kernels"] as? String == "baseline")
        let unknown = try Executable.run(arguments, environment: ["RUYI_KERNELS": "sse9"])
        #expect(unknown.code == 78 && unknown.output.isEmpty && unknown.errors.contains("sse9"))
    }

    @Test("without options for it the report is a table")
    func table() throws {
        let outcome = try Executable.run(["bench", "--filter", "LAYER-NORM", "--repeat", "1"])
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        #expect(outcome.lines.count == 3)
        #expect(outcome.lines.first?.contains("GFLOP/s") == true)
        #expect(outcome.lines.last?.hasPrefix("layer-norm-modulate-4096x2816") == true)
        #expect(outcome.lines.last?.contains("GB/s") == true)
    }

    @Test("names from standard input are run and answered one by one")
    func interactive() throws {
        let name = "layer-norm-modulate-4096x2816"
        let outcome = try Executable.shell("printf '\(name)\\npeak\\n\(name)' | \"$RUYI\" bench --interactive")
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        let answers = try outcome.lines.map(BenchTests.document)
        #expect(answers.count == 4)
        #expect(answers.map { $0["name"] as? String } == [nil, name, nil, name])
        let peaks = answers.compactMap { $0["peak_gflops"] as? Double }
        #expect(peaks.count == 2 && peaks[0] <= peaks[1])
        #expect(try Executable.shell("echo sofa | \"$RUYI\" bench --interactive").code == 64)
    }

    @Test("the time until a checkpoint is ready is reported on request")
    func loading() throws {
        let model = Golden(name: "i2v-bf16")("model")
        let outcome = try Executable.run([
            "bench", "--filter", "layer-norm", "--repeat", "1", "--json", "--model", model,
        ])
        let loading = try #require(try BenchTests.document(outcome.output)["loading"] as? [String: Any])
        #expect(Set(loading.keys) == ["model", "family", "seconds", "memory_bytes"])
        #expect(loading["family"] as? String == "Ruyi")
        #expect(
            try Executable.run(["bench", "--filter", "layer-norm", "--repeat", "1", "--model", "/nowhere"]).code == 66)
    }

    @Test("a filter that nothing has is refused with the list of names")
    func unknownFilter() throws {
        let outcome = try Executable.run(["bench", "--filter", "sofa"])
        #expect(outcome.code == 64 && outcome.output.isEmpty)
        #expect(outcome.errors.hasPrefix("ruyi: error: no workload's name contains 'sofa'\n"))
        for name in Bench.names { #expect(outcome.errors.contains(name), "\(name)") }
        #expect(try Executable.run(["bench", "--list"]).lines == Bench.names)
    }

    @Test("wrong options are refused together", arguments: [["--threads", "0", "--repeat", "0"], ["--filtre", "x"]])
    func refuses(_ arguments: [String]) throws {
        let outcome = try Executable.run(["bench"] + arguments)
        #expect(outcome.code == 64 && outcome.output.isEmpty)
        #expect(outcome.errors.components(separatedBy: "ruyi: error: ").count == arguments.count / 2 + 1)
    }

    @Test("long workloads run when nothing shorter has the filter's text")
    func longWorkloads() throws {
        var order = BenchOrder()
        order.threads = 1
        order.filter = "attention"
        #expect(try !Bench(order).names.contains { $0.contains("16384") })
        order.filter = "16384"
        #expect(try Bench(order).names.count == 2)
        order.filter = "attention"
        order.takesLong = true
        #expect(try Bench(order).names.contains { $0.contains("16384") })
    }

    @Test("the program's help names the subcommand, and the subcommand has its own")
    func help() throws {
        #expect(try Executable.run(["--help"]).output.contains("\n  bench "))
        let texts = try [["bench", "--help"], ["help", "bench"]].map { try Executable.run($0).output }
        #expect(texts[0] == texts[1])
        for option in ["--filter", "--all", "--threads", "--repeat", "--model", "--json", "--list", "--interactive"] {
            #expect(texts[0].contains(option), "\(option)")
        }
    }
}
