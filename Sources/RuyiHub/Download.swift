import Glibc
import RuyiFault
import RuyiFiles

/// The way of one file from the hub: asked for from where an earlier attempt ended, checked, and named.
///
/// Whatever a server answers, the file gets its name only with the digest that the listing states.
struct Download {
    let address: String
    let file: ModelManifest.Entry
    let session: HTTPSession
    let settings: HubSettings
    /// Is told by how many bytes more (or fewer, when a file begins anew) there are.
    let arrived: (Int) -> Void
    /// Is told why something is done again.
    let note: (String) -> Void
    let isCancelled: @Sendable () -> Bool

    /// How many bytes must come for the count of attempts to begin anew.
    private static let progressBytes = 64 << 10

    /// Fetches the file.
    ///
    /// Throws `.badData` when the whole file twice does not have its digest, `.unavailable` or `.locked` when the hub
    /// does not give it, `.io` when it cannot be written, `.interrupted`.
    func run(into part: PartialFile) throws(Fault) {
        arrived(part.count)
        var attempt = 0
        var mismatches = 0
        do {
            while true {
                if part.count == file.byteCount {
                    if part.isWhole { return try part.commit() }
                    mismatches += 1
                    try restart(part)
                    guard mismatches < 2 else {
                        throw Fault(
                            .badData, "what the hub sends does not have the digest that it states", at: file.name,
                            hint: "try again later; if it stays so, the hub's copy is damaged")
                    }
                    note("\(file.name) does not have its digest and is fetched anew")
                    continue
                }
                let before = part.count
                do {
                    try fetch(part)
                    if part.count == file.byteCount { continue }
                    throw Setback(
                        Fault(
                            .unavailable, "the file ended after \(part.count) of \(file.byteCount) bytes",
                            at: file.name), isPassing: true)
                } catch let setback as Setback {
                    guard setback.isPassing else { throw setback.fault }
                    attempt = part.count - before >= Download.progressBytes ? 1 : attempt + 1
                    try Retry(settings: settings, isCancelled: isCancelled).wait(after: setback, attempt: attempt) {
                        note("\(file.name): \($0)")
                    }
                }
            }
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(.software, "\(error)")
        }
    }

    private func restart(_ part: PartialFile) throws(Fault) {
        arrived(-part.count)
        try part.restart()
    }

    /// One request for what is missing.
    private func fetch(_ part: PartialFile) throws {
        var headers: [String] = []
        if part.count > 0 {
            headers.append("Range: bytes=\(part.count)-")
            if let version = part.version { headers.append("If-Range: \(version)") }
        }
        let asked = part.count
        var isBegun = false
        let head = try session.get(address, headers: headers) { head, bytes in
            if !isBegun {
                try begin(part, head, asked: asked)
                isBegun = true
            }
            guard bytes.count <= file.byteCount - part.count else {
                try restart(part)
                throw Setback(
                    Fault(.unavailable, "the server sends more than the \(file.byteCount) bytes", at: file.name),
                    isPassing: true)
            }
            try part.append(bytes)
            arrived(bytes.count)
        }
        switch head.status {
        case 200, 206: if !isBegun { try begin(part, head, asked: asked) }
        case 416:
            try restart(part)
            throw Setback(
                Fault(.unavailable, "the server has no such part of the file", at: file.name), isPassing: true)
        default: throw Retry.setback(head, at: address)
        }
    }

