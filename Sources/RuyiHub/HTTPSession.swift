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

/// A connection over which files are asked for, one after the other.
///
/// One thread at a time uses it. Redirects are followed here: to http and https alone, never from https to http, and
/// the token goes to the host that it is for and to no other.
final class HTTPSession {
    private let curl: OpaquePointer
    private let settings: HubSettings
    /// Bytes a second at most; 0 is no limit.
    private let rate: Int
    private let isCancelled: @Sendable () -> Bool

    /// Opens libcurl.
    ///
    /// Throws `.unavailable` when it is not installed.
    init(_ settings: HubSettings, rate: Int = 0, isCancelled: @escaping @Sendable () -> Bool) throws(Fault) {
        var message = [CChar](repeating: 0, count: 256)
        guard let curl = ruyi_curl_open(&message, message.count) else {
            throw Fault(
                .unavailable, String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self),
                hint: "install it (Debian: apt-get install libcurl4), or download the model with another program")
        }
        self.curl = curl
        self.settings = settings
        self.rate = rate
        self.isCancelled = isCancelled
    }

    deinit { ruyi_curl_close(curl) }

    /// Asks for an address and hands the body of an answer with a status of 200 or 206 to `body`, piece by piece, until it throws.
    ///
    /// Throws a `Setback` for what fails on the way and what `body` throws; every other status is the caller's to
    /// judge.
    func get(
        _ address: String, headers: [String] = [], body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    ) throws -> HTTPHead {
        var address = address
        for _ in 0...10 {
            try settings.check(address)
            var all = ["Accept-Encoding: identity", "User-Agent: ruyi"] + headers
            if let token = settings.token(for: address) { all.append("Authorization: Bearer \(token)") }
            let (head, next) = try exchange(address, all, body)
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

    /// One request without redirects.
    private func exchange(
        _ address: String, _ headers: [String], _ body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    ) throws -> (HTTPHead, redirect: String?) {
        try withoutActuallyEscaping(body) { body in
            let exchange = Exchange(body: body, isCancelled: isCancelled)
            var answer = RuyiCurlAnswer()
            let lines = headers.map { strdup($0) }
            defer { lines.forEach { free($0) } }
            lines.map { UnsafePointer($0) }.withUnsafeBufferPointer { lines in
                address.withCString { url in
                    var request = RuyiCurlRequest()
                    request.url = url
                    request.headers = lines.baseAddress
                    request.header_count = lines.count
                    request.connect_seconds = settings.connectSeconds
                    request.stall_seconds = settings.stallSeconds
                    request.rate = Int64(rate)
                    request.context = Unmanaged.passUnretained(exchange).toOpaque()
                    request.header = { Exchange.of($0).header($1, $2) }
                    request.body = { Exchange.of($0).body($1, $2) }
                    request.poll = { Exchange.of($0).poll() }
                    ruyi_curl_get(curl, &request, &answer)
                }
            }
            if isCancelled() { throw Setback(Fault(.interrupted, "stopped before the end")) }
            if let error = exchange.error { throw error }
            let status = answer.status
            if Int(status) != RUYI_CURL_OK {
                throw HTTPSession.setback(Int(status), answer.message.map { String(cString: $0) } ?? "", address)
            }
            return (exchange.head, answer.redirect.map { String(cString: $0) })
        }
    }

    /// What a failure on the way means.
    private static func setback(_ status: Int, _ message: String, _ address: String) -> Setback {
        let place = HubSettings.origin(of: address) ?? address
        switch status {
        case RUYI_CURL_HOST:
            return Setback(
                Fault(.unavailable, "the host is not known: \(message)", at: place, hint: "is there a network?"))
        case RUYI_CURL_TRUST:
            return Setback(
                Fault(
                    .unavailable, "the host's certificate is not to be trusted: \(message)", at: place,
                    hint: "install the ca-certificates package, or check the clock and HF_ENDPOINT"))
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
    private let take: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    private let isCancelled: @Sendable () -> Bool
    private var pageCount = 0

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
            if head.status == 200 || head.status == 206 {
                if let encoding = head["content-encoding"]?.lowercased(), encoding != "identity" {
                    throw Setback(
                        Fault(
                            .unavailable, "the server sends the file encoded as \(encoding), which was not asked for"),
                        isPassing: true)
                }
                try take(head, UnsafeRawBufferPointer(start: bytes, count: length))
            } else {
                pageCount += length
                if pageCount > Exchange.pageLimit {
                    throw Setback(Fault(.unavailable, "the server's answer has no end"), isPassing: true)
                }
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
