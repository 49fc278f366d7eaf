import RuyiFault

/// Files that a model folder is read with although they lie elsewhere: parts of a model that were named apart, or that
/// lie in the folder in another layout.
public struct PlacedFiles: Sendable {
    /// The paths of files by the names that they have in the folder, such as `vae/diffusion_pytorch_model.safetensors`.
    public private(set) var paths: [String: String] = [:]
    /// The folders whose own weights are not looked at.
    private(set) var replaced: Set<String> = []
    /// What is seen of the folder itself; nil for everything.
    public var visible: Set<String>?
    /// What the model is called; nil for the folder's name.
    public var title: String?

    /// Nothing is placed.
    public init() {}

    /// Places a file, which may be a part of a component's weights, that takes the place of all the component's own.
    public mutating func put(weights path: String, as name: String, in component: String) {
        paths[PlacedFiles.join(component, name)] = path
        replaced.insert(component)
    }

    /// Places a small file.
    public mutating func put(file path: String, as name: String) { paths[name] = path }

    /// The names that a folder has with these files.
    func names(in folder: String, own: [String]) -> [String] {
        let isReplaced = replaced.contains(folder)
        let kept = own.filter { name in
            if folder.isEmpty, let visible { return visible.contains(name) }
            return !isReplaced || !WeightNames.isWeight(name)
        }
        let prefix = folder.isEmpty ? "" : folder + "/"
        let placed = paths.keys.filter { $0.hasPrefix(prefix) }.map {
            String($0.dropFirst(prefix.count).prefix { $0 != "/" })
        }
        return Array(Set(kept + placed))
    }

    /// Whether anything lies in a folder of this name.
    func hasFolder(_ name: String) -> Bool { paths.keys.contains { $0.hasPrefix(name + "/") } }

    /// What tells these files from others.
    var identity: String { paths.sorted { $0.key < $1.key }.map { "|\($0.key)=\($0.value)" }.joined() }

    private static func join(_ folder: String, _ name: String) -> String { folder.isEmpty ? name : folder + "/" + name }
}
