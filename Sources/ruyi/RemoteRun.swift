import Glibc
import RuyiEngine
import RuyiHub

/// Clips that a server makes: sends what they are made of, follows them, and fetches them.
struct RemoteRun {
    /// Seconds for which a server that is gone is asked again: before it has the clips, and after.
    private static let patience = (sending: 10.0, waiting: 300.0)

    private let settings: ServerSettings
    private let server: RemoteServer
    private let reporter: Reporter
    private let cancellation: Cancellation
    private let begun = ContinuousClock.now
    /// The models that the server has.
    private let models: [JSON]

    /// A run on a server that answers.
    ///
    /// Throws `.unavailable` where it does not, `.configuration` where it asks for another token.
    init(_ settings: ServerSettings, _ reporter: Reporter, _ cancellation: Cancellation) throws {
        (self.settings, self.reporter, self.cancellation) = (settings, reporter, cancellation)
        let server = try RemoteServer(settings) { cancellation.isCancelled }
        self.server = server
        do {
            models = try server.ask("GET", "/v1/models")["data"]?.array ?? []
        } catch ServerFailure.unreachable(let fault) {
            throw Fault(
                fault.kind, fault.what, at: fault.place,
                hint: "is 'ruyi serve' at work there, and does it let others in (--host)?")
        } catch let failure as ServerFailure {
            throw failure.fault
        }
    }

    /// Seconds since the run was begun.
    private var elapsed: Double { (ContinuousClock.now - begun) / .seconds(1) }

    // MARK: Asking

    /// The server's model of a name, or the one that it takes by itself.
    ///
    /// Throws `.unavailable` when it has none.
    private func entry(_ name: String?) throws(Fault) -> JSON {
        let found = models.first { name == nil ? $0["is_default"]?.bool == true : $0["id"]?.string == name }
        if let found = found ?? (name == nil ? models.first : nil) { return found }
        throw Fault(
            .unavailable, "the server has no model '\(name ?? "")'", at: settings.address,
            hint: "it has " + models.compactMap { $0["id"]?.string }.joined(separator: ", "))
    }

    /// The model that an order's clips are made with.
    func model(_ order: RemoteOrder) throws(Fault) -> RemoteOrder.Model {
        let entry = try entry(order.model)
        let name = entry["id"]?.string ?? ""
        return RemoteOrder.Model(name: name, family: entry["family"]?.string ?? name)
    }

    /// What tells a model from another one of the same name.
    func identity(_ name: String?) throws(Fault) -> String {
        let entry = try entry(name)
        return "\(entry["id"]?.string ?? "") \(entry["family"]?.string ?? "") \(entry["bytes"]?.int ?? 0)"
    }

    /// What the server says that a clip would be.
    func plan(_ order: RemoteOrder) throws -> JSON {
        let request = try order.request(pictures: pictures(order))
        return try patiently { try server.ask("POST", "/v1/plan", sending: .json(request)) }
    }

    /// Puts an order's clips into the server's queue.
    func submit(_ order: RemoteOrder) throws -> [RemoteClip] {
        let request = try order.request(pictures: pictures(order))
        // An answer that is lost on the way may be asked for again.
        let key = String((0..<32).compactMap { _ in "0123456789abcdef".randomElement() })
        let answer = try patiently {
            try server.ask("POST", "/v1/videos", sending: .json(request), headers: ["Idempotency-Key: \(key)"])
        }
        let clips = (answer["data"]?.array ?? [answer]).compactMap(RemoteClip.init)
        guard clips.count == order.seeds.count else {
            throw Fault(
                .unavailable, "the server answers with \(clips.count) clips for \(order.seeds.count)",
                at: settings.address, hint: "is it a 'ruyi serve' of another version?")
        }
        return clips
    }

    /// Sends an order's pictures and returns their identifiers, by the keys of a request.
    private func pictures(_ order: RemoteOrder) throws -> [String: String] {
        var identifiers: [String: String] = [:]
        for (key, path) in order.pictures {
            let bytes = try order.bytes(ofPicture: path)
            let answer = try patiently { try server.picture(bytes, name: path) }
            for note in answer["notes"]?.array ?? [] { reporter.note(note.string ?? "") }
            identifiers[key] = answer["id"]?.string
        }
        return identifiers
    }

