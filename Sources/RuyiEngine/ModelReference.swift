import RuyiFamilies
import RuyiFault
import RuyiFiles

/// What names a checkpoint on a command line: a folder, a name of the catalogue or a file, parts that are named apart, or
/// both.
public struct ModelReference: Sendable {
    /// The folder, the name or the file; nil where the parts are all there is.
    public var name: String?
    /// The parts by the keys of their settings.
    public var parts: [String: String]
    /// What it is called where that is not the name.
    private var title: String?

    /// A checkpoint by its name, and parts of it.
    public init(_ name: String?, parts: [String: String] = [:]) { (self.name, self.parts) = (name, parts) }

    /// A checkpoint that was found.
    public init(_ found: ModelCatalog.Found) { (name, parts, title) = (found.path, [:], found.name) }

    /// What is asked for, for people.
    var shown: String {
        title ?? name ?? PartSettings.all.lazy.compactMap { parts[$0.key] }.first ?? ModelCatalog.bundled
    }

    /// The folder that is meant, nil where there is none, and the parts.
    ///
    /// A file stands for the part that tells a family. Throws as `ModelCatalog.path` does.
    func places(
        _ catalog: ModelCatalog, _ families: [any Family.Type]
    ) throws(Fault) -> (folder: String?, parts: [String: String]) {
        if name == nil, !parts.isEmpty { return (nil, parts) }
        let path = try catalog.path(name, of: families)
        let transformer = PartSettings.table.transformer.key
        guard parts[transformer] == nil, Path.kind(path) == .file else { return (path, parts) }
        return (nil, parts.merging([transformer: path]) { first, _ in first })
    }
}
