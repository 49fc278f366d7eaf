import RuyiFault
import RuyiFiles
import RuyiModels

/// The order in which a checkpoint was trained to make its sections.
public enum FramePackVariant: String, Sendable, CaseIterable {
    /// The last section first, so that errors do not add up away from the start picture.
    case inverted = "i2v"
    /// The first section first.
    case forward = "f1"
}

/// A checkpoint's files, which come from three repositories: side by side in a folder, in one folder in the layout of
/// diffusers, or in a Hugging Face cache (specification section 2.1); or the community's files, which are named apart or
/// lie in ComfyUI's folders.
package struct FramePackCheckpoint: Sendable {
    /// The parts, named after their folders.
    package enum Part: String, Sendable, CaseIterable {
        case transformer, vae, tokenizer
        case text = "text_encoder"
        case clip = "text_encoder_2"
        case clipTokenizer = "tokenizer_2"
        case vision = "image_encoder"
        case processor = "feature_extractor"

        /// The files that show that a folder is the part's.
        fileprivate var marks: [String] {
            switch self {
            case .tokenizer: ["tokenizer.json"]
            case .clipTokenizer: ["vocab.json", "merges.txt"]
            case .processor: ["preprocessor_config.json"]
            default: ["config.json"]
            }
        }

        /// The names that its weights have, without ending.
        var stems: [String] {
            [.transformer, .vae].contains(self) ? ["diffusion_pytorch_model", "model"] : ["model", "pytorch_model"]
        }

        /// The repository that it comes from.
        fileprivate var repository: String {
            switch self {
            case .transformer: "lllyasviel/FramePackI2V_HY"
            case .vision, .processor: "lllyasviel/flux_redux_bfl"
            default: "hunyuanvideo-community/HunyuanVideo"
            }
        }
    }

    private typealias Place = (folder: ModelFolder, name: String)

    /// The variant that the name of the folder, or of the file, tells; nil where it tells none.
    package let variant: FramePackVariant?
    /// The folder as it was given, with the parts that lie elsewhere.
    private let folder: ModelFolder
    /// Where the settings and small files of each part are.
    private let places: [Part: Place]

    /// The classes that a transformer's settings name.
    private static let classes = ["HunyuanVideoTransformer3DModelPacked", "HunyuanVideoFramepackTransformer3DModel"]

    /// What the checkpoint is called, for messages.
    let name: String

    /// Looks for the parts of a checkpoint in a folder, and in those inside it.
    ///
    /// Throws `.usage` where several transformers are there, `.cannotOpen` that names the parts that are not.
    package init(_ folder: ModelFolder) throws(Fault) {
        self.folder = folder
        var homes = try FramePackCheckpoint.homes(folder)
        let found = try FramePackCheckpoint.transformers(in: homes, folder)
        var places: [Part: Place] = [:]
        if folder.isPlaced(Part.transformer.rawValue) {
            name = try FramePackCheckpoint.transformerName(folder)
            variant = FramePackCheckpoint.variant(of: name)
            let own = Part.transformer.rawValue
            places[.transformer] = try folder.has(own + "/config.json") ? (folder, own) : found.first?.place
        } else {
            guard let transformer = found.first else {
                throw Fault(.badData, "there is no transformer of FramePack", at: folder.path)
            }
            guard found.count == 1 else {
                throw Fault(
                    .usage, "the folder holds several transformers: " + found.map(\.title).joined(separator: ", "),
                    at: folder.path, hint: "name one of them, as in --model \(folder.path)/\(transformer.title)")
            }
            (variant, name) = (transformer.variant, transformer.title)
            places[.transformer] = transformer.place
        }
        if folder.isAssembled { homes.insert(folder, at: 0) }
        var missing: [Part] = []
        for part in Part.allCases
        where part != .transformer && (folder.needsEncoders || !FramePack.isEncoder(part.rawValue)) {
            places[part] = try FramePackCheckpoint.place(of: part, in: homes)
            let weights = part == .processor ? .vision : part
            if places[part] == nil, !folder.isPlaced(weights.rawValue) { missing.append(part) }
        }
        guard missing.isEmpty else {
            let names = missing.map { "\($0.rawValue)/ (of \($0.repository))" }.joined(separator: ", ")
            throw Fault(
                .cannotOpen, "the checkpoint lacks \(names)", at: folder.path,
                hint: "put the repositories' folders side by side: FramePackI2V_HY, HunyuanVideo, flux_redux_bfl; "
                    + "'ruyi models pull FramePackI2V_HY' does so")
        }
        self.places = places
    }

    /// Whether a transformer of FramePack is in a folder or around it.
    static func isThere(_ folder: ModelFolder) throws(Fault) -> Bool {
        try !transformers(in: homes(folder), folder).isEmpty
    }

    /// The folders that may hold parts: the one that is named, or what it is beside, and those inside.
    private static func homes(_ folder: ModelFolder) throws(Fault) -> [ModelFolder] {
        var base = folder
        if try isTransformer(folder, "") {
            // A repository in a cache has its files two folders deep.
            let parts = folder.root.split(separator: "/")
            let isCached = parts.count > 3 && parts[parts.count - 2] == "snapshots"
            base = try ModelFolder(path: "/" + parts.dropLast(isCached ? 3 : 1).joined(separator: "/"))
        } else if folder.hasFolder("hub") {
            base = try folder.folder("hub")
        }
        var homes = [base]
        for name in try base.names() where !name.hasPrefix(".") && base.hasFolder(name) {
            // A repository that is not whole in a cache is none to look into.
            if let inner = try? base.folder(name) { homes.append(inner) }
        }
        return homes
    }

    private static func transformers(
        in homes: [ModelFolder], _ folder: ModelFolder
    ) throws(Fault) -> [(place: Place, title: String, variant: FramePackVariant?)] {
        if try isTransformer(folder, "") { return [((folder, ""), folder.name, variant(of: folder.name))] }
        var found: [(place: Place, title: String, variant: FramePackVariant?)] = []
        for home in homes {
            for name in ["", Part.transformer.rawValue] where try isTransformer(home, name) {
                // One folder in the layout of diffusers: its transformer was found from the folder itself.
                let isFound = found.contains { join($0.place.folder.root, $0.place.name) == join(home.root, name) }
                if isFound { continue }
                found.append(((home, name), home.name, variant(of: home.name)))
            }
        }
        return found
    }

    private static func isTransformer(_ folder: ModelFolder, _ name: String) throws(Fault) -> Bool {
        guard let file = try folder.jsonIfReadable(join(name, "config.json")) else { return false }
        return (try? file.string("_class_name")).map(classes.contains) ?? false
    }

    /// What the transformer is called that was named apart: its file, or the file's folder where that is called as any.
    private static func transformerName(_ folder: ModelFolder) throws(Fault) -> String {
        let part = Part.transformer
        let path = try folder.weights(part.rawValue, stems: part.stems).path
        let parts = path.split(separator: "/")
        let stem = WeightNames.stem(of: parts.last.map(String.init) ?? "")
        let isAny = part.stems.contains { stem == $0 || stem.hasPrefix($0 + ".") }
        return isAny && parts.count > 1 ? String(parts[parts.count - 2]) : stem
    }

    /// The names tell the variants apart, as published ones and the community's do; nothing inside of the files does.
    private static func variant(of name: String) -> FramePackVariant? {
        let words = name.lowercased().split { !$0.isLetter && !$0.isNumber }
        if words.contains("f1") || words.contains("framepackf1") { return .forward }
        let isInverted = words.contains("framepacki2v") || words.contains("framepack") && words.contains("i2v")
        return isInverted ? .inverted : nil
    }

    private static func place(of part: Part, in homes: [ModelFolder]) throws(Fault) -> Place? {
        for home in homes {
            var hasAll = true
            for mark in part.marks where try !home.has(part.rawValue + "/" + mark) { hasAll = false }
            if hasAll, try isOwn(part, in: home) { return (home, part.rawValue) }
        }
        return nil
    }

    /// Whether a folder's part is of the kind that this family needs, as its settings say: other models may lie beside it.
    private static func isOwn(_ part: Part, in home: ModelFolder) throws(Fault) -> Bool {
        // What was found for parts that are named apart is theirs.
        if home.isAssembled, [.tokenizer, .clipTokenizer].contains(part) { return true }
        let described: Part =
            switch part {
            case .tokenizer: .text
            case .clipTokenizer: .clip
            default: part
            }
        guard part != .processor, let file = try home.jsonIfReadable(described.rawValue + "/config.json") else {
            return true
        }
        func text(_ key: String) -> String? { try? file.string(key) }
        switch described {
        case .vae: return text("_class_name") ?? "AutoencoderKLHunyuanVideo" == "AutoencoderKLHunyuanVideo"
        case .text: return !file.has("text_config") && text("model_type") ?? "llama" == "llama"
        case .clip: return text("model_type")?.hasPrefix("clip") ?? true
        case .vision: return text("model_type")?.hasPrefix("siglip") ?? true
        default: return true
        }
    }

    private static func join(_ folder: String, _ name: String) -> String {
        [folder, name].filter { !$0.isEmpty }.joined(separator: "/")
    }

    private func place(_ part: Part) -> Place {
        guard let place = places[part] else { preconditionFailure("\(part) has no place") }
        return place
    }

    // MARK: Files

    /// The settings of a part; those that have no file are told from the weights.
    ///
    /// Throws `.badData` for settings that are wrong, and for weights that do not tell them.
    package func settings(_ part: Part) throws(Fault) -> JSONObject {
        if part == .text, isPlaced(part) {
            let file = try stored(part)
            // A file of llama.cpp brings its own.
            if file is GGUFFile { return try JSONObject(language(file).settings(withPicture: false), file: file.path) }
        }
        if places[part] != nil {
            return try json(part, part == .processor ? "preprocessor_config.json" : "config.json")
        }
        let file = try stored(part == .processor ? .vision : part)
        return try JSONObject(toldSettings(part, file), file: file.path)
    }

    private func toldSettings(_ part: Part, _ file: any WeightFile) throws(Fault) -> JSON {
        let told: JSON?
        switch part {
        case .transformer: told = try FramePackTransformerFile(file)?.settings()
        case .vae: told = try HunyuanVAEFile(file).settings()
        case .text: told = try language(file).settings(withPicture: false)
        case .clip: told = try HunyuanCLIPFile(file)?.settings()
        case .vision: told = try SigLIPFile(file)?.settings()
        case .processor: told = try SigLIPFile(file)?.processorSettings()
        case .tokenizer, .clipTokenizer: told = nil
        }
        guard let told else {
            throw Fault(.badData, "the file does not hold the \(part.rawValue) of FramePack", at: file.path)
        }
        return told
    }

    /// The weights of a part, under the names that diffusers and transformers give them.
    package func weights(_ part: Part) throws(Fault) -> any WeightFile {
        let file = try stored(part)
        guard isPlaced(part) else { return file }
        switch part {
        case .transformer: return try FramePackTransformerFile(file)?.weights() ?? file
        case .vae: return try HunyuanVAEFile(file).weights()
        case .text: return try language(file).weights(withPicture: false)
        case .clip: return try HunyuanCLIPFile.textTower(file)
        case .vision: return try SigLIPFile(file)?.weights() ?? file
        default: return file
        }
    }

    /// The weights of a part as they are stored.
    private func stored(_ part: Part) throws(Fault) -> any WeightFile {
        let place = isPlaced(part) ? (folder, part.rawValue) : place(part)
        return try place.0.weights(place.1, stems: part.stems)
    }

    private func language(_ file: any WeightFile) throws(Fault) -> HunyuanTextFile {
        try HunyuanTextFile(reading: file, tower: nil)
    }

    /// The language model of a GGUF file with its heads as transformers has them; nil for one in another file.
    func turnedLanguage() throws(Fault) -> HunyuanTextFile? {
        let file = try stored(.text)
        guard isPlaced(.text), file is GGUFFile else { return nil }
        return try HunyuanTextFile(reading: file, tower: nil, turned: true)
    }

    /// Whether the weights of a part were named apart, or found in ComfyUI's folders.
    private func isPlaced(_ part: Part) -> Bool { folder.isPlaced(part.rawValue) }

    /// A file of a part in JSON.
    func json(_ part: Part, _ name: String, values: Int = JSON.valueLimit) throws(Fault) -> JSONObject {
        let (folder, inner) = place(part)
        return try folder.json(FramePackCheckpoint.join(inner, name), values: values)
    }

    /// The files of a part by their names.
    func names(_ part: Part) throws(Fault) -> [String] {
        guard let place = places[part] else { return [] }
        return try place.folder.names(in: place.name)
    }

    /// A file of a part.
    func file(_ part: Part, _ name: String) throws(Fault) -> String {
        let (folder, inner) = place(part)
        return try folder.file(FramePackCheckpoint.join(inner, name))
    }

    /// Whether the encoders are looked for.
    var needsEncoders: Bool { folder.needsEncoders }

    /// Where the settings and small files of a part lie, for messages.
    package func path(_ part: Part) -> String {
        guard let (folder, name) = places[part] else { return folder.path }
        return name.isEmpty ? folder.path : folder.path + "/" + name
    }

    /// What tells the tokenizers from others.
    var textIdentity: String {
        [Part.tokenizer, .clipTokenizer].map { place($0).folder.identity + "/" + place($0).name }.joined(separator: "|")
    }
}