    /// Has a clip of a batch made and puts it into its file.
    ///
    /// Throws `Faults` for what the server says about this clip, and a `Fault` when it cannot be reached.
    func make(_ clip: RemoteBatch.Clip) throws -> (clip: RemoteClip, seconds: Double) {
        var sent: [RemoteClip] = []
        do {
            sent = try submit(clip.order)
            return try finish(sent[0], place: clip.place, into: clip.file, overwrite: clip.replaces)
        } catch {
            if cancellation.isCancelled { cancel(sent) }
            // Without the server no clip can be made; everything else is this clip's own.
            guard let fault = error as? Fault, fault.kind != .unavailable else { throw error }
            throw Faults(fault)
        }
    }

    // MARK: Waiting

    /// Waits for a clip of a run and puts it into a file.
    ///
    /// Throws what went wrong on the server.
    @discardableResult
    func finish(
        _ clip: RemoteClip, place: (index: Int, count: Int), into file: String, overwrite: Bool
    ) throws -> (clip: RemoteClip, seconds: Double) {
        let start = elapsed
        let over = try follow(clip.id, place)
        switch over.state {
        case .done: break
        case .cancelled:
            throw Faults(Fault(.unavailable, "the clip was cancelled on the server", at: clip.id))
        default:
            throw Faults(RemoteServer.fault(over.error ?? .null))
        }
        try fetch(over, into: file, overwrite: overwrite)
        let seconds = elapsed - start
        reporter.finished(over, file: file, seconds: seconds)
        return (over, seconds)
    }

    /// A clip of the server.
    func clip(_ id: String) throws -> RemoteClip {
        guard let clip = RemoteClip(try patiently(id) { try server.ask("GET", "/v1/videos/\(id)") }) else {
            throw Fault(.unavailable, "the server's answer is no clip", at: settings.address)
        }
        return clip
    }

    /// Follows a clip to its end.
    private func follow(_ id: String, _ place: (index: Int, count: Int)) throws -> RemoteClip {
        while true {
            var last: RemoteClip?
            try patiently(id) {
                try server.events(of: id) { name, json in
                    guard let event = RemoteEvent(name, json, clip: place, elapsed: elapsed) else { return }
                    reporter.receive(event)
                    if case .state(let clip) = event.content { last = clip }
                }
            }
            if let last, last.state.isOver { return last }
            let clip = try clip(id)
            if clip.state.isOver { return clip }
            // The server goes on with it when it is back.
            try cancellation.wait(0.5)
        }
    }

    /// Puts a clip that is done into a file, whole or not at all.
    private func fetch(_ clip: RemoteClip, into path: String, overwrite: Bool) throws {
        let file = try FetchedFile(path, overwrites: overwrite)
        repeat {
            let before = file.count
            try patiently(clip.id) {
                try server.content(of: clip.id, from: file.count) { restarts, bytes in
                    try file.append(bytes, restarts: restarts)
                }
            }
            if file.count == before { break }
        } while file.count < clip.byteCount ?? file.count
        guard file.count > 0, file.count == clip.byteCount ?? file.count else {
            throw Fault(
                .unavailable, "the server sends \(file.count) bytes of a clip of \(clip.byteCount ?? 0)", at: clip.id)
        }
        try file.commit()
    }

    /// Takes clips out of the server's queue, or stops the one that is being made.
    func cancel(_ clips: [RemoteClip]) {
        guard let server = try? RemoteServer(settings.hurried, isCancelled: { false }) else { return }
        for clip in clips { _ = try? server.ask("POST", "/v1/videos/\(clip.id)/cancel") }
    }

    // MARK: Trouble

    /// Does it again while the server cannot be reached; what it makes meanwhile is `id`.
    private func patiently<Value>(_ id: String? = nil, _ body: () throws -> Value) throws -> Value {
        let start = elapsed
        var wait = 0.5
        while true {
            do {
                return try body()
            } catch ServerFailure.refused(let fault) {
                throw Faults(fault)
            } catch ServerFailure.unreachable(let fault) {
                let patience = id == nil ? RemoteRun.patience.sending : RemoteRun.patience.waiting
                guard elapsed - start < patience else {
                    throw Fault(
                        fault.kind, fault.what, at: fault.place,
                        hint: id.map { "the server may make it all the same: ruyi submit --attach \($0)" } ?? fault.hint
                    )
                }
                if wait == 0.5 { reporter.note("\(fault.what); trying again") }
                try cancellation.wait(wait)
                wait = min(wait * 2, 16)
            }
        }
    }
}
