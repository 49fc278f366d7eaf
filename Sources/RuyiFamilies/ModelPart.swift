import RuyiFiles

/// A part of a family's checkpoints whose weights may lie, or be named, apart from the others.
public struct ModelPart: Sendable {
    /// The part's folder in the family's main layout.
    public let folder: String
    /// The name of its weights there, without ending.
    public let stem: String
    /// What it is, for messages, such as `the VAE`.
    public let title: String
    /// The setting that names it.
    public let setting: Setting<String>
    /// The folders that ComfyUI keeps such weights in.
    public let comfyFolders: [String]
    /// Whether a checkpoint can do without it, as far as its family says.
    public let isOptional: Bool
    /// Where people get it, for messages.
    public let source: String
    /// Whether a file holds this part of the family's models, judged by its tensors' names and shapes.
    public let isHeld: @Sendable (any WeightFile) -> Bool

    /// A part.
    public init(
        _ folder: String, stem: String, title: String, _ setting: Setting<String>, comfyFolders: [String] = [],
        isOptional: Bool = false, source: String, isHeld: @escaping @Sendable (any WeightFile) -> Bool
    ) {
        (self.folder, self.stem, self.title, self.setting) = (folder, stem, title, setting)
        (self.comfyFolders, self.isOptional, self.source, self.isHeld) = (comfyFolders, isOptional, source, isHeld)
    }
}

/// Files beside the weights of a checkpoint that no option names, such as a tokenizer's.
public struct ModelCompanion: Sendable {
    /// Their folder in the family's main layout, empty for the checkpoint's own.
    public let folder: String
    /// Their names.
    public let names: [String]
    /// The folders that they may lie in elsewhere.
    public let otherFolders: [String]
    /// What they are, for messages, such as `LLaMA's tokenizer`.
    public let title: String
    /// Where people get them, for messages; nil of those that a checkpoint can do without.
    public let source: String?

    /// The name of one of them in the family's main layout.
    public func name(_ file: String) -> String { folder.isEmpty ? file : folder + "/" + file }

    /// Small files.
    public init(
        _ folder: String, _ names: [String], or otherFolders: [String] = [], title: String, source: String? = nil
    ) {
        (self.folder, self.names, self.otherFolders) = (folder, names, otherFolders)
        (self.title, self.source) = (title, source)
    }
}
