import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia

/// How a clip was made: what is kept in the clip's file, and what makes the clip again.
///
/// It holds the resolved request in the form of a request file, the digests of the model and of the input files, and
/// the program's version. Paths in it are relative or mere names: nothing tells on whose machine the clip was made.
public struct Provenance: Sendable, Equatable {
    /// The version of the form; a reader refuses later ones.
    public static let schema = 1
    /// The tag of a video that holds the text.
    static let videoTag = "comment"
    /// The keyword of a PNG picture's text.
    static let pictureTag = "Comment"
    /// The key in the metadata of a safetensors file.
    static let weightsKey = "ruyi"

    /// The object that is kept.
    let json: JSON

    /// The object as text on one line.
    public var text: String { json.text() }

    /// The model's digest, see `ModelFolder.digest`.
    var modelDigest: String? { json["model"]?["digest"]?.string }

    /// The file beside a clip that cannot hold text itself.
    static func sidecar(_ path: String) -> String { path + ".json" }

    /// How a clip is made that is about to be rendered.
    ///
    /// `digest` is the model's. Throws what reading the input files throws.
    init(_ clip: Clip, of run: Run, digest: String) throws(Fault) {
        let (checkpoint, table) = (run.checkpoint, run.engine.table)
        // The model as it is where its encoders are.
        let origin = run.given.conditions?.provenance
        var files: [String: JSON] = [:]
        for setting in table.inputs {
            guard let path = clip.request[setting] else { continue }
            files[setting.key] = .string(try run.digest(of: setting, path))
        }
        let loras = try clip.plan.loras.map { (lora) throws(Fault) in JSON.string(try SHA256.file(lora.path)) }
        if !loras.isEmpty { files[CommonSettings.table.loras.key] = .array(loras) }
        let model: [String: JSON] = [
            "name": origin?.json["model"]?["name"] ?? .string(checkpoint.folder.name),
            "family": .string(clip.plan.family),
            "digest": .string(digest),
        ]
        json = .sorted([
            "schema": .int(Provenance.schema), "program": .string("ruyi \(Engine.version)"), "model": .sorted(model),
            "files": .sorted(files),
            "request": .object(Provenance.request(clip, run.order.encoding, checkpoint.family, table, origin)),
        ])
    }

    /// The same with another compression of the frames and their rate: the clip's latents are made into another file.
    init(_ origin: Provenance, _ clip: Clip, encoding: Encoding) {
        // The order of the members stays, so that the same clip has the same bytes.
        let form = Set(Provenance.form.map(\.key))
        let request = (origin.json["request"]?.members ?? []).filter { !form.contains($0.key) }.map { member in
            member.key == CommonSettings.table.fps.key ? JSON.Member(member.key, clip.frameRate) : member
        }
        let whole = JSON.object(request + Provenance.form(clip, encoding))
        json = .object((origin.json.members ?? []).map { $0.key == "request" ? JSON.Member("request", whole) : $0 })
    }

    /// Reads the text that a clip holds; nil for text that is something else.
    init?(text: String, file: String) {
        guard text.utf8.count <= 1 << 20, text.utf8.first == UInt8(ascii: "{"),
            let json = try? JSON.parse(Array(text.utf8), file: file), json["request"]?.members != nil,
            let schema = json["schema"]?.int, (1...Provenance.schema).contains(schema)
        else { return nil }
        self.json = json
    }

