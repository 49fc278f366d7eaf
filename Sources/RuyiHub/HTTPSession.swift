import CCurl
import Glibc
import RuyiFault

/// What a request came to nothing through: the fault, and whether asking again may help.
struct Setback: Error {
    /// What is said when asking again has not helped.
    let fault: Fault
    /// Whether asking again may help.
    let isPassing: Bool
    /// How many seconds the server asked to wait.
    let wait: Double?

    init(_ fault: Fault, isPassing: Bool = false, wait: Double? = nil) {
        self.fault = fault
        self.isPassing = isPassing
        self.wait = wait
    }
}

/// The status and the headers of an answer.
struct HTTPHead: Sendable {
    /// The status code; 0 before the first line.
    var status = 0
    private var fields: [String: String] = [:]

    /// The value of a header by its name in lower case; of several the last.
    subscript(name: String) -> String? { fields[name] }

    /// Takes in a line; one that begins with `HTTP/` begins a new head.
    mutating func take(_ line: String) {
        if line.hasPrefix("HTTP/") {
            self = HTTPHead()
            let words = line.split(separator: " ", maxSplits: 2)
            status = words.count > 1 ? Int(words[1]) ?? 0 : 0
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...]
            fields[line[..<colon].lowercased()] = String(value.trimmed)
        }
    }
}

/// How a session speaks to the host that it is for.
protocol HTTPSettings: Sendable {
    /// Seconds within which a connection must come about.
    var connectSeconds: Int { get }
    /// Seconds after which a transfer in which nothing comes is given up.
    var stallSeconds: Int { get }
    /// Where its address was given, for messages.
    var addressName: String { get }
    /// What is shown to the host of an address; nil for hosts that it is not for.
    func token(for address: String) -> String?
}

/// A connection over which requests are made, one after the other.
///
/// One thread at a time uses it. Redirects are followed here: to http and https alone, never from https to http, and
/// the token goes to the host that it is for and to no other.
final class HTTPSession {
    private let curl: OpaquePointer
    private let settings: any HTTPSettings
    /// Bytes a second at most; 0 is no limit.
    private let rate: Int
    private let isCancelled: @Sendable () -> Bool

