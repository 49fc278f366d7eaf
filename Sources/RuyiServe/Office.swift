import Foundation
import HTTPTypes
import RuyiEngine
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor
import Synchronization

/// What all requests share: the queue, the models, the pictures and who listens.
final class Office: Sendable {
    /// Figures for `/metrics`.
    struct Counters: Sendable {
        var peakMemory = 0
        var steps: [String: RuyiEngine.Progress] = [:]
    }

    /// The waiting jobs whose places are told when they change.
    private static let toldPlaces = 50
    /// The most jobs that wait at once.
    static let waitingLimit = 10_000

    let folder: ServeFolder
    let store: JobStore
    let pictures: PictureStore
    let catalog: ModelCatalog
    /// The memory that a clip may take, where somebody said it.
    private let memory: String?
    /// What computes, each of them a clip of its own at a time; empty for the processor.
    let devices: [String]
    let hub = EventHub()
    let counters = Mutex(Counters())
    let started = Date().timeIntervalSince1970
    private let offered = Mutex<(offers: [ModelOffer], time: Double)?>(nil)
    /// Plans are made one after the other: each opens a checkpoint.
    private let planning = DispatchQueue(label: "ruyi.plan")

    init(_ folder: ServeFolder, catalog: ModelCatalog, memory: String?, devices: [String]) throws(Fault) {
        (self.folder, self.catalog, self.memory, self.devices) = (folder, catalog, memory, devices)
        pictures = PictureStore(folder.pictures)
        do {
            store = try JobStore(folder.queue)
            try store.takeUp()
        } catch {
            throw Fault(.io, "the queue cannot be opened: \(error)", at: folder.queue)
        }
        pictures.tidy { id in (try? store.uses(picture: id)) ?? true }
    }

    /// Does what takes longer than a moment, away from the threads that answer.
    func away<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            planning.async { continuation.resume(with: Result { try body() }) }
        }
    }

    // MARK: Models

    /// The models that can be asked for; looked up again after a minute.
    func offers() -> [ModelOffer] {
        let now = Date().timeIntervalSince1970
        if let known = offered.withLock({ $0 }), now - known.time < 60 { return known.offers }
        let found = Engine(catalog: catalog).offers()
        offered.withLock { $0 = (found, now) }
        return found
    }

    /// The model of a request.
    func offer(_ name: String?) throws(Refusal) -> ModelOffer {
        let (name, known) = (name ?? ModelCatalog.bundled, offers())
        if let offer = known.first(where: { $0.name == name }) { return offer }
        throw Refusal(
            .notFound, "unavailable", "there is no model '\(name.prefix(80))'", param: "model",
            hint: "there is " + known.map(\.name).joined(separator: ", "))
    }

    // MARK: Orders

    /// What a request would become, without a place in the queue: the plan of each clip.
    func plans(_ request: JobRequest) throws -> [(seed: UInt64, report: PlanReport)] {
        let offer = try offer(request.model)
        let run = try Refusal.ofAll { () throws(Faults) in
            var order = try request.order(pictures)
            complete(&order, offer, output: Path.resolve("clip.\(order.container ?? "mp4")", in: folder.path))
            return try Engine(catalog: catalog).prepare(order)
        }
        return run.reports().map { ($0.clip.plan.seed, $0) }
    }

    /// The order of a job in the queue.
    func order(of job: Job) throws -> Order {
        let offer = try offer(job.model)
        var request = JobRequest()
        (request.model, request.picture, request.endPicture) = (job.model, job.picture, job.endPicture)
        request.members = JSON.stored(job.settings).members ?? []
        var order = try request.order(pictures)
        complete(&order, offer, output: folder.clip(job))
        order.hasWholeName = true
        System.unlink(folder.thumbnail(job.id))
        order.thumbnail = folder.thumbnail(job.id)
        return order
    }

    private func complete(_ order: inout Order, _ offer: ModelOffer, output: String) {
        order.output = output
        order.container = nil
        order.previewTerminal = true
        order.previewEvery = 1
        order.memory = memory ?? Office.budget.map { "\(($0 >> 20) / max(devices.count, 1))MiB" }
        // A request is planned for the first device, whichever takes it then.
        order.device = devices.first
        if offer.grows { order.request.grow = true }
    }

    /// Nine tenths of what the process may take when nothing else of its own is at work.
    private static var budget: Int? {
        guard let available = ControlGroup.value("MemAvailable:", in: "/proc/meminfo"),
            let mine = ControlGroup.value("RssAnon:", in: "/proc/self/status")
        else { return nil }
        return (available + mine) * 1024 / 10 * 9
    }

    /// Puts the clips of a request into the queue, one for each seed.
    func accept(_ request: JobRequest, origin: String? = nil, key: String? = nil) throws -> [Job] {
        let offer = try offer(request.model)
        if let waiting = try? store.counts()[.queued], waiting >= Office.waitingLimit {
            throw Refusal(.serviceUnavailable, "try_later", "\(waiting) jobs are waiting already")
        }
        let plans = try plans(request)
        for (_, report) in plans { try Refusal.check(report) }
        let suffix = request.members.first { $0.key == RunSettings.table.container.key }?.value.string ?? "mp4"
        let stem = ClipNames.stem(request.name ?? request.picture.flatMap(pictures.name) ?? "clip")
        let settings = request.members.filter {
            ![RunSettings.table.seed.key, RunSettings.table.variations.key].contains($0.key)
        }
        let now = Date().timeIntervalSince1970
        let jobs = plans.map { seed, report in
            let id = Job.newIdentifier()
            var plan = Office.shown(plan: JSON.stored(report.json))
            plan = plan.adding(["grows": .bool(report.clip.plan.grows)])
            return Job(
                id: id, created: now, state: .queued, place: 0, model: offer.name,
                settings: JSON.object(settings + [JSON.Member("seed", JSON.exact(seed))]).text(),
                picture: request.picture, endPicture: request.endPicture,
                name: "\(stem)-\(id.suffix(6)).\(suffix)", plan: plan.text(), origin: origin, key: key,
                started: nil, ended: nil, bytes: nil, error: nil)
        }
        let added = try store.add(jobs)
        tellQueue()
        return added
    }

    /// A plan without what is only the machine's business.
    static func shown(plan: JSON) -> JSON {
        let hidden = ["image", "end_image", "noise", "trace", "output", "model", "loras"]
        return .object(
            (plan.members ?? []).filter { !hidden.contains($0.key) }.map { member in
                guard let list = member.value.array, ["notes", "warnings"].contains(member.key) else { return member }
                return JSON.Member(member.key, .array(list.map { .string(Redaction.clean($0.string ?? "")) }))
            })
    }

    // MARK: Telling

    /// Tells those who listen at which places the first jobs of the queue stand.
    func tellQueue() {
        for (rank, id) in ((try? store.queue()) ?? []).prefix(Office.toldPlaces).enumerated() {
            guard let job = try? store.job(id) else { continue }
            hub.send(EventHub.Message(job: id, event: "queue", data: job.json(live: nil, rank: rank).text()))
        }
    }

    /// Tells those who listen how a job stands.
    func tell(_ job: Job) {
        hub.send(EventHub.Message(job: job.id, event: "queue", data: job.json(live: nil, rank: nil).text()))
    }
}
