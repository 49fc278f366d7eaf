import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles

/// The checkpoints that can be named without a path: those in the person's folders, those that come with the program,
/// and those in the hub's caches.
public struct ModelCatalog: Sendable {
    /// A model that is there.
    public struct Found: Sendable, Equatable {
        /// The name that it is called by.
        public let name: String
        /// Its folder; in a hub's cache the repository's.
        public let path: String
    }

    /// Where models are looked for.
    private enum Place: Sendable {
        /// A folder whose subfolders are models, or that is one itself.
        case folder(String)
        /// A hub's cache, whose subfolders are called `models--ORGANISATION--NAME`.
        case cache(String)
    }

    /// The model that is used when none is given.
    public static let bundled = "ruyi-nano"

    /// What a person should know who named no model.
    static let bundledNote: String = {
        let better = KnownModel.all().first.map { "; better: ruyi models pull \($0.published.name)" } ?? ""
        return "the small bundled model \(bundled) is used" + better
    }()

    /// In the order in which they are searched.
    private let places: [Place]

    /// A catalogue of the models in these folders.
    public init(folders: [String]) { places = folders.map { .folder($0) } }

    private init(places: [Place]) { self.places = places }

    /// The models of this machine, searched in this order: the folders of `RUYI_MODELS`, `models` in `RUYI_HOME`, what
    /// is installed with the running program (beside it, as a build leaves it, or in `../share/ruyi/models`), and the
    /// hub's caches.
    public static func installed(
        environment variable: (String) -> String? = { System.variable($0) }
    ) -> ModelCatalog {
        var places = (variable("RUYI_MODELS") ?? "").split(separator: ":").map { Place.folder(String($0)) }
        if let home = home(variable) { places.append(.folder(home + "/models")) }
        if let program = Path.ofProgram {
            let folder = Path.folder(program)
            places.append(.folder(Path.resolve("ruyi_BundledModel.resources", in: folder)))
            places.append(.folder(Path.folder(folder) + "/share/ruyi/models"))
        }
        return ModelCatalog(places: places + caches(variable).map { .cache($0) })
    }

    /// The folder of the program's own data: `RUYI_HOME`, else `ruyi` in `XDG_DATA_HOME`, else `~/.local/share/ruyi`.
    public static func home(
        _ variable: (String) -> String? = { System.variable($0) }
    ) -> String? {
        if let home = variable("RUYI_HOME"), !home.isEmpty { return home }
        if let data = variable("XDG_DATA_HOME"), data.hasPrefix("/") { return data + "/ruyi" }
        return variable("HOME").flatMap { $0.isEmpty ? nil : $0 + "/.local/share/ruyi" }
    }