    /// Opens libcurl.
    ///
    /// Throws `.unavailable` when it is not installed.
    init(_ settings: any HTTPSettings, rate: Int = 0, isCancelled: @escaping @Sendable () -> Bool) throws(Fault) {
        var message = [CChar](repeating: 0, count: 256)
        guard let curl = ruyi_curl_open(&message, message.count) else {
            throw Fault(
                .unavailable, String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self),
                hint: "install it (Debian: apt-get install libcurl4)")
        }
        self.curl = curl
        self.settings = settings
        self.rate = rate
        self.isCancelled = isCancelled
    }

    deinit { ruyi_curl_close(curl) }

    /// Asks for an address and hands the body of an answer with a status of success to `body`, piece by piece, until it throws.
    ///
    /// Throws a `Setback` for what fails on the way and what `body` throws; every other status is the caller's to
    /// judge.
    func get(
        _ address: String, headers: [String] = [], body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    ) throws -> HTTPHead {
        var address = address
        for _ in 0...10 {
            if HTTPAddress.origin(of: address) == nil {
                throw Setback(Fault(.unavailable, "the server leads to an address that is not used", at: address))
            }
            let (head, next, _) = try exchange(nil, address, headers, nil, body)
            guard (300...399).contains(head.status), head.status != 304 else { return head }
            guard let next else {
                throw Setback(Fault(.unavailable, "the server leads on to nowhere", at: address), isPassing: true)
            }
            if address.hasPrefix("https:"), !next.lowercased().hasPrefix("https:") {
                throw Setback(Fault(.unavailable, "the server leads from https to \(next.prefix(60))", at: address))
            }
            address = next
        }
        throw Setback(Fault(.unavailable, "the server leads on more than ten times", at: address))
    }

    /// Makes a request of any kind and hands the body of an answer with a status of 200 to 299 to `body`, piece by piece,
    /// until it throws; that of another status, which is short, is returned.
    ///
    /// Throws as `get` does.
    func send(
        _ method: String, _ address: String, headers: [String] = [], content: [UInt8]? = nil,
        body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    ) throws -> (head: HTTPHead, page: [UInt8]) {
        // Without "Expect:" some would let a larger content wait for a second.
        let (head, _, page) = try exchange(method, address, headers + ["Expect:"], content, body)
        return (head, page)
    }

    /// One request without redirects.
    private func exchange(
        _ method: String?, _ address: String, _ headers: [String], _ content: [UInt8]?,
        _ body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    ) throws -> (HTTPHead, redirect: String?, page: [UInt8]) {
        var headers = ["Accept-Encoding: identity", "User-Agent: ruyi"] + headers
        if let token = settings.token(for: address) { headers.append("Authorization: Bearer \(token)") }
        return try withoutActuallyEscaping(body) { body in
            let exchange = Exchange(body: body, isCancelled: isCancelled)
            var answer = RuyiCurlAnswer()
            // In this order: the address, the headers, the method if there is one.
            let texts = ([address] + headers + [method].compactMap { $0 }).map { strdup($0) }
            defer { texts.forEach { free($0) } }
            let lines = texts[1...headers.count].map { UnsafePointer($0) }
            lines.withUnsafeBufferPointer { lines in
                (content ?? []).withUnsafeBufferPointer { sent in
                    var request = RuyiCurlRequest()
                    request.url = UnsafePointer(texts[0])
                    request.method = method == nil ? nil : UnsafePointer(texts[texts.count - 1])
                    request.sent = content == nil ? nil : sent.baseAddress
                    request.sent_count = sent.count
                    request.headers = lines.baseAddress
                    request.header_count = lines.count
                    request.connect_seconds = settings.connectSeconds
                    request.stall_seconds = settings.stallSeconds
                    request.rate = Int64(rate)
                    request.context = Unmanaged.passUnretained(exchange).toOpaque()
                    request.header = { Exchange.of($0).header($1, $2) }
                    request.body = { Exchange.of($0).body($1, $2) }
                    request.poll = { Exchange.of($0).poll() }
                    ruyi_curl_perform(curl, &request, &answer)
                }
            }
            if isCancelled() { throw Setback(Fault(.interrupted, "stopped before the end")) }
            if let error = exchange.error { throw error }
            let status = answer.status
            if Int(status) != RUYI_CURL_OK {
                let message = answer.message.map { String(cString: $0) } ?? ""
                throw setback(Int(status), message, address)
            }
            return (exchange.head, answer.redirect.map { String(cString: $0) }, exchange.page)
        }
    }

    /// What a failure on the way means.
    private func setback(_ status: Int, _ message: String, _ address: String) -> Setback {
        let place = HTTPAddress.origin(of: address) ?? address
        switch status {
        case RUYI_CURL_HOST:
            return Setback(
                Fault(.unavailable, "the host is not known: \(message)", at: place, hint: "is there a network?"))
        case RUYI_CURL_TRUST:
            return Setback(
                Fault(
                    .unavailable, "the host's certificate is not to be trusted: \(message)", at: place,
                    hint: "install the ca-certificates package, or check the clock and \(settings.addressName)"))
        case RUYI_CURL_STALLED:
            return Setback(Fault(.unavailable, "nothing came for too long: \(message)", at: place), isPassing: true)
        case RUYI_CURL_UNUSABLE: return Setback(Fault(.unavailable, message, at: place))
        default: return Setback(Fault(.unavailable, "the transfer broke off: \(message)", at: place), isPassing: true)
        }
    }
}

/// What comes in during one request.
private final class Exchange {
    /// What an error page may have before it is cut off.
    private static let pageLimit = 1 << 20

    private(set) var head = HTTPHead()
    /// What ended the request from this side.
    private(set) var error: (any Error)?
    /// The body of an answer whose status is not one of success.
    private(set) var page: [UInt8] = []
    private let take: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    private let isCancelled: @Sendable () -> Bool

    init(
        body: @escaping (HTTPHead, UnsafeRawBufferPointer) throws -> Void, isCancelled: @escaping @Sendable () -> Bool
    ) {
        take = body
        self.isCancelled = isCancelled
    }

    static func of(_ context: UnsafeMutableRawPointer?) -> Exchange {
        guard let context else { preconditionFailure("a callback without its request") }
        return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    }

    func header(_ line: UnsafePointer<CChar>?, _ length: Int) -> Int32 {
        let bytes = UnsafeRawBufferPointer(start: line, count: length)
        head.take(String(decoding: bytes, as: UTF8.self))
        return 0
    }

    func body(_ bytes: UnsafePointer<UInt8>?, _ length: Int) -> Int32 {
        do {
            if (200...299).contains(head.status) {
                if let encoding = head["content-encoding"]?.lowercased(), encoding != "identity" {
                    throw Setback(
                        Fault(
                            .unavailable, "the server sends the file encoded as \(encoding), which was not asked for"),
                        isPassing: true)
                }
                try take(head, UnsafeRawBufferPointer(start: bytes, count: length))
            } else {
                if page.count + length > Exchange.pageLimit {
                    throw Setback(Fault(.unavailable, "the server's answer has no end"), isPassing: true)
                }
                page += UnsafeRawBufferPointer(start: bytes, count: length)
            }
            return poll()
        } catch {
            self.error = error
            return 1
        }
    }

    func poll() -> Int32 { isCancelled() ? 1 : 0 }
}

extension Substring {
    /// Without blanks and line ends on both sides.
    fileprivate var trimmed: Substring {
        var rest = self
        while let first = rest.first, first.isWhitespace { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return rest
    }
}
