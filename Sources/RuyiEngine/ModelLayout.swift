import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Opens checkpoints whose parts do not all lie in one folder in a layout of their family: parts that were named apart,
/// and ComfyUI's folders.
///
/// Every family's declaration says what its parts are; what is found is read under the names of its main layout.
struct ModelLayout {
    let families: [any Family.Type]
    /// Whether encoders are looked for.
    var needsEncoders = true

    /// The checkpoint in a folder, with parts by the keys of their settings; without a folder they are all there is.
    ///
    /// A folder without such parts that no family knows is returned as it is. Throws `.cannotOpen` that says what is
    /// missing and where it is to be had, `.badData` for a file that holds another part than it was named as, `.usage`
    /// where there are several.
    func open(_ path: String?, parts given: [String: String] = [:]) throws(Fault) -> ModelFolder {
        var folder: ModelFolder?
        if let path { folder = try ModelFolder(path: path) }
        if !needsEncoders { folder = folder?.withoutEncoders }
        let known = try folder.flatMap { (folder) throws(Fault) in try families.recognising(folder) }
        if let folder, given.isEmpty {
            let isComfy = known == nil && comfyFolders.contains { name in folder.hasFolder(name) }
            if !isComfy { return folder }
        }
        var parts: [String: PartFile] = [:]
        for (key, path) in given { parts[key] = try PartFile(path) }
        let family = if let known { known } else { try self.family(of: parts, in: folder) }
        var search = PartSearch(
            family: family, folder: folder, isWhole: known != nil, needsEncoders: needsEncoders, given: parts)
        let assembled = try search.assemble()
        return needsEncoders ? assembled : assembled.withoutEncoders
    }

    /// The folders of the parts that tell a family.
    private var comfyFolders: Set<String> { Set(families.flatMap { $0.parts.first?.comfyFolders ?? [] }) }

    /// The family whose first part is there.
    private func family(of parts: [String: PartFile], in folder: ModelFolder?) throws(Fault) -> any Family.Type {
        let firsts = families.map { $0.parts.first }
        var unread: Fault?
        var found: [(family: any Family.Type, first: PartFile)] = []
        for (candidate, first) in zip(families, firsts) {
            guard let first else { continue }
            if let file = parts[first.setting.key] {
                if first.isHeld(file.weights) { return candidate }
            } else if let folder {
                let held = try PartSearch.candidates(for: first, in: folder)
                if let file = held.files.first { found.append((candidate, file)) }
                unread = unread ?? held.unread
            }
        }
        if let (family, file) = found.first, let folder {
            guard found.count > 1 else { return family }
            throw Fault(
                .usage,
                "the folder holds transformers of several models: "
                    + found.map { "\(Path.name($0.first.path)) (\($0.family.title))" }.joined(separator: ", "),
                at: folder.path, hint: "name one of them, as in --transformer \(file.path)")
        }
        let file = firsts.lazy.compactMap { $0.flatMap { parts[$0.setting.key] } }.first
        let titles = families.filter { !$0.parts.isEmpty }.map { $0.title }.joined(separator: ", ")
        if let file {
            throw Fault(
                .badData, "the file holds no transformer of a known model", at: file.path, hint: "known are \(titles)")
        }
        guard let folder else {
            throw Fault(
                .usage, "no transformer is given", hint: "name it with --transformer, or a checkpoint with --model")
        }
        if let unread { throw unread }
        throw Fault(
            .badData,
            "no known model has this folder's files: no transformer is in "
                + comfyFolders.sorted().filter(folder.hasFolder).joined(separator: " or "), at: folder.path,
            hint: "known are \(titles)")
    }
}

/// The search for the parts of one family's checkpoint.
private struct PartSearch {
    let family: any Family.Type
    let folder: ModelFolder?
    /// Whether the folder is a checkpoint of the family without the parts that are given.
    let isWhole: Bool
    let needsEncoders: Bool
    let given: [String: PartFile]
    private var placed = PlacedFiles()
    /// What is not there, and where it is to be had.
    private var missing: [(title: String, how: String, source: String)] = []
    private var found: [(part: ModelPart, file: PartFile)] = []

