import RuyiFault

/// A checkpoint folder in the layout in which it is published.
public struct ModelFolder: Sendable {
    /// The folder's path.
    public let path: String

    /// Opens a checkpoint folder. Throws when it is not a folder.
    public init(path: String) throws(Fault) {
        self.path = path
    }
}