    /// The request with everything resolved, under the keys of a request file.
    private static func request(
        _ clip: Clip, _ encoding: Encoding, _ family: any Family.Type, _ table: SettingsTable, _ origin: Provenance?
    ) -> [JSON.Member] {
        let (plan, common) = (clip.plan, CommonSettings.table)
        var order = Order()
        order.request = clip.request
        order.request.family = plan.family
        let model = clip.request.usesBundledModel ? ModelCatalog.bundled : clip.request.model
        order.request.model = model.map(shared)
        for setting in table.inputs + table.parts { order.request[setting] = order.request[setting].map(shared) }
        if let made = origin?.json["request"] {
            for setting in table.parts + [common.model] { order.request[setting] = made[setting.key]?.string }
        }
        order.request.loras = plan.loras.map { LoRA(path: shared($0.path), weight: $0.weight) }
        for key in [common.resolution.key, common.baseResolution.key, common.seconds.key] {
            order.request.values.remove(key)
        }
        (order.request.width, order.request.height) = (plan.delivered.width, plan.delivered.height)
        order.request.exactSize = plan.cut == nil ? nil : true
        order.request.fit = plan.fit
        if clip.request.image != nil { order.pictureOptions.put(into: &order.request.values) }
        order.request.frames = plan.askedFrames ?? plan.frames
        (order.request.fps, order.request.steps, order.request.scheduler) = (plan.fps, plan.steps, plan.scheduler)
        (order.request.guidance, order.seeds) = (plan.guidance, [plan.seed])
        let values = plan.values.over(order.request.values)
        // A model that reads no text keeps it all the same: another one may make the clip again.
        let settings =
            family.settings + [common.family, common.model, common.noise, common.prompt, common.negativePrompt]
        let kept = settings + RunSettings.all.filter { $0.traits.scope != .encoding }
        let keys = Set(kept.filter(\.traits.isKept).map(\.key))
        return values.members.filter { keys.contains($0.key) } + form(clip, encoding)
    }

    /// The settings that say how the frames are compressed, as far as a clip keeps them.
    fileprivate static let form = RunSettings.all.filter { $0.traits.scope == .encoding && $0.traits.isKept }

    /// The members that say how the frames are compressed.
    private static func form(_ clip: Clip, _ encoding: Encoding) -> [JSON.Member] {
        guard case .video(let path) = clip.output, let options = try? VideoForm(path, encoding).options else {
            return []
        }
        var order = Order()
        (order.codec, order.pixelFormat) = (options.codec.rawValue, options.storedFormat.rawValue)
        order.crf = options.usedCRF
        order.lossless = options.isLossless ? true : nil
        order.proresProfile = options.proresProfile?.rawValue
        order.loop = options.loop
        return order.members
    }

    /// What the latents come from: everything but the places of files and the compression of the frames.
    var origin: JSON {
        let places = SettingsTable.standard.all.filter { $0.traits.scope == .input }.map(\.key)
        let left = Set(places + Provenance.form.map(\.key) + [CommonSettings.table.loras.key])
        let members = (json["request"]?.members ?? []).filter { !left.contains($0.key) }
        let weights = (json["request"]?[CommonSettings.table.loras.key]?.array ?? []).compactMap { $0["weight"] }
        return .object([
            JSON.Member("program", json["program"] ?? .null), JSON.Member("model", json["model"]?["digest"] ?? .null),
            JSON.Member("files", json["files"] ?? .null), JSON.Member("loras", .array(weights)),
            JSON.Member("request", .object(members)),
        ])
    }

    /// What tells one origin from another, in a word or two; nil where they are the same.
    static func difference(_ origin: JSON, _ other: JSON) -> String? {
        if origin == other { return nil }
        func inner(_ key: String) -> String? {
            let (mine, theirs) = (origin[key]?.members ?? [], other[key]?.members ?? [])
            let keys = (mine + theirs).map(\.key)
            return keys.first { origin[key]?[$0] != other[key]?[$0] }
        }
        if origin["model"] != other["model"] { return "model" }
        if let file = inner("files") ?? inner("request") { return file.split(separator: "_").joined(separator: " ") }
        return origin["program"] != other["program"] ? "version of ruyi" : "strength of a LoRA"
    }

    /// The same for a clip of which not all frames are there yet.
    func unfinished(frames: Int) -> Provenance {
        Provenance(json: .object((json.members ?? []) + [JSON.Member("unfinished", ["frames": .int(frames)])]))
    }

    private init(json: JSON) { self.json = json }

    /// A path without what belongs to a machine: a relative one that stays below its folder, or the last name.
    static func shared(_ path: String) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true)
        if !path.hasPrefix("/"), !parts.contains("..") { return path }
        return parts.last { $0 != ".." && $0 != "." }.map(String.init) ?? path
    }
}

extension Provenance {
    /// Reads what a file holds about how it was made.
    ///
    /// Takes videos, PNG pictures, latents and other safetensors files, the JSON file beside a GIF or WebP or that file's
    /// own name, and folders of PNG pictures.
    ///
    /// Throws `.badData` for a file that holds nothing of the kind, and what reading the file throws.
    public static func read(_ path: String) throws(Fault) -> Provenance {
        if let found = try find(path) { return found }
        throw Fault(
            .badData, "the file does not hold how it was made", at: path,
            hint: "clips made with --no-metadata, or changed by other programs, do not")
    }