    init(
        family: any Family.Type, folder: ModelFolder?, isWhole: Bool, needsEncoders: Bool, given: [String: PartFile]
    ) {
        (self.family, self.folder, self.isWhole, self.given) = (family, folder, isWhole, given)
        self.needsEncoders = needsEncoders
    }

    /// Whether what belongs into a folder may be missing.
    private func isLeftOut(_ folder: String) -> Bool { !needsEncoders && family.isEncoder(folder) }

    mutating func assemble() throws(Fault) -> ModelFolder {
        try checkGiven()
        for part in family.parts {
            guard let file = try file(of: part) else {
                if !isWhole, !part.isOptional, !isLeftOut(part.folder) {
                    missing.append((part.title, part.setting.option, part.source))
                }
                continue
            }
            found.append((part, file))
            place(file, as: part)
        }
        if !isWhole { placeCompanions() }
        guard missing.isEmpty else {
            throw Fault(
                .cannotOpen,
                "\(family.title) cannot be loaded without "
                    + missing.map { "\($0.title) (\($0.how))" }.joined(separator: ", "),
                at: found.first?.file.path ?? root,
                hint: missing.map { "\($0.title): \($0.source)" }.joined(separator: "; "))
        }
        if !isWhole {
            placed.visible = Set(
                family.parts.map(\.folder) + family.companions.map(\.folder) + [ModelDefaults.file])
            if folder == nil { placed.title = found.first.map { Path.stem($0.file.path) } }
        }
        if let folder { return try folder.placing(placed) }
        return try ModelFolder(path: root, placed: placed)
    }

    /// Looks whether the family has every part that is given.
    private func checkGiven() throws(Fault) {
        let keys = Set(family.parts.map(\.setting.key))
        for setting in PartSettings.all where given[setting.key] != nil && !keys.contains(setting.key) {
            throw Fault(
                .usage, "\(family.title) has no \(setting.option)",
                hint: "it has " + family.parts.map(\.setting.option).joined(separator: ", "))
        }
    }

    // MARK: Weights

    private func file(of part: ModelPart) throws(Fault) -> PartFile? {
        if let file = given[part.setting.key] {
            guard part.isHeld(file.weights) else {
                throw Fault(
                    .badData, "the file does not hold \(part.title) of \(family.title)", at: file.path,
                    hint: "\(part.setting.option) takes \(part.source)")
            }
            return file
        }
        if isWhole { return nil }
        guard let folder else { return nil }
        let (candidates, unread) = try PartSearch.candidates(for: part, in: folder)
        if let unread, candidates.isEmpty, !part.isOptional, !isLeftOut(part.folder) { throw unread }
        guard candidates.count < 2 else {
            throw Fault(
                .usage,
                "several files hold \(part.title): " + candidates.map { Path.name($0.path) }.joined(separator: ", "),
                at: Path.folder(candidates[0].path), hint: "name one of them with \(part.setting.option)")
        }
        return candidates.first
    }

    /// The files in ComfyUI's folders, and in those below, that hold a part, and what is wrong with the first one that
    /// cannot be read.
    static func candidates(
        for part: ModelPart, in folder: ModelFolder
    ) throws(Fault) -> (files: [PartFile], unread: Fault?) {
        var files: [PartFile] = []
        var unread: Fault?
        for name in part.comfyFolders {
            let inner = try folder.names(in: name).map { name + "/" + $0 }.filter(folder.hasFolder)
            for place in [name] + inner {
                for file in try folder.names(in: place) where PartFile.isWhole(file) {
                    do {
                        // A link is called as it is named, whatever it leads to.
                        _ = try folder.file(place + "/" + file)
                        let file = try PartFile(folder.root + "/" + place + "/" + file)
                        if part.isHeld(file.weights) { files.append(file) }
                    } catch {
                        if error.isOfSystem { throw error }
                        unread = unread ?? error
                    }
                }
            }
        }
        return (files, unread)
    }

    private mutating func place(_ file: PartFile, as part: ModelPart) {
        for (name, path) in file.placements(stem: part.stem) { placed.put(weights: path, as: name, in: part.folder) }
        // Settings beside a file are its own, unless they lie in a folder of several parts.
        let home = Path.name(file.folder)
        let settings = file.folder + "/config.json"
        if home == part.folder || !part.comfyFolders.contains(home), Path.kind(settings) == .file {
            placed.put(file: settings, as: part.folder + "/config.json")
        }
    }

