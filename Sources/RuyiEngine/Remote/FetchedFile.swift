import RuyiFault
import RuyiFiles

/// The file of a clip that comes from a server: there whole, or not at all.
public final class FetchedFile {
    /// The bytes that have come.
    public private(set) var count = 0
    private let path: String
    private let overwrites: Bool
    private var file: AtomicFile

    /// Makes the file under a temporary name.
    ///
    /// Throws `.cannotCreate` where it cannot be written.
    public init(_ path: String, overwrites: Bool) throws(Fault) {
        (self.path, self.overwrites) = (path, overwrites)
        file = try AtomicFile(path, overwrite: overwrites)
    }

    /// Takes in a piece, which is the first one again where the server `restarts`.
    ///
    /// Throws `.io` when the disk is full or fails.
    public func append(_ bytes: UnsafeRawBufferPointer, restarts: Bool) throws(Fault) {
        if restarts {
            file.discard()
            (file, count) = (try AtomicFile(path, overwrite: overwrites), 0)
        }
        try file.write(bytes)
        count += bytes.count
    }

    /// Gives the file its name.
    ///
    /// Throws `.cannotCreate` or `.io`.
    public func commit() throws(Fault) { try file.commit(overwrite: overwrites) }
}
