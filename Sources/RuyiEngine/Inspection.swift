import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiTensor

/// What a file or folder is: a clip, a picture, a weight file, a checkpoint.
public struct Inspection: Sendable {
    /// What is wrong with what was looked at; nil if nothing is.
    public let faults: Faults?
    private let report: JSON

    /// The report as a JSON object on one line.
    public var json: String { report.text() }

    /// A text of the report; nil where it has none of this name.
    subscript(key: String) -> String? { report[key]?.string }

    /// The report for people: a line a value, indented below its heading.
    public var text: String { Inspection.lines(report, "").joined(separator: "\n") }

    /// Looks at a path.
    ///
    /// Throws `.cannotOpen` for what is not there, `.badData` for a file that is none of the kinds or is damaged. A
    /// checkpoint that is recognised and incomplete is reported, with `faults`.
    public init(_ path: String, families: [any Family.Type] = Registry.families) throws(Faults) {
        do {
            switch Path.kind(path) {
            case .folder: (report, faults) = try Inspection.folder(path, families)
            default:
                try Engine.requireFile(path, "file")
                (report, faults) = (try Inspection.file(path), nil)
            }
        } catch {
            throw Faults(of: error)
        }
    }

    /// Looks at a checkpoint of which parts are named apart.
    ///
    /// Throws what keeps them from being put together.
    public init(
        _ reference: ModelReference, catalog: ModelCatalog = .installed(),
        families: [any Family.Type] = Registry.families
    ) throws(Faults) {
        do {
            let (path, parts) = try reference.places(catalog, families)
            let folder = try ModelLayout(families: families).open(path, parts: parts)
            (report, faults) = try Inspection.checkpoint(folder, families)
        } catch {
            throw Faults(of: error)
        }
    }

    static func lines(_ value: JSON, _ indent: String) -> [String] {
        func plain(_ value: JSON) -> String { Fault.printable(value.string ?? value.text()) }
        guard let members = value.members else { return [indent + plain(value)] }
        return members.flatMap { member -> [String] in
            let key = indent + Fault.printable(member.key)
            if member.value == .null || member.value == .array([]) { return [] }
            if member.value.members != nil { return [key + ":"] + lines(member.value, indent + "  ") }
            if let list = member.value.array, !list.isEmpty, list.allSatisfy({ $0.members != nil || $0.string != nil })
            {
                return [key + ":"] + list.flatMap { lines($0, indent + "  ") }
            }
            return ["\(key): \(plain(member.value))"]
        }
    }

    // MARK: Files

    private static func file(_ path: String) throws(Fault) -> JSON {
        let settings = try Provenance.find(path)
        let made = JSON.Member("made_with", settings?.json ?? .null)
        switch FileKind(path) {
        case .animation(.webp):
            let facts = try WebPFile.facts(path)
            return .object([
                .init("kind", "video"), .init("container", "webp"), .init("width", .int(facts.width)),
                .init("height", .int(facts.height)), .init("frames", .int(facts.frameCount)),
                .init("seconds", .double(Double(facts.milliseconds) / 1000)), made,
            ])
        case .animation: return .object(video(try VideoReader(path).facts) + [made])
        case .picture:
            let facts = try PictureReader.facts(path)
            return .object([
                .init("kind", "picture"), .init("format", .string(facts.format.rawValue)),
                .init("width", .int(facts.width)), .init("height", .int(facts.height)),
                .init("notes", .array(facts.notes.map(JSON.string))), made,
            ])
        case .json:
            guard settings != nil else {
                throw Fault(.badData, "the JSON file does not hold how a clip was made", at: path)
            }
            return .object([.init("kind", "settings"), made])
        case .safetensors:
            let file = try SafetensorsFile(path: path)
            let isLatents = file.header.metadata.contains { $0.key == "state" } && settings != nil
            let isConditions = file.header.metadata.contains { $0.key == ConditionFile.key } && settings != nil
            let adapters = LoRAFile.kinds(in: file).map { JSON.Member($0.kind, .int($0.layers)) }
            return .object(
                [
                    .init(
                        "kind",
                        isLatents
                            ? "latents" : isConditions ? "conditions" : adapters.isEmpty ? "weights" : "lora"),
                    .init("layers", adapters.isEmpty ? .null : .object(adapters)),
                ] + WeightTally([file]).members + [made])
        case .gguf:
            let file = try GGUFFile(path: path)
            return .object(
                [
                    .init("kind", "weights"), .init("format", .string("GGUF \(file.header.version)")),
                    .init("architecture", .text(file.header.architecture)),
                ] + WeightTally([file]).members)
        case .other: return .object(video(try VideoReader(path).facts) + [made])
        }
    }

