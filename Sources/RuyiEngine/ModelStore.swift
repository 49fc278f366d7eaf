import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// What is known about a model that is there, without reading its weights.
public struct ModelEntry: Sendable {
    /// The name that it is called by.
    public let name: String
    /// Its folder.
    public let path: String
    /// The family; nil when no known model has this folder's files.
    public let family: String?
    /// The types of its numbers, the most frequent first.
    public let types: [String]
    /// The bytes of its weights.
    public let byteCount: Int
    /// Whether it can be loaded.
    public let isComplete: Bool

    /// The entry as the catalogue gives it.
    public var found: ModelCatalog.Found { ModelCatalog.Found(name: name, path: path) }

    /// The entry as a JSON object on one line.
    public var json: String {
        JSON.sorted([
            "name": .string(name), "folder": .string(path), "family": .text(family),
            "types": .array(types.map(JSON.string)), "bytes": .int(byteCount), "complete": .bool(isComplete),
            "installed": true,
        ]).text()
    }

    /// The columns of a table: name, family, types, size, whether it is complete, folder.
    public var columns: [String] {
        [
            name, family ?? "-", types.isEmpty ? "-" : types.prefix(2).joined(separator: "+"), Bytes.text(byteCount),
            isComplete ? "complete" : "incomplete", path,
        ]
    }
}

extension KnownModel {
    /// The model as a JSON object on one line.
    public var json: String {
        JSON.sorted([
            "name": .string(published.repository), "family": .string(family), "summary": .string(published.summary),
            "bytes": .int(published.byteCount), "installed": false,
        ]).text()
    }

    /// The columns of a table, as those of what is there.
    public var columns: [String] {
        [
            published.repository, family, "-", "about " + Bytes.text(published.byteCount), "to pull", published.summary,
        ]
    }
}

/// The models of a machine: what they are, whether they are whole, and their removal.
public struct ModelStore: Sendable {
    private let catalog: ModelCatalog
    private let families: [any Family.Type]

    /// The models of a catalogue.
    public init(catalog: ModelCatalog = .installed(), families: [any Family.Type] = Registry.families) {
        self.catalog = catalog
        self.families = families
    }

    /// Every model: what a known family recognises, what was downloaded, and what is known by name.
    ///
    /// Other repositories in the hub's caches are nobody's business here.
    public func entries() -> [ModelEntry] {
        catalog.all().compactMap { found in
            let folder = try? ModelLayout(families: families).open(found.path)
            let family = folder.flatMap { (try? families.recognising($0)) ?? nil }
            let isPulled = Path.kind(found.path + "/" + ModelManifest.file) == .file
            if family == nil, isPulled, isOnlyPart(found) { return nil }
            guard family != nil || isPulled || KnownModel.find(found.name, families) != nil else { return nil }
            return entry(found, folder, family)
        }
    }

    /// Where folders of another repository lie that a model needs: beside its own folder.
    public static func folder(of other: PublishedFolders, beside folder: String) -> String {
        Path.resolve(other.name, in: Path.folder(Path.real(folder) ?? folder))
    }

    /// The folders of other repositories that a model needs, as far as they are beside it.
    private func others(of path: String) -> [(folder: ModelFolder, names: [String])] {
        guard let published = KnownModel.find(Path.name(path), families) else { return [] }
        return published.others.compactMap { other in
            let folder = try? ModelFolder(path: ModelStore.folder(of: other, beside: path))
            return folder.map { (folder: $0, names: other.folders) }
        }
    }

    /// Whether a folder was pulled for other models alone.
    private func isOnlyPart(_ found: ModelCatalog.Found) -> Bool {
        let repository = ((try? ModelManifest.read(found.path)) ?? nil)?.repository
        return KnownModel.all(families).contains { known in
            known.published.others.contains { $0.repository == repository }
        }
    }

