import Glibc
import RuyiFault

/// The checkpoints that can be named without a path: those in the folders that come with the program.
public struct ModelCatalog: Sendable {
    /// The model that is used when none is given.
    public static let bundled = "ruyi-nano"

    /// What a person should know who named no model.
    static let bundledNote = """
        rendering with the small bundled model \(bundled); for far better videos download \
        https://huggingface.co/IamCreateAI/Ruyi-Mini-7B (17 GB) and name its folder with --model
        """

    /// The folders whose subfolders are models, in the order in which they are searched.
    let folders: [String]

    /// A catalogue of the models in these folders.
    public init(folders: [String]) { self.folders = folders }

    /// The models that are installed with the running program: beside it, as a build leaves them, or in
    /// `../share/ruyi/models`.
    public static func installed() -> ModelCatalog {
        guard let program = Path.ofProgram else { return ModelCatalog(folders: []) }
        let folder = Path.folder(program)
        return ModelCatalog(folders: [
            Path.resolve("ruyi_BundledModel.resources", in: folder), Path.folder(folder) + "/share/ruyi/models",
        ])
    }

    /// The folder of the model that a request means.
    ///
    /// A path to something that exists is taken as it is; a plain name is searched in the catalogue; nil is the bundled
    /// model. Throws `.unavailable` when that is not installed.
    func path(_ model: String?) throws(Fault) -> String {
        if let model {
            guard Path.kind(model) == .nothing, !model.contains("/"), let found = find(model) else { return model }
            return found
        }
        if let found = find(ModelCatalog.bundled) { return found }
        throw Fault(
            .unavailable, "no model is given, and the bundled model \(ModelCatalog.bundled) is not installed",
            hint: "name a checkpoint folder with --model, or install the program with Scripts/install")
    }

    private func find(_ name: String) -> String? {
        guard !name.isEmpty, name != ".", name != ".." else { return nil }
        return folders.map { $0 + "/" + name }.first { Path.kind($0) == .folder }
    }
}

extension Path {
    /// The running program's file, links resolved.
    static var ofProgram: String? {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &bytes, bytes.count)
        guard count > 0, count < bytes.count else { return nil }
        return String(decoding: bytes[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