    /// The hub's caches: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `~/.cache/huggingface`.
    private static func caches(_ variable: (String) -> String?) -> [String] {
        func given(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }
        if let cache = given("HF_HUB_CACHE") { return [cache] }
        if let home = given("HF_HOME") { return [home + "/hub"] }
        let cache =
            given("XDG_CACHE_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil } ?? given("HOME").map { $0 + "/.cache" }
        return cache.map { [$0 + "/huggingface/hub"] } ?? []
    }

    // MARK: Finding

    /// The folder of the model that a request means.
    ///
    /// A path to something that exists is taken as it is; a plain name or `ORGANISATION/NAME` is searched in the
    /// catalogue; nil is the bundled model. Throws `.unavailable` when that, or a model that could be downloaded, is
    /// not there, and for a name that is nearly a known one, and `.usage` for one that several models of the hub's cache
    /// share.
    func path(_ model: String?, of families: [any Family.Type] = Registry.families) throws(Fault) -> String {
        if let model {
            guard Path.kind(model) == .nothing else { return model }
            if let found = try find(model) { return found.path }
            if let known = KnownModel.find(model, families) {
                throw Fault(
                    .unavailable, "the model \(known.repository) is not installed", at: model,
                    hint: "download it with: ruyi models pull \(known.repository)")
            }
            guard let near = near(model, families) else { return model }
            throw Fault(
                .unavailable, "there is no model of this name, and no such folder", at: model,
                hint: "did you mean \(near)?")
        }
        if let found = try find(ModelCatalog.bundled) { return found.path }
        throw Fault(
            .unavailable, "no model is given, and the bundled model \(ModelCatalog.bundled) is not installed",
            hint: "name a checkpoint folder with --model, or install the program with Scripts/install")
    }

    /// The name of a model that is here or published and that somebody probably meant.
    public func near(_ name: String, _ families: [any Family.Type] = Registry.families) -> String? {
        Nearest.match(name, among: all().map(\.name) + KnownModel.all(families).map(\.published.name))
    }

    /// The model that a name means; nil when there is none.
    ///
    /// Of several places the first counts. Throws `.usage` where several repositories of a cache share the name.
    public func find(_ name: String) throws(Fault) -> Found? {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2, parts.allSatisfy(RelativePath.isPlain) else { return nil }
        for place in places {
            switch place {
            case .folder(let folder):
                let own = try ModelCatalog.holdsFiles(folder) ? folder : nil
                let path = own.flatMap { Path.name($0) == parts.last ? $0 : nil } ?? folder + "/" + (parts.last ?? "")
                guard Path.kind(path) == .folder else { continue }
                // An organisation is only known of what was downloaded.
                let repository = ((try? ModelManifest.read(path)) ?? nil)?.repository
                if parts.count == 1 || repository == name { return Found(name: name, path: path) }
            case .cache(let cache):
                let all = try ModelCatalog.repositories(cache).filter {
                    $0.name == name || (parts.count == 1 && $0.name.hasSuffix("/" + name))
                }
                guard all.count < 2 else {
                    throw Fault(
                        .usage, "'\(name)' is the name of several models in the hub's cache", at: cache,
                        hint: "say which: " + all.map(\.name).joined(separator: ", "))
                }
                if let found = all.first { return found }
            }
        }
        return nil
    }

    /// Every model folder of the places that can be read, in the order in which they are searched; a name that is there
    /// twice means the first.
    public func all() -> [Found] {
        var seen = Set<String>()
        return places.flatMap { (try? ModelCatalog.models(in: $0)) ?? [] }.filter { found in
            seen.insert(Path.real(found.path) ?? found.path).inserted
        }
    }

    private static func models(in place: Place) throws(Fault) -> [Found] {
        switch place {
        case .folder(let folder):
            if try holdsFiles(folder) { return [Found(name: Path.name(folder), path: folder)] }
            return try subfolders(folder).map { Found(name: $0, path: folder + "/" + $0) }
        case .cache(let cache): return try repositories(cache)
        }
    }

    /// Whether a folder is a model itself rather than a folder of models: it holds configuration or weights.
    private static func holdsFiles(_ folder: String) throws(Fault) -> Bool {
        try Path.names(in: folder).contains { name in
            !name.hasPrefix(".") && [".json", ".safetensors"].contains { name.hasSuffix($0) }
        }
    }

    private static func subfolders(_ folder: String) throws(Fault) -> [String] {
        try Path.names(in: folder).filter {
            !$0.hasPrefix(".") && Path.kind(folder + "/" + $0) == .folder
        }.sorted()
    }

    /// The repositories of a cache, by name.
    private static func repositories(_ cache: String) throws(Fault) -> [Found] {
        try subfolders(cache).compactMap { folder in
            guard folder.hasPrefix("models--") else { return nil }
            // Names of repositories hold no two hyphens in a row, so the first pair ends the organisation.
            let rest = folder.dropFirst(8)
            guard let dashes = rest.firstRange(of: "--") else { return nil }
            let name = rest[..<dashes.lowerBound] + "/" + rest[dashes.upperBound...]
            return Found(name: String(name), path: cache + "/" + folder)
        }
    }
}

extension Path {
    /// The running program's file, links resolved.
    static var ofProgram: String? {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &bytes, bytes.count)
        guard count > 0, count < bytes.count else { return nil }
        return FileName.text(bytes[..<count].map(UInt8.init(bitPattern:)))
    }
}

extension Request {
    /// Whether nothing says which model is meant.
    var usesBundledModel: Bool { self.model == nil && parts.isEmpty }

    /// What names the checkpoint, for people.
    var modelName: String { ModelReference(self.model, parts: parts).shown }
}
