import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// Many clips with one checkpoint: all of the source is checked first, and what is finished once stays finished.
///
/// ```swift
/// let batch = try Batch(BatchOrder(source: "stills", folder: "clips", defaults: order), engine: Engine())
/// let summary = try batch.render(cancellation: Cancellation()) { print($0) }
/// ```
public struct Batch: Sendable {
    private let order: BatchOrder
    private let engine: Engine
    private let tasks: [BatchTask]
    /// The pictures of the batch, which no clip may replace.
    private let inputs: Set<String>
    /// Files of the source that are no pictures.
    private let passedOver: PassedOver

    /// Reads the source and plans every clip of the share, without reading any weight or touching the folder.
    ///
    /// What the source and the options say must be right, otherwise all that is wrong is thrown together; a picture
    /// that is missing or broken only fails its own clips, when they are rendered.
    public init(_ order: BatchOrder, engine: Engine) throws(Faults) {
        self.order = order
        self.engine = engine
        var faults = order.faults(engine.table)
        if order.defaults.request.model?.isEmpty == false {
            Faults.collect(&faults) { () throws(Fault) in
                _ = try engine.openCheckpoint(
                    order.defaults.request, needsEncoders: order.defaults.needsEncoders)
            }
        }
        try Faults.check(faults)
        let (all, passedOver) = try order.tasks(engine.table)
        self.passedOver = passedOver
        inputs = Set(all.compactMap(\.order.request.image).compactMap(Path.real))
        tasks = try Batch.planned(all.filter { order.shard.holds($0.output) }, engine, inputs: inputs)
    }

    /// Settles every clip, and fails those whose picture or size is no good.
    private static func planned(
        _ tasks: [BatchTask], _ engine: Engine, inputs: Set<String>
    ) throws(Faults) -> [BatchTask] {
        var wrong: [Fault] = []
        var planned = tasks
        for (index, task) in tasks.enumerated() {
            do throws(Faults) {
                planned[index].run = .success(try run(task, engine, index, of: tasks.count, inputs))
            } catch {
                planned[index].run = .failure(error)
                wrong += error.list.filter { [.usage, .unavailable, .configuration].contains($0.kind) }
            }
        }
        try BatchSource.check(wrong, "the batch")
        return planned
    }

    /// Settles one clip.
    private static func run(
        _ task: BatchTask, _ engine: Engine, _ index: Int, of count: Int, _ inputs: Set<String>
    ) throws(Faults) -> Run {
        do {
            let run = try engine.silent.prepare(task.order).numbered(index, of: count, engine: engine)
            try run.checkForm()
            try run.checkMemory(run.limits)
            let paths = run.clips.flatMap { $0.output.files($0.plan.frames) }
            if let path = paths.first(where: { Path.real($0).map(inputs.contains) == true }) {
                throw Faults(Fault(.usage, "the clip would replace a picture of the batch", at: path))
            }
            return run
        } catch {
            throw Faults(of: error).located(task.place)
        }
    }

    /// What `render` would do, without doing it.
    public func plan() throws(Faults) -> BatchPlan {
        do {
            var tasks = tasks
            let records = try Journal.records(order.folder)
            let states = try states(&tasks, records)
            var plan = BatchPlan()
            plan.passedOver = passedOver
            for (task, state) in zip(tasks, states) {
                if state == .finished {
                    plan.finished += 1
                } else if !order.wants(records[task.output]) || plan.reports.count + plan.failures.count == order.limit
                {
                    plan.left += 1
                } else {
                    switch task.run {
                    case .success(let run):
                        plan.reports += run.clips.map { PlanReport($0, of: run, limits: run.limits) }
                    case .failure(let faults): plan.failures.append(faults)
                    }
                }
            }
            return plan
        } catch {
            throw Faults(of: error)
        }
    }

    /// Renders every clip that is not finished, with the checkpoint loaded once, and tells of each as it happens.
    ///
    /// Throws `.locked` when another run is at work in the folder, `.cannotCreate` before the first clip when a file
    /// that is not the batch's stands in the way, and `.interrupted` when it is told to stop.
    public func render(
        cancellation: Cancellation, report: (BatchEvent) throws -> Void
    ) throws(Faults) -> BatchSummary {
        do {
            try order.makeFolder()
            let journal = try Journal(order.folder, shard: order.shard)
            var tasks = tasks
            let states = try states(&tasks, journal.records)
            let wanted = tasks.map { order.wants(journal.records[$0.output]) }
            if zip(tasks, states).contains(where: { $0.order.request.usesBundledModel && $1 != .finished }) {
                engine.observe(.note(ModelCatalog.bundledNote))
            }
            let progress = RunProgress(upcoming(tasks, states, wanted))
            var rendering = Rendering(
                journal: journal, cancellation: cancellation, progress: progress, resumes: order.resumes)
            rendering.summary.passedOver = passedOver
            let clock = Clock()
            var tried = 0
            for (index, state) in states.enumerated() {
                try cancellation.check()
                if state == .finished {
                    rendering.summary.skipped += 1
                    try report(.skipped(tasks[index].output))
                } else if !wanted[index] || tried == order.limit
                    || order.stopsOnError && !rendering.summary.failed.isEmpty
                {
                    rendering.summary.left += 1
                } else {
                    tried += 1
                    let replaces = state == .replaced || order.defaults.overwrite == true
                    try report(render(&tasks[index], index, replaces, &rendering))
                }
            }
            rendering.summary.seconds = clock.seconds
            return rendering.summary
        } catch {
            throw cancellation.isCancelled ? .stopped : Faults(of: error)
        }
    }

