import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// Many clips that a server makes one after the other, with the names and the journal of a batch that is rendered here.
public struct RemoteBatch: Sendable {
    /// A clip that the server is to make.
    public struct Clip: Sendable {
        /// What it is asked for.
        public let order: RemoteOrder
        /// The file that the clip goes to.
        public let file: String
        /// Whether a file of this name may be replaced.
        public let replaces: Bool
        /// Its place among those that are to be made, from 0, and their number.
        public let place: (index: Int, count: Int)
    }

    private struct Task {
        let task: BatchTask
        let file: String
        var order: Result<RemoteOrder, Faults>
    }

    private let order: BatchOrder
    private let tasks: [Task]
    private let passedOver: PassedOver

    /// Reads the source; nothing is asked of the server yet.
    ///
    /// Throws as `Batch` does.
    public init(_ order: BatchOrder) throws(Faults) {
        self.order = order
        let table = SettingsTable.standard
        try Faults.check(order.faults(table))
        let (all, passedOver) = try order.tasks(table)
        self.passedOver = passedOver
        var tasks: [Task] = []
        var wrong: [Fault] = []
        for task in all where order.shard.holds(task.output) {
            var settled = Task(task: task, file: task.order.output ?? task.output, order: .failure(.stopped))
            do throws(Faults) {
                settled.order = .success(try RemoteOrder(task.order))
            } catch {
                let faults = error.located(task.place)
                settled.order = .failure(faults)
                wrong += faults.list.filter { [.usage, .unavailable, .configuration].contains($0.kind) }
            }
            tasks.append(settled)
        }
        try BatchSource.check(wrong, "the batch")
        self.tasks = tasks
    }

    /// Has every clip made that is not finished, and tells of each as it happens.
    ///
    /// `identity` tells models of a server apart, by their names. `make` has a clip made, puts it into its file and returns
    /// the number of its frames; it throws `Faults` for a clip that comes to nothing, and any other error to end the batch.
    /// Throws as `Batch.render` does.
    public func render(
        cancellation: Cancellation, identity: (String?) throws(Fault) -> String, make: (Clip) throws -> Int,
        report: (BatchEvent) throws -> Void
    ) throws(Faults) -> BatchSummary {
        do {
            try order.makeFolder()
            let journal = try Journal(order.folder, shard: order.shard)
            let states = try states(journal.records, identity)
            let isDue = zip(tasks, states).map { task, state in
                state.state != .finished && order.wants(journal.records[task.task.output])
            }
            let count = min(isDue.count { $0 }, order.limit ?? .max)
            var summary = BatchSummary()
            summary.passedOver = passedOver
            let clock = Clock()
            var tried = 0
            for (index, task) in tasks.enumerated() {
                try cancellation.check()
                if states[index].state == .finished {
                    summary.skipped += 1
                    try report(.skipped(task.task.output))
                } else if !isDue[index] || tried == order.limit || order.stopsOnError && !summary.failed.isEmpty {
                    summary.left += 1
                } else {
                    let replaces = states[index].state == .replaced || order.defaults.overwrite == true
                    let attempt = Attempt(
                        task: task.task, file: task.file, order: task.order, key: states[index].key,
                        replaces: replaces, place: (tried, count), retries: order.retries)
                    tried += 1
                    try report(attempt.run(journal, cancellation, make, &summary))
                }
            }
            summary.seconds = clock.seconds
            return summary
        } catch {
            throw cancellation.isCancelled ? .stopped : Faults(of: error)
        }
    }

    /// What is to be done about each clip, and the digest of what it depends on; nil for one that cannot be made.
    private func states(
        _ records: [String: Journal.Record], _ identity: (String?) throws(Fault) -> String
    ) throws(Faults) -> [(state: ClipState, key: String?)] {
        var faults: [Fault] = []
        var states: [(state: ClipState, key: String?)] = []
        for task in tasks {
            do throws(Fault) {
                guard case .success(let remote) = task.order else {
                    states.append((.new, nil))
                    continue
                }
                let key = try remote.key(of: try identity(remote.model))
                let state = try order.state(
                    records[task.task.output], ClipFiles(paths: [task.file]), beside: []
                ) { () throws(Fault) in key }
                states.append((state, key))
            } catch {
                faults.append(error)
            }
        }
        try BatchSource.check(faults, order.folder)
        return states
    }
}

/// One clip of a batch on its way.
private struct Attempt {
    let task: BatchTask
    let file: String
    let order: Result<RemoteOrder, Faults>
    let key: String?
    let replaces: Bool
    let place: (index: Int, count: Int)
    let retries: Int

    /// Has the clip made, again after a failure that may pass by itself, and keeps the journal.
    func run(
        _ journal: Journal, _ cancellation: Cancellation, _ make: (RemoteBatch.Clip) throws -> Int,
        _ summary: inout BatchSummary
    ) throws -> BatchEvent {
        var retry = 0
        while true {
            do {
                summary.frames += try once(journal, make)
                summary.finished += 1
                return .finished([file])
            } catch let error as Faults {
                if cancellation.isCancelled { throw error }
                let faults = error.located(task.place)
                try journal.failed(task.output, key: key, fault: faults.list[0])
                guard retry < retries, faults.kind.mayPass else {
                    summary.failed[faults.kind, default: 0] += 1
                    return .failed(faults)
                }
                retry += 1
                try cancellation.wait(Double(min(1 << (retry - 1), 60)))
            }
        }
    }

    private func once(_ journal: Journal, _ make: (RemoteBatch.Clip) throws -> Int) throws -> Int {
        let order = try order.get()
        guard let key else { throw Fault(.software, "a clip without its key") }
        try journal.start(task.output, key: key)
        let clock = Clock()
        let made = try MadeFolders(Path.folder(file), isSequence: false)
        do {
            let frames = try make(RemoteBatch.Clip(order: order, file: file, replaces: replaces, place: place))
            try journal.done(
                task.output, key: key, files: ClipFiles(paths: [file]), seconds: clock.seconds, peak: nil)
            return frames
        } catch {
            made.remove()
            throw error
        }
    }
}
