import HTTPTypes
import NIOCore
import RuyiEngine
import RuyiFamilies
import RuyiFault
import RuyiFiles

/// What somebody asks for: settings of a clip under the keys of a request file, a model by its name, pictures.
struct JobRequest: Sendable {
    /// The model's name; nil for the bundled one.
    var model: String?
    /// The pictures' identifiers.
    var picture: String?
    var endPicture: String?
    /// What the clip is called.
    var name: String?
    /// The settings.
    var members: [JSON.Member] = []

    /// The keys that are not settings of a clip.
    private static let pictureKeys = ["input_reference", "image", "picture"]
    private static let endKeys = ["end_image", "end_picture"]
    /// Settings that a clip does not decide about and that may be asked for all the same.
    private static let others = Set(["strict_size", "memory_mode"])

    init() {}

    /// Reads an object; pictures that stand in it are kept in `pictures`.
    init(_ json: JSON, pictures: PictureStore) throws {
        guard let members = json.members else {
            throw Refusal(.badRequest, "data", "a request must be an object of keys and values")
        }
        for member in members where member.value != .null {
            try take(member, pictures)
        }
    }

    /// Reads the parts of a form.
    init(_ parts: [Multipart.Part], pictures: PictureStore) throws {
        for part in parts {
            let isPicture = JobRequest.pictureKeys.contains(part.name) || JobRequest.endKeys.contains(part.name)
            if part.fileName != nil, isPicture {
                let entry = try pictures.keep(part.bytes, name: part.fileName)
                try take(JSON.Member(part.name, .string(entry.id)), pictures)
                continue
            }
            let text = String(decoding: part.bytes, as: UTF8.self)
            if SettingsTable.standard[part.name] != nil, !isPicture, part.name != "model" {
                let member = try Refusal.ofAll { () throws(Faults) in
                    try RequestReader.member(part.name, text: text, file: "the request", table: .standard)
                }
                try take(member, pictures)
            } else {
                try take(JSON.Member(part.name, .string(text)), pictures)
            }
        }
    }

    /// The same with the settings of a change over its own.
    func changed(by change: JobRequest) -> JobRequest {
        var merged = self
        merged.model = change.model ?? model
        merged.picture = change.picture ?? picture
        merged.endPicture = change.endPicture ?? endPicture
        merged.name = change.name ?? name
        let before = try? RequestReader.parse(Array(document.text().utf8), file: "the request")
        let after = try? RequestReader.parse(Array(change.document.text().utf8), file: "the request")
        if let before, let after { merged.members = after.over(before).members }
        return merged
    }

    /// The settings as an object.
    var document: JSON { .object(members) }

    private mutating func take(_ member: JSON.Member, _ pictures: PictureStore) throws {
        switch member.key {
        case "model":
            guard let name = member.value.string else {
                throw Refusal(.badRequest, "data", "the value of 'model' must be a name", param: "model")
            }
            model = name
        case "name":
            guard let text = member.value.string else {
                throw Refusal(.badRequest, "data", "the value of 'name' must be a name", param: "name")
            }
            name = text
        case let key where JobRequest.pictureKeys.contains(key): picture = try pictures.find(member.value, key: key)
        case let key where JobRequest.endKeys.contains(key): endPicture = try pictures.find(member.value, key: key)
        case "seconds":
            let number = member.value.double ?? member.value.string.flatMap(Double.init)
            guard let number else {
                throw Refusal(.badRequest, "data", "the value of 'seconds' must be a number", param: "seconds")
            }
            members.append(JSON.Member("seconds", .double(number)))
        default:
            if let setting = SettingsTable.standard[member.key] {
                let isFree = setting.traits.scope == .clip || setting.traits.scope == .encoding
                guard isFree || JobRequest.others.contains(setting.key) else {
                    throw Refusal(
                        .badRequest, "usage",
                        "'\(setting.key)' is a setting of the machine that renders, not of a clip",
                        param: setting.key)
                }
            }
            // Keys that there are not are refused with the others that are wrong.
            members.append(member)
        }
    }

    /// The order for it, with pictures from their folder; everything that is wrong is reported together.
    func order(_ pictures: PictureStore) throws(Faults) -> Order {
        var order = try RequestReader.parse(Array(document.text().utf8), file: "the request")
        let faults = order.faults(ofPart: true, table: .standard)
        if let first = faults.first { throw Faults(first, Array(faults.dropFirst())) }
        order.request.model = model
        order.request.image = picture.map(pictures.path)
        order.request.endImage = endPicture.map(pictures.path)
        return order
    }
}

/// Forms with files, as RFC 7578 has them.
enum Multipart {
    /// A field.
    struct Part: Sendable {
        let name: String
        let fileName: String?
        let bytes: [UInt8]
    }

    /// The most fields that are read.
    private static let limit = 200

    /// The boundary of a media type `multipart/form-data`; nil for another type.
    static func boundary(_ type: String) -> String? {
        guard type.lowercased().hasPrefix("multipart/form-data") else { return nil }
        return parameter("boundary", of: type).flatMap { (1...70).contains($0.utf8.count) ? $0 : nil }
    }

    /// The fields of a body.
    static func parts(_ body: [UInt8], boundary: String) throws -> [Part] {
        func broken() -> Refusal { Refusal(.badRequest, "data", "the form is not complete, or none") }
        let mark = Array("--\(boundary)".utf8)
        guard let first = find(mark, in: body, from: 0) else { throw broken() }
        var parts: [Part] = []
        var place = first + mark.count
        while true {
            if body[place...].starts(with: Array("--".utf8)) { return parts }
            guard body[place...].starts(with: [13, 10]) else { throw broken() }
            place += 2
            guard let end = find([13, 10] + mark, in: body, from: place),
                let blank = find([13, 10, 13, 10], in: body, from: place), blank + 4 <= end
            else { throw broken() }
            let lines = String(decoding: body[place..<blank], as: UTF8.self).split(separator: "\r\n")
            guard let disposition = lines.first(where: { $0.lowercased().hasPrefix("content-disposition:") }),
                let name = parameter("name", of: String(disposition))
            else { throw broken() }
            parts.append(
                Part(
                    name: name, fileName: parameter("filename", of: String(disposition)),
                    bytes: Array(body[blank + 4..<end])))
            guard parts.count <= limit else {
                throw Refusal(.badRequest, "data", "the form has more than \(limit) fields")
            }
            place = end + 2 + mark.count
        }
    }

    /// A parameter `name=value` or `name="value"` of a header.
    private static func parameter(_ name: String, of header: String) -> String? {
        for piece in header.split(separator: ";").dropFirst() {
            let pair = piece.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].filter({ $0 != " " }).lowercased() == name else { continue }
            let value = pair[1].drop { $0 == " " }
            guard value.first == "\"" else { return String(value.prefix { $0 != " " }) }
            return String(value.dropFirst().prefix { $0 != "\"" })
        }
        return nil
    }

    private static func find(_ pattern: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard let head = pattern.first, bytes.count - start >= pattern.count else { return nil }
        let last = bytes.count - pattern.count
        var place = start
        while place <= last {
            guard let next = bytes[place...last].firstIndex(of: head) else { return nil }
            if bytes[next..<next + pattern.count].elementsEqual(pattern) { return next }
            place = next + 1
        }
        return nil
    }
}
