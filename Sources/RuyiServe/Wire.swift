import HTTPTypes
import Hummingbird
import NIOCore
import RuyiEngine
import RuyiFault
import RuyiFiles

extension JSON {
    /// An object with its members in this order.
    static func object(_ members: KeyValuePairs<String, JSON>) -> JSON {
        .object(members.map { Member($0.key, $0.value) })
    }

    /// A value, or null.
    static func text(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }
    /// A value, or null.
    static func number(_ value: Double?) -> JSON { value.map(JSON.double) ?? .null }
    /// A value, or null.
    static func number(_ value: Int?) -> JSON { value.map(JSON.int) ?? .null }

    /// The same object with other members behind its own.
    func adding(_ members: KeyValuePairs<String, JSON>) -> JSON {
        .object((self.members ?? []) + members.map { Member($0.key, $0.value) })
    }

    /// The value of a text that this program has written.
    static func stored(_ text: String) -> JSON { (try? JSON.parse(Array(text.utf8), file: "queue")) ?? .null }
}

extension Response {
    /// A document.
    static func json(_ json: JSON, status: HTTPResponse.Status = .ok) -> Response {
        text(json.text(), type: "application/json; charset=utf-8", status: status)
    }

    /// A text of a media type.
    static func text(_ text: String, type: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// What is wrong with a request, in the form that OpenAI's clients read.
struct Refusal: Error, HTTPResponseError {
    let status: HTTPResponse.Status
    /// One line, in the words of the command line.
    let message: String
    /// A word for programs.
    let code: String
    /// The key that it is about.
    var param: String?
    /// What to do about it.
    var hint: String?
    /// Settings with which it would work.
    var suggestion: JSON?

    init(
        _ status: HTTPResponse.Status, _ code: String, _ message: String, param: String? = nil, hint: String? = nil
    ) {
        (self.status, self.code, self.message, self.param, self.hint) = (status, code, message, param, hint)
    }

    /// The faults of an order, the first of which decides the status.
    init(_ faults: Faults) {
        let first = faults.list.first
        let kind = first?.kind ?? .software
        self.init(
            Refusal.status(of: kind), Refusal.code(of: kind),
            faults.list.map { Redaction.clean($0.what) }.joined(separator: "; "),
            param: first.flatMap(Refusal.key), hint: first?.hint.map(Redaction.clean))
    }

    /// What is wrong with a plan, if anything, and with which setting it would fit.
    static func check(_ report: PlanReport) throws(Refusal) {
        guard let fault = report.refusal else { return }
        var refusal = Refusal(Faults(fault))
        refusal.suggestion = report.suggestion.map { .object([$0]) }
        throw refusal
    }

    /// Does `body`, and refuses with its fault.
    static func of<Value>(_ body: () throws(Fault) -> Value) throws(Refusal) -> Value {
        do { return try body() } catch { throw Refusal(Faults(error)) }
    }

    /// Does `body`, and refuses with all its faults.
    static func ofAll<Value>(_ body: () throws(Faults) -> Value) throws(Refusal) -> Value {
        do { return try body() } catch { throw Refusal(error) }
    }

    /// There is no such thing.
    static func missing(_ what: String) -> Refusal { Refusal(.notFound, "not_found", "there is no such \(what)") }

    /// The setting that a fault is about: its place, or the key or option that its words name first.
    private static func key(of fault: Fault) -> String? {
        let words = fault.what.split { !($0.isLetter || $0.isNumber || "-_".contains($0)) }.map { word in
            String(word.drop { $0 == "-" }.map { $0 == "-" ? "_" : $0 })
        }
        let isNamed = fault.what.contains("'") || fault.what.contains("--") || fault.what.contains(" is ")
        let named = isNamed ? words.first { SettingsTable.standard[$0] != nil && $0 != "memory" } : nil
        return fault.place.flatMap { SettingsTable.standard[$0]?.key } ?? named
    }

    /// The word that stands for a kind of fault.
    static func code(of kind: Fault.Kind) -> String {
        kind == .resources
            ? "does_not_fit"
            : kind.exitStatus.name.map { $0.isLetter ? String($0) : "_" }.joined()
    }

    private static func status(of kind: Fault.Kind) -> HTTPResponse.Status {
        switch kind {
        case .usage, .badData, .cannotOpen, .configuration: .badRequest
        case .resources: .unprocessableContent
        case .unavailable: .notFound
        case .locked: .conflict
        case .cannotCreate, .io: HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")
        case .partial, .software, .interrupted, .terminated: .internalServerError
        }
    }

    /// The error as answers and records hold it.
    var json: JSON {
        var error = JSON.object([
            "message": .string(message),
            "type": .string(status.code < 500 ? "invalid_request_error" : "server_error"), "param": .text(param),
            "code": .string(code), "hint": .text(hint),
        ])
        if let suggestion { error = error.adding(["suggestion": suggestion]) }
        return error
    }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        .json(.object(["error": json]), status: status)
    }
}

/// Keeps where things lie on the machine out of what others read.
enum Redaction {
    /// The text with every absolute path cut to its last part.
    static func clean(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let slash = rest.firstIndex(of: "/") {
            let before = rest[..<slash]
            result += before
            rest = rest[slash...]
            let isStart = before.last.map { " ('\"=:,".contains($0) } ?? true
            let end = rest.firstIndex { " ()'\",;".contains($0) } ?? rest.endIndex
            let path = rest[..<end]
            if isStart, !before.hasSuffix("http:"), !before.hasSuffix("https:") {
                result += path.split(separator: "/").last ?? ""
            } else {
                result += path
            }
            rest = rest[end...]
        }
        return result + rest
    }
}
