import RuyiFault
import RuyiFiles

/// The order in which a checkpoint was trained to make its sections.
public enum FramePackVariant: String, Sendable, CaseIterable {
    /// The last section first, so that errors do not add up away from the start picture.
    case inverted = "i2v"
    /// The first section first.
    case forward = "f1"
}

/// A checkpoint's files, which come from three repositories: side by side in a folder, in one folder in the layout of
/// diffusers, or in a Hugging Face cache (specification section 2.1).
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

    /// The variant that the folder's name tells; nil where it tells none.
    package let variant: FramePackVariant?
    private let places: [Part: Place]

    /// The classes that a transformer's settings name.
    private static let classes = ["HunyuanVideoTransformer3DModelPacked", "HunyuanVideoFramepackTransformer3DModel"]

    /// What the checkpoint is called, for messages.
    let name: String

    /// Looks for the parts of a checkpoint in a folder, and in those inside it.
    ///
    /// Throws `.usage` where several transformers are there, `.cannotOpen` that names the parts that are not.
    package init(_ folder: ModelFolder) throws(Fault) {
        let homes = try FramePackCheckpoint.homes(folder)
        let found = try FramePackCheckpoint.transformers(in: homes, folder)
        guard let transformer = found.first else {
            throw Fault(.badData, "there is no transformer of FramePack", at: folder.path)
        }
        guard found.count == 1 else {
            throw Fault(
                .usage, "the folder holds several transformers: " + found.map(\.title).joined(separator: ", "),
                at: folder.path, hint: "name one of them, as in --model \(folder.path)/\(transformer.title)")
        }
        (variant, name) = (transformer.variant, transformer.title)
        var places: [Part: Place] = [.transformer: transformer.place]
        var missing: [Part] = []
        for part in Part.allCases where part != .transformer {
            if let place = try FramePackCheckpoint.place(of: part, in: homes) {
                places[part] = place
            } else {
                missing.append(part)
            }
        }
        guard missing.isEmpty else {
            let names = missing.map { "\($0.rawValue)/ (of \($0.repository))" }.joined(separator: ", ")
            throw Fault(
                .cannotOpen, "the checkpoint lacks \(names)", at: folder.path,
                hint: "put the repositories' folders side by side: FramePackI2V_HY, HunyuanVideo, flux_redux_bfl")
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

    /// The published names tell the variants apart; nothing inside of the files does.
    private static func variant(of name: String) -> FramePackVariant? {
        if name.contains("_F1_") { return .forward }
        return name.contains("FramePackI2V") ? .inverted : nil
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

    /// The settings of a part.
    package func settings(_ part: Part) throws(Fault) -> JSONObject {
        try json(part, part == .processor ? "preprocessor_config.json" : "config.json")
    }

    /// The weights of a part.
    package func weights(_ part: Part) throws(Fault) -> any WeightFile {
        let (folder, name) = place(part)
        let stems =
            [.transformer, .vae].contains(part) ? ["diffusion_pytorch_model", "model"] : ["model", "pytorch_model"]
        return try folder.weights(name, stems: stems)
    }

    /// A file of a part in JSON.
    func json(_ part: Part, _ name: String, values: Int = JSON.valueLimit) throws(Fault) -> JSONObject {
        let (folder, inner) = place(part)
        return try folder.json(FramePackCheckpoint.join(inner, name), values: values)
    }

    /// A file of a part.
    func file(_ part: Part, _ name: String) throws(Fault) -> String {
        let (folder, inner) = place(part)
        return try folder.file(FramePackCheckpoint.join(inner, name))
    }

    /// Where a part lies, for messages.
    package func path(_ part: Part) -> String {
        let (folder, name) = place(part)
        return name.isEmpty ? folder.path : folder.path + "/" + name
    }
}
