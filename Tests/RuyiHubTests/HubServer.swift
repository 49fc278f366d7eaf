import Glibc
import Synchronization

/// A hub on this machine that serves files and misbehaves as it is told: one connection, one answer.
final class HubServer: Sendable {
    /// What came in.
    struct Request: Sendable {
        let method: String
        let path: String
        let headers: [String: String]
        let body: [UInt8]

        /// The first byte that is asked for; nil without a range.
        var start: Int? {
            headers["range"].flatMap { Int($0.dropFirst("bytes=".count).prefix { $0 != "-" }) }
        }
    }

    /// What goes out: head, body, and what happens to the connection then.
    struct Answer: Sendable {
        var status = 200
        var headers: [(String, String)] = []
        var body: [UInt8] = []
        /// What `Content-Length` says; nil for what the body has, -1 for nothing at all.
        var length: Int?
        /// Bytes of the body after which nothing comes any more for so many seconds.
        var stall: (after: Int, seconds: Double)?
        /// Bytes of the body between which there is a pause of ten milliseconds.
        var pace: Int?
    }

    let port: UInt16
    private let listener: Int32
    private let state = Mutex((requests: [Request](), isOver: false))
    private let answer: @Sendable (Request, Int) -> Answer

    /// Starts a server that asks `answer` what to do about a request; the number counts requests of the same path.
    init(_ answer: @escaping @Sendable (Request, Int) -> Answer) throws {
        self.answer = answer
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, pointer, &length) == 0
            }
        }
        guard isBound else { throw ServerError() }
        port = UInt16(bigEndian: address.sin_port)
        signal(SIGPIPE, SIG_IGN)
        HubServer.thread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                guard let server = self else { return close(connection).ignored() }
                HubServer.thread { [weak server] in
                    server?.serve(connection)
                    close(connection)
                }
            }
        }
    }

    deinit { stop() }

    /// Ends the server; nothing answers at its port then.
    func stop() {
        let wasOver = state.withLock { state in
            defer { state.isOver = true }
            return state.isOver
        }
        if !wasOver {
            shutdown(listener, Int32(SHUT_RDWR))
            close(listener)
        }
    }

    var endpoint: String { "http://127.0.0.1:\(port)" }
    /// What came in so far.
    var requests: [Request] { state.withLock { $0.requests } }

    private static func thread(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Box(body))
        pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<Box>.fromOpaque(raw).takeRetainedValue().body()
                return nil
            }, box.toOpaque())
        pthread_detach(thread)
    }

    private func serve(_ connection: Int32) {
        guard let request = HubServer.read(connection) else { return }
        let number = state.withLock { state in
            state.requests.append(request)
            return state.requests.count { $0.path == request.path } - 1
        }
        let answer = answer(request, number)
        var head = "HTTP/1.1 \(answer.status) Told\r\nConnection: close\r\n"
        for (name, value) in answer.headers { head += "\(name): \(value)\r\n" }
        let length = answer.length ?? answer.body.count
        if length >= 0 { head += "Content-Length: \(length)\r\n" }
        HubServer.write(connection, Array((head + "\r\n").utf8)[...])
        if let stall = answer.stall {
            HubServer.write(connection, answer.body.prefix(stall.after))
            usleep(useconds_t(stall.seconds * 1_000_000))
        } else if let pace = answer.pace {
            for start in stride(from: 0, to: answer.body.count, by: pace) {
                guard HubServer.write(connection, answer.body[start..<min(start + pace, answer.body.count)]) else {
                    return
                }
                usleep(10_000)
            }
        } else {
            HubServer.write(connection, answer.body[...])
        }
    }

    private static func read(_ connection: Int32) -> Request? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        func more() -> Bool {
            let count = Glibc.read(connection, &buffer, buffer.count)
            if count > 0 { bytes += buffer[..<count] }
            return count > 0
        }
        var end: Int?
        while bytes.count < 65_536, end == nil {
            guard more() else { return nil }
            end = bytes.firstRange(of: [13, 10, 13, 10])?.upperBound
        }
        guard let end else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        while bytes.count < end + length { guard more() else { return nil } }
        return Request(
            method: String(words[0]), path: String(words[1]), headers: headers, body: Array(bytes[end...]))
    }

    @discardableResult
    private static func write(_ connection: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}

struct ServerError: Error {}

extension Int32 {
    fileprivate func ignored() {}
}
