/// What a run tells whoever watches it.
public enum Event: Sendable {
    /// A clip is about to be rendered.
    case planned(Clip)
    /// Something worth knowing.
    case note(String)
    /// Something that may not be what was wanted.
    case warning(String)
    /// A part of the run begins: its name, its place among the clip's parts and their number.
    case stage(name: String, index: Int, count: Int)
    /// Some of the work is done.
    case step(Progress)
    /// A clip is finished: its files, and the seconds it took.
    case finished(Clip, files: [String], seconds: Double)
}

/// How far a clip is.
public struct Progress: Sendable, Equatable {
    /// The part of the run that is under way.
    public let stage: String
    /// Steps done in this part, and how many it has.
    public let done: Int
    public let total: Int
    /// The finished share of the whole clip, from 0 to 1.
    public let fraction: Double
    /// Seconds since the clip was begun.
    public let elapsed: Double
    /// Seconds until it is finished, as far as that can be told.
    public let remaining: Double?
}

/// Receives the events of a run, from any thread.
public typealias Observer = @Sendable (Event) -> Void
