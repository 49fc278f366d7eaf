import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// What is to be measured, and how.
public struct BenchOrder: Sendable {
    /// The part of a name that the workloads must have; nil takes all that are not long.
    public var filter: String?
    /// Threads; nil takes as many as a run does.
    public var threads: Int?
    /// What products, attention and convolutions multiply.
    public var arithmetic = Arithmetic.float32
    /// What computes, as in a request.
    public var device: String?
    /// Timed runs of each workload; nil takes five, or fewer of those that take seconds.
    public var repeats: Int?
    /// Whether the long workloads are measured too.
    public var takesLong = false
    /// A checkpoint folder whose loading is timed.
    public var model: String?

    /// An order for everything.
    public init() {}
}

/// Measures named workloads on the engine's own operations.
public final class Bench {
    /// The names of everything that can be measured.
    public static var names: [String] { Workload.all.map(\.name) }

    /// What is measured on.
    public private(set) var machine: BenchMachine
    private let order: BenchOrder
    private let workloads: [Workload]
    private let kernels: KernelChoice
    private let cancellation: Cancellation
    /// What was measured last, kept ready.
    private var current: Ready?

    private struct Ready {
        let workload: Workload
        let session: any Session
        let run: () -> Tensor
    }

    /// Settles what will be measured, and measures the rate of a large matrix product.
    public init(
        _ order: BenchOrder, cancellation: Cancellation = Cancellation()
    ) throws(Faults) {
        var faults = Bench.faults(order)
        kernels = Faults.collect(&faults) { () throws(Fault) in try KernelChoice.chosen(order.device) } ?? .best
        if order.arithmetic != .float32, !kernels.backend(threads: 1).arithmetics.contains(order.arithmetic) {
            faults.append(
                Fault(
                    .configuration,
                    kernels.gpu == nil
                        ? "this processor has no units for \(order.arithmetic)"
                        : "products in \(order.arithmetic) are not what they should be on this GPU",
                    at: "--precision",
                    hint: "measure float32, in which it would compute"))
        }
        try Faults.check(faults)
        self.order = order
        self.cancellation = cancellation
        workloads = Bench.chosen(order)
        let backend = kernels.backend(threads: order.threads)
        machine = BenchMachine(
            threads: backend.threadCount, kernels: backend.kernelName, peak: Bench.peak(backend.session(cancellation)))
    }

    /// The names of what was chosen, in the order in which it runs.
    public var names: [String] { workloads.map(\.name) }

    /// Measures what was chosen, and hands on each result as soon as it is there.
    public func run(_ observe: (BenchResult) throws -> Void) throws -> BenchReport {
        var results: [BenchResult] = []
        for workload in workloads {
            let result = try measure(workload)
            results.append(result)
            try observe(result)
        }
        current = nil
        return BenchReport(machine: machine, results: results, loading: try order.model.map(load))
    }

    /// Runs the workload of this name once.
    ///
    /// Its weights and inputs stay ready for the next call with the same name; the first call warms up beforehand.
    public func runOnce(_ name: String) throws -> BenchResult {
        guard let workload = Workload.all.first(where: { $0.name == name }) else {
            throw Fault(.usage, "there is no workload '\(name)'", hint: Bench.listed)
        }
        let ready = try prepare(workload)
        return BenchResult(
            workload, seconds: [try time(ready)], machine: machine, memory: ready.session.memory.peakBytes)
    }

    /// Measures the rate of a large matrix product again, and keeps the better one: another program may have disturbed
    /// the first time.
    public func measurePeak() {
        let session = kernels.backend(threads: machine.threads).session(cancellation)
        machine = BenchMachine(
            threads: machine.threads, kernels: machine.kernels, peak: max(machine.peak, Bench.peak(session)))
    }

    // MARK: Measuring

    private func measure(_ workload: Workload) throws -> BenchResult {
        let ready = try prepare(workload)
        var seconds: [Double] = []
        repeat {
            seconds.append(try time(ready))
        } while !isEnough(seconds)
        return BenchResult(workload, seconds: seconds, machine: machine, memory: ready.session.memory.peakBytes)
    }

