import RuyiFault
import RuyiFiles
import RuyiHub
import Testing

/// A repository as a hub has it, and the answers of a hub that behaves.
struct Repository: Sendable {
    typealias File = (name: String, bytes: [UInt8], isLarge: Bool)

    static let name = "someone/tiny"
    static let commit = "6b7c597d2f0a4c1e8b9f3a5d7c6e4b2a1f0e9d8c"
    /// A large file, a small one in a folder, one with a name that needs escaping, an empty one and a hidden one.
    let files: [File]
    let commit: String

    static let largeName = "transformer/weights.safetensors"
    static let listingPath = "/api/models/\(name)/revision/main?blobs=true"

    init(commit: String = Repository.commit, seed: UInt8 = 0, largeCount: Int = 300_000, hasConfiguration: Bool = true)
    {
        self.commit = commit
        let large = (0..<largeCount).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ $0 >> 8) ^ seed }
        let all: [File] = [
            (Repository.largeName, large, true), ("vae/config.json", Array("{\"a\": \(seed)}\n".utf8), false),
            ("notes #1?.txt", Array("notes".utf8), false), ("empty.txt", [], false),
            (".gitattributes", Array("*.safetensors filter=lfs".utf8), false),
        ]
        files = all.filter { hasConfiguration || $0.name != "vae/config.json" }
    }

    var large: [UInt8] { files[0].bytes }
    /// The files that are downloaded.
    var visible: [File] { files.filter { !$0.name.hasPrefix(".") } }

    static func blob(_ bytes: [UInt8]) -> String {
        var digest = SHA1()
        digest.update(Array("blob \(bytes.count)\0".utf8) + bytes)
        return digest.finish()
    }

    /// The hub's listing.
    var listing: JSON {
        let siblings = files.map { file -> JSON in
            var members: [JSON.Member] = [
                .init("rfilename", .string(file.name)), .init("size", .int(file.bytes.count)),
                .init("blobId", .string(Repository.blob(file.bytes))),
            ]
            if file.isLarge {
                members.append(
                    .init(
                        "lfs",
                        [
                            "sha256": .string(SHA256.hex(file.bytes)), "size": .int(file.bytes.count),
                            "pointerSize": 134,
                        ]))
            }
            return .object(members)
        }
        return ["id": .string(Repository.name), "sha": .string(commit), "siblings": .array(siblings)]
    }

    /// The path under which a file is resolved.
    func path(_ name: String) -> String {
        let escaped = name.replacing(" ", with: "%20").replacing("#", with: "%23").replacing("?", with: "%3F")
        return "/\(Repository.name)/resolve/\(commit)/\(escaped)"
    }

    /// What a hub that behaves answers.
    func answer(_ request: HubServer.Request) -> HubServer.Answer {
        if request.path == Repository.listingPath { return .init(body: Array(listing.text().utf8)) }
        guard let file = files.first(where: { path($0.name) == request.path }) else { return .init(status: 404) }
        return Repository.serve(file.bytes, request)
    }

    /// Bytes from where they are asked for, if they are still the same.
    static func serve(_ bytes: [UInt8], _ request: HubServer.Request) -> HubServer.Answer {
        let tag = "\"\(SHA256.hex(bytes).prefix(16))\""
        guard let start = request.start, request.headers["if-range"] ?? tag == tag else {
            return .init(headers: [("ETag", tag)], body: bytes)
        }
        guard start < bytes.count else { return .init(status: 416) }
        return .init(
            status: 206,
            headers: [("ETag", tag), ("Content-Range", "bytes \(start)-\(bytes.count - 1)/\(bytes.count)")],
            body: Array(bytes[start...]))
    }
}
