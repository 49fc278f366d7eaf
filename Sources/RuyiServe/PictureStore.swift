import Foundation
import Glibc
import HTTPTypes
import RuyiEngine
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture

/// The pictures that were sent, each under the digest of its bytes.
final class PictureStore: Sendable {
    /// A picture that is there.
    struct Entry: Sendable {
        let id: String
        let name: String
        let width: Int
        let height: Int
        let notes: [String]

        var json: JSON {
            .object([
                "id": .string(id), "object": "picture", "name": .string(name), "width": .int(width),
                "height": .int(height), "notes": .array(notes.map(JSON.string)),
            ])
        }
    }

    /// The longest side of a picture that is shown.
    private static let shownSide = 1024
    private static let prefix = "picture_"
    /// What is added to a picture's file for the one with its name.
    private static let nameSuffix = ".name"
    private let folder: String

    init(_ folder: String) { self.folder = folder }

    /// The file of a picture.
    func path(_ id: String) -> String { folder + "/" + id }

    /// Whether a text is an identifier, and the picture is there.
    func has(_ id: String) -> Bool { PictureStore.isIdentifier(id) && Path.kind(path(id)) == .file }

    /// What a picture was called when it was sent last.
    func name(of id: String) -> String? {
        guard let bytes = try? FileBytes.read(path(id) + PictureStore.nameSuffix, limit: 1024) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func isIdentifier(_ id: String) -> Bool {
        id.hasPrefix(prefix) && id.utf8.count == prefix.utf8.count + 40
            && id.dropFirst(prefix.count).allSatisfy { $0.isASCII && $0.isHexDigit && !$0.isUppercase }
    }

    /// Keeps the bytes of a picture, once it is known to be one that is read.
    func keep(_ bytes: [UInt8], name: String?) throws -> Entry {
        let facts = try Refusal.of { () throws(Fault) in
            try PictureReader.facts(of: bytes, name: "the picture", PictureOptions())
        }
        let id = PictureStore.prefix + SHA256.hex(bytes).prefix(40)
        if has(id) {
            // What is asked for again is young again.
            utimes(path(id), nil)
        } else {
            try Refusal.of { () throws(Fault) in
                let file = try AtomicFile(path(id), overwrite: true)
                try file.write(bytes)
                try file.commit(overwrite: true)
            }
        }
        if let name {
            try Refusal.of { () throws(Fault) in
                let file = try AtomicFile(path(id) + PictureStore.nameSuffix, overwrite: true)
                try file.write(ClipNames.stem(name))
                try file.commit(overwrite: true)
            }
        }
        return Entry(
            id: id, name: self.name(of: id) ?? "clip", width: facts.width, height: facts.height,
            notes: facts.notes.map(Redaction.clean))
    }

    /// The identifier that a request's value names: itself, or that of the picture in a `data:` address.
    func find(_ value: JSON, key: String) throws -> String {
        let text =
            value.string ?? value["image_url"]?.string ?? value["image_url"]?["url"]?.string ?? value["id"]?.string
        guard let text else {
            throw Refusal(
                .badRequest, "data", "the value of '\(key)' must be a picture's id or a data: address", param: key)
        }
        if text.hasPrefix("data:") {
            guard let comma = text.firstIndex(of: ","), text[..<comma].hasSuffix(";base64"),
                let data = Data(base64Encoded: String(text[text.index(after: comma)...]))
            else { throw Refusal(.badRequest, "data", "the data: address of '\(key)' is not in base64", param: key) }
            return try keep(Array(data), name: nil).id
        }
        guard has(text) else {
            throw Refusal(
                .badRequest, "no_input", "there is no picture '\(text.prefix(80))'", param: key,
                hint: "send it to /v1/pictures first; nothing is taken from the web")
        }
        return text
    }

    /// A picture as it is shown: upright, in sRGB, not larger than a screen, as PNG.
    func shown(_ id: String) throws -> [UInt8] {
        guard has(id) else { throw Refusal.missing("picture") }
        return try Refusal.of { () throws(Fault) in
            let picture = try PictureReader.read(path(id), PictureOptions())
            let factor = Double(PictureStore.shownSide) / Double(max(picture.width, picture.height))
            guard factor < 1 else { return try PictureWriter.png(picture) }
            let small = picture.resized(
                width: max(1, Int((Double(picture.width) * factor).rounded())),
                height: max(1, Int((Double(picture.height) * factor).rounded())), filter: .bicubic)
            return try PictureWriter.png(small)
        }
    }

    /// Removes pictures that no job needs and that nobody has sent for a day.
    func tidy(isUsed: (String) -> Bool) {
        for name in System.names(in: folder) ?? [] where PictureStore.isIdentifier(name) && !isUsed(name) {
            var status = stat()
            if System.lstat(path(name), &status) == 0, time(nil) - status.st_mtim.tv_sec > 86_400 {
                System.unlink(path(name))
                System.unlink(path(name) + PictureStore.nameSuffix)
            }
        }
    }
}

/// The names of clips in the folder.
enum ClipNames {
    /// The longest part of a name that comes from outside.
    private static let limit = 60

    /// A name without folders, suffix and what is no letter, number, dash or underscore.
    static func stem(_ name: String) -> String {
        let base = name.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last.map(String.init) ?? ""
        let stem = base.lastIndex(of: ".").map { $0 > base.startIndex ? String(base[..<$0]) : base } ?? base
        var plain = ""
        for character in stem {
            let isPlain = character.isLetter || character.isNumber || character == "-" || character == "_"
            plain.append(isPlain ? character : "-")
            if plain.utf8.count >= limit { break }
        }
        while plain.hasPrefix("-") { plain.removeFirst() }
        return plain.isEmpty ? "clip" : plain
    }
}