    private static func video(_ facts: VideoFacts) -> [JSON.Member] {
        [
            .init("kind", "video"), .init("container", .string(facts.container)), .init("codec", .string(facts.codec)),
            .init("pixel_format", .string(facts.pixelFormat)), .init("width", .int(facts.width)),
            .init("height", .int(facts.height)), .init("frames", .int(facts.frameCount)),
            .init("fps", .string(facts.fps.description)), .init("seconds", .double(facts.seconds)),
            .init("primaries", .string(facts.primaries)), .init("transfer", .string(facts.transfer)),
            .init("matrix", .string(facts.matrix)), .init("range", .string(facts.range)),
        ]
    }

    // MARK: Folders

    private static func folder(_ path: String, _ families: [any Family.Type]) throws(Fault) -> (JSON, Faults?) {
        let folder = try ModelLayout(families: families).open(path)
        if try families.recognising(folder) == nil, try WeightTally.parts(of: folder).isEmpty {
            return (try frames(path, families), nil)
        }
        return try checkpoint(folder, families)
    }

    private static func checkpoint(
        _ folder: ModelFolder, _ families: [any Family.Type]
    ) throws(Fault) -> (JSON, Faults?) {
        let family = try families.recognising(folder)
        let parts = try WeightTally.parts(of: folder)
        let faults = family.flatMap { missing(folder, $0) } ?? (family == nil ? unknown(folder.path, families) : nil)
        let total = parts.reduce(into: (parameters: 0, bytes: 0)) { sum, part in
            sum.parameters += part.tally.parameters
            sum.bytes += part.tally.bytes
        }
        let members: [JSON.Member] = [
            .init("kind", "checkpoint"), .init("family", .text(family?.name)), .init("title", .text(family?.title)),
            .init("complete", .bool(faults == nil)), .init("digest", .string(try folder.digest())),
            .init("parameters", .int(total.parameters)), .init("bytes", .int(total.bytes)),
            .init("size", .string(Bytes.text(total.bytes))),
            .init("parts", .object(parts.map { JSON.Member($0.name, .object($0.tally.members)) })),
            .init("problems", .array((faults?.list ?? []).map { .string($0.description) })),
        ]
        return (.object(members), faults)
    }

    /// What keeps a checkpoint from being loaded; nothing of the weights is read.
    static func missing(_ folder: ModelFolder, _ family: any Family.Type) -> Faults? {
        do {
            _ = try family.load(folder, backend: KernelChoice.best.backend(threads: 1))
            return nil
        } catch {
            // Whatever is missing, the checkpoint is what is bad.
            let faults = Faults(of: error).list.map { Fault(.badData, $0.what, at: $0.place, hint: $0.hint) }
            return Faults(faults[0], Array(faults.dropFirst()))
        }
    }

    static func unknown(_ path: String, _ families: [any Family.Type]) -> Faults {
        let known = families.map { "\($0.title): \($0.layout)" }.joined(separator: "; ")
        return Faults(Fault(.badData, "no known model has this folder's files", at: path, hint: "expected \(known)"))
    }