    private func makeSession() -> any Session {
        kernels.backend(threads: machine.threads).session(cancellation, arithmetic: order.arithmetic)
    }

    private func isEnough(_ seconds: [Double]) -> Bool {
        if let repeats = order.repeats { return seconds.count >= repeats }
        return seconds.count >= 5 || seconds.count >= 2 && seconds.reduce(0, +) > 4
    }

    /// Makes a workload ready on a pool of its own and runs it once, unless it is ready already.
    private func prepare(_ workload: Workload) throws -> Ready {
        if let current, current.workload.name == workload.name { return current }
        current = nil
        let session = makeSession()
        let ready = Ready(workload: workload, session: session, run: try workload.prepare(session))
        _ = try time(ready)
        current = ready
        return ready
    }

    private func time(_ ready: Ready) throws -> Double {
        try ready.session.check()
        let start = ContinuousClock.now
        let result = ready.run()
        // What was put off until its numbers are wanted is computed now.
        _ = ready.session.read(result.view(Layout([1])))
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        withExtendedLifetime(result) {}
        try ready.session.check()
        return seconds
    }

    /// The best rate of a large square matrix product in float32, in operations a second.
    private static func peak(_ session: any Session) -> Double {
        // Where that takes minutes, a smaller one tells as much.
        let small = peak(session, side: 704, times: 1)
        return 2 * Double(2816 * 2816 * 2816) / small > 5
            ? peak(session, side: 704, times: 3) : peak(session, side: 2816, times: 3)
    }

    private static func peak(_ session: any Session, side: Int, times: Int) -> Double {
        let x = session.upload(RandomValues().tensor([side, side]))
        let weight = session.backend.weight(RandomValues().tensor([side, side], seed: 1), in: ResidencyUnit())
        var (best, spent) = (Double.infinity, 0.0)
        for count in 0..<16 where count < times || (times > 1 && spent < 1) {
            let start = ContinuousClock.now
            _ = session.read(session.linear(x, Projection(weight)).view(Layout([1])))
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            best = min(best, seconds)
            spent += seconds
        }
        return 2 * Double(side * side * side) / best
    }

    /// Times a checkpoint from opening its folder to being ready to render; no page of weights is read.
    private func load(_ path: String) throws -> BenchLoading {
        try cancellation.check()
        let session = makeSession()
        let start = ContinuousClock.now
        let checkpoint = try Engine().openCheckpoint(path)
        let renderer = try checkpoint.family.load(checkpoint.folder, backend: session.backend)
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        withExtendedLifetime(renderer) {}
        return BenchLoading(
            model: path, family: checkpoint.family.title, seconds: seconds, memory: session.memory.peakBytes)
    }

    // MARK: Choosing

    /// The workloads whose name holds the filter's text; long ones if all are asked for, or nothing shorter has it.
    private static func chosen(_ order: BenchOrder) -> [Workload] {
        let filter = order.filter?.lowercased() ?? ""
        let matching = Workload.all.filter { filter.isEmpty || $0.name.contains(filter) }
        let short = matching.filter { !$0.isLong }
        return order.takesLong || short.isEmpty ? matching : short
    }

    private static func faults(_ order: BenchOrder) -> [Fault] {
        var found: [Fault] = []
        for (key, value, allowed) in [("threads", order.threads, 1...1024), ("repeat", order.repeats, 1...1000)] {
            guard let value, !allowed.contains(value) else { continue }
            found.append(
                Fault(.usage, "\(key) is \(value), and must be \(allowed.lowerBound) to \(allowed.upperBound)"))
        }
        if chosen(order).isEmpty {
            found.append(Fault(.usage, "no workload's name contains '\(order.filter ?? "")'", hint: listed))
        }
        return found
    }

    private static var listed: String { "there are " + names.joined(separator: ", ") }
}