    /// As `read`, with nil for a file that holds nothing of the kind.
    static func find(_ path: String) throws(Fault) -> Provenance? {
        if Path.kind(path) == .folder {
            return try FrameFolder.pictures(path).first.flatMap { (first) throws(Fault) in try find(first) }
        }
        try Engine.requireFile(path, "file")
        switch FileKind(path) {
        case .picture(.png): return try PictureText.read(path)[pictureTag].flatMap { Provenance(text: $0, file: path) }
        case .gguf: return nil
        case .json:
            return Provenance(text: try FileBytes.text(path, limit: 1 << 20), file: path)
        case .animation, .picture(.gif), .picture(.webp):
            let sidecar = sidecar(path)
            guard Path.kind(sidecar) == .file else { return nil }
            return Provenance(text: try FileBytes.text(sidecar, limit: 1 << 20), file: sidecar)
        case .picture: return nil
        case .safetensors:
            let metadata = try SafetensorsFile(path: path).header.metadata
            return metadata.first { $0.key == weightsKey }?.value.string.flatMap { Provenance(text: $0, file: path) }
        case .other:
            let tags = try VideoReader(path).facts.tags
            return tags.first { $0.key.lowercased() == videoTag }.flatMap { Provenance(text: $0.value, file: path) }
        }
    }

    /// The order that makes the clip again, except where `given` says otherwise.
    ///
    /// The settings come from a file that anybody may have made: they name no output, and inputs only by relative paths
    /// below the current folder or the clip's, or beside a folder of frames.
    ///
    /// - Throws: `.badData` for settings that are no request, or for an input file with another content than that which
    ///   the clip was made from; `.cannotOpen` when there is none.
    public func order(
        under given: Order, from path: String, table: SettingsTable = .standard
    ) throws(Faults) -> Order {
        given.over(try settings(under: given, from: path, table: table))
    }

    /// What `order` fills the gaps of `given` with, without the inputs under the keys `leavingOut`.
    func settings(
        under given: Order, from path: String, leavingOut: Set<String> = [], table: SettingsTable
    ) throws(Faults) -> Order {
        let common = CommonSettings.table
        let allowed = Set(table.all.filter(\.traits.isKept).map(\.key))
        let members = (json["request"]?.members ?? []).filter { allowed.contains(table[$0.key]?.key ?? "") }
        // The name alone: paths in the request are looked for here, not taken from the clip's folder unseen.
        var base = try RequestReader.parse(
            Array(JSON.object(members).text().utf8), file: Path.name(path), table: table)
        // Clips that say nothing of it were made when pictures were read and placed as the family's own program does.
        base.request.fit = base.request.fit ?? .family
        if base.request.image != nil, base.orientation == nil {
            PictureOptions.asStored.put(into: &base.request.values)
        }
        var faults: [Fault] = []
        for setting in table.inputs {
            guard let name = base.request[setting] else { continue }
            base.request[setting] = nil
            // Latents have everything of the inputs in them.
            guard given.request[setting] == nil, given.needsEncoders, !leavingOut.contains(setting.key) else {
                continue
            }
            base.request[setting] = Faults.collect(&faults) { () throws(Fault) in
                let digest = json["files"]?[setting.key]?.string
                return try input(Provenance.shared(name), digest, setting, from: path)
            }
        }
        let loras = given.request.loras.isEmpty && given.latents == nil ? base.request.loras : []
        let digests = json["files"]?[common.loras.key]?.array ?? []
        base.request.loras = loras.enumerated().compactMap { index, lora in
            Faults.collect(&faults) { () throws(Fault) in
                let digest = digests.indices.contains(index) ? digests[index].string : nil
                let found = try input(Provenance.shared(lora.path), digest, common.loras, from: path)
                return LoRA(path: found, weight: lora.weight)
            }
        }
        // Which checkpoint it is its digest says.
        for setting in table.parts + [common.model] {
            guard let name = base.request[setting].map(Provenance.shared) else { continue }
            base.request[setting] =
                [name, Path.resolve(name, in: Path.folder(path))].first { Path.kind($0) != .nothing } ?? name
        }
        try Faults.check(faults)
        base.leaveOutEncoding(unlessItFits: given.output ?? base.output ?? "clip.mp4")
        base.origin = self
        return base
    }

