import RuyiFault
import RuyiPicture
import RuyiTensor
import Synchronization

/// The finished sections of a clip that is made section by section, in the order in which they were made.
public protocol SectionStore: Sendable {
    /// How many there are.
    var count: Int { get }
    /// The latents of one, of type `f32`.
    ///
    /// Throws `.badData` and `.cannotOpen` where they cannot be read.
    func latents(_ index: Int) throws(Fault) -> HostTensor
    /// Adds the next one.
    func add(_ latents: HostTensor) throws(Fault)
}

/// Sections that are kept in memory.
package final class SectionsInMemory: SectionStore {
    private let sections = Mutex<[HostTensor]>([])

    package init() {}

    package var count: Int { sections.withLock(\.count) }

    package func latents(_ index: Int) -> HostTensor { sections.withLock { $0[index] } }

    package func add(_ latents: HostTensor) { sections.withLock { $0.append(latents) } }
}

/// How far a clip is that is made section by section.
public struct SectionProgress: Sendable, Equatable {
    /// Finished sections.
    public let made: Int
    /// Sections of the whole clip.
    public let total: Int
    /// Frames that the finished sections stand for.
    public let frames: Int
    /// Whether they are those of the clip's end.
    public let isEnd: Bool

    /// So many sections out of so many.
    public init(made: Int, of total: Int, frames: Int, isEnd: Bool) {
        (self.made, self.total, self.frames, self.isEnd) = (made, total, frames, isEnd)
    }
}

/// The side of a clip at which it grows.
public enum ClipEdge: Sendable {
    /// Before the first frame.
    case start
    /// Behind the last frame.
    case end
}

/// A clip that can be watched while it is made.
public protocol GrowingClip: Sendable {
    /// Begins to add frames at an edge of those that are there.
    ///
    /// Loose ones, which the next section still changes, give way to what is begun next.
    func begin(at edge: ClipEdge, isLoose: Bool) throws
    /// Adds the next frame, in the order of time.
    func add(_ frame: Picture) throws
    /// Makes the file of all that is there.
    func show() throws
}
