import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import RuyiEngine
import RuyiFault
import RuyiFiles

/// The addresses of the server and what each of them does.
struct Routes: Sendable {
    let office: Office
    let workers: Workers

    /// The most bytes of a request: a picture with what stands around it.
    static let bodyLimit = 64 << 20
    /// The most jobs of a list.
    private static let listLimit = 1000

    func router(_ gate: Gate<BasicRequestContext>) -> Router<BasicRequestContext> {
        let router = Router(context: BasicRequestContext.self)
        router.add(middleware: Apologies())
        router.add(middleware: gate)
        router.add(middleware: Apologies())
        addPage(to: router)
        router.get("/healthz") { _, _ in Response.json(JSON.object(["status": "ok"])) }
        router.get("/metrics") { _, _ in
            Response.text(Metrics.text(office, workers), type: "text/plain; version=0.0.4; charset=utf-8")
        }
        router.get("/openapi.json") { _, _ in Response.json(OpenAPI.document) }
        router.get("/v1/models") { _, _ in
            let models = try await office.away { office.offers().map(ModelList.json) }
            return Response.json(JSON.object(["object": "list", "data": .array(models)]))
        }
        router.post("/v1/pictures") { request, _ in try await keepPicture(request) }
        router.get("/v1/pictures/:id") { _, context in
            let id = try context.parameters.require("id")
            let png = try await office.away { try office.pictures.shown(id) }
            return Response(
                status: .ok, headers: [.contentType: "image/png", .cacheControl: "private, max-age=86400"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: png)))
        }
        router.post("/v1/plan") { request, _ in try await plan(request) }
        router.post("/v1/videos") { request, _ in try await create(request) }
        router.get("/v1/videos") { request, _ in try list(request) }
        router.get("/v1/events") { _, _ in events(of: nil) }
        let one = router.group("/v1/videos/:id")
        one.get { _, context in Response.json(try json(of: job(context))) }
        one.delete { _, context in try remove(job(context)) }
        one.get("/content") { request, context in try await content(request, context) }
        one.head("/content") { request, context in try await content(request, context) }
        one.get("/preview") { _, context in
            let path = office.folder.preview(try job(context).id)
            guard Path.kind(path) == .file else { throw Refusal.missing("preview") }
            return try await FileAnswer(path: path, type: "image/webp").response(to: nil, context)
        }
        one.get("/events") { _, context in events(of: try job(context)) }
        one.post("/cancel") { _, context in Response.json(try json(of: cancel(job(context)))) }
        one.post("/move") { request, context in try await move(request, job(context)) }
        one.post("/remix") { request, context in try await remix(request, job(context)) }
        return router
    }

    // MARK: The page

    private func addPage(to router: Router<BasicRequestContext>) {
        for (name, file) in Page.files {
            router.get(name == "page.html" ? "/" : RouterPath("/\(name)")) { request, _ in
                if request.headers[.ifNoneMatch] == file.tag { return Response(status: .notModified) }
                return Response(
                    status: .ok, headers: [.contentType: file.type, .eTag: file.tag, .cacheControl: "no-cache"],
                    body: ResponseBody(byteBuffer: ByteBuffer(bytes: file.bytes)))
            }
        }
    }

    // MARK: Requests

    private func body(_ request: Request) async throws -> [UInt8] {
        var body = try await request.body.collect(upTo: Routes.bodyLimit)
        return body.readBytes(length: body.readableBytes) ?? []
    }

    private func object(_ request: Request) async throws -> JSON {
        let bytes = try await body(request)
        guard bytes.count <= Routes.bodyLimit else { throw HTTPError(.contentTooLarge) }
        do { return try JSON.parse(bytes, file: "the request") } catch {
            throw Refusal(.badRequest, "data", "the request is no JSON: \(error.what)")
        }
    }

    private func jobRequest(_ request: Request) async throws -> JobRequest {
        if let boundary = request.headers[.contentType].flatMap(Multipart.boundary) {
            let bytes = try await body(request)
            return try await office.away {
                try JobRequest(Multipart.parts(bytes, boundary: boundary), pictures: office.pictures)
            }
        }
        let json = try await object(request)
        return try await office.away { try JobRequest(json, pictures: office.pictures) }
    }

    private func keepPicture(_ request: Request) async throws -> Response {
        let bytes = try await body(request)
        let name = HTTPField.Name("X-File-Name").flatMap { request.headers[$0] }?.removingPercentEncoding
        let entry = try await office.away { try office.pictures.keep(bytes, name: name) }
        return .json(entry.json, status: .created)
    }

    private func plan(_ request: Request) async throws -> Response {
        let asked = try await jobRequest(request)
        return try await office.away {
            guard let (_, report) = try office.plans(asked).first else { throw Refusal.missing("plan") }
            try Refusal.check(report)
            let hidden = ["output", "model"]
            let rows = report.rows.filter { !hidden.contains($0.name) }.map { name, value in
                JSON.array([.string(name), .string(Redaction.clean(value))])
            }
            let plan = Office.shown(plan: JSON.stored(report.json))
            return .json(plan.adding(["rows": .array(rows), "crop": Routes.crop(report.clip)]))
        }
    }

    /// The part of the picture that is seen, in shares of its sides.
    private static func crop(_ clip: Clip) -> JSON {
        guard let picture = clip.picture, clip.plan.fit == .crop else { return .null }
        let (width, height) = (Double(clip.plan.width), Double(clip.plan.height))
        let scale = min(Double(picture.width) / width, Double(picture.height) / height)
        let (across, down) = (width * scale / Double(picture.width), height * scale / Double(picture.height))
        return .object([
            "x": .double((1 - across) / 2), "y": .double((1 - down) / 2), "width": .double(across),
            "height": .double(down),
        ])
    }

    private func create(_ request: Request) async throws -> Response {
        let asked = try await jobRequest(request)
        let key = HTTPField.Name("Idempotency-Key").flatMap { request.headers[$0] }
        return try answer(try await office.away { try office.accept(asked, key: key) })
    }

    private func answer(_ jobs: [Job]) throws -> Response {
        workers.wake()
        let list = try jobs.map { try json(of: $0) }
        return .json(list.count == 1 ? list[0] : .object(["object": "list", "data": .array(list)]))
    }

    private func remix(_ request: Request, _ job: Job) async throws -> Response {
        let change = try await jobRequest(request)
        var before = JobRequest()
        (before.model, before.picture, before.endPicture) = (job.model, job.picture, job.endPicture)
        before.members = JSON.stored(job.settings).members ?? []
        before.name = String(Path.stem(job.name).dropLast(7))
        let merged = before.changed(by: change)
        return try answer(try await office.away { try office.accept(merged, origin: job.id) })
    }

    private func move(_ request: Request, _ job: Job) async throws -> Response {
        let json = try await object(request)
        let target: JobStore.Target? =
            switch (json["to"]?.string, json["before"]?.string) {
            case ("first", nil): .first
            case ("last", nil): .last
            case (nil, let other?): .before(other)
            default: nil
            }
        guard let target else {
            throw Refusal(
                .badRequest, "data", "'to' must be first or last, or 'before' a waiting job's id", param: "to")
        }
        guard let moved = try office.store.move(job.id, to: target) else {
            throw Refusal(.conflict, "conflict", "only jobs that wait can be moved, and only before one that waits")
        }
        office.tellQueue()
        return .json(try self.json(of: moved))
    }

    // MARK: Jobs

    private func job(_ context: BasicRequestContext) throws -> Job {
        guard let job = try office.store.job(try context.parameters.require("id")) else {
            throw Refusal.missing("video")
        }
        return job
    }

    private func json(of job: Job) throws -> JSON {
        let live = workers.live[job.id]
        let rank = job.state == .queued ? try office.store.queue().firstIndex(of: job.id) : nil
        return job.json(live: live, rank: rank)
    }

    private func list(_ request: Request) throws -> Response {
        let query = request.uri.queryParameters
        func refusal(_ key: String, _ expected: String) -> Refusal {
            Refusal(.badRequest, "data", "the value of '\(key)' must be \(expected)", param: key)
        }
        let limit = query["limit"].map { Int($0) ?? 0 } ?? 20
        guard (1...Routes.listLimit).contains(limit) else { throw refusal("limit", "1 to \(Routes.listLimit)") }
        let order = query["order"].map(String.init) ?? "desc"
        guard ["asc", "desc"].contains(order) else { throw refusal("order", "asc or desc") }
        let names = query["state"].map { $0.split(separator: ",").map(String.init) }
        let states = names?.compactMap(Job.State.init) ?? Job.State.allCases
        guard states.count == names?.count ?? states.count else {
            throw refusal("state", "some of " + Job.State.allCases.map(\.rawValue).joined(separator: ", "))
        }
        let after = query["after"].map(String.init)
        let found = try office.store.list(
            limit: limit + 1, after: after, isAscending: order == "asc", states: states)
        let queue = try office.store.queue()
        let live = workers.live
        let page = found.prefix(limit).map { job in
            job.json(
                live: live[job.id],
                rank: job.state == .queued ? queue.firstIndex(of: job.id) : nil)
        }
        return .json(
            .object([
                "object": "list", "data": .array(page), "first_id": page.first?["id"] ?? .null,
                "last_id": page.last?["id"] ?? .null, "has_more": .bool(found.count > limit),
            ]))
    }

    /// Cancels a job that waits or is being rendered.
    private func cancel(_ job: Job) throws -> Job {
        let ended = try office.store.change(job.id, from: [.queued]) { job in
            (job.state, job.ended) = (.cancelled, Date().timeIntervalSince1970)
        }
        if let ended {
            office.folder.removeRemains(of: ended)
            office.tell(ended)
            office.tellQueue()
            office.hub.end(ended.id)
            return ended
        }
        guard workers.cancel(job.id) else {
            throw Refusal(.conflict, "conflict", "the video is \(job.state.rawValue) already")
        }
        return job
    }

    private func remove(_ job: Job) throws -> Response {
        if !job.state.isOver { _ = try? cancel(job) }
        try office.store.remove(job.id)
        office.folder.remove(job)
        office.hub.send(
            EventHub.Message(job: job.id, event: "deleted", data: JSON.object(["id": .string(job.id)]).text()))
        office.hub.end(job.id)
        return .json(.object(["id": .string(job.id), "object": "video.deleted", "deleted": true]))
    }

    private func content(_ request: Request, _ context: BasicRequestContext) async throws -> Response {
        let job = try job(context)
        switch request.uri.queryParameters["variant"].map(String.init) ?? "video" {
        case "video":
            guard job.state == .done else {
                throw Refusal(.notFound, "not_ready", "the video is \(job.state.rawValue), not done")
            }
            return try await FileAnswer(path: office.folder.clip(job), type: job.mediaType, name: job.name)
                .response(to: request, context)
        case "growing":
            return try await FileAnswer(path: office.folder.clip(job), type: job.mediaType).response(
                to: request, context)
        case "thumbnail":
            return try await FileAnswer(path: office.folder.thumbnail(job.id), type: "image/png")
                .response(to: request, context)
        default:
            throw Refusal(
                .badRequest, "data", "the value of 'variant' must be video, thumbnail or growing", param: "variant")
        }
    }

    // MARK: Events

    private func events(of job: Job?) -> Response {
        let stream = office.hub.listen(to: job?.id)
        let first = job.flatMap { try? json(of: $0) }
        let isOver = job?.state.isOver ?? false
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                try await writer.write(ByteBuffer(string: "retry: 2000\n\n"))
                if let first {
                    try await writer.write(ByteBuffer(string: "event: queue\ndata: \(first.text())\n\n"))
                }
                if !isOver {
                    for await message in stream {
                        try await writer.write(ByteBuffer(string: message?.text ?? ": \n\n"))
                    }
                }
                try await writer.finish(nil)
            })
    }
}

