import Glibc
import RuyiFault

/// A checkpoint folder in the layout in which it is published.
///
/// Accepts a plain folder, a repository folder of a Hugging Face hub cache (`models--ORG--NAME`, of which the snapshot
/// that `refs/main` names is used, or the only one) and a snapshot folder of such a cache. Files are named by plain
/// relative paths, and what they resolve to, through links or not, must lie inside the folder; in a cache, inside the
/// repository's folder. Weights of a plain folder may be links to files elsewhere.
public struct ModelFolder: Sendable {
    /// The path as given, for messages.
    public let path: String
    /// The folder that holds the files; the snapshot in a hub cache.
    public let root: String
    /// The folder that no link may lead out of, resolved.
    private let confinement: String
    /// Whether weights may be links to files elsewhere, as where somebody shares them between models; never in a cache.
    private let sharesWeights: Bool
    /// What is read in the place of its own files, or beside them.
    private let placed: PlacedFiles
    private let opened = OpenedWeights()
    /// Whether a run makes conditions with the model; if not, the folders of encoders may be missing, and are not looked at.
    public private(set) var needsEncoders = true

    /// Opens a checkpoint folder.
    ///
    /// Throws `.cannotOpen` when it is missing or not a folder, `.badData` for a hub cache without a complete snapshot.
    public init(path: String) throws(Fault) { try self.init(path: path, placed: PlacedFiles()) }