    private func entry(
        _ found: ModelCatalog.Found, _ folder: ModelFolder?, _ family: (any Family.Type)?
    ) -> ModelEntry {
        var parts = folder.flatMap { try? WeightTally.parts(of: $0) } ?? []
        for (other, names) in others(of: found.path) {
            parts += ((try? WeightTally.parts(of: other)) ?? []).filter { names.contains($0.name) }
        }
        var types: [String: Int] = [:]
        for part in parts { types.merge(part.tally.types, uniquingKeysWith: +) }
        return ModelEntry(
            name: found.name, path: found.path, family: family?.name,
            types: types.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key),
            byteCount: parts.reduce(0) { $0 + $1.tally.bytes },
            isComplete: folder.flatMap { folder in family.map { Inspection.missing(folder, $0) == nil } } ?? false)
    }

    /// The models that are known by name and not here.
    public func missing() -> [KnownModel] {
        KnownModel.all(families).filter { known in
            [known.published.repository, known.published.name].allSatisfy { ((try? catalog.find($0)) ?? nil) == nil }
        }
    }

    /// The model that a name, or the path of a folder, means.
    ///
    /// Throws `.unavailable` with what to do when it is not there, and what `ModelCatalog.find` throws.
    public func find(_ name: String) throws(Fault) -> ModelCatalog.Found {
        let path = try catalog.path(name, of: families)
        guard Path.kind(path) == .folder else {
            throw Fault(
                .unavailable, "there is no model of this name", at: name,
                hint: "'ruyi models list --all' names them")
        }
        return ModelCatalog.Found(name: name, path: path)
    }

    /// The checkpoint that is named by a folder or a name, by parts, or by both.
    ///
    /// Throws as `find` does, and what keeps parts from being put together.
    func checkpoint(_ reference: ModelReference) throws(Fault) -> (found: ModelCatalog.Found, folder: ModelFolder) {
        let (path, parts) = try reference.places(catalog, families)
        if let name = reference.name, let path, Path.kind(path) != .folder { _ = try find(name) }
        let folder = try ModelLayout(families: families).open(path, parts: parts)
        return (ModelCatalog.Found(name: reference.shown, path: folder.path), folder)
    }

    // MARK: Showing

    /// What a model is and what it takes, as an object; and what keeps it from being loaded.
    ///
    /// Throws as `find` and `Inspection` do, and what keeps parts from being put together.
    public func describe(_ reference: ModelReference) throws -> (text: String, json: String, faults: Faults?) {
        let (found, folder) = try checkpoint(reference)
        let family = try families.recognising(folder)
        let manifest = try ModelManifest.read(found.path)
        let parts = try WeightTally.parts(of: folder)
        let faults = family.map { Inspection.missing(folder, $0) } ?? Inspection.unknown(found.path, families)
        var memory: [JSON.Member] = []
        if let family, faults == nil { memory = ModelStore.memory(folder, family) }
        let entry = entry(found, folder, family)
        let json: JSON = .object([
            .init("name", .string(found.name)), .init("title", .text(family?.title)),
            .init("family", .text(family?.name)),
            .init("folder", .string(folder.root)), .init("repository", .text(manifest?.repository)),
            .init("commit", .text(manifest?.commit)), .init("complete", .bool(entry.isComplete)),
            .init("size", .string(Bytes.text(entry.byteCount))), .init("bytes", .int(entry.byteCount)),
            .init("parts", .object(parts.map { JSON.Member($0.name, .object($0.tally.members)) })),
            .init("sizes_and_lengths", .text(family?.bounds)), .init("memory", .object(memory)),
            .init("problems", .array((faults?.list ?? []).map { .string($0.description) })),
        ])
        return (Inspection.lines(json, "").joined(separator: "\n"), json.text(), faults)
    }

    /// The memory of three clips of a picture of 16:9, by the family's plan: a small one, what the model does by itself,
    /// and a large one.
    private static func memory(_ folder: ModelFolder, _ family: any Family.Type) -> [JSON.Member] {
        var small = Order()
        (small.request.resolution, small.request.frames) = (360, 24)
        var large = Order()
        (large.request.resolution, large.request.frames) = (720, 120)
        guard let defaults = try? ModelDefaults(folder, table: SettingsTable([family])).order,
            let output = try? Output("clip.mp4")
        else { return [] }
        let costs = PlanCosts()
        return [small, Order(), large].map { order in
            var settled = order.over(defaults)
            settled.memoryMode = MemoryMode.resident.rawValue
            do throws(Fault) {
                let choice = try Fitting(
                    checkpoint: Checkpoint(folder: folder, family: family), order: settled, kernels: .best,
                    output: output,
                    pictures: [PictureSize(width: 1280, height: 720), nil], limits: MemoryLimits.read(), costs: costs
                ).choice(settled.request)
                let (plan, account) = (choice.plan, choice.memory)
                return JSON.Member(
                    "\(plan.width)x\(plan.height), \(plan.frames) frames",
                    .string("\(Bytes.text(account.anonymous)) and \(Bytes.text(account.weights)) of mapped weights"))
            } catch {
                return JSON.Member("\(settled.request.resolution ?? 0)p", .string(error.what))
            }
        }
    }

    // MARK: Verifying

    /// Checks a model: every file against the digest that its hub states, and the weights' names and shapes against
    /// what the family loads.
    ///
    /// A model that was pulled has its digests in a manifest, one that was copied may have them in `SHA256SUMS`; in a hub's
    /// cache the content is named by them. `quick`
    /// compares sizes alone and reads no data.
    ///
    /// - Returns: what was checked, in a line, and a fault for each file that is bad.
    public func verify(
        _ reference: ModelReference, quick: Bool, cancellation: Cancellation
    ) throws -> (line: String, faults: [Fault]) {
        let (found, folder) = try checkpoint(reference)
        var faults: [Fault] = []
        var (checked, bytes) = (0, 0)
        var expected = try ModelStore.expected(folder, found.path).map { (folder, $0) }
        for (other, names) in others(of: found.path) {
            let files = try ModelStore.expected(other, other.path)
            expected += files.filter { file in names.contains { file.name.hasPrefix($0 + "/") } }.map { (other, $0) }
        }
        for (home, (name, size, digest)) in expected {
            try cancellation.check()
            let shown = home.path + "/" + name
            do {
                let path = try home.file(name)
                let count = try home.fileSize(name)
                if let size, count != size {
                    throw Fault(.badData, "the file has \(count) bytes and should have \(size)", at: shown)
                }
                guard let digest, !quick else { continue }
                guard try digest.matches(file: path, shown: shown, proceed: { try cancellation.check() }) else {
                    throw Fault(.badData, "the file does not have its digest \(digest.digits)", at: shown)
                }
                (checked, bytes) = (checked + 1, bytes + count)
            } catch let fault as Fault {
                faults.append(Fault(.badData, fault.what, at: fault.place ?? shown, hint: fault.hint))
            }
        }
        let family = try families.recognising(folder)
        if let family {
            faults += (Inspection.missing(folder, family)?.list ?? []).filter { fault in
                !faults.contains { $0.place == fault.place }
            }
        } else if faults.isEmpty {
            faults.append(Fault(.badData, "no known model has this folder's files", at: found.path))
        }
        let digests = checked == 0 ? "" : "\(checked) files (\(Bytes.text(bytes))) have their digests, "
        let verdict =
            faults.isEmpty ? "\(digests)names and shapes fit \(family?.title ?? "")" : "\(faults.count) faults"
        let unknown = checked == 0 && !quick && faults.isEmpty ? "; its digests are not known" : ""
        return ("\(found.name): \(verdict)\(unknown)", faults)
    }

    /// The files that a folder should hold, with what is known about them.
    private static func expected(
        _ folder: ModelFolder, _ path: String
    ) throws(Fault) -> [(name: String, size: Int?, digest: ContentDigest?)] {
        if let manifest = try ModelManifest.read(path) {
            return manifest.entries.map { ($0.name, $0.byteCount, $0.digest) }
        }
        if try folder.has(DigestList.file) {
            return try DigestList(folder).entries.map { ($0.name, nil, $0.digest) }
        }
        var found: [(String, Int?, ContentDigest?)] = []
        var folders = [""]
        while let inner = folders.popLast() {
            let prefix = inner.isEmpty ? "" : inner + "/"
            for name in try folder.names(in: inner) where !name.hasPrefix(".") {
                if folder.hasFolder(prefix + name) {
                    if prefix.count(where: { $0 == "/" }) < 8 { folders.append(prefix + name) }
                    continue
                }
                // A cache keeps the content under its digest, and the name as a link to it.
                let place = folder.root + "/" + prefix + name
                let isLink = !Path.isPlainFile(place)
                let blob = isLink ? (Path.real(place).map(Path.name) ?? "") : ""
                found.append((prefix + name, nil, ContentDigest(digits: blob)))
            }
        }
        return found
    }
}

extension Path {
    /// Whether there is a regular file at a path that is not a link to one.
    static func isPlainFile(_ path: String) -> Bool {
        var info = stat()
        return System.lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
    }
}
