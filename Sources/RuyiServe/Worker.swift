import Dispatch
import Foundation
import RuyiEngine
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiTensor
import Synchronization

/// The workers of a server: one for each device.
struct Workers: Sendable {
    private let all: [Worker]

    init(_ office: Office) {
        all = office.devices.isEmpty ? [Worker(office, nil)] : office.devices.map { Worker(office, $0) }
    }

    /// The jobs that are being rendered, by their names, and how far each is.
    var live: [String: LiveJob] {
        Dictionary(all.compactMap(\.live).map { ($0.id, $0.job) }) { first, _ in first }
    }

    func start() { all.forEach { $0.start() } }
    func wake() { all.forEach { $0.wake() } }
    /// Stops a job that is being rendered; false when it is not.
    func cancel(_ id: String) -> Bool { all.contains { $0.cancel(id) } }

    /// Stops what is being rendered, which goes on when the server is started again, and waits for the end of it.
    func stop() {
        all.forEach { $0.cancel() }
        all.forEach { $0.wait() }
    }
}

/// Renders one job after the other on a thread of its own; the model stays loaded between jobs that share it.
final class Worker: Sendable {
    private struct Current {
        let id: String
        let cancellation: Cancellation
        var live = LiveJob()
        /// Whether somebody wants this job gone, and not only the server.
        var isCancelled = false
    }

    private let office: Office
    /// What computes; nil for the processor.
    private let device: String?
    private let current = Mutex<Current?>(nil)
    private let isStopping = Atomic<Bool>(false)
    private let bell = DispatchSemaphore(value: 0)
    private let end = DispatchSemaphore(value: 0)

    init(_ office: Office, _ device: String?) { (self.office, self.device) = (office, device) }

    /// The job that is being rendered, and how far it is.
    var live: (id: String, job: LiveJob)? { current.withLock { $0.map { ($0.id, $0.live) } } }

    /// Begins to work.
    func start() {
        let thread = Thread { [self] in
            var workbench = Workbench()
            while !isStopping.load(ordering: .acquiring) {
                let job = try? office.store.claim(at: Date().timeIntervalSince1970)
                if let job { render(job, &workbench) } else { _ = bell.wait(timeout: .now() + 2) }
            }
            end.signal()
        }
        thread.stackSize = 16 << 20
        thread.start()
    }

    /// Looks for work at once.
    func wake() { bell.signal() }

    /// Stops a job that is being rendered; false when it is not.
    func cancel(_ id: String) -> Bool {
        current.withLock { current in
            guard current?.id == id else { return false }
            current?.isCancelled = true
            current?.cancellation.cancel()
            return true
        }
    }

    /// Stops what is being rendered, which goes on when the server is started again.
    func cancel() {
        isStopping.store(true, ordering: .releasing)
        current.withLock { $0?.cancellation.cancel() }
        bell.signal()
    }

    /// Waits for the end of the thread.
    func wait() { end.wait() }

    private func render(_ job: Job, _ workbench: inout Workbench) {
        let cancellation = Cancellation()
        current.withLock { $0 = Current(id: job.id, cancellation: cancellation) }
        office.tell(job)
        office.tellQueue()
        let result = Result { try clip(of: job, &workbench, cancellation) }
        let isCancelled = current.withLock { current in
            defer { current = nil }
            return current?.isCancelled ?? false
        }
        System.unlink(office.folder.preview(job.id))
        let changed = record(job.id) { [self] job in
            job.ended = Date().timeIntervalSince1970
            switch result {
            case .success(let bytes): (job.state, job.bytes) = (.done, bytes)
            case .failure where isCancelled: job.state = .cancelled
            case .failure where isStopping.load(ordering: .acquiring):
                (job.state, job.started, job.ended) = (.queued, nil, nil)
            case .failure(let error):
                (job.state, job.error) = (.failed, Refusal(Faults(of: error)).json.text())
            }
        }
        if let changed {
            if changed.state == .cancelled || changed.state == .failed { office.folder.removeRemains(of: changed) }
            office.tell(changed)
            if changed.state.isOver { office.hub.end(job.id) }
        }
        // Whoever deletes a job while it is rendered wants nothing of it.
        if changed == nil, let found = try? office.store.jobs(job.id), found.isEmpty { office.folder.remove(job) }
        office.counters.withLock { counters in
            counters.peakMemory = max(counters.peakMemory, ResidentMemory.peak ?? 0)
        }
    }

    /// Notes how a job ended; on a full disk again and again, until there is room or the server stops.
    private func record(_ id: String, _ change: (inout Job) -> Void) -> Job? {
        while true {
            do { return try office.store.change(id, from: [.running], change) } catch {
                if isStopping.load(ordering: .acquiring) { return nil }
                Thread.sleep(forTimeInterval: 1)
            }
        }
    }

    /// Renders a job's clip and returns its size.
    private func clip(of job: Job, _ workbench: inout Workbench, _ cancellation: Cancellation) throws -> Int {
        let path = office.folder.clip(job)
        // A clip gets its name when it is whole, so that one which is there was finished before the process was killed.
        if Path.kind(path) == .file, JSON.stored(job.plan)["grows"] != .bool(true) { return Path.fileSize(path) ?? 0 }
        let engine = Engine(catalog: office.catalog) { [self] event in received(event, job) }
        ResidentMemory.restartPeak()
        var order = try office.order(of: job)
        order.device = device
        let run = try engine.prepare(order)
        try workbench.render(run, cancellation: cancellation) { _ in }
        return Path.fileSize(path) ?? 0
    }

    private func received(_ event: Event, _ job: Job) {
        current.withLock { current in
            switch event {
            case .stage(let name, _, _): current?.live.stage = name
            case .step(let progress):
                current?.live.fraction = progress.fraction
                current?.live.remaining = progress.remaining
            case .preview: current?.live.previews += 1
            default: break
            }
        }
        if case .preview(let preview) = event { try? office.folder.write(preview.frames, previewOf: job.id) }
        if case .step(let progress) = event { office.counters.withLock { $0.steps[progress.stage] = progress } }
        var json = JSON.stored(event.json).adding(["id": .string(job.id)])
        // Where files lie is the machine's business.
        json = .object((json.members ?? []).filter { !["file", "files", "schema"].contains($0.key) }.map(cleaned))
        office.hub.send(
            EventHub.Message(job: job.id, event: json["event"]?.string ?? "note", data: json.text()))
    }

    private func cleaned(_ member: JSON.Member) -> JSON.Member {
        switch (member.key, member.value) {
        case ("message", .string(let text)): JSON.Member("message", .string(Redaction.clean(text)))
        case ("plan", let plan): JSON.Member("plan", Office.shown(plan: plan))
        default: member
        }
    }
}
