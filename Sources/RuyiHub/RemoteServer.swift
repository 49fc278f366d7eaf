import Glibc
import RuyiFault
import RuyiFiles

/// Why a server did not do what it was asked for.
package enum ServerFailure: Error {
    /// It answered, and said no.
    case refused(Fault)
    /// No answer came, and another attempt may bring one.
    case unreachable(Fault)

    /// What is said about it.
    package var fault: Fault {
        switch self {
        case .refused(let fault), .unreachable(let fault): fault
        }
    }
}

/// A `ruyi serve` as its clients see it: one request after the other over a connection that is kept.
package final class RemoteServer {
    /// What is sent with a request.
    package struct Content {
        let type: String
        let bytes: [UInt8]

        /// An object.
        package static func json(_ json: JSON) -> Content {
            Content(type: "application/json", bytes: Array(json.text().utf8))
        }
    }

    /// The largest answer that is no clip.
    private static let answerLimit = 64 << 20

    /// The server's address, without a slash at its end.
    package var address: String { settings.address }
    private let settings: ServerSettings
    private let session: HTTPSession

    /// A server that nothing has been asked of yet.
    ///
    /// Throws `.unavailable` when libcurl is not installed.
    package init(_ settings: ServerSettings, isCancelled: @escaping @Sendable () -> Bool) throws(Fault) {
        self.settings = settings
        session = try HTTPSession(settings, isCancelled: isCancelled)
    }

    /// Asks for something and returns the object that is the answer.
    ///
    /// `headers` are whole lines. Throws a `ServerFailure`.
    package func ask(
        _ method: String, _ path: String, sending content: Content? = nil, headers: [String] = []
    ) throws -> JSON {
        var bytes: [UInt8] = []
        try exchange(method, path, content, headers + ["Accept: application/json"]) { _, piece in
            guard bytes.count + piece.count <= RemoteServer.answerLimit else {
                throw Fault(.unavailable, "the server's answer has no end")
            }
            bytes += piece
        }
        guard let json = try? JSON.parse(bytes, file: path), json.members != nil else {
            throw ServerFailure.refused(
                Fault(
                    .unavailable, "the server's answer is no object", at: address + path, hint: "is it a 'ruyi serve'?")
            )
        }
        return json
    }

    /// Sends a picture, with its file's name, and returns what the server says of it.
    ///
    /// Throws a `ServerFailure`.
    package func picture(_ bytes: [UInt8], name path: String) throws -> JSON {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return try ask(
            "POST", "/v1/pictures", sending: Content(type: "application/octet-stream", bytes: bytes),
            headers: ["X-File-Name: \(HTTPAddress.escaped(name, keepingSlash: false))"])
    }

    /// Hands over the events of a video as they come, until the server ends the stream or `receive` throws.
    ///
    /// Throws a `ServerFailure`, or what `receive` throws.
    package func events(of id: String, _ receive: (String, JSON) throws -> Void) throws {
        var stream = EventStream()
        try exchange("GET", "/v1/videos/\(HTTPAddress.escaped(id))/events", nil, ["Accept: text/event-stream"]) {
            try stream.take($1, receive)
        }
    }

    /// Hands over the bytes of a video from one on; where the server begins at the first all the same, `receive` is told
    /// so with the first piece.
    ///
    /// Throws a `ServerFailure`, or what `receive` throws.
    package func content(
        of id: String, from start: Int, _ receive: (_ restarts: Bool, UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let range = start > 0 ? ["Range: bytes=\(start)-"] : []
        var isBegun = false
        try exchange("GET", "/v1/videos/\(HTTPAddress.escaped(id))/content", nil, range) { head, piece in
            let first = head.status == 206 ? ContentRange(head["content-range"] ?? "")?.first : 0
            guard let first, first == start || first == 0 else {
                throw Fault(.unavailable, "the server sends another part of the clip than was asked for")
            }
            try receive(!isBegun && first < start, piece)
            isBegun = true
        }
    }

    private func exchange(
        _ method: String, _ path: String, _ content: Content?, _ headers: [String],
        _ body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let types = content.map { ["Content-Type: \($0.type)"] } ?? []
        do {
            let answer = try session.send(
                method, address + path, headers: headers + types, content: content?.bytes, body: body)
            guard !(200...299).contains(answer.head.status) else { return }
            throw RemoteServer.failure(answer.head.status, answer.page, at: address)
        } catch let setback as Setback {
            if setback.isPassing { throw ServerFailure.unreachable(setback.fault) }
            if setback.fault.kind == .interrupted { throw setback.fault }
            throw ServerFailure.refused(setback.fault)
        } catch let fault as Fault where fault.kind == .unavailable {
            throw ServerFailure.refused(fault)
        }
    }

    /// The fault that an answer tells of, in the server's own words where it has any.
    private static func failure(_ status: Int, _ page: [UInt8], at address: String) -> ServerFailure {
        guard let error = (try? JSON.parse(page, file: "answer"))?["error"], error["message"]?.string != nil else {
            let fault = Fault(
                .unavailable, "the server answers with status \(status)", at: address,
                hint: status < 500 ? "is it a 'ruyi serve'?" : "try again later")
            return [429, 502, 503, 504].contains(status) ? .unreachable(fault) : .refused(fault)
        }
        return .refused(fault(error, status: status))
    }

    /// The fault that an error of the server stands for.
    package static func fault(_ error: JSON, status: Int = 500) -> Fault {
        let code = error["code"]?.string ?? ""
        let known = Fault.Kind.allCases.first { $0.serverCode == code }
        let kind: Fault.Kind =
            switch status {
            case _ where known != nil: known ?? .unavailable
            case 401, 403: .configuration
            case 404, 410: .unavailable
            case 400..<500: .usage
            default: .unavailable
            }
        let hint = code == "unauthorized" ? "set RUYI_TOKEN or give --token-file" : error["hint"]?.string
        return Fault(kind, error["message"]?.string ?? "the server does not say why", hint: hint)
    }
}

extension Fault.Kind {
    /// The word by which a server's errors tell kinds of fault apart.
    fileprivate var serverCode: String {
        self == .resources ? "does_not_fit" : String(exitStatus.name.map { $0.isLetter ? $0 : "_" })
    }
}
