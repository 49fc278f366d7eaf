/// What a run tells whoever watches it.
public enum Event: Sendable {
    /// A clip is about to be rendered.
    case planned(Clip)
    /// Something worth knowing.
    case note(String)
    /// Something that may not be what was wanted.
    case warning(String)
    /// A stage of the run begins: its name, its place among the clip's stages and their number.
    case stage(name: String, index: Int, count: Int)
    /// Some of the work is done: a step of the stage, or a part of one.
    case step(Progress)
    /// A look at the clip under way.
    case preview(PreviewPicture)
    /// A clip is finished: its files, and the seconds it took.
    case finished(Clip, files: [String], seconds: Double)
}

/// How far a clip is, and the run that it is part of.
public struct Progress: Sendable, Equatable {
    /// The stage that is under way.
    public let stage: String
    /// Steps done in this stage.
    public let done: Int
    /// Steps that the stage has.
    public let total: Int
    /// The finished share of the whole clip, from 0 to 1.
    public let fraction: Double
    /// Seconds since the clip was begun.
    public let elapsed: Double
    /// Seconds until it is finished, as far as that can be told.
    public let remaining: Double?
    /// The clip's place in the run, from 0.
    public internal(set) var clip = 0
    /// The number of clips in the run.
    public internal(set) var clips = 1
    /// The finished share of the whole run, from 0 to 1.
    public internal(set) var runFraction = 0.0
    /// Seconds since the run was begun.
    public internal(set) var runElapsed = 0.0
    /// Seconds until the run is finished, as far as that can be told.
    public internal(set) var runRemaining: Double?
}

/// Receives the events of a run, from any thread.
public typealias Observer = @Sendable (Event) -> Void
