import Glibc
import RuyiFault

/// What a downloaded model folder should hold: a hidden file in it that says where it comes from and what its files are.
public struct ModelManifest: Sendable, Equatable {
    /// One file.
    public struct Entry: Sendable, Equatable {
        /// The path in the folder.
        public let name: String
        /// The size in bytes.
        public let byteCount: Int
        /// The digest of its content.
        public let digest: ContentDigest
        /// The time of the last change, in nanoseconds, of the file whose digest was checked; nil before that.
        public var checked: Int?

        /// A file that is to be.
        public init(name: String, byteCount: Int, digest: ContentDigest, checked: Int? = nil) {
            (self.name, self.byteCount, self.digest, self.checked) = (name, byteCount, digest, checked)
        }
    }

    /// The file's name.
    public static let file = ".ruyi-manifest.json"

    /// The repository, as `ORGANISATION/NAME`.
    public let repository: String
    /// The commit whose files these are.
    public let commit: String
    /// The files in the order of their names.
    public var entries: [Entry]

    /// A manifest.
    public init(repository: String, commit: String, entries: [Entry]) {
        (self.repository, self.commit, self.entries) = (repository, commit, entries)
    }

    /// The manifest of a folder; nil when it has none.
    ///
    /// Throws `.badData` for one that is damaged.
    public static func read(_ folder: String) throws(Fault) -> ModelManifest? {
        let path = folder + "/" + file
        guard System.access(path, F_OK) == 0 else { return nil }
        let json = try JSONObject(parsing: try FileBytes.read(path), file: path)
        guard try json.int("schema") == 1 else { throw json.fault("schema", expected: "1") }
        var entries: [Entry] = []
        for element in try json.array("files") {
            let entry = try JSONObject(element, file: path)
            let name = try entry.string("name")
            try RelativePath.components(name, in: path)
            guard let digest = ContentDigest(digits: try entry.string("digest")) else {
                throw entry.fault("digest", expected: "40 or 64 hexadecimal digits")
            }
            let size = try entry.int("bytes")
            guard size >= 0 else { throw entry.fault("bytes", expected: "a size") }
            entries.append(
                Entry(name: name, byteCount: size, digest: digest, checked: try entry.intIfPresent("checked")))
        }
        return ModelManifest(
            repository: try json.string("repository"), commit: try json.string("commit"), entries: entries)
    }

    /// Removes what killed processes have left in a folder while they wrote its manifest.
    ///
    /// For callers who know that nobody else is writing it.
    package static func removeLeftovers(inFolder folder: String) { TemporaryName.sweep(folder, targets: [file]) }

    /// Writes the manifest into its folder.
    ///
    /// Throws as `AtomicFile` does.
    public func write(_ folder: String) throws(Fault) {
        let files = entries.map { entry -> JSON in
            let checked = entry.checked.map { [JSON.Member("checked", .int($0))] } ?? []
            return .object(
                [
                    .init("name", .string(entry.name)), .init("bytes", .int(entry.byteCount)),
                    .init("digest", .string(entry.digest.digits)),
                ] + checked)
        }
        let json: JSON = .object([
            .init("schema", 1), .init("repository", .string(repository)), .init("commit", .string(commit)),
            .init("files", .array(files)),
        ])
        let file = try AtomicFile(folder + "/" + ModelManifest.file, overwrite: true)
        try file.write(json.text(pretty: true) + "\n")
        try file.commit(overwrite: true)
    }
}

/// Size and time of the last change of a regular file that is not a link.
package struct FileMark: Sendable, Equatable {
    package let byteCount: Int
    /// Nanoseconds.
    package let changed: Int

    /// Looks at a file; nil when there is no regular one.
    package init?(_ path: String) {
        var status = stat()
        guard System.lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        byteCount = Int(status.st_size)
        changed = status.st_mtim.tv_sec &* 1_000_000_000 &+ status.st_mtim.tv_nsec
    }
}
