import Glibc
import RuyiFault
import RuyiMedia
import RuyiPicture
import Synchronization

/// Takes the frames of a clip and makes files of them, all or none.
protocol FrameSink: AnyObject, Sendable {
    /// Takes the next frame.
    func append(_ picture: Picture) throws
    /// Finishes the files, puts them in their places, and returns their paths.
    func finish() throws -> [String]
    /// Removes what has been written.
    func discard()
}
