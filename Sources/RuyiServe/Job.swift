import GRDB
import RuyiEngine
import RuyiFiles

/// A clip that somebody asked for, as the queue keeps it.
struct Job: Codable, Sendable, FetchableRecord, PersistableRecord {
    /// How far a job is.
    enum State: String, Codable, Sendable, CaseIterable {
        case queued, running, done, failed, cancelled

        /// Whether nothing more happens to it.
        var isOver: Bool { self != .queued && self != .running }
        /// The word that OpenAI's interface has for it.
        var status: String {
            switch self {
            case .queued: "queued"
            case .running: "in_progress"
            case .done: "completed"
            case .failed, .cancelled: "failed"
            }
        }
    }

    static let databaseTableName = "job"

    let id: String
    /// Seconds since 1970.
    let created: Double
    var state: State
    /// Those with smaller numbers are rendered first.
    var place: Double
    /// The model's name.
    let model: String
    /// The settings of the request, as a JSON object.
    let settings: String
    /// The identifiers of its pictures.
    let picture: String?
    let endPicture: String?
    /// The clip's file in the folder.
    let name: String
    /// What `ruyi plan --json` says of it.
    let plan: String
    /// The job that it is a change of.
    let origin: String?
    /// What a client sends with a request so that the same one sent again makes no second job.
    let key: String?
    var started: Double?
    var ended: Double?
    var bytes: Int?
    /// The error, as a JSON object.
    var error: String?

    /// A new identifier: 22 letters and digits, which nobody guesses.
    static func newIdentifier() -> String {
        let letters = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        return "video_" + String((0..<22).map { _ in letters[Int.random(in: 0..<letters.count)] })
    }

    /// The media type of the clip.
    var mediaType: String {
        switch Path.suffix(name) {
        case "mp4": "video/mp4"
        case "mov": "video/quicktime"
        case "webm": "video/webm"
        case "mkv": "video/x-matroska"
        case "gif": "image/gif"
        case "webp": "image/webp"
        default: "application/octet-stream"
        }
    }

    /// The job as answers have it; `live` of the one that is being rendered, `rank` its place in the queue.
    func json(live: LiveJob?, rank: Int?) -> JSON {
        let plan = JSON.stored(self.plan)
        let settings = JSON.stored(self.settings)
        let (width, height) = (plan["width"]?.int ?? 0, plan["height"]?.int ?? 0)
        let frames = plan["frames"]?.int ?? 0
        let seconds = plan["seconds"]?.double ?? 0
        let progress = state == .done ? 100 : Int(((live?.fraction ?? 0) * 100).rounded(.down))
        return .object([
            "id": .string(id), "object": "video", "status": .string(state.status), "state": .string(state.rawValue),
            "progress": .int(progress), "created_at": .int(Int(created)),
            "started_at": .number(started.map { Int($0) }),
            "completed_at": .number(state == .done ? ended.map { Int($0) } : nil),
            "ended_at": .number(ended.map { Int($0) }), "expires_at": .null, "model": .string(model),
            "prompt": settings["prompt"] ?? .null, "size": .string("\(width)x\(height)"),
            "seconds": .string(JSON.double((seconds * 100).rounded() / 100).text()), "frames": .int(frames),
            "fps": plan["fps"] ?? .null, "seed": plan["seed"] ?? .null, "quality": "standard",
            "error": error.map(JSON.stored) ?? .null, "name": .string(name), "bytes": .number(bytes),
            "position": .number(rank), "remaining_seconds": .number(live?.remaining),
            "stage": .text(live?.stage), "settings": settings, "picture": .text(picture),
            "end_picture": .text(endPicture), "remixed_from_video_id": .text(origin),
            "command": .string(CommandLine.text(self, settings)), "grows": .bool(plan["grows"] == .bool(true)),
            "has_preview": .bool(live?.previews ?? 0 > 0),
        ])
    }
}

/// What is known of the job that is being rendered.
struct LiveJob: Sendable {
    var fraction = 0.0
    var remaining: Double?
    var stage: String?
    /// How many previews there were.
    var previews = 0
}

/// The command that makes a clip without a server.
enum CommandLine {
    static func text(_ job: Job, _ settings: JSON) -> String {
        var words = ["ruyi"]
        if job.picture != nil { words.append("PICTURE") }
        words += ["--model", quoted(job.model)]
        for member in settings.members ?? [] {
            guard let setting = SettingsTable.standard[member.key], setting.traits.option != nil else { continue }
            switch member.value {
            case .bool(let isOn):
                words.append(isOn ? setting.option : "--no-" + setting.option.dropFirst(2))
            default:
                let list = member.value.array.map { $0.map { $0.string ?? $0.text() }.joined(separator: ",") }
                words += [setting.option, quoted(list ?? member.value.string ?? member.value.text())]
            }
        }
        if job.endPicture != nil { words += ["--end-image", "END_PICTURE"] }
        return (words + ["-o", quoted(job.name)]).joined(separator: " ")
    }

    private static func quoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./,:+%".contains($0)) }
        return isPlain
            ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