    /// A folder of numbered pictures.
    private static func frames(_ path: String, _ families: [any Family.Type]) throws(Fault) -> JSON {
        let pictures = try FrameFolder.pictures(path)
        guard let first = pictures.first else {
            throw Fault(
                .badData, "the folder holds neither a checkpoint nor PNG pictures", at: path,
                hint: "a checkpoint is \(families.map { "\($0.title): \($0.layout)" }.joined(separator: "; "))")
        }
        let size = try PictureReader.facts(first)
        return .object([
            .init("kind", "frames"), .init("width", .int(size.width)), .init("height", .int(size.height)),
            .init("frames", .int(pictures.count)), .init("made_with", try Provenance.find(path)?.json ?? .null),
        ])
    }
}

/// Tensors, parameters and types of weight files.
struct WeightTally {
    private(set) var parameters = 0
    private(set) var bytes = 0
    private var tensors = 0
    /// The parameters of each type.
    private(set) var types: [String: Int] = [:]

    /// Adds up what the headers say.
    init(_ files: [any WeightFile]) {
        for file in files {
            bytes += file.byteCount
            for key in file.keys {
                let count = (file.shape(of: key) ?? []).reduce(1, *)
                tensors += 1
                parameters += count
                types[file.dtype(of: key)?.rawValue ?? "other", default: 0] += count
            }
        }
    }

    /// The numbers under their names; `types` counts the parameters of each.
    var members: [JSON.Member] {
        [
            .init("tensors", .int(tensors)), .init("parameters", .int(parameters)), .init("bytes", .int(bytes)),
            .init("types", .sorted(types.mapValues(JSON.int))),
        ]
    }

    /// The folders of a checkpoint that hold weights, `.` for the checkpoint's own, with the sums of each.
    ///
    /// Weights that cannot be read are left out: loading says what is wrong with them.
    static func parts(of folder: ModelFolder) throws(Fault) -> [(name: String, tally: WeightTally)] {
        var parts: [(name: String, tally: WeightTally)] = []
        for part in try folders(of: folder, "", depth: 2) {
            var files: [any WeightFile] = []
            let names = try folder.names(in: part)
            for stem in stems(names) {
                do { files.append(try folder.weights(part, stem: stem)) } catch { if error.isOfSystem { throw error } }
            }
            if files.isEmpty, names.contains(where: { $0.hasSuffix(".gguf") }) {
                do { files.append(try folder.weights(part, stem: "model")) } catch {
                    if error.isOfSystem { throw error }
                }
            }
            if !files.isEmpty { parts.append((part.isEmpty ? "." : part, WeightTally(files))) }
        }
        return parts
    }

    /// A folder inside and those in it, so many levels down.
    private static func folders(of model: ModelFolder, _ name: String, depth: Int) throws(Fault) -> [String] {
        if depth == 0 { return [name] }
        let prefix = name.isEmpty ? "" : name + "/"
        var found = [name]
        for inner in try model.names(in: name) where !inner.hasPrefix(".") && model.hasFolder(prefix + inner) {
            found += try folders(of: model, prefix + inner, depth: depth - 1)
        }
        return found
    }

    /// The names of a folder's weights without their endings; the parts of a sharded file count as their index.
    private static func stems(_ names: [String]) -> [String] {
        let stems = names.compactMap { name in
            if WeightNames.isIndex(name), let variant = WeightNames.variant(of: name) { return variant.stem }
            return [".safetensors.index.json", ".safetensors", ".bin", ".pt"].first { name.hasSuffix($0) }.map {
                String(name.dropLast($0.count))
            }
        }
        return Set(stems).filter { $0.firstRange(of: "-of-") == nil }.sorted()
    }
}

extension [any Family.Type] {
    /// The family that recognises a folder; nil where none does.
    ///
    /// Throws where the system does not let anybody look.
    func recognising(_ folder: ModelFolder) throws(Fault) -> (any Family.Type)? {
        for family in self {
            do { if try family.recognises(folder) { return family } } catch { if error.isOfSystem { throw error } }
        }
        return nil
    }
}