    /// The name of the clip that latents were to become goes with them.
    func order(decoding latents: String, under given: Order) throws(Faults) -> Order {
        var given = given
        do throws(Fault) {
            let name = try LatentsFile.output(latents)
            given.output = given.output ?? name.map { Path.resolve($0, in: Path.folder(latents)) }
        } catch {
            throw Faults(error)
        }
        return try order(under: given, from: latents)
    }

    /// The input file that the clip was made from, told by its digest.
    private func input(
        _ name: String, _ digest: String?, _ setting: any AnySetting, from path: String
    ) throws(Fault) -> String {
        let what = setting.option.dropFirst(2).split(separator: "-").joined(separator: " ")
        let folder = Path.folder(path)
        var places = [name, Path.resolve(name, in: folder), Path.resolve(Path.name(name), in: folder)]
        // The folder of frames was made for them as a rule.
        if FileKind(path) == .picture(.png) { places.append(Path.resolve(Path.name(name), in: Path.folder(folder))) }
        let present = places.filter { Path.kind($0) == .file }
        guard let first = present.first else {
            throw Fault(
                .cannotOpen, "the \(what) '\(name)' that the clip was made from is not here", at: path,
                hint: "give it with \(setting.option)")
        }
        guard let digest else { return first }
        for place in present {
            if try SHA256.file(place) == digest { return place }
        }
        throw Fault(
            .badData, "this is not the \(what) that \(Path.name(path)) was made from", at: first,
            hint: "give the \(what) with \(setting.option)")
    }
}

extension Order {
    /// This order, which names latents, with the gaps filled from what is kept with them.
    public func decoding() throws(Faults) -> Order {
        guard let latents else { return self }
        let provenance: Provenance
        do throws(Fault) { provenance = try Provenance.read(latents) } catch { throw Faults(error) }
        return try provenance.order(decoding: latents, under: self)
    }

    /// Forgets how frames were compressed where an output of this name cannot be.
    fileprivate mutating func leaveOutEncoding(unlessItFits output: String) {
        guard VideoForm.fault(output, encoding) != nil else { return }
        for setting in Provenance.form { request.values.remove(setting.key) }
    }
}

/// What a file is, judged by its first bytes, and by its name where they say nothing.
enum FileKind: Equatable {
    /// A still picture.
    case picture(PictureFormat)
    /// A GIF or WebP with several frames.
    case animation(PictureFormat)
    case json, safetensors, gguf, other

    /// Looks at a file; `other` may be a video, or nothing that is known.
    init(_ path: String) {
        let start = (try? FileBytes.start(of: path, PictureFormat.startBytes)) ?? []
        if let format = PictureFormat(start) {
            let isAnimated = [.gif, .webp].contains(format) && (try? PictureReader.facts(path))?.pictures ?? 1 != 1
            self = isAnimated ? .animation(format) : .picture(format)
        } else if start.starts(with: "GGUF".utf8) {
            self = .gguf
        } else if Path.suffix(path) == "safetensors" {
            self = .safetensors
        } else {
            self = start.first == UInt8(ascii: "{") ? .json : .other
        }
    }
}

/// Folders that hold a clip as numbered pictures.
enum FrameFolder {
    /// The PNG pictures in a folder in the order of their names, numbers in them counting as numbers.
    static func pictures(_ folder: String) throws(Fault) -> [String] {
        let names = try ModelFolder(path: folder).names().filter {
            Path.suffix($0) == "png" && !$0.hasPrefix(".")
        }
        return names.map { (key: key($0), name: $0) }.sorted { ($0.key, $0.name) < ($1.key, $1.name) }.map {
            Path.resolve($0.name, in: folder)
        }
    }

    /// The name with every number as long as the longest.
    private static func key(_ name: String) -> String {
        var key = ""
        var digits = ""
        for character in name + "\0" {
            if ("0"..."9").contains(character) {
                digits.append(character)
                continue
            }
            key += String(repeating: "0", count: max(0, 20 - digits.count)) + digits
            digits = ""
            key.append(character)
        }
        return key
    }
}