    /// Opens a checkpoint folder with files that lie elsewhere.
    ///
    /// Throws as `init(path:)` does.
    public init(path: String, placed: PlacedFiles) throws(Fault) {
        self.placed = placed
        let resolved = try ModelFolder.resolve(path)
        var status = stat()
        guard System.stat(resolved, &status) == 0 else {
            throw Fault.system(.cannotOpen, "cannot open the folder", path, errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw Fault(.cannotOpen, "not a folder", at: path, hint: "name the folder that holds the model's files")
        }
        self.path = path
        if ModelFolder.isFolder(resolved + "/snapshots"), ModelFolder.name(of: resolved).hasPrefix("models--") {
            root = try ModelFolder.snapshot(of: resolved, path)
            confinement = resolved
            sharesWeights = false
        } else {
            root = resolved
            let parts = resolved.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map {
                Substring($0)
            }
            let isSnapshot =
                parts.count > 3 && parts[parts.count - 2] == "snapshots"
                && parts[parts.count - 3].hasPrefix("models--")
            confinement = isSnapshot ? parts.dropLast(2).joined(separator: "/") : resolved
            sharesWeights = !isSnapshot
        }
    }

    /// The real path of a regular file, checked.
    ///
    /// Throws `.cannotOpen` when it is missing or not a regular file, `.badData` when the name is not a plain relative
    /// path or leads out of the folder.
    public func file(_ name: String) throws(Fault) -> String {
        let shown = shown(name)
        var place = placed.paths[name]
        if place == nil { place = try locate(name) }
        guard let place else { throw Fault(.cannotOpen, "the model has no such file", at: shown) }
        var status = stat()
        guard System.stat(place, &status) == 0 else {
            throw Fault.system(.cannotOpen, "cannot open the file", shown, errno)
        }
        try OpenFile.checkRegular(status, shown)
        return place
    }

    /// Whether there is a regular file of this name that `file` accepts.
    ///
    /// Throws where the system does not say.
    public func has(_ name: String) throws(Fault) -> Bool {
        do {
            _ = try file(name)
            return true
        } catch {
            if error.isOfSystem { throw error }
            return false
        }
    }

    /// Whether there is a folder of this name.
    public func hasFolder(_ name: String) -> Bool {
        guard let components = try? RelativePath.components(name, in: path) else { return false }
        if placed.hasFolder(name) { return true }
        return ModelFolder.isFolder(root + "/" + components.joined(separator: "/"))
    }

    /// A folder inside as a model folder of its own, which may be a link to another model folder or hub cache.
    public func folder(_ name: String) throws(Fault) -> ModelFolder {
        let components = try RelativePath.components(name, in: path)
        let inner = try ModelFolder(path: root + "/" + components.joined(separator: "/"))
        let isInside = inner.root == inner.confinement && (inner.root + "/").utf8.starts(with: (confinement + "/").utf8)
        let folder = ModelFolder(
            path: path + "/" + name, root: inner.root, confinement: isInside ? confinement : inner.confinement,
            sharesWeights: isInside ? sharesWeights : inner.sharesWeights)
        return needsEncoders ? folder : folder.withoutEncoders
    }

    /// The folder for runs that take conditions from elsewhere, or need none.
    public var withoutEncoders: ModelFolder {
        var copy = self
        copy.needsEncoders = false
        return copy
    }

    private init(path: String, root: String, confinement: String, sharesWeights: Bool) {
        placed = PlacedFiles()
        self.sharesWeights = sharesWeights
        self.path = path
        self.root = root
        self.confinement = confinement
    }

    /// The size of a file in bytes.
    ///
    /// Throws as `file` does.
    public func fileSize(_ name: String) throws(Fault) -> Int { try OpenFile(path: try file(name)).byteCount }

    /// The bytes of a small file.
    ///
    /// Throws as `file` and `FileBytes.read` do.
    public func bytes(_ name: String, limit: Int = 64 << 20) throws(Fault) -> [UInt8] {
        try FileBytes.read(try file(name), limit: limit, shown: shown(name))
    }

    /// The text of a small file in UTF-8.
    ///
    /// Throws as `file` and `FileBytes.text` do.
    public func text(_ name: String, limit: Int = 64 << 20) throws(Fault) -> String {
        try FileBytes.text(try file(name), limit: limit, shown: shown(name))
    }

    /// A configuration file: an object in strict JSON.
    ///
    /// Throws as `bytes` does, and `.badData` with line and byte.
    public func json(
        _ name: String, limit: Int = 64 << 20, values: Int = JSON.valueLimit
    ) throws(Fault) -> JSONObject {
        try JSONObject(parsing: try bytes(name, limit: limit), file: shown(name), values: values)
    }

    /// The same; nil for a file that is not there or is no such object, which tells what model this is not.
    ///
    /// Throws where the file is there and the system does not give it.
    public func jsonIfReadable(_ name: String) throws(Fault) -> JSONObject? {
        do { return try json(name) } catch {
            if error.isOfSystem { throw error }
            return nil
        }
    }

    /// The names of the files and folders in a folder, sorted; `""` is the model folder itself.
    ///
    /// Empty if there is none; throws `.cannotOpen` or `.resources` where the system does not list it.
    public func names(in folder: String = "") throws(Fault) -> [String] {
        let components = folder.isEmpty ? [] : (try? RelativePath.components(folder, in: path))
        guard let components else { return [] }
        let shown = folder.isEmpty ? path : path + "/" + folder
        let own = try ModelFolder.names(inFolder: ([root] + components).joined(separator: "/"), shown)
        return placed.names(in: folder, own: own).sorted()
    }

    /// The path of a file for messages.
    public func shown(_ name: String) -> String { placed.paths[name] ?? path + "/" + name }

    /// Whether weights of a component were named apart, or found elsewhere than in the folder's own layout.
    public func isPlaced(_ component: String) -> Bool { placed.replaced.contains(component) }

    /// Whether any part was.
    public var isAssembled: Bool { !placed.replaced.isEmpty }

    /// What the model is called, where that is not the folder's name.
    public var title: String? { placed.title }

    /// What tells this folder, and the files that are read with it, from others.
    public var identity: String { root + placed.identity + (needsEncoders ? "" : "|without encoders") }

    /// The folder with files that lie elsewhere.
    public func placing(_ files: PlacedFiles) throws(Fault) -> ModelFolder {
        let folder = try ModelFolder(path: path, placed: files)
        return needsEncoders ? folder : folder.withoutEncoders
    }

    /// The weights of a component under the first of some names that there is any of.
    public func weights(_ component: String, stems: [String]) throws(Fault) -> any WeightFile {
        let names = try names(in: component)
        let stem = stems.first { stem in
            let found = WeightNames(of: stem, among: names)
            return found.file != nil || !found.variants.isEmpty
        }
        return try weights(component, stem: stem ?? stems[0])
    }

    /// The weights of a component, in whichever container they are; see `WeightFiles.open`.
    ///
    /// They are the same object for as long as somebody has it and the files are unchanged.
    public func weights(_ component: String, stem: String) throws(Fault) -> any WeightFile {
        if let file = opened.file(component, stem) { return file }
        let file = try WeightFiles.open(self, component: component, stem: stem)
        opened.note(file, component, stem)
        return file
    }

    /// The resolved place of something inside; nil when there is nothing.
    private func locate(_ name: String) throws(Fault) -> String? {
        let components = try RelativePath.components(name, in: path)
        let wanted = root + "/" + components.joined(separator: "/")
        var status = stat()
        if System.lstat(wanted, &status) != 0, errno == ENOENT || errno == ENOTDIR { return nil }
        if System.stat(wanted, &status) != 0, errno == ENOENT {
            throw Fault(
                .cannotOpen, "a broken link: what it leads to does not exist", at: path + "/" + name,
                hint: "download the model again")
        }
        let resolved = try ModelFolder.resolve(wanted)
        let isInside = resolved.utf8.starts(with: (confinement == "/" ? "/" : confinement + "/").utf8)
        guard isInside || sharesWeights && ModelFolder.weightEndings.contains(where: name.hasSuffix) else {
            throw Fault(
                .badData, "a link leads out of the model folder", at: path + "/" + name,
                hint: "put the file itself in the folder")
        }
        return resolved
    }

    /// The absolute path without links.
    ///
    /// Throws `.cannotOpen` when there is nothing or the links go in circles.
    private static func resolve(_ path: String) throws(Fault) -> String {
        if path.isEmpty { throw Fault(.cannotOpen, "the path is empty") }
        if path.utf8.contains(0) { throw Fault(.cannotOpen, "the path contains a NUL", at: path) }
        guard let resolved = System.realpath(path) else {
            throw Fault.system(.cannotOpen, "cannot open", path, errno)
        }
        return resolved
    }

    private static func snapshot(of repository: String, _ shown: String) throws(Fault) -> String {
        let snapshots = try names(inFolder: repository + "/snapshots", shown + "/snapshots")
        let commit: String
        if snapshots.count == 1, System.access(repository + "/refs/main", F_OK) != 0 {
            commit = snapshots[0]  // downloaded by commit
        } else {
            let bytes = try FileBytes.read(repository + "/refs/main", limit: 256, shown: shown + "/refs/main")
            commit = String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
        }
        guard RelativePath.isPlain(commit) else {
            throw Fault(.badData, "\"refs/main\" does not name a snapshot", at: shown)
        }
        let folder = repository + "/snapshots/" + commit
        guard isFolder(folder) else {
            throw Fault(
                .badData, "the cache has no snapshot \(commit), which \"refs/main\" names", at: shown,
                hint: "download the model again")
        }
        return folder
    }

    private static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return System.stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    private static func name(of path: String) -> Substring {
        path[(path.utf8.lastIndex(of: UInt8(ascii: "/")).map(path.utf8.index(after:)) ?? path.startIndex)...]
    }

    /// The names in a folder in no order; none where there is no folder.
    private static func names(inFolder path: String, _ shown: String) throws(Fault) -> [String] {
        if let names = System.names(in: path) { return names }
        if errno == ENOENT || errno == ENOTDIR { return [] }
        throw Fault.system(.cannotOpen, "cannot list the folder", shown, errno)
    }
}