/// A file as an answer, or the part of it that is asked for.
struct FileAnswer: Sendable {
    let path: String
    let type: String
    /// The name under which it is saved.
    var name: String?

    func response(to request: Request?, _ context: some RequestContext) async throws -> Response {
        guard let size = Path.fileSize(path) else { throw Refusal.missing("file") }
        var headers: HTTPFields = [.contentType: type, .acceptRanges: "bytes", .cacheControl: "private, no-cache"]
        if let name { headers[.contentDisposition] = FileAnswer.disposition(name) }
        let isHead = request?.method == .head
        if let header = request?.headers[.range], size > 0 {
            switch FileAnswer.extent(header, size: size) {
            case .outside:
                headers[.contentRange] = "bytes */\(size)"
                return Response(status: .rangeNotSatisfiable, headers: headers)
            case .part(let range):
                headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound)/\(size)"
                headers[.contentLength] = String(range.count)
                let body =
                    isHead ? ResponseBody() : try await FileIO().loadFile(path: path, range: range, context: context)
                return Response(status: .partialContent, headers: headers, body: body)
            case .whole: break
            }
        }
        headers[.contentLength] = String(size)
        let body = isHead ? ResponseBody() : try await FileIO().loadFile(path: path, context: context)
        return Response(status: .ok, headers: headers, body: body)
    }

    /// How much of a file is asked for.
    enum Extent: Equatable { case whole, outside, part(ClosedRange<Int>) }

    /// What a `Range` header asks for.
    ///
    /// One that is not understood counts for nothing; of several ranges the first is given.
    static func extent(_ header: String, size: Int) -> Extent {
        guard header.hasPrefix("bytes="), let first = header.dropFirst(6).split(separator: ",").first else {
            return .whole
        }
        let ends = first.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2 else { return .whole }
        switch (Int(ends[0]), Int(ends[1])) {
        case (let start?, let end?) where 0 <= start && start <= end:
            return start < size ? .part(start...min(end, size - 1)) : .outside
        case (let start?, nil) where ends[1].isEmpty && start >= 0:
            return start < size ? .part(start...(size - 1)) : .outside
        case (nil, let count?) where ends[0].isEmpty:
            return count > 0 ? .part(max(0, size - count)...(size - 1)) : .outside
        default: return .whole
        }
    }

    private static func disposition(_ name: String) -> String {
        let allowed = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        return "inline; filename*=UTF-8''" + (name.addingPercentEncoding(withAllowedCharacters: allowed) ?? "clip")
    }
}