    /// The stages of each clip that is to be rendered, none for the others.
    private func upcoming(_ tasks: [BatchTask], _ states: [ClipState], _ wanted: [Bool]) -> [[Stage]] {
        var left = order.limit ?? .max
        return tasks.indices.map { index in
            guard states[index] != .finished, wanted[index], left > 0 else { return [] }
            left -= 1
            guard case .success(let run) = tasks[index].run else { return [] }
            return run.clips.flatMap(\.plan.stages)
        }
    }

    /// Renders a clip, and tries again after a failure that may pass by itself.
    private func render(
        _ task: inout BatchTask, _ index: Int, _ replaces: Bool, _ rendering: inout Rendering
    ) throws -> BatchEvent {
        var retry = 0
        while true {
            let event =
                switch task.run {
                case .success(let run): try rendering.render(task, run, replaces: replaces)
                case .failure(let faults): try rendering.failed(task, key: nil, faults)
                }
            guard case .failed(let faults) = event else { return event }
            guard retry < order.retries, faults.kind.mayPass else {
                rendering.summary.failed[faults.kind, default: 0] += 1
                return event
            }
            retry += 1
            let seconds = Double(min(1 << (retry - 1), 60))
            engine.observe(
                .warning("\(faults.list[0]); tried again in \(Int(seconds)) s (\(retry) of \(order.retries))"))
            try rendering.cancellation.wait(seconds)
            do throws(Faults) {
                task.run = .success(try Batch.run(task, engine, index, of: tasks.count, inputs))
            } catch {
                task.run = .failure(error)
            }
        }
    }

    // MARK: What is to be done

    /// What is to be done about each clip.
    ///
    /// Nothing is begun while a file that is not the batch's own is in the way.
    private func states(_ tasks: inout [BatchTask], _ records: [String: Journal.Record]) throws(Faults) -> [ClipState] {
        var keys = ClipKeys()
        var faults: [Fault] = []
        var states: [ClipState] = []
        for (index, task) in tasks.enumerated() {
            guard case .success(let run) = task.run else {
                states.append(.new)
                continue
            }
            do {
                let paths = run.clips.flatMap { $0.output.files($0.plan.frames) }
                states.append(
                    try order.state(records[task.output], ClipFiles(paths: paths), beside: run.beside) {
                        () throws(Fault) in try keys.key(run)
                    })
            } catch {
                if error.kind == .cannotCreate { faults.append(error) }
                tasks[index].run = .failure(Faults(error).located(task.place))
                states.append(.new)
            }
        }
        try BatchSource.check(faults, order.folder)
        return states
    }
}

/// What a batch tells about its clips.
public enum BatchEvent: Sendable {
    /// A clip is finished: its files.
    case finished([String])
    /// A clip came to nothing, and the batch goes on.
    case failed(Faults)
    /// An earlier run has finished the clip of this name.
    case skipped(String)
}

extension Fault.Kind {
    /// Whether another attempt may succeed with nothing changed: memory, the disk and locks are shared with others.
    var mayPass: Bool { [.resources, .io, .locked].contains(self) }
}

extension Cancellation {
    /// Waits for so many seconds, or throws when it is told to stop.
    public func wait(_ seconds: Double) throws {
        let clock = Clock()
        while clock.seconds < seconds {
            try check()
            usleep(20_000)
        }
    }
}

/// What a batch has done.
public struct BatchSummary: Sendable, Equatable {
    /// Clips that were rendered.
    public internal(set) var finished = 0
    /// Clips that had been finished before.
    public internal(set) var skipped = 0
    /// Clips that came to nothing, by the kind of what went wrong.
    public internal(set) var failed: [Fault.Kind: Int] = [:]
    /// Clips that this run was not to render.
    public internal(set) var left = 0
    /// Files of the source that are no pictures.
    var passedOver = PassedOver()
    /// Frames that were rendered.
    public internal(set) var frames = 0
    /// The time it took.
    public internal(set) var seconds = 0.0
    /// The most memory that was resident while a clip was rendered, in bytes; nil where none was, or nobody says.
    public internal(set) var peakMemory: Int?

    /// The rate at which frames came out; nil when there were none.
    public var framesPerMinute: Double? { frames > 0 && seconds > 0 ? Double(frames) * 60 / seconds : nil }

