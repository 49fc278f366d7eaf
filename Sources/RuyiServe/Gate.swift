import GRDB
import HTTPTypes
import Hummingbird
import NIOCore
import RuyiEngine
import RuyiFault
import RuyiFiles

/// Lets in only who may come: requests that name this server, from its own pages or from programs, with the token where
/// one is asked for.
struct Gate<Context: RequestContext>: RouterMiddleware {
    /// The names by which a server that asks for no token may be called, without ports.
    let hosts: Set<String>
    /// The token that every request has to bring; nil where only this machine reaches the server.
    let token: String?

    /// The name of the cookie that holds the token.
    private static var cookie: String { "ruyi-token" }

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        try check(request)
        var answer: Response
        if let refusal = tokenRefusal(request) {
            guard request.method == .get, request.uri.path == "/" else { throw refusal }
            if let given = request.uri.queryParameters["token"].map(String.init), isToken(given) {
                return Response(
                    status: .seeOther,
                    headers: [
                        .location: "/",
                        .setCookie: "\(Gate.cookie)=\(given); HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000",
                    ])
            }
            answer = .text(Gate.form, type: "text/html; charset=utf-8", status: .unauthorized)
        } else {
            answer = try await next(request, context)
        }
        // Nothing from elsewhere runs in the page, and nothing shows it in a frame.
        answer.headers[.contentSecurityPolicy] =
            "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
            + "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        answer.headers[.xContentTypeOptions] = "nosniff"
        if let name = HTTPField.Name("Referrer-Policy") { answer.headers[name] = "no-referrer" }
        if let name = HTTPField.Name("Cross-Origin-Resource-Policy") { answer.headers[name] = "same-origin" }
        return answer
    }

    /// Refuses names that point here only since somebody made them do so, and pages of other places.
    private func check(_ request: Request) throws {
        // Where a token is asked for, a name that somebody made up leads nowhere.
        guard let authority = request.head.authority, token != nil || hosts.contains(Gate.host(authority)) else {
            throw Refusal(
                .forbidden, "forbidden", "this server is not called '\((request.head.authority ?? "").prefix(80))'",
                hint: "call it \(hosts.sorted().joined(separator: ", "))")
        }
        if let origin = request.headers[.origin], origin != "http://\(authority)", origin != "https://\(authority)" {
            throw Refusal(.forbidden, "forbidden", "pages of other places may not use this server")
        }
        if let name = HTTPField.Name("Sec-Fetch-Site"), let site = request.headers[name],
            site == "cross-site" || site == "same-site", request.uri.path != "/" || request.method != .get
        {
            throw Refusal(.forbidden, "forbidden", "pages of other places may not use this server")
        }
    }

    /// A name without its port, in lower case.
    static func host(_ authority: String) -> String {
        let text = authority.lowercased()
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") { return String(text[...end]) }
        return text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
    }

    private func tokenRefusal(_ request: Request) -> Refusal? {
        guard token != nil else { return nil }
        if let header = request.headers[.authorization], header.hasPrefix("Bearer "),
            isToken(String(header.dropFirst(7)))
        {
            return nil
        }
        if let value = request.cookies[Gate.cookie]?.value, isToken(value) { return nil }
        return Refusal(
            .unauthorized, "unauthorized", "the token is missing or wrong",
            hint: "send it as 'Authorization: Bearer TOKEN'")
    }

    /// Compares in a time that depends on nothing but the length of what was sent.
    private func isToken(_ given: String) -> Bool {
        guard let token else { return true }
        let (expected, found) = (SHA256.hex(Array(token.utf8)).utf8, SHA256.hex(Array(given.utf8)).utf8)
        return zip(expected, found).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static var form: String {
        """
        <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
        <title>ruyi</title><form action="/"><label>Token <input name="token" type="password" autofocus></label>
        <button>Open</button></form></html>
        """
    }
}

/// Turns what goes wrong into answers, and answers of the router into the same form.
struct Apologies<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let refusal as Refusal {
            return try refusal.response(from: request, context: context)
        } catch let faults as Faults {
            return try Refusal(faults).response(from: request, context: context)
        } catch let fault as Fault {
            return try Refusal(Faults(fault)).response(from: request, context: context)
        } catch let error as HTTPError {
            let refusal =
                switch error.status.code {
                case 404: Refusal.missing("address")
                case 405: Refusal(.methodNotAllowed, "method", "this address does not take \(request.method.rawValue)")
                case 413: Refusal(.contentTooLarge, "too_large", "the request is too large")
                default: Refusal(error.status, "data", Redaction.clean(error.body ?? error.status.reasonPhrase))
                }
            return try refusal.response(from: request, context: context)
        } catch let error as DatabaseError where error.resultCode == .SQLITE_FULL {
            let refusal = Refusal(
                HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"), "i_o",
                "the queue cannot be written: no space left on the disk", hint: "free some space and ask again")
            return try refusal.response(from: request, context: context)
        } catch {
            let refusal = Refusal(
                .internalServerError, "internal", "the server could not do that: \(Redaction.clean("\(error)"))")
            return try refusal.response(from: request, context: context)
        }
    }
}