    // MARK: Small files

    /// Where the checkpoint lies that has no folder: around the folder of its first part.
    private var root: String {
        if let folder { return folder.path }
        guard let (part, file) = found.first else { return given.values.first?.folder ?? "." }
        let home = Path.name(file.folder)
        let isInner = [part.folder, part.folder + "s"].contains(home) || part.comfyFolders.contains(home)
        return isInner ? PartSearch.around(file.folder) : file.folder
    }

    /// The folder that a folder is in.
    private static func around(_ folder: String) -> String {
        [".", ".."].contains(Path.name(folder)) ? Path.resolve("..", in: folder) : Path.folder(folder)
    }

    /// A folder in another, or that one itself.
    private static func place(_ folder: String, in home: String) -> String {
        folder.isEmpty ? home : Path.resolve(folder, in: home)
    }

    private mutating func placeCompanions() {
        let homes = found.map(\.file.folder)
        let around = [root] + homes + homes.map(PartSearch.around)
        for companion in family.companions {
            let inner = [companion.folder] + companion.otherFolders
            let places = around.flatMap { home in inner.map { PartSearch.place($0, in: home) } } + homes
            let place = places.first { place in
                companion.names.allSatisfy { Path.kind(Path.resolve($0, in: place)) == .file }
            }
            if let place {
                for name in companion.names {
                    placed.put(file: Path.resolve(name, in: place), as: companion.name(name))
                }
            } else if let source = companion.source, !isLeftOut(companion.folder) {
                let names = companion.names.joined(separator: " and ")
                missing.append((companion.title, "\(names) in \(PartSearch.place(companion.folder, in: root))", source))
            }
        }
    }
}

/// A file of weights, or an index of several, or a folder of either, that was named as a part of a checkpoint.
struct PartFile {
    /// The file, or the index.
    let path: String
    let weights: any WeightFile
    /// The files of an index, beside it.
    private let shards: [String]

    /// The folder that the file lies in.
    var folder: String { Path.folder(path) }

    /// Opens what is at a path.
    ///
    /// Throws `.cannotOpen` for what is not there or holds no weights, and what opening weights throws.
    init(_ given: String) throws(Fault) {
        path = Path.kind(given) == .folder ? Path.resolve(try PartFile.name(in: given), in: given) : given
        try Engine.requireFile(path, "weight file")
        guard WeightNames.isIndex(Path.name(path)) else {
            (weights, shards) = (try WeightFiles.open(path: path), [])
            return
        }
        let folder = try ModelFolder(path: Path.folder(path))
        weights = try WeightFiles.open(folder, component: "", name: Path.name(path))
        let map = try folder.json(Path.name(path), values: 1 << 20).object("weight_map")
        shards = Set(map.members.compactMap(\.value.string)).sorted()
    }

    /// The weights in a folder that was named as a part.
    private static func name(in folder: String) throws(Fault) -> String {
        let names = try ModelFolder(path: folder).names().filter(isWhole)
        for stem in ["model", "diffusion_pytorch_model", "pytorch_model"] {
            if let name = WeightNames(of: stem, among: names).file { return name }
        }
        guard let name = names.first, names.count == 1 else {
            throw Fault(
                names.isEmpty ? .cannotOpen : .usage,
                names.isEmpty
                    ? "the folder holds no weights"
                    : "the folder holds several weights: " + names.joined(separator: ", "), at: folder,
                hint: "name the file")
        }
        return name
    }

    /// Whether a file holds weights, or says where they are, and is not one of several.
    static func isWhole(_ name: String) -> Bool {
        (WeightNames.isWeight(name) || name.hasSuffix(".gguf")) && !name.contains("-of-")
    }

    /// The files under the names that they are looked for by.
    func placements(stem: String) -> [(name: String, path: String)] {
        if !shards.isEmpty {
            return [(stem + ".safetensors.index.json", path)] + shards.map { ($0, Path.resolve($0, in: folder)) }
        }
        let ending = (WeightNames.torchEndings + [".gguf"]).first(where: path.hasSuffix) ?? ".safetensors"
        return [(stem + ending, path)]
    }
}