    /// The files that are no pictures, in words; nil where there are none.
    public var passedOverText: String? { passedOver.text }

    /// The most memory in words.
    public var peakMemoryText: String? { peakMemory.map(Bytes.text) }

    /// The summary as a JSON object on one line, in the form of the events, with the command that renders the failed
    /// clips again.
    public func json(again: String?) -> String {
        var failures: [String: JSON] = [:]
        for (kind, count) in failed { failures[String(kind.rawValue)] = .int(count) }
        let fields: [String: JSON] = [
            "schema": 1, "event": "summary", "done": .int(finished), "skipped": .int(skipped),
            "failed": .int(failed.values.reduce(0, +)), "failed_by_exit_code": .sorted(failures),
            "left": .int(left), "passed_over": passedOver.json, "frames": .int(frames),
            "seconds": .double((seconds * 1000).rounded() / 1000),
            "frames_per_minute": framesPerMinute.map { .double(($0 * 10).rounded() / 10) } ?? .null,
            "peak_memory_bytes": peakMemory.map(JSON.int) ?? .null, "again": .text(again),
        ]
        return JSON.sorted(fields).text()
    }
}

/// The state of a batch under way.
private struct Rendering {
    let journal: Journal
    let cancellation: Cancellation
    let progress: RunProgress
    /// Whether a clip that was cut off goes on with its finished sections.
    let resumes: Bool
    var summary = BatchSummary()
    private var keys = ClipKeys()
    private var workbench = Workbench()
    /// The plan of the clip before, whose warnings need no repeating.
    private var said = Plan()

    init(journal: Journal, cancellation: Cancellation, progress: RunProgress, resumes: Bool) {
        self.resumes = resumes
        self.journal = journal
        self.cancellation = cancellation
        self.progress = progress
    }

    /// Renders a clip and keeps the journal; a checkpoint that cannot be loaded and a stop end the batch.
    mutating func render(_ task: BatchTask, _ run: Run, replaces: Bool) throws -> BatchEvent {
        let key: String
        do { key = try keys.key(run) } catch { return try failed(task, key: nil, Faults(error).located(task.place)) }
        let first = run.clips.first.map { $0.output.path(0) } ?? task.output
        for clip in replaces ? run.clips : [] { clip.removeLeftovers() }
        try journal.start(task.output, key: key)
        ResidentMemory.restartPeak()
        let clock = Clock()
        var isUnloadable = false
        var files: [String] = []
        do {
            let made = try MadeFolders(Path.folder(first), isSequence: run.clips.contains(where: \.output.isSequence))
            do {
                try run.replacing(replaces, resumes: resumes).render(
                    cancellation, after: said, progress,
                    load: {
                        isUnloadable = true
                        let loaded = try workbench.checkpoint(of: run, cancellation)
                        isUnloadable = false
                        return loaded
                    }, finished: { files = $0 })
            } catch {
                made.remove()
                throw error
            }
        } catch {
            if cancellation.isCancelled || isUnloadable { throw error }
            return try failed(task, key: key, Faults(of: error).located(task.place))
        }
        said = run.clips.last?.plan ?? said
        let peak = ResidentMemory.peak
        try journal.done(task.output, key: key, files: ClipFiles(paths: files), seconds: clock.seconds, peak: peak)
        if let peak { summary.peakMemory = max(peak, summary.peakMemory ?? 0) }
        summary.finished += 1
        summary.frames += run.clips.map(\.plan.frames).reduce(0, +)
        return .finished(files)
    }

    /// Notes a failure.
    mutating func failed(_ task: BatchTask, key: String?, _ faults: Faults) throws -> BatchEvent {
        if let fault = faults.list.first { try journal.failed(task.output, key: key, fault: fault) }
        return .failed(faults)
    }
}

/// The folders that are made for a clip and go again when it comes to nothing.
struct MadeFolders {
    private var paths: [String] = []

    /// Makes a folder and those above it that are missing; a sequence of frames makes its own last one itself.
    init(_ path: String, isSequence: Bool) throws(Fault) {
        var missing: [String] = []
        var path = isSequence ? Path.folder(path) : path
        while Path.kind(path) == .nothing {
            missing.append(path)
            path = Path.folder(path)
        }
        for path in missing.reversed() {
            guard System.mkdir(path, 0o777) == 0 || errno == EEXIST else {
                throw Fault.system(.cannotCreate, "cannot create the output's folder", path, errno)
            }
            paths.append(path)
        }
    }

    /// Takes away those that are empty.
    func remove() { for path in paths.reversed() { System.rmdir(path) } }
}

extension Faults {
    /// The same faults with the place of the source that they belong to.
    func located(_ place: String) -> Faults {
        let faults = list.map { fault in
            let inner = fault.place.flatMap { $0 == place ? nil : $0 }
            return Fault(fault.kind, fault.what, at: inner.map { "\(place): \($0)" } ?? place, hint: fault.hint)
        }
        return faults.first.map { Faults($0, Array(faults.dropFirst())) } ?? self
    }
}
