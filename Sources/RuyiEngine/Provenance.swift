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
    init(_ clip: Clip, encoding: Encoding, checkpoint: Checkpoint, digest: String) throws(Fault) {
        var files: [String: JSON] = [:]
        for (key, path) in Provenance.inputs(clip.request) {
            guard let path else { continue }
            let isStream = path == StandardInput.name
            files[key.rawValue] = .string(isStream ? SHA256.hex(try StandardInput.read()) : try SHA256.file(path))
        }
        let loras = try clip.plan.loras.map { (lora) throws(Fault) in JSON.string(try SHA256.file(lora.path)) }
        if !loras.isEmpty { files[RequestKey.loras.rawValue] = .array(loras) }
        let model: [String: JSON] = [
            "name": .string(Path.name(checkpoint.folder.root)), "family": .string(clip.plan.family),
            "digest": .string(digest),
        ]
        json = .sorted([
            "schema": .int(Provenance.schema), "program": .string("ruyi \(Engine.version)"), "model": .sorted(model),
            "files": .sorted(files),
            "request": .object(Provenance.request(clip, encoding, allowed: checkpoint.family.keys)),
        ])
    }

    /// The same with another compression of the frames and their rate: the clip's latents are made into another file.
    init(_ origin: Provenance, _ clip: Clip, encoding: Encoding) {
        // The order of the members stays, so that the same clip has the same bytes.
        let request = (origin.json["request"]?.members ?? []).filter {
            !Provenance.formKeys.contains($0.key)
        }.map { $0.key == "fps" ? JSON.Member("fps", .frameRate(clip.plan.fps)) : $0 }
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

    private static func inputs(_ request: Request) -> [(RequestKey, String?)] {
        [(.image, request.image), (.endImage, request.endImage), (.noise, request.noise)]
    }

    /// The request with everything resolved, under the keys of a request file.
    private static func request(_ clip: Clip, _ encoding: Encoding, allowed: Set<RequestKey>) -> [JSON.Member] {
        let plan = clip.plan
        var order = Order()
        order.request = clip.request
        order.request.family = plan.family
        order.request.model = shared(clip.request.model ?? ModelCatalog.bundled)
        order.request.image = clip.request.image.map(shared)
        order.request.endImage = clip.request.endImage.map(shared)
        order.request.noise = clip.request.noise.map(shared)
        order.request.loras = plan.loras.map { LoRA(path: shared($0.path), weight: $0.weight) }
        order.request.teacache = StepFeatureRequest(plan.teacache)
        order.request.enhanceAVideo = StepFeatureRequest(plan.enhanceAVideo)
        order.request.resolution = nil
        order.request.baseResolution = nil
        order.request.seconds = nil
        (order.request.width, order.request.height) = (plan.delivered.width, plan.delivered.height)
        order.request.exactSize = plan.cut == nil ? nil : true
        order.request.frames = plan.askedFrames ?? plan.frames
        (order.request.fps, order.request.steps, order.request.scheduler) = (plan.fps, plan.steps, plan.scheduler)
        (order.request.guidance, order.request.seed) = (plan.guidance, plan.seed)
        let everywhere: Set<RequestKey> = [.family, .model, .seed, .noise, .prompt, .negativePrompt]
        let known = Set(allowed.union(everywhere).map(\.rawValue) + ["fit", "pad_color", "exact_size"])
        let settings = plan.settings.map { key, value in
            JSON.Member(key.rawValue, clip.request.own[key] ?? OwnSetting.value(key, value))
        }
        let resolved = Set(settings.map(\.key))
        let members = order.members.filter { known.contains($0.key) && !resolved.contains($0.key) }
        return members + settings.sorted { $0.key < $1.key } + form(clip, encoding)
    }

    /// The keys of the settings that say how the frames are compressed.
    private static let formKeys = ["codec", "crf", "pixel_format", "lossless", "prores_profile", "loop"]

    /// The members that say how the frames are compressed.
    private static func form(_ clip: Clip, _ encoding: Encoding) -> [JSON.Member] {
        guard case .video(let path) = clip.output, let options = try? VideoForm(path, encoding).options else {
            return []
        }
        return [
            JSON.Member("codec", .string(options.codec.rawValue)),
            JSON.Member("pixel_format", .string(options.storedFormat.rawValue)),
        ] + (options.usedCRF.map { [JSON.Member("crf", .int($0))] } ?? [])
            + (options.isLossless ? [JSON.Member("lossless", true)] : [])
            + (options.proresProfile.map { [JSON.Member("prores_profile", .string($0.rawValue))] } ?? [])
            + (options.loop.map { [JSON.Member("loop", .int($0))] } ?? [])
    }

    /// A path without what belongs to a machine: a relative one that stays below its folder, or the last name.
    private static func shared(_ path: String) -> String {
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
        case .png: return try PictureText.read(path)[pictureTag].flatMap { Provenance(text: $0, file: path) }
        case .jpeg: return nil
        case .json:
            return Provenance(text: try FileBytes.text(path, limit: 1 << 20), file: path)
        case .gif, .webp:
            let sidecar = sidecar(path)
            guard Path.kind(sidecar) == .file else { return nil }
            return Provenance(text: try FileBytes.text(sidecar, limit: 1 << 20), file: sidecar)
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
    public func order(under given: Order, from path: String) throws(Faults) -> Order {
        given.over(try settings(under: given, from: path))
    }

    /// What `order` fills the gaps of `given` with, without the inputs `leavingOut`.
    func settings(
        under given: Order, from path: String, leavingOut: Set<RequestKey> = []
    ) throws(Faults) -> Order {
        let allowed = Set(
            RequestKey.allCases.map(\.rawValue) + Provenance.formKeys + ["fit", "pad_color", "exact_size"])
        let members = (json["request"]?.members ?? []).filter { allowed.contains($0.key) }
        // The name alone: paths in the request are looked for here, not taken from the clip's folder unseen.
        var base = try RequestReader.parse(Array(JSON.object(members).text().utf8), file: Path.name(path))
        var faults: [Fault] = []
        func find(_ key: RequestKey, _ field: WritableKeyPath<Request, String?>, _ what: String) {
            guard let name = base.request[keyPath: field] else { return }
            base.request[keyPath: field] = nil
            // Latents have everything of the inputs in them.
            guard given.request[keyPath: field] == nil, given.latents == nil, !leavingOut.contains(key) else {
                return
            }
            base.request[keyPath: field] = Faults.collect(&faults) { () throws(Fault) in
                let option = "--" + key.rawValue.split(separator: "_").joined(separator: "-")
                let digest = json["files"]?[key.rawValue]?.string
                return try input(Provenance.shared(name), digest, what, option, from: path)
            }
        }
        find(.image, \.image, "picture")
        find(.endImage, \.endImage, "end picture")
        find(.noise, \.noise, "noise file")
        let loras = given.request.loras.isEmpty && given.latents == nil ? base.request.loras : []
        let digests = json["files"]?[RequestKey.loras.rawValue]?.array ?? []
        base.request.loras = loras.enumerated().compactMap { index, lora in
            Faults.collect(&faults) { () throws(Fault) in
                let digest = digests.indices.contains(index) ? digests[index].string : nil
                let found = try input(Provenance.shared(lora.path), digest, "LoRA", "--lora", from: path)
                return LoRA(path: found, weight: lora.weight)
            }
        }
        if let model = base.request.model.map(Provenance.shared) {
            base.request.model = [model, Path.resolve(model, in: Path.folder(path))].first { Path.kind($0) == .folder }
            base.request.model = base.request.model ?? model
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
        _ name: String, _ digest: String?, _ what: String, _ option: String, from path: String
    ) throws(Fault) -> String {
        let folder = Path.folder(path)
        var places = [name, Path.resolve(name, in: folder), Path.resolve(Path.name(name), in: folder)]
        // The folder of frames was made for them as a rule.
        if FileKind(path) == .png { places.append(Path.resolve(Path.name(name), in: Path.folder(folder))) }
        let present = places.filter { Path.kind($0) == .file }
        guard let first = present.first else {
            throw Fault(
                .cannotOpen, "the \(what) '\(name)' that the clip was made from is not here", at: path,
                hint: "give it with \(option)")
        }
        guard let digest else { return first }
        for place in present {
            if try SHA256.file(place) == digest { return place }
        }
        throw Fault(
            .badData, "this is not the \(what) that \(Path.name(path)) was made from", at: first,
            hint: "give the \(what) with \(option)")
    }
}

extension StepFeatureRequest {
    /// The request for a feature as it was settled.
    fileprivate init(_ feature: StepFeature?) {
        self.init()
        isOn = feature != nil
        amount = feature?.amount
        skipStartSteps = feature?.skipStartSteps
        skipEndSteps = feature?.skipEndSteps
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
        (codec, crf, pixelFormat, lossless, proresProfile, loop) = (nil, nil, nil, nil, nil, nil)
    }
}

/// What a file is, judged by its first bytes, and by its name where they say nothing.
enum FileKind {
    case png, jpeg, gif, webp, json, safetensors, other

    /// Looks at a file; `other` may be a video, or nothing that is known.
    init(_ path: String) {
        let start = (try? FileBytes.start(of: path, 16)) ?? []
        if start.starts(with: [0x89, 0x50, 0x4E, 0x47]) {
            self = .png
        } else if start.starts(with: [0xFF, 0xD8, 0xFF]) {
            self = .jpeg
        } else if start.starts(with: "GIF8".utf8) {
            self = .gif
        } else if start.starts(with: "RIFF".utf8), start.dropFirst(8).starts(with: "WEBP".utf8) {
            self = .webp
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