    /// Judges the head of an answer before any of its body is taken.
    private func begin(_ part: PartialFile, _ head: HTTPHead, asked: Int) throws {
        // A weak name does not promise the same bytes.
        let version = head["etag"].flatMap { $0.hasPrefix("W/") || $0.count > 512 ? nil : $0 }
        if head.status == 200 {
            // The whole file, whatever was asked for.
            if asked > 0 { try restart(part) }
            if let length = head["content-length"], Int(length) != file.byteCount {
                throw Setback(
                    Fault(
                        .unavailable, "the server's file has \(length.prefix(20)) bytes and not \(file.byteCount)",
                        at: file.name), isPassing: true)
            }
        } else {
            guard asked > 0, let range = ContentRange(head["content-range"] ?? ""), range.first == asked,
                range.last == file.byteCount - 1, range.total ?? file.byteCount == file.byteCount
            else {
                try restart(part)
                throw Setback(
                    Fault(
                        .unavailable,
                        "the server sends another part than was asked for: \((head["content-range"] ?? "unnamed").prefix(60))",
                        at: file.name), isPassing: true)
            }
            if let known = part.version, let version, version != known {
                try restart(part)
                throw Setback(
                    Fault(.unavailable, "the server's file was changed meanwhile", at: file.name), isPassing: true)
            }
        }
        try part.note(version)
    }
}

/// The value of a `Content-Range` header, `bytes 5-99/100` or `bytes 5-99/*`.
struct ContentRange: Equatable {
    let first: Int
    let last: Int
    let total: Int?

    init?(_ text: String) {
        guard text.lowercased().hasPrefix("bytes ") else { return nil }
        let parts = text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = ContentRange.number(ends[0]), let last = ContentRange.number(ends[1]),
            first <= last
        else { return nil }
        (self.first, self.last) = (first, last)
        if parts[1] == "*" {
            total = nil
        } else {
            guard let total = ContentRange.number(parts[1]), last < total else { return nil }
            self.total = total
        }
    }

    private static func number(_ text: Substring) -> Int? {
        text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
    }
}

/// Waits between attempts, and the end of them.
struct Retry {
    let settings: HubSettings
    let isCancelled: @Sendable () -> Bool

    /// Waits as long as the server asked, or twice as long each time.
    ///
    /// Throws the setback's fault after the last attempt, `.locked` when the server asks for too long a wait,
    /// `.interrupted`.
    func wait(after setback: Setback, attempt: Int, note: (String) -> Void) throws(Fault) {
        guard attempt <= settings.retries else { throw setback.fault }
        let wait = setback.wait ?? settings.firstWait * exp2(Double(attempt - 1))
        guard wait <= settings.longestWait else {
            throw Fault(
                .locked, "the server asks to come back in \(Int(min(wait, 1e9))) seconds", at: setback.fault.place,
                hint: "run the same command again then: it goes on where it stopped")
        }
        note("\(setback.fault.what); trying again")
        var left = wait
        while left > 0 {
            if isCancelled() { throw Fault(.interrupted, "stopped before the end") }
            usleep(useconds_t(min(left, 0.1) * 1_000_000))
            left -= 0.1
        }
        if isCancelled() { throw Fault(.interrupted, "stopped before the end") }
    }

    /// What a status other than success means.
    static func setback(_ head: HTTPHead, at address: String) -> Setback {
        let place = String(address.prefix(200))
        let wait = head["retry-after"].flatMap(Double.init).flatMap { $0 >= 0 ? $0 : nil }
        switch head.status {
        case 401, 403:
            return Setback(
                Fault(
                    .unavailable, "the hub does not give this to everybody (status \(head.status))", at: place,
                    hint: "accept the model's licence on its page, and set HF_TOKEN to a token of yours"))
        case 404, 410:
            return Setback(
                Fault(
                    .unavailable, "the hub has no such repository, revision or file (status \(head.status))", at: place,
                    hint: "'ruyi models list --all' names what is known"))
        case 429:
            return Setback(
                Fault(
                    .locked, "the hub asks to try again later (status 429)", at: place,
                    hint: "run the same command again later: it goes on where it stopped"), isPassing: true,
                wait: wait)
        case 408, 500...599:
            return Setback(
                Fault(
                    .unavailable, "the hub has trouble (status \(head.status))", at: place,
                    hint: "run the same command again later: it goes on where it stopped"), isPassing: true,
                wait: wait)
        default:
            return Setback(Fault(.unavailable, "the hub answers with status \(head.status)", at: place))
        }
    }
}
